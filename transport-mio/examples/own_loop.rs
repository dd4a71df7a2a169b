//! The slots in the program's own loop, together with a timer and another socket.
//!
//! Invocations wait for the next tick, ten times a second, and are answered together. A
//! datagram to the socket is answered with the number of invocations so far.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use lambda_proto_mio::{Event, Invocation, Responder, Runtime};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

const COUNTER: Token = Token(0);
/// The slots take as many tokens as they need, from here on.
const SLOTS: Token = Token(1);
const TICK: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(64);

    let mut counter = UdpSocket::bind(([127, 0, 0, 1], 0).into())?;
    poll.registry().register(&mut counter, COUNTER, Interest::READABLE)?;
    eprintln!("own_loop: counting at {}", counter.local_addr()?);

    let mut slots = Runtime::from_env()?.register(poll.registry(), SLOTS)?;
    let mut waiting: Vec<(Invocation, Responder)> = Vec::new();
    let mut count = 0u64;
    let mut next_tick = Instant::now() + TICK;
    loop {
        while let Some(event) = slots.next_event(Instant::now()) {
            match event {
                Event::Invocation(invocation, responder) => {
                    count += 1;
                    waiting.push((invocation, responder));
                }
                Event::Ended(result) => return Ok(result?),
                // Receipts, for example.
                _ => {}
            }
        }

        // Until something happens, or the first of the timers.
        let tick = (!waiting.is_empty()).then_some(next_tick);
        let until = [slots.next_timeout(), tick].into_iter().flatten().min();
        let timeout = until.map(|at| at.saturating_duration_since(Instant::now()));
        match poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }

        let now = Instant::now();
        for event in &events {
            if !slots.handle_event(event, now) {
                tell(&counter, count)?;
            }
        }
        slots.handle_timeout(now);
        if now >= next_tick {
            next_tick = now + TICK;
            for (invocation, responder) in waiting.drain(..) {
                responder.send(invocation.body());
            }
        }
    }
}

/// Answers every waiting datagram with the count.
fn tell(socket: &UdpSocket, count: u64) -> io::Result<()> {
    loop {
        match socket.recv_from(&mut [0; 16]) {
            Ok((_, asker)) => drop(socket.send_to(count.to_string().as_bytes(), asker)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
