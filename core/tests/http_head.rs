//! Response heads: where they end, and what they say about the body and the connection.

use lambda_proto::http::{BodyLength, HeadError, HeadParser, ResponseHead};
use lambda_proto::limits::{MAX_FIELDS, MAX_HEAD};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Empty:\r\nX-Bytes: \t\xff\xfe \r\n\r\n";
const BEHIND: &[u8] = b"\r\n\r\nHTTP/1.1 500 Later\r\n\r\n";

type Fields = Vec<(String, Vec<u8>)>;

fn end_by(parser: &mut HeadParser, input: &[u8]) -> Result<Option<usize>, HeadError> {
    Ok(parser.parse(input, |_, _| ())?.map(|(end, _)| end))
}

fn find_end(input: &[u8]) -> Result<Option<usize>, HeadError> {
    end_by(&mut HeadParser::default(), input)
}

/// Parses what is exactly one head.
fn parse(head: &[u8]) -> Result<(ResponseHead, Fields), HeadError> {
    let mut fields = Fields::new();
    let parsed = HeadParser::default().parse(head, |name, value| {
        fields.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
    })?;
    match parsed {
        Some((end, response)) if end == head.len() => Ok((response, fields)),
        _ => Err(HeadError::Malformed),
    }
}

/// Scans and parses a head with this status line and these field lines.
fn read(status_line: &str, fields: &str) -> Result<ResponseHead, HeadError> {
    let head = format!("{status_line}\r\n{fields}\r\n");
    let end = find_end(head.as_bytes())?.expect("the head is whole");
    assert_eq!(end, head.len());
    parse(head.as_bytes()).map(|(response, _)| response)
}

fn body(fields: &str) -> Result<BodyLength, HeadError> {
    read("HTTP/1.1 200 OK", fields).map(|response| response.body)
}

fn is_persistent(version: &str, fields: &str) -> bool {
    let fields = format!("Content-Length: 0\r\n{fields}");
    read(&format!("{version} 200 OK"), &fields).unwrap().is_persistent
}

/// A head of exactly `length` bytes.
fn head_of(length: usize) -> Vec<u8> {
    let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
    // Several lines, so that line ends stand everywhere.
    while length - head.len() > 2_000 {
        head.extend_from_slice(format!("X-Filler: {}\r\n", "a".repeat(988)).as_bytes());
    }
    let left = length - head.len() - b"X: \r\n\r\n".len();
    head.extend_from_slice(format!("X: {}\r\n\r\n", "a".repeat(left)).as_bytes());
    assert_eq!(head.len(), length);
    head
}

#[test]
fn a_head_ends_behind_its_first_empty_line() {
    assert_eq!(find_end(&[HEAD, BEHIND].concat()), Ok(Some(HEAD.len())));
}

