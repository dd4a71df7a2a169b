//! The loop of the first page, which is here a second time so that it runs.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use lambda_proto::api::Endpoint;
use lambda_proto::machine::{Event, Machine, Phase};

// The first page
#[expect(unused_qualifications, reason = "the first page has no list of imports from `std`")]
#[rustfmt::skip]
fn echo<S: std::io::Read + std::io::Write>(mut machine: Machine, mut stream: S) -> Result<(), Box<dyn std::error::Error>> {
    let (mut out, mut room, mut input, mut body) = ([0; 4096], [0; 4096], Vec::new(), Vec::new());
    while machine.phase() != Phase::ShuttingDown {
        let (head, answer) = match machine.phase() {
            Phase::Invoking => (machine.respond(None, body.len(), &mut out)?, std::mem::take(&mut body)),
            _ if machine.awaits().is_none() => (machine.next(&mut out)?, Vec::new()),
            _ => (0, Vec::new()),
        };
        stream.write_all(&[&out[..head], &answer].concat())?;
        machine.sent(machine.unsent_len());
        let length = stream.read(&mut room)?;
        if length == 0 { return Err("the connection ended".into()) }
        input.extend_from_slice(&room[..length]);
        let mut unread = &input[..];
        while let Some(event) = machine.receive(&mut unread)? {
            if let Event::Body(piece) = event { body.extend_from_slice(piece) }
        }
        input.drain(..input.len() - unread.len());
    }
    Ok(())
}
// ends here.

/// Gives these pieces to those who read, and keeps what is written.
#[derive(Default)]
struct Script {
    replies: VecDeque<Vec<u8>>,
    written: Vec<u8>,
}

impl Read for &mut Script {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let piece = self.replies.pop_front().unwrap_or_default();
        room[..piece.len()].copy_from_slice(&piece);
        Ok(piece.len())
    }
}

impl Write for &mut Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_loop_is_that_of_the_first_page() {
    let (_, rest) = include_str!("first_page.rs").split_once("#[rustfmt::skip]\n").unwrap();
    let (code, _) = rest.split_once("// ends here.").unwrap();
    assert!(include_str!("../../../README.md").contains(code));
}

#[test]
fn the_loop_of_the_first_page_echoes_wherever_its_input_is_cut_and_ends_with_an_error() {
    let event = "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: id-1\r\n\
                 Lambda-Runtime-Deadline-Ms: 1\r\nContent-Length: 5\r\n\r\nhello";
    let accepted = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
    for cut in 1..event.len() {
        let (first, second) = event.split_at(cut);
        let replies = [first, second, accepted].map(|it| it.as_bytes().to_vec()).into();
        let mut script = Script { replies, ..Script::default() };
        let machine = Machine::new(Endpoint::parse("127.0.0.1:9001").unwrap());
        let error = echo(machine, &mut script).unwrap_err();
        assert_eq!(error.to_string(), "the connection ended");
        let written = String::from_utf8(script.written).unwrap();
        let lines: Vec<_> = written.lines().filter(|line| line.contains("HTTP/1.1")).collect();
        let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1";
        let response = "POST /2018-06-01/runtime/invocation/id-1/response HTTP/1.1";
        // The answer has no line end: the next request follows it in its line.
        assert_eq!(lines, [next, response, &format!("hello{next}")], "cut at {cut}");
    }
}
