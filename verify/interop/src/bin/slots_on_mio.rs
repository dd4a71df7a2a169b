//! Functions on `lambda-proto-mio` for measurements that the example `pool` does not cover.
//!
//! - `--pipelined`: an echo that asks for the next invocation together with its answer
//! - `--lifecycle`: an echo with a signal handler and a shutdown hook; `--pipelined` may follow
//! - `--stream BYTES`: streams a response of this length, from another thread

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
        ref other => panic!("unexpected arguments: {other:?}"),
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
