//! Hands its work to another function in an asynchronous invocation, and answers once that is
//! accepted.
//!
//! Two functions in one program. `front` posts its event to the Invoke API at ADDRESS; `worker`
//! does the work. An accepted event may be delivered twice, and a caller of `front` may try again.
//! So `worker` remembers the events that it has done, and does each of them once. It remembers them
//! in memory; a function on Lambda needs a place that all its environments share, such as a table.
//!
//! ```sh
//! cargo build --release --examples
//! cargo run -p lambda-lab -- serve --freeze --port 9001 target/release/examples/hand_over worker
//! cargo run -p lambda-lab -- serve --freeze target/release/examples/hand_over front 127.0.0.1:9001
//! curl -d '"order 1"' http://127.0.0.1:9000/2015-03-31/functions/function/invocations
//! ```
//!
//! Run each `serve` in its own terminal. On AWS an SDK makes the request, which must be signed.

use std::collections::HashSet;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use lambda_proto_std::{Error, Failure, Runtime};

const USAGE: &str = "hand_over front ADDRESS | hand_over worker [MILLISECONDS OF WORK]";

/// A service that does not reply must not use up the time of the invocation.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["front", address] => front(address),
        ["worker"] => worker(Duration::from_millis(300)),
        ["worker", millis] => match millis.parse() {
            Ok(millis) => worker(Duration::from_millis(millis)),
            Err(error) => {
                eprintln!("hand_over: the milliseconds of work are not a number: {error}; {USAGE}");
                return ExitCode::from(2);
            }
        },
        _ => {
            eprintln!("hand_over: say which function to run; {USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hand_over: {error}");
            ExitCode::FAILURE
        }
    }
}

fn front(address: &str) -> Result<(), Error> {
    Runtime::from_env()?.run(|invocation, responder| {
        // An earlier answer would promise work that may never be done.
        hand_over(address, invocation.body())?;
        Ok(responder.send("accepted"))
    })
}

/// Invokes the worker asynchronously. 202 means that the event is accepted, not that it is done.
fn hand_over(address: &str, event: &[u8]) -> Result<(), Failure> {
    let not_handed_over = |reason: &dyn Display| {
        let message = format!("the worker at {address} was not invoked: {reason}");
        Failure::new("Function.NotHandedOver", message)
    };
    let status = post(address, event).map_err(|error| not_handed_over(&error))?;
    if status.split(' ').nth(1) != Some("202") {
        return Err(not_handed_over(&status.trim_end()));
    }
    Ok(())
}

/// Posts the event, and returns the status line of the reply.
fn post(address: &str, event: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = format!(
        "POST /2015-03-31/functions/worker/invocations HTTP/1.1\r\n\
         Host: {address}\r\n\
         X-Amz-Invocation-Type: Event\r\n\
         Content-Type: application/json\r\n\
         Content-Length: {}\r\n\
         Connection: close\r\n\r\n",
        event.len()
    );
    stream.write_all(&[head.as_bytes(), event].concat())?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status)?;
    Ok(status)
}

fn worker(work: Duration) -> Result<(), Error> {
    let done = Mutex::new(HashSet::new());
    Runtime::from_env()?.run(move |invocation, responder| {
        let key = String::from_utf8_lossy(invocation.body()).into_owned();
        let mut done = done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if done.contains(&key) {
            eprintln!("hand_over: {key} was done before and is skipped");
        } else {
            thread::sleep(work);
            eprintln!("hand_over: {key} is done");
            done.insert(key);
        }
        Ok(responder.send("done"))
    })
}
