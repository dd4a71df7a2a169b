use mlua::{Lua, Value};
use proptest::prelude::*;

use super::{Integers, Json, MAX_DEPTH, NULL, empty_array};

fn state(integers: Integers) -> (Lua, Json) {
    // SAFETY: the tests run no code that is not theirs.
    #[expect(unsafe_code, reason = "64-bit numbers need `ffi`")]
    let lua = unsafe { Lua::unsafe_new() };
    let json = Json::new(&lua, integers).unwrap();
    let globals = lua.globals();
    globals.set("null", NULL).unwrap();
    globals.set("empty_array", empty_array()).unwrap();
    globals.set("array_mt", json.array_metatable()).unwrap();
    (lua, json)
}

/// JSON to Lua and back, or the error of either.
fn round(integers: Integers, text: &[u8]) -> Result<String, String> {
    let (lua, json) = state(integers);
    let read = json.read(&lua, text).map_err(|error| error.to_string())?;
    write(&lua, &json, &read.value)
}

fn write(lua: &Lua, json: &Json, value: &Value) -> Result<String, String> {
    let mut out = vec![];
    json.write(lua, value, &mut out).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).unwrap())
}

/// The JSON of a Lua expression, or its error.
fn eval(expression: &str) -> Result<String, String> {
    let (lua, json) = state(Integers::Error);
    write(&lua, &json, &lua.load(expression).eval().unwrap())
}

#[track_caller]
fn assert_same(text: &str) {
    assert_eq!(round(Integers::Error, text.as_bytes()).as_deref(), Ok(text));
}

