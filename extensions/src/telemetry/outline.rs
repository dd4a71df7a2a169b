//! The parts that every event has, and where they are in it.

use core::ops::Range;

use lambda_proto::json::{JsonError, JsonStr};

use super::reader::Reader;
use super::{Json, Reason};

/// Where the parts of an event are: found in bytes that need not be UTF-8, on the first and only
/// way through them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    /// The last member of each name counts.
    time: Option<Range<usize>>,
    kind: Option<Range<usize>>,
    record: Option<Range<usize>>,
}

impl Outline {
    /// Reads the event at the start of the bytes, which is an object, and checks all of it. Returns
    /// its length as well.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, usize), JsonError> {
        let mut reader = Reader::new(bytes, 1);
        let mut outline = Self::default();
        if !reader.takes(b'{') {
            return Err(JsonError::NotTheDocument);
        }
        let mut is_over = reader.takes(b'}');
        while !is_over {
            let name = reader.name()?;
            let value = Some(reader.value()?);
            match bytes.get(name) {
                Some(TIME) => outline.time = value,
                Some(TYPE) => outline.kind = value,
                Some(RECORD) => outline.record = value,
                _ => {}
            }
            is_over = reader.takes(b'}');
            if !is_over && !reader.takes(b',') {
                return Err(JsonError::NotTheDocument);
            }
        }
        Ok((outline, reader.position()))
    }

    /// Reads an event that is followed by a comma or the end of its array, both of which are there.
    /// Returns the position of that byte as well; `None` if it must be looked at more closely.
    pub(super) fn of_element(bytes: &[u8]) -> Option<(Self, usize)> {
        let (outline, length) = Self::read(bytes).ok()?;
        let mut rest = Reader::new(bytes.get(length..)?, 0);
        rest.skip_space();
        matches!(rest.peek(), Some(b',' | b']')).then(|| (outline, length + rest.position()))
    }

    /// The parts of the event that this is the outline of.
    pub(super) fn parts<'a>(&self, event: &'a str) -> Event<'a> {
        let part = |range: &Option<Range<usize>>| event.get(range.clone()?).map(Json::of_value);
        let time = match part(&self.time) {
            Some(time) if !time.is_null() => time.to_text().ok_or(Reason::WrongField {
                // As it was sent: names with escapes are not known.
                name: JsonStr::from_field(Some("time")),
            }),
            _ => Ok(JsonStr::default()),
        };
        let kind = part(&self.kind).and_then(|kind| kind.to_text());
        Event { time, kind, record: part(&self.record).unwrap_or_default() }
    }
}

const TIME: &[u8] = b"time";
const TYPE: &[u8] = b"type";
const RECORD: &[u8] = b"record";

/// The members that every event has.
pub(super) struct Event<'a> {
    pub(super) time: Result<JsonStr<'a>, Reason<'a>>,
    pub(super) kind: Option<JsonStr<'a>>,
    pub(super) record: Json<'a>,
}

impl<'a> Event<'a> {
    /// Reads an event without white space around it, and checks all of it.
    pub(super) fn read(text: &'a str) -> Result<Self, Reason<'a>> {
        if !text.starts_with('{') {
            return Err(Json::parse(text.as_bytes()).map_or_else(not_json, |_| Reason::NotAnObject));
        }
        let (outline, length) = Outline::read(text.as_bytes()).map_err(not_json)?;
        if length < text.len() {
            return Err(Reason::NotJson);
        }
        Ok(outline.parts(text))
    }
}

fn not_json<'a>(error: JsonError) -> Reason<'a> {
    match error {
        JsonError::TooDeep => Reason::TooDeep,
        _ => Reason::NotJson,
    }
}
