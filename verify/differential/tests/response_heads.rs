//! Replies of a service, read by `lambda-proto` and by hyper's client: status, fields, how the body
//! ends, and whether the connection persists.
//!
//! Heads are compared with httparse in `core/src/http/tests/head.rs`, in both directions.

use std::fs;

use lambda_proto::limits::{MAX_FIELDS, MAX_HEAD};
use lambda_proto_differential::{Difference, Reading, receive_by_hyper, receive_by_ours};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

fn ours(input: &[u8]) -> Reading {
    receive_by_ours([input])
}

/// Compares both readers, and returns the difference if it is a wanted one.
fn compare(input: &[u8]) -> (Reading, Option<&'static Difference>) {
    let (ours, theirs) = (ours(input), receive_by_hyper(input));
    let difference = Difference::of(WANTED, input, &ours, &theirs);
    (ours, difference)
}

/// Where the readers differ, and why the difference is wanted.
const WANTED: &[Difference] = &[
    Difference {
        why: "a bare line feed ends a line for some readers and not for others (RFC 9112 section 2.2 \
              lets a recipient accept it), so readers could disagree about where a head ends",
        ours: "Head(BareLineFeed)",
        theirs: "accepted",
        is: has_bare_line_feed,
        example: b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    },
    Difference {
        why: "only servers should skip blank lines before a message (RFC 9112 section 2.2); before a \
              reply they belong to the previous reply",
        ours: "Head(LeadingBlankLine)",
        theirs: "accepted",
        is: has_blank_line_before_a_head,
        example: b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    },
    Difference {
        why: "a reply with both a length and chunks may be an attack (RFC 9112 section 6.3); hyper \
              uses the chunks",
        ours: "Head(LengthWithChunked)",
        theirs: "accepted",
        is: |input| has(input, "content-length") && has(input, "transfer-encoding"),
        example:
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    },
    Difference {
        why: "invalid or different lengths are an error even where no body is expected and where \
              there are chunks; hyper reads them only if it needs a length",
        ours: "Head(BadContentLength)",
        theirs: "accepted",
        is: |input| has(input, "content-length"),
        example: b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    },
    Difference {
        why: "only `chunked` can be decoded, once, and not in HTTP/1.0; hyper hands out the body in \
              other codings as it is, up to the last chunk or the end of the stream",
        ours: "Head(UnknownTransferEncoding)",
        theirs: "accepted",
        is: |input| has(input, "transfer-encoding"),
        example: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    },
    Difference {
        why: "the client has not asked for another protocol, which cannot carry an invocation; hyper \
              leaves the decision to its user",
        ours: "SwitchedProtocols",
        theirs: "accepted",
        is: |input| has(input, " 101"),
        example: b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    },
    Difference {
        why: "the service writes values of its callers unchanged, and a control character in them \
              must not end a runtime",
        ours: "accepted",
        theirs: "invalid HTTP header parsed",
        is: has_control_character,
        example:
            b"HTTP/1.1 200 OK\r\nLambda-Runtime-Client-Context: {\x01}\r\nContent-Length: 0\r\n\r\n",
    },
    Difference {
        why: "a client ignores the reason phrase (RFC 9112 section 4), so its characters do not matter",
        ours: "accepted",
        theirs: "invalid HTTP status-code parsed",
        is: has_control_character,
        example: b"HTTP/1.1 200 \x01\r\nContent-Length: 0\r\n\r\n",
    },
];

fn has(input: &[u8], text: &str) -> bool {
    input.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
}

fn has_bare_line_feed(input: &[u8]) -> bool {
    input.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r')
}

fn has_blank_line_before_a_head(input: &[u8]) -> bool {
    let starts = [&b"\r\n"[..], b"\n"].into_iter();
    starts.clone().any(|blank| input.starts_with(blank))
        // After an interim reply.
        || has(input, "\r\n\r\n\r\n")
        || has(input, "\r\n\r\n\n")
}

fn has_control_character(input: &[u8]) -> bool {
    input.iter().any(|byte| byte.is_ascii_control() && !b"\r\n\t".contains(byte))
}

#[test]
fn every_wanted_difference_occurs() {
    Difference::check_each(WANTED, ours, receive_by_hyper);
}

