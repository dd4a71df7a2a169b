//! Parses heads of replies, and compares with httparse.

use lambda_proto::api::{ContentType, HeadIndex, InvocationHead, InvocationIds};
use lambda_proto::http::{HeadError, ReplyError, ReplyPart, ReplyReader, ResponseHead};
use lambda_proto::limits::{MAX_FIELDS, MAX_HEAD, MAX_ID};

use crate::input::Input;
use crate::wire;

/// The head at the start of the bytes is parsed as by httparse, except for known differences, and
/// the same wherever it is cut.
///
/// The first byte says how often the second half of the head is repeated.
pub fn response_head(data: &[u8]) {
    let bytes = data.get(1..).unwrap_or_default();
    // Repeat from a line in the middle up to the empty line, if there are these lines.
    let line = bytes.windows(2).take(bytes.len() / 2).rposition(|pair| pair == b"\r\n");
    let (once, again) = bytes.split_at(line.map_or(bytes.len() / 2, |at| at + 2));
    let end = again.windows(4).rposition(|end| end == b"\r\n\r\n").map(|at| at + 2);
    let (again, last) = again.split_at(end.unwrap_or(again.len()));
    let times = 1 + Input::new(data).times(again.len(), 2 * MAX_HEAD);
    let head = [once, &again.repeat(times), last].concat();
    let found = end_by(&mut ReplyReader::default(), &head);
    check_cuts(&head, found);
    if let Err(error) = found {
        wire::check_line(error);
    }
    check_beside_httparse(&head);
}

type Found = Result<Option<usize>, ReplyError>;

fn end_by(reader: &mut ReplyReader, bytes: &[u8]) -> Found {
    let mut rest = bytes;
    let part = reader.read(&mut rest, &mut |_, _| false)?;
    Ok(part.map(|_| bytes.len() - rest.len()))
}

/// The result is the same, however the bytes arrive.
fn check_cuts(bytes: &[u8], whole: Found) {
    let step = if bytes.len() < 512 { 1 } else { bytes.len() / 16 };
    let mut slow = ReplyReader::default();
    let mut slowly = None;
    for cut in (0..bytes.len()).step_by(step) {
        let mut reader = ReplyReader::default();
        let at_first = end_by(&mut reader, &bytes[..cut]);
        match at_first {
            Ok(None) => {
                assert_eq!(reader.is_inside(), cut > 0);
                assert_eq!(end_by(&mut reader, bytes), whole);
            }
            found => assert_eq!(found, whole),
        }
        if slowly.is_none() {
            let found = end_by(&mut slow, &bytes[..cut]);
            assert_eq!(found, at_first);
            slowly = (found != Ok(None)).then_some(found);
        }
    }
    assert_eq!(slowly.unwrap_or_else(|| end_by(&mut slow, bytes)), whole);
}

/// Each value of an event is the first non-empty field of its name, also after the bytes have
/// moved.
fn check_invocation(head: &[u8], fields: &[(&[u8], &[u8])]) {
    let value = |name: &str| {
        let is_it = |(known, value): &&(&[u8], &[u8])| {
            known.eq_ignore_ascii_case(name.as_bytes()) && !value.is_empty()
        };
        fields.iter().find(is_it).map(|(_, value)| *value)
    };
    let text = |name: &str| value(name).and_then(|value| str::from_utf8(value).ok());
    let (index, _) = HeadIndex::parse(head).expect("it has been parsed");
    let moved = head.to_vec();
    let invocation = index.on(&moved);
    assert_eq!(invocation.request_id(), text("Lambda-Runtime-Aws-Request-Id").unwrap_or_default());
    assert_eq!(invocation.attempt_id(), value("Lambda-Runtime-Invocation-Id"));
    assert_eq!(invocation.invoked_function_arn(), text("Lambda-Runtime-Invoked-Function-Arn"));
    assert_eq!(invocation.trace_id(), text("Lambda-Runtime-Trace-Id"));
    assert_eq!(invocation.tenant_id(), text("Lambda-Runtime-Aws-Tenant-Id"));
    assert_eq!(invocation.client_context(), value("Lambda-Runtime-Client-Context"));
    assert_eq!(invocation.cognito_identity(), value("Lambda-Runtime-Cognito-Identity"));
    let is_digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let deadline = text("Lambda-Runtime-Deadline-Ms").filter(is_digits);
    let deadline = deadline.and_then(|digits| digits.parse().ok());
    assert_eq!(invocation.deadline().map(|deadline| deadline.as_unix_millis()), deadline);
    let content_type = value("Content-Type").and_then(|it| ContentType::from_bytes(it).ok());
    assert_eq!(invocation.content_type(), content_type);
    assert_eq!(invocation.header("date"), value("Date"));

    let is_usable = (1..=MAX_ID).contains(&invocation.request_id().len());
    let (parsed, _) = InvocationHead::parse(head).expect("it has been parsed");
    assert_eq!(parsed.index(), index);
    assert_eq!(InvocationIds::of(&parsed).is_some(), is_usable);
    // With other bytes the values are wrong, but nothing panics.
    let _wrong = index.on(&head[head.len() / 2..]).request_id();
}

