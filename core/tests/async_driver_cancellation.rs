//! Every await point of the async driver: the future is dropped there, the driver goes on, and the
//! service has seen what the table in the documentation of `async_driver` says.

#[path = "event_loop/service.rs"]
#[allow(dead_code, reason = "the tests of the client use the rest")]
mod service;

use core::future::poll_fn;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use lambda_proto::api::{ContentType, Endpoint, ErrorReport};
use lambda_proto::async_driver::{self, Connector, Driver};
use lambda_proto::client::Warning;
use lambda_proto::machine::Machine;
use service::{ACCEPTED, Request, event, refusal, whole};

/// How an invocation is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Buffered,
    Pipelined,
    Streamed,
    StreamedAndPipelined,
    EmptyStream,
    Failed,
    FailedStream,
}

use Kind::{
    Buffered, EmptyStream, Failed, FailedStream, Pipelined, Streamed, StreamedAndPipelined,
};

const KINDS: &[Kind] = &[
    Buffered,
    Pipelined,
    Streamed,
    StreamedAndPipelined,
    EmptyStream,
    Failed,
    FailedStream,
    Buffered,
];

/// The two pieces of an answer.
const PIECES: [&str; 2] = ["the ", "answer"];
const REPORT: ErrorReport<'static> = ErrorReport::new("Function.Broken", "it broke");

/// Where the service closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loses {
    Nothing,
    /// Before it takes the answer to this invocation.
    Before(usize),
    /// After that, and before its reply.
    After(usize),
}

/// The service, and all that it has seen.
struct World {
    restores: bool,
    loses: Loses,
    /// The number of bytes that one write takes.
    takes: usize,
    /// The number of waits that are left before the cut.
    waits: usize,
    handed: usize,
    /// What was taken for each invocation.
    taken: Vec<Vec<Request>>,
    lines: Vec<Line>,
    warnings: Vec<String>,
}

#[derive(Default)]
struct Line {
    up: Vec<u8>,
    down: VecDeque<u8>,
    is_closed: bool,
}

impl World {
    /// Replies to every whole request of a connection.
    fn serve(&mut self, number: usize) {
        // Looking for a whole request at each byte takes long: look where one may end.
        let ends: [&[u8]; 3] = [b"\r\n\r\n", PIECES[1].as_bytes(), b"}"];
        if !ends.iter().any(|end| self.lines[number].up.ends_with(end)) {
            return;
        }
        while !self.lines[number].is_closed
            && let Some((request, length)) = whole(&self.lines[number].up)
        {
            self.lines[number].up.drain(..length);
            let reply = match &*request.call {
                "restore/next" => ACCEPTED.to_vec(),
                "next" if self.handed == self.taken.len() => continue,
                "next" => {
                    self.handed += 1;
                    event(&id(self.handed - 1), b"event", 0)
                }
                "response" | "error" => {
                    let at = (0..self.handed).find(|at| id(*at) == request.id);
                    let at = at.expect("an invocation that was handed out");
                    assert_eq!(at + 1, self.handed, "an answer to an earlier invocation");
                    let is_lost = match self.loses {
                        Loses::Before(lost) | Loses::After(lost) => lost == at,
                        Loses::Nothing => false,
                    };
                    if is_lost {
                        if self.loses == Loses::After(at) {
                            self.taken[at].push(request);
                        }
                        self.loses = Loses::Nothing;
                        self.lines[number].is_closed = true;
                        return;
                    }
                    if self.taken[at].is_empty() {
                        self.taken[at].push(request);
                        ACCEPTED.to_vec()
                    } else {
                        // Only a second copy may come, and it must be the same.
                        assert_eq!(self.taken[at], [request], "two answers");
                        refusal(403)
                    }
                }
                call => panic!("{call}"),
            };
            self.lines[number].down.extend(reply);
        }
    }

    /// The bytes of the request that has begun on the current connection.
    fn begun(&self) -> &[u8] {
        self.lines.last().map_or(&[], |line| &line.up)
    }
}

