//! The test extension on the machines of `lambda_proto_extension`, without sockets.

use std::collections::BTreeMap;
use std::time::Duration;

use lambda_proto::api::{Endpoint, ErrorReport};
use lambda_proto::client::{VecStorage, backoff};
use lambda_proto::json::JsonStr;
use lambda_proto::lifecycle::Clocks;
use lambda_proto_extension::barrier::{Barrier, Passage};
use lambda_proto_extension::subscription::{
    Destination, Listener, LogsSchema, Subscription, TelemetryTypes,
};
use lambda_proto_extension::telemetry::{
    Body, Deliveries, Fate, Line, Lines, Log, Losses, Receiver, Record, Step, Unread,
};
use lambda_proto_extension::{
    Call, CommandError, EnvironmentEvent, Event, Extension, ExtensionName, ExternalEvents,
    InternalEvents, Phase, ReceiveError, Recovery, Refusal, Registrant, Registration, Remedy,
    Reply,
};
use serde_json::{Map, Value, json};

/// The variables with which a vector says what the extension does; see `README.md`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    is_internal: bool,
    asks_for_account: bool,
    subscribes: Option<Wire>,
    send_again: u32,
    fails: Option<Failing>,
}

/// To what the extension subscribes, and how it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Telemetry,
    TelemetryOverTcp,
    Logs,
}

/// When the extension fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failing {
    Init,
    FirstInvoke,
}

impl Plan {
    /// Reads the variables, by their names.
    ///
    /// # Errors
    ///
    /// The variable whose value is unknown.
    pub fn read(variables: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut plan = Self::default();
        for (name, value) in variables {
            match (&**name, &**value) {
                ("CONFORMANCE_EXTENSION", "external") => plan.is_internal = false,
                ("CONFORMANCE_EXTENSION", "internal") => plan.is_internal = true,
                ("CONFORMANCE_ACCOUNT", "yes") => plan.asks_for_account = true,
                ("CONFORMANCE_SUBSCRIBE", "telemetry") => plan.subscribes = Some(Wire::Telemetry),
                ("CONFORMANCE_SUBSCRIBE", "telemetry over TCP") => {
                    plan.subscribes = Some(Wire::TelemetryOverTcp);
                }
                ("CONFORMANCE_SUBSCRIBE", "logs") => plan.subscribes = Some(Wire::Logs),
                ("CONFORMANCE_SEND_AGAIN", times) => {
                    let unknown = || format!("{name} is {value:?}, which is not a number");
                    plan.send_again = times.parse().map_err(|_| unknown())?;
                }
                ("CONFORMANCE_FAIL", "init") => plan.fails = Some(Failing::Init),
                ("CONFORMANCE_FAIL", "invoke") => plan.fails = Some(Failing::FirstInvoke),
                (name, value) if name.starts_with("CONFORMANCE_") => {
                    return Err(format!("{name} is {value:?}, which is unknown"));
                }
                _ => {}
            }
        }
        Ok(plan)
    }

    /// Whether the extension needs a listener.
    pub fn listens(&self) -> bool {
        self.subscribes.is_some()
    }
}

/// What the embedder of an [`ExtensionProgram`] has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Connect to the service.
    Connect,
    /// Write [`unsent`](ExtensionProgram::unsent).
    Write,
    /// Read from the connection to the service.
    Read,
    /// Wait for this time at most, or until something has arrived at the listener.
    Wait(Duration),
    /// Exit with this code, once each [`Inbox`] has written the reply that it has begun.
    Exit(u8),
}

/// What a connection on which the service delivers is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inflow {
    /// Read from it.
    Read,
    /// Write [`unsent`](Inbox::unsent).
    Write,
    /// Close it.
    Close,
}

/// The extension. The embedder owns the sockets and the clock.
pub struct ExtensionProgram {
    plan: Plan,
    port: u16,
    extension: Extension,
    out: Vec<u8>,
    is_connected: bool,
    /// Received bytes that are not consumed.
    input: Vec<u8>,
    document: Vec<u8>,
    barrier: Barrier,
    deliveries: Deliveries,
    /// The losses of lines over TCP.
    losses: Losses,
    is_subscribed: Option<bool>,
    must_fail: Option<Failing>,
    /// Not to go on before this reading of the monotonic clock.
    pause: Duration,
    lost: u32,
    told: Vec<Value>,
    exit: Option<u8>,
}

/// The time that the extension needs between the end of a wait and the deadline.
const RESERVE: Duration = Duration::from_millis(500);

