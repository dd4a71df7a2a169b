//! The floor: the cost of an invocation in a runtime that does little more than its system calls.
//!
//! It has no libc and no allocator, and checks nothing: in a reply it looks only for lengths and
//! the request id. It echoes the event directly from the buffer that it was read into. It works
//! only with the service of the benches, on an IPv4 address, and ends when that closes the
//! connection. It is not an example of how to write a runtime.
//!
//! With the argument `pipelined`, it sends the response and the next request in one write.
#![no_std]
#![no_main]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod sys;

const NEXT: &[u8] = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

const ANSWER: [&[u8]; 3] = [
    b"POST /2018-06-01/runtime/invocation/",
    b"/response HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ",
    b"\r\n\r\n",
];

/// Room for the largest event, both heads, and the request after its echo.
const ROOM: usize = 6 * 1024 * 1024 + 64 * 1024;

/// The largest head. The head of the response overwrites that of the event, which is longer.
const HEAD: usize = 512;

fn run(arguments: sys::Strings, environment: sys::Strings) -> ! {
    let is_pipelined = arguments.skip(1).any(|argument| argument == b"pipelined");
    let name = b"AWS_LAMBDA_RUNTIME_API=";
    let address = environment.filter_map(|variable| variable.strip_prefix(name)).next();
    let Some((ip, port)) = address.and_then(parse_address) else {
        fail(b"floor: AWS_LAMBDA_RUNTIME_API must be an IPv4 address and a port\n")
    };
    let Some(socket) = sys::connect(ip, port) else {
        fail(b"floor: cannot connect to AWS_LAMBDA_RUNTIME_API; start a service there\n")
    };
    let room = sys::memory(ROOM);
    let mut head = [0; HEAD];
    send(socket, NEXT);
    let mut filled = 0;
    let mut event = receive(socket, room, 0, &mut filled);
    loop {
        let length = answer_head(&mut head, &event.id, event.body_length);
        let (from, to) = (event.body - length, event.body + event.body_length);
        room[from..event.body].copy_from_slice(&head[..length]);
        if is_pipelined {
            room[to..to + NEXT.len()].copy_from_slice(NEXT);
            send(socket, &room[from..to + NEXT.len()]);
        } else {
            send(socket, &room[from..to]);
        }
        filled = 0;
        let taken = receive(socket, room, 0, &mut filled);
        let mut next = taken.body + taken.body_length;
        if !is_pipelined {
            send(socket, NEXT);
            (next, filled) = (0, 0);
        }
        event = receive(socket, room, next, &mut filled);
    }
}

/// A received message: its request id, and the position and length of its body.
struct Message {
    id: [u8; 36],
    body: usize,
    body_length: usize,
}

/// Reads until the message that begins at `start` is complete.
fn receive(socket: usize, room: &mut [u8], start: usize, filled: &mut usize) -> Message {
    loop {
        if let Some(message) = parse(&room[start..*filled], start) {
            while *filled < message.body + message.body_length {
                *filled += read(socket, &mut room[*filled..]);
            }
            return message;
        }
        *filled += read(socket, &mut room[*filled..]);
    }
}

/// Parses a head, if it is complete.
fn parse(bytes: &[u8], start: usize) -> Option<Message> {
    let mut message = Message { id: [0; 36], body: 0, body_length: 0 };
    let mut line = 0;
    while let Some(length) = line_feed(&bytes[line..]) {
        let field = &bytes[line..line + length];
        line += length + 1;
        if let Some(length) = field.strip_prefix(b"Content-Length: ") {
            message.body_length = number(length);
        } else if let Some(id) = field.strip_prefix(b"Lambda-Runtime-Aws-Request-Id: ") {
            message.id = *id.first_chunk()?;
        } else if field.len() == 1 {
            message.body = start + line;
            return Some(message);
        }
    }
    None
}

/// Finds the first line feed, eight bytes at a time. A search byte by byte would take a third of
/// the floor's time in user space.
fn line_feed(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        // A line feed becomes zero. Subtracting one sets the high bit only of a zero byte, apart
        // from bytes that already had it.
        let word = u64::from_le_bytes(*word) ^ (ONES * b'\n' as u64);
        let found = word.wrapping_sub(ONES) & !word & (ONES << 7);
        if found != 0 {
            return Some(at * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|byte| *byte == b'\n')?;
    Some(words.len() * 8 + at)
}

/// The number that the text starts with.
fn number(text: &[u8]) -> usize {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

/// Writes the head of the response, and returns its length.
fn answer_head(head: &mut [u8; HEAD], id: &[u8], body_length: usize) -> usize {
    let mut digits = [0; 20];
    let (mut first, mut rest) = (digits.len(), body_length);
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let [path, fields, end] = ANSWER;
    let mut length = 0;
    for part in [path, id, fields, &digits[first..], end] {
        head[length..length + part.len()].copy_from_slice(part);
        length += part.len();
    }
    length
}

fn send(socket: usize, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match usize::try_from(sys::write(socket, bytes)) {
            Ok(length) => bytes = &bytes[length..],
            Err(_) => sys::exit(1),
        }
    }
}

fn read(socket: usize, room: &mut [u8]) -> usize {
    match usize::try_from(sys::read(socket, room)) {
        Ok(0) => sys::exit(0),
        Ok(length) => length,
        Err(_) => sys::exit(1),
    }
}

/// Parses an address such as `127.0.0.1:9001`.
fn parse_address(text: &[u8]) -> Option<([u8; 4], u16)> {
    let mut parts = text.split(|byte| *byte == b'.' || *byte == b':').map(number);
    let mut ip = [0; 4];
    for part in &mut ip {
        *part = u8::try_from(parts.next()?).ok()?;
    }
    Some((ip, u16::try_from(parts.next()?).ok()?))
}

fn fail(message: &[u8]) -> ! {
    send(2, message);
    sys::exit(2)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    fail(b"floor: panicked; the service has sent a reply that the floor does not support\n")
}