/// A head with its fields.
type Read<'b> = (usize, ResponseHead, Vec<(&'b [u8], &'b [u8])>);

/// Reads the head at the start of the bytes, and checks that its index agrees.
fn read(bytes: &[u8]) -> Result<Option<Read<'_>>, HeadError> {
    let (mut rest, mut fields) = (bytes, Vec::new());
    let part = ReplyReader::default().read(&mut rest, &mut |name, value| {
        fields.push((name, value));
        false
    });
    let end = match part {
        Ok(None) => return Ok(None),
        Err(ReplyError::Head(error)) => return Err(error),
        Ok(Some(_)) => bytes.len() - rest.len(),
        // This head is parsed but not consumed.
        Err(ReplyError::SwitchedProtocols) => bytes
            .windows(4)
            .position(|end| end == b"\r\n\r\n")
            .map(|at| at + 4)
            .expect("a head ends with its first empty line"),
        Err(error) => panic!("{error} in a head"),
    };
    let (_, head) = HeadIndex::parse(&bytes[..end]).expect("it has been read");
    match part {
        Ok(Some(ReplyPart::Head(read))) => assert_eq!(read, head),
        Ok(Some(ReplyPart::Interim)) => assert!(matches!(head.status, 100 | 102..=199)),
        Ok(part) => panic!("{part:?} at the start of a reply"),
        Err(_) => assert_eq!(head.status, 101),
    }
    Ok(Some((end, head, fields)))
}

fn check_beside_httparse(bytes: &[u8]) {
    let ours = read(bytes);
    if !matches!(ours, Ok(Some((end, ..))) if end == bytes.len()) {
        assert!(HeadIndex::parse(bytes).is_err(), "the head does not end with the bytes");
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS + 1];
    let mut theirs = httparse::Response::new(&mut headers);
    let parsed = theirs.parse(bytes);
    match (ours, parsed) {
        (Ok(Some((end, head, fields))), Ok(parsed)) => {
            assert_eq!(parsed, httparse::Status::Complete(end));
            assert_eq!(theirs.code, Some(head.status));
            let theirs = theirs.headers.iter().map(|field| (field.name.as_bytes(), field.value));
            assert!(theirs.eq(fields.iter().copied()));
            check_invocation(&bytes[..end], &fields);
        }
        // This project accepts control characters in values, which can come from callers, and
        // ignores the reason phrase.
        (Ok(Some((end, ..))), Err(error)) => {
            let is_control = |byte: &u8| byte.is_ascii_control() && !b"\r\n\t".contains(byte);
            assert!(bytes[..end].iter().any(is_control), "{error}");
        }
        // httparse is lenient about blank lines and line ends, and checks neither framing nor
        // limits.
        (Err(error), Ok(httparse::Status::Complete(end))) => {
            let is_strict = !bytes[..end].starts_with(b"\r") && !bytes[..end].starts_with(b"\n");
            let is_bare = |pair: &[u8]| pair[1] == b'\n' && pair[0] != b'\r';
            let has_bare = bytes[..end].windows(2).any(is_bare);
            match error {
                HeadError::BadContentLength
                | HeadError::LengthWithChunked
                | HeadError::UnknownTransferEncoding => {}
                HeadError::LeadingBlankLine => assert!(!is_strict),
                HeadError::BareLineFeed => assert!(has_bare),
                HeadError::TooLarge => assert!(end > MAX_HEAD),
                HeadError::TooManyFields => assert!(theirs.headers.len() > MAX_FIELDS),
                HeadError::Malformed => assert!(theirs.code < Some(100)),
                other => panic!("{other}"),
            }
        }
        (Ok(None), Ok(parsed)) => assert_eq!(parsed, httparse::Status::Partial),
        // This project finds a malformed line when the head is complete, unless the end of the line
        // shows it earlier.
        (Ok(None) | Err(_), _) => {}
    }
}