#[track_caller]
fn assert_refused(result: Result<String, String>, expected: &str) {
    let error = result.unwrap_err();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_value_that_lua_represents_comes_back_as_it_was() {
    for text in [
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1.5",
        "-0.0",
        "1e300",
        "5e-324",
        "\"\"",
        "\"caf\u{e9} \u{1f600} \\\" \\\\ \\n \\u0001 \u{7f}\"",
        "[]",
        "{}",
        "[[],{},null,[null]]",
        "{\"a\":[]}",
        "{\"1\":2}",
        "9007199254740992",
        "-9007199254740992",
    ] {
        assert_same(text);
    }
    assert_eq!(round(Integers::Error, b" [ 1 , -0 ,\t1.0, 1E2 ]\r\n").unwrap(), "[1,-0.0,1,100]");
    let escapes = br#""\u00e9\ud83d\ude00\/\b\f""#;
    assert_eq!(round(Integers::Error, escapes).unwrap(), "\"\u{e9}\u{1f600}/\\u0008\\u000c\"");
}

#[test]
fn an_integer_beyond_2_53_is_refused_or_text_or_cdata_but_never_another_number() {
    for text in
        ["9007199254740993", "-9007199254740993", "18446744073709551615", "1152921504606846976"]
    {
        let bytes = text.as_bytes();
        assert_refused(round(Integers::Error, bytes), text);
        assert_refused(round(Integers::Error, bytes), "LAMBDA_LUAJIT_INTEGERS");
        assert_eq!(round(Integers::Text, bytes).unwrap(), format!("\"{text}\""));
        assert_eq!(round(Integers::Cdata, bytes).unwrap(), text);
    }
    for text in ["9223372036854775807", "9223372036854775808", "-9223372036854775808"] {
        assert_eq!(round(Integers::Cdata, text.as_bytes()).unwrap(), text);
    }
    for text in ["18446744073709551616", "-9223372036854775809"] {
        assert_refused(round(Integers::Cdata, text.as_bytes()), "more than 64 bits");
        assert_eq!(round(Integers::Text, text.as_bytes()).unwrap(), format!("\"{text}\""));
    }
    // A number that Lua computes is a double, and is written as one.
    assert_eq!(eval("2^53").unwrap(), "9007199254740992");
    assert_eq!(eval("2^53 + 2").unwrap(), "9007199254740994.0");
    assert_eq!(eval("-2^63").unwrap(), "-9.223372036854776e18");
    assert_eq!(eval("{1LL, 2ULL, -3LL}").unwrap(), "[1,2,-3]");
}

#[test]
fn a_number_that_json_or_lua_does_not_have_is_refused() {
    assert_refused(eval("{x = 0/0}"), "JSON has no number nan, in value[\"x\"]");
    assert_refused(eval("{1, {y = 1/0}}"), "JSON has no number inf, in value[2][\"y\"]");
    assert_refused(eval("-1/0"), "-inf");
    assert_refused(
        round(Integers::Error, b"[1e400]"),
        "1e400 is too large for a Lua number at byte 1",
    );
    assert_refused(round(Integers::Cdata, b"-1e400"), "-1e400");
}

#[test]
fn a_table_that_is_neither_array_nor_object_is_refused() {
    assert_refused(eval("{1, 2, x = 3}"), "both array elements and the key \"x\"");
    assert_refused(eval("{x = 3, [1] = 2}"), "both array elements and the key \"x\"");
    assert_refused(eval("{1, nil, 3}"), "element 2 is nil");
    assert_refused(eval("{[2] = 1}"), "element 1 is nil");
    assert_refused(eval("{[1e9] = 1}"), "element 1 is nil");
    assert_refused(eval("{[0] = 1}"), "the key 0 is not a string");
    assert_refused(eval("{[1.5] = 1}"), "the key 1.5");
    assert_refused(eval("{[true] = 1}"), "the key true");
    assert_refused(eval("{a = 1, [true] = 1}"), "the key true");
    assert_refused(eval("{a = {b = {[{}] = 1}}}"), "the key of type table");
    assert_refused(eval("setmetatable({x = 1}, array_mt)"), "the key \"x\"");
    assert_refused(eval("{print}"), "JSON has no value for a function, in value[1]");
    assert_refused(eval("{f = coroutine.create(print)}"), "a thread");
    assert_refused(eval("require 'ffi'.new('int[2]')"), "cdata");
    assert_refused(eval("'caf\\233'"), "not UTF-8 from byte 3 on");
    assert_refused(eval("{['\\255'] = 1}"), "not UTF-8");
}

#[test]
fn an_empty_table_is_an_object_unless_it_is_marked() {
    let marked = "{{}, empty_array, setmetatable({}, array_mt), null}";
    assert_eq!(eval(marked).unwrap(), "[{},[],[],null]");
    let (lua, json) = state(Integers::Error);
    let read = json.read(&lua, b"[1]").unwrap();
    lua.globals().set("array", read.value).unwrap();
    let value: Value = lua.load("table.remove(array) return array").eval().unwrap();
    assert_eq!(write(&lua, &json, &value).unwrap(), "[]");
    assert_eq!(eval("nil").unwrap(), "null");
}

#[test]
fn depth_has_a_limit_and_a_cycle_is_refused() {
    // As the threads that run Lua.
    let thread = std::thread::Builder::new().stack_size(crate::STACK);
    thread.spawn(check_depth).unwrap().join().unwrap();
}

fn check_depth() {
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_same(&nested(MAX_DEPTH));
    assert_refused(
        round(Integers::Error, nested(MAX_DEPTH + 1).as_bytes()),
        "nested more than 1000",
    );
    assert_refused(round(Integers::Error, &b"{\"a\":".repeat(100_000)), "nested more than 1000");
    let (lua, json) = state(Integers::Error);
    let build = |code: &str| -> Value { lua.load(code).eval().unwrap() };
    let cycle = build("local t = {a = {}} t.a.t = t return t");
    assert_refused(write(&lua, &json, &cycle), "contains itself, in value[\"a\"][\"t\"]");
    let deep = build("local t = {} for _ = 1, 1000 do t = {t} end return t");
    assert_refused(write(&lua, &json, &deep), "nested more than 1000");
    let shared = build("local s = {1} return {s, s}");
    assert_eq!(write(&lua, &json, &shared).unwrap(), "[[1],[1]]");
}

#[test]
fn text_that_is_not_json_is_refused_with_its_place() {
    for (text, expected) in [
        (&b""[..], "ends too early at byte 0"),
        (b"nul", "expected null at byte 0"),
        (b"[1,]", "expected a value at byte 3"),
        (b"[1 2]", "expected a comma or the end of the array at byte 3"),
        (b"{\"a\" 1}", "expected a colon at byte 5"),
        (b"{a:1}", "expected a key at byte 1"),
        (b"{\"a\":1,}", "expected a key at byte 7"),
        (b"01", "expected the end of the JSON text at byte 1"),
        (b"-", "ends too early at byte 1"),
        (b"1.", "ends too early at byte 2"),
        (b"1.e1", "expected a digit at byte 2"),
        (b"+1", "expected a value at byte 0"),
        (b"NaN", "expected a value at byte 0"),
        (b"\"a", "ends too early at byte 2"),
        (b"\"a\nb\"", "a control character"),
        (b"\"\\x\"", "an escape that JSON does not have at byte 1"),
        (b"\"\\u12g4\"", "expected a hexadecimal digit at byte 5"),
        (b"\"\\ud800\"", "half of a surrogate pair at byte 1"),
        (b"\"a\\udc00\"", "half of a surrogate pair at byte 2"),
        (b"\"\\ud800\\u0041\"", "half of a surrogate pair at byte 1"),
        (b"\"\xff\"", "not UTF-8 at byte 1"),
        (b"\xef\xbb\xbf1", "expected a value at byte 0"),
    ] {
        assert_refused(round(Integers::Error, text), expected);
    }
}

#[test]
fn a_key_that_an_object_has_twice_is_named_and_its_last_value_counts() {
    let (lua, json) = state(Integers::Error);
    let read = json.read(&lua, br#"{"a":{"b":1,"b":2},"c":3,"c":4}"#).unwrap();
    assert_eq!(read.duplicate.as_deref(), Some("b"));
    lua.globals().set("event", read.value).unwrap();
    assert!(lua.load("return event.a.b == 2 and event.c == 4").eval::<bool>().unwrap());
    assert_eq!(json.read(&lua, br#"{"a":null,"a":1}"#).unwrap().duplicate.as_deref(), Some("a"));
    assert_eq!(json.read(&lua, br#"[{"a":1},{"a":1}]"#).unwrap().duplicate, None);
}

#[test]
fn every_prefix_of_a_text_is_refused() {
    let text = r#"{"key":[1.5e+3,"\ud83d\ude00é",null,true,false,{"":-0}]}"#.as_bytes();
    for length in 0..text.len() {
        round(Integers::Cdata, &text[..length]).unwrap_err();
    }
    round(Integers::Cdata, text).unwrap();
}

/// Values that both sides represent.
fn values() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-(1_i64 << 53)..=1 << 53).prop_map(Into::into),
        any::<f64>().prop_filter_map("JSON has only finite numbers", |number| {
            serde_json::Number::from_f64(number).map(Into::into)
        }),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::hash_map(any::<String>(), inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The value with every number as a double, the only kind that Lua has.
fn as_doubles(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) => number.as_f64().unwrap().into(),
        Value::Array(values) => values.into_iter().map(as_doubles).collect(),
        Value::Object(map) => {
            map.into_iter().map(|(key, value)| (key, as_doubles(value))).collect()
        }
        other => other,
    }
}

proptest! {
    #[test]
    fn serde_json_reads_what_is_written_as_the_value_that_it_wrote(value in values()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let back: serde_json::Value =
                serde_json::from_str(&round(Integers::Error, text.as_bytes()).unwrap()).unwrap();
            prop_assert_eq!(as_doubles(back), as_doubles(value.clone()));
        }
    }

    #[test]
    fn any_bytes_are_json_for_both_or_for_neither(
        text in r#"[\[\]{}",:\\ u0-9a-f.eE+\-truefalsn]{0,12}"#,
    ) {
        let (lua, json) = state(Integers::Text);
        let ours = json.read(&lua, text.as_bytes());
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{} {:?} {:?}", text, ours, theirs);
    }
}

#[test]
fn cdata_is_written_by_its_type_and_not_by_its_text() {
    assert_eq!(eval("-5LL").as_deref(), Ok("-5"));
    assert_eq!(eval("18446744073709551615ULL").as_deref(), Ok("18446744073709551615"));
    assert_eq!(eval("require('ffi').new('int64_t', 7)").as_deref(), Ok("7"));
    let disguised = "(function() local ffi = require 'ffi' ffi.cdef 'struct disguised { int x; };' \
        return ffi.metatype('struct disguised', { __tostring = function() return '5LL' end })() end)()";
    for other in [disguised, "require('ffi').new('int[2]')", "require('ffi').new('int32_t', 7)"] {
        assert_refused(eval(other), "cdata other than a 64-bit integer");
    }
}
