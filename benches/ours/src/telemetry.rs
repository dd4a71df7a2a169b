//! An external extension's listener for telemetry on `lambda-proto-extension`, with blocking sockets.
//!
//! It takes the port to listen on. With a second argument, it prints the number of records of each
//! batch.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use lambda_proto_extension::telemetry::{Body, Deliveries, Receiver, Step};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().and_then(|port| port.parse().ok()).unwrap_or(0);
    let prints = arguments.next().is_some();
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    println!("listening");
    let deliveries = Arc::new(Mutex::new(Deliveries::new()));
    loop {
        let (connection, _) = listener.accept()?;
        let deliveries = deliveries.clone();
        std::thread::spawn(move || receive(connection, &deliveries, prints));
    }
}

/// What to do when the receiver needs its connection.
enum Wait {
    Read,
    Write,
    Close,
}

/// Takes every batch of a connection, and looks at each record as the peer does.
fn receive(
    mut connection: TcpStream,
    deliveries: &Mutex<Deliveries>,
    prints: bool,
) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut memory = vec![0; 64 * 1024];
    let mut receiver = Receiver::new(&mut memory[..]);
    let (mut records, mut bytes, mut text) = (0_usize, 0_usize, String::new());
    loop {
        // Nothing is locked while the connection is waited for.
        let mut shared = deliveries.lock().expect("nobody panics");
        let wait = loop {
            match receiver.step(&mut shared) {
                Step::Read => break Wait::Read,
                Step::Write => break Wait::Write,
                Step::Close => break Wait::Close,
                Step::Begin(_) => records = 0,
                Step::Record(record) => {
                    records += 1;
                    bytes += match record.body {
                        Body::FunctionLog(line) | Body::ExtensionLog(line) => {
                            text.clear();
                            let _a_string_takes_all = write!(text, "{line}");
                            text.len()
                        }
                        _ => record.request_id().map_or(0, |id| id.as_escaped().len()),
                    };
                }
                Step::Unread(_) => records += 1,
                Step::Decide(decision) => {
                    if prints {
                        println!("records {records}");
                    }
                    decision.take();
                }
                Step::Refused(_) => {}
            }
        };
        drop(shared);
        match wait {
            Wait::Read => match connection.read(receiver.room())? {
                0 => receiver.end_of_stream(),
                length => receiver.received(length),
            },
            Wait::Write => {
                let length = connection.write(receiver.unsent())?;
                receiver.sent(length);
            }
            Wait::Close => {
                std::hint::black_box(bytes);
                return Ok(());
            }
        }
    }
}
