//! Bodies, beside a reference that reads them line by line.

use lambda_proto::http::{
    BodyDecoder, BodyLength, ChunkPosition, encode_chunk_prefix, encode_last_chunk,
};
use lambda_proto::limits::{MAX_CHUNK_LINE, MAX_RESPONSE_TRAILERS};

use crate::input::{Input, cuts};
use crate::request::encode;

/// A body, whole, cut in three places, and byte by byte; and the same bytes in chunks of our own.
///
/// The first byte says how its length is known, then come the places to cut at, two bytes each, and how often
/// its second half is repeated, by a byte.
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

/// Chunks as core writes them are read as what they were made of.
fn check_written(body: &[u8], cuts: &[usize]) {
    let mut written = Vec::new();
    let mut position = ChunkPosition::First;
    let mut start = 0;
    for &end in cuts.iter().chain([&body.len()]) {
        let prefix = encode(|out| encode_chunk_prefix(position, end - start, out));
        assert_eq!(prefix.is_empty(), start == end);
        written.extend([&prefix, &body[start..end]].concat());
        if start < end {
            position = ChunkPosition::Later;
        }
        start = end;
    }
    written.extend(encode(|out| encode_last_chunk(position, out)));
    written.extend_from_slice(b"\r\n");
    let expected = Read { body: body.to_vec(), end: End::Complete(written.len()) };
    assert_eq!(decode(BodyLength::Chunked, &written, &[]), expected);
    assert_eq!(read_chunks(&written), expected);
}

#[derive(Debug, PartialEq)]
struct Read {
    body: Vec<u8>,
    end: End,
}

#[derive(Debug, PartialEq)]
enum End {
    /// It is whole, and so many bytes long with its framing.
    Complete(usize),
    Missing,
    Wrong,
}

fn decode(length: BodyLength, bytes: &[u8], cuts: &[usize]) -> Read {
    let mut decoder = BodyDecoder::new(length);
    let mut body = Vec::new();
    let mut consumed = 0;
    for &arrived in cuts.iter().chain([&bytes.len()]) {
        let mut input = &bytes[consumed..arrived];
        loop {
            let announced = decoder.announced();
            let (before, left) = (body.len(), input.len());
            match decoder.decode(&mut input) {
                Ok(None) => break,
                Ok(Some(piece)) => {
                    assert!(!piece.is_empty());
                    assert_eq!(piece.as_ptr_range().end, input.as_ptr());
                    body.extend_from_slice(piece);
                }
                Err(_) => return Read { body, end: End::Wrong },
            }
            // What was announced came without framing.
            let length = (body.len() - before) as u64;
            assert!(announced == 0 || length == announced.min(left as u64));
        }
        consumed = arrived - input.len();
        assert!(decoder.is_complete() || input.is_empty());
    }
    let is_to_end = length == BodyLength::ToEnd;
    assert_eq!(decoder.end_of_stream(), decoder.is_complete());
    let end = if decoder.is_complete() { End::Complete(consumed) } else { End::Missing };
    assert!(!is_to_end || end == End::Complete(bytes.len()));
    Read { body, end }
}

/// RFC 9112 section 7.1, with the limits of core.
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

/// A line up to its end, which is taken off the bytes, or all that there is of it.
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

/// `chunk-size [ BWS chunk-ext ]` and its line end; `None` if it can still become one.
fn read_size(bytes: &mut &[u8]) -> Result<Option<u64>, ()> {
    let (line, is_whole) = take_line(bytes);
    // The carriage return is no part of it, as nothing may follow it but the line feed.
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

/// Without the spaces and tabs in front; ASCII white space would be more.
fn trim_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| b" \t".contains(byte)).count();
    &text[blanks..]
}

/// Lines up to an empty one; whether it is there.
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
