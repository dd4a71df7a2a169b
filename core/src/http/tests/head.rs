//! Response heads: where they end, and the fields in them.

use std::borrow::ToOwned;
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::{Fields, end_by, find_end, parse, read};
use crate::http::{BodyLength, HeadError, HeadParser};
use crate::limits::{MAX_FIELDS, MAX_HEAD};

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Empty:\r\nX-Bytes: \t\xff\xfe \r\n\r\n";
const BEHIND: &[u8] = b"\r\n\r\nHTTP/1.1 500 Later\r\n\r\n";

/// A head of exactly `length` bytes.
fn head_of(length: usize) -> Vec<u8> {
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    // Several lines, so that there are line ends throughout the head.
    while length - head.len() > 2_000 {
        head.extend_from_slice(format!("X-Filler: {}\r\n", "a".repeat(988)).as_bytes());
    }
    let left = length - head.len() - b"X: \r\n\r\n".len();
    head.extend_from_slice(format!("X: {}\r\n\r\n", "a".repeat(left)).as_bytes());
    assert_eq!(head.len(), length);
    head
}

#[test]
fn a_head_ends_after_its_first_empty_line() {
    assert_eq!(find_end(&[HEAD, BEHIND].concat()), Ok(Some(HEAD.len())));
}

#[test]
fn a_head_without_fields_ends_after_its_status_line() {
    assert_eq!(find_end(b"HTTP/1.1 200 OK\r\n\r\nX"), Ok(Some(19)));
}

#[test]
fn a_head_shows_its_fields_in_order_without_surrounding_space() {
    let (response, fields) = parse(HEAD).unwrap();
    assert_eq!((response.status, response.body), (200, BodyLength::Fixed(5)));
    let expected: [(&str, &[u8]); 3] =
        [("Content-Length", b"5"), ("X-Empty", b""), ("X-Bytes", b"\xff\xfe")];
    assert!(fields.iter().map(|(name, value)| (name.as_str(), &value[..])).eq(expected));
}

#[test]
fn a_head_fed_byte_by_byte_ends_at_the_same_place() {
    let input = [HEAD, BEHIND].concat();
    let mut parser = HeadParser::default();
    for length in 0..HEAD.len() {
        assert_eq!(end_by(&mut parser, &input[..length]), Ok(None), "at {length}");
        assert_eq!(parser.is_inside(), length > 0);
    }
    assert_eq!(end_by(&mut parser, &input[..HEAD.len()]), Ok(Some(HEAD.len())));
    assert!(!parser.is_inside());
}

#[test]
fn a_head_cut_at_any_position_ends_at_the_same_place() {
    let input = [HEAD, BEHIND].concat();
    for cut in 0..HEAD.len() {
        let mut parser = HeadParser::default();
        assert_eq!(end_by(&mut parser, &input[..cut]), Ok(None), "cut at {cut}");
        assert_eq!(end_by(&mut parser, &input), Ok(Some(HEAD.len())), "cut at {cut}");
    }
}

#[test]
fn a_scanner_finds_one_head_after_another() {
    let mut parser = HeadParser::default();
    for _ in 0..2 {
        assert_eq!(end_by(&mut parser, &HEAD[..30]), Ok(None));
        assert_eq!(end_by(&mut parser, HEAD), Ok(Some(HEAD.len())));
    }
}

#[test]
fn scanned_bytes_are_not_scanned_again() {
    let mut input = head_of(MAX_HEAD);
    let end = input.len();
    let mut parser = HeadParser::default();
    for length in 1..end {
        assert_eq!(end_by(&mut parser, &input[..length]), Ok(None), "at {length}");
        // A scanner that starts over would fail on a bare line feed in the scanned part. So no
        // error here means that the total cost is linear. The first seven bytes may be checked each
        // time.
        if length > 22 {
            input[length - 16] = b'\n';
        }
    }
    // The head is parsed once its end is there, so undo the damage first.
    assert_eq!(end_by(&mut parser, &head_of(MAX_HEAD)), Ok(Some(end)));
}

#[test]
fn the_same_input_gives_the_same_error_again() {
    for bad in ["HTTP/1.1 200 OK\nA: b\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n"] {
        let mut parser = HeadParser::default();
        for _ in 0..3 {
            assert_eq!(
                end_by(&mut parser, bad.as_bytes()),
                Err(HeadError::BareLineFeed),
                "{bad:?}"
            );
        }
    }
}

