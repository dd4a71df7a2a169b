//! Where the records of a batch begin and end.

use lambda_proto_extension::telemetry::{Deliveries, Fate, Refusal};

use super::{
    Arrival, Seen, WHOLE, batch, event, post, post_chunked, receive, receive_cut, receive_cut_with,
};

/// Records, what could not be read with its reason, and statuses.
type Elements = (Vec<String>, Vec<(Vec<u8>, String)>, Vec<String>);

/// The records and the reasons of a body, and the statuses of the replies.
fn elements(body: impl AsRef<[u8]>) -> Elements {
    let Seen { records, unread, .. } = receive_cut(&post(&body));
    let statuses = receive_cut(&post(body)).statuses().iter().map(ToString::to_string).collect();
    (records, unread, statuses)
}

fn said(unread: &[(&str, &str)]) -> Vec<(Vec<u8>, String)> {
    unread.iter().map(|(raw, reason)| (raw.as_bytes().to_vec(), (*reason).to_owned())).collect()
}

#[test]
fn white_space_between_records_does_not_belong_to_them() {
    let [one, two] = [event("function", "\"1 \""), event("function", "\" 2\"")];
    let body = format!(" \r\n\t[ {one}\t,\n\r {two} \n]\r\n ");
    assert_eq!(elements(body), (vec![one, two], vec![], vec!["200".to_owned()]));
}

#[test]
fn an_empty_array_is_a_batch_without_records() {
    for body in ["[]", " [ \n ] "] {
        let seen = receive_cut(&post(body));
        assert_eq!((seen.begun, seen.batches.len(), seen.statuses()), (1, 1, vec!["200"]));
        assert!(seen.records.is_empty() && seen.unread.is_empty());
    }
}

#[test]
fn the_neighbours_of_an_unreadable_record_arrive() {
    let [one, two] = [event("function", "\"1\""), event("function", "\"2\"")];
    for (broken, reason) in [
        ("{\"type\":]}", "not JSON"),
        ("{]}", "not JSON"),
        ("}", "not JSON"),
        ("nothing", "not JSON"),
        ("{\"type\" 7}", "not JSON"),
        ("{\"a\":{\"b\":[1}]}", "not JSON"),
        ("7", "not a JSON object"),
        ("null", "not a JSON object"),
        ("\"te,xt]\\\"\"", "not a JSON object"),
        ("[{\"type\":\"function\"}]", "not a JSON object"),
        ("", "not JSON"),
    ] {
        let body = format!("[{one},{broken},{two}]");
        let expected =
            (vec![one.clone(), two.clone()], said(&[(broken, reason)]), vec!["200".to_owned()]);
        assert_eq!(elements(body), expected, "{broken}");
    }
}

#[test]
fn commas_without_records_are_unreadable_records() {
    let one = event("function", "\"1\"");
    let empty = ("", "not JSON");
    assert_eq!(elements("[,]").1, said(&[empty, empty]));
    assert_eq!(
        elements(format!("[{one},]")),
        (vec![one.clone()], said(&[empty]), vec!["200".to_owned()])
    );
    assert_eq!(
        elements(format!("[ , {one}]")),
        (vec![one], said(&[empty]), vec!["200".to_owned()])
    );
}

#[test]
fn an_array_that_is_not_closed_has_its_rest_as_the_last_record() {
    let one = event("function", "\"1\"");
    let reason = "the batch ends before the record does";
    for rest in ["{\"type\":\"func", "{\"type\":\"function\"}", "\"te]xt", ""] {
        let expected = (vec![one.clone()], said(&[(rest, reason)]), vec!["200".to_owned()]);
        assert_eq!(elements(format!("[{one},{rest}")), expected, "{rest}");
    }
    assert_eq!(elements("[").1, said(&[("", reason)]));
}

#[test]
fn what_follows_the_array_is_one_unreadable_record() {
    let one = event("function", "\"1\"");
    let reason = "it follows the end of the batch";
    for rest in ["]", "[]", "x y", ",{}", "{\"type\":\"function\"}"] {
        let expected = (vec![one.clone()], said(&[(rest, reason)]), vec!["200".to_owned()]);
        assert_eq!(elements(format!("[{one}] {rest} ")), expected, "{rest}");
    }
}

