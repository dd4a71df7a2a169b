//! JSON that `lambda-proto` reads.

use lambda_proto::limits::MAX_JSON_DEPTH;
use lambda_proto_differential::{Difference, Reading};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::any_json;
use crate::documents::{DOCUMENTS, Document, Strings};

impl Document {
    fn ours(&self, document: &[u8]) -> Reading<Strings> {
        match (self.ours)(document) {
            Ok(strings) => Reading::Accepted(strings),
            Err(error) => Reading::Refused(format!("{error:?}")),
        }
    }

    fn theirs(&self, document: &[u8]) -> Reading<Strings> {
        match (self.theirs)(document) {
            Ok(strings) => Reading::Accepted(strings),
            Err(error) => Reading::Refused(error.to_string()),
        }
    }

    fn compare(&self, document: &[u8]) -> (Reading<Strings>, Option<&'static Difference>) {
        let (ours, theirs) = (self.ours(document), self.theirs(document));
        let difference = Difference::of(WANTED, document, &ours, &theirs);
        (ours, difference)
    }
}

/// Where the readers differ, and why the difference is wanted. The examples are service errors.
const WANTED: &[Difference] = &[
    Difference {
        why: "strings are handed out undecoded and decoded on access: an invalid escape becomes \
              U+FFFD, and a control character stands for itself; strings in unknown members are \
              never decoded",
        ours: "accepted",
        theirs: "*",
        is: has_a_bad_string,
        example: br#"{"errorType":"\ud800"}"#,
    },
    Difference {
        why: "values of unknown members are skipped, not read: a reader without recursion or memory \
              does not need to check numbers, words and commas in them",
        ours: "accepted",
        theirs: "*",
        is: has_a_bad_scalar,
        example: br#"{"unknown":nulls}"#,
    },
    Difference {
        why: "nesting is bounded for stacks that are smaller than serde_json assumes",
        ours: "TooDeep",
        theirs: "accepted",
        is: |document| document.iter().filter(|byte| b"[{".contains(byte)).count() > MAX_JSON_DEPTH,
        example: too_deep(),
    },
    Difference {
        why: "serde also reads an array as a struct, with its fields in order; the service writes \
              objects",
        ours: "NotTheDocument",
        theirs: "accepted",
        is: |document| document.contains(&b'['),
        example: br#"["T","m"]"#,
    },
    Difference {
        why: "a name is recognised only as the service writes it, without escapes",
        ours: "accepted",
        theirs: "accepted",
        is: |document| strings(document).any(|it| it.contains(&b'\\')),
        example: br#"{"error\u0054ype":"T"}"#,
    },
];

/// A document with 65 levels.
const fn too_deep() -> &'static [u8] {
    const DEPTH: usize = MAX_JSON_DEPTH;
    const START: &[u8] = br#"{"unknown":"#;
    static DEEP: [u8; START.len() + 2 * DEPTH + 1] = {
        let mut deep = [b'}'; START.len() + 2 * DEPTH + 1];
        let mut at = 0;
        while at < START.len() {
            deep[at] = START[at];
            at += 1;
        }
        while at < START.len() + 2 * DEPTH {
            deep[at] = if at < START.len() + DEPTH { b'[' } else { b']' };
            at += 1;
        }
        deep
    };
    &DEEP
}

/// The strings of a document, with their quotes.
fn strings(document: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = document;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|&byte| byte == b'"')?;
        let mut end = start + 1;
        while *rest.get(end)? != b'"' {
            end += if rest[end] == b'\\' { 2 } else { 1 };
        }
        let string = &rest[start..=end];
        rest = &rest[end + 1..];
        Some(string)
    })
}

fn has_a_bad_string(document: &[u8]) -> bool {
    strings(document).any(|it| serde_json::from_slice::<String>(it).is_err())
}

/// Whether a scalar is invalid, or a comma does not separate two values.
fn has_a_bad_scalar(document: &[u8]) -> bool {
    let mut rest = document;
    // Replaces each string by a number, so that only the scalars and commas are left to check.
    let mut plain = Vec::new();
    for string in strings(document) {
        let at = rest.windows(string.len()).position(|it| it == string).expect("it is there");
        plain.extend_from_slice(&rest[..at]);
        plain.push(b'0');
        rest = &rest[at + string.len()..];
    }
    plain.extend_from_slice(rest);
    let scalars = plain.split(|byte| b"{}[],:".contains(byte)).map(<[u8]>::trim_ascii);
    let mut scalars = scalars.filter(|scalar| !scalar.is_empty());
    let is_bad = scalars.any(|it| serde_json::from_slice::<Value>(it).is_err());
    plain.retain(|byte| !byte.is_ascii_whitespace());
    let is_double = |pair: &[u8]| {
        let [one, other] = pair else { return false };
        (*one == b',' && b",]}".contains(other)) || (b"[{".contains(one) && *other == b',')
    };
    is_bad || plain.windows(2).any(is_double)
}

#[test]
fn every_wanted_difference_occurs() {
    let [service_error, ..] = &DOCUMENTS;
    Difference::check_each(WANTED, |it| service_error.ours(it), |it| service_error.theirs(it));
}