#[test]
fn a_field_whose_name_is_not_a_token_is_not_shown() {
    let mut shown = Vec::new();
    let head = b"HTTP/1.1 200 OK\r\nA: 1\r\nno colon\r\nB: 2\r\n\r\n";
    let read = HeadParser::default().parse(head, |name, _| shown.push(name.to_vec()));
    assert_eq!(read, Err(HeadError::Malformed));
    assert!(shown.iter().all(|name| name == b"A"));
}

#[test]
fn a_head_of_64_kib_is_read() {
    let head = head_of(MAX_HEAD);
    assert_eq!(find_end(&head), Ok(Some(MAX_HEAD)));
    assert_eq!(parse(&head).unwrap().0.status, 200);
}

#[test]
fn a_head_one_byte_over_the_limit_is_too_large() {
    assert_eq!(find_end(&head_of(MAX_HEAD + 1)), Err(HeadError::TooLarge));
}

#[test]
fn a_head_is_too_large_as_soon_as_its_end_cannot_be_within_the_limit() {
    let head = head_of(MAX_HEAD + 1);
    let mut parser = HeadParser::default();
    assert_eq!(end_by(&mut parser, &head[..MAX_HEAD - 1]), Ok(None));
    assert_eq!(end_by(&mut parser, &head[..MAX_HEAD]), Err(HeadError::TooLarge));
}

#[test]
fn bytes_after_a_head_do_not_count_towards_its_limit() {
    let input = [HEAD, &vec![b'a'; 2 * MAX_HEAD]].concat();
    assert_eq!(find_end(&input), Ok(Some(HEAD.len())));
}

#[test]
fn as_many_fields_as_the_limit_are_read() {
    for value in ["b", "\0"] {
        let (_, fields) = parse(&fielded(MAX_FIELDS, value)).unwrap();
        assert_eq!(fields.len(), MAX_FIELDS);
    }
}

#[test]
fn one_field_more_than_the_limit_is_too_many() {
    for value in ["b", "\0"] {
        assert_eq!(parse(&fielded(MAX_FIELDS + 1, value)), Err(HeadError::TooManyFields));
    }
}

fn fielded(count: usize, value: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{}\r\n", format!("A: {value}\r\n").repeat(count)).into_bytes()
}

#[test]
fn a_blank_line_before_the_status_line_is_refused() {
    for blank in ["\r\n", "\n", "\r\n\r\n"] {
        let input = format!("{blank}HTTP/1.1 200 OK\r\n\r\n");
        // The premise: httparse alone accepts it.
        assert!(httparse::Response::new(&mut []).parse(input.as_bytes()).unwrap().is_complete());
        assert_eq!(find_end(input.as_bytes()), Err(HeadError::LeadingBlankLine));
        assert_eq!(find_end(&input.as_bytes()[..1]), Err(HeadError::LeadingBlankLine));
        assert_eq!(parse(input.as_bytes()), Err(HeadError::LeadingBlankLine));
    }
}

#[test]
fn a_line_that_ends_with_a_line_feed_alone_is_refused() {
    for input in [
        "HTTP/1.1 200 OK\n\r\n",
        "HTTP/1.1 200 OK\r\n\n",
        "HTTP/1.1 200 OK\r\nA: b\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n\n",
        "HTTP/1.1 200 OK\n\n",
    ] {
        // The premise: httparse alone accepts it.
        let mut fields = [httparse::EMPTY_HEADER; 4];
        let alone = httparse::Response::new(&mut fields).parse(input.as_bytes());
        assert!(alone.unwrap().is_complete(), "{input:?}");
        assert_eq!(find_end(input.as_bytes()), Err(HeadError::BareLineFeed), "{input:?}");
        assert_eq!(parse(input.as_bytes()), Err(HeadError::BareLineFeed), "{input:?}");
    }
}

#[test]
fn a_bare_line_feed_is_refused_at_every_distance_from_the_start() {
    // The scanner reads eight bytes at a time.
    for before in 1..40 {
        let input = format!("HTTP/1.{}\nrest", "a".repeat(before));
        assert_eq!(find_end(input.as_bytes()), Err(HeadError::BareLineFeed), "{before}");
    }
}

