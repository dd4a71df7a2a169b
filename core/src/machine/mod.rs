//! The machine: one value per runtime worker, driven by whoever owns the socket.
//!
//! Its methods fall in four kinds.
//!
//! | kind | methods |
//! |---|---|
//! | facts | [`phase`](Machine::phase), [`invocation`](Machine::invocation), [`awaits`](Machine::awaits), [`unsent`](Machine::unsent), [`announced`](Machine::announced), [`must_reconnect`](Machine::must_reconnect) |
//! | what the network says | [`receive`](Machine::receive), [`end_of_stream`](Machine::end_of_stream), [`sent`](Machine::sent), [`on_disconnect`](Machine::on_disconnect) |
//! | what the application says | [`next`](Machine::next), [`respond`](Machine::respond), [`fail`](Machine::fail), [`stream`](Machine::stream) and what follows it, [`fail_init`](Machine::fail_init), [`restore_next`](Machine::restore_next), [`fail_restore`](Machine::fail_restore), [`shut_down`](Machine::shut_down) |
//! | what the caller must do | send the bytes that a command has written; what [`Recovery`] and [`Reply::then`](crate::Reply::then) say |
//!
//! A command writes the head of a request into a buffer of the caller's and returns its length; the
//! body stays where it is, and [`unsent`](Machine::unsent) puts both in order for a vectored write:
//!
//! ```
//! use lambda_proto::{ContentType, Endpoint, Event, Machine, Phase};
//!
//! let mut machine = Machine::new(Endpoint::parse("127.0.0.1:9001")?);
//! let mut out = [0; 512];
//!
//! // Ask for the first event.
//! assert_eq!(machine.phase(), Phase::Init);
//! let length = machine.next(&mut out)?;
//! assert!(out.starts_with(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n"));
//! machine.sent(length);
//! assert_eq!(machine.phase(), Phase::Ready);
//!
//! // It arrives, in however many pieces.
//! let mut input: &[u8] =
//!     b"HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: 7b\r\nContent-Length: 5\r\n\r\n\"Ada\"";
//! let Some(Event::Invocation(head)) = machine.receive(&mut input)? else { panic!() };
//! assert_eq!(head.request_id(), "7b");
//! assert_eq!(machine.receive(&mut input)?, Some(Event::Body(b"\"Ada\"")));
//! assert_eq!(machine.receive(&mut input)?, Some(Event::InvocationEnd));
//! assert_eq!(machine.phase(), Phase::Invoking);
//!
//! // Answer it. The body is never copied.
//! let body = b"\"Hello, Ada!\"";
//! let length = machine.respond(Some(ContentType::JSON), body.len(), &mut out)?;
//! assert_eq!(machine.phase(), Phase::Reporting);
//! while machine.unsent_len() > 0 {
//!     let [head, body, _] = machine.unsent(&out[..length], body);
//!     let written = head.len() + body.len(); // what a socket took of them
//!     machine.sent(written);
//! }
//!
//! // The service has it. The environment still runs: this is where work after the response belongs.
//! let mut input: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";
//! let Some(Event::Reply(reply)) = machine.receive(&mut input)? else { panic!() };
//! assert!(reply.is_accepted());
//! assert_eq!(machine.phase(), Phase::Ready);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod errors;
mod outbox;
pub mod phase;

pub use errors::{CommandError, ReceiveError};
use outbox::Outbox;
use phase::{Extent, Input, Loss, State};
pub use phase::{Phase, Recovery};

use crate::api::{
    self, Call, Concurrency, ContentType, Endpoint, ErrorReport, HeadIndex, InvocationHead,
    InvocationIds, Reply, Request, ResponseLength, Then,
};
use crate::http::{
    self, BodyDecoder, ChunkPosition, HeadScanner, Writer, parse_scanned_head, put_chunk_prefix,
    put_last_chunk,
};

