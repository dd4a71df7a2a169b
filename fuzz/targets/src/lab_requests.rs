//! Sends arbitrary requests to the lab.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use lambda_lab::{Function, Lab, Output};

use crate::input::Input;

/// Sends bytes to a new lab, over loopback, in two pieces. All replies are well-formed, and
/// whatever the bytes were, the lab answers the next client.
///
/// The first byte says whether an invocation is in flight; its id then replaces `{id}`. Two more
/// bytes say where to cut.
pub fn lab_requests(data: &[u8]) {
    let_broken_pipes_be_errors();
    let mut input = Input::new(data);
    let is_in_flight = !input.flag();
    let cut = input.number();
    let said = input.rest();
    let lab = Function::external().output(Output::Discarded).start().expect("a free port");
    thread::scope(|scope| {
        // There is always a caller with an event, so that `next` does not block.
        scope.spawn(|| (0..64).take_while(|_| lab.invoke("\"Ada\"").is_ok()).count());
        let mut client = Client::of(&lab);
        let id = if is_in_flight { client.next() } else { "none".to_owned() };
        let said = replace(said, b"{id}", id.as_bytes());
        let (first, second) = said.split_at(cut % (said.len() + 1));
        client.say(first);
        client.say(second);
        let _it_may_have_hung_up = client.0.shutdown(Shutdown::Write);
        let heard = client.hear(SILENCE);
        // A reply to HEAD has no body, which its head does not show.
        if !said.windows(5).any(|word| word == b"HEAD ") {
            check_answers(&heard);
        }

        let mut other = Client::of(&lab);
        other.say(b"GET /2018-06-01/ping HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n");
        let answer = other.hear(PATIENCE);
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(b"\r\n\r\npong"));
        lab.stop();
    });
}

/// Ignores SIGPIPE. The lab writes to clients that have closed their connection. In a Rust program,
/// this is an error, but with libFuzzer's `main` it raises the signal, which would end the process.
fn let_broken_pipes_be_errors() {
    #[cfg(unix)]
    {
        use std::sync::{Arc, Once};

        use signal_hook::{consts::SIGPIPE, flag};

        static DONE: Once = Once::new();
        DONE.call_once(|| {
            flag::register(SIGPIPE, Arc::default()).expect("the signal can be handled");
        });
    }
}

struct Client(TcpStream);

/// How long to wait for a reply. Some requests wait for something that never happens, for instance
/// for an extension.
const SILENCE: Duration = Duration::from_millis(300);

/// How long the next client waits: its reply comes immediately, but the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

impl Client {
    fn of(lab: &Lab) -> Self {
        let stream = TcpStream::connect(lab.runtime_api()).expect("the lab listens");
        stream.set_nodelay(true).expect("it is connected");
        Self(stream)
    }

    /// Sends all bytes, unless the lab has closed the connection.
    fn say(&mut self, bytes: &[u8]) {
        let _it_may_have_hung_up = self.0.write_all(bytes);
    }

    /// Takes an invocation, and returns its id.
    fn next(&mut self) -> String {
        self.say(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: lab\r\n\r\n");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n\"Ada\"") {
            let mut some = [0; 1024];
            let length = self.0.read(&mut some).expect("the lab answers");
            assert!(length > 0, "the lab closed the connection");
            answer.extend_from_slice(&some[..length]);
        }
        let answer = String::from_utf8(answer).expect("text");
        let id = answer.split_once("Lambda-Runtime-Aws-Request-Id: ").expect("an event").1;
        id.split("\r\n").next().expect("a line").to_owned()
    }

    /// Everything that the lab sends until it closes the connection or sends nothing for `bound`.
    fn hear(&mut self, bound: Duration) -> Vec<u8> {
        self.0.set_read_timeout(Some(bound)).expect("it is connected");
        let (mut heard, mut some) = (Vec::new(), [0; 4096]);
        loop {
            match self.0.read(&mut some) {
                Ok(0) => return heard,
                Ok(length) => heard.extend_from_slice(&some[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return heard,
            }
        }
    }
}

/// Checks consecutive replies, the last of which may be cut off.
fn check_answers(bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut answer = httparse::Response::new(&mut fields);
        let head = match answer.parse(rest) {
            Ok(httparse::Status::Complete(head)) => head,
            Ok(httparse::Status::Partial) => return,
            Err(error) => panic!("not a reply: {error}: {}", rest.escape_ascii()),
        };
        let status = answer.code.expect("a whole head has one");
        let known = [100, 200, 202, 400, 403, 404, 405, 410, 413, 414, 431, 500, 505];
        assert!(known.contains(&status), "{status}");
        let field = |name: &str| {
            let mut fields = answer.headers.iter();
            fields.find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
        };
        let length = field("Content-Length").map_or("0", |it| str::from_utf8(it).expect("text"));
        assert!(field("Transfer-Encoding").is_none(), "only events over 2 KiB come in chunks");
        let length: usize = length.parse().expect("a number");
        rest = rest.get(head + length..).unwrap_or_default();
    }
}

fn replace(bytes: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(what.len()).position(|window| window == what) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(with);
        rest = &rest[at + what.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}
