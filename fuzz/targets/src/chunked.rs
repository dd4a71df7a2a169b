//! Decodes bodies, and compares with a reference that reads them line by line.

use lambda_proto::api::{ContentType, Endpoint};
use lambda_proto::http::{BodyLength, ReplyError, ReplyPart, ReplyReader};
use lambda_proto::limits::{MAX_CHUNK_LINE, MAX_REQUEST_HEAD, MAX_RESPONSE_TRAILERS};
use lambda_proto::machine::{CommandError, Machine};

use crate::input::{Input, cuts};
use crate::request::encode;

/// Decodes a body as a whole, cut at three positions, and byte by byte. Then encodes the same bytes
/// in chunks and decodes them.
///
/// The first byte says how the length is known. Three positions to cut at follow, of two bytes
/// each, and a byte that says how often the second half of the body is repeated.
pub fn chunked(data: &[u8]) {
    let mut input = Input::new(data);
    let length = match input.byte() % 8 {
        0..=5 => BodyLength::Chunked,
        6 => BodyLength::Fixed(input.byte().into()),
        _ => BodyLength::ToEnd,
    };
    let numbers = [(); 3].map(|()| input.number());
    let bytes = input.halves(2 * MAX_RESPONSE_TRAILERS);

    let whole = decode(length, &bytes, &[]);
    let expected = match length {
        BodyLength::Chunked => read_chunks(&bytes),
        BodyLength::Fixed(length) => {
            let length = usize::try_from(length).expect("a byte");
            match bytes.get(..length) {
                Some(body) => Read { body: body.to_vec(), end: End::Complete(length) },
                None => Read { body: bytes.clone(), end: End::Missing },
            }
        }
        BodyLength::ToEnd => Read { body: bytes.clone(), end: End::Complete(bytes.len()) },
    };
    assert_eq!(whole, expected);
    let cuts = cuts(bytes.len(), numbers);
    assert_eq!(decode(length, &bytes, &cuts), whole);
    check_written(&bytes, &cuts);
    if bytes.len() < 4096 {
        let every: Vec<_> = (1..bytes.len()).collect();
        assert_eq!(decode(length, &bytes, &every), whole);
    }
}

/// Chunks that core encodes are decoded to the original bytes.
fn check_written(body: &[u8], cuts: &[usize]) {
    let mut machine = streaming();
    let mut written = Vec::new();
    let mut start = 0;
    for &end in cuts.iter().chain([&body.len()]) {
        let piece = &body[start..end];
        let prefix = write(&mut machine, |machine, out| machine.chunk(piece.len(), out));
        assert_eq!(prefix.is_empty(), piece.is_empty());
        written.extend([&prefix, piece].concat());
        start = end;
    }
    written.extend(write(&mut machine, |machine, out| machine.finish(out)));
    let expected = Read { body: body.to_vec(), end: End::Complete(written.len()) };
    assert_eq!(decode(BodyLength::Chunked, &written, &[]), expected);
    assert_eq!(read_chunks(&written), expected);
}

/// A machine that has sent the head of a stream.
fn streaming() -> Machine {
    let endpoint = Endpoint::parse("127.0.0.1:9001").expect("an address and a port");
    let mut machine = Machine::new(endpoint);
    let mut out = [0; MAX_REQUEST_HEAD];
    machine.next(&mut out).expect("room");
    machine.sent(machine.unsent_len());
    let mut event = &b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b3c\r\n\
                       Content-Length: 0\r\n\r\n"[..];
    while machine.receive(&mut event).expect("an event").is_some() {}
    machine.stream(ContentType::JSON, &mut out).expect("room");
    machine.sent(machine.unsent_len());
    machine
}

/// Gives a command, sends everything that it writes, and returns that.
fn write(
    machine: &mut Machine,
    command: impl Fn(&mut Machine, &mut [u8]) -> Result<usize, CommandError>,
) -> Vec<u8> {
    let written = encode(|out| match command(&mut machine.clone(), out) {
        Err(CommandError::BufferTooSmall(error)) => Err(error),
        written => Ok(written.expect("the command is allowed in this phase")),
    });
    command(machine, &mut written.clone()).expect("room");
    machine.sent(machine.unsent_len());
    written
}

#[derive(Debug, PartialEq)]
struct Read {
    body: Vec<u8>,
    end: End,
}

#[derive(Debug, PartialEq)]
enum End {
    /// The body is complete. The value is its length with its framing.
    Complete(usize),
    Missing,
    Wrong,
}

