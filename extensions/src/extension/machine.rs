use heapless::String;
use lambda_proto::api::{Endpoint, ErrorReport};
use lambda_proto::http::{ReplyPart, ReplyReader};
use lambda_proto::json::JsonError;

use super::phase::Input;
use super::request::Request;
use super::{
    Call, CommandError, EnvironmentEvent, Phase, ReceiveError, Recovery, Registrant, Reply, names,
};
use crate::limits::MAX_EXTENSION_ID;
use crate::subscription::Subscription;

/// One extension, from its registration to its end. It holds no buffer, no socket and no clock.
///
/// The crate documents its [phases](crate#phases-of-an-extension).
#[derive(Clone, Debug)]
pub struct Extension {
    endpoint: Endpoint,
    phase: Phase,
    identifier: String<MAX_EXTENSION_ID>,
    event_identifier: String<MAX_EXTENSION_ID>,
    /// Bytes of the last request, and how many of them have been sent.
    length: usize,
    sent: usize,
    reader: ReplyReader,
    /// The reply whose body is arriving.
    reply: Option<Reply>,
    must_reconnect: bool,
    is_managed: bool,
}

/// An event from [`Extension::receive`]. Its slice borrows from the input and ends
/// at the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// A piece of the document of a reply, never empty; the reply follows.
    Document(&'b [u8]),
    /// A reply is complete.
    Reply(Reply),
}