/// Documents with these names that are nearly JSON; most of them are valid.
fn near_a_document(names: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let blank = || prop_oneof![12 => Just(String::new()), 1 => "[ \t\r\n]{1,2}"];
    let part = prop_oneof![
        12 => "[ -!#-\\[\\]-~]{1,4}",
        3 => "\\\\[\"\\\\/bfnrt]",
        2 => "\\\\u[0-9a-fA-F]{4}",
        1 => "\\\\ud83c\\\\udf75",
        2 => "[\u{80}-\u{10ffff}\u{7f}]{1,3}",
        1 => "\\\\(u[dD][89a-fA-F][0-9a-f]{2}|[ -~])",
        1 => "[\u{0}-\u{1f}]",
    ];
    let parts = prop::collection::vec(part, 0..4);
    let string = prop_oneof![
        30 => parts.prop_map(|parts| format!("\"{}\"", parts.concat())),
        4 => prop::sample::select(&["\"INVOKE\"", "\"SHUTDOWN\""][..]).prop_map(str::to_owned),
        1 => "\"[ -~]{0,3}\"?",
    ];
    let number = prop_oneof![
        6 => "-?(0|[1-9][0-9]{0,20})",
        2 => "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
        1 => "[-+0-9.eE]{1,5}",
    ];
    let word = prop_oneof![6 => Just("null".to_owned()), 3 => "(true|false)", 1 => "[a-zN]{0,5}"];
    let leaf = prop_oneof![6 => string.clone(), 2 => number, 2 => word].boxed();
    let known = prop::sample::select(names).prop_map(|name| format!("\"{name}\""));
    let name = prop_oneof![8 => known, 3 => "\"[a-zA-Z\\[{:,]{0,6}\"", 1 => string].boxed();
    let value = leaf.clone().prop_recursive(3, 8, 3, {
        let name = name.clone();
        move |inner| prop_oneof![array(inner.clone()), object(name.clone(), inner)]
    });
    let value = prop_oneof![3 => leaf, 1 => value].boxed();
    let behind = prop_oneof![20 => Just(""), 1 => Just("x"), 1 => Just("{}"), 1 => Just("\x0c")];
    (blank(), object(name, value), blank(), behind).prop_map(|(before, object, after, behind)| {
        format!("{before}{object}{after}{behind}").into()
    })
}

fn array(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    listed(value, "[", "]")
}

fn object(
    name: impl Strategy<Value = String>,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    let wrong = prop::sample::select(&["", "::", ","][..]);
    let colon = prop_oneof![20 => Just(":"), 3 => Just(" : "), 1 => wrong];
    listed((name, colon, value).prop_map(|(name, colon, value)| name + colon + &value), "{", "}")
}

fn listed(
    item: impl Strategy<Value = String>,
    start: &'static str,
    end: &'static str,
) -> impl Strategy<Value = String> {
    let wrong = prop::sample::select(&["", ",,", " ", ":", "]", "}"][..]);
    let comma = prop_oneof![50 => Just(","), 8 => Just("\n, "), 1 => wrong.clone()];
    let end = prop_oneof![50 => Just(end), 1 => wrong];
    let items = prop::collection::vec((item, comma), 0..4);
    (items, end).prop_map(move |(items, end)| {
        let mut text = start.to_owned();
        let count = items.len();
        for (index, (item, comma)) in items.into_iter().enumerate() {
            text += &item;
            // A comma at the end would be an error, and there are enough others.
            text += if index + 1 == count && comma.contains(',') { "" } else { comma };
        }
        text + end
    })
}

#[test]
fn many_nearly_valid_documents_are_valid() {
    // Otherwise the property below would prove little.
    let mut runner = TestRunner::deterministic();
    for document in &DOCUMENTS {
        let near_a_document = near_a_document(document.names);
        let documents = (0..200).filter(|_| {
            let bytes =
                near_a_document.new_tree(&mut runner).expect("it is not filtered").current();
            matches!(document.compare(&bytes), (Reading::Accepted(_), None))
        });
        assert!(documents.count() > 50, "{:?}", document.names);
    }
}

#[test]
fn numbers_of_every_length_are_read_alike() {
    let [.., event] = &DOCUMENTS;
    for number in [
        "0",
        "1795252820229",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "-0",
        "-1",
        "00",
        "01",
        "1.0",
        "1e3",
        "1E0",
        "+1",
        ".5",
        "1.",
        "0x1",
        "\"1\"",
        "null",
        "true",
        "[1]",
        "{}",
        "",
        "99999999999999999999999999",
    ] {
        for event_type in ["INVOKE", "SHUTDOWN", "OTHER"] {
            let bytes = format!("{{\"eventType\":\"{event_type}\",\"deadlineMs\":{number}}}");
            let (_, difference) = event.compare(bytes.as_bytes());
            assert!(difference.is_none(), "{bytes}");
        }
    }
}

proptest! {
    // Integration tests have no place for regression files; a counterexample belongs in a test.
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..Default::default() })]

    #[test]
    fn nearly_valid_documents_are_read_alike(
        (at, bytes) in (0..DOCUMENTS.len())
            .prop_flat_map(|at| (Just(at), near_a_document(DOCUMENTS[at].names)))
    ) {
        DOCUMENTS[at].compare(&bytes);
    }

    #[test]
    fn documents_that_serde_json_writes_are_read(error_type: String, message: String, other in any_json()) {
        let document = json!({"a": other, "errorType": error_type, "z": other, "errorMessage": message});
        let [service_error, ..] = &DOCUMENTS;
        for bytes in [serde_json::to_vec(&document), serde_json::to_vec_pretty(&document)] {
            let (ours, difference) = service_error.compare(&bytes.expect("JSON"));
            prop_assert_eq!(ours, Reading::Accepted(vec![error_type.clone(), message.clone()]));
            prop_assert!(difference.is_none());
        }
    }
}