#[test]
fn a_body_that_is_no_array_is_no_batch() {
    for body in ["", " ", "{}", "null", "{\"a\":[]}", "x[]", "\u{feff}[]", "\"[]\"", "]"] {
        let seen = receive_cut(&post(body));
        let refusal = Refusal::NotABatch { delivery: 1, is_lost: false };
        assert_eq!((seen.refusals, seen.batches.len()), (vec![refusal], 0), "{body}");
        assert!(seen.written.starts_with(b"HTTP/1.1 400 Bad Request\r\n"), "{body}");
        assert!(!seen.is_closed);
    }
}

#[test]
fn a_record_may_be_as_long_as_the_memory() {
    let memory = 512;
    let filler = |length: usize| {
        let empty = event("function", "\"\"").len();
        event("function", &format!("\"{}\"", "x".repeat(length - empty)))
    };
    // The byte after a record, which ends it, has to fit, too.
    let [fits, small] = [filler(memory - 1), event("function", "\"small\"")];
    let body = batch(&[&small, &fits, &small]);
    let seen = receive_cut_with(memory, &post(body), false);
    assert_eq!((seen.records, seen.unread), (vec![small.clone(), fits, small], vec![]));
}

#[test]
fn a_longer_record_is_skipped_with_its_size_and_its_neighbours_arrive() {
    let memory = 512;
    let small = event("function", "\"small\"");
    for text in ["x".repeat(600), "],[".repeat(400), "\\\"".repeat(3000)] {
        let long = event("function", &format!("\"{text}\""));
        let body = batch(&[&small, &long, &small]);
        for request in [post(&body), post_chunked(100, body.as_bytes())] {
            let seen = receive_cut_some(memory, &request);
            assert_eq!(seen.records, [&small[..], &small]);
            let reason = format!("its {} bytes do not fit the memory", long.len());
            assert_eq!(seen.unread, [(vec![], reason)]);
            assert_eq!(
                seen.batches.iter().map(|it| (it.records(), it.unread())).collect::<Vec<_>>(),
                [(3, 1)]
            );
            assert_eq!(seen.statuses(), ["200"]);
        }
    }
}

/// Receives the bytes whole, byte by byte, and in pieces of some sizes.
fn receive_cut_some(memory: usize, bytes: &[u8]) -> Seen {
    let receive = |size: usize| {
        let cuts: Vec<_> = (1..bytes.len()).filter(|cut| cut % size == 0).collect();
        let arrival = Arrival { cuts: &cuts, ..WHOLE };
        receive(&mut Deliveries::new(), memory, bytes, &arrival, |_| Fate::Taken)
    };
    let whole = receive(usize::MAX);
    for size in [1, 7, 100, 511, 512, 513] {
        assert_eq!(receive(size), whole, "in pieces of {size}");
    }
    whole
}

#[test]
fn chunks_are_joined_wherever_they_cut_a_record() {
    let events =
        [event("function", "\"a\\\\\\\"],[\""), event("platform.start", "{\"requestId\":\"r\"}")];
    let body = batch(&events);
    for size in [1, 2, 3, 10, 64, body.len()] {
        let seen = receive_cut(&post_chunked(size, body.as_bytes()));
        assert_eq!(seen.records, events, "in chunks of {size}");
        assert_eq!(seen.statuses(), ["200"]);
    }
}

#[test]
fn a_batch_of_any_size_is_received_in_the_same_memory() {
    let memory = 1024;
    let line = event("function", &format!("\"{}\"", "y".repeat(300)));
    let count = 20_000;
    let body = batch(&vec![line.clone(); count]);
    assert!(body.len() > 5_000 * memory);
    for request in [post(&body), post_chunked(10_000, body.as_bytes())] {
        let seen = receive(&mut Deliveries::new(), memory, &request, &WHOLE, |_| Fate::Taken);
        assert_eq!(seen.records.len(), count);
        assert!(seen.records.iter().all(|record| *record == line));
        assert_eq!((seen.unread.len(), seen.statuses()), (0, vec!["200"]));
    }
}
