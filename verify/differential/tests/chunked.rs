//! Chunked bodies: those of a service, read by `lambda-proto` and by hyper's client, and those that
//! `lambda-proto` writes, read by hyper's server.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_proto::api::{ContentType, Endpoint, ErrorReport};
use lambda_proto::limits::{MAX_CHUNK_LINE, MAX_RESPONSE_TRAILERS};
use lambda_proto::machine::Machine;
use lambda_proto_differential::{Difference, Reading, receive_by_hyper, receive_by_ours, serve};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Reads a body in one piece, byte by byte, and cut at every position.
fn ours(body: &[u8]) -> Reading {
    let whole = receive_by_ours([HEAD, body]);
    let slow = receive_by_ours([HEAD].into_iter().chain(body.chunks(1)));
    assert_eq!(slow, whole, "byte by byte: {}", body.escape_ascii());
    for cut in 0..body.len().min(300) {
        let (left, right) = body.split_at(cut);
        let parted = receive_by_ours([HEAD, left, right]);
        assert_eq!(parted, whole, "cut at {cut}: {}", body.escape_ascii());
    }
    whole
}

fn hyper(body: &[u8]) -> Reading {
    receive_by_hyper(&[HEAD, body].concat())
}

/// Where the readers differ, and why the difference is wanted. Heads do not differ here: all bodies
/// have the same head.
const WANTED: &[Difference] = &[
    Difference {
        why: "a bare line feed does not end a line, in trailers as in heads; hyper accepts it in \
              trailers, but not after a chunk size",
        ours: "Body(BadTrailer)",
        theirs: "accepted",
        is: |body| body.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r'),
        example: b"0\r\nA: b\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    },
    Difference {
        why: "the trailers of a service are skipped up to the empty line, whatever their names",
        ours: "accepted",
        theirs: "error reading a body from connection: invalid header name",
        // A body has no fields except trailers.
        is: |_| true,
        example: b"0\r\nno field\r\n\r\n",
    },
    Difference {
        why: "the trailers of a service are skipped up to the empty line, whatever their values",
        ours: "accepted",
        theirs: "error reading a body from connection: invalid header value",
        // A body has no fields except trailers.
        is: |_| true,
        example: b"0\r\nA: \x01\r\n\r\n",
    },
];

fn compare(body: &[u8]) -> (Reading, Option<&'static Difference>) {
    let (ours, theirs) = (ours(body), hyper(body));
    let difference = Difference::of(WANTED, body, &ours, &theirs);
    (ours, difference)
}

#[test]
fn every_wanted_difference_occurs() {
    Difference::check_each(WANTED, ours, hyper);
}

#[test]
fn a_size_is_hexadecimal_and_below_2_to_the_64th_for_both() {
    for size in ["2", "02", "0000000000000000000000002", "2;a", "2 ", "2\t;a=b", "2;\u{1}\u{e9}"] {
        let (Reading::Accepted(reply), None) = compare_size(size) else { panic!("{size:?}") };
        assert_eq!(reply.body, b"ab");
    }
    for size in ["7fffffffffffffff", "8000000000000000", "00ffffffffffffffff", "FFFFFFFFFFFFFFFF"] {
        let both = [compare_size(size).0, hyper(&sized(size))];
        assert_eq!(both, [Reading::Incomplete, Reading::Incomplete], "{size:?}");
    }
    let bad = "|g|+2|-2|0x2| 2|2 a|;a|２|2\r|2\n|2;\n|2;a\rb|10000000000000000|fffffffffffffffff|\
               100000000000000002";
    for size in bad.split('|') {
        let refused = Reading::Refused("Body(BadChunkSize)".to_owned());
        assert_eq!(compare_size(size).0, refused, "{size:?}");
        assert!(matches!(hyper(&sized(size)), Reading::Refused(_)), "{size:?}");
    }
}

fn sized(size: &str) -> Vec<u8> {
    format!("{size}\r\nab\r\n0\r\n\r\n").into_bytes()
}

fn compare_size(size: &str) -> (Reading, Option<&'static Difference>) {
    compare(&sized(size))
}

#[test]
fn each_reader_has_its_own_limits_for_lengths() {
    let chunk = |line: usize| format!("2;{}\r\nab\r\n", "a".repeat(line - 2));
    let zeros = |line: usize| format!("{}2\r\nab\r\n", "0".repeat(line - 1));
    let trailers = |length: usize| format!("0\r\nA: {}\r\n\r\n", "a".repeat(length - 5));
    let (end, body_error) = ("0\r\n\r\n", "error reading a body from connection: ");
    for (body, of_ours, of_hyper) in [
        (chunk(MAX_CHUNK_LINE) + end, "accepted", "accepted"),
        (chunk(MAX_CHUNK_LINE + 1) + end, "Body(ChunkLineTooLong)", "accepted"),
        (zeros(MAX_CHUNK_LINE) + end, "accepted", "accepted"),
        (zeros(MAX_CHUNK_LINE + 1) + end, "Body(ChunkLineTooLong)", "accepted"),
        // hyper counts the extensions of all chunks together, which a body of 6 MiB may exceed.
        (chunk(MAX_CHUNK_LINE).repeat(5) + end, "accepted", "chunk extensions over limit"),
        (
            "0\r\n".to_owned() + &"A: b\r\n".repeat(101) + "\r\n",
            "accepted",
            "chunk trailers count overflow",
        ),
        (trailers(MAX_RESPONSE_TRAILERS), "accepted", "chunk trailers bytes over limit"),
        (
            trailers(MAX_RESPONSE_TRAILERS + 1),
            "Body(TrailersTooLarge)",
            "chunk trailers bytes over limit",
        ),
    ] {
        let (ours, theirs) = (ours(body.as_bytes()), hyper(body.as_bytes()));
        let theirs = theirs.verdict();
        let theirs = theirs.strip_prefix(body_error).unwrap_or(theirs);
        assert_eq!((ours.verdict(), theirs), (of_ours, of_hyper), "{} bytes", body.len());
    }
}

/// The request that streams these chunks, and ends with a report if there is one.
fn streamed(chunks: &[Vec<u8>], report: Option<&ErrorReport<'_>>) -> Vec<u8> {
    let endpoint = Endpoint::parse("127.0.0.1:9001").expect("an address and a port");
    let mut machine = Machine::new(endpoint);
    let mut out = [0; 2048];
    machine.next(&mut out).expect("room");
    machine.sent(machine.unsent_len());
    let mut event = &b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\n\
                       Content-Length: 0\r\n\r\n"[..];
    while machine.receive(&mut event).expect("an event").is_some() {}

    let mut request = Vec::new();
    let mut send = |machine: &mut Machine, head: &[u8], body: &[u8]| {
        request.extend(machine.unsent(head, body).concat());
        machine.sent(machine.unsent_len());
    };
    let length = machine.stream(ContentType::JSON, &mut out).expect("room");
    send(&mut machine, &out[..length], b"");
    for chunk in chunks {
        let length = machine.chunk(chunk.len(), &mut out).expect("room");
        send(&mut machine, &out[..length], chunk);
    }
    let length = match report {
        Some(report) => machine.finish_with_error(report, &mut out),
        None => machine.finish(&mut out),
    };
    send(&mut machine, &out[..length.expect("room")], b"");
    request
}

/// Checks that hyper's server reads these chunks, and nothing else.
fn check_streamed(chunks: &[Vec<u8>]) {
    let request = serve(&streamed(chunks, None)).one().expect("one request");
    assert_eq!((request.body, request.trailers), (chunks.concat(), vec![]));
}

#[test]
fn chunks_of_every_number_of_digits_are_read_by_hypers_server() {
    for digits in 0..=5 {
        let power = 1 << (4 * digits);
        for length in [power - 1, power, power + 1] {
            check_streamed(&[vec![b'\n'; length], b"0\r\n\r\n".to_vec()]);
        }
    }
}

#[test]
fn a_report_in_trailers_is_read_by_hypers_server() {
    let report = ErrorReport::new("Function.Late", "a\r\nB: c").stack_trace("f\ng");
    let mut json = [0; 256];
    let json_length = report.encode_json(&mut json).expect("room");
    for chunks in [vec![], vec![b"abc".to_vec()]] {
        let request = serve(&streamed(&chunks, Some(&report))).one().expect("one request");
        assert_eq!(request.body, chunks.concat());
        assert_eq!(request.trailers.len(), 2);
        let error_type = request.trailer("Lambda-Runtime-Function-Error-Type");
        assert_eq!(error_type, Some(&b"Function.Late"[..]));
        let body = request.trailer("Lambda-Runtime-Function-Error-Body").expect("it is there");
        assert_eq!(STANDARD.decode(body).expect("base64"), json[..json_length]);
    }
}

proptest! {
    // Integration tests have no place for regression files; a counterexample belongs in a test.
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..Default::default() })]

    #[test]
    fn nearly_valid_bodies_are_read_alike(body in near_a_body()) {
        compare(&body);
    }

    #[test]
    fn any_chunks_are_read_by_hypers_server(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6)
    ) {
        check_streamed(&chunks);
    }
}

