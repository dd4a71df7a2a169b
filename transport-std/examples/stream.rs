//! Streams an HTTP response, one line a second. The event is the number of lines; any other event
//! means 3.
//!
//! The event `fail` ends the stream with an error after the first line.

use std::io::Write;
use std::thread::sleep;
use std::time::Duration;

use lambda_proto_std::{Error, Failure, HttpPrelude, Runtime};

fn main() -> Result<(), Error> {
    Runtime::from_env()?.run(|invocation, responder| {
        let event = String::from_utf8_lossy(invocation.body());
        let lines = event.trim_matches('"').parse().unwrap_or(3);
        let prelude = HttpPrelude::new(200, &[("content-type", "text/plain")], &[])?;

        let mut stream = responder.stream_http(&prelude);
        for line in 1..=lines {
            // One write is one chunk, which the caller gets immediately.
            stream.write_all(format!("line {line}\n").as_bytes())?;
            if event.contains("fail") {
                return Err(Failure::new("Function.GaveUp", "one line is enough"));
            }
            if line < lines {
                sleep(Duration::from_secs(1));
            }
        }
        Ok(stream.finish())
    })
}
