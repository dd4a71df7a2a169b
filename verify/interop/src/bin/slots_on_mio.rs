//! A function on `lambda-proto-mio` for tests that measure what the example `pool` does not show.
//!
//! `--pipelined` is an echo that asks for the next invocation with its answer. `--lifecycle` is an echo that
//! hears of signals and has a shutdown hook; it takes `--pipelined`, too. `--stream BYTES` streams an answer
//! of so many bytes, from a thread of its own.

use std::io::{self, Write};
use std::thread;

use lambda_proto_mio::{ContentType, Error, Lifecycle, ResponseStream, Runtime};

fn main() -> Result<(), Error> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let runtime = Runtime::from_env()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--pipelined"] => {
            runtime.run(|invocation, responder| Ok(responder.send_and_next(invocation.body())))
        }
        ["--lifecycle"] => runtime
            .lifecycle(lifecycle())
            .run(|invocation, responder, _| Ok(responder.send(invocation.body()))),
        ["--lifecycle", "--pipelined"] => runtime
            .lifecycle(lifecycle())
            .run(|invocation, responder, _| Ok(responder.send_and_next(invocation.body()))),
        ["--stream", bytes] => {
            let bytes = bytes.parse().expect("a number of bytes");
            runtime.run(move |_, responder| {
                let (responder, sent) = responder.defer();
                let stream = responder.stream(ContentType::OCTET_STREAM);
                thread::spawn(move || write(stream, bytes).expect("the service takes it all"));
                Ok(sent)
            })
        }
        ref other => panic!("{other:?} are no arguments"),
    }
}

fn lifecycle() -> Lifecycle {
    Lifecycle::new().on_shutdown("nothing", |_| Ok(()))
}

fn write(mut stream: ResponseStream, bytes: usize) -> io::Result<()> {
    let piece = [b'x'; 16 * 1024];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(piece.len());
        stream.write_all(&piece[..length])?;
        left -= length;
    }
    stream.finish();
    Ok(())
}
