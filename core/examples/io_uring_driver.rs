//! A Lambda runtime on a completion queue: io_uring, one thread, one ring, and for each client one
//! connection and one operation at a time. It uses no transport crate: `Client` says what to do
//! next, and this file submits it to the kernel.
//!
//! Try it with `cargo run -p lambda-lab -- run --event '{}' target/debug/examples/io_uring_driver`.

use std::process::ExitCode;

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("io_uring_driver: io_uring is available only on Linux; {REMEDY}");
    ExitCode::FAILURE
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let Err(error) = linux::run();
    eprintln!("io_uring_driver: {error}");
    ExitCode::FAILURE
}

const REMEDY: &str = "use the crate lambda-proto-std, lambda-proto-tokio or lambda-proto-mio";

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the kernel gets pointers to memory that must stay valid")]
pub(crate) mod linux {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::error::Error;
    use std::hash::{BuildHasher, RandomState};
    use std::io;
    use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
    use std::os::fd::{AsRawFd, FromRawFd};
    use std::rc::Rc;
    use std::time::{Duration, Instant};

    use heapless::Vec as FixedVec;
    use io_uring::types::{Fd, Timespec};
    use io_uring::{IoUring, opcode, squeue};
    use lambda_proto::api::{Concurrency, Endpoint};
    use lambda_proto::client::{Client, Outage, Step, VecStorage, backoff};
    use lambda_proto::limits;
    use lambda_proto::machine::Machine;

    /// How long one attempt to connect may take.
    static MAX_ATTEMPT: Timespec = Timespec::new().sec(2);

    // Operations. The user data of an entry holds one of them and the number of its slot.
    const PAUSE: u64 = 0;
    const CONNECT: u64 = 1;
    const TIME_LIMIT: u64 = 2;
    const WRITE: u64 = 3;
    const POLL: u64 = 4;
    const READ: u64 = 5;

    /// The function: `None` returns the event itself, from the memory that it arrived in.
    fn handle(_event: &[u8]) -> Option<Vec<u8>> {
        None
    }

    pub(super) fn run() -> Result<Infallible, Box<dyn Error>> {
        let slots = std::env::var("AWS_LAMBDA_MAX_CONCURRENCY").unwrap_or_default();
        let count = Concurrency::slots(&slots)
            .map_err(|error| format!("AWS_LAMBDA_MAX_CONCURRENCY is {slots:?}: {error}"))?;
        let count = u32::try_from(count)?;
        // This comes first because io_uring may not be available.
        let ring = ring_for(count)?;
        let address = std::env::var("AWS_LAMBDA_RUNTIME_API").map_err(|error| {
            format!("AWS_LAMBDA_RUNTIME_API: {error}; set it to the address of the Runtime API")
        })?;
        serve(ring, &Endpoint::parse(&address)?, count)
    }

    /// A ring for `count` slots.
    pub(crate) fn ring_for(count: u32) -> Result<IoUring, String> {
        // A slot that connects has two operations: the connect and its time limit.
        IoUring::builder().setup_clamp().build(count.saturating_mul(2)).map_err(refused)
    }

