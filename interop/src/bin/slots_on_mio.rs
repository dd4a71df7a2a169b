//! A function on `lambda-proto-mio` for tests that measure what the example `pool` does not show.
//!
//! `--pipelined` is an echo that asks for the next invocation with its answer. `--stream BYTES` streams
//! an answer of so many bytes, from a thread of its own.

use std::io::{self, Write};
use std::thread;

use lambda_proto_mio::{BlockingStream, ContentType, Error, Runtime};

fn main() -> Result<(), Error> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let runtime = Runtime::from_env()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--pipelined"] => runtime.run(|invocation, reply| reply.send_and_next(invocation.body())),
        ["--stream", bytes] => {
            let bytes = bytes.parse().expect("a number of bytes");
            runtime.run(move |_, reply| {
                let stream = reply.stream(ContentType::OCTET_STREAM).blocking();
                thread::spawn(move || write(stream, bytes).expect("the service takes it all"));
            })
        }
        ref other => panic!("{other:?} are no arguments"),
    }
}

fn write(mut stream: BlockingStream, bytes: usize) -> io::Result<()> {
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
