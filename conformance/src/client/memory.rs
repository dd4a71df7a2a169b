//! Plays a vector in memory against the test function on `lambda_proto::client::Client`, with full
//! control over how its bytes are delivered.

use lambda_proto::api::{Concurrency, Endpoint};
use lambda_proto::client::{End, Step};

use super::player::{Deviation, Player, Todo};
use super::vector::Vector;
use crate::client_function::{ClientFunction, Seen};

/// The pieces in which bytes arrive and are sent.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// Positions, in all that the service writes, at which a read ends; ascending.
    pub cuts: Vec<usize>,
    /// The most bytes that one read takes.
    pub most_read: Option<usize>,
    /// Each write takes as many bytes as the next of these says, over and over; all of them if this
    /// is empty.
    pub writes: Vec<usize>,
    /// The function sends `next` in the same write as each answer.
    pub is_pipelined: bool,
}

/// What happened while a vector was played.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// What the client sent on each connection.
    pub sent: Vec<Vec<u8>>,
    /// What each slot has seen.
    pub seen: Vec<Vec<Seen>>,
    /// How the session ended, if it did.
    pub end: Option<End>,
    /// How many bytes the client read.
    pub read: usize,
}

/// Why a vector cannot be played against a slot; `None` if it can.
pub fn not_for_core(vector: &Vector) -> Option<&'static str> {
    for (name, value) in &vector.environment {
        match name.as_str() {
            "AWS_LAMBDA_MAX_CONCURRENCY" if value.parse::<usize>().is_ok_and(|it| it > 0) => {}
            "CONFORMANCE_START" => {}
            _ => return Some("core reads no environment variables"),
        }
    }
    if !vector.api.contains("{address}") {
        return Some("core gets the address of the service from its embedder");
    }
    let needs = |what| vector.needs.iter().any(|need| need == what);
    if needs("start") && needs("concurrency") {
        return Some("the init that precedes all slots is the task of the host");
    }
    needs("snapshot").then_some("snapshot hooks are the task of the transports")
}

/// Plays a vector in memory.
///
/// # Errors
///
/// The first deviation of the client.
pub fn play_in_memory(vector: &Vector, delivery: &Delivery) -> Result<Transcript, Deviation> {
    const ADDRESS: &str = "127.0.0.1:9001";
    let mut player = Player::new(vector, ADDRESS);
    let mut client =
        Client::new(vector, ADDRESS, delivery).map_err(|what| Deviation { step: 0, what })?;
    loop {
        match player.step()? {
            Todo::Done => break,
            Todo::Write { connection, bytes, .. } => {
                if let Some(link) = client.links.get_mut(connection) {
                    link.arriving.extend_from_slice(bytes);
                }
            }
            Todo::Close(connection) => client.link(connection, |link| {
                link.is_ending = true;
                link.takes_nothing = true;
            }),
            Todo::HalfClose(connection) => client.link(connection, |link| link.is_ending = true),
            Todo::Reset(connection) => client.link(connection, |link| link.is_reset = true),
            Todo::Pause(_) => while client.go_on(&mut player)? {},
            Todo::Deliver { .. } | Todo::EndDelivery(_) => {
                let what = "the function subscribes to no telemetry".to_owned();
                return Err(Deviation { step: 0, what });
            }
            Todo::Away(_) => client.links.iter_mut().for_each(|link| link.is_reset = true),
            Todo::Input | Todo::Exit | Todo::Quiet => {
                if !client.go_on(&mut player)? {
                    player.is_late()?;
                }
            }
        }
    }
    Ok(client.into_transcript())
}

/// The function with all its slots and connections.
struct Client<'d> {
    delivery: &'d Delivery,
    slots: Vec<Slot>,
    links: Vec<Link>,
    concurrency: Concurrency,
    /// How many bytes all reads have taken.
    read: usize,
    /// How many writes there were.
    writes: usize,
    end: Option<End>,
}

struct Slot {
    function: ClientFunction,
    link: Option<usize>,
}

/// The client's end of one connection.
#[derive(Default)]
pub(super) struct Link {
    pub(super) arriving: Vec<u8>,
    /// How many of those bytes have been read.
    pub(super) taken: usize,
    pub(super) is_ending: bool,
    pub(super) is_reset: bool,
    pub(super) takes_nothing: bool,
    pub(super) sent: Vec<u8>,
}