fn id(number: usize) -> String {
    format!("id{number}")
}

type Shared = Rc<RefCell<World>>;

struct Wire {
    world: Shared,
    number: usize,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.world.borrow_mut().lines[self.number].is_closed = true;
    }
}

/// Is pending once.
async fn wait() {
    let has_waited = Cell::new(false);
    poll_fn(|_| if has_waited.replace(true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

impl ErrorType for Wire {
    type Error = ErrorKind;
}

impl Read for Wire {
    async fn read(&mut self, room: &mut [u8]) -> Result<usize, ErrorKind> {
        wait().await;
        poll_fn(|_| {
            let mut world = self.world.borrow_mut();
            let line = &mut world.lines[self.number];
            if line.down.is_empty() {
                return if line.is_closed { Poll::Ready(Ok(0)) } else { Poll::Pending };
            }
            let length = line.down.len().min(room.len());
            line.down.drain(..length).zip(room.iter_mut()).for_each(|(byte, to)| *to = byte);
            Poll::Ready(Ok(length))
        })
        .await
    }
}

impl Write for Wire {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        wait().await;
        let mut world = self.world.borrow_mut();
        if world.lines[self.number].is_closed {
            return Err(ErrorKind::BrokenPipe);
        }
        let length = bytes.len().min(world.takes);
        world.lines[self.number].up.extend(&bytes[..length]);
        world.serve(self.number);
        Ok(length)
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl async_driver::Connection for Wire {}

struct Connects(Shared);

impl Connector for Connects {
    type Connection = Wire;
    type Error = ErrorKind;

    async fn connect(&mut self, _losses: u32) -> Result<Wire, ErrorKind> {
        wait().await;
        let mut world = self.0.borrow_mut();
        assert!(world.lines.iter().all(|line| line.is_closed), "two connections at a time");
        world.lines.push(Line::default());
        Ok(Wire { world: self.0.clone(), number: world.lines.len() - 1 })
    }

    fn warn(&mut self, warning: &Warning<'_>) {
        self.0.borrow_mut().warnings.push(warning.to_string());
    }
}

/// Where a future was dropped: the call, the invocation, and the request that had begun.
#[derive(Debug)]
struct Cut {
    call: &'static str,
    number: usize,
    begun: Vec<u8>,
    is_taken: bool,
}

/// Waits for a future, or drops it at the cut.
async fn until_cut<F: Future>(
    world: &Shared,
    call: &'static str,
    future: F,
) -> Result<F::Output, Cut> {
    let mut future = Some(Box::pin(future));
    poll_fn(|context| {
        if let Poll::Ready(output) =
            future.as_mut().expect("not polled again").as_mut().poll(context)
        {
            return Poll::Ready(Ok(output));
        }
        let mut world = world.borrow_mut();
        if world.waits > 0 {
            world.waits -= 1;
            return Poll::Pending;
        }
        world.waits = usize::MAX;
        // Single bytes take long without optimisation. They matter up to the cut.
        if cfg!(debug_assertions) {
            world.takes = world.takes.max(40);
        }
        let number = world.handed.wrapping_sub(1);
        let is_taken = world.taken.get(number).is_some_and(|taken| !taken.is_empty());
        let begun = world.begun().to_vec();
        drop(world);
        future = None;
        Poll::Ready(Err(Cut { call, number, begun, is_taken }))
    })
    .await
}

/// Serves invocations, up to the cut. If it `resumes`, the handler of a stream goes on after it.
async fn serve(
    world: &Shared,
    driver: &mut Driver<Connects, &mut [u8]>,
    resumes: bool,
) -> Result<(), Cut> {
    let mut cut = None;
    if world.borrow().restores {
        let restored = until_cut(world, "restore_next", driver.restore_next()).await?;
        restored.expect("the session goes on");
        world.borrow_mut().restores = false;
    }
    loop {
        // Every second invocation is waited for without it.
        let next = if world.borrow().handed.is_multiple_of(2) {
            until_cut(world, "next", driver.next()).await?
        } else {
            let wait = until_cut(world, "wait", driver.wait()).await?;
            wait.map(|has_arrived| driver.in_flight().filter(|_| has_arrived))
        };
        let (_, responder) = next.expect("the session goes on").expect("nothing stops it");
        let number = world.borrow().handed - 1;
        let body = PIECES.concat();
        let _sent = match KINDS[number] {
            Buffered => until_cut(world, "send", responder.send(&body)).await?,
            Pipelined => until_cut(world, "send", responder.send_and_next(&body)).await?,
            Failed => until_cut(world, "fail", responder.fail(&REPORT)).await?,
            kind => {
                let mut stream = responder.stream(ContentType::TEXT);
                let pieces = if kind == EmptyStream { &[][..] } else { &PIECES };
                for piece in pieces {
                    match until_cut(world, "write", stream.write(piece.as_bytes())).await {
                        Err(here) if resumes => cut = Some(here),
                        result => drop(result?),
                    }
                }
                match kind {
                    Streamed | EmptyStream => until_cut(world, "finish", stream.finish()).await?,
                    FailedStream => until_cut(world, "fail", stream.fail(&REPORT)).await?,
                    _ => until_cut(world, "finish", stream.finish_and_next()).await?,
                }
            }
        };
        if let Some(cut) = cut.take() {
            return Err(cut);
        }
    }
}

/// Polls a program until it ends or only waits for an invocation that does not come.
fn poll<F: Future>(world: &Shared, program: F) -> Option<F::Output> {
    let mut program = pin!(program);
    let mut context = Context::from_waker(Waker::noop());
    let mut idle = 0;
    while idle < 5 {
        if let Poll::Ready(output) = program.as_mut().poll(&mut context) {
            return Some(output);
        }
        let is_idle = {
            let world = world.borrow();
            let has_all = world.handed == world.taken.len();
            let is_quiet = |line: &Line| line.down.is_empty() && line.up.is_empty();
            has_all && world.lines.last().is_some_and(|line| is_quiet(line) && !line.is_closed)
        };
        idle = if is_idle { idle + 1 } else { 0 };
    }
    None
}

/// What became of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Reported,
    Unknown,
}

/// Checks the invocation, which has exactly one fate.
fn fate(world: &World, number: usize) -> Fate {
    let has_warning = |text: &str| {
        let of = format!("invocation {}: ", id(number));
        world.warnings.iter().any(|warning| warning.starts_with(&of) && warning.contains(text))
    };
    let taken = &world.taken[number];
    assert!(taken.len() <= 1);
    let (is_unanswered, is_unknown) =
        (has_warning("the handler gave no answer"), has_warning("whether the answer arrived"));
    match &taken[..] {
        // Perhaps that of the report.
        _ if is_unknown => Fate::Unknown,
        [request] if is_unanswered => {
            assert!(request.call == "error" || request.failed, "{request:?}");
            Fate::Reported
        }
        [request] => {
            let is_error = matches!(KINDS[number], Failed | FailedStream);
            assert_eq!(request.call == "error" || request.failed, is_error, "{request:?}");
            Fate::Answered
        }
        _ => panic!("invocation {number} has no fate: {:?}", world.warnings),
    }
}

/// Whether a stream has been sent up to the end of its head or of a chunk.
fn ends_at_a_boundary(begun: &[u8]) -> bool {
    let text = String::from_utf8(begun.to_vec()).unwrap();
    let Some((_, chunks)) = text.split_once("\r\n\r\n") else { return true };
    let whole = format!("4\r\n{}", PIECES[0]);
    ["", &whole, &format!("{whole}\r\n6\r\n{}", PIECES[1])].contains(&chunks)
}

/// What the table says.
fn expected(cut: &Cut) -> Fate {
    match cut.call {
        "next" | "wait" | "restore_next" | "fail" => Fate::Answered,
        _ if cut.is_taken => Fate::Answered,
        _ if cut.begun.is_empty() => Fate::Reported,
        "send" => Fate::Unknown,
        _ if ends_at_a_boundary(&cut.begun) => Fate::Reported,
        // What has begun of the end of a stream goes on.
        "finish" => Fate::Answered,
        _ => Fate::Unknown,
    }
}

/// Drops the future at each await point, and counts those of each call.
fn drop_everywhere(takes: usize, loses: Loses, restores: bool, resumes: bool) {
    let mut calls = std::collections::BTreeMap::new();
    for waits in 0.. {
        let world = Rc::new(RefCell::new(World {
            restores,
            loses,
            takes,
            waits,
            handed: 0,
            taken: vec![Vec::new(); KINDS.len()],
            lines: Vec::new(),
            warnings: Vec::new(),
        }));
        let machine = Machine::new(Endpoint::parse("127.0.0.1:9001").unwrap());
        let (mut events, mut requests) = ([0; 4096], [0; 4096]);
        let connector = Connects(world.clone());
        let mut driver = Driver::new(machine, connector, &mut events[..], &mut requests[..]);
        let Some(Err(cut)) = poll(&world, serve(&world, &mut driver, resumes)) else {
            break;
        };
        assert!(poll(&world, serve(&world, &mut driver, false)).is_none());
        *calls.entry(cut.call).or_insert(0) += 1;
        let label = format!("takes {takes}, {loses:?}, wait {waits}: {cut:?}");
        let world = world.borrow();
        for (number, taken) in world.taken.iter().enumerate() {
            let fate = fate(&world, number);
            let is_here = number == cut.number;
            let is_lost = matches!(loses, Loses::Before(at) | Loses::After(at) if at == number);
            match fate {
                // A stream is not sent again, and what was pipelined is not either.
                Fate::Unknown if is_lost => {}
                _ if is_here && is_lost => {}
                _ if is_here && resumes && cut.call == "write" => {
                    let is_over = expected(&cut) == Fate::Unknown;
                    assert_eq!(fate == Fate::Unknown, is_over, "{label}");
                }
                _ => {
                    let wanted = if is_here { expected(&cut) } else { Fate::Answered };
                    assert_eq!(fate, wanted, "{label}: {number}: {:?}", world.warnings);
                }
            }
            if let [request] = &taken[..]
                && fate == Fate::Answered
                && matches!(KINDS[number], Buffered | Pipelined | Streamed | StreamedAndPipelined)
            {
                let body = String::from_utf8_lossy(&request.body).into_owned();
                let is_whole = body == PIECES.concat();
                // A piece that was dropped before its first byte is missing, and no other.
                let is_short = resumes && is_here && PIECES.contains(&&*body);
                assert!(is_whole || is_short, "{label}: {body}");
            }
        }
    }
    println!("takes {takes}, {loses:?}: {calls:?}");
    let dropped = ["next", "wait", "send", "write", "finish", "fail"];
    assert!(dropped.iter().all(|call| calls.contains_key(call)), "{calls:?}");
}

#[test]
fn each_invocation_has_one_fate_wherever_a_future_is_dropped() {
    for takes in [usize::MAX, 40, 1] {
        drop_everywhere(takes, Loses::Nothing, false, false);
    }
}

#[test]
fn a_restore_goes_on_wherever_its_future_is_dropped() {
    drop_everywhere(7, Loses::Nothing, true, false);
}

#[test]
fn a_stream_goes_on_after_a_dropped_piece() {
    for takes in [usize::MAX, 1] {
        drop_everywhere(takes, Loses::Nothing, false, true);
    }
}

#[test]
fn each_invocation_has_one_fate_when_a_connection_is_lost_too() {
    for number in 0..KINDS.len() {
        for takes in [usize::MAX, 11] {
            drop_everywhere(takes, Loses::Before(number), false, false);
            drop_everywhere(takes, Loses::After(number), false, false);
        }
    }
}
