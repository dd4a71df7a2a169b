//! The test function on `lambda-proto` alone, over a raw socket.

use std::error::Error;
use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lambda_conformance::client_function::ClientFunction;
use lambda_proto::api::{Concurrency, Endpoint};
use lambda_proto::client::{End, Step, backoff};

/// How long to try to connect.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = Endpoint::parse(&std::env::var("AWS_LAMBDA_RUNTIME_API")?)?;
    let mut function = ClientFunction::new(endpoint.clone(), Concurrency::Single, false);
    let mut stream: Option<TcpStream> = None;
    loop {
        let step = function.step()?;
        match (step, &mut stream) {
            (Step::Connect { losses }, _) => {
                drop(stream.take());
                stream = Some(connect(&endpoint, losses)?);
                function.exchange().0.connected();
            }
            (Step::Write, Some(stream)) => {
                let (mut exchange, body) = function.exchange();
                match stream.write_vectored(&exchange.unsent(body).map(IoSlice::new)) {
                    Ok(length @ 1..) => exchange.sent(length),
                    _ => exchange.write_failed(),
                }
            }
            (Step::Read, Some(stream)) => {
                let (mut exchange, _) = function.exchange();
                match exchange.room().map(|room| stream.read(room)) {
                    Some(Ok(length)) => exchange.received(length),
                    Some(Err(_)) => exchange.lost(),
                    None => {}
                }
            }
            (Step::End(End::Done), _) => return Ok(()),
            (Step::End(end), _) => return Err(end.into()),
            (step, _) => return Err(format!("no connection for {step:?}").into()),
        }
    }
}

fn connect(endpoint: &Endpoint, losses: u32) -> Result<TcpStream, Box<dyn Error>> {
    let (began, mut failed) = (Instant::now(), losses.saturating_sub(1));
    loop {
        sleep(backoff(failed, 0));
        match TcpStream::connect((endpoint.host(), endpoint.port())) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if began.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => failed = failed.saturating_add(1),
        }
    }
}