fn decode(length: BodyLength, bytes: &[u8], cuts: &[usize]) -> Read {
    let mut reader = reader_of(length);
    let mut body = Vec::new();
    let (mut consumed, mut is_complete) = (0, false);
    for &arrived in cuts.iter().chain([&bytes.len()]) {
        let mut input = &bytes[consumed..arrived];
        while !is_complete {
            let announced = reader.announced();
            let (before, left) = (body.len(), input.len());
            match reader.read(&mut input, &mut |_, _| false) {
                Ok(None) => break,
                Ok(Some(ReplyPart::Body(piece))) => {
                    assert!(!piece.is_empty());
                    assert_eq!(piece.as_ptr_range().end, input.as_ptr());
                    body.extend_from_slice(piece);
                }
                Ok(Some(ReplyPart::End)) => is_complete = true,
                Err(ReplyError::Body(_)) => return Read { body, end: End::Wrong },
                other => panic!("{other:?} in a body"),
            }
            // Announced bytes contain no framing.
            let length = (body.len() - before) as u64;
            assert!(announced == 0 || length == announced.min(left as u64));
        }
        consumed = arrived - input.len();
        assert!(is_complete || input.is_empty());
    }
    assert_eq!(reader.is_inside(), !is_complete);
    let is_to_end = length == BodyLength::ToEnd;
    assert_eq!(reader.end_of_stream(), is_to_end);
    if is_to_end {
        let last = reader.read(&mut &[][..], &mut |_, _| false);
        assert_eq!((is_complete, last), (false, Ok(Some(ReplyPart::End))));
        is_complete = true;
    }
    let end = if is_complete { End::Complete(consumed) } else { End::Missing };
    assert!(!is_to_end || end == End::Complete(bytes.len()));
    Read { body, end }
}

/// A reader that has read the head of a reply whose body has this length.
fn reader_of(length: BodyLength) -> ReplyReader {
    let field = match length {
        BodyLength::Fixed(length) => format!("Content-Length: {length}\r\n"),
        BodyLength::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        BodyLength::ToEnd => String::new(),
    };
    let head = format!("HTTP/1.1 200 OK\r\n{field}\r\n");
    let (mut reader, mut input) = (ReplyReader::default(), head.as_bytes());
    let part = reader.read(&mut input, &mut |_, _| false);
    let Ok(Some(ReplyPart::Head(head))) = part else { panic!("{part:?} instead of a head") };
    assert_eq!((head.body, input), (length, &[][..]));
    reader
}

/// Decodes chunks as in RFC 9112 section 7.1, with the limits of core.
fn read_chunks(bytes: &[u8]) -> Read {
    let mut body = Vec::new();
    let mut rest = bytes;
    loop {
        let size = match read_size(&mut rest) {
            Ok(Some(size)) => size,
            Ok(None) => return Read { body, end: End::Missing },
            Err(()) => return Read { body, end: End::Wrong },
        };
        if size == 0 {
            let end = match read_trailers(&mut rest) {
                Ok(true) => End::Complete(bytes.len() - rest.len()),
                Ok(false) => End::Missing,
                Err(()) => End::Wrong,
            };
            return Read { body, end };
        }
        let length = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
        let (data, behind) = rest.split_at(length);
        body.extend_from_slice(data);
        let is_all = length as u64 == size;
        match behind {
            [b'\r', b'\n', behind @ ..] if is_all => rest = behind,
            [] | [b'\r'] => return Read { body, end: End::Missing },
            _ => return Read { body, end: End::Wrong },
        }
    }
}

/// Takes a line off the bytes, without its end. If its end is missing, returns all bytes and
/// `false`.
fn take_line<'b>(bytes: &mut &'b [u8]) -> (&'b [u8], bool) {
    match bytes.iter().position(|byte| b"\r\n".contains(byte)) {
        Some(end) if bytes[end..].starts_with(b"\r\n") => {
            let line = &bytes[..end];
            *bytes = &bytes[end + 2..];
            (line, true)
        }
        _ => (bytes, false),
    }
}

/// Reads `chunk-size [ BWS chunk-ext ]` and its line end; `None` if it is valid so far but
/// incomplete.
fn read_size(bytes: &mut &[u8]) -> Result<Option<u64>, ()> {
    let (line, is_whole) = take_line(bytes);
    // A final carriage return is not part of the line: only the line feed may follow it.
    let text = if is_whole { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
    let has_end = is_whole || text.len() < line.len();
    let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let value = text[..digits].iter().try_fold(0u64, |value, &digit| {
        value.checked_mul(16)?.checked_add(char::from(digit).to_digit(16)?.into())
    });
    let behind = trim_blanks(&text[digits..]);
    let is_extension = behind.is_empty()
        || behind.starts_with(b";") && !behind.iter().any(|byte| b"\r\n".contains(byte));
    let is_begun = digits > 0 || text.is_empty() && !has_end;
    if !is_begun || !is_extension || text.len() > MAX_CHUNK_LINE {
        return Err(());
    }
    match value {
        Some(value) => Ok(is_whole.then_some(value)),
        None => Err(()),
    }
}

/// Removes leading spaces and tabs; `trim_ascii_start` would remove more.
fn trim_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| b" \t".contains(byte)).count();
    &text[blanks..]
}

/// Reads lines up to an empty one; returns whether that has arrived.
fn read_trailers(bytes: &mut &[u8]) -> Result<bool, ()> {
    let mut length = 0;
    loop {
        let (line, is_whole) = take_line(bytes);
        if is_whole && line.is_empty() {
            return Ok(true);
        }
        let text = if is_whole { line } else { line.strip_suffix(b"\r").unwrap_or(line) };
        let is_text = !text.iter().any(|byte| b"\r\n".contains(byte));
        length += text.len();
        if !is_text || length > MAX_RESPONSE_TRAILERS {
            return Err(());
        }
        if !is_whole {
            return Ok(false);
        }
        length += 2;
        if length > MAX_RESPONSE_TRAILERS {
            return Err(());
        }
    }
}