impl ExtensionProgram {
    /// An extension that is not connected yet, with a listener on this port if the plan says so.
    pub fn new(endpoint: Endpoint, plan: Plan, port: u16) -> Self {
        let mut barrier = Barrier::new(RESERVE);
        if plan.subscribes.is_none() {
            barrier.no_telemetry();
        }
        Self {
            port,
            extension: Extension::new(endpoint),
            out: vec![0; 4096],
            is_connected: false,
            input: Vec::new(),
            document: Vec::new(),
            barrier,
            deliveries: Deliveries::new(),
            losses: Losses::default(),
            is_subscribed: None,
            must_fail: plan.fails.filter(|fails| *fails == Failing::Init),
            pause: Duration::ZERO,
            lost: 0,
            told: Vec::new(),
            exit: None,
            plan,
        }
    }

    /// What the extension was told since the last call, each a JSON object to be printed on a line.
    pub fn take_told(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.told)
    }

    /// What the embedder has to do next.
    ///
    /// # Errors
    ///
    /// A command was refused, which is a bug of this program.
    pub fn step(&mut self, now: Clocks) -> Result<Want, CommandError> {
        loop {
            if let Some(code) = self.exit {
                return Ok(Want::Exit(code));
            }
            if self.extension.must_reconnect() {
                self.lost(now);
            }
            let is_asked = matches!(
                self.extension.phase(),
                Phase::Registering | Phase::Subscribing | Phase::Asking | Phase::Reporting { .. }
            );
            if is_asked {
                return Ok(match self.extension.unsent(&self.out) {
                    _ if !self.is_connected => match self.pause.saturating_sub(now.monotonic) {
                        Duration::ZERO => Want::Connect,
                        pause => Want::Wait(pause),
                    },
                    [] => Want::Read,
                    _ => Want::Write,
                });
            }
            let pause = self.pause.saturating_sub(now.monotonic);
            if !pause.is_zero() {
                return Ok(Want::Wait(pause));
            }
            if let Some(wait) = self.go_on(now)? {
                return Ok(wait);
            }
        }
    }

    /// Sends the next request, unless it is too early.
    fn go_on(&mut self, now: Clocks) -> Result<Option<Want>, CommandError> {
        let out = &mut self.out;
        match (self.extension.phase(), self.must_fail) {
            (Phase::Unregistered, _) => {
                let registrant = registrant(&self.plan);
                self.extension.register(&registrant, out)?;
            }
            (Phase::Registered, Some(_)) => {
                let report = ErrorReport::new("Extension.NoStart", "it was to fail");
                self.extension.fail_init(&report, out)?;
            }
            (_, Some(_)) => {
                let report = ErrorReport::new("Extension.Broken", "it was to fail");
                self.extension.fail(&report, out)?;
            }
            (Phase::Registered, None) if self.is_subscribed.is_none() => {
                let Some(wire) = self.plan.subscribes else {
                    self.is_subscribed = Some(false);
                    return Ok(None);
                };
                match Listener::on_port(self.port) {
                    Ok(listener) => self.extension.subscribe(&subscription(wire, listener), out)?,
                    // Nobody may listen on it, as on a port that is taken.
                    Err(_) => {
                        self.must_fail = Some(Failing::Init);
                        return Ok(None);
                    }
                };
            }
            _ => match self.barrier.check(now) {
                Passage::Ask(_) => {
                    self.extension.next(out)?;
                }
                Passage::Wait { at_most } => return Ok(Some(Want::Wait(at_most))),
                Passage::End(_) => {
                    self.tell_losses();
                    self.extension.shut_down();
                    self.exit = Some(0);
                }
            },
        }
        Ok(None)
    }

    /// The connection to the service is open.
    pub fn connected(&mut self) {
        self.is_connected = true;
        self.input.clear();
    }

    /// The bytes to write to the service.
    pub fn unsent(&self) -> &[u8] {
        self.extension.unsent(&self.out)
    }

    /// Records that `length` of them were written.
    pub fn sent(&mut self, length: usize) {
        self.extension.sent(length);
    }

    /// The service has sent these bytes.
    pub fn received(&mut self, bytes: &[u8], now: Clocks) {
        self.input.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.input);
        let mut input = &all[..];
        loop {
            match self.extension.receive(&mut input) {
                Ok(None) => break,
                Ok(Some(Event::Document(piece))) => self.document.extend_from_slice(piece),
                Ok(Some(Event::Reply(reply))) => self.replied(reply, now),
                Err(ReceiveError::Unsolicited) => return self.lost(now),
                Err(_) => {
                    self.exit = Some(1);
                    return;
                }
            }
        }
        self.input = input.to_vec();
    }

    /// The service has ended or lost the connection.
    pub fn ended(&mut self, now: Clocks) {
        if let Some(Event::Reply(reply)) = self.extension.end_of_stream() {
            self.replied(reply, now);
        }
        self.lost(now);
        self.pause = now.monotonic + backoff(self.lost, 0);
    }

    fn lost(&mut self, now: Clocks) {
        self.is_connected = false;
        self.input.clear();
        self.lost = self.lost.saturating_add(1);
        match self.extension.on_disconnect() {
            // The document is missing, but what the reply means is known.
            Recovery::Answered(reply) => self.replied(reply, now),
            Recovery::Exit => self.exit = Some(1),
            _ => self.document.clear(),
        }
    }

    fn replied(&mut self, reply: Reply, now: Clocks) {
        let document = std::mem::take(&mut self.document);
        self.lost = 0;
        if !reply.is_accepted() {
            return self.refused(&Refusal::parse(reply, &document), now);
        }
        match reply.call() {
            Call::Register => {
                let registration = Registration::parse(&document).unwrap_or_default();
                self.tell("registered", registered(&registration));
            }
            Call::Subscribe => {
                self.is_subscribed = Some(true);
                self.tell("subscribed", json!(true));
            }
            Call::Next => self.read_event(&document, now),
            // A report is the last request.
            _ => self.exit = Some(1),
        }
    }

    fn refused(&mut self, refusal: &Refusal<'_>, now: Clocks) {
        let call = refusal.reply().call();
        match refusal.remedy() {
            Remedy::Retry => self.pause = now.monotonic + Duration::from_millis(100),
            Remedy::GoWithout if call == Call::Subscribe => {
                self.is_subscribed = Some(false);
                self.barrier.no_telemetry();
                self.tell("subscribed", json!(false));
            }
            // Init can still be failed properly.
            Remedy::FixProgram if call == Call::Subscribe => self.must_fail = Some(Failing::Init),
            _ => self.exit = Some(1),
        }
    }

    fn read_event(&mut self, document: &[u8], now: Clocks) {
        match self.extension.read_event(document) {
            Ok(EnvironmentEvent::Invoke(invoke)) => {
                self.barrier.invoke(invoke.request_id, invoke.deadline, now);
                if self.plan.fails == Some(Failing::FirstInvoke) {
                    self.must_fail = self.plan.fails;
                }
                let mut event = Map::new();
                put(&mut event, "request_id", invoke.request_id);
                put(&mut event, "function_arn", invoke.invoked_function_arn);
                put(&mut event, "trace_id", invoke.trace_id);
                event.insert("has_deadline".to_owned(), invoke.deadline.is_some().into());
                self.tell("invoke", event.into());
            }
            Ok(EnvironmentEvent::Shutdown(shutdown)) => {
                self.barrier.shutdown(shutdown.deadline, now);
                self.tell("shutdown", json!(shutdown.reason.to_string()));
            }
            Ok(_) | Err(_) => self.tell("event", json!(String::from_utf8_lossy(document))),
        }
    }

    fn tell(&mut self, what: &str, value: Value) {
        self.told.push(json!({ what: value }));
    }

    fn tell_losses(&mut self) {
        let mut losses = self.deliveries.losses();
        losses.add(&self.losses);
        let missing: Vec<_> = self.barrier.outstanding().collect();
        let losses = json!({
            "dropped_records": losses.dropped_records,
            "unread_records": losses.unread_records,
            "refused_batches": losses.refused_batches,
            "broken_batches": losses.broken_batches,
            "unreadable_batches": losses.unreadable_batches,
            "without_report": missing,
        });
        if self.plan.listens() {
            self.tell("lost", losses);
        }
    }

    /// A new connection on which the service delivers.
    pub fn inbox(&self) -> Inbox {
        let memory = VecStorage::new(0, 1 << 20);
        match self.plan.subscribes {
            Some(Wire::TelemetryOverTcp) => Inbox::Lines(Lines::new(memory)),
            _ => Inbox::Batches(Box::new(Receiver::new(memory))),
        }
    }

    /// Takes what has arrived on such a connection, and says what it is waiting for.
    pub fn take(&mut self, inbox: &mut Inbox) -> Inflow {
        loop {
            let told = match inbox {
                Inbox::Lines(lines) => match lines.step(&mut self.losses) {
                    Line::Read => return Inflow::Read,
                    Line::Close => return Inflow::Close,
                    Line::Record(record) => note(&record, &mut self.barrier),
                    Line::Unread(unread) => unreadable(&unread),
                },
                Inbox::Batches(receiver) => match receiver.step(&mut self.deliveries) {
                    Step::Read => return Inflow::Read,
                    Step::Write => return Inflow::Write,
                    Step::Close => return Inflow::Close,
                    Step::Begin(_) | Step::Refused(_) => continue,
                    Step::Record(record) => note(&record, &mut self.barrier),
                    Step::Unread(unread) => unreadable(&unread),
                    Step::Decide(decision) => {
                        let earlier = decision.batch().earlier().map(|fate| match fate {
                            Fate::Taken => "taken",
                            Fate::Refused => "sent back",
                        });
                        let records = decision.batch().records();
                        if self.plan.send_again > 0 {
                            self.plan.send_again -= 1;
                            decision.send_again();
                        } else {
                            decision.take();
                        }
                        json!({"batch": {"records": records, "earlier": earlier}})
                    }
                },
            };
            self.told.push(told);
        }
    }
}

