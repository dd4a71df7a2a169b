//! A whole bootstrap without libc, `std` or an allocator, for Linux on x86_64:
//! `cargo build --release --manifest-path examples/nolibc/Cargo.toml`.
//!
//! It echoes events of up to 16 KiB, reply head included, and reports larger ones as errors. All
//! system calls, and all `unsafe` code, are in [`system`]. Log lines are joined from pieces of text
//! and leave out the service's error documents: both would need `core::fmt`, which would double the
//! size of the program.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("nolibc makes the system calls of Linux on x86_64: build it for that target");

mod system;

use core::net::{Ipv4Addr, SocketAddrV4};
use core::panic::PanicInfo;

use lambda_proto::api::{Endpoint, ErrorReport};
use lambda_proto::client;
use lambda_proto::client::{End, Warning, WarningKind};
use lambda_proto::driver::{Connection, Connector, Driver, DriverError};
use lambda_proto::limits::MAX_REQUEST_HEAD;
use lambda_proto::machine::Machine;
use system::{Environment, Errno, Socket};

/// Size of the buffer for an event with the head of its reply, in bytes.
const EVENTS: usize = 16 * 1024;

/// Size of the buffer for a request and the reply to it, in bytes.
const REQUESTS: usize = MAX_REQUEST_HEAD + 512;

/// How many attempts to connect may fail in a row, which takes about 20 s.
const ATTEMPTS: u32 = 12;

const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// Answers events until the service or an error ends the loop, and returns the exit code.
fn main(environment: Environment) -> i32 {
    let Some(address) = environment.variable(RUNTIME_API) else {
        return fail(&[RUNTIME_API, " is not set: start this by Lambda, or by lambda-lab"]);
    };
    let Ok(endpoint) = Endpoint::parse(address) else {
        return fail(&[RUNTIME_API, " is not the address of a Runtime API: ", address]);
    };
    let Ok(ip) = endpoint.host().parse::<Ipv4Addr>() else {
        return fail(&[RUNTIME_API, " must be an IPv4 address with a port here, not ", address]);
    };
    let service = Service { address: SocketAddrV4::new(ip, endpoint.port()) };
    let (mut events, mut requests) = ([0; EVENTS], [0; REQUESTS]);
    let mut driver =
        Driver::new(Machine::new(endpoint), service, &mut events[..], &mut requests[..]);
    let ended = driver.run(|invocation, responder| -> Result<_, ErrorReport<'_>> {
        Ok(responder.send(invocation.body()))
    });
    match ended {
        Ok(()) => 0,
        Err(error) => fail(&[match error {
            DriverError::Connect(_) => "no connection to the Runtime API, giving up",
            DriverError::Ended(End::Service(_)) => "the Runtime API ends this runtime",
            DriverError::Ended(End::Protocol(_)) => "the Runtime API sent an invalid reply",
            DriverError::Ended(_) => "the buffers are too small",
        }]),
    }
}

struct Service {
    address: SocketAddrV4,
}

impl Connector for Service {
    type Connection = Socket;
    type Error = Errno;

    fn connect(&mut self, losses: u32) -> Result<Socket, Errno> {
        // The first loss is not a failure: idle connections go stale.
        let failed = losses.saturating_sub(1);
        let mut attempt = 0;
        loop {
            system::sleep(client::backoff(failed.saturating_add(attempt), system::random()));
            match Socket::connect(self.address) {
                Err(_) if attempt + 1 < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    fn warn(&mut self, warning: &Warning<'_>) {
        let mut status = [b'0'; 3];
        let what = match warning.kind {
            WarningKind::Refused { outcome, .. } => {
                let code = outcome.status();
                status = [code / 100, code / 10, code].map(|digits| b'0' + (digits % 10) as u8);
                "refused with "
            }
            WarningKind::InvalidReply(_) => "invalid reply",
            WarningKind::SentAgain => "connection lost before the reply; sending the answer again",
            WarningKind::FateUnknown => "connection lost; whether the answer arrived is unknown",
            WarningKind::EventLost => "connection lost in the middle of the event",
            WarningKind::EventTooLarge => "the event does not fit the buffer",
            WarningKind::Unsent => "the answer could not be sent",
            _ => "not answered",
        };
        let status = match warning.kind {
            WarningKind::Refused { .. } => core::str::from_utf8(&status).unwrap_or_default(),
            _ => "",
        };
        match warning.request_id {
            "" => say(&[what, status]),
            id => say(&["invocation ", id, ": ", what, status]),
        }
    }
}

impl Connection for Socket {
    fn write_parts(&mut self, parts: [&[u8]; 3]) -> Result<usize, Errno> {
        self.send(parts)
    }
}

impl embedded_io::Read for Socket {
    fn read(&mut self, room: &mut [u8]) -> Result<usize, Errno> {
        self.receive(room)
    }
}

impl embedded_io::Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        self.send([bytes, &[], &[]])
    }

    fn flush(&mut self) -> Result<(), Errno> {
        Ok(())
    }
}

impl embedded_io::ErrorType for Socket {
    type Error = Errno;
}

impl embedded_io::Error for Errno {
    fn kind(&self) -> embedded_io::ErrorKind {
        match *self {
            Self::INTERRUPTED => embedded_io::ErrorKind::Interrupted,
            _ => embedded_io::ErrorKind::Other,
        }
    }
}

impl core::error::Error for Errno {}

impl core::fmt::Display for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("a system call failed")
    }
}

fn fail(reason: &[&str]) -> i32 {
    say(reason);
    1
}

/// Writes one line to standard error, in one system call if it fits the buffer.
fn say(parts: &[&str]) {
    let (mut line, mut length) = ([0; 256], 0);
    for part in [&["nolibc: "], parts, &["\n"]].into_iter().flatten() {
        for &byte in part.as_bytes() {
            if length == line.len() {
                system::write_to_stderr(&line);
                length = 0;
            }
            line[length] = byte;
            length += 1;
        }
    }
    system::write_to_stderr(&line[..length]);
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    say(&["panicked"]);
    system::exit(101)
}