/// What has arrived. Slices end where the cursor of [`Machine::receive`] stands.
#[derive(Clone, Copy, Debug)]
pub enum Event<'b> {
    /// The head of an invocation. Its body follows.
    Invocation(InvocationHead<'b>),
    /// A piece of the event, never empty.
    Body(&'b [u8]),
    /// The event is complete: the phase is now [`Phase::Invoking`].
    InvocationEnd,
    /// A piece of the document in which the service says why it refuses; the reply follows.
    /// [`ServiceError`](crate::api::ServiceError) reads the whole.
    Detail(&'b [u8]),
    /// The answer to anything but a `next` that brought an event.
    Reply(Reply),
}

impl PartialEq for Event<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Invocation(one), Self::Invocation(two)) => one.as_bytes() == two.as_bytes(),
            (Self::Body(one), Self::Body(two)) => one == two,
            (Self::InvocationEnd, Self::InvocationEnd) => true,
            (Self::Detail(one), Self::Detail(two)) => one == two,
            (Self::Reply(one), Self::Reply(two)) => one == two,
            _ => false,
        }
    }
}

/// The protocol, from the first `next` to the end of the process.
///
/// It holds no buffer, no socket and no clock, and may be stored, moved and cloned. See the
/// [module](self) for a walk through it and [`phase`] for its transitions.
#[derive(Clone, Debug)]
pub struct Machine {
    endpoint: Endpoint,
    concurrency: Concurrency,
    state: State,
    ids: InvocationIds,
    outbox: Outbox,
    scanner: HeadScanner,
    reading: Reading,
    must_reconnect: bool,
    /// Something of an answer has arrived since the last command.
    is_answer_begun: bool,
    losses: u32,
}

/// What the next bytes of the service are part of.
#[derive(Clone, Copy, Debug)]
enum Reading {
    Head,
    Event(BodyDecoder),
    Reply(Reply, BodyDecoder),
}

impl Machine {
    /// A machine that has not asked for anything yet, the only one of its environment.
    ///
    /// One of several must be told so by [`with_concurrency`](Self::with_concurrency): it may not send
    /// an answer twice where the service could take it for another invocation's.
    pub fn new(endpoint: Endpoint) -> Self {
        Self::with_concurrency(endpoint, Concurrency::Single)
    }

    /// A machine that is one of several in its environment, or the only one.
    pub fn with_concurrency(endpoint: Endpoint, concurrency: Concurrency) -> Self {
        Self {
            endpoint,
            concurrency,
            state: State::Init,
            ids: InvocationIds::default(),
            outbox: Outbox::default(),
            scanner: HeadScanner::default(),
            reading: Reading::Head,
            must_reconnect: false,
            is_answer_begun: false,
            losses: 0,
        }
    }

