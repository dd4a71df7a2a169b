//! Telemetry: protocol.md 7.

mod deliveries;
mod framing;
mod hostile;
mod lines;
mod properties;
mod records;
mod requests;

use lambda_proto_extension::telemetry::{Batch, Deliveries, Fate, Receiver, Refusal, Step};

/// What a receiver has handed out and replied.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    /// Each record as it was sent.
    records: Vec<String>,
    /// Each record that cannot be read, with the reason.
    unread: Vec<(Vec<u8>, String)>,
    /// Each batch when its end was reached.
    batches: Vec<Batch>,
    begun: usize,
    refusals: Vec<Refusal>,
    written: Vec<u8>,
    is_closed: bool,
}

impl Seen {
    fn statuses(&self) -> Vec<&str> {
        let written = str::from_utf8(&self.written).expect("text");
        written.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)).collect()
    }

    fn written(&self) -> &str {
        str::from_utf8(&self.written).expect("text")
    }
}

/// How bytes arrive.
#[derive(Clone, Debug)]
struct Arrival<'c> {
    /// The positions at which they are cut.
    cuts: &'c [usize],
    /// Whether the stream ends after them.
    is_ended: bool,
    /// The most bytes that one write takes.
    takes: usize,
}

const WHOLE: Arrival<'static> = Arrival { cuts: &[], is_ended: false, takes: usize::MAX };

/// Shows these bytes to a new receiver that has this much memory.
fn receive(
    deliveries: &mut Deliveries,
    memory: usize,
    bytes: &[u8],
    arrival: &Arrival<'_>,
    mut decide: impl FnMut(Batch) -> Fate,
) -> Seen {
    let mut memory = vec![0; memory];
    let mut receiver = Receiver::new(&mut memory[..]);
    let mut seen = Seen::default();
    let mut arrived = 0;
    let mut cuts = arrival.cuts.iter().copied().chain([bytes.len()]).peekable();
    loop {
        match receiver.step(deliveries) {
            Step::Read => {
                while cuts.next_if(|cut| *cut <= arrived && *cut < bytes.len()).is_some() {}
                let end = cuts.peek().copied().unwrap_or(bytes.len());
                if arrived == bytes.len() {
                    if !arrival.is_ended {
                        return seen;
                    }
                    receiver.end_of_stream();
                    continue;
                }
                let room = receiver.room();
                let length = room.len().min(end - arrived);
                assert!(length > 0, "there is room after `Read`");
                room[..length].copy_from_slice(&bytes[arrived..arrived + length]);
                receiver.received(length);
                arrived += length;
            }
            Step::Write => {
                let length = receiver.unsent().len().min(arrival.takes);
                assert!(length > 0);
                seen.written.extend_from_slice(&receiver.unsent()[..length]);
                receiver.sent(length);
            }
            Step::Begin(batch) => {
                assert_eq!((batch.records(), batch.unread()), (0, 0));
                seen.begun += 1;
            }
            Step::Record(record) => seen.records.push(record.raw().to_owned()),
            Step::Unread(unread) => {
                seen.unread.push((unread.raw.to_vec(), unread.reason.to_string()));
            }
            Step::Decide(decision) => {
                let batch = decision.batch();
                seen.batches.push(batch);
                match decide(batch) {
                    Fate::Taken => decision.take(),
                    Fate::Refused => decision.send_again(),
                }
            }
            Step::Refused(refusal) => {
                assert!(!refusal.to_string().contains(char::is_control));
                seen.refusals.push(refusal);
            }
            Step::Close => {
                assert!(matches!(receiver.step(deliveries), Step::Close));
                seen.is_closed = true;
                return seen;
            }
        }
    }
}

const MEMORY: usize = 16 * 1024;

/// Shows these bytes to new receivers, whole, byte by byte, and cut at each position, with whole
/// writes and writes of a byte: each time, they have the same meaning.
fn receive_cut(bytes: &[u8]) -> Seen {
    receive_cut_with(MEMORY, bytes, false)
}

/// The same for a stream that ends after the bytes.
fn receive_ended(bytes: &[u8]) -> Seen {
    receive_cut_with(MEMORY, bytes, true)
}

fn receive_cut_with(memory: usize, bytes: &[u8], is_ended: bool) -> Seen {
    let receive = |cuts: &[usize], takes| {
        let arrival = Arrival { cuts, is_ended, takes };
        receive(&mut Deliveries::new(), memory, bytes, &arrival, |_| Fate::Taken)
    };
    let whole = receive(&[], usize::MAX);
    let each: Vec<_> = (1..bytes.len()).collect();
    assert_eq!(receive(&each, 1), whole, "byte by byte");
    for cut in each {
        assert_eq!(receive(&[cut], 3), whole, "cut at {cut}");
    }
    whole
}

/// A request that posts this body with its length.
fn post(body: impl AsRef<[u8]>) -> Vec<u8> {
    post_with("", body)
}

/// The same with more fields.
fn post_with(fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: sandbox.localdomain:8080\r\nUser-Agent: Go-http-client/1.1\r\n\
         Content-Length: {length}\r\nContent-Type: application/json\r\n{fields}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// The same in chunks of this size.
fn post_chunked(size: usize, body: &[u8]) -> Vec<u8> {
    let mut request = b"POST /telemetry?a=b HTTP/1.1\r\nHost: sandbox\r\n\
        Transfer-Encoding: chunked\r\n\r\n"
        .to_vec();
    for chunk in body.chunks(size) {
        request.extend_from_slice(format!("{:x};name=value\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\nTrailer: ignored\r\n\r\n");
    request
}

/// An event of this type with this record.
fn event(kind: &str, record: &str) -> String {
    format!(r#"{{"time":"2022-10-12T00:00:15.064Z","type":"{kind}","record":{record}}}"#)
}

/// A batch of these events.
fn batch<T: AsRef<str>>(events: &[T]) -> String {
    let events: Vec<_> = events.iter().map(AsRef::as_ref).collect();
    format!("[{}]", events.join(","))
}
