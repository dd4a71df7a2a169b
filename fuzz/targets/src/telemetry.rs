//! Telemetry: batches, and the connections on which they come.

use lambda_proto_extension::telemetry::{
    Batch, Deliveries, Json, Line, Lines, Losses, Receiver, Record, Refusal, Step,
};
use serde_json::Value;

use crate::input::{Input, cuts};
use crate::wire;

/// A batch in one request has the same records when it is read as a whole, cut at three positions,
/// and byte by byte, with a length and in chunks. If it is an array for serde_json, its records are
/// the elements of that array. The same bytes as lines are read in any pieces, too.
///
/// The input is a byte that chooses the memory, one with the size of chunks, three positions of two
/// bytes each, and a body.
pub fn telemetry_batch(data: &[u8]) {
    let mut input = Input::new(data);
    let memory = input.choose(MEMORIES);
    let chunk = usize::from(input.byte());
    let numbers = [(); 3].map(|()| input.number());
    let body = input.rest();

    let with_length = [
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
        body,
    ]
    .concat();
    let whole = in_any_pieces(memory, &with_length, numbers, 0);
    assert_eq!(whole.is_closed, memory < 64, "only a head that does not fit ends the connection");
    // In chunks, a record that fills the memory has to make way for their framing.
    if chunk > 0 && memory > body.len() + 100 {
        let mut chunked =
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in body.chunks(chunk) {
            chunked.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            chunked.extend_from_slice(chunk);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        assert_eq!(in_any_pieces(memory, &chunked, numbers, 0), whole);
    }

    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Array(elements)) if memory > body.len() + 100 => {
            assert_eq!(whole.elements.len(), elements.len());
            for (element, expected) in whole.elements.iter().zip(&elements) {
                check(element, expected);
            }
            assert_eq!(whole.batches.len(), 1);
        }
        Ok(value) if !value.is_array() && memory >= 64 => {
            let refusal = Refusal::NotABatch { delivery: 1, is_lost: false };
            assert_eq!((whole.refusals, whole.elements.len()), (vec![refusal], 0));
        }
        _ => {}
    }

    let lines = lines(memory, body, &[]);
    assert_eq!(self::lines(memory, body, &cuts(body.len(), numbers)), lines);
    assert_eq!(self::lines(memory, body, &(1..body.len()).collect::<Vec<_>>()), lines);
}

/// A connection has the same meaning when it is read as a whole, cut at three positions, and byte by
/// byte. Its replies are well-formed, and each batch has one.
///
/// The input is a byte that chooses the memory, one whose bits decide what becomes of the batches,
/// three positions of two bytes each, and what the client sends.
pub fn telemetry_receiver(data: &[u8]) {
    let mut input = Input::new(data);
    let memory = input.choose(MEMORIES);
    let decisions = input.byte();
    let numbers = [(); 3].map(|()| input.number());
    let seen = in_any_pieces(memory, input.rest(), numbers, decisions);

    let mut statuses = Vec::new();
    let mut rest = &seen.written[..];
    while !rest.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 4];
        let mut reply = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(length)) = reply.parse(rest) else {
            panic!("not a reply: {}", rest.escape_ascii())
        };
        let status = reply.code.expect("a whole head has one");
        let has = |name: &str| reply.headers.iter().any(|field| field.name == name);
        assert_eq!(has("Content-Length"), status != 100);
        assert_eq!(has("Allow"), status == 405);
        let is_last = reply.headers.iter().any(|field| field.value == b"close");
        rest = &rest[length..];
        assert!(!is_last || (rest.is_empty() && seen.is_closed), "nothing follows the last reply");
        statuses.push(status);
    }
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    let lost = seen.refusals.iter();
    let lost =
        lost.filter(|refusal| matches!(refusal, Refusal::NotABatch { is_lost: true, .. })).count();
    let refused = seen.batches.iter().enumerate();
    let refused = refused.filter(|(number, _)| decisions >> (number % 8) & 1 == 1).count();
    assert_eq!(count(503), refused);
    assert_eq!(count(200), seen.batches.len() - refused + lost);
    let records: u64 = seen.batches.iter().map(Batch::records).sum();
    assert!(records as usize <= seen.elements.len());
}

/// Some are too small for a head, most too small for some record.
const MEMORIES: &[usize] = &[100_000, 128, 200, 512, 1, 64, 0];

/// What was handed out and replied.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    elements: Vec<Element>,
    batches: Vec<Batch>,
    refusals: Vec<Refusal>,
    written: Vec<u8>,
    is_closed: bool,
    losses: Losses,
}

/// A record, or the reason why it is none.
#[derive(Debug, PartialEq)]
struct Element {
    raw: Vec<u8>,
    unread: Option<String>,
}

impl Element {
    fn of(record: &Record<'_>) -> Self {
        let again = Record::parse(record.raw().as_bytes());
        assert_eq!(again.as_ref(), Ok(record));
        let _any_will_do = (record.time.unix_millis(), record.request_id(), format!("{record:?}"));
        Self { raw: record.raw().as_bytes().to_vec(), unread: None }
    }

    fn unread(raw: &[u8], reason: &impl ToString) -> Self {
        Self { raw: raw.to_vec(), unread: Some(reason.to_string()) }
    }
}

