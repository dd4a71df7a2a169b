//! Arbitrary programs of calls of the C interface, over memory that the target owns.
#![expect(unsafe_code, reason = "the C interface takes pointers")]

use std::mem::MaybeUninit;
use std::ptr;
use std::slice;

#[allow(clippy::wildcard_imports, reason = "a program of C sees all of the interface, too")]
use lambda_proto_capi::*;

use crate::command::BODY;
use crate::input::Input;
use crate::{replies, wire};

/// Runs calls in any order, with short and growing memory, bodies in the event itself, wrong lengths
/// and texts, and copies of the client.
///
/// - Nothing is written outside the memory that was given.
/// - A command that fails leaves the bytes to send as they were.
/// - The event stays as it is until its answer is settled.
/// - There is no receipt without a command that is due one.
/// - As long as the program only does I/O when it is asked for it, it sends well-formed requests.
pub fn capi_programs(data: &[u8]) {
    let mut input = Input::new(data);
    let first = input.choose(&[8192, 0, 1, 64, 300, 3000]);
    let most = input.choose(&[0, 1 << 16, 400, 9000]);
    let slots = usize::from(input.byte() & 1) + 1;
    let mut program = Program::new(slots);
    program.limit(LAMBDA_PROTO_MEMORY_EVENTS, most);
    program.limit(LAMBDA_PROTO_MEMORY_REQUESTS, input.choose(&[0, 1 << 16, 3000]));
    program.give(LAMBDA_PROTO_MEMORY_EVENTS, first);
    program.give(LAMBDA_PROTO_MEMORY_REQUESTS, input.choose(&[4096, 0, 64, 600, 1100]));
    while !input.is_empty() {
        program.operate(&mut input);
        program.check();
    }
    program.end_of_connection();
}

/// Bytes around each memory that nobody may change.
const GUARD: usize = 32;
const GUARD_BYTE: u8 = 0x5a;

struct Memory {
    bytes: Vec<u8>,
}

impl Memory {
    fn new(length: usize) -> Self {
        Self { bytes: vec![GUARD_BYTE; length + 2 * GUARD] }
    }

    fn len(&self) -> usize {
        self.bytes.len() - 2 * GUARD
    }

    /// The first byte of what is given away.
    fn start(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr().wrapping_add(GUARD)
    }

    fn has(&self, at: *const u8, length: usize) -> bool {
        let offset = at.addr().wrapping_sub(self.bytes.as_ptr().addr() + GUARD);
        offset.checked_add(length).is_some_and(|end| end <= self.len())
    }

    fn check(&self) {
        let (before, rest) = self.bytes.split_at(GUARD);
        let after = &rest[rest.len() - GUARD..];
        assert!(before.iter().chain(after).all(|byte| *byte == GUARD_BYTE), "written outside");
    }
}

struct Program {
    client: *mut Client,
    /// The memory of the client.
    _place: Vec<MaybeUninit<u128>>,
    /// By kind; the previous ones are kept, and emptied, so that a use of them is seen.
    memories: [Memory; 3],
    /// Memories of events that were taken out.
    taken: Vec<Memory>,
    wire: Vec<u8>,
    /// Whether all I/O was asked for.
    is_orderly: bool,
    /// Whether bytes were read since the last step.
    has_read: bool,
    due: usize,
    /// The event in flight: where it is, and a copy.
    event: Option<(*const u8, Vec<u8>)>,
}

const TEXTS: [&[u8]; 6] =
    [b"Function.Broken", b"", b"a\nb\n", b"\xff\xfe", &[b'x'; 3000], "\u{e9}\u{1f980}".as_bytes()];

const REPLIES: [&[u8]; 9] = [
    replies::EVENT,
    replies::ACCEPTED,
    replies::CHUNKED_EVENT,
    replies::ACCEPTED_AND_EVENT,
    b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7d\r\nContent-Length: 99999\r\n\r\n",
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];

// Each call is made with a client that lives as long as the program, and with memory that lives until
// the client has given it back.
impl Program {
    fn new(slots: usize) -> Self {
        assert!(lambda_proto_client_align() <= align_of::<u128>());
        let size = lambda_proto_client_size();
        let mut place = vec![MaybeUninit::new(0); size.div_ceil(size_of::<u128>())];
        let memory = place.as_mut_ptr();
        let address = b"http://lab:9001/a/b";
        // SAFETY: the memory has the size, and the text its length.
        let code = unsafe {
            let (address, length) = (address.as_ptr().cast(), address.len());
            lambda_proto_client_init(memory.cast(), size, address, length, ptr::null(), 0, slots)
        };
        assert_eq!(code, LAMBDA_PROTO_OK);
        Self {
            client: memory.cast(),
            _place: place,
            memories: [0; 3].map(Memory::new),
            taken: Vec::new(),
            wire: Vec::new(),
            is_orderly: true,
            has_read: false,
            due: 0,
            event: None,
        }
    }