#[test]
#[should_panic(expected = "decide whether this difference is wanted")]
fn a_difference_that_is_not_wanted_is_reported() {
    // As if our reader read one byte less.
    let input = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
    let theirs = receive_by_hyper(input);
    let mut ours = theirs.clone();
    let Reading::Accepted(reply) = &mut ours else { panic!("{ours:?}") };
    reply.body.pop();
    Difference::of(WANTED, input, &ours, &theirs);
}

#[test]
fn each_reader_has_its_own_limit_for_a_head() {
    let many = |count: usize| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n", "A: b\r\n".repeat(count - 1))
    };
    let long = |length: usize| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: \r\n\r\n";
        head.replace("A: ", &format!("A: {}", "b".repeat(length - head.len())))
    };
    for (input, of_ours, of_hyper) in [
        (many(100), "accepted", "accepted"),
        (many(101), "accepted", "message head is too large"),
        (many(MAX_FIELDS), "accepted", "message head is too large"),
        (many(MAX_FIELDS + 1), "Head(TooManyFields)", "message head is too large"),
        (long(MAX_HEAD), "accepted", "accepted"),
        (long(MAX_HEAD + 1), "Head(TooLarge)", "accepted"),
        (long(8 * MAX_HEAD), "Head(TooLarge)", "message head is too large"),
    ] {
        let (ours, theirs) = (ours(input.as_bytes()), receive_by_hyper(input.as_bytes()));
        assert_eq!((ours.verdict(), theirs.verdict()), (of_ours, of_hyper), "{}", input.len());
    }
}

/// The replies that are recorded in the tests of `core` and `extensions`, each with all bytes that
/// follow it.
fn recorded() -> Vec<Vec<u8>> {
    let files = ["core", "extensions"].into_iter().flat_map(|of| {
        let folder = format!("{}/../../{of}/tests/captures", env!("CARGO_MANIFEST_DIR"));
        fs::read_dir(folder).expect("the folder").map(|file| file.expect("a file").path())
    });
    let mut files: Vec<_> =
        files.filter(|file| file.to_string_lossy().ends_with(".s2c.bin")).collect();
    files.sort();
    let mut recorded = Vec::new();
    for file in files {
        let bytes = fs::read(file).expect("a file");
        let mut at = 0;
        while at < bytes.len() {
            recorded.push(bytes[at..].to_vec());
            let Reading::Accepted(reply) = ours(&bytes[at..]) else { panic!("a whole reply") };
            at += reply.length;
        }
    }
    recorded
}

#[test]
fn recorded_replies_are_read_alike_alone_and_before_others() {
    let recorded = recorded();
    assert!(recorded.len() > 60, "{}", recorded.len());
    for bytes in recorded {
        let (Reading::Accepted(reply), None) = compare(&bytes) else { panic!("a whole reply") };
        let alone = &bytes[..reply.length];
        let (Reading::Accepted(reply), None) = compare(alone) else { panic!("a whole reply") };
        assert_eq!(reply.length, alone.len());
        // If the rest is missing, it is missing for both readers.
        for cut in (0..alone.len()).rev().take(300) {
            compare(&alone[..cut]);
        }
    }
}