#[test]
fn input_that_does_not_start_like_http_is_refused_at_its_first_wrong_byte() {
    let greetings: [(&[u8], usize); 4] = [
        (b"SSH-2.0-OpenSSH_9.2", 1),
        (b"\x15\x03\x01\x00\x02\x02\x46", 1),
        (b"HTTPS", 5),
        (b"HTTP/2 200", 6),
    ];
    for (greeting, wrong) in greetings {
        assert_eq!(find_end(&greeting[..wrong - 1]), Ok(None), "{greeting:?}");
        assert_eq!(find_end(&greeting[..wrong]), Err(HeadError::Malformed), "{greeting:?}");
    }
}

#[test]
fn bytes_after_the_empty_line_are_not_part_of_the_head() {
    assert_eq!(parse(&[HEAD, b"x"].concat()), Err(HeadError::Malformed));
    assert_eq!(parse(&HEAD[..HEAD.len() - 1]), Err(HeadError::Malformed));
}

#[test]
fn status_lines_that_are_not_http_1_are_malformed() {
    let lines = "HTTP/2.0 200 OK|HTTP/1.2 200 OK|http/1.1 200 OK|HTTP/1.1 099 OK|HTTP/1.1 20 OK|\
                 HTTP/1.1 2000 OK|HTTP/1.1 -20 OK|HTTP/1.1  200 OK|HTTP/1.1 200\tOK|HTTP/1.1|GET / HTTP/1.1";
    for line in lines.split('|') {
        assert_eq!(read(line, ""), Err(HeadError::Malformed), "{line:?}");
    }
}

#[test]
fn statuses_from_100_to_999_are_read() {
    for (line, status) in [("HTTP/1.1 100", 100), ("HTTP/1.1 999 \u{e9}", 999)] {
        assert_eq!(read(line, "").unwrap().status, status);
    }
}

#[test]
fn the_reason_after_a_status_may_be_anything() {
    // RFC 9112 section 4: a client ignores it.
    for reason in ["", " ", "  ", " O\0K", " \u{7f}\t", " HTTP/1.1 500 A: b"] {
        assert_eq!(read(&format!("HTTP/1.1 202{reason}"), "").unwrap().status, 202, "{reason:?}");
    }
}

#[test]
fn field_lines_that_are_not_fields_are_malformed() {
    for line in " A: b|A : b|A: b\r\n folded|A|: b|A: b\rc|A: b\r|A\u{e9}: b|A\0: b".split('|') {
        // Alone, and before or after a field whose value has a control character.
        for others in [["", ""], ["B: \0\r\n", ""], ["", "B: \u{1}\r\n"]] {
            let fields = format!("{}{line}\r\n{}", others[0], others[1]);
            assert_eq!(read("HTTP/1.1 200 OK", &fields), Err(HeadError::Malformed), "{fields:?}");
        }
    }
}

#[test]
fn control_characters_in_a_value_are_shown_unchanged_and_have_no_other_effect() {
    let heads = [
        "HTTP/1.1 200 OK\r\nA: xbx\r\nContent-Length: 7\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\nA:\t x \r\nB:\r\nC: \t\r\n\r\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive, x\r\nA: b: x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 \r\n!#$%&'*+-.^_`|~09Az: x\u{e9}\r\n\r\n",
    ];
    for head in heads {
        let (plain, fields) = parse(head.as_bytes()).unwrap();
        for control in (0..32).filter(|byte| !b"\t\r\n".contains(byte)).chain([127]) {
            // Every `x` in these heads is part of a value.
            let replace = |byte: &u8| if *byte == b'x' { control } else { *byte };
            let head: Vec<u8> = head.bytes().map(|byte| replace(&byte)).collect();
            let expected: Fields = fields
                .iter()
                .map(|(name, value)| (name.clone(), value.iter().map(replace).collect()))
                .collect();
            assert_eq!(parse(&head), Ok((plain, expected)), "{:?}", head.escape_ascii());
        }
    }
}

