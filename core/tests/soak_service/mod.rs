//! A service in memory that fails at random, and records what became of each invocation.
//!
//! It stands apart from `lambda-proto-service` because it serves ten million invocations on the
//! thread of the client, repeatably, and without allocating.

use std::io::Write;

/// Pseudo-random numbers, the same for the same seed (splitmix64).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.any() % bound as u64) as usize
    }

    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// The length of a body: usually short, sometimes more than a buffer holds.
    pub(crate) fn length(&mut self) -> usize {
        if self.one_in(100) { self.below(9000) } else { self.below(120) }
    }
}

/// What the service knows of one invocation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) is_taken: bool,
    /// The status with which its answer was refused.
    pub(crate) refusal: Option<u16>,
}

const RING: usize = 8;

pub(crate) struct Service {
    chance: Chance,
    wanted: u64,
    /// Events handed out; they are numbered from 1.
    handed: u64,
    closed: u64,
    entries: [Entry; RING],
    taken: u64,
    up: Vec<u8>,
    down: Vec<u8>,
    given: usize,
    /// Whether it reads nothing more from this connection.
    is_deaf: bool,
    /// Whether the stream ends after what it has sent.
    is_closing: bool,
    is_over: bool,
}

/// Room for all bytes in transit on a connection, so that the buffers never grow.
const ROOM: usize = 64 * 1024;

impl Service {
    pub(crate) fn new(chance: Chance, wanted: u64) -> Self {
        Self {
            chance,
            wanted,
            handed: 0,
            closed: 0,
            entries: [Entry::default(); RING],
            taken: 0,
            up: Vec::with_capacity(ROOM),
            down: Vec::with_capacity(ROOM),
            given: 0,
            is_deaf: false,
            is_closing: false,
            is_over: false,
        }
    }

    /// Begins a new connection; nothing is left of the previous one.
    pub(crate) fn connect(&mut self) {
        self.up.clear();
        self.down.clear();
        self.given = 0;
        (self.is_deaf, self.is_closing, self.is_over) = (false, false, false);
    }

    pub(crate) fn hang_up(&mut self) {
        (self.is_deaf, self.is_closing) = (true, true);
    }

    pub(crate) fn is_deaf(&self) -> bool {
        self.is_deaf
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Whether there are no more events and the client is asking for one.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over && !self.has_said() && !self.is_closing
    }

    /// How many answers and reports took effect.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Returns the next invocation to check, but none of the `latest`, which may still change.
    pub(crate) fn close_next(&mut self, latest: u64) -> Option<(u64, Entry)> {
        if self.closed + latest >= self.handed {
            return None;
        }
        self.closed += 1;
        Some((self.closed, self.entries[self.closed as usize % RING]))
    }

    pub(crate) fn has_said(&self) -> bool {
        self.given < self.down.len()
    }

    /// Fills `room` with what was sent; returns 0 at the end of the stream.
    pub(crate) fn give(&mut self, room: &mut [u8]) -> usize {
        let said = &self.down[self.given..];
        let length = said.len().min(room.len());
        room[..length].copy_from_slice(&said[..length]);
        self.given += length;
        if self.given == self.down.len() {
            self.down.clear();
            self.given = 0;
        }
        length
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) {
        if !self.is_deaf {
            self.up.extend_from_slice(bytes);
        }
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.down.extend_from_slice(bytes);
    }

    /// Replies to every whole request that has arrived.
    pub(crate) fn serve(&mut self) {
        while let Some(request) = whole(&self.up) {
            match request.answers {
                None => self.next(),
                Some(number) => {
                    let body = &self.up[request.body..];
                    // The number at the start of an answer is not followed by a digit.
                    let is_own = request.is_error || decimal(body) == number;
                    assert!(is_own, "{number} was answered with the result of another invocation");
                    self.answer(number);
                }
            }
            self.up.drain(..request.length);
            if self.is_deaf {
                self.up.clear();
            }
        }
        self.refuse_early();
    }

    /// Sometimes refuses an answer before it has arrived whole.
    fn refuse_early(&mut self) {
        let Some(Request { answers: Some(number), .. }) = begun(&self.up) else { return };
        let entry = &mut self.entries[number as usize % RING];
        let is_open = number == self.handed && !entry.is_taken && entry.refusal.is_none();
        if is_open && self.chance.one_in(100) {
            entry.refusal = Some(413);
            self.status(413, "Connection: close\r\n");
            self.hang_up();
            self.up.clear();
        }
    }

