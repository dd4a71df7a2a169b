//! Streamed responses and hooks.
#![allow(missing_docs)]

mod support;

use support::{Running, module};

#[track_caller]
fn streaming(code: &str) -> Running {
    let source = format!(
        "const wait = (ms) => new Promise((done) => setTimeout(done, ms)); let kept;
        export const handler = awslambda.streamifyResponse(async (event, stream, context) => {{ {code} }});"
    );
    module(&source).start()
}

#[test]
fn a_streamed_response_has_its_content_type_and_its_bytes() {
    let running = streaming(
        "stream.setContentType('text/csv'); stream.write('a,1\\n'); await wait(1);
        stream.write(new Uint8Array([0, 255])); stream.end('é'); await wait(1); console.log('after the end');",
    );
    for _ in 0..2 {
        let answer = running.answer("1");
        assert_eq!(answer.body, b"a,1\n\0\xff\xc3\xa9");
        assert_eq!(answer.content_type.as_deref(), Some("text/csv"));
    }
    assert!(!running.lines("after the end").is_empty());
}

#[test]
fn an_http_response_begins_with_its_prelude() {
    let running = streaming(
        "const http = awslambda.HttpResponseStream.from(stream, { statusCode: 404, headers: { 'content-type': 'text/plain' }, cookies: ['a=1'] });
        http.write('nothing '); http.end('here');",
    );
    let answer = running.answer("{}");
    let prelude = r#"{"statusCode":404,"headers":{"content-type":"text/plain"},"cookies":["a=1"]}"#;
    assert_eq!(answer.text(), format!("{prelude}{}nothing here", "\0".repeat(8)));
    assert_eq!(
        answer.content_type.as_deref(),
        Some("application/vnd.awslambda.http-integration-response")
    );
}

#[test]
fn an_error_after_the_first_piece_fails_the_invocation_with_trailers_and_the_process_lives() {
    let running = streaming(
        "stream.write('a'); if (event === 'fail') { await wait(1); throw new RangeError('no more rows'); } stream.end();",
    );
    let failure = running.failure("\"fail\"");
    assert_eq!(failure.error_type().as_deref(), Some("RangeError"), "{failure:?}");
    assert_eq!(running.answer("\"again\"").body, b"a");
}

#[test]
fn an_exit_in_mid_stream_fails_the_invocation_after_what_was_written() {
    let running =
        streaming("stream.write('a'); if (event === 'exit') process.exit(3); stream.end();");
    let mut written = vec![];
    let failed = running.lab.invoke_streaming("\"exit\"", |piece| written.extend_from_slice(piece));
    let failure = failed.unwrap_err().function().cloned().unwrap();
    assert_eq!(failure.error_type().as_deref(), Some("Function.Exit"), "{failure:?}");
    assert_eq!(written, b"a");
    assert_eq!(running.answer("\"again\"").body, b"a");
}

#[test]
fn a_stream_that_is_not_ended_fails_when_nothing_is_left_to_run() {
    let running = streaming(
        "if (event === 'late') setTimeout(() => stream.end('late'), 5); else if (event === 'none') return; stream.write('a');",
    );
    assert_eq!(running.answer("\"late\"").body, b"alate");
    for event in ["\"open\"", "\"none\""] {
        let failure = running.failure(event);
        assert_eq!(failure.error_type().as_deref(), Some("Function.StreamNotEnded"), "{failure:?}");
    }
    assert_eq!(running.answer("\"late\"").body, b"alate");
}

#[test]
fn a_callback_of_the_end_is_called_once_when_all_is_written() {
    let running = streaming(
        "let calls = 0; stream.write('a');
        await new Promise((done) => stream.end('b', () => { calls++; done(); }));
        await wait(1); console.log(`calls: ${calls}, ${stream.writableFinished}, ${stream.writableLength}`);",
    );
    running.to_the_end("1");
    assert_eq!(running.lines("calls: 1, true, 0").len(), 1, "{}", running.log());
}

#[test]
fn the_stream_of_an_earlier_invocation_is_over() {
    let running = streaming(
        "if (event === 'keep') { kept = stream; stream.end('first'); }
        else { let failed; try { kept.write('late'); } catch (error) { failed = error.message; }
            stream.end(`second, ${failed}`); }",
    );
    assert_eq!(running.text("\"keep\""), "first");
    assert_eq!(running.text("\"stream\""), "second, write after end");
}

#[test]
fn late_work_that_opens_the_stream_of_its_invocation_does_not_answer_the_next_one() {
    let source = "let settle;
        export const handler = (event, context) => {
            if (event === 'late') {
                setTimeout(() => {
                    try { context.stream().end('of the first'); settle('none'); }
                    catch (error) { settle(error.message); }
                }, 1);
                return 'first';
            }
            return new Promise((done) => { settle = done; });
        };";
    let running = module(source).variable("LAMBDA_PROTO_WORK", "report").start();
    assert_eq!(running.text("\"late\""), "\"first\"");
    let refused = "\"the stream is over: it belongs to an earlier invocation\"";
    assert_eq!(running.text("1"), refused);
}

#[test]
fn a_stream_that_could_not_begin_may_begin_again_and_is_not_ended() {
    let running = streaming(
        "const fails = (call) => { try { call(); return false; } catch { return true; } };
        stream.setContentType('text/csv\\r\\n');
        const failed = [fails(() => stream.write('a')), fails(() => stream.end())];
        if (event === 'stop') return;
        stream.setContentType('text/plain');
        stream.end(String(failed));",
    );
    let answer = running.answer("1");
    assert_eq!(answer.text(), "true,true");
    assert_eq!(answer.content_type.as_deref(), Some("text/plain"));
    running.fails("\"stop\"", "Function.StreamNotEnded", "has not ended its stream");
    assert_eq!(running.text("1"), "true,true");
}

const HOOKS: &str = "import { onShutdown, beforeSnapshot, afterRestore } from 'lambda';
    let restored = false;
    onShutdown(async () => { await new Promise((done) => setTimeout(done, 1)); console.log('the last words'); });
    beforeSnapshot(() => console.log('before the snapshot'));
    afterRestore(() => { console.log('after the restore'); restored = true; });
    export const handler = () => restored;";

#[test]
fn hooks_run_around_a_snapshot_and_before_the_end() {
    let running = module(HOOKS).start();
    assert_eq!(running.text("{}"), "false");
    running.lab.stop();
    assert_eq!(running.lines("the last words").len(), 1);
    let running = module(HOOKS).snapstart().start();
    assert_eq!(running.text("{}"), "true");
    let log = running.log();
    let (before, after) = (log.find("before the snapshot"), log.find("after the restore"));
    assert!(before.is_some() && before < after, "{log}");
}
