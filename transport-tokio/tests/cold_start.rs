//! The cold start in the span of an invocation. There is one for each process, so this is a test of its
//! own.

use lambda_proto_service::{Event, Service as Lambda};
use lambda_proto_tokio::Failure;
use lambda_proto_tokio::span::in_span;

#[path = "span/support.rs"]
#[expect(dead_code, reason = "other tests have more needs")]
mod support;

use support::Spans;

#[test]
fn the_first_invocation_of_the_process_is_the_only_cold_start_of_all_slots() {
    const SLOTS: usize = 3;
    let (lambda, spans) = (Lambda::start(), Spans::default());
    let run = spans.run(&lambda, async |runtime| {
        let run = runtime.slots(SLOTS).run(async |invocation, responder| {
            in_span(&invocation, async { Ok::<_, Failure>(responder.send("").await) }).await
        });
        run.await
    });
    let mut connections = lambda.open_slots(SLOTS);
    for _ in 0..2 {
        for connection in &mut connections {
            connection.send(Event::new("id-1", "").bytes());
        }
        for connection in &mut connections {
            connection.request();
            connection.take_answer();
            connection.expect_next();
        }
    }
    run.stop();
    let spans = spans.all();
    let colds: Vec<_> = spans.iter().map(|span| span.get("faas.coldstart")).collect();
    let mut expected = vec![Some("false"); 2 * SLOTS];
    expected[0] = Some("true");
    assert_eq!(colds, expected);
}