impl Extension {
    /// An extension that is not registered.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            phase: Phase::Unregistered,
            identifier: String::new(),
            event_identifier: String::new(),
            length: 0,
            sent: 0,
            reader: ReplyReader::default(),
            reply: None,
            must_reconnect: false,
            is_managed: false,
        }
    }

    /// Registers the extension. Writes the request into `out` and returns its length.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn register(
        &mut self,
        registrant: &Registrant<'_>,
        out: &mut [u8],
    ) -> Result<usize, CommandError> {
        let phase = self.check(Input::Register)?;
        let length = Request::Register { registrant }.encode(&self.endpoint, out)?;
        self.is_managed = registrant.is_managed;
        Ok(self.commit(phase, length))
    }

    /// Subscribes to telemetry or logs. It is possible before the first [`next`](Self::next) only:
    /// the service takes no subscription after init.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn subscribe(
        &mut self,
        subscription: &Subscription<'_>,
        out: &mut [u8],
    ) -> Result<usize, CommandError> {
        let phase = self.check(Input::Subscribe)?;
        if self.is_managed && !subscription.is_for_managed_instances() {
            return Err(CommandError::NotOnManagedInstances);
        }
        let request = Request::Subscribe { identifier: &self.identifier, subscription };
        let length = request.encode(&self.endpoint, out)?;
        Ok(self.commit(phase, length))
    }

    /// Asks for the next event.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn next(&mut self, out: &mut [u8]) -> Result<usize, CommandError> {
        let phase = self.check(Input::Next)?;
        let request = Request::Next { identifier: &self.identifier };
        let length = request.encode(&self.endpoint, out)?;
        self.event_identifier.clear();
        Ok(self.commit(phase, length))
    }

    /// Reports that the extension could not start; it ends after the reply. Writes head and body
    /// into `out`, without a cause for X-Ray.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn fail_init(
        &mut self,
        report: &ErrorReport<'_>,
        out: &mut [u8],
    ) -> Result<usize, CommandError> {
        let phase = self.check(Input::FailInit)?;
        let request = Request::InitError { identifier: &self.identifier, report };
        let length = request.encode(&self.endpoint, out)?;
        Ok(self.commit(phase, length))
    }

    /// Reports that the extension failed; it ends after the reply. Otherwise like
    /// [`fail_init`](Self::fail_init).
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn fail(
        &mut self,
        report: &ErrorReport<'_>,
        out: &mut [u8],
    ) -> Result<usize, CommandError> {
        let phase = self.check(Input::Fail)?;
        let request = Request::ExitError { identifier: &self.identifier, report };
        let length = request.encode(&self.endpoint, out)?;
        Ok(self.commit(phase, length))
    }

    /// Ends the extension, in any phase. Unsent bytes are discarded.
    pub fn shut_down(&mut self) {
        self.enter(Input::ShutDown);
        self.forget_connection();
    }

    /// Reads the document of an accepted `next`. After SHUTDOWN there is no further event:
    /// [`next`](Self::next) is refused from then on.
    ///
    /// # Errors
    ///
    /// A [`JsonError`]: the event cannot be read. The extension may ask for the next one.
    pub fn read_event<'d>(
        &mut self,
        document: &'d [u8],
    ) -> Result<EnvironmentEvent<'d>, JsonError> {
        let event = EnvironmentEvent::parse(document)?;
        if let EnvironmentEvent::Shutdown(_) = event {
            self.enter(Input::ReadShutdown);
        }
        Ok(event)
    }

    /// Takes received bytes, one event at a time. Call it until it returns `None`.
    ///
    /// The cursor moves over consumed bytes. Bytes that are left are part of a head: present them
    /// again with more after them.
    ///
    /// # Errors
    ///
    /// A [`ReceiveError`]; discard this connection and the rest of `input`.
    /// [`ReceiveError::Unsolicited`] leaves the phase as it was, any other error makes it
    /// [`Phase::Over`].
    pub fn receive<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Event<'b>>, ReceiveError> {
        let result = self.receive_one(input);
        if let Err(error) = result {
            *input = &[];
            if error != ReceiveError::Unsolicited {
                self.enter(Input::Violation);
                self.forget_connection();
            }
            self.must_reconnect = true;
        }
        result
    }

    /// Records that the service closed the connection in order, which ends a body without length.
    ///
    /// Returns the event that this completes, if any. In any case, call
    /// [`on_disconnect`](Self::on_disconnect) next.
    pub fn end_of_stream(&mut self) -> Option<Event<'static>> {
        if !self.reader.end_of_stream() {
            return None;
        }
        match self.receive(&mut &[][..]) {
            Ok(Some(Event::Reply(reply))) => Some(Event::Reply(reply)),
            _ => None,
        }
    }

    /// Records that `length` of the unsent bytes were sent.
    pub fn sent(&mut self, length: usize) {
        self.sent = self.sent.saturating_add(length).min(self.length);
    }

    /// Records that the connection is gone, and says what to do next. Discard the bytes left from
    /// the lost connection.
    pub fn on_disconnect(&mut self) -> Recovery {
        let reply = self.reply;
        self.forget_connection();
        let (phase, recovery) = self.phase.after_loss(reply);
        self.phase = phase;
        recovery
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The identifier of this extension; empty until it is registered.
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    /// The identifier of the last event (`Lambda-Extension-Event-Identifier`; the documentation
    /// calls it `Lambda-Extension-Identifier`). It is empty if the event had none, like a shutdown.
    pub fn event_identifier(&self) -> &str {
        &self.event_identifier
    }

    /// The unsent bytes of `out`, the buffer of the last command.
    pub fn unsent<'a>(&self, out: &'a [u8]) -> &'a [u8] {
        out.get(self.sent..self.length).unwrap_or_default()
    }

    /// Whether this connection cannot carry another request. If so, drop it and call
    /// [`on_disconnect`](Self::on_disconnect); commands are refused until then.
    pub fn must_reconnect(&self) -> bool {
        self.must_reconnect && !self.reader.is_inside()
    }

    /// The address and the user agent.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn receive_one<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Event<'b>>, ReceiveError> {
        loop {
            // Nothing after the last reply of a connection counts (RFC 9112 section 9.6).
            if self.must_reconnect() || self.phase == Phase::Over {
                *input = &[];
                return Ok(None);
            }
            if input.is_empty() && self.reply.is_none() {
                return Ok(None);
            }
            let Some(call) = self.phase.awaits().filter(|_| self.sent > 0) else {
                return Err(ReceiveError::Unsolicited);
            };
            let mut fields = Fields::default();
            match self.reader.read(input, &mut |name, value| fields.note(name, value))? {
                None => return Ok(None),
                Some(ReplyPart::Interim) => {}
                Some(ReplyPart::Head(head)) => {
                    let reply = Reply::new(call, head.status);
                    self.must_reconnect |= !head.is_persistent;
                    self.take_identifiers(reply, &fields)?;
                    self.reply = Some(reply);
                }
                Some(ReplyPart::Body(piece)) => return Ok(Some(Event::Document(piece))),
                Some(ReplyPart::End) => {
                    let Some(reply) = self.reply.take() else { continue };
                    // If the reply came before the whole request was sent, the rest must not be
                    // sent.
                    self.must_reconnect |= self.sent < self.length;
                    self.length = self.sent;
                    self.enter(Input::Replied(reply));
                    return Ok(Some(Event::Reply(reply)));
                }
            }
        }
    }

    fn take_identifiers(&mut self, reply: Reply, fields: &Fields<'_>) -> Result<(), ReceiveError> {
        if !reply.is_accepted() {
            return Ok(());
        }
        match reply.call() {
            Call::Register => {
                let identifier = fields.identifier.and_then(identifier);
                self.identifier = identifier.ok_or(ReceiveError::UnusableIdentifier)?;
            }
            Call::Next => {
                let value = fields.event_identifier.or(fields.identifier);
                self.event_identifier = value.and_then(identifier).unwrap_or_default();
            }
            Call::Subscribe | Call::InitError | Call::ExitError => {}
        }
        Ok(())
    }

    /// The phase that a command leads to.
    fn check(&self, command: Input) -> Result<Phase, CommandError> {
        let phase = self.phase.after(command).ok_or(CommandError::WrongPhase(self.phase))?;
        if self.must_reconnect() {
            return Err(CommandError::MustReconnect);
        }
        Ok(phase)
    }

    fn enter(&mut self, input: Input) {
        self.phase = self.phase.after(input).unwrap_or(self.phase);
    }

    fn commit(&mut self, phase: Phase, length: usize) -> usize {
        self.phase = phase;
        self.length = length;
        self.sent = 0;
        length
    }

    fn forget_connection(&mut self) {
        self.length = 0;
        self.sent = 0;
        self.reader = ReplyReader::default();
        self.reply = None;
        self.must_reconnect = false;
    }
}

/// The header fields that an extension needs; of a repeated field, the first non-empty value.
#[derive(Default)]
struct Fields<'b> {
    identifier: Option<&'b [u8]>,
    event_identifier: Option<&'b [u8]>,
}

impl<'b> Fields<'b> {
    /// Returns whether it knows the name.
    fn note(&mut self, name: &[u8], value: &'b [u8]) -> bool {
        let is_name = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let place = if is_name(names::IDENTIFIER) {
            &mut self.identifier
        } else if is_name(names::EVENT_IDENTIFIER) {
            &mut self.event_identifier
        } else {
            return false;
        };
        if !value.is_empty() {
            place.get_or_insert(value);
        }
        true
    }
}

/// Accepts an identifier that can be sent back unchanged.
fn identifier(value: &[u8]) -> Option<String<MAX_EXTENSION_ID>> {
    let text = core::str::from_utf8(value).ok()?;
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    is_visible.then(|| String::try_from(text).ok()).flatten()
}
