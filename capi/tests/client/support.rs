//! A client of C in memory of the test.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::c_char;
use std::ptr;

use lambda_proto_capi::*;

/// Memory for an opaque type.
pub(crate) struct Place {
    pub(crate) pointer: *mut u8,
    layout: Layout,
}

impl Place {
    pub(crate) fn new(size: usize, align: usize) -> Self {
        let layout = Layout::from_size_align(size, align).expect("a layout");
        // SAFETY: the size is not 0.
        Self { pointer: unsafe { alloc_zeroed(layout) }, layout }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.pointer, self.layout) };
    }
}

/// A client that has been made, and its memories.
pub(crate) struct Made {
    pub(crate) client: *mut Client,
    place: Place,
    memories: [Vec<u8>; 3],
}

/// A function that sends a report of four texts.
type Report = unsafe extern "C" fn(
    *mut Client,
    *const c_char,
    usize,
    *const c_char,
    usize,
    *const c_char,
    usize,
    *const c_char,
    usize,
) -> i32;

pub(crate) fn init(place: &Place, address: &str, user_agent: &str, slots: usize) -> i32 {
    let (agent, length) = match user_agent {
        "" => (ptr::null(), 0),
        agent => (agent.as_ptr(), agent.len()),
    };
    // SAFETY: all pointers have the lengths of what they point to.
    unsafe {
        lambda_proto_client_init(
            place.pointer.cast(),
            place.layout.size(),
            address.as_ptr().cast(),
            address.len(),
            agent.cast(),
            length,
            slots,
        )
    }
}

impl Made {
    pub(crate) fn new(events: usize, requests: usize) -> Self {
        Self::growing(events, requests, [0, 0], 1)
    }

    /// A client whose memories may grow up to these lengths.
    pub(crate) fn growing(events: usize, requests: usize, most: [usize; 2], slots: usize) -> Self {
        let place = Place::new(lambda_proto_client_size(), lambda_proto_client_align());
        assert_eq!(init(&place, "127.0.0.1:9001", "test/1", slots), LAMBDA_PROTO_OK);
        let client = place.pointer.cast();
        let mut made = Self { client, place, memories: Default::default() };
        for (kind, most) in
            [LAMBDA_PROTO_MEMORY_EVENTS, LAMBDA_PROTO_MEMORY_REQUESTS].into_iter().zip(most)
        {
            // SAFETY: there is a client.
            let code = unsafe { lambda_proto_client_set_max_memory(client, kind, most) };
            assert_eq!(code, LAMBDA_PROTO_OK);
        }
        made.give(LAMBDA_PROTO_MEMORY_EVENTS, events);
        made.give(LAMBDA_PROTO_MEMORY_REQUESTS, requests);
        made
    }

    /// A client with memory that suffices and this event in flight.
    pub(crate) fn in_flight(body: &str) -> Self {
        Self::in_flight_cut(body, 1000)
    }

    /// The same, with an event that arrives in pieces of this length.
    pub(crate) fn in_flight_cut(body: &str, piece: usize) -> Self {
        Self::new(1024, LAMBDA_PROTO_REQUEST_MEMORY as usize).with_event(body, piece)
    }

    /// Asks for an event, which arrives in pieces of this length.
    pub(crate) fn with_event(mut self, body: &str, piece: usize) -> Self {
        self.ask(&event(body), piece);
        assert_eq!(self.step(), LAMBDA_PROTO_STEP_ANSWER, "{piece} bytes at a time");
        self
    }

    /// Gives the client new memory, full of other bytes, and destroys the contents of the old one.
    pub(crate) fn give(&mut self, kind: i32, length: usize) {
        let mut memory = vec![0xaa; length];
        // SAFETY: the memory lives until it is replaced, or the client ends.
        let code = unsafe {
            lambda_proto_client_give_memory(self.client, kind, memory.as_mut_ptr().cast(), length)
        };
        assert_eq!(code, LAMBDA_PROTO_OK);
        std::mem::swap(&mut self.memories[kind as usize], &mut memory);
        memory.fill(0xdd);
    }

    pub(crate) fn needed(&self, kind: i32) -> usize {
        let mut needed = usize::MAX;
        // SAFETY: there is a client.
        let code = unsafe { lambda_proto_client_memory_needed(self.client, kind, &mut needed) };
        assert_eq!(code, LAMBDA_PROTO_OK);
        needed
    }

    pub(crate) fn step(&self) -> i32 {
        // SAFETY: there is a client.
        unsafe { lambda_proto_client_step(self.client) }
    }

    /// Takes steps up to one that is not a warning; returns it and the kinds of the warnings.
    pub(crate) fn step_with_warnings(&self) -> (i32, Vec<(i32, String)>) {
        let mut warnings = Vec::new();
        loop {
            match self.step() {
                LAMBDA_PROTO_STEP_WARNING => warnings.push(self.warning()),
                step => return (step, warnings),
            }
        }
    }