#[test]
fn many_nearly_valid_bodies_are_valid() {
    // Otherwise the property above would prove little.
    let mut runner = TestRunner::deterministic();
    let near_a_body = near_a_body();
    let bodies = (0..400).filter(|_| {
        let body = near_a_body.new_tree(&mut runner).expect("it is not filtered").current();
        matches!(compare(&body), (Reading::Accepted(_), None))
    });
    assert!(bodies.count() > 100);
}

/// Chunks that are nearly valid; most of them are valid.
fn near_a_body() -> impl Strategy<Value = Vec<u8>> {
    let wrong_end = prop::sample::select(&["\n", "\r", "\r\r\n", ""][..]);
    let line_end = || prop_oneof![15 => Just("\r\n"), 1 => wrong_end.clone()];
    let size = |length: usize| {
        prop_oneof![
            12 => Just(format!("{length:x}")),
            4 => Just(format!("{length:X}")),
            4 => "0{1,20}".prop_map(move |zeros| format!("{zeros}{length:x}")),
            1 => Just(format!("{:x}", length + 1)),
            1 => "[0-9a-fA-F]{15,18}",
            1 => "(\\+|-|0x|g| |\t|)[0-9a-fA-F]{0,3}",
        ]
    };
    let extension = prop_oneof![
        20 => Just(String::new()),
        2 => "[ \t]{0,2};[ \t]{0,2}[a-z]{1,4}",
        2 => "[ \t]{0,2};[a-z]{1,4}=([a-z]{0,3}|\"[ -~]{0,5}\")",
        1 => "[ \t]{1,3}",
        1 => ";[\u{0}-\u{ff}&&[^\r\n]]{0,6}",
        1 => "[ -~]{1,5}",
    ];
    let chunk = (1usize..40, extension.clone(), line_end(), line_end()).prop_flat_map(
        move |(length, extension, end, last)| {
            (size(length), prop::collection::vec(any::<u8>(), length)).prop_map(
                move |(size, data)| {
                    [size.as_bytes(), &bytes(&extension), end.as_bytes(), &data, last.as_bytes()]
                        .concat()
                },
            )
        },
    );
    let trailer = prop_oneof![
        6 => "[A-Za-z-]{1,9}:[ \t]{0,2}[!-~\u{e9}]{0,9}[ \t]{0,2}",
        1 => "[!-~]{0,9}:[\u{0}-\u{ff}&&[^\r\n]]{0,9}",
        1 => "[ -~]{0,9}",
    ];
    let trailers = prop::collection::vec((trailer, line_end()), 0..3);
    let zeros = prop_oneof![6 => Just("0".to_owned()), 1 => "0{2,20}"];
    let behind =
        prop_oneof![3 => Just(""), 1 => Just("HTTP/1.1 200 OK\r\n\r\n"), 1 => Just("\r\n")];
    let chunks = prop::collection::vec(chunk, 0..3);
    (chunks, zeros, extension, line_end(), trailers, line_end(), behind).prop_map(
        |(chunks, zeros, extension, end, trailers, last, behind)| {
            let trailers: String = trailers.into_iter().map(|(field, end)| field + end).collect();
            let end = format!("{zeros}{extension}{end}{trailers}{last}{behind}");
            [chunks.concat(), bytes(&end)].concat()
        },
    )
}

/// Converts each character to the byte of its code point.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| character as u32 as u8).collect()
}