    fn next(&mut self) {
        if self.handed == self.wanted {
            self.is_over = true;
            return;
        }
        match self.chance.below(400) {
            0 => return self.say(b"HTTP/1.1 204 No Content\r\n\r\n"),
            1 => return self.status(503, ""),
            2 => {
                self.status(408, "Connection: close\r\n");
                return self.hang_up();
            }
            3 => return self.say(b"220 ready\r\n\r\n"),
            4 => return self.status(500, ""),
            5 => return self.status(403, ""),
            6 => return self.status(200, ""),
            7 => return self.hang_up(),
            _ => {}
        }
        self.handed += 1;
        let number = self.handed;
        self.entries[number as usize % RING] = Entry::default();
        let filler = self.chance.length();
        let length = digits(number) + filler;
        let Self { down, chance, .. } = self;
        let fault = chance.below(400);
        if fault == 0 {
            down.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let mut put = |text: std::fmt::Arguments<'_>| down.write_fmt(text).expect("memory");
        put(format_args!("HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {number}\r\n"));
        match fault {
            // Broken chunks, valid chunks, a body to the end of the stream, a length that is too
            // large.
            1 => put(format_args!("Transfer-Encoding: chunked\r\n\r\n2\r\nxyz")),
            2 | 3 => {
                put(format_args!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{number}"));
                down.resize(down.len() + filler, b'e');
                down.extend_from_slice(b"\r\n0\r\n\r\n");
            }
            4 | 5 => {
                put(format_args!("\r\n{number}"));
                down.resize(down.len() + filler, b'e');
                self.hang_up();
            }
            6 => {
                put(format_args!("Content-Length: {}\r\n\r\n{number}", length + 9));
                self.hang_up();
            }
            _ => {
                let close = if fault == 7 { "Connection: close\r\n" } else { "" };
                put(format_args!("{close}Content-Length: {length}\r\n\r\n{number}"));
                down.resize(down.len() + filler, b'e');
            }
        }
    }

    fn answer(&mut self, number: u64) {
        assert!(number <= self.handed, "an answer to an unknown invocation");
        let is_current = number == self.handed;
        let entry = &mut self.entries[number as usize % RING];
        // The service checks the id first, then the state.
        if !is_current {
            return self.status(400, "");
        }
        if let Some(status) = entry.refusal {
            return self.status(status, "");
        }
        if entry.is_taken {
            return self.status(403, "");
        }
        let fault = self.chance.below(600);
        if let Some(status) = [400, 403, 410, 413, 404, 500].get(fault) {
            entry.refusal = Some(*status);
            return self.status(*status, "");
        }
        if fault == 6 {
            self.status(408, "Connection: close\r\n");
            return self.hang_up();
        }
        entry.is_taken = true;
        self.taken += 1;
        match fault {
            7 => self.say(b"220 ready\r\n\r\n"),
            8 => {
                self.say(b"HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\n{");
                self.hang_up();
            }
            9 => {
                self.say(b"HTTP/1.1 20");
                self.hang_up();
            }
            10 | 11 => self.hang_up(),
            12 => {
                self.say(b"HTTP/1.1 100 Continue\r\n\r\n");
                self.status(202, "");
            }
            13 => {
                self.say(b"HTTP/1.1 100 Continue\r\n\r\n");
                self.hang_up();
            }
            14 => {
                self.status(202, "Connection: close\r\n");
                self.hang_up();
            }
            15 => {
                self.say(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                );
            }
            _ => self
                .say(b"HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n"),
        }
    }

    fn status(&mut self, status: u16, fields: &str) {
        let text = format_args!("HTTP/1.1 {status} X\r\n{fields}Content-Length: 2\r\n\r\n{{}}");
        self.down.write_fmt(text).expect("memory");
    }
}

/// A request.
struct Request {
    /// The invocation that it answers, if it is an answer.
    answers: Option<u64>,
    is_error: bool,
    /// The offset of its body, or of the first piece of a stream.
    body: usize,
    length: usize,
}

/// The request that begins here, if its head is whole; `length` is that of the head.
fn begun(bytes: &[u8]) -> Option<Request> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let line = &bytes[..find(bytes, b"\r\n")?];
    let path = line.split(|byte| *byte == b' ').nth(1).expect("a path");
    let path = path.strip_prefix(b"/2018-06-01/runtime/invocation/").expect("a path of the API");
    if path == b"next" {
        return Some(Request { answers: None, is_error: false, body: head, length: head });
    }
    let slash = find(path, b"/").expect("a call after the id");
    let (id, call) = path.split_at(slash);
    let is_error = call == b"/error";
    Some(Request { answers: Some(decimal(id)), is_error, body: head, length: head })
}

/// The request that begins here, if it is whole.
fn whole(bytes: &[u8]) -> Option<Request> {
    let mut request = begun(bytes)?;
    if request.answers.is_none() {
        return Some(request);
    }
    let head = request.length;
    const LENGTH: &[u8] = b"\r\nContent-Length: ";
    if let Some(at) = find(&bytes[..head], LENGTH) {
        request.length += decimal(&bytes[at + LENGTH.len()..]) as usize;
        return (request.length <= bytes.len()).then_some(request);
    }
    // Chunks: each follows a line with its size.
    let mut is_first = true;
    loop {
        let line = find(&bytes[request.length..], b"\r\n")?;
        let digits = &bytes[request.length..request.length + line];
        let size = usize::from_str_radix(core::str::from_utf8(digits).expect("digits"), 16);
        let size = size.expect("a size");
        request.length += line + 2;
        if size == 0 {
            // Trailers, up to the first empty line.
            let last = &bytes[request.length..];
            let end = if last.starts_with(b"\r\n") { 2 } else { find(last, b"\r\n\r\n")? + 4 };
            request.length += end;
            // An empty stream has no number to check, like an error.
            request.is_error |= is_first;
            return Some(request);
        }
        if is_first {
            (request.body, is_first) = (request.length, false);
        }
        request.length += size + 2;
        if request.length > bytes.len() {
            return None;
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| *byte == what[0])?;
        if bytes[at..].starts_with(what) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// The number that these bytes begin with.
fn decimal(bytes: &[u8]) -> u64 {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

fn digits(number: u64) -> usize {
    number.ilog10() as usize + 1
}