/// A connection on which the service delivers.
pub enum Inbox {
    /// Batches over HTTP.
    Batches(Box<Receiver<VecStorage>>),
    /// Lines over TCP.
    Lines(Lines<VecStorage>),
}

impl Inbox {
    /// The memory to read into.
    pub fn room(&mut self) -> &mut [u8] {
        match self {
            Self::Batches(receiver) => receiver.room(),
            Self::Lines(lines) => lines.room(),
        }
    }

    /// Records that `length` bytes were read.
    pub fn received(&mut self, length: usize) {
        match self {
            Self::Batches(receiver) => receiver.received(length),
            Self::Lines(lines) => lines.received(length),
        }
    }

    /// The service sends nothing more.
    pub fn end_of_stream(&mut self) {
        match self {
            Self::Batches(receiver) => receiver.end_of_stream(),
            Self::Lines(lines) => lines.end_of_stream(),
        }
    }

    /// The connection is gone.
    pub fn lost(&mut self) {
        match self {
            Self::Batches(receiver) => receiver.lost(),
            Self::Lines(lines) => lines.end_of_stream(),
        }
    }

    /// The bytes to write.
    pub fn unsent(&self) -> &[u8] {
        match self {
            Self::Batches(receiver) => receiver.unsent(),
            Self::Lines(_) => &[],
        }
    }

