//! Plays the service's side of a vector, without sockets.
//!
//! It stands apart from `lambda-proto-service` because its script is data, and because people play
//! vectors against their own clients with it.

use std::collections::HashMap;
use std::time::Duration;

use super::deliveries::Deliveries;
use super::line::{Awaits, Line};
use super::request::shown;
use super::vector::{Connection, Exit, Place, Request, Step, Vector};

/// Plays the service of one vector, and checks the client.
///
/// The embedder owns the connections and the client. It reports what happens with
/// [`opened`](Self::opened), [`received`](Self::received), [`ended`](Self::ended) and
/// [`exited`](Self::exited), and does what [`step`](Self::step) returns.
pub struct Player<'v> {
    /// The remaining steps, the next one last.
    steps: Vec<&'v Step>,
    /// How many steps are done.
    done: usize,
    /// The prefix of all paths, and the address of the service.
    prefix: String,
    address: String,
    connections: Vec<Line>,
    names: HashMap<&'v str, usize>,
    /// The current connection: the one that was used or named last.
    last: usize,
    exit: Option<Option<i32>>,
    deliveries: Deliveries,
}

/// What the embedder of a [`Player`] has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Todo<'v> {
    /// Write these bytes on this connection; with `every`, one byte at a time.
    Write {
        /// The connection.
        connection: usize,
        /// What to write.
        bytes: &'v [u8],
        /// How long to wait before each byte.
        every: Option<Duration>,
    },
    /// Close this connection normally.
    Close(usize),
    /// Close the direction to the client on this connection.
    HalfClose(usize),
    /// Reset this connection.
    Reset(usize),
    /// Write these bytes to this port of the client. Connect if the number of the connection is
    /// new; connections on which the service delivers are numbered on their own.
    Deliver {
        /// The connection.
        connection: usize,
        /// The port on which the client listens.
        port: u16,
        /// What to write.
        bytes: &'v [u8],
    },
    /// Close the direction to the client on this connection on which the service delivers.
    EndDelivery(usize),
    /// Wait for this time.
    Pause(Duration),
    /// Reset all connections, and accept none for this time.
    Away(Duration),
    /// Wait for the client to do something. If it does nothing for too long, call
    /// [`is_late`](Player::is_late).
    Input,
    /// Check for a moment that the client is alive and does nothing, then call
    /// [`is_late`](Player::is_late).
    Quiet,
    /// Wait for the client's process to exit.
    Exit,
    /// The vector has been played to its end.
    Done,
}

/// What a client did wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// The number of the step, from 1.
    pub step: usize,
    /// What was expected, and what came.
    pub what: String,
}

impl std::fmt::Display for Deviation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "step {}: {}", self.step, self.what)
    }
}

impl<'v> Player<'v> {
    /// A player of a service that listens at `address`.
    pub fn new(vector: &'v Vector, address: &str) -> Self {
        let prefix = vector.api.split_once("{address}").map_or("", |(_, prefix)| prefix);
        Self {
            steps: vector.steps.iter().rev().collect(),
            done: 0,
            prefix: prefix.to_owned(),
            address: address.to_owned(),
            connections: Vec::new(),
            names: HashMap::new(),
            last: 0,
            exit: None,
            deliveries: Deliveries::default(),
        }
    }

    /// The client has opened a connection. Returns its number.
    pub fn opened(&mut self) -> usize {
        self.connections.push(Line::default());
        self.connections.len() - 1
    }

    /// The client has sent these bytes.
    pub fn received(&mut self, connection: usize, bytes: &[u8]) {
        let line = &mut self.connections[connection];
        // Bytes for a connection that the service has closed are lost.
        if line.awaits != Awaits::Nothing {
            line.unread.extend_from_slice(bytes);
        }
    }

    /// The client has closed a connection.
    pub fn ended(&mut self, connection: usize) {
        self.connections[connection].is_ended = true;
    }

    /// The client has sent these bytes on a connection on which the service delivers.
    pub fn received_reply(&mut self, connection: usize, bytes: &[u8]) {
        self.deliveries.received(connection, bytes);
    }

    /// The client has closed a connection on which the service delivers.
    pub fn ended_delivery(&mut self, connection: usize) {
        self.deliveries.ended(connection);
    }

    /// The client has printed this line.
    pub fn printed(&mut self, line: &str) {
        self.deliveries.printed(line);
    }