fn in_any_pieces(memory: usize, bytes: &[u8], numbers: [usize; 3], decisions: u8) -> Seen {
    let whole = receive(memory, bytes, &[], decisions);
    assert_eq!(receive(memory, bytes, &cuts(bytes.len(), numbers), decisions), whole);
    assert_eq!(receive(memory, bytes, &(1..bytes.len()).collect::<Vec<_>>(), decisions), whole);
    whole
}

fn receive(memory: usize, bytes: &[u8], cuts: &[usize], decisions: u8) -> Seen {
    let mut memory = vec![0; memory];
    let mut deliveries = Deliveries::new();
    let mut receiver = Receiver::new(&mut memory[..]);
    let mut seen = Seen::default();
    let mut pieces = Pieces::of(bytes, cuts);
    // No step is without progress.
    for _ in 0..=10 * bytes.len() + 1000 {
        match receiver.step(&mut deliveries) {
            Step::Read if pieces.is_empty() => break,
            Step::Read => {
                let length = pieces.fill(receiver.room());
                receiver.received(length);
            }
            Step::Write => {
                let length = receiver.unsent().len().min(1 + cuts.len());
                seen.written.extend_from_slice(&receiver.unsent()[..length]);
                receiver.sent(length);
            }
            Step::Begin(batch) => assert_eq!(batch.records(), 0),
            Step::Record(record) => seen.elements.push(Element::of(&record)),
            Step::Unread(unread) => {
                wire::check_line(unread);
                seen.elements.push(Element::unread(unread.raw, &unread.reason));
            }
            Step::Decide(decision) => {
                let is_refused = decisions >> (seen.batches.len() % 8) & 1 == 1;
                seen.batches.push(decision.batch());
                if is_refused { decision.send_again() } else { decision.take() }
            }
            Step::Refused(refusal) => {
                wire::check_line(refusal);
                seen.refusals.push(refusal);
            }
            Step::Close => {
                seen.is_closed = true;
                break;
            }
        }
    }
    assert!(seen.is_closed || pieces.is_empty(), "an endless loop");
    seen.losses = deliveries.losses();
    seen
}

fn lines(memory: usize, bytes: &[u8], cuts: &[usize]) -> (Vec<Element>, Losses) {
    let mut memory = vec![0; memory];
    let mut lines = Lines::new(&mut memory[..]);
    let (mut elements, mut losses) = (Vec::new(), Losses::default());
    let mut pieces = Pieces::of(bytes, cuts);
    loop {
        match lines.step(&mut losses) {
            Line::Read if pieces.is_empty() => lines.end_of_stream(),
            Line::Read => {
                let length = pieces.fill(lines.room());
                lines.received(length);
            }
            Line::Record(record) => elements.push(Element::of(&record)),
            Line::Unread(unread) => elements.push(Element::unread(unread.raw, &unread.reason)),
            Line::Close => return (elements, losses),
        }
    }
}

/// Bytes that arrive cut at these positions.
struct Pieces<'b> {
    bytes: &'b [u8],
    cuts: &'b [usize],
    arrived: usize,
}

impl<'b> Pieces<'b> {
    fn of(bytes: &'b [u8], cuts: &'b [usize]) -> Self {
        Self { bytes, cuts, arrived: 0 }
    }

    fn is_empty(&self) -> bool {
        self.arrived == self.bytes.len()
    }

    /// Reads as much as a socket would.
    fn fill(&mut self, room: &mut [u8]) -> usize {
        let cut = self.cuts.iter().copied().find(|cut| *cut > self.arrived);
        let end = cut.unwrap_or(self.bytes.len());
        let length = room.len().min(end - self.arrived);
        assert!(length > 0, "there is room after `Read`");
        room[..length].copy_from_slice(&self.bytes[self.arrived..self.arrived + length]);
        self.arrived += length;
        length
    }
}

/// Compares an element with that of serde_json.
fn check(element: &Element, expected: &Value) {
    let read: Value = serde_json::from_slice(&element.raw).expect("it is JSON for serde_json");
    assert_eq!(read, *expected);
    let Ok(json) = Json::parse(&element.raw) else {
        let brackets = element.raw.iter().filter(|byte| b"[{".contains(byte)).count();
        assert!(brackets > lambda_proto::limits::MAX_JSON_DEPTH);
        return;
    };
    for (name, value) in json.members() {
        let expected = &expected[&*name.to_string()];
        if let (Some(text), Some(expected)) = (value.to_text(), expected.as_str()) {
            let is_last = json.member(&name.to_string()) == Some(value);
            assert!(!is_last || text == *expected);
        }
    }
    let is_object = expected.is_object();
    assert_eq!(json.is_object(), is_object);
    // Names with escapes are those of unknown fields.
    if is_object && !element.raw.contains(&b'\\') {
        assert!(element.unread.is_none() || !is_readable(expected), "{element:?}");
    }
}

/// Whether a record of this form must be read: a log of any kind.
fn is_readable(event: &Value) -> bool {
    let is_log = matches!(event["type"].as_str(), Some("function" | "extension"));
    is_log && (event["time"].is_string() || event["time"].is_null())
}
