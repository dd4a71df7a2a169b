//! The test extension on `lambda-proto-extension` alone, over raw sockets, in one thread.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_conformance::extension_program::{ExtensionProgram, Inbox, Inflow, Plan, Want};
use lambda_proto::api::Endpoint;
use lambda_proto::lifecycle::Clocks;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A connection on which the service delivers.
struct Delivery {
    stream: TcpStream,
    inbox: Inbox,
    inflow: Inflow,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let endpoint = Endpoint::parse(&std::env::var("AWS_LAMBDA_RUNTIME_API")?)?;
    let plan = Plan::read(&std::env::vars().collect())?;
    let listener = plan.listens().then(|| TcpListener::bind("127.0.0.1:0")).transpose()?;
    let port = match &listener {
        Some(listener) => {
            listener.set_nonblocking(true)?;
            listener.local_addr()?.port()
        }
        None => 0,
    };
    let began = Instant::now();
    let clocks = || Clocks {
        monotonic: began.elapsed(),
        wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    };
    let mut program = ExtensionProgram::new(endpoint.clone(), plan, port);
    let mut service: Option<TcpStream> = None;
    let mut deliveries: Vec<Delivery> = Vec::new();
    loop {
        for delivery in &mut deliveries {
            delivery.inflow = program.take(&mut delivery.inbox);
        }
        deliveries.retain(|delivery| delivery.inflow != Inflow::Close);
        // After the records, which may be what it was waiting for.
        let want = program.step(clocks())?;
        for told in program.take_told() {
            println!("{told}");
        }
        match (want, &mut service) {
            (Want::Exit(code), _) if deliveries.iter().all(|it| it.inbox.unsent().is_empty()) => {
                return Ok(code.into());
            }
            (Want::Connect, _) => {
                drop(service.take());
                match TcpStream::connect((endpoint.host(), endpoint.port())) {
                    Ok(stream) => {
                        stream.set_nodelay(true)?;
                        stream.set_nonblocking(true)?;
                        service = Some(stream);
                        program.connected();
                    }
                    Err(_) => program.ended(clocks()),
                }
                continue;
            }
            (Want::Write, Some(stream)) => match stream.write(program.unsent()) {
                Ok(length @ 1..) => program.sent(length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => program.ended(clocks()),
            },
            _ => {}
        }
        wait(want, service.as_ref(), listener.as_ref(), &deliveries)?;
        if let (Want::Read, Some(stream)) = (want, &mut service) {
            let mut room = [0; 16 * 1024];
            match stream.read(&mut room) {
                Ok(length @ 1..) => program.received(&room[..length], clocks()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                _ => program.ended(clocks()),
            }
        }
        if let Some(Ok((stream, _))) = listener.as_ref().map(TcpListener::accept) {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let mut inbox = program.inbox();
            let inflow = program.take(&mut inbox);
            deliveries.push(Delivery { stream, inbox, inflow });
        }
        deliveries.iter_mut().for_each(Delivery::go_on);
    }
}

impl Delivery {
    /// Reads or writes, if that is possible now.
    fn go_on(&mut self) {
        let done = match self.inflow {
            Inflow::Read => self.stream.read(self.inbox.room()),
            Inflow::Write => self.stream.write(self.inbox.unsent()),
            Inflow::Close => return,
        };
        match (done, self.inflow) {
            (Ok(0), _) => self.inbox.end_of_stream(),
            (Ok(length), Inflow::Read) => self.inbox.received(length),
            (Ok(length), _) => self.inbox.sent(length),
            (Err(error), _) if error.kind() == ErrorKind::WouldBlock => {}
            (Err(_), _) => self.inbox.lost(),
        }
    }
}

/// Waits until a socket is ready, or the wait of the program is over.
fn wait(
    want: Want,
    service: Option<&TcpStream>,
    listener: Option<&TcpListener>,
    deliveries: &[Delivery],
) -> Result<(), Box<dyn Error>> {
    let limit = match want {
        Want::Wait(time) => Some(time.max(Duration::from_millis(1)).min(Duration::from_secs(3600))),
        _ => None,
    };
    let mut polled = Vec::new();
    match (want, service) {
        (Want::Read, Some(stream)) => polled.push(PollFd::new(stream, PollFlags::IN)),
        (Want::Write, Some(stream)) => polled.push(PollFd::new(stream, PollFlags::OUT)),
        _ => {}
    }
    polled.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
    polled.extend(deliveries.iter().map(|delivery| {
        let is_write = delivery.inflow == Inflow::Write;
        PollFd::new(&delivery.stream, if is_write { PollFlags::OUT } else { PollFlags::IN })
    }));
    let limit = limit.map(Timespec::try_from).transpose()?;
    match poll(&mut polled, limit.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
