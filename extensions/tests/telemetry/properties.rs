//! Arbitrary batches in arbitrary pieces, beside serde_json.

use lambda_proto_extension::telemetry::{Body, Deliveries, Fate, Json, Log, Record};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::{Arrival, post, post_chunked, receive};

fn values() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        "[\\[\\]{},:\"\\\\ \n\u{0}-\u{1f}\u{7f}é🍵]{0,20}",
        Just("requestId".to_owned()),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| json!(number)),
        any::<u64>().prop_map(|number| json!(number)),
        // serde_json reads these exactly.
        any::<i32>().prop_map(|number| json!(f64::from(number) / 8.0)),
        text.clone().prop_map(Value::String),
    ];
    leaf.prop_recursive(6, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec((text.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn events() -> impl Strategy<Value = Value> {
    let kinds = prop::sample::select(vec![
        "function",
        "extension",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
        "platform.logsDropped",
        "platform.initStart",
        "platform.fault",
        "platform.new",
    ]);
    prop_oneof![
        8 => (kinds, values()).prop_map(|(kind, record)| json!({
            "time": "2022-10-12T00:00:15.064Z", "type": kind, "record": record,
        })),
        1 => values(),
    ]
}

/// Compact or not, as text; only white space differs.
fn text(batch: &[Value], is_pretty: bool) -> String {
    let batch = Value::Array(batch.to_vec());
    if is_pretty { format!("{batch:#}\n") } else { batch.to_string() }
}

/// Compares a value with that of serde_json, with all that is in it.
fn check(ours: Json<'_>, theirs: &Value) {
    let read: Value = serde_json::from_str(ours.as_str()).unwrap();
    assert_eq!(read, *theirs);
    match theirs {
        Value::String(text) => assert_eq!(ours.to_text().unwrap().to_string(), *text),
        Value::Number(number) => {
            let ours = ours.to_number().unwrap();
            assert_eq!(ours.as_str(), number.to_string());
            assert_eq!(number.as_u64(), ours.to_u64().filter(|_| number.is_u64()));
        }
        Value::Array(elements) => {
            assert_eq!(ours.elements().count(), elements.len());
            ours.elements().zip(elements).for_each(|(ours, theirs)| check(ours, theirs));
        }
        Value::Object(members) => {
            assert_eq!(ours.members().count(), members.len());
            for (name, theirs) in members {
                check(ours.member(name).unwrap(), theirs);
            }
        }
        Value::Null => assert!(ours.is_null()),
        Value::Bool(_) => {}
    }
}

proptest! {
    #[test]
    fn batches_are_the_same_elements_as_for_serde_json_however_they_arrive(
        batch in prop::collection::vec(events(), 0..8),
        is_pretty: bool,
        chunk in prop::option::of(1_usize..200),
        numbers in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let body = text(&batch, is_pretty);
        let request = match chunk {
            Some(size) => post_chunked(size, body.as_bytes()),
            None => post(&body),
        };
        let mut cuts: Vec<_> = numbers.iter().map(|number| number.index(request.len())).collect();
        cuts.sort_unstable();
        let arrival = Arrival { cuts: &cuts, is_ended: true, takes: 10 };
        let mut deliveries = Deliveries::new();
        let seen = receive(&mut deliveries, body.len() + 500, &request, &arrival, |_| Fate::Taken);
        prop_assert_eq!(seen.statuses(), ["200"]);
        prop_assert_eq!(seen.refusals.len(), 0);
        let (mut records, mut unread) = (seen.records.iter(), seen.unread.iter());
        for event in &batch {
            // Every element is handed out once, in order, and as it was sent.
            let raw = event_text(event, is_pretty);
            let read = Record::parse(raw.as_bytes());
            let ours = match &read {
                Ok(_) => records.next().cloned(),
                Err(_) => unread.next().map(|(raw, _)| String::from_utf8(raw.clone()).unwrap()),
            };
            let ours = ours.expect("it was handed out");
            prop_assert_eq!(&serde_json::from_str::<Value>(&ours).unwrap(), event);
            check(Json::parse(ours.as_bytes()).unwrap(), event);
            if let Ok(record) = read {
                prop_assert_eq!(record.record_type.to_string(), event["type"].as_str().unwrap());
                match record.body {
                    Body::FunctionLog(Log::Text(line)) | Body::ExtensionLog(Log::Text(line)) => {
                        prop_assert_eq!(line.to_string(), event["record"].as_str().unwrap());
                    }
                    Body::FunctionLog(Log::Json(json)) | Body::ExtensionLog(Log::Json(json)) | Body::Other(json) => {
                        check(json, &event["record"]);
                    }
                    Body::Start(start) => {
                        let id = event["record"]["requestId"].as_str().unwrap_or_default();
                        prop_assert_eq!(start.request_id.to_string(), id);
                    }
                    _ => {}
                }
            }
        }
        prop_assert!(records.next().is_none() && unread.next().is_none());
    }

    #[test]
    fn a_document_is_json_exactly_if_it_is_for_serde_json(
        value in values(),
        at in any::<prop::sample::Index>(),
        with in prop::option::of(prop::sample::select(b"{}[],:\"\\ 0-.e\x00\x1f\x7f\xffntu".to_vec())),
    ) {
        // A document with one byte replaced or removed.
        let mut document = value.to_string().into_bytes();
        let at = at.index(document.len());
        match with {
            Some(byte) => document[at] = byte,
            None => drop(document.remove(at)),
        }
        // serde_json skips texts without a look at their encoding, and numbers of any size.
        let theirs = serde_json::from_slice::<IgnoredAny>(&document).is_ok();
        let theirs = theirs && str::from_utf8(&document).is_ok();
        prop_assert_eq!(Json::parse(&document).is_ok(), theirs, "{}", document.escape_ascii());
    }

    #[test]
    fn arbitrary_bytes_never_break_a_receiver_and_mean_the_same_however_they_arrive(
        body in prop::collection::vec(prop::sample::select(b"[]{},:\"\\ a1\n\xff".to_vec()), 0..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let request = post(&body);
        let receive = |cuts: &[usize]| {
            let arrival = Arrival { cuts, is_ended: true, takes: 1 };
            receive(&mut Deliveries::new(), 200, &request, &arrival, |_| Fate::Taken)
        };
        let whole = receive(&[]);
        prop_assert_eq!(&receive(&[cut.index(request.len())]), &whole);
        let each: Vec<_> = (1..request.len()).collect();
        prop_assert_eq!(&receive(&each), &whole);
    }
}

fn event_text(event: &Value, is_pretty: bool) -> String {
    if is_pretty { format!("{event:#}") } else { event.to_string() }
}