    /// The client's process has exited with this code, or was ended by a signal (`None`).
    pub fn exited(&mut self, code: Option<i32>) {
        self.exit = Some(code);
    }

    /// The deviation of a client in the step that is done, as when nobody listens on its port.
    pub fn deviates(&self, what: String) -> Deviation {
        Deviation { step: self.done, what }
    }

    /// What the embedder has to do next.
    ///
    /// # Errors
    ///
    /// The deviation of the client.
    pub fn step(&mut self) -> Result<Todo<'v>, Deviation> {
        let Some(&step) = self.steps.last() else { return Ok(Todo::Done) };
        if let Some(todo) = self.step_of_delivery(step).map_err(|what| self.deviation(what))? {
            return match todo {
                Todo::Done => self.go_on(),
                Todo::Input => self.awaited(),
                todo => {
                    self.pass();
                    Ok(todo)
                }
            };
        }
        let todo = match step {
            Step::Read(request) if self.read(request, true)? => return self.go_on(),
            Step::ReadHead(request) if self.read(request, false)? => return self.go_on(),
            Step::HungUp {} if self.has_hung_up() => return self.go_on(),
            Step::Connects {} if self.connect() => return self.go_on(),
            Step::Read(_) | Step::ReadHead(_) | Step::Connects {} => return self.awaited(),
            Step::HungUp {} => return Ok(Todo::Input),
            Step::Either(ways) => {
                let skipped = self.connections.iter_mut().try_for_each(Line::skip_rest);
                skipped.map_err(|what| self.deviation(what))?;
                match ways.iter().find(|way| self.begins(way)) {
                    Some(way) => {
                        self.choose(way);
                        return self.step();
                    }
                    None => return self.awaited(),
                }
            }
            Step::Exits(exit) => match self.exit {
                Some(code) if is_so(*exit, code) => return self.go_on(),
                Some(code) => {
                    return Err(self.deviation(format!("the client {}", with(code))));
                }
                None if self.has_unread() => return Err(self.deviation(self.said_instead())),
                None => return Ok(Todo::Exit),
            },
            Step::Waits(place) => {
                self.last = self.find(place)?;
                self.check_quiet()?;
                return Ok(Todo::Quiet);
            }
            Step::Write(write) => {
                self.last = self.find(&write.place)?;
                let every = write.every_ms.map(Duration::from_millis);
                Todo::Write { connection: self.last, bytes: write.bytes.as_slice(), every }
            }
            Step::Close(place) => Todo::Close(self.close(place)?),
            Step::Reset(place) => Todo::Reset(self.close(place)?),
            Step::HalfClose(place) => {
                self.last = self.find(place)?;
                Todo::HalfClose(self.last)
            }
            Step::Pause(millis) => Todo::Pause(Duration::from_millis(*millis)),
            Step::Away(millis) => {
                self.connections.iter_mut().for_each(Line::close);
                Todo::Away(Duration::from_millis(*millis))
            }
            Step::Deliver(_)
            | Step::Replied(_)
            | Step::EndDelivery(_)
            | Step::DeliveryEnds(_)
            | Step::Told(_) => return self.awaited(),
        };
        self.pass();
        Ok(todo)
    }

    /// What to do in a step that is about deliveries; [`Todo::Done`] if the client has done it, and
    /// [`Todo::Input`] if not yet.
    fn step_of_delivery(&mut self, step: &'v Step) -> Result<Option<Todo<'v>>, String> {
        let done = |is_done| if is_done { Todo::Done } else { Todo::Input };
        Ok(Some(match step {
            Step::Deliver(deliver) => {
                let (port, connection) = self.deliveries.open(&deliver.place)?;
                Todo::Deliver { connection, port, bytes: deliver.bytes.as_slice() }
            }
            Step::EndDelivery(place) => {
                Todo::EndDelivery(self.deliveries.find(place.on.as_deref())?)
            }
            Step::Replied(wanted) => done(self.deliveries.take_reply(wanted, &self.address)?),
            Step::DeliveryEnds(place) => done(self.deliveries.has_ended(place)?),
            Step::Told(wanted) => done(self.deliveries.take_told(wanted)?),
            _ => return Ok(None),
        }))
    }

    /// Nothing has come for too long after [`Todo::Input`] or [`Todo::Exit`], or for a moment after
    /// [`Todo::Quiet`].
    ///
    /// # Errors
    ///
    /// What was expected instead.
    pub fn is_late(&mut self) -> Result<(), Deviation> {
        match self.steps.last() {
            Some(Step::Waits(_)) => {
                self.check_quiet()?;
                self.pass();
                Ok(())
            }
            Some(Step::Either(ways)) => {
                let waits = |way: &&Vec<Step>| matches!(way.first(), Some(Step::Waits(_)));
                match ways.iter().find(waits) {
                    Some(way) if !self.has_unread() => {
                        self.choose(way);
                        Ok(())
                    }
                    _ => Err(self.missing()),
                }
            }
            Some(Step::HungUp {}) => {
                Err(self.deviation("the client has not closed the connection".to_owned()))
            }
            Some(Step::Connects {}) => {
                Err(self.deviation("the client has not connected".to_owned()))
            }
            Some(Step::Exits(_)) => Err(self.deviation("the client is still running".to_owned())),
            _ => Err(self.missing()),
        }
    }

    fn pass(&mut self) {
        self.steps.pop();
        self.done += 1;
    }

    fn go_on(&mut self) -> Result<Todo<'v>, Deviation> {
        self.pass();
        self.step()
    }

    fn choose(&mut self, way: &'v [Step]) {
        self.steps.pop();
        self.steps.extend(way.iter().rev());
    }

    /// Waits for the client to do something, if it is alive.
    fn awaited(&self) -> Result<Todo<'v>, Deviation> {
        match self.exit {
            Some(_) => Err(self.missing()),
            None => Ok(Todo::Input),
        }
    }

    /// Whether the client has done the first step of this list.
    fn begins(&self, way: &[Step]) -> bool {
        match way.first() {
            Some(Step::Read(wanted) | Step::ReadHead(wanted)) => {
                let is_wanted = |place: &usize| {
                    let request = self.connections[*place].request();
                    matches!(request, Ok(Some((came, _))) if came.check_line(wanted, &self.prefix).is_ok())
                        && self.check_place(wanted, *place).is_ok()
                };
                (0..self.connections.len()).any(|place| is_wanted(&place))
            }
            Some(Step::Exits(_)) => self.exit.is_some() && !self.has_unread(),
            Some(Step::HungUp {}) => self.has_hung_up(),
            Some(Step::Connects {}) => self.connections.iter().any(|line| !line.is_known),
            _ => false,
        }
    }

    /// Whether the client has closed the current connection.
    fn has_hung_up(&self) -> bool {
        self.connections.get(self.last).is_some_and(|line| line.is_ended)
    }

    /// Takes a connection that no step has used, if there is one.
    fn connect(&mut self) -> bool {
        let new = self.connections.iter().position(|line| !line.is_known);
        if let Some(place) = new {
            self.connections[place].is_known = true;
            self.last = place;
        }
        new.is_some()
    }

    /// Takes this request, if it has arrived.
    fn read(&mut self, wanted: &'v Request, is_whole: bool) -> Result<bool, Deviation> {
        let mut other = None;
        for place in 0..self.connections.len() {
            self.connections[place].skip_rest().map_err(|what| self.deviation(what))?;
            if self.connections[place].unread.len() < self.connections[place].least {
                return Ok(false);
            }
            let request = self.connections[place].request();
            let Some((came, length)) = request.map_err(|what| self.deviation(what))? else {
                continue;
            };
            if let Err(what) = came.check_line(wanted, &self.prefix) {
                // Bytes that a client sent before it closed the connection may arrive late.
                if !self.connections[place].is_over() {
                    other = Some(what);
                }
                continue;
            }
            came.check_head(wanted, &self.address).map_err(|what| self.deviation(what))?;
            if is_whole && !came.is_whole() {
                self.connections[place].least = came.least();
                return Ok(false);
            }
            self.check_place(wanted, place).map_err(|what| self.deviation(what.to_owned()))?;
            let line = &mut self.connections[place];
            line.requests += 1;
            line.least = 0;
            line.is_known = true;
            if is_whole {
                line.unread.drain(..length);
            } else {
                line.awaits = Awaits::Rest;
            }
            self.last = place;
            if let Some(name) = &wanted.name {
                self.names.insert(name, place);
            }
            if is_whole {
                came.check_rest(wanted, &self.address).map_err(|what| self.deviation(what))?;
                self.deliveries.note(wanted.call, &came);
            }
            return Ok(true);
        }
        // With several open connections, the expected request may still come on another one.
        let is_only_one = self.connections.iter().filter(|line| !line.is_over()).count() <= 1;
        match other {
            Some(what) if is_only_one => Err(self.deviation(what)),
            _ => Ok(false),
        }
    }

    /// Whether a request may come on this connection.
    fn check_place(&self, wanted: &Request, place: usize) -> Result<(), &'static str> {
        let is_new = self.connections[place].requests == 0;
        match wanted.connection {
            Some(Connection::Same) if is_new || place != self.last => {
                Err("the request came on another connection")
            }
            Some(Connection::New) if !is_new => Err("the request came on a used connection"),
            _ => Ok(()),
        }
    }

    fn find(&self, place: &Place) -> Result<usize, Deviation> {
        let Some(name) = &place.on else { return Ok(self.last) };
        let found = self.names.get(name.as_str()).copied();
        found.ok_or_else(|| self.deviation(format!("no request has named its connection {name:?}")))
    }

    fn close(&mut self, place: &Place) -> Result<usize, Deviation> {
        self.last = self.find(place)?;
        if let Some(line) = self.connections.get_mut(self.last) {
            line.close();
        }
        Ok(self.last)
    }

    /// Whether the client has sent something that no step has read yet.
    fn has_unread(&self) -> bool {
        self.connections.iter().any(Line::has_unread)
    }

    fn check_quiet(&self) -> Result<(), Deviation> {
        let is_ended = self.connections.get(self.last).is_none_or(Line::is_over);
        if self.has_unread() || is_ended || self.exit.is_some() {
            return Err(
                self.deviation(format!("expected the client to wait; {}", self.said_instead()))
            );
        }
        Ok(())
    }

    fn said_instead(&self) -> String {
        let unread = self.connections.iter().find(|line| line.has_unread());
        match (unread, self.exit) {
            (Some(line), _) => format!("the client sent {}", shown(&line.unread)),
            (None, Some(code)) => format!("the client {}", with(code)),
            (None, None) if self.connections.iter().all(Line::is_over) => {
                "no connection is open".to_owned()
            }
            (None, None) => "nothing came".to_owned(),
        }
    }

    /// The deviation for an expected action that did not come.
    fn missing(&self) -> Deviation {
        let instead = self.said_instead();
        match self.steps.last().and_then(|step| self.wanted(step)) {
            Some(wanted) => self.deviation(format!("expected {wanted}; {instead}")),
            None => self.deviation(instead),
        }
    }

    /// What the client has to do in this step, if it is a step of the client.
    fn wanted(&self, step: &Step) -> Option<String> {
        Some(match step {
            Step::Read(request) | Step::ReadHead(request) => {
                let (method, path) = request.call.line(request.id.as_deref());
                let place = match request.connection {
                    Some(Connection::Same) => " on the same connection",
                    Some(Connection::New) => " on a new connection",
                    None => "",
                };
                format!("{method} {}{path}{place}", self.prefix)
            }
            Step::Connects {} => "a connection".to_owned(),
            Step::HungUp {} => "the end of the connection".to_owned(),
            Step::Exits(Exit::Zero) => "the end of the process with code 0".to_owned(),
            Step::Exits(Exit::NonZero) => "the end of the process with an error".to_owned(),
            Step::Exits(Exit::Any) => "the end of the process".to_owned(),
            Step::Waits(_) => "nothing".to_owned(),
            Step::Replied(reply) => format!("a reply with {} to the delivery", reply.status),
            Step::DeliveryEnds(_) => "the end of the delivery's connection".to_owned(),
            Step::Told(lines) => {
                let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
                format!("the line {}", lines.join(", "))
            }
            Step::Either(ways) => {
                let firsts = ways.iter().filter_map(|way| self.wanted(way.first()?));
                firsts.collect::<Vec<_>>().join(", or ")
            }
            _ => return None,
        })
    }

    fn deviation(&self, what: String) -> Deviation {
        Deviation { step: self.done + 1, what }
    }
}

/// How a process ended, as text.
fn with(code: Option<i32>) -> String {
    code.map_or("was ended by a signal".to_owned(), |code| format!("exited with code {code}"))
}

fn is_so(exit: Exit, code: Option<i32>) -> bool {
    match exit {
        Exit::Zero => code == Some(0),
        Exit::NonZero => code.is_some_and(|code| code != 0),
        Exit::Any => code.is_some(),
    }
}