    /// Asks for the next invocation.
    ///
    /// In [`Phase::Reporting`] the request goes out behind the answer, best in the same write: `out` is
    /// then the part of the buffer behind the head of that answer, and [`unsent`](Self::unsent) takes
    /// both. The environment may be frozen as soon as the service has read them.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn next(&mut self, out: &mut [u8]) -> Result<usize, CommandError> {
        if self.phase() != Phase::Reporting {
            let state = self.state_for(Input::Next)?;
            let length = Request::Next.encode(&self.endpoint, out)?;
            return self.commit(state, Outbox::new(length, 0));
        }
        let state = self.state_after(Input::Next)?;
        let length = Request::Next.encode(&self.endpoint, out)?;
        self.outbox.append(length);
        self.state = state;
        Ok(length)
    }

    /// Answers the invocation with a body of `body_length` bytes, which the service buffers.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn respond(
        &mut self,
        content_type: Option<ContentType<'_>>,
        body_length: usize,
        out: &mut [u8],
    ) -> Result<usize, CommandError> {
        let state = self.state_for(Input::Respond)?;
        let length = ResponseLength::Buffered(body_length as u64);
        let request = Request::Response { ids: &self.ids, content_type, length };
        let length = request.encode(&self.endpoint, out)?;
        self.commit(state, Outbox::new(length, body_length))
    }

    /// Reports that the invocation failed. Head and body are both written into `out`.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn fail(
        &mut self,
        report: &ErrorReport<'_>,
        out: &mut [u8],
    ) -> Result<usize, CommandError> {
        let state = self.state_for(Input::Fail)?;
        let request = Request::Error { ids: &self.ids, report: *report };
        let length = request.encode(&self.endpoint, out)?;
        self.commit(state, Outbox::new(length, 0))
    }

    /// Begins to answer the invocation with a body that is streamed: [`chunk`](Self::chunk) as often
    /// as needed, then [`finish`](Self::finish) or [`finish_with_error`](Self::finish_with_error).
    ///
    /// With [`ContentType::HTTP_INTEGRATION`] the body begins with an
    /// [`HttpPrelude`](crate::HttpPrelude); any other content type goes to the caller as it is.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn stream(
        &mut self,
        content_type: ContentType<'_>,
        out: &mut [u8],
    ) -> Result<usize, CommandError> {
        let state = self.state_for(Input::Stream)?;
        let content_type = Some(content_type);
        let length = ResponseLength::Streamed;
        let request = Request::Response { ids: &self.ids, content_type, length };
        let length = request.encode(&self.endpoint, out)?;
        self.commit(state, Outbox::new(length, 0))
    }

    /// Sends the next `body_length` bytes of the stream; none are no chunk and need no sending.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn chunk(&mut self, body_length: usize, out: &mut [u8]) -> Result<usize, CommandError> {
        let state = self.state_for(Input::Chunk)?;
        if body_length == 0 {
            return Ok(0);
        }
        let mut writer = Writer::new(out);
        put_chunk_prefix(&mut writer, self.chunk_position(), body_length);
        let length = writer.finish()?;
        self.commit(state, Outbox::new(length, body_length))
    }

    /// Ends the stream.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn finish(&mut self, out: &mut [u8]) -> Result<usize, CommandError> {
        self.finish_stream(None, out)
    }

    /// Ends the stream with an error, in trailers: what has been streamed stays sent.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn finish_with_error(
        &mut self,
        report: &ErrorReport<'_>,
        out: &mut [u8],
    ) -> Result<usize, CommandError> {
        self.finish_stream(Some(report), out)
    }

    /// Reports that the function could not start; the process exits after the reply.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn fail_init(
        &mut self,
        report: &ErrorReport<'_>,
        out: &mut [u8],
    ) -> Result<usize, CommandError> {
        let state = self.state_for(Input::FailInit)?;
        let length = Request::InitError { report: *report }.encode(&self.endpoint, out)?;
        self.commit(state, Outbox::new(length, 0))
    }

    /// Says that the environment may be snapshotted now; the reply comes after the restore, on a
    /// connection that is then to be replaced. Only for `AWS_LAMBDA_INITIALIZATION_TYPE=snap-start`.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn restore_next(&mut self, out: &mut [u8]) -> Result<usize, CommandError> {
        let state = self.state_for(Input::RestoreNext)?;
        let length = Request::RestoreNext.encode(&self.endpoint, out)?;
        self.commit(state, Outbox::new(length, 0))
    }

    /// Reports that the function could not resume after the restore; the process exits after the
    /// reply.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn fail_restore(
        &mut self,
        report: &ErrorReport<'_>,
        out: &mut [u8],
    ) -> Result<usize, CommandError> {
        let state = self.state_for(Input::FailRestore)?;
        let length = Request::RestoreError { report: *report }.encode(&self.endpoint, out)?;
        self.commit(state, Outbox::new(length, 0))
    }

    /// Ends the conversation, in any phase. Nothing is left to send.
    pub fn shut_down(&mut self) {
        self.enter(Input::ShutDown);
        self.outbox = Outbox::default();
    }

    /// Takes what has arrived, one event at a time. Call it until it returns `None`; an event may
    /// come although `input` is empty.
    ///
    /// The cursor moves over what is consumed. What is left, a part of a head, must be presented
    /// again with more bytes behind it; everything else is consumed as it comes, so any slice may be
    /// fed and a large body read straight into its final place.
    ///
    /// In [`Phase::ShuttingDown`], with no reply outstanding, everything is consumed and ignored.
    ///
    /// # Errors
    ///
    /// A [`ReceiveError`] if these are not the answers that were asked for. This connection is of no
    /// use then, and what is left of `input` is void. Mostly the conversation is over, too, and the
    /// phase [`Phase::ShuttingDown`]; in any other phase it goes on as after a lost connection:
    /// [`must_reconnect`](Self::must_reconnect) holds.
    pub fn receive<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Event<'b>>, ReceiveError> {
        let result = self.receive_one(input);
        if let Err(error) = result {
            *input = &[];
            self.must_reconnect = true;
            self.scanner = HeadScanner::default();
            self.reading = Reading::Head;
            if error != ReceiveError::Unsolicited {
                self.enter(Input::Violation);
            }
        }
        result
    }

    /// Tells that the service has closed the connection in order, which ends a body without length.
    ///
    /// Returns the event that this completes, if it does. Whatever it returns,
    /// [`on_disconnect`](Self::on_disconnect) is due next. Not to be called when the connection broke
    /// with an error.
    pub fn end_of_stream(&mut self) -> Option<Event<'static>> {
        let (Reading::Event(decoder) | Reading::Reply(_, decoder)) = &mut self.reading else {
            return None;
        };
        if !decoder.end_of_stream() {
            return None;
        }
        match self.receive(&mut &[][..]) {
            Ok(Some(Event::InvocationEnd)) => Some(Event::InvocationEnd),
            Ok(Some(Event::Reply(reply))) => Some(Event::Reply(reply)),
            _ => None,
        }
    }

    /// Tells that so many of the unsent bytes were sent.
    pub fn sent(&mut self, length: usize) {
        self.outbox.sent(length);
    }

    /// Tells that the connection is gone, and says what follows. Commands after it are for the next
    /// connection, and so is what is received: throw away what the lost one has left behind.
    ///
    /// Due after the connection ended in whatever way, and when
    /// [`must_reconnect`](Self::must_reconnect) says so. The table is [here](phase).
    pub fn on_disconnect(&mut self) -> Recovery {
        let is_told_apart =
            self.concurrency == Concurrency::Single || self.ids.attempt_id().is_some();
        let loss = Loss {
            sent: self.outbox.extent(),
            is_reply_begun: self.is_answer_begun,
            reply: match self.reading {
                Reading::Reply(reply, _) => Some(reply),
                _ => None,
            },
            is_told_apart,
        };
        // A connection that the service gave up behind a whole answer is no loss.
        if !self.must_reconnect() {
            self.losses = self.losses.saturating_add(1);
        }
        let (state, recovery) = self.state.after_loss(loss);
        self.state = state;
        match recovery {
            Recovery::SendAgain => self.outbox.rewind(),
            _ => self.outbox = Outbox::default(),
        }
        self.scanner = HeadScanner::default();
        self.reading = Reading::Head;
        self.must_reconnect = false;
        self.is_answer_begun = false;
        recovery
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        self.state.phase()
    }

    /// The invocation that is arriving, in hand, or being answered.
    pub fn invocation(&self) -> Option<&InvocationIds> {
        self.state.has_invocation().then_some(&self.ids)
    }

    /// The invocation in hand or, if there is none, the one before: empty before the first.
    #[cfg(feature = "embedded-io")]
    pub(crate) fn latest_ids(&self) -> &InvocationIds {
        &self.ids
    }

    /// Whether the answer to the invocation in hand is being streamed.
    pub fn is_streaming(&self) -> bool {
        self.state.is_streaming()
    }

    /// Whether the next invocation has been asked for.
    pub fn is_asked(&self) -> bool {
        self.state.is_asked()
    }

    /// The call whose answer comes next, if any is outstanding.
    pub fn awaits(&self) -> Option<Call> {
        self.state.awaits()
    }

    /// The bytes that are to be sent, in order: what is left of the head, of the body, and of a
    /// pipelined `next`.
    ///
    /// `head` is what the commands have written, `body` the whole body of the answer or the chunk.
    /// Slices that are shorter than was said give less, never a panic.
    pub fn unsent<'a>(&self, head: &'a [u8], body: &'a [u8]) -> [&'a [u8]; 3] {
        self.outbox.unsent(head, body)
    }

    /// How many bytes are to be sent.
    pub fn unsent_len(&self) -> usize {
        self.outbox.unsent_len()
    }

    /// Whether a part of an answer has arrived whose rest is missing.
    pub fn is_inside_answer(&self) -> bool {
        self.scanner.is_inside() || !matches!(self.reading, Reading::Head)
    }

    /// How often in a row a connection was lost, or the service asked for a pause, without a whole
    /// answer in between.
    ///
    /// From 2 on, wait before connecting, longer each time: some services accept and hang up at once
    /// (AWS's emulator does, before it is first invoked).
    pub fn losses(&self) -> u32 {
        self.losses
    }

    /// Bytes of the event that the service has announced and that follow without framing between
    /// them. Useful for reading a large event into place; no reason to reserve so much at once.
    pub fn announced(&self) -> u64 {
        match &self.reading {
            Reading::Event(decoder) => decoder.announced(),
            _ => 0,
        }
    }

    /// Whether this connection can carry no further request: the service closes it, has answered
    /// before it had all of a request, or has sent what is no answer; or it was used for a restore.
    ///
    /// Drop it and call [`on_disconnect`](Self::on_disconnect); commands are refused until then.
    pub fn must_reconnect(&self) -> bool {
        self.must_reconnect && !self.is_inside_answer()
    }

    /// The address and the user agent.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn finish_stream(
        &mut self,
        report: Option<&ErrorReport<'_>>,
        out: &mut [u8],
    ) -> Result<usize, CommandError> {
        let state = self.state_for(Input::Finish)?;
        let mut writer = Writer::new(out);
        put_last_chunk(&mut writer, self.chunk_position());
        match report {
            Some(report) => api::put_error_trailers(&mut writer, report),
            None => http::Sink::put(&mut writer, b"\r\n"),
        }
        let length = writer.finish()?;
        self.commit(state, Outbox::new(length, 0))
    }

    fn chunk_position(&self) -> ChunkPosition {
        match self.state.is_before_first_chunk() {
            true => ChunkPosition::First,
            false => ChunkPosition::Later,
        }
    }

    /// The state after a command that begins a new write.
    fn state_for(&self, command: Input) -> Result<State, CommandError> {
        let state = self.state_after(command)?;
        match self.unsent_len() {
            0 => Ok(state),
            length => Err(CommandError::Unsent { length }),
        }
    }

    fn state_after(&self, command: Input) -> Result<State, CommandError> {
        let state = self.state.after(command).ok_or(CommandError::WrongPhase(self.phase()))?;
        if self.must_reconnect() {
            return Err(CommandError::MustReconnect);
        }
        Ok(state)
    }

    fn commit(&mut self, state: State, outbox: Outbox) -> Result<usize, CommandError> {
        self.state = state;
        self.outbox = outbox;
        self.is_answer_begun = false;
        Ok(outbox.head_len())
    }

    /// Takes a transition that what has arrived makes.
    fn enter(&mut self, input: Input) {
        if let Some(state) = self.state.after(input) {
            self.state = state;
        }
    }

    fn receive_one<'b>(&mut self, input: &mut &'b [u8]) -> Result<Option<Event<'b>>, ReceiveError> {
        loop {
            // Behind the last answer of a connection nothing counts (RFC 9112 section 9.6).
            if self.must_reconnect() || (self.phase(), self.awaits()) == (Phase::ShuttingDown, None)
            {
                *input = &[];
                return Ok(None);
            }
            match &mut self.reading {
                Reading::Head => {
                    if input.is_empty() {
                        return Ok(None);
                    }
                    let call = self.state.awaits().ok_or(ReceiveError::Unsolicited)?;
                    if self.outbox.extent() == Extent::Nothing {
                        return Err(ReceiveError::Unsolicited);
                    }
                    self.is_answer_begun = true;
                    let Some(end) = self.scanner.find_end(input)? else { return Ok(None) };
                    let (head, rest) = input.split_at(end);
                    *input = rest;
                    if let Some(invocation) = self.read_head(call, head)? {
                        return Ok(Some(Event::Invocation(invocation)));
                    }
                }
                Reading::Event(decoder) => {
                    if let Some(piece) = decoder.decode(input)? {
                        return Ok(Some(Event::Body(piece)));
                    }
                    if !decoder.is_complete() {
                        return Ok(None);
                    }
                    self.end_of_answer(Input::EventEnd);
                    self.losses = 0;
                    return Ok(Some(Event::InvocationEnd));
                }
                Reading::Reply(reply, decoder) => {
                    let reply = *reply;
                    match decoder.decode(input)? {
                        Some(piece) if !reply.is_accepted() => {
                            return Ok(Some(Event::Detail(piece)));
                        }
                        Some(_) => {}
                        None if !decoder.is_complete() => return Ok(None),
                        None => {
                            self.end_of_answer(Input::Replied(reply));
                            self.losses = match reply.then() {
                                // Together with the disconnect that follows: a pause.
                                Then::ContinueAfterPause => self.losses.max(1),
                                Then::Continue | Then::Exit => 0,
                            };
                            return Ok(Some(Event::Reply(reply)));
                        }
                    }
                }
            }
        }
    }

    /// Reads one whole head; `None` if it does not begin an event.
    fn read_head<'b>(
        &mut self,
        call: Call,
        head: &'b [u8],
    ) -> Result<Option<InvocationHead<'b>>, ReceiveError> {
        let (index, response) = match call {
            Call::Next => HeadIndex::parse_scanned(head)?,
            _ => (HeadIndex::default(), parse_scanned_head(head, |_, _| {})?),
        };
        match response.status {
            // An upgrade was never asked for; other interim answers only announce the final one.
            101 => return Err(ReceiveError::SwitchedProtocols),
            100..=199 => return Ok(None),
            _ => {}
        }
        self.must_reconnect |= !response.is_persistent || call == Call::RestoreNext;
        let decoder = BodyDecoder::new(response.body);
        if call == Call::Next && matches!(response.status, 200..=203 | 205..=299) {
            let invocation = index.on(head);
            invocation.check().map_err(|_| ReceiveError::UnusableRequestId)?;
            self.ids.set(&invocation);
            self.reading = Reading::Event(decoder);
            self.enter(Input::EventHead);
            return Ok(Some(invocation));
        }
        let reply = Reply::new(call, response.status)
            .to_second_copy(self.state.is_behind_whole_copy())
            .under(self.concurrency);
        self.reading = Reading::Reply(reply, decoder);
        Ok(None)
    }

    fn end_of_answer(&mut self, input: Input) {
        // Answered before all of the request was there: its rest has no place on this connection.
        let is_cut = matches!(self.outbox.extent(), Extent::Nothing | Extent::Part);
        if is_cut || self.is_streaming() {
            self.must_reconnect = true;
            self.outbox = Outbox::default();
        }
        self.reading = Reading::Head;
        self.enter(input);
    }
}