impl<'d> Client<'d> {
    fn new(vector: &Vector, address: &str, delivery: &'d Delivery) -> Result<Self, String> {
        let slots = vector.environment.get("AWS_LAMBDA_MAX_CONCURRENCY");
        let slots: usize = slots.and_then(|slots| slots.parse().ok()).unwrap_or(1);
        let concurrency = if slots > 1 { Concurrency::Multi } else { Concurrency::Single };
        let endpoint = Endpoint::parse(&vector.api.replace("{address}", address))
            .map_err(|error| error.to_string())?;
        let slot = || {
            let function =
                ClientFunction::new(endpoint.clone(), concurrency, delivery.is_pipelined);
            Slot { function, link: None }
        };
        // A function whose init fails needs only one slot, which reports the error.
        let starts = !vector.environment.contains_key("CONFORMANCE_START");
        let slots = if starts { slots } else { 1 };
        let mut slots: Vec<_> = (0..slots).map(|_| slot()).collect();
        if !starts {
            slots[0].function.fail_start().map_err(|error| error.to_string())?;
        }
        let links = Vec::new();
        Ok(Self { delivery, slots, links, concurrency, read: 0, writes: 0, end: None })
    }

    fn link(&mut self, connection: usize, change: impl FnOnce(&mut Link)) {
        if let Some(link) = self.links.get_mut(connection) {
            change(link);
        }
    }

    /// Lets each slot do one step. Returns whether any made progress.
    fn go_on(&mut self, player: &mut Player<'_>) -> Result<bool, Deviation> {
        let mut is_moving = false;
        for number in 0..self.slots.len() {
            if self.end.is_none() {
                is_moving |= self.go_on_with(number, player)?;
            }
        }
        Ok(is_moving)
    }

    fn go_on_with(&mut self, number: usize, player: &mut Player<'_>) -> Result<bool, Deviation> {
        let Self { delivery, slots, links, .. } = self;
        let Slot { function, link } = &mut slots[number];
        let step = function.step().map_err(|error| {
            let what = format!("the slot refused a command of its function: {error}");
            Deviation { step: 0, what }
        })?;
        if !function.exchange().0.is_connected()
            && let Some(gone) = link.take()
        {
            player.ended(gone);
        }
        match (step, *link) {
            (Step::Connect { .. }, _) => {
                links.push(Link::default());
                *link = Some(player.opened());
                function.exchange().0.connected();
            }
            (Step::Write, Some(at)) => {
                let link = &mut links[at];
                if link.takes_nothing || link.is_reset {
                    function.exchange().0.write_failed();
                    return Ok(true);
                }
                let (exchange, body) = function.exchange();
                let bytes = exchange.unsent(body).concat();
                let most = match &delivery.writes[..] {
                    [] => bytes.len(),
                    writes => writes[self.writes % writes.len()].min(bytes.len()),
                };
                self.writes += 1;
                link.sent.extend_from_slice(&bytes[..most]);
                player.received(at, &bytes[..most]);
                function.exchange().0.sent(most);
            }
            (Step::Read, Some(at)) => {
                let link = &mut links[at];
                let (mut exchange, _) = function.exchange();
                if link.is_reset {
                    exchange.lost();
                    return Ok(true);
                }
                let arriving = &link.arriving[link.taken..];
                if arriving.is_empty() && !link.is_ending {
                    return Ok(false);
                }
                let Some(room) = exchange.room() else { return Ok(true) };
                let cut = delivery.cuts.iter().find(|cut| **cut > self.read);
                let most = cut.map_or(usize::MAX, |cut| cut - self.read);
                let most = most.min(delivery.most_read.unwrap_or(usize::MAX));
                let length = most.min(room.len()).min(arriving.len());
                room[..length].copy_from_slice(&arriving[..length]);
                link.taken += length;
                self.read += length;
                exchange.received(length);
            }
            (Step::End(end), _) => {
                if let Some(gone) = link.take() {
                    player.ended(gone);
                }
                if end.begins_anew(self.concurrency) {
                    function.begin_anew();
                } else {
                    self.end = Some(end);
                    // Every other end of the session ends the process with an error.
                    player.exited(Some(1));
                }
            }
            (step, _) => {
                let what = format!("the slot asks for {step:?} without a connection");
                return Err(Deviation { step: 0, what });
            }
        }
        Ok(true)
    }

    fn into_transcript(self) -> Transcript {
        Transcript {
            sent: self.links.into_iter().map(|link| link.sent).collect(),
            seen: self.slots.iter().map(|slot| slot.function.seen().to_vec()).collect(),
            end: self.end,
            read: self.read,
        }
    }
}
