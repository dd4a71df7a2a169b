//! Streams an HTTP response, one line a second. The event is the number of lines; any other event
//! means 3.
//!
//! The event `fail` ends the stream with an error after the first line. The event `copy` copies a
//! reader into the response instead.

use std::time::Duration;

use futures_util::stream;
use lambda_proto_tokio::{Error, Failure, HttpPrelude, Runtime};
use tokio::time::sleep;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let running = Runtime::from_env()?.run(async |invocation, responder| {
        let event = String::from_utf8_lossy(invocation.body());
        let event = event.trim_matches('"');
        let prelude = HttpPrelude::new(200, &[("content-type", "text/plain")], &[])?;
        let mut out = responder.stream_http(&prelude).await;
        if event == "copy" {
            // A response is an `AsyncWrite`.
            tokio::io::copy(&mut &b"line 1\nline 2\n"[..], &mut out).await?;
        } else {
            // Each item is one chunk, which the caller gets immediately.
            out.send_all(lines(event.parse().unwrap_or(3), event == "fail")).await?;
        }
        Ok(out.finish().await)
    });
    running.await
}

/// The lines, one a second.
fn lines(count: u32, fails: bool) -> impl stream::Stream<Item = Result<String, Failure>> {
    stream::unfold(1, move |line| async move {
        if line > count {
            return None;
        }
        if fails && line > 1 {
            return Some((Err(Failure::new("Function.GaveUp", "one line is enough")), line));
        }
        if line > 1 {
            sleep(Duration::from_secs(1)).await;
        }
        Some((Ok(format!("line {line}\n")), line + 1))
    })
}
