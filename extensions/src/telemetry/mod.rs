//! Telemetry: what Lambda tells an extension about its environment, record by record.
//!
//! An extension that has subscribed to the Telemetry API or the Logs API listens on a port, and
//! Lambda posts batches of records to it. A [`Receiver`] reads one connection of that listener:
//! bytes in, [records](Record) out, replies out. With the protocol TCP, [`Lines`] read it.
//! [`Deliveries`] are shared by all connections: they recognise batches that come again and keep
//! the totals of what was [lost](Losses).
//!
//! Nothing here allocates, and memory does not grow with a batch: a receiver hands out one record
//! at a time from the memory that it was made with.
//!
//! # A delivery
//!
//! ```
//! use lambda_proto_extension::telemetry::{Body, Deliveries, Receiver, Status, Step};
//!
//! let mut deliveries = Deliveries::new();
//! let mut memory = [0; 1024];
//! let mut receiver = Receiver::new(&mut memory[..]);
//!
//! // Read from the connection into the room.
//! assert!(matches!(receiver.step(&mut deliveries), Step::Read));
//! let posted = b"POST / HTTP/1.1\r\nHost: sandbox.localdomain:8080\r\nContent-Length: 260\r\n\r\n\
//!     [{\"time\":\"2022-10-12T00:00:15.064Z\",\"type\":\"function\",\"record\":\"hello\\n\"},\
//!     {\"time\":\"2022-10-12T00:00:15.100Z\",\"type\":\"platform.runtimeDone\",\"record\":\
//!     {\"requestId\":\"6d68ca91\",\"status\":\"success\",\"metrics\":{\"durationMs\":35.5}}},\
//!     {\"type\":\"platform.start\",\"record\":7}]";
//! receiver.room()[..posted.len()].copy_from_slice(posted);
//! receiver.received(posted.len());
//!
//! // The records of the batch.
//! let Step::Begin(_) = receiver.step(&mut deliveries) else { panic!() };
//! let Step::Record(record) = receiver.step(&mut deliveries) else { panic!() };
//! let Body::FunctionLog(line) = record.body else { panic!() };
//! assert_eq!(line.to_string(), "hello\n");
//! let Step::Record(record) = receiver.step(&mut deliveries) else { panic!() };
//! let Body::RuntimeDone(done) = record.body else { panic!() };
//! assert_eq!((record.request_id().unwrap(), done.status), (done.request_id,
//! Some(Status::Success)));
//! assert_eq!(done.metrics.duration.unwrap().to_duration().unwrap().as_micros(), 35_500);
//!
//! // What cannot be read is handed out as it came, and its neighbours arrive.
//! let Step::Unread(unread) = receiver.step(&mut deliveries) else { panic!() };
//! assert_eq!(unread.raw, b"{\"type\":\"platform.start\",\"record\":7}");
//! assert_eq!(unread.reason.to_string(), "the field \"record\" has the wrong JSON type");
//!
//! // After the last one, the program decides what becomes of the batch.
//! let Step::Decide(decision) = receiver.step(&mut deliveries) else { panic!() };
//! assert!(!decision.batch().is_redelivery());
//! decision.take();
//! assert!(matches!(receiver.step(&mut deliveries), Step::Write));
//! assert_eq!(receiver.unsent(), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
//! receiver.sent(receiver.unsent().len());
//! assert!(matches!(receiver.step(&mut deliveries), Step::Read));
//! assert_eq!(deliveries.losses().unread_records, 1);
//! ```
//!
//! # What becomes of a request
//!
//! | request | reply | connection |
//! |---|---|---|
//! | a batch that is [taken](Decision::take) | 200 | persists |
//! | a batch that is [sent back](Decision::send_again) | 503 | persists |
//! | a batch that is [given up](Decision::give_up) | 200, and counted as lost | persists |
//! | a body that is not a JSON array, first and second delivery | 400 | persists |
//! | the same, third delivery | 200, and counted as lost | persists |
//! | any method but POST | 405, `Allow: POST` | persists |
//! | a head that is too large | 431 | closes |
//! | a request that is not HTTP/1, or of ambiguous length (RFC 9112 section 6.3) | 400 | closes |
//! | a request that breaks off | none | closes |
//!
//! A connection also closes where the client wants it (`Connection: close`, HTTP/1.0).
//! `Expect: 100-continue` is answered before the body is read.
//!
//! # What becomes of a record
//!
//! | element of the array | step |
//! |---|---|
//! | an object with any `type`, whose fields have the right JSON types | [`Step::Record`] |
//! | anything else between two commas | [`Step::Unread`], raw |
//! | one for which there is no memory because other connections use it | [`Step::Unread`] with its length; if the batch is sent back, it comes again |
//! | one that is longer than the memory | [`Step::Unread`] with its length; its bytes are skipped |
//! | the last one of a body that ends before its array does | [`Step::Unread`], raw |
//! | what follows the array | [`Step::Unread`], raw |

mod array;
mod batch;
mod buffer;
mod deliveries;
mod digest;
mod exchange;
mod field;
mod head;
mod json;
mod lines;
mod losses;
mod outline;
mod platform;
mod reader;
mod receiver;
mod record;
mod refusal;
mod reply;
mod time;
mod words;

pub use batch::{Batch, Decision};
pub use deliveries::{Deliveries, Fate};
pub(crate) use exchange::Next;
pub use json::{Elements, Json, Members, Milliseconds, Number};
pub use lines::{Line, Lines};
pub use losses::Losses;
pub use platform::{
    Done, ExtensionState, FunctionFacts, InitReport, InitRuntimeDone, InitStart, LogsDropped,
    Metrics, RestoreDone, Span, Spans, Start, Subscribed, Texts, Tracing,
};
pub use receiver::{Receiver, Step};
pub use record::{Body, Log, Reason, Record, RecordType, Unread};
pub use refusal::Refusal;
pub use reply::BUSY;
pub use time::Timestamp;
pub use words::{InitPhase, InitializationType, Status};
