//! Plays a vector in memory against the test extension on the machines of
//! `lambda_proto_extension`, with full control over how bytes are delivered, and without real time.

use std::time::Duration;

use lambda_proto::api::Endpoint;
use lambda_proto::lifecycle::Clocks;

use super::memory::{Delivery, Link};
use super::player::{Deviation, Player, Todo};
use super::vector::Vector;
use crate::bytes::with_deadlines;
use crate::extension_program::{ExtensionProgram, Inbox, Inflow, Plan, Want};

/// What happened while a vector was played.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionTranscript {
    /// What the extension sent on each connection to the service.
    pub sent: Vec<Vec<u8>>,
    /// What it replied on each connection of a delivery.
    pub replied: Vec<Vec<u8>>,
    /// What it was told, each a line.
    pub told: Vec<String>,
    /// The code of its exit, if it has exited.
    pub exit: Option<u8>,
    /// How many bytes it has read.
    pub read: usize,
}

/// Plays a vector in memory.
///
/// # Errors
///
/// The first deviation of the extension.
pub fn play_extension_in_memory(
    vector: &Vector,
    delivery: &Delivery,
) -> Result<ExtensionTranscript, Deviation> {
    const ADDRESS: &str = "127.0.0.1:9001";
    let wrong = |what: String| Deviation { step: 0, what };
    let mut player = Player::new(vector, ADDRESS);
    let endpoint = Endpoint::parse(&vector.api.replace("{address}", ADDRESS));
    let endpoint = endpoint.map_err(|error| wrong(error.to_string()))?;
    let plan = Plan::read(&vector.environment).map_err(wrong)?;
    let program = ExtensionProgram::new(endpoint, plan, 8080);
    let mut client = Client {
        delivery,
        program,
        link: None,
        links: Vec::new(),
        inboxes: Vec::new(),
        now: Duration::ZERO,
        wait: None,
        writes: 0,
        transcript: ExtensionTranscript::default(),
    };
    loop {
        match player.step()? {
            Todo::Done => break,
            Todo::Write { connection, bytes, .. } => {
                let bytes = with_deadlines(bytes, client.clocks().wall);
                client.link(connection, |link| link.arriving.extend_from_slice(&bytes));
            }
            Todo::Close(connection) => client.link(connection, |link| {
                link.is_ending = true;
                link.takes_nothing = true;
            }),
            Todo::HalfClose(connection) => client.link(connection, |link| link.is_ending = true),
            Todo::Reset(connection) => client.link(connection, |link| link.is_reset = true),
            Todo::Away(time) => {
                client.links.iter_mut().for_each(|link| link.is_reset = true);
                client.now += time;
            }
            Todo::Deliver { connection, bytes, .. } => {
                if connection == client.inboxes.len() {
                    client.inboxes.push(Some((client.program.inbox(), Link::default())));
                    client.transcript.replied.push(Vec::new());
                }
                if let Some((_, link)) = &mut client.inboxes[connection] {
                    link.arriving.extend_from_slice(bytes);
                }
            }
            Todo::EndDelivery(connection) => {
                if let Some((_, link)) = &mut client.inboxes[connection] {
                    link.is_ending = true;
                }
            }
            Todo::Pause(time) => {
                while client.go_on(&mut player)? {}
                client.now += time;
            }
            Todo::Quiet => {
                if !client.go_on(&mut player)? {
                    player.is_late()?;
                }
            }
            Todo::Input | Todo::Exit => {
                if client.go_on(&mut player)? {
                    continue;
                }
                match client.wait.take() {
                    Some(time) => client.now += time,
                    None => player.is_late()?,
                }
            }
        }
    }
    let Client { links, transcript, .. } = client;
    let sent = links.into_iter().map(|link| link.sent).collect();
    Ok(ExtensionTranscript { sent, ..transcript })
}

/// The extension with all its connections.
struct Client<'d> {
    delivery: &'d Delivery,
    program: ExtensionProgram,
    /// The connection to the service.
    link: Option<usize>,
    links: Vec<Link>,
    /// `None` once the extension has closed it.
    inboxes: Vec<Option<(Inbox, Link)>>,
    now: Duration,
    /// How long the extension waits unless something arrives.
    wait: Option<Duration>,
    writes: usize,
    transcript: ExtensionTranscript,
}