    fn operate(&mut self, input: &mut Input<'_>) {
        let operation = input.byte();
        match operation {
            0..128 => self.step(input),
            128..148 => {
                self.read(REPLIES[usize::from(operation) % REPLIES.len()], input.byte());
            }
            148..152 => {
                let bytes = input.piece();
                self.read(bytes, 0);
            }
            152..210 => self.command(operation - 152, input),
            210..220 => {
                let kind = i32::from(operation & 1) + 1;
                let length = input.number();
                self.give(kind, length);
            }
            220..224 => {
                let most = input.number();
                self.limit(i32::from(operation & 1) + 1, most);
            }
            224..228 => self.take(input.number()),
            // SAFETY: see above.
            228 => assert!(unsafe { lambda_proto_client_lost(self.client) } >= 0),
            229 => {
                // SAFETY: see above.
                assert!(unsafe { lambda_proto_client_write_failed(self.client) } >= 0);
            }
            230..233 => self.disorder(input),
            _ => self.ask_about(input),
        }
    }

    /// Takes a step, and does what it asks for.
    fn step(&mut self, input: &mut Input<'_>) {
        self.has_read = false;
        // SAFETY: see above.
        match unsafe { lambda_proto_client_step(self.client) } {
            LAMBDA_PROTO_STEP_CONNECT => {
                self.end_of_connection();
                // SAFETY: see above.
                assert_eq!(unsafe { lambda_proto_client_connected(self.client) }, 0);
            }
            LAMBDA_PROTO_STEP_WRITE => {
                let unsent = self.unsent();
                assert!(!unsent.is_empty() || !self.is_orderly);
                let most = match input.byte() {
                    0 => usize::MAX,
                    most => most.into(),
                };
                let length = unsent.len().min(most);
                self.wire.extend_from_slice(&unsent[..length]);
                // SAFETY: see above.
                assert_eq!(unsafe { lambda_proto_client_sent(self.client, length) }, 0);
            }
            LAMBDA_PROTO_STEP_READ => {
                let kind = usize::from(input.byte());
                self.read(REPLIES[kind % REPLIES.len()], input.byte());
            }
            LAMBDA_PROTO_STEP_IDLE => {
                // SAFETY: see above.
                let code = unsafe { lambda_proto_client_ask(self.client) };
                self.grow_if(code);
            }
            LAMBDA_PROTO_STEP_ANSWER => {
                if self.event.is_none() {
                    let (mut at, mut length) = (ptr::null(), 0);
                    // SAFETY: see above.
                    if unsafe { lambda_proto_client_event(self.client, &mut at, &mut length) } == 0
                    {
                        // SAFETY: the slice was handed out.
                        let copy = unsafe { slice::from_raw_parts(at, length) }.to_vec();
                        assert!(self.memories[1].has(at, length), "an event of other memory");
                        self.event = Some((at, copy));
                    }
                }
                self.command(input.byte() % 58, input);
            }
            LAMBDA_PROTO_STEP_SETTLED => {
                assert!(self.due > 0, "a receipt without an answer");
                self.due -= 1;
                self.event = None;
            }
            LAMBDA_PROTO_STEP_END => {
                self.event = None;
                // SAFETY: see above.
                if unsafe { lambda_proto_client_begin_anew(self.client) } == LAMBDA_PROTO_OK {
                    self.end_of_connection();
                    self.due = 0;
                }
            }
            step => assert_eq!(step, LAMBDA_PROTO_STEP_WARNING),
        }
    }

    fn unsent(&self) -> Vec<u8> {
        let (mut parts, mut lengths) = ([ptr::null(); 3], [0; 3]);
        // SAFETY: there are three places each, and the slices were handed out.
        unsafe {
            let (parts_at, lengths_at) = (parts.as_mut_ptr(), lengths.as_mut_ptr());
            let count = lambda_proto_client_unsent(self.client, parts_at, lengths_at);
            assert!((0..=3).contains(&count));
            let slices = parts.iter().zip(lengths).take(count as usize);
            slices.flat_map(|(at, length)| slice::from_raw_parts(*at, length)).copied().collect()
        }
    }