/// A change to a recorded reply.
#[derive(Clone, Debug)]
enum Mutation {
    Replace(u8),
    Insert(&'static str),
    Remove(usize),
    Repeat(usize),
}

fn mutated(recorded: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let mutation = prop_oneof![
        2 => any::<u8>().prop_map(Mutation::Replace),
        2 => prop::sample::select(&["\r", "\n", "\r\n", ":", " ", "0", ",", ";", "\0", "\t"][..])
            .prop_map(Mutation::Insert),
        1 => prop::sample::select(&[
                "Content-Length: 2\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n",
                "HTTP/1.1 100 Continue\r\n\r\n",
            ][..]).prop_map(Mutation::Insert),
        1 => (1..20usize).prop_map(Mutation::Remove),
        1 => (1..40usize).prop_map(Mutation::Repeat),
    ];
    let mutations = prop::collection::vec((any::<prop::sample::Index>(), mutation), 1..4);
    (prop::sample::select(recorded), mutations).prop_map(|(mut bytes, mutations)| {
        // The rest of a large event makes no difference.
        bytes.truncate(2_000);
        for (at, mutation) in mutations {
            let at = at.index(bytes.len());
            let length_of_all = bytes.len();
            let end = |length: usize| (at + length).min(length_of_all);
            match mutation {
                Mutation::Replace(byte) => bytes[at] = byte,
                Mutation::Insert(text) => drop(bytes.splice(at..at, text.bytes())),
                Mutation::Remove(length) if length < bytes.len() => {
                    drop(bytes.drain(at..end(length)));
                }
                Mutation::Remove(_) => {}
                Mutation::Repeat(length) => {
                    let part = bytes[at..end(length)].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        bytes
    })
}

proptest! {
    // Integration tests have no place for regression files; a counterexample belongs in a test.
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: CASES, ..Default::default() })]

    #[test]
    fn nearly_valid_replies_are_read_alike(input in near_a_reply()) {
        compare(&input);
    }

    #[test]
    fn recorded_replies_with_faults_are_read_alike(input in mutated(recorded())) {
        compare(&input);
    }
}

/// How many replies of each kind are generated.
const CASES: u32 = 3_000;

#[test]
fn many_nearly_valid_replies_are_valid() {
    // Otherwise the properties above would prove little.
    let mut runner = TestRunner::deterministic();
    let near_a_reply = near_a_reply();
    let replies = (0..400).filter(|_| {
        let input = near_a_reply.new_tree(&mut runner).expect("it is not filtered").current();
        matches!(compare(&input), (Reading::Accepted(_), None))
    });
    assert!(replies.count() > 100);
}

/// Lines that are nearly those of a reply; most of them are right.
fn near_a_reply() -> impl Strategy<Value = Vec<u8>> {
    let line_end =
        || prop_oneof![60 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\r\n")];
    let interim = prop_oneof![
        8 => Just(""),
        1 => Just("HTTP/1.1 100 Continue\r\n\r\n"),
        1 => Just("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"),
    ];
    let blank = prop_oneof![20 => Just(""), 1 => Just("\r\n"), 1 => Just("\n")];
    let status = prop_oneof![
        8 => "HTTP/1\\.1 (200|202|400|403|500)( [ -~]{0,8})?",
        3 => "HTTP/1\\.[01] (101|204|205|304|[1-9][0-9]{2})( [ -~]{0,8})?",
        1 => "HTTP/1\\.1 200 [\u{0}-\u{ff}&&[^\r\n]]{0,8}",
        1 => "(http|HTTP)/[0-3]\\.?[0-9]? [ 0-9]{1,4}[ -~]{0,8}",
    ];
    let field = prop_oneof![
        6 => "[A-Za-z-]{1,9}:[ \t]{0,2}[!-~\u{e9}]{0,9}[ \t]{0,2}",
        2 => "(content-length|Content-Length):[ \t]{0,2}[0-9]{1,2}[ \t]{0,2}",
        2 => "(transfer-encoding|Transfer-Encoding): ?[cC]hunked ?",
        2 => "Connection: ?(close|keep-alive|Close|Keep-Alive|upgrade|, close|close, x)",
        1 => "(Content-Length|Transfer-Encoding|Connection|Upgrade): ?[!-~]{0,4}\
              (chunked|gzip|close|[0-9]{1,21}|,|;| )[!-~]{0,2}",
        1 => "[!-~]{0,9}:[\u{0}-\u{ff}&&[^\r\n]]{0,20}",
        1 => "[ -~]{0,12}",
    ];
    let fields = prop::collection::vec((field, line_end()), 0..5);
    let behind = prop_oneof![
        2 => Just(String::new()),
        2 => "[ -~]{1,12}",
        4 => "(1\r\na\r\n)?(3\r\n[a-z]{3}\r\n)?0\r\n\r\n",
    ];
    let behind = (behind, prop_oneof![4 => Just(""), 1 => Just("HTTP/1.1 200 OK\r\n\r\n")]);
    (interim, blank, status, line_end(), fields, line_end(), behind).prop_map(
        |(interim, blank, status, end, fields, last, (behind, next))| {
            let fields: String = fields.into_iter().map(|(field, end)| field + end).collect();
            let head = format!("{interim}{blank}{status}{end}{fields}{last}");
            // A character stands for the byte of its number.
            let head = head.chars().map(|character| character as u32 as u8);
            head.chain(format!("{behind}{next}").into_bytes()).collect()
        },
    )
}
