//! Invocations through core's client, without a socket: `cost N`. `capi/cost/cost.c` does the same
//! in C, and `capi/cost/run` counts the instructions of both.

use lambda_proto::api::Endpoint;
use lambda_proto::client::{Client, Step};
use lambda_proto::machine::Machine;

const EVENT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
    Lambda-Runtime-Aws-Request-Id: 8f6ae4d1-c5a0-4e27-9a4c-0f2f3c8b2d5e\r\n\
    Lambda-Runtime-Deadline-Ms: 1795252820229\r\n\
    Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-west-1:123456789012:function:f\r\n\
    Lambda-Runtime-Trace-Id: Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0\r\n\
    Date: Mon, 30 Nov 2026 09:00:00 GMT\r\nContent-Length: 128\r\n\r\n\
    {\"name\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}";
const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n\
    Date: Mon, 30 Nov 2026 09:00:00 GMT\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let invocations: u64 = std::env::args().nth(1).unwrap_or_default().parse()?;
    let (mut events, mut requests) = ([0; 8192], [0; 4096]);
    let machine = Machine::new(Endpoint::parse("127.0.0.1:9001")?);
    let mut client = Client::new(machine, &mut events[..], &mut requests[..]);
    let (mut settled, mut written, mut is_event) = (0, 0, true);
    while settled < invocations {
        match client.exchange().step(|warning| panic!("{warning}")) {
            Step::Connect { .. } => client.exchange().connected(),
            Step::Write => {
                // The answer is the event itself.
                let length = match client.in_flight() {
                    Some((invocation, exchange)) => {
                        exchange.unsent(invocation.body()).iter().map(|part| part.len()).sum()
                    }
                    None => client.exchange().unsent(&[]).iter().map(|part| part.len()).sum(),
                };
                written += length;
                client.exchange().sent(length);
            }
            Step::Read => {
                let reply = if is_event { EVENT } else { ACCEPTED };
                is_event = !is_event;
                let mut exchange = client.exchange();
                exchange.room().ok_or("no room")?[..reply.len()].copy_from_slice(reply);
                exchange.received(reply.len());
            }
            Step::Idle => client.ask()?,
            Step::Answer => {
                let length = client.invocation().ok_or("no invocation")?.body().len();
                client.exchange().respond(None, length, false)?;
            }
            Step::Settled(_) => settled += 1,
            Step::End(end) => return Err(end.into()),
        }
    }
    println!("{settled} invocations, {written} bytes written");
    Ok(())
}
