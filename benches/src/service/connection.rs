//! One connection of a client.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::os::fd::OwnedFd;

use lambda_benches::canned::{Canned, DIGITS, HELLO, ID_PREFIX};
use memchr::{memchr, memmem};
use rustix::event::epoll;

use super::{Exchange, Replies, State};
use crate::error::{During, Error, Result};

const PATH: &[u8] = b"POST /2018-06-01/runtime/invocation/";

pub(super) struct Connection {
    stream: TcpStream,
    /// The start of an incomplete head.
    partial: Vec<u8>,
    /// How many bytes of the body of an answer are missing.
    body_left: usize,
    /// The part of the canned bytes that is not sent yet.
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

    /// Leaves the `epoll`, which would cost a little with every arrival: on a shared core, time
    /// that the client could use.
    pub(super) fn become_blocking(&self, epoll: &OwnedFd) -> Result<()> {
        epoll::delete(epoll, &self.stream).during("cannot leave epoll")?;
        self.stream.set_nonblocking(false).during("cannot make a socket blocking")
    }

    /// Reads and answers requests: all that have arrived, because `epoll` is edge-triggered, or
    /// those of one blocking read.
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
                // Not an error: a connection pool may close idle connections.
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
                Err(error) => return Err(error).during("cannot read from the client"),
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

    /// Sends the replies that are due, as far as the socket takes them.
    pub(super) fn responder(
        &mut self,
        state: &mut State,
        index: usize,
        due: Replies,
    ) -> Result<()> {
        if !self.unsent.is_empty() {
            return Err(Error::new("the client sent a request before it had read its event"));
        }
        self.unsent = state.due(index, due);
        self.flush(&state.canned)?;
        if !self.unsent.is_empty() && self.unsent.start < state.canned.body() {
            // All connections share the heads, so this one might have changed when the rest is
            // sent.
            return Err(Error::new("the client's socket does not take a whole head"));
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, canned: &Canned) -> Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&canned.bytes()[self.unsent.clone()]) {
                Ok(length) => self.unsent.start += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).during("cannot write to the client"),
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

    /// Processes bytes that begin with a request, or in the middle of a body.
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
            if self.body_left != right && state.exchange != Exchange::Http {
                return Err(Error::new(format!(
                    "the client did not echo: it sent {} bytes for an event of {right}",
                    self.body_left
                )));
            }
        }
        Ok(())
    }

    /// Takes the available part of a body, and returns the bytes after it.
    fn feed_body<'b>(
        &mut self,
        state: &mut State,
        bytes: &'b [u8],
        replies: &mut Replies,
    ) -> Result<&'b [u8]> {
        let (body, rest) = bytes.split_at(bytes.len().min(self.body_left));
        if state.checks_bodies {
            self.check_body(state, body)?;
        }
        self.body_left -= body.len();
        if self.body_left == 0 {
            state.note(Request::Answer, replies);
        }
        Ok(rest)
    }

    /// Checks the available part of a body.
    fn check_body(&self, state: &State, body: &[u8]) -> Result<()> {
        match state.exchange {
            Exchange::Echo(_) => {
                let event = state.canned.event();
                if !event[event.len() - self.body_left..].starts_with(body) {
                    let what = "the client did not echo: the bytes differ from the event";
                    return Err(Error::new(what));
                }
            }
            // It is short, so it arrives whole.
            Exchange::Http => {
                let has = |text: &str| memmem::find(body, text.as_bytes()).is_some();
                if !has(HELLO) || !has(r#""statusCode":200"#) {
                    let body = String::from_utf8_lossy(body);
                    return Err(Error::new(format!("the client did not say \"{HELLO}\": {body}")));
                }
            }
        }
        Ok(())
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

/// The length of the body according to the head, in which field names can have any case.
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
    Error::new(format!("the client sent a request that this service does not support: {head}"))
}