#[test]
fn a_head_without_fields_ends_behind_its_status_line() {
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
fn a_head_byte_by_byte_ends_where_it_does_as_a_whole() {
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
fn a_head_cut_at_any_position_ends_where_it_does_as_a_whole() {
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
fn what_has_been_scanned_is_not_looked_at_again() {
    let mut input = head_of(MAX_HEAD);
    let end = input.len();
    let mut parser = HeadParser::default();
    for length in 1..end {
        assert_eq!(end_by(&mut parser, &input[..length]), Ok(None), "at {length}");
        // A bare line feed far behind is an error to a scanner that starts over, so that none here
        // means that the cost of the whole is linear. The first seven may be looked at each time.
        if length > 22 {
            input[length - 16] = b'\n';
        }
    }
    // It is parsed once, when its end is there, so it is made whole again.
    assert_eq!(end_by(&mut parser, &head_of(MAX_HEAD)), Ok(Some(end)));
}

#[test]
fn an_error_is_found_again_where_it_was_found_before() {
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
fn what_is_no_name_is_not_shown() {
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
fn a_head_of_one_byte_more_is_too_large() {
    assert_eq!(find_end(&head_of(MAX_HEAD + 1)), Err(HeadError::TooLarge));
}

#[test]
fn a_head_is_too_large_as_soon_as_its_end_cannot_come_in_time() {
    let head = head_of(MAX_HEAD + 1);
    let mut parser = HeadParser::default();
    assert_eq!(end_by(&mut parser, &head[..MAX_HEAD - 1]), Ok(None));
    assert_eq!(end_by(&mut parser, &head[..MAX_HEAD]), Err(HeadError::TooLarge));
}

#[test]
fn bytes_behind_a_head_do_not_count_towards_its_limit() {
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
        // The premise: httparse alone would take it.
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
        // The premise: httparse alone would take it.
        let mut fields = [httparse::EMPTY_HEADER; 4];
        let alone = httparse::Response::new(&mut fields).parse(input.as_bytes());
        assert!(alone.unwrap().is_complete(), "{input:?}");
        assert_eq!(find_end(input.as_bytes()), Err(HeadError::BareLineFeed), "{input:?}");
        assert_eq!(parse(input.as_bytes()), Err(HeadError::BareLineFeed), "{input:?}");
    }
}

#[test]
fn a_bare_line_feed_is_refused_at_every_distance_from_the_start() {
    // The scanner looks at eight bytes at a time.
    for before in 1..40 {
        let input = format!("HTTP/1.{}\nrest", "a".repeat(before));
        assert_eq!(find_end(input.as_bytes()), Err(HeadError::BareLineFeed), "{before}");
    }
}

#[test]
fn what_does_not_start_as_http_is_refused_at_its_first_wrong_byte() {
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
fn bytes_behind_the_empty_line_are_no_part_of_a_head() {
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
fn the_reason_behind_a_status_may_be_anything() {
    // RFC 9112 section 4: a client ignores it.
    for reason in ["", " ", "  ", " O\0K", " \u{7f}\t", " HTTP/1.1 500 A: b"] {
        assert_eq!(read(&format!("HTTP/1.1 202{reason}"), "").unwrap().status, 202, "{reason:?}");
    }
}

#[test]
fn field_lines_that_are_not_fields_are_malformed() {
    for line in " A: b|A : b|A: b\r\n folded|A|: b|A: b\rc|A: b\r|A\u{e9}: b|A\0: b".split('|') {
        // Alone, and where a value with a control character has been seen before or is seen later.
        for others in [["", ""], ["B: \0\r\n", ""], ["", "B: \u{1}\r\n"]] {
            let fields = format!("{}{line}\r\n{}", others[0], others[1]);
            assert_eq!(body(&fields), Err(HeadError::Malformed), "{fields:?}");
        }
    }
}

#[test]
fn control_characters_in_a_value_are_shown_as_they_came_and_change_nothing_else() {
    let heads = [
        "HTTP/1.1 200 OK\r\nA: xbx\r\nContent-Length: 7\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\nA:\t x \r\nB:\r\nC: \t\r\n\r\n",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive, x\r\nA: b: x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 \r\n!#$%&'*+-.^_`|~09Az: x\u{e9}\r\n\r\n",
    ];
    for head in heads {
        let (plain, fields) = parse(head.as_bytes()).unwrap();
        for control in (0..32).filter(|byte| !b"\t\r\n".contains(byte)).chain([127]) {
            // Every `x` of these heads stands in a value.
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

#[test]
fn control_characters_in_a_length_are_bad() {
    for (fields, error) in [
        ("Content-Length: 5\0\r\n", HeadError::BadContentLength),
        ("Content-Length: 5\r\nContent-Length: \u{1}5\r\n", HeadError::BadContentLength),
        ("Transfer-Encoding: chunked\u{7f}\r\n", HeadError::UnknownTransferEncoding),
        (
            "A: \0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            HeadError::LengthWithChunked,
        ),
    ] {
        assert_eq!(body(fields), Err(error), "{fields:?}");
    }
    for status_line in ["HTTP/1.1 99 OK", "HTTP/1.2 200 OK"] {
        assert_eq!(read(status_line, "A: \0\r\n"), Err(HeadError::Malformed), "{status_line:?}");
    }
}

#[test]
fn a_content_length_is_decimal_digits_below_2_to_the_64th() {
    for (value, length) in [
        ("0", 0),
        ("6291556", 6_291_556),
        ("0042", 42),
        ("18446744073709551615", u64::MAX),
        (" 7\t", 7),
    ] {
        let fields = format!("content-LENGTH:{value}\r\n");
        assert_eq!(body(&fields), Ok(BodyLength::Fixed(length)), "{value:?}");
    }
}

#[test]
fn any_other_content_length_is_bad() {
    let values = "|-1|+1|1,1|1, 1|1 1|0x10|1.0|1e3|18446744073709551616|\u{664}|a";
    for value in values.split('|') {
        let fields = format!("Content-Length: {value}\r\n");
        assert_eq!(body(&fields), Err(HeadError::BadContentLength), "{value:?}");
    }
}

#[test]
fn a_content_length_that_comes_twice_counts_if_both_are_equal() {
    assert_eq!(body("Content-Length: 5\r\nContent-Length: 5\r\n"), Ok(BodyLength::Fixed(5)));
}

#[test]
fn two_content_lengths_that_differ_are_bad() {
    for (one, two) in [(5, 6), (0, 6), (6, 0)] {
        let fields = format!("Content-Length: {one}\r\nContent-Length: {two}\r\n");
        assert_eq!(body(&fields), Err(HeadError::BadContentLength), "{fields:?}");
    }
}

#[test]
fn chunked_is_known_in_any_case() {
    for value in ["chunked", "Chunked", "CHUNKED", " chunked\t"] {
        let fields = format!("transfer-Encoding: {value}\r\n");
        assert_eq!(body(&fields), Ok(BodyLength::Chunked), "{value:?}");
    }
}

#[test]
fn any_other_transfer_encoding_is_unknown() {
    let values = "|identity|gzip|gzip, chunked|chunked, gzip|chunked, chunked|chunked;q=1|xchunked|\"chunked\"";
    for value in values.split('|') {
        let fields = format!("Transfer-Encoding: {value}\r\n");
        assert_eq!(body(&fields), Err(HeadError::UnknownTransferEncoding), "{value:?}");
    }
    let twice = "Transfer-Encoding: chunked\r\n".repeat(2);
    assert_eq!(body(&twice), Err(HeadError::UnknownTransferEncoding));
}

#[test]
fn a_length_together_with_chunks_is_ambiguous() {
    let (length, chunked) = ("Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n");
    for fields in [format!("{length}{chunked}"), format!("{chunked}{length}")] {
        assert_eq!(body(&fields), Err(HeadError::LengthWithChunked));
    }
}

#[test]
fn a_body_without_length_goes_to_the_end_of_the_stream_and_ends_the_connection() {
    let response = read("HTTP/1.1 200 OK", "Connection: keep-alive\r\n").unwrap();
    assert_eq!(response.body, BodyLength::ToEnd);
    assert!(!response.is_persistent);
}

#[test]
fn interim_answers_204_and_304_have_no_body_whatever_they_say() {
    for status in [100, 101, 103, 199, 204, 304] {
        for fields in ["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
            let response = read(&format!("HTTP/1.1 {status} X"), fields).unwrap();
            assert_eq!(response.body, BodyLength::Fixed(0), "{status} {fields:?}");
            assert!(response.is_persistent, "{status} {fields:?}");
        }
    }
}

#[test]
fn answers_next_to_them_have_a_body() {
    for status in [200, 203, 205, 303, 305] {
        let response = read(&format!("HTTP/1.1 {status} X"), "Content-Length: 5\r\n").unwrap();
        assert_eq!(response.body, BodyLength::Fixed(5), "{status}");
    }
}

#[test]
fn a_connection_persists_in_http_1_1_unless_it_says_close() {
    assert!(is_persistent("HTTP/1.1", ""));
    assert!(is_persistent("HTTP/1.1", "Connection: keep-alive\r\n"));
    assert!(is_persistent("HTTP/1.1", "Connection: closed\r\nX: close\r\n"));
    for value in
        ["close", "Close", "CLOSE", " close ", "upgrade, close", "close,upgrade", ",close,"]
    {
        assert!(!is_persistent("HTTP/1.1", &format!("connection: {value}\r\n")), "{value:?}");
    }
    assert!(!is_persistent("HTTP/1.1", "Connection: upgrade\r\nConnection: close\r\n"));
}

#[test]
fn a_connection_persists_in_http_1_0_only_if_it_says_keep_alive() {
    assert!(!is_persistent("HTTP/1.0", ""));
    assert!(!is_persistent("HTTP/1.0", "Connection: close\r\n"));
    for value in ["keep-alive", "Keep-Alive", "x, keep-alive"] {
        assert!(is_persistent("HTTP/1.0", &format!("Connection: {value}\r\n")), "{value:?}");
    }
}

#[test]
fn close_counts_before_keep_alive_in_whatever_order() {
    // RFC 9112 section 9.3: the first rule that applies is that of `close`.
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        for value in ["keep-alive, close", "close, keep-alive", "close\r\nConnection: keep-alive"] {
            assert!(
                !is_persistent(version, &format!("Connection: {value}\r\n")),
                "{version} {value:?}"
            );
        }
    }
}

#[test]
fn chunks_in_http_1_0_are_unknown() {
    // RFC 9112 section 6.1: the framing is to be treated as faulty.
    let response = read("HTTP/1.0 200 OK", "Transfer-Encoding: chunked\r\n");
    assert_eq!(response, Err(HeadError::UnknownTransferEncoding));
}

/// Lines that are near a head, most of them right.
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
    fn what_is_read_is_what_httparse_reads(input in near_a_head()) {
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
                // Ours is told control characters of callers and looks at no reason.
                let is_control = |byte: &u8| byte.is_ascii_control() && !b"\r\n\t".contains(byte);
                prop_assert!(input[..end].iter().any(is_control));
            }
            // It takes liberties with blank lines and line ends, and knows nothing of framing.
            (Err(error), Ok(httparse::Status::Complete(end))) => {
                let is_bare = |pair: &[u8]| pair[1] == b'\n' && pair[0] != b'\r';
                let is_strict =
                    input.starts_with(b"HTTP") && !input[..end].windows(2).any(is_bare);
                prop_assert!(is_framing(error) || !is_strict, "{error}");
            }
            (Ok(None), Ok(parsed)) => prop_assert_eq!(parsed, httparse::Status::Partial),
            // A line that is wrong is found when the head is whole, unless its end shows it.
            (Ok(None) | Err(_), _) => {}
        }
    }

    #[test]
    fn a_scanner_that_is_fed_byte_by_byte_agrees_with_one_that_is_fed_at_once(input in near_a_head()) {
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
fn most_of_what_is_near_a_head_is_scanned_and_parsed() {
    // Or else the properties above would say little.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let heads = (0..400).filter(|_| {
        let input = near_a_head().new_tree(&mut runner).unwrap().current();
        matches!(find_end(&input), Ok(Some(end)) if parse(&input[..end]).is_ok())
    });
    assert!(heads.count() > 100);
}