    /// Records that `length` of them were written.
    pub fn sent(&mut self, length: usize) {
        if let Self::Batches(receiver) = self {
            receiver.sent(length);
        }
    }
}

fn registrant(plan: &Plan) -> Registrant<'static> {
    let name = ExtensionName::new("conformance").expect("it is short, and has letters only");
    let registrant = if plan.is_internal {
        Registrant::internal(name, InternalEvents::Invoke)
    } else {
        Registrant::external(name, ExternalEvents::InvokeAndShutdown)
    };
    if plan.asks_for_account { registrant.with_account_id() } else { registrant }
}

fn subscription(wire: Wire, listener: Listener<'_>) -> Subscription<'_> {
    let types = TelemetryTypes::PLATFORM.and(TelemetryTypes::FUNCTION);
    match wire {
        Wire::Telemetry => Subscription::telemetry(types, Destination::http(listener)),
        Wire::TelemetryOverTcp => Subscription::telemetry(types, Destination::tcp(listener)),
        Wire::Logs => Subscription::logs(LogsSchema::default(), types, Destination::http(listener)),
    }
}

fn registered(registration: &Registration<'_>) -> Value {
    let mut members = Map::new();
    put(&mut members, "function_name", registration.function_name);
    put(&mut members, "function_version", registration.function_version);
    put(&mut members, "handler", registration.handler);
    put(&mut members, "account_id", registration.account_id);
    members.into()
}

/// Tells the barrier of a record, and says what the record is.
fn note(record: &Record<'_>, barrier: &mut Barrier) -> Value {
    match record.body {
        Body::RuntimeDone(done) => barrier.runtime_done(done.request_id),
        Body::Report(done) => barrier.report(done.request_id),
        _ => {}
    }
    let mut members = Map::new();
    members.insert("type".to_owned(), record.record_type.to_string().into());
    put(&mut members, "time", record.time.text());
    if let Some(id) = record.request_id() {
        put(&mut members, "request_id", id);
    }
    let log = match record.body {
        Body::FunctionLog(log) | Body::ExtensionLog(log) => Some(log),
        _ => None,
    };
    match log {
        Some(Log::Text(text)) => {
            members.insert("text".to_owned(), text.to_string().into());
        }
        Some(Log::Json(log)) => {
            let log = serde_json::from_str(log.as_str()).unwrap_or_default();
            members.insert("json".to_owned(), log);
        }
        None => {}
    }
    json!({ "record": members })
}

fn unreadable(unread: &Unread<'_>) -> Value {
    json!({"unread": String::from_utf8_lossy(unread.raw)})
}

/// Adds a text, unless it is empty.
fn put(members: &mut Map<String, Value>, name: &str, text: JsonStr<'_>) {
    if !text.is_empty() {
        members.insert(name.to_owned(), text.to_string().into());
    }
}
