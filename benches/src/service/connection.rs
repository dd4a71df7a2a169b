//! One connection of a client.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::OwnedFd;

use lambda_benches::canned::{Canned, DIGITS, ID_PREFIX};
use memchr::{memchr, memmem};
use rustix::event::epoll;

use super::{Replies, State};
use crate::error::{During, Error, Result};

const PATH: &[u8] = b"POST /2018-06-01/runtime/invocation/";

pub(super) struct Connection {
    stream: TcpStream,
    /// The beginning of a head whose rest is still to come.
    partial: Vec<u8>,
    /// What is still to come of the body of an answer.
    body_left: usize,
    /// What is still to be sent of the canned bytes.
    unsent: Range<usize>,
    is_over: bool,
}

pub(super) enum Request {
    Next,
    Answer,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, partial: Vec::new(), body_left: 0, unsent: 0..0, is_over: false }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Leaves the `epoll`, which would cost a little on every arrival, and on one core the client's time.
    pub(super) fn become_blocking(&self, epoll: &OwnedFd) -> Result<()> {
        epoll::delete(epoll, &self.stream).during("no end of epoll")?;
        self.stream.set_nonblocking(false).during("no socket that blocks")
    }

    /// Reads what is there, and answers it: all of it until the next edge, or what one blocking read gives.
    pub(super) fn take(
        &mut self,
        state: &mut State,
        index: usize,
        room: &mut [u8],
        is_blocking: bool,
    ) -> Result<()> {
        let mut replies = Replies::default();
        loop {
            let length = match self.stream.read(room) {
                // An idle one that a pool closes is nobody's trouble.
                Ok(0) => {
                    self.end(state);
                    return Ok(());
                }
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    self.end(state);
                    return Ok(());
                }
                Err(error) => return Err(error).during("the client cannot be read from"),
            };
            self.feed(state, &room[..length], &mut replies)?;
            if is_blocking || length < room.len() {
                break;
            }
        }
        if replies.taken || replies.next {
            self.responder(state, index, replies)?;
        }
        Ok(())
    }

    fn end(&mut self, state: &mut State) {
        if !std::mem::replace(&mut self.is_over, true) {
            state.alive -= 1;
        }
    }

    /// Sends what is due, as far as the socket takes it.
    pub(super) fn responder(
        &mut self,
        state: &mut State,
        index: usize,
        due: Replies,
    ) -> Result<()> {
        if !self.unsent.is_empty() {
            return Err(Error::new("the client asks again before it has read its event"));
        }
        self.unsent = state.due(index, due);
        self.flush(&state.canned)?;
        if !self.unsent.is_empty() && self.unsent.start < state.canned.body() {
            // The heads are shared by all connections, and would be another one's when the rest is sent.
            return Err(Error::new("the client's socket does not even take a head"));
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, canned: &Canned) -> Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&canned.bytes()[self.unsent.clone()]) {
                Ok(length) => self.unsent.start += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).during("the client takes no more"),
            }
        }
        Ok(())
    }

    fn feed(&mut self, state: &mut State, bytes: &[u8], replies: &mut Replies) -> Result<()> {
        if self.partial.is_empty() {
            return self.feed_whole(state, bytes, replies);
        }
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(bytes);
        self.feed_whole(state, &whole, replies)
    }

    /// Takes what begins where a request or a body goes on.
    fn feed_whole(
        &mut self,
        state: &mut State,
        mut bytes: &[u8],
        replies: &mut Replies,
    ) -> Result<()> {
        while !bytes.is_empty() {
            if self.body_left > 0 {
                bytes = self.feed_body(state, bytes, replies)?;
                continue;
            }
            let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
                self.partial.extend_from_slice(bytes);
                return Ok(());
            };
            let (head, rest) = bytes.split_at(end + 4);
            bytes = rest;
            if head.starts_with(b"GET ") {
                state.note(Request::Next, replies);
                continue;
            }
            state.begin_answer(number(head)?)?;
            self.body_left = body_length(head)?;
            let right = state.canned.event().len();
            if self.body_left != right {
                return Err(Error::new(format!(
                    "the client answers {} bytes to an event of {right}, which is no echo",
                    self.body_left
                )));
            }
        }
        Ok(())
    }

    /// Takes the part of a body that is there, and gives what is behind it.
    fn feed_body<'b>(
        &mut self,
        state: &mut State,
        bytes: &'b [u8],
        replies: &mut Replies,
    ) -> Result<&'b [u8]> {
        let (body, rest) = bytes.split_at(bytes.len().min(self.body_left));
        if state.checks_bodies {
            let event = state.canned.event();
            let right = &event[event.len() - self.body_left..];
            if !right.starts_with(body) {
                return Err(Error::new("the client answers other bytes than it was given"));
            }
        }
        self.body_left -= body.len();
        if self.body_left == 0 {
            state.note(Request::Answer, replies);
        }
        Ok(rest)
    }
}

/// The number of the invocation in the path of an answer.
fn number(head: &[u8]) -> Result<usize> {
    let number = || {
        let id = head.strip_prefix(PATH)?.strip_prefix(ID_PREFIX)?;
        let (digits, rest) = id.split_at_checked(DIGITS)?;
        rest.starts_with(b"/response ").then_some(())?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    number().ok_or_else(|| unknown(head))
}

/// What the head says of its body; names of fields are written in either case.
fn body_length(head: &[u8]) -> Result<usize> {
    const NAME: &[u8] = b"content-length:";
    let mut rest = head;
    while let Some(end) = memchr(b'\n', rest) {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            let value = std::str::from_utf8(&line[NAME.len()..]).ok();
            return value.and_then(|it| it.trim().parse().ok()).ok_or_else(|| unknown(head));
        }
    }
    Err(unknown(head))
}

fn unknown(head: &[u8]) -> Error {
    let head = String::from_utf8_lossy(head).replace("\r\n", " | ");
    Error::new(format!("the client sends what this service does not know: {head}"))
}