impl Client<'_> {
    /// The clocks: some time in 2026, and on.
    fn clocks(&self) -> Clocks {
        let wall = Duration::from_millis(1_795_252_819_000) + self.now;
        Clocks { monotonic: self.now, wall }
    }

    fn link(&mut self, connection: usize, change: impl FnOnce(&mut Link)) {
        if let Some(link) = self.links.get_mut(connection) {
            change(link);
        }
    }

    /// Does one step on each connection. Returns whether there was any progress.
    fn go_on(&mut self, player: &mut Player<'_>) -> Result<bool, Deviation> {
        if self.transcript.exit.is_some() {
            return Ok(false);
        }
        let mut is_moving = false;
        for number in 0..self.inboxes.len() {
            is_moving |= self.take_delivery(number, player);
        }
        is_moving |= self.ask(player)?;
        for told in self.program.take_told() {
            let line = told.to_string();
            player.printed(&line);
            self.transcript.told.push(line);
            is_moving = true;
        }
        if let Some(code) = self.transcript.exit {
            player.exited(Some(code.into()));
        }
        Ok(is_moving)
    }

    /// Whether a reply to a delivery has begun and is not written.
    fn has_unsent(&self) -> bool {
        self.inboxes.iter().flatten().any(|(inbox, _)| !inbox.unsent().is_empty())
    }

    fn take_delivery(&mut self, number: usize, player: &mut Player<'_>) -> bool {
        let Some((inbox, link)) = &mut self.inboxes[number] else { return false };
        match self.program.take(inbox) {
            Inflow::Read => {
                let arriving = &link.arriving[link.taken..];
                if arriving.is_empty() && !link.is_ending {
                    return false;
                }
                let room = inbox.room();
                let length = self.delivery.most(self.transcript.read).min(room.len());
                let length = length.min(arriving.len());
                room[..length].copy_from_slice(&arriving[..length]);
                link.taken += length;
                self.transcript.read += length;
                match length {
                    0 => inbox.end_of_stream(),
                    length => inbox.received(length),
                }
            }
            Inflow::Write => {
                let length = self.delivery.write(&mut self.writes, inbox.unsent().len());
                let bytes = &inbox.unsent()[..length];
                player.received_reply(number, bytes);
                self.transcript.replied[number].extend_from_slice(bytes);
                inbox.sent(length);
            }
            Inflow::Close => {
                self.inboxes[number] = None;
                player.ended_delivery(number);
            }
        }
        true
    }

    fn ask(&mut self, player: &mut Player<'_>) -> Result<bool, Deviation> {
        let now = self.clocks();
        let want = self.program.step(now).map_err(|error| {
            let what = format!("the extension was refused a command: {error}");
            Deviation { step: 0, what }
        })?;
        self.wait = None;
        match (want, self.link) {
            (Want::Connect, gone) => {
                if let Some(gone) = gone {
                    player.ended(gone);
                }
                self.links.push(Link::default());
                self.link = Some(player.opened());
                self.program.connected();
            }
            (Want::Write, Some(at)) => {
                let link = &mut self.links[at];
                if link.takes_nothing || link.is_reset {
                    self.program.ended(now);
                    return Ok(true);
                }
                let length = self.delivery.write(&mut self.writes, self.program.unsent().len());
                let bytes = &self.program.unsent()[..length];
                link.sent.extend_from_slice(bytes);
                player.received(at, bytes);
                self.program.sent(length);
            }
            (Want::Read, Some(at)) => {
                let link = &mut self.links[at];
                let arriving = &link.arriving[link.taken..];
                if link.is_reset || (arriving.is_empty() && link.is_ending) {
                    self.program.ended(now);
                    return Ok(true);
                }
                let length = self.delivery.most(self.transcript.read).min(arriving.len());
                if length == 0 {
                    return Ok(false);
                }
                link.taken += length;
                self.transcript.read += length;
                self.program.received(&arriving[..length], now);
            }
            (Want::Wait(time), _) => {
                self.wait = Some(time);
                return Ok(false);
            }
            (Want::Exit(_), _) if self.has_unsent() => {
                return Ok(false);
            }
            (Want::Exit(code), _) => self.transcript.exit = Some(code),
            (want, None) => {
                let what = format!("the extension asks for {want:?} without a connection");
                return Err(Deviation { step: 0, what });
            }
        }
        Ok(true)
    }
}

impl Delivery {
    /// The most bytes that a read takes after this many.
    fn most(&self, read: usize) -> usize {
        let cut = self.cuts.iter().find(|cut| **cut > read);
        cut.map_or(usize::MAX, |cut| cut - read).min(self.most_read.unwrap_or(usize::MAX))
    }

    /// How many of these bytes the next write takes.
    fn write(&self, writes: &mut usize, length: usize) -> usize {
        let most = match &self.writes[..] {
            [] => length,
            some => some[*writes % some.len()].min(length),
        };
        *writes += 1;
        most
    }
}
