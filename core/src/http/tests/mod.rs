//! Tests of the pieces that [`ReplyReader`](super::ReplyReader) is made of.

mod body;
mod framing;
mod head;
mod request;

use std::format;
use std::string::String;
use std::vec::Vec;

use super::{HeadError, HeadParser, ResponseHead};

type Fields = Vec<(String, Vec<u8>)>;

fn end_by(parser: &mut HeadParser, input: &[u8]) -> Result<Option<usize>, HeadError> {
    Ok(parser.parse(input, |_, _| ())?.map(|(end, _)| end))
}

fn find_end(input: &[u8]) -> Result<Option<usize>, HeadError> {
    end_by(&mut HeadParser::default(), input)
}

/// Parses input that is exactly one head.
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
