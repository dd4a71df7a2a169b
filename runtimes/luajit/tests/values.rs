//! Events, results, the context, errors and output.
#![allow(missing_docs)]

mod support;

use lambda_lab::Event;
use support::function;

#[test]
fn an_event_and_a_result_keep_their_values_or_fail() {
    let running = function("values.echo").start();
    for text in [r#"{"a":[]}"#, r#"[null,{},-0.0,"caf\u00e9"]"#, "1.5e300"] {
        let expected: serde_json::Value = serde_json::from_str(text).unwrap();
        let answer = running.answer(text);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap(), expected);
        assert_eq!(answer.content_type.as_deref(), Some("application/json"));
    }
    running.fails("[9007199254740993]", "Runtime.UnmarshalError", "9007199254740993");
    let running = function("values.echo").variable("LAMBDA_LUAJIT_INTEGERS", "cdata").start();
    assert_eq!(running.text("[9007199254740993]"), "[9007199254740993]");
    assert_eq!(running.text(r#"{"a":1,"a":2}"#), r#"{"a":2}"#);
    let log = running.log();
    assert!(log.contains("has the key \"a\" twice"), "{log}");
}

#[test]
fn cjson_has_the_rules_of_events_and_its_errors_are_strings_with_their_place() {
    let running = function("values.eval").start();
    assert_eq!(running.eval("return cjson.decode '[1,null]'[2] == cjson.null"), "true");
    assert_eq!(running.eval("return cjson.encode { cjson.empty_array, {} }"), r#""[[],{}]""#);
    assert_eq!(running.eval("return setmetatable({}, cjson.array_mt)"), "[]");
    let caught = running.eval("local ok, e = pcall(cjson.decode, '{') return {ok, type(e), e}");
    assert_eq!(caught, r#"[false,"string","the JSON text ends too early at byte 1"]"#);
    let safe = "local v, e = require 'cjson.safe'.encode(print) return { tostring(v), e }";
    assert_eq!(running.eval(safe), r#"["nil","JSON has no value for a function"]"#);
    running.eval_fails(
        "local v = cjson.decode(1) return v",
        "Function.Error",
        ":1: a JSON text is a string",
    );
    running.eval_fails("return {1, x = 2}", "Runtime.MarshalError", "the key \"x\"");
    running.eval_fails("return 0/0", "Runtime.MarshalError", "nan");
}

#[test]
fn cjson_has_what_scripts_for_lua_cjson_use() {
    let running = function("values.eval").start();
    let eval = |code: &str| running.eval(&format!("return {code}"));
    assert_eq!(eval("{ cjson._NAME, type(cjson._VERSION) }"), r#"["cjson","string"]"#);
    assert_eq!(eval("setmetatable({}, cjson.empty_array_mt)"), "[]");
    assert_eq!(eval("cjson.new().decode '[1]'[1]"), "1");
    assert_eq!(eval("{ require 'cjson.safe'.new().decode '[' == nil }"), "[true]");
    assert_eq!(eval("require 'cjson.safe'.new().new().encode {}"), "\"{}\"");
    assert_eq!(eval("{ cjson.encode_sparse_array() }"), "[false,1,0]");
    assert_eq!(eval("{ cjson.encode_sparse_array(false) }"), "[false,1,0]");
    assert_eq!(eval("cjson.encode_keep_buffer(false)"), "false");
    for (option, value, other) in [
        ("encode_sparse_array", "false", "true"),
        ("encode_max_depth", "1000", "20"),
        ("decode_max_depth", "1000", "20"),
        ("encode_number_precision", "17", "14"),
        ("encode_invalid_numbers", "'off'", "'null'"),
        ("decode_invalid_numbers", "false", "true"),
        ("encode_empty_table_as_object", "true", "false"),
        ("decode_array_with_array_mt", "true", "false"),
    ] {
        for module in ["cjson", "require 'cjson.safe'"] {
            let is_kept = format!("(({module}).{option}({value})) == ({module}).{option}()");
            assert_eq!(eval(&is_kept), "true", "{option}");
            let refused = format!("local m = {module} m.{option}({other}) return 1");
            let message = format!("1: cjson.{option} is ");
            running.eval_fails(&refused, "Function.Error", &message);
        }
    }
}

#[test]
fn cjson_at_the_limit_of_the_memory_fails_with_a_string() {
    // A busy machine may take minutes for this.
    let settings = function("values.eval").timeout(std::time::Duration::from_secs(900));
    let running = settings.memory(128).start();
    // Most of the memory is in use, so that little work fills the rest.
    let large = "local full = {} for i = 1, 80 do full[i] = ('x'):rep(1e6) .. i end collectgarbage() \
        local text = '[' .. ('[],'):rep(3.5e5) .. '1]' \
        local list, piece = {}, ('x'):rep(1e6) for i = 1, 30 do list[i] = piece end ";
    let eval = |code: &str| running.eval(&format!("{large}{code}"));
    for call in ["decode, text", "encode, list"] {
        let caught = format!(
            "local ok, e = pcall(cjson.{call}) full = nil collectgarbage() return {{ ok, type(e), e }}"
        );
        assert_eq!(eval(&caught), r#"[false,"string","not enough memory"]"#);
        let (function, argument) = call.split_once(", ").unwrap();
        let safe = format!(
            "local v, e = require 'cjson.safe'.{function}({argument}) full = nil \
             collectgarbage() return {{ v == nil, e }}"
        );
        assert_eq!(eval(&safe), r#"[true,"not enough memory"]"#);
        let raised = format!("{large} return (cjson.{function}({argument}))");
        running.eval_fails(&raised, "Function.OutOfMemory", "memory");
    }
    assert_eq!(running.eval("return 1"), "1");
}

#[test]
fn the_runtime_needs_no_globals_that_a_script_replaces() {
    let running = function("values.eval").start();
    let code = "for _, name in ipairs { 'error', 'pcall', 'xpcall', 'select', 'setmetatable', 'type', \
        'tostring', 'tonumber', 'unpack', 'ipairs', 'pairs' } do _G[name] = nil end \
        print('one', 2) context.log.info 'three' io.write('four', '\\n') \
        return cjson.decode '['";
    running.eval_fails(code, "Function.Error", "ends too early");
    assert!(running.log().contains("one\t2\n"), "{}", running.log());
}

#[test]
fn raw_bytes_go_in_and_out_with_their_content_type() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let raw = function("raw.handle").root(examples).variable("LAMBDA_LUAJIT_MODE", "raw").start();
    let bytes: Vec<u8> = (0..=255).collect();
    let answer = raw.answer(Event::new(bytes.clone()));
    assert_eq!(answer.body, bytes);
    let raw = function("values.eval").variable("LAMBDA_LUAJIT_MODE", "raw").start();
    let answer = raw.answer(Event::new("return '\\0\\255', 'image/png'"));
    assert_eq!(
        (&answer.body[..], answer.content_type.as_deref()),
        (&b"\0\xff"[..], Some("image/png"))
    );
    let answer = raw.answer(Event::new("return ''"));
    assert_eq!(answer.content_type.as_deref(), Some("application/octet-stream"));
    raw.fails(Event::new("return {}"), "Runtime.MarshalError", "returned a table, not a string");
    raw.fails(Event::new("return '', 3"), "Runtime.MarshalError", "content type");
    raw.fails(Event::new("return '', 'a\\nb'"), "Runtime.MarshalError", "content type");
}

#[test]
fn the_context_describes_the_invocation() {
    let running = function("values.eval").start();
    let event = |code: &str| Event::new(serde_json::to_string(code).unwrap());
    let answer = running.answer(event("return context.request_id"));
    assert_eq!(answer.text(), format!("\"{}\"", answer.request_id));
    let code = "return { context.client_context.custom.a, context.tenant_id, context.trace_id }";
    let with_all =
        event(code).client_context(r#"{"custom":{"a":1}}"#).tenant_id("t").trace_id("Root=1-2-3");
    let text = running.text(with_all);
    assert!(text.starts_with(r#"[1,"t","Root=1-2-3"#), "{text}");
    let same =
        "return os.getenv '_X_AMZN_TRACE_ID' == context.trace_id and os.getenv 'PATH' ~= nil";
    assert_eq!(running.eval(same), "true");
    let fields =
        "return { context.function_name, context.function_version, context.memory_limit_mb }";
    assert_eq!(running.eval(fields), r#"["test_function","$LATEST",512]"#);
    assert_eq!(
        running.eval("return context.invoked_function_arn:match 'test_function' ~= nil"),
        "true"
    );
    let time = "local left = context.remaining_ms() return left > 0 and left <= 120000 \
        and context:remaining_ms() <= left and not context.is_cancelled() and context.deadline_ms > 1e12";
    assert_eq!(running.eval(time), "true");
}

#[test]
fn a_client_context_is_a_string_only_if_it_is_not_json() {
    let running = function("values.eval").start();
    let event =
        |context: &str| Event::new("\"return context.client_context\"").client_context(context);
    assert_eq!(running.text(event("not JSON")), "\"not JSON\"");
    assert_eq!(running.text(event("{\"a\":[1]}")), "{\"a\":[1]}");
    let message = "the client context: the integer 9007199254740993 is beyond 2^53";
    running.fails(event("{\"a\":9007199254740993}"), "Runtime.UnmarshalError", message);
    running.fails(event("[1e400]"), "Runtime.UnmarshalError", "the client context: the number");
}

#[test]
fn an_error_of_every_kind_has_type_message_and_traceback_and_the_loop_goes_on() {
    let running = function("values.eval").start();
    let fails = |code: &str, error_type: &str, message: &str| {
        let trace = running.eval_fails(code, error_type, message);
        assert!(trace.contains(" in "), "{code}: {trace}");
        assert!(!trace.contains("xpcall") && !trace.contains("lambda-luajit"), "{trace}");
        trace
    };
    let trace = fails(
        "local function deep() error 'told to' end deep() return 1",
        "Function.Error",
        ":1: told to",
    );
    assert!(trace.contains("in local 'deep'"), "{trace}");
    fails("error { type = 'Function.Late', message = 'too late' }", "Function.Late", "too late");
    let own = "error { message = 'with its own', stack_trace = 'here\\nthere' }";
    assert_eq!(running.eval_fails(own, "Function.Error", "with its own"), "here\nthere\n");
    fails("error { code = 7 }", "Function.Error", r#"{"code":7}"#);
    fails("error { f = print }", "Function.Error", "a table that has no message");
    let object = "error(setmetatable({}, { __tostring = function() return 'an object' end }))";
    fails(object, "Function.Error", "an object");
    let class =
        "error(setmetatable({}, { __index = { type = 'Function.A', message = 'inherited' } }))";
    fails(class, "Function.A", "inherited");
    let broken = "error(setmetatable({}, { __tostring = error, __index = error }))";
    fails(broken, "Function.Error", "no message");
    fails("error { message = 1.5 }", "Function.Error", "1.5");
    fails("error { type = '', message = 'no type' }", "Function.Error", "no type");
    let address = "local value = newproxy(true) \
        getmetatable(value).__tostring = function() return 'a fault at: 0x10' end error(value)";
    fails(address, "Function.Error", "a fault at: 0x10");
    fails("error()", "Function.Error", "without a value (nil)");
    fails("error(3)", "Function.Error", "3");
    fails("error(true)", "Function.Error", "true");
    fails("error(print)", "Function.Error", "a value of type function");
    fails("error(newproxy())", "Function.Error", "a value of type userdata");
    fails("return nil + 1", "Function.Error", "attempt to perform arithmetic");
    fails(
        "coroutine.wrap(function() error { type = 'Function.C', message = 'inside' } end)()",
        "Function.C",
        "inside",
    );
    fails(
        "local ok, e = coroutine.resume(coroutine.create(function() error 'in it' end)) error(e, 0)",
        "Function.Error",
        "in it",
    );
    // There may be no stack left to collect the traceback.
    running.eval_fails(
        "local function f() return 1 + f() end return f()",
        "Function.Error",
        "stack overflow",
    );
    let bytes = fails("error '\\255'", "Function.Error", "\u{fffd}");
    assert!(bytes.contains("'error'"), "{bytes}");
    assert_eq!(running.eval("return 'goes on'"), "\"goes on\"");
}

#[test]
fn an_error_in_a_coroutine_has_the_calls_within_it() {
    let running = function("values.eval").start();
    let inner = "local function inner() error { type = 'Function.C', message = 'inside' } end ";
    for outer in [
        "coroutine.wrap(function() inner() return 1 end)()",
        "local _, e = coroutine.resume(coroutine.create(function() inner() return 1 end)) error(e)",
        "coroutine.wrap(function() coroutine.wrap(function() inner() return 1 end)() end)()",
    ] {
        let trace = running.eval_fails(&format!("{inner}{outer}"), "Function.C", "inside");
        let (within, rest) = trace.split_once("'inner'").unwrap_or_else(|| panic!("{trace}"));
        assert!(within.starts_with("[C]: in function 'error'") && rest.contains("in "), "{trace}");
    }
    // The calls of an error that was caught are not those of a later one.
    let later = format!("{inner} pcall(coroutine.wrap(inner)) error 'another'");
    let trace = running.eval_fails(&later, "Function.Error", "another");
    assert_eq!(trace.matches("'error'").count(), 1, "{trace}");
    let values = "local next = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b, nil end) \
        return { next(1), select('#', next(5)) }";
    assert_eq!(running.eval(values), "[2,2]");
}

#[test]
fn output_is_logged_a_record_for_each_line_with_the_request_id() {
    let running = function("values.eval").start();
    let code = "print('one', nil, 2) io.write('a', 1) io.stdout:write('b\\nc\\n'):write('d') \
        io.output():write('e') context.log.error('bad', 3) print '' return io.type(io.stdout)";
    let answer = running.answer(Event::new(serde_json::to_string(code).unwrap()));
    assert_eq!(answer.text(), "\"file\"");
    let last = running.answer(Event::new(r#""io.write 'no end'""#));
    running.eval("return 1");
    let lines: Vec<String> = running.log().lines().map(str::to_owned).collect();
    let expected = [
        ("INFO", &answer, "one\tnil\t2"),
        ("INFO", &answer, "a1b"),
        ("INFO", &answer, "c"),
        ("ERROR", &answer, "bad\t3"),
        ("INFO", &answer, "de"),
        ("INFO", &last, "no end"),
    ];
    let expected = expected
        .map(|(level, answer, text)| format!("{level} invocation {}: {text}", answer.request_id));
    assert_eq!(lines, expected);
    running.eval_fails(
        "io.write {}",
        "Function.Error",
        ":1: bad argument #1 to 'write' (string expected, got table)",
    );
}

#[test]
fn a_line_that_is_too_long_becomes_several_records_and_no_character_is_cut() {
    let running = function("values.eval").start();
    // An odd number of bytes before characters of two.
    running.eval("print('a' .. ('é'):rep(100000)) print(('b'):rep(65536)) return 1");
    let log = running.log();
    let texts = log.lines().map(|line| line.split_once(": ").unwrap().1);
    let lengths: Vec<_> = texts.clone().map(str::len).collect();
    assert_eq!(lengths, [65_535, 65_536, 65_536, 200_001 - 65_535 - 2 * 65_536, 65_536]);
    assert_eq!(texts.flat_map(str::chars).filter(|&it| it == 'é').count(), 100_000);
}

#[test]
fn output_to_a_file_goes_to_that_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let running = function("values.eval").start();
    let code = format!(
        "local out = io.stdout io.output '{}' io.write('to ', 'file') io.close() io.output(out) \
         io.write 'to the log' return 1",
        path.display()
    );
    running.eval(&code);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "to file");
    assert!(running.log().ends_with("to the log\n"), "{}", running.log());
}

#[test]
fn raw_output_is_passed_on_byte_for_byte() {
    let running = function("values.eval").variable("LAMBDA_LUAJIT_OUTPUT", "raw").start();
    running.eval("print('{\"json\":1}') io.write('a\\255b', '\\n') return 1");
    running.eval("return 1");
    let log = std::fs::read(running.log_path()).unwrap();
    assert_eq!(log, b"{\"json\":1}\na\xffb\n");
}

#[test]
fn os_exit_reports_its_invocation_before_the_process_ends() {
    let running = function("values.eval").start();
    running.eval_fails(
        "pcall(os.exit, 3) return 1",
        "Function.Exit",
        "the function called os.exit(3)",
    );
    // A new process serves the next one.
    assert_eq!(running.eval("return 1"), "1");
    running.eval_fails("os.exit()", "Function.Exit", "os.exit(0)");
}

#[test]
fn each_slot_has_a_state_of_its_own() {
    let running = function("values.eval").concurrency(3).start();
    let folder = tempfile::tempdir().unwrap();
    // Each waits for the others, so each has a slot.
    let code = |number: usize| {
        let folder = folder.path().display();
        format!(
            "assert(io.open('{folder}/{number}', 'w')):close() \
             local function is_there(number) \
               local file = io.open('{folder}/' .. number) \
               return file and file:close() \
             end \
             for number = 1, 3 do repeat until is_there(number) end \
             seen = (seen or 0) + 1 \
             return {{ seen, (tostring(_G)) }}"
        )
    };
    let (running, code) = (&running, &code);
    let mut answers: Vec<String> = std::thread::scope(|scope| {
        let callers: Vec<_> =
            (1..=3).map(|number| scope.spawn(move || running.eval(&code(number)))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.starts_with("[1,\"table: 0x")), "{answers:?}");
    answers.sort();
    answers.dedup();
    assert_eq!(answers.len(), 3, "{answers:?}");
}
