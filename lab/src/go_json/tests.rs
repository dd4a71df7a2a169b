use super::*;

const TEXT: Field = Field { path: "T.text", go_type: "string" };
const LIST: Field = Field { path: "T.list", go_type: "[]string" };

/// Reads the members `text` and `list`.
fn read(document: &[u8]) -> Result<(Option<String>, Vec<String>), String> {
    let (mut text, mut list) = (None, Texts::default());
    read_object(document, "T", |key, value| match key {
        "text" => {
            text = value.text(TEXT)?.or(text.take());
            Ok(())
        }
        "list" => value.read_texts(&mut list, LIST),
        _ => Ok(()),
    })
    .map_err(|error| error.to_string())?;
    Ok((text, list.as_slice().to_vec()))
}

#[track_caller]
fn assert_text(document: impl AsRef<[u8]>, text: &str) {
    let document = document.as_ref();
    let shown = String::from_utf8_lossy(document);
    assert_eq!(read(document), Ok((Some(text.to_owned()), Vec::new())), "{shown}");
}

#[track_caller]
fn assert_list(document: &str, list: &[&str]) {
    let list = list.iter().map(|text| (*text).to_owned()).collect();
    assert_eq!(read(document.as_bytes()), Ok((None, list)), "{document}");
}

#[test]
fn keys_are_found_in_any_case_and_the_last_of_several_wins() {
    assert_text(r#"{"TEXT":"a"}"#, "a");
    assert_text(r#"{"text":"a","Text":"b","text":"c"}"#, "c");
    assert_text(r#"{"text":"a","TEXT":null}"#, "a");
    assert_text(r#"{"t\u0065xt":"a"}"#, "a");
    assert_list("{\"li\u{17f}t\":[\"a\"]}", &["a"]);
    assert_eq!(read("{\"téxt\":1,\"\":2,\"texts\":3}".as_bytes()), Ok((None, Vec::new())));
    assert_eq!(folded("\u{212a}EYS"), "keys");
}

#[test]
fn a_list_keeps_its_elements_under_null_as_in_go() {
    assert_list(r#"{"list":["a","b"]}"#, &["a", "b"]);
    assert_list(r#"{"list":["a","b"],"list":["c"]}"#, &["c"]);
    assert_list(r#"{"list":["a","b"],"list":[null,null]}"#, &["a", "b"]);
    assert_list(r#"{"list":["a","b"],"list":["c"],"list":[null,null]}"#, &["c", "b"]);
    assert_list(r#"{"list":["a","b"],"list":[],"list":[null,null]}"#, &["", ""]);
    assert_list(r#"{"list":["a","b"],"list":null,"list":[null,null]}"#, &["", ""]);
    assert_list(r#"{"list":["a"],"list":null}"#, &[]);
}

#[test]
fn invalid_utf_8_and_lone_surrogates_are_replaced() {
    assert_text(b"{\"text\":\"a\xffb\"}", "a\u{fffd}b");
    assert_text(b"{\"text\":\"\xe2\x82\"}", "\u{fffd}\u{fffd}");
    assert_text(b"{\"text\":\"\xed\xa0\x80\"}", "\u{fffd}\u{fffd}\u{fffd}");
    assert_text(r#"{"text":"\ud83d\ude00"}"#, "😀");
    assert_text(r#"{"text":"\ud800"}"#, "\u{fffd}");
    assert_text(r#"{"text":"\ude00\ud83d"}"#, "\u{fffd}\u{fffd}");
    assert_text(r#"{"text":"\ud800\u0041\ud800A"}"#, "\u{fffd}A\u{fffd}A");
    assert_text(r#"{"text":"\ud800\ud83d\ude00"}"#, "\u{fffd}😀");
    assert_text(r#"{"text":"\u00e9\n\/\"\\\u0000"}"#, "é\n/\"\\\0");
}

#[test]
fn values_of_another_type_are_errors_after_everything_has_been_read() {
    let mut text = None;
    let error = read_object(br#"{"x":1,"text":"a"}"#, "T", |key, value| {
        match key {
            "x" => value.text(Field { path: "T.x", go_type: "string" }).map(drop)?,
            _ => text = value.text(TEXT)?,
        }
        Ok(())
    });
    let expected = "json: cannot unmarshal number into Go struct field T.x of type string";
    assert_eq!(error, Err(Error(expected.into())));
    assert_eq!(text.as_deref(), Some("a"));
}

#[test]
fn errors_have_the_words_of_go() {
    let value = "json: cannot unmarshal";
    let deep = format!("{}{}", "[".repeat(10_001), "]".repeat(10_001));
    for (document, error) in [
        ("", "unexpected end of JSON input".to_owned()),
        (r#"{"text":"a"#, "unexpected end of JSON input".into()),
        ("[1]", format!("{value} array into Go value of type T")),
        (" true ", format!("{value} bool into Go value of type T")),
        ("-0.5e+7", format!("{value} number into Go value of type T")),
        (r#""\"{""#, format!("{value} string into Go value of type T")),
        (r#"{"text":{}}"#, format!("{value} object into Go struct field T.text of type string")),
        (r#"{"list":1}"#, format!("{value} number into Go struct field T.list of type []string")),
        (
            r#"{"list":["a",["b"],1]}"#,
            format!("{value} array into Go struct field T.list of type string"),
        ),
        (&deep, "invalid character '[' exceeded max depth".into()),
    ] {
        assert_eq!(read(document.as_bytes()), Err(error), "{document:.60}");
    }
    assert_eq!(read(format!(r#"{{"a":{}}}"#, &deep[2..20_000]).as_bytes()), Ok((None, vec![])));
}

#[test]
fn the_first_invalid_character_is_named_with_its_place() {
    for (document, error) in [
        ("nonsense", "'o' in literal null (expecting 'u')"),
        ("t", "' ' in literal true (expecting 'r')"),
        ("[falsy]", "'y' in literal false (expecting 'e')"),
        ("{}x", "'x' after top-level value"),
        ("{} {", "'{' after top-level value"),
        ("\u{feff}{}", "'ï' looking for beginning of value"),
        ("]", "']' looking for beginning of value"),
        ("[1,]", "']' looking for beginning of value"),
        ("{a}", "'a' looking for beginning of object key string"),
        (r#"{"a":1,}"#, "'}' looking for beginning of object key string"),
        ("{'", r"'\'' looking for beginning of object key string"),
        (r#"{"a" 1}"#, "'1' after object key"),
        (r#"{"a":01}"#, "'1' after object key:value pair"),
        (r#"[1 "a"]"#, "'\"' after array element"),
        ("[-]", "']' in numeric literal"),
        ("[1.]", "']' after decimal point in numeric literal"),
        ("[1e]", "']' in exponent of numeric literal"),
        ("[1e+]", "']' in exponent of numeric literal"),
        ("\"\n\"", r"'\n' in string literal"),
        ("\"\x01\"", r"'\x01' in string literal"),
        (r#""\q""#, "'q' in string escape code"),
        (r#""\u12""#, "'\"' in \\u hexadecimal character escape"),
        ("\x7f", r"'\x7f' looking for beginning of value"),
    ] {
        let error = Err(format!("invalid character {error}"));
        assert_eq!(read(document.as_bytes()), error, "{document}");
    }
    let error = Err(r"invalid character '\u0080' looking for beginning of value".into());
    assert_eq!(read(b"\x80"), error);
}

#[test]
fn everything_that_is_valid_is_accepted() {
    for document in [
        " null\r\n",
        "{}",
        r#"{"a":[],"b":{"c":[{}, [1, -2.5E-3, 0, 1e9], true, false, null]}, "d" : "x"}"#,
        "\t{ \"a\" :\n1 , \"b\" : 0.0 }\r",
    ] {
        assert_eq!(read(document.as_bytes()), Ok((None, Vec::new())), "{document}");
    }
}

#[test]
fn members_are_found_by_their_keys_and_have_types() {
    let document = br#"{"a":1,"A":[null,"x"],"a":-2,"b":{"c":1.0},"n":null}"#;
    let value = read_value(document).unwrap();
    let member = |name: &'static str| value.member(move |key| key == name);
    assert!(value.is_object());
    assert_eq!(member("a").and_then(Value::integer), Some(-2));
    assert_eq!(value.member(|key| folded(key) == "a").and_then(Value::integer), Some(-2));
    let elements = member("A").and_then(Value::elements).unwrap();
    assert_eq!(elements.map(Value::string).collect::<Vec<_>>(), [None, Some("x".into())]);
    let inner = member("b").and_then(|it| it.member(|key| key == "c")).unwrap();
    assert_eq!((inner.integer(), inner.string(), inner.is_object()), (None, None, false));
    assert!(member("n").is_none() && member("x").is_none());
    assert!(inner.member(|_| true).is_none() && inner.elements().is_none());
    assert!(read_value(b"{}x").is_err());
}

#[test]
fn a_text_is_an_object_if_all_of_it_is_one() {
    for (text, expected) in [
        (&b" {\"a\":1}\t"[..], Some("{\"a\":1}")),
        (b"{}", Some("{}")),
        (b"", None),
        (b"[{}]", None),
        (b"{} {}", None),
        (b"{\"a\":\"\xff\"}", None),
    ] {
        assert_eq!(is_object(text), expected);
    }
}

#[test]
fn text_is_written_as_go_writes_it() {
    assert_eq!(quoted("\"a\\\u{8}\u{c}\n\r\t\0\u{1f}"), r#""\"a\\\b\f\n\r\t\u0000\u001f""#);
    assert_eq!(
        quoted("<&>\u{2028}\u{2029}é\u{7f}"),
        "\"\\u003c\\u0026\\u003e\\u2028\\u2029é\u{7f}\""
    );
}