/// Input that is nearly a head; most of its lines are valid.
fn near_a_head() -> impl Strategy<Value = Vec<u8>> {
    let blank = prop_oneof![12 => Just(""), 1 => Just("\r\n"), 1 => Just("\n")];
    let line_end =
        || prop_oneof![40 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\r\n")];
    let status = prop_oneof![6 => "HTTP/1\\.[01] [1-9][0-9]{2}( [ -~]{0,8})?", 1 => "[ -~]{0,16}"];
    let field = prop_oneof![
        8 => "[A-Za-z-]{1,9}:[ \t]{0,2}[!-~\u{e9}]{0,9}[ \t]{0,2}",
        1 => "[!-~]{0,9}:[\u{0}-\u{ff}&&[^\r\n]]{0,20}",
        1 => "[A-Za-z-]{20,40}: [ -~]{40,80}",
        2 => "Content-Length: [0-9]{1,3}",
        1 => "[ -~]{0,12}",
    ];
    let fields = prop::collection::vec((field, line_end()), 0..6);
    let behind = prop::collection::vec(any::<u8>(), 0..9);
    (blank, status, line_end(), fields, line_end(), behind).prop_map(
        |(blank, status, end, fields, last, behind)| {
            let fields: String = fields.into_iter().map(|(field, end)| field + end).collect();
            let mut input = format!("{blank}{status}{end}{fields}{last}").into_bytes();
            input.extend_from_slice(&behind);
            input
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4_000, ..Default::default() })]

    #[test]
    fn heads_are_read_as_httparse_reads_them(input in near_a_head()) {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut theirs = httparse::Response::new(&mut headers);
        let parsed = theirs.parse(&input);
        let ours = find_end(&input).and_then(|end| match end {
            Some(end) => parse(&input[..end]).map(|parsed| Some((end, parsed))),
            None => Ok(None),
        });
        let is_framing = |error| {
            use HeadError::{BadContentLength, LengthWithChunked, UnknownTransferEncoding};
            matches!(error, BadContentLength | LengthWithChunked | UnknownTransferEncoding)
        };
        match (ours, parsed) {
            (Ok(Some((end, (ours, fields)))), Ok(parsed)) => {
                prop_assert_eq!(parsed, httparse::Status::Complete(end));
                prop_assert_eq!(theirs.code, Some(ours.status));
                let theirs = theirs.headers.iter();
                let theirs: Fields =
                    theirs.map(|field| (field.name.to_owned(), field.value.to_vec())).collect();
                prop_assert_eq!(theirs, fields);
            }
            (Ok(Some((end, _))), Err(_)) => {
                // Our parser accepts control characters in values and ignores the reason.
                let is_control = |byte: &u8| byte.is_ascii_control() && !b"\r\n\t".contains(byte);
                prop_assert!(input[..end].iter().any(is_control));
            }
            // httparse accepts blank lines and bare line feeds, and does not check the framing.
            (Err(error), Ok(httparse::Status::Complete(end))) => {
                let is_bare = |pair: &[u8]| pair[1] == b'\n' && pair[0] != b'\r';
                let is_strict =
                    input.starts_with(b"HTTP") && !input[..end].windows(2).any(is_bare);
                prop_assert!(is_framing(error) || !is_strict, "{error}");
            }
            (Ok(None), Ok(parsed)) => prop_assert_eq!(parsed, httparse::Status::Partial),
            // We report an invalid line once the head is whole, unless its line end is invalid.
            (Ok(None) | Err(_), _) => {}
        }
    }

    #[test]
    fn scanning_byte_by_byte_agrees_with_scanning_the_whole(input in near_a_head()) {
        let mut parser = HeadParser::default();
        let slow = (0..=input.len()).map(|length| end_by(&mut parser, &input[..length]));
        let slow = slow.into_iter().find(|found| *found != Ok(None)).unwrap_or(Ok(None));
        prop_assert_eq!(slow, find_end(&input));
    }

    #[test]
    fn arbitrary_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Some(end)) = find_end(&input) {
            prop_assert!(end <= input.len());
        }
        if let Ok((response, _)) = parse(&input) {
            prop_assert!((100..=999).contains(&response.status));
        }
    }
}

#[test]
fn most_generated_input_is_scanned_and_parsed() {
    // Otherwise the properties above would prove little.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let heads = (0..400).filter(|_| {
        let input = near_a_head().new_tree(&mut runner).unwrap().current();
        matches!(find_end(&input), Ok(Some(end)) if parse(&input[..end]).is_ok())
    });
    assert!(heads.count() > 100);
}