    /// Serves invocations, until the session is over.
    pub(crate) fn serve(
        mut ring: IoUring,
        endpoint: &Endpoint,
        count: u32,
    ) -> Result<Infallible, Box<dyn Error>> {
        let concurrency = Concurrency::of_slots(count as usize);
        let reach = Rc::new(Reach { origin: Instant::now(), outage: Cell::default() });
        let slots = (0..u64::from(count))
            .map(|number| Slot::new(number, endpoint, concurrency, reach.clone()));
        // From now on the slots are neither moved nor freed: the kernel may use them even after
        // this function returns.
        let slots = slots.collect::<Vec<_>>().leak();
        for slot in &mut *slots {
            submit(&mut ring, &slot.advance()?)?;
        }
        let mut end = None;
        loop {
            // No timeout: the process may be frozen for hours while it waits for an event.
            match ring.submit_and_wait(1) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(error.into());
                }
                _ => {}
            }
            loop {
                let Some(completion) = ring.completion().next() else { break };
                let (number, op) = (completion.user_data() >> 8, completion.user_data() & 0xff);
                let slot = &mut slots[number as usize];
                match slot.completed(op, completion.result()) {
                    Ok(operations) => submit(&mut ring, &operations)?,
                    Err(error) => {
                        slot.client.exchange().shut_down();
                        // Each of the others stops once its invocation in flight is answered.
                        slots.iter_mut().for_each(|slot| slot.is_stopping = true);
                        end.get_or_insert(error);
                    }
                }
            }
            if let Some(error) = end.take_if(|_| slots.iter().all(|slot| slot.client.may_stop())) {
                return Err(error);
            }
        }
    }

    /// Says why io_uring is not available, and what to use instead.
    fn refused(error: io::Error) -> String {
        let cause = match error.raw_os_error() {
            Some(libc::ENOSYS) => "the kernel does not have it, or a seccomp filter hides it",
            Some(libc::EPERM | libc::EACCES) => {
                "a container's seccomp filter or the sysctl kernel.io_uring_disabled forbids it"
            }
            Some(libc::ENOMEM) => "the limit of locked memory (ulimit -l) is too low for it",
            _ => "the kernel refuses it",
        };
        format!("no io_uring here: {cause} ({error}); {}", super::REMEDY)
    }

    fn submit(ring: &mut IoUring, operations: &[squeue::Entry]) -> io::Result<()> {
        // SAFETY: operations point to a static, into a slot, and to the memory of its client and
        // answer. Slots are never moved or freed. A slot has one operation at a time, besides a
        // time limit, which points to a static. The memory that an operation points to is not
        // touched before the operation completes: only `completed` and `advance` change it, and
        // both return the next operation.
        while unsafe { ring.submission().push_multiple(operations) }.is_err() {
            // The submission queue is full.
            ring.submit()?;
        }
        Ok(())
    }

    /// The operations to submit next.
    type Operations = Result<Entries, Box<dyn Error>>;

    /// A slot has one operation at a time, and perhaps a time limit for it.
    type Entries = FixedVec<squeue::Entry, 2>;

    /// Whether the service can be reached: how long no slot has had a connection.
    struct Reach {
        origin: Instant,
        outage: Cell<Outage>,
    }

    impl Reach {
        /// Records an event in the outage, with the time since the origin.
        fn note(&self, what: impl FnOnce(&mut Outage, Duration)) {
            let mut outage = self.outage.get();
            what(&mut outage, self.origin.elapsed());
            self.outage.set(outage);
        }
    }

    /// A client with its connection, and the memory that operations point to.
    struct Slot {
        number: u64,
        client: Client<VecStorage>,
        /// The answer, unless it is the event itself.
        answer: Option<Vec<u8>>,
        socket: Option<TcpStream>,
        /// Whether the socket took less than it was given.
        is_full: bool,
        is_stopping: bool,
        concurrency: Concurrency,
        /// Whether the slot is counted among those with a connection.
        is_connected: bool,
        reach: Rc<Reach>,
        /// When the latest attempt to connect began.
        began: Duration,
        /// How many attempts in a row have failed.
        failed: u32,
        pause: Timespec,
        address: libc::sockaddr_in,
        parts: [libc::iovec; 3],
    }

    impl Slot {
        fn new(
            number: u64,
            endpoint: &Endpoint,
            concurrency: Concurrency,
            reach: Rc<Reach>,
        ) -> Self {
            let machine = Machine::with_concurrency(endpoint.clone(), concurrency);
            let memory = || VecStorage::new(0, usize::MAX);
            let client = Client::new(machine, memory(), memory());
            Self {
                number,
                client: client.with_max_event(limits::MAX_PAYLOAD),
                answer: None,
                socket: None,
                is_full: false,
                is_stopping: false,
                concurrency,
                is_connected: false,
                reach,
                began: Duration::ZERO,
                failed: 0,
                pause: Timespec::new(),
                address: ipv4([0; 4], 0),
                parts: [part(&[]); 3],
            }
        }

        /// Does what the client asks for, until it needs an operation of the kernel.
        fn advance(&mut self) -> Operations {
            loop {
                let step =
                    self.client.exchange().step(|warning| eprintln!("io_uring_driver: {warning}"));
                if !self.client.is_connected() {
                    self.disconnected();
                }
                match step {
                    Step::Connect { losses } => {
                        // The first loss is an ordinary one, of a connection that went stale.
                        self.failed = losses.saturating_sub(1);
                        return self.wait(back_off(self.failed));
                    }
                    // A service may reply before it has read everything and then stop reading, so
                    // wait for both.
                    Step::Write if self.is_full => {
                        let events = (libc::POLLIN | libc::POLLOUT) as u32;
                        return self.ask(POLL, opcode::PollAdd::new(self.fd(), events).build());
                    }
                    Step::Write => {
                        self.parts = match (&self.answer, self.client.in_flight()) {
                            (None, Some((invocation, exchange))) => {
                                exchange.unsent(invocation.body()).map(part)
                            }
                            (answer, _) => {
                                let body = answer.as_deref().unwrap_or_default();
                                self.client.exchange().unsent(body).map(part)
                            }
                        };
                        let write = opcode::Writev::new(self.fd(), self.parts.as_ptr(), 3);
                        return self.ask(WRITE, write.build());
                    }
                    Step::Read => return self.read(),
                    Step::Idle if self.is_stopping => return Ok(Entries::new()),
                    Step::Idle => self.client.ask()?,
                    Step::Answer => {
                        let Some((invocation, mut exchange)) = self.client.in_flight() else {
                            continue;
                        };
                        self.answer = handle(invocation.body());
                        let body = self.answer.as_deref().unwrap_or(invocation.body());
                        exchange.respond(None, body.len(), false)?;
                    }
                    Step::Settled(_) => self.answer = None,
                    Step::End(end) if end.begins_anew(self.concurrency) => {
                        eprintln!("io_uring_driver: restarting a slot in 1 s: {end}");
                        self.client.begin_anew();
                        self.disconnected();
                        self.failed = 0;
                        return self.wait(Duration::from_secs(1));
                    }
                    Step::End(end) => return Err(end.into()),
                }
            }
        }

        /// Handles the result of an operation and returns the next operations.
        fn completed(&mut self, op: u64, result: i32) -> Operations {
            let done = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
            match (op, done) {
                (TIME_LIMIT, _) => return Ok(Entries::new()),
                (PAUSE, _) => return self.connect().or_else(|error| self.not_connected(&error)),
                (CONNECT, Ok(_)) => {
                    self.is_connected = true;
                    self.reach.note(|outage, _| outage.connected());
                    self.client.exchange().connected();
                }
                // The time limit cancelled it.
                (CONNECT, _) if result == -libc::ECANCELED => {
                    return self.not_connected(&io::ErrorKind::TimedOut.into());
                }
                (CONNECT, Err(error)) => return self.not_connected(&error),
                (WRITE, Ok(length)) if length > 0 => {
                    self.client.exchange().sent(length);
                    self.is_full = self.client.machine().unsent_len() > 0;
                }
                (WRITE, _) => self.client.exchange().write_failed(),
                (POLL, _) if result == i32::from(libc::POLLOUT) => self.is_full = false,
                (POLL, _) => return self.read(),
                (_, Ok(length)) => self.client.exchange().received(length),
                (_, Err(_)) => self.client.exchange().lost(),
            }
            self.advance()
        }

        fn read(&mut self) -> Operations {
            let fd = self.fd();
            // Without room, the next step ends the client.
            let mut exchange = self.client.exchange();
            let Some(room) = exchange.room() else { return self.advance() };
            let length = u32::try_from(room.len()).unwrap_or(u32::MAX);
            let read = opcode::Read::new(fd, room.as_mut_ptr(), length).build();
            self.ask(READ, read)
        }

        fn wait(&mut self, pause: Duration) -> Operations {
            self.pause = pause.into();
            self.ask(PAUSE, opcode::Timeout::new(&self.pause).build())
        }

        /// Connects over IPv4, as Lambda's address is. Resolving a name blocks all slots.
        fn connect(&mut self) -> io::Result<Entries> {
            self.began = self.reach.origin.elapsed();
            let endpoint = self.client.machine().endpoint();
            let mut found = (endpoint.host(), endpoint.port()).to_socket_addrs()?;
            let Some(SocketAddr::V4(address)) = found.find(SocketAddr::is_ipv4) else {
                return Err(io::ErrorKind::AddrNotAvailable.into());
            };
            self.address = ipv4(address.ip().octets(), address.port());
            // SAFETY: the call takes no pointers, and nothing else owns the new descriptor.
            let socket = unsafe {
                match libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) {
                    -1 => return Err(io::Error::last_os_error()),
                    fd => TcpStream::from_raw_fd(fd),
                }
            };
            socket.set_nodelay(true)?;
            (self.socket, self.is_full) = (Some(socket), false);
            let length = size_of_val(&self.address) as libc::socklen_t;
            let connect = opcode::Connect::new(self.fd(), (&raw const self.address).cast(), length);
            let connect = connect.build().flags(squeue::Flags::IO_LINK);
            let limit = opcode::LinkTimeout::new(&MAX_ATTEMPT).build();
            Ok(Entries::from_array([self.tag(CONNECT, connect), self.tag(TIME_LIMIT, limit)]))
        }

        fn disconnected(&mut self) {
            self.socket = None;
            if std::mem::take(&mut self.is_connected) {
                self.reach.note(Outage::lost);
            }
        }

        fn not_connected(&mut self, error: &io::Error) -> Operations {
            self.socket = None;
            let address = self.client.machine().endpoint().authority();
            self.reach.note(|outage, _| outage.failed(self.began));
            // Do not give up while another slot has a connection: the service counts on this slot.
            let lasted = self.reach.outage.get().lasted(self.reach.origin.elapsed());
            if let Some(lasted) = lasted.filter(|lasted| *lasted >= limits::PATIENCE) {
                let waited = format!("no connection to {address} for {lasted:?}");
                return Err(format!("{waited}; giving up: {error}").into());
            }
            eprintln!("io_uring_driver: no connection to {address}, retrying: {error}");
            self.failed = self.failed.saturating_add(1);
            self.wait(back_off(self.failed))
        }

        fn ask(&self, op: u64, operation: squeue::Entry) -> Operations {
            Ok(Entries::from_iter([self.tag(op, operation)]))
        }

        fn tag(&self, op: u64, operation: squeue::Entry) -> squeue::Entry {
            operation.user_data(self.number << 8 | op)
        }

        /// The connection. Without one, this is -1, for which the kernel returns an error.
        fn fd(&self) -> Fd {
            Fd(self.socket.as_ref().map_or(-1, AsRawFd::as_raw_fd))
        }
    }

    fn back_off(failed: u32) -> Duration {
        // The keys of a new `RandomState` are random, so slots do not retry in step.
        backoff(failed, RandomState::new().hash_one(()) as u32)
    }

    fn part(bytes: &[u8]) -> libc::iovec {
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
    }

    fn ipv4(octets: [u8; 4], port: u16) -> libc::sockaddr_in {
        libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: port.to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(octets) },
            sin_zero: [0; 8],
        }
    }
}