    pub(crate) fn warning(&self) -> (i32, String) {
        let (mut text, mut length) = (ptr::null(), 0);
        // SAFETY: there is a client, and both places are valid.
        unsafe {
            let kind = lambda_proto_client_warning(self.client, &mut text, &mut length);
            (kind, self::text(text.cast(), length))
        }
    }

    pub(crate) fn end(&self) -> (i32, String) {
        let (mut text, mut length) = (ptr::null(), 0);
        // SAFETY: there is a client, and both places are valid.
        unsafe {
            let kind = lambda_proto_client_end(self.client, &mut text, &mut length);
            (kind, if kind < 0 { String::new() } else { self::text(text.cast(), length) })
        }
    }

    pub(crate) fn receipt(&self) -> (i32, i32) {
        let mut status = -1;
        // SAFETY: there is a client.
        let receipt = unsafe { lambda_proto_client_receipt(self.client, &mut status) };
        (receipt, status)
    }

    /// The bytes to send.
    pub(crate) fn unsent(&self) -> Vec<u8> {
        let (mut parts, mut lengths) = ([ptr::dangling(); 3], [9; 3]);
        // SAFETY: there is a client, and there are three places each.
        let count = unsafe {
            lambda_proto_client_unsent(self.client, parts.as_mut_ptr(), lengths.as_mut_ptr())
        };
        assert!((0..=3).contains(&count));
        let mut bytes = Vec::new();
        for (index, (part, length)) in parts.into_iter().zip(lengths).enumerate() {
            assert_eq!(length > 0, index < count as usize);
            assert_eq!(part.is_null(), length == 0);
            if length > 0 {
                // SAFETY: the client has handed out the slice.
                bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(part, length) });
            }
        }
        bytes
    }

    pub(crate) fn sent(&self, length: usize) -> i32 {
        // SAFETY: there is a client.
        unsafe { lambda_proto_client_sent(self.client, length) }
    }

    /// Sends everything, some bytes at a time.
    pub(crate) fn send(&self) -> String {
        let mut sent = Vec::new();
        loop {
            let bytes = self.unsent();
            let length = bytes.len().min(100);
            if length == 0 {
                return String::from_utf8_lossy(&sent).into_owned();
            }
            sent.extend_from_slice(&bytes[..length]);
            assert_eq!(self.sent(length), LAMBDA_PROTO_OK);
        }
    }

    /// Lets bytes arrive; returns how many there was room for, or the error.
    pub(crate) fn receive(&self, bytes: &[u8]) -> Result<usize, i32> {
        let (mut room, mut length) = (ptr::null_mut(), 0);
        // SAFETY: there is a client, and the room has the length that it says.
        unsafe {
            match lambda_proto_client_room(self.client, &mut room, &mut length) {
                LAMBDA_PROTO_OK => {}
                code => return Err(code),
            }
            assert!(length > 0);
            let length = length.min(bytes.len());
            ptr::copy_nonoverlapping(bytes.as_ptr(), room, length);
            assert_eq!(lambda_proto_client_received(self.client, length), LAMBDA_PROTO_OK);
            Ok(length)
        }
    }

    /// Lets all of it arrive, in pieces of this length, and grows the memory for events as needed.
    pub(crate) fn receive_all(&mut self, mut bytes: &[u8], piece: usize) {
        while !bytes.is_empty() {
            match self.receive(&bytes[..piece.min(bytes.len())]) {
                Ok(length) => bytes = &bytes[length..],
                Err(LAMBDA_PROTO_ERROR_MEMORY) => {
                    for kind in [LAMBDA_PROTO_MEMORY_EVENTS, LAMBDA_PROTO_MEMORY_REQUESTS] {
                        let needed = self.needed(kind);
                        if needed > 0 {
                            self.give(kind, needed);
                        }
                    }
                }
                Err(LAMBDA_PROTO_ERROR_ROOM) => {}
                Err(code) => panic!("{code}"),
            }
            if bytes.is_empty() {
                return;
            }
            assert_eq!(self.step(), LAMBDA_PROTO_STEP_READ);
        }
    }

    /// Connects, asks, and lets this reply arrive.
    pub(crate) fn ask(&mut self, reply: &[u8], piece: usize) {
        assert_eq!(self.step(), LAMBDA_PROTO_STEP_IDLE);
        self.ask_now();
        if self.step() == LAMBDA_PROTO_STEP_CONNECT {
            // SAFETY: there is a client.
            assert_eq!(unsafe { lambda_proto_client_connected(self.client) }, LAMBDA_PROTO_OK);
        }
        assert_eq!(self.step(), LAMBDA_PROTO_STEP_WRITE);
        assert!(self.send().starts_with("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n"));
        assert_eq!(self.step(), LAMBDA_PROTO_STEP_READ);
        self.receive_all(reply, piece);
    }

    pub(crate) fn ask_now(&mut self) {
        // SAFETY: there is a client.
        while unsafe { lambda_proto_client_ask(self.client) } == LAMBDA_PROTO_ERROR_MEMORY {
            self.give(LAMBDA_PROTO_MEMORY_EVENTS, self.needed(LAMBDA_PROTO_MEMORY_EVENTS));
        }
    }

    pub(crate) fn event(&self) -> Result<Vec<u8>, i32> {
        let (at, length) = self.event_slice()?;
        // SAFETY: the client has handed out the slice.
        Ok(unsafe { std::slice::from_raw_parts(at, length) }.to_vec())
    }

    pub(crate) fn event_slice(&self) -> Result<(*const u8, usize), i32> {
        let (mut at, mut length) = (ptr::null(), 0);
        // SAFETY: there is a client.
        match unsafe { lambda_proto_client_event(self.client, &mut at, &mut length) } {
            LAMBDA_PROTO_OK => Ok((at, length)),
            code => Err(code),
        }
    }

    pub(crate) fn field(&self, field: i32) -> Option<String> {
        let (mut at, mut length) = (ptr::dangling(), 9);
        // SAFETY: there is a client.
        unsafe {
            let code = lambda_proto_client_field(self.client, field, &mut at, &mut length);
            assert_eq!(code, LAMBDA_PROTO_OK);
            (!at.is_null()).then(|| text(at.cast(), length))
        }
    }

    pub(crate) fn respond(&self, content_type: &[u8], body: &[u8], pipelined: bool) -> i32 {
        // SAFETY: there is a client, and the test keeps the body.
        unsafe {
            lambda_proto_client_respond(
                self.client,
                content_type.as_ptr().cast(),
                content_type.len(),
                body.as_ptr().cast(),
                body.len(),
                pipelined.into(),
            )
        }
    }

    pub(crate) fn stream(&self, content_type: &[u8]) -> i32 {
        let (at, length) = (content_type.as_ptr().cast(), content_type.len());
        // SAFETY: there is a client.
        unsafe { lambda_proto_client_stream(self.client, at, length) }
    }

    pub(crate) fn chunk(&self, piece: &[u8]) -> i32 {
        // SAFETY: there is a client, and the test keeps the piece.
        unsafe { lambda_proto_client_chunk(self.client, piece.as_ptr().cast(), piece.len()) }
    }

    pub(crate) fn fail(&self, kind: &[u8], message: &[u8], trace: &[u8], cause: &[u8]) -> i32 {
        self.report(lambda_proto_client_fail, [kind, message, trace, cause])
    }

    pub(crate) fn fail_json(&self, kind: &[u8], message: &[u8], json: &[u8], cause: &[u8]) -> i32 {
        self.report(lambda_proto_client_fail_json, [kind, message, json, cause])
    }

    fn report(&self, send: Report, texts: [&[u8]; 4]) -> i32 {
        let [(a, b), (c, d), (e, f), (g, h)] = texts.map(|text| (text.as_ptr().cast(), text.len()));
        // SAFETY: there is a client, and the texts have these lengths.
        unsafe { send(self.client, a, b, c, d, e, f, g, h) }
    }

    pub(crate) fn fail_init_json(&self, kind: &[u8], message: &[u8], json: &[u8]) -> i32 {
        // SAFETY: there is a client, and there is nothing at the last pointer.
        unsafe {
            lambda_proto_client_fail_init_json(
                self.client,
                kind.as_ptr().cast(),
                kind.len(),
                message.as_ptr().cast(),
                message.len(),
                json.as_ptr().cast(),
                json.len(),
                ptr::null(),
                0,
            )
        }
    }

    /// Ends the use of the client, and returns its memory.
    pub(crate) fn close(self) -> Place {
        // SAFETY: there is a client.
        assert_eq!(unsafe { lambda_proto_client_close(self.client) }, LAMBDA_PROTO_OK);
        self.place
    }
}

/// A text that was handed out.
///
/// # Safety
///
/// The pointer is null, or has this length.
pub(crate) unsafe fn text(at: *const u8, length: usize) -> String {
    if at.is_null() {
        return String::new();
    }
    // SAFETY: the caller vouches for it.
    let bytes = unsafe { std::slice::from_raw_parts(at, length) };
    std::str::from_utf8(bytes).expect("UTF-8").to_owned()
}

pub(crate) fn event(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\nLambda-Runtime-Deadline-Ms: \
         1795252820229\r\nContent-Type: application/json\r\nX-Other: o\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub(crate) const ACCEPTED: &[u8] =
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";