    fn read(&mut self, bytes: &[u8], most: u8) {
        // SAFETY: see above.
        if unsafe { lambda_proto_client_is_connected(self.client) } == 0 {
            return;
        }
        let (mut room, mut length) = (ptr::null_mut(), 0);
        // SAFETY: see above.
        match unsafe { lambda_proto_client_room(self.client, &mut room, &mut length) } {
            LAMBDA_PROTO_OK => {}
            LAMBDA_PROTO_ERROR_MEMORY => return self.grow(),
            code => return assert_eq!(code, LAMBDA_PROTO_ERROR_ROOM),
        }
        assert!(length > 0 && self.memories.iter().any(|memory| memory.has(room, length)));
        self.has_read = true;
        let most = if most == 0 { bytes.len() } else { most.into() };
        let given = bytes.len().min(most).min(length);
        // SAFETY: the room has this length.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), room, given);
            assert_eq!(lambda_proto_client_received(self.client, given), LAMBDA_PROTO_OK);
        }
    }

    fn grow_if(&mut self, code: i32) {
        if code == LAMBDA_PROTO_ERROR_MEMORY {
            self.grow();
        } else {
            assert!(code > LAMBDA_PROTO_ERROR_STREAM_OVER);
        }
    }

    /// Gives what is needed.
    fn grow(&mut self) {
        for kind in [LAMBDA_PROTO_MEMORY_EVENTS, LAMBDA_PROTO_MEMORY_REQUESTS] {
            let mut needed = 0;
            // SAFETY: see above.
            let code = unsafe { lambda_proto_client_memory_needed(self.client, kind, &mut needed) };
            assert_eq!(code, LAMBDA_PROTO_OK);
            assert!(needed < 1 << 24);
            if needed > 0 {
                self.give(kind, needed);
            }
        }
    }

    fn give(&mut self, kind: i32, length: usize) {
        let mut memory = Memory::new(length);
        // SAFETY: the memory lives until it is replaced.
        let code = unsafe {
            lambda_proto_client_give_memory(self.client, kind, memory.start().cast(), length)
        };
        if code == LAMBDA_PROTO_OK {
            if kind == LAMBDA_PROTO_MEMORY_EVENTS {
                // The slices of the event are invalid; its body may be the answer.
                self.forget_event();
            }
            self.memories[kind as usize] = memory;
        } else {
            assert_eq!(code, LAMBDA_PROTO_ERROR_SHORT);
        }
    }

    /// Before the memory of the event goes, its answer is taken back.
    fn forget_event(&mut self) {
        if self.event.take().is_some() {
            // SAFETY: see above.
            assert_eq!(unsafe { lambda_proto_client_withdraw(self.client) }, LAMBDA_PROTO_OK);
        }
    }

    fn limit(&mut self, kind: i32, most: usize) {
        // SAFETY: see above.
        assert_eq!(unsafe { lambda_proto_client_set_max_memory(self.client, kind, most) }, 0);
    }

    fn take(&mut self, length: usize) {
        let mut other = Memory::new(length);
        // SAFETY: the memory lives until it is replaced.
        let code =
            unsafe { lambda_proto_client_take_event(self.client, other.start().cast(), length) };
        if code == LAMBDA_PROTO_OK {
            self.taken.push(std::mem::replace(&mut self.memories[1], other));
        }
    }

    /// Gives a command. If it fails, the bytes to send stay as they were.
    fn command(&mut self, which: u8, input: &mut Input<'_>) {
        let before = self.unsent();
        let text = input.choose(&TEXTS);
        let (at, length) = (text.as_ptr().cast(), text.len());
        let none = (ptr::null(), 0);
        // The event itself, or a body of the program's own.
        let body = match &self.event {
            Some((at, copy)) if which & 1 == 1 => (*at, copy.len()),
            _ => (BODY.as_ptr(), BODY.len()),
        };
        let pipelined = i32::from(which & 2);
        let kind = c"a/b".as_ptr();
        let client = self.client;
        // SAFETY: see above.
        let (code, is_due) = unsafe {
            match which {
                0..16 => {
                    let kind_length = usize::from(which & 4 != 0) * 3;
                    let (body, length) = (body.0.cast(), body.1);
                    (
                        lambda_proto_client_respond(
                            client,
                            kind,
                            kind_length,
                            body,
                            length,
                            pipelined,
                        ),
                        true,
                    )
                }
                16..24 => (
                    lambda_proto_client_fail(
                        client, at, length, at, length, at, length, none.0, none.1,
                    ),
                    true,
                ),
                24..32 => (lambda_proto_client_stream(client, at, length.min(250)), true),
                32..42 => (lambda_proto_client_chunk(client, body.0.cast(), body.1), false),
                42..48 => (lambda_proto_client_finish(client, pipelined), true),
                48 => (lambda_proto_client_give_up(client), true),
                49 => (
                    lambda_proto_client_fail_init(
                        client, at, length, at, length, none.0, none.1, at, length,
                    ),
                    true,
                ),
                50 => (lambda_proto_client_restore_next(client), true),
                51 => (
                    lambda_proto_client_fail_restore(
                        client, at, length, at, length, none.0, none.1, at, length,
                    ),
                    true,
                ),
                52 => (lambda_proto_client_withdraw(client), false),
                53 => (lambda_proto_client_shut_down(client), false),
                _ => (lambda_proto_client_ask(client), false),
            }
        };
        match code {
            LAMBDA_PROTO_OK => self.due += usize::from(is_due),
            code => {
                let after = self.unsent();
                // The first piece of a stream is encoded when the head has been sent, by the next step
                // or by this command.
                let is_piece = before.is_empty() && which >= 16;
                // Bytes that nobody has asked for cost the connection, and with it what was unsent.
                assert!(
                    is_piece || self.has_read || before == after,
                    "a refused command has changed the bytes"
                );
                self.grow_if(code);
            }
        }
    }

    /// I/O that nobody has asked for, wrong lengths, a copy of the client.
    fn disorder(&mut self, input: &mut Input<'_>) {
        let client = self.client;
        // SAFETY: see above; the copy is only looked at.
        unsafe {
            match input.byte() % 5 {
                0 => {
                    self.is_orderly = false;
                    lambda_proto_client_connected(client);
                }
                1 => {
                    self.is_orderly = false;
                    lambda_proto_client_sent(client, input.number());
                }
                2 => {
                    let unsent = self.unsent().len();
                    let code = lambda_proto_client_sent(client, unsent + 1);
                    assert_eq!(code, LAMBDA_PROTO_ERROR_LENGTH);
                }
                3 => {
                    let length = usize::MAX - input.number();
                    let code = lambda_proto_client_received(client, length);
                    assert_eq!(code, LAMBDA_PROTO_ERROR_LENGTH);
                }
                _ => {
                    let mut copy = self._place.clone();
                    let copy = copy.as_mut_ptr().cast();
                    assert_eq!(lambda_proto_client_step(copy), LAMBDA_PROTO_ERROR_HANDLE);
                }
            }
        }
    }

    /// Facts, which change nothing.
    fn ask_about(&mut self, input: &mut Input<'_>) {
        let before = self.unsent();
        let (mut text, mut length, mut status, mut deadline) = (ptr::null(), 0, 0, 0);
        let client = self.client;
        // SAFETY: see above; the slices were handed out.
        unsafe {
            for field in 0..10 {
                if lambda_proto_client_field(client, field, &mut text, &mut length) == 0
                    && !text.is_null()
                {
                    assert!(self.memories[1].has(text.cast(), length), "a field of other memory");
                }
            }
            let name = input.piece();
            let (name, name_length) = (name.as_ptr().cast(), name.len());
            lambda_proto_client_header(client, name, name_length, &mut text, &mut length);
            lambda_proto_client_deadline_ms(client, &mut deadline);
            lambda_proto_client_receipt(client, &mut status);
            for line in [lambda_proto_client_warning, lambda_proto_client_end] {
                if line(client, &mut text, &mut length) > 0 {
                    let line = slice::from_raw_parts(text.cast(), length);
                    wire::check_line(std::str::from_utf8(line).expect("UTF-8"));
                }
            }
            for fact in [
                lambda_proto_client_is_connected,
                lambda_proto_client_is_waiting,
                lambda_proto_client_is_streaming,
                lambda_proto_client_may_stop,
            ] {
                assert!((0..=1).contains(&fact(client)));
            }
            let wait = lambda_proto_client_backoff_ms(client, input.byte().into(), u32::MAX);
            assert!((0..=3200).contains(&wait));
        }
        assert_eq!(self.unsent(), before);
    }

    fn check(&self) {
        for memory in self.memories.iter().chain(&self.taken) {
            memory.check();
        }
        if let Some((at, copy)) = &self.event {
            // SAFETY: its memory is there until its answer is settled.
            let now = unsafe { slice::from_raw_parts(*at, copy.len()) };
            assert!(now == copy, "the event has changed before its answer was settled");
        }
    }

    fn end_of_connection(&mut self) {
        if self.is_orderly {
            wire::requests(&self.wire);
        }
        self.wire.clear();
    }
}
