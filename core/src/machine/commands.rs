//! Commands: each writes a request and makes its transition.

use super::phase::{Input, State};
use super::send_progress::SendProgress;
use super::{CommandError, Machine, Phase};
use crate::api::{ContentType, ErrorReport, Request, ResponseLength};
use crate::http::{self, ChunkPosition, Writer, put_chunk_prefix, put_last_chunk};

impl Machine {
    /// Asks for the next invocation.
    ///
    /// In [`Phase::Reporting`] the request follows the answer, best in the same write: `out` is
    /// then the part of the buffer after the head of that answer, and [`unsent`](Self::unsent)
    /// takes both. The environment may be frozen as soon as the service has read them.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn next(&mut self, out: &mut [u8]) -> Result<usize, CommandError> {
        // Encode before changing anything, so that a buffer that is too small leaves no trace.
        if self.phase() != Phase::Reporting {
            let state = self.state_for(Input::Next)?;
            let length = Request::Next.encode(&self.endpoint, out)?;
            return self.commit(state, SendProgress::new(length, 0));
        }
        let state = self.state_after(Input::Next)?;
        let length = Request::Next.encode(&self.endpoint, out)?;
        self.sending.append(length);
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
        self.commit(state, SendProgress::new(length, body_length))
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
        self.commit(state, SendProgress::new(length, 0))
    }

    /// Begins to answer the invocation with a streamed body: call [`chunk`](Self::chunk) as often
    /// as needed, then [`finish`](Self::finish) or [`finish_with_error`](Self::finish_with_error).
    ///
    /// With [`ContentType::HTTP_INTEGRATION`] the body begins with an
    /// [`HttpPrelude`](crate::api::HttpPrelude); any other body goes to the caller of the function
    /// as it is.
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
        self.commit(state, SendProgress::new(length, 0))
    }

    /// Sends the next `body_length` bytes of the stream. A length of 0 makes no chunk and needs no
    /// sending.
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
        self.commit(state, SendProgress::continued(length, body_length))
    }

    /// Ends the stream.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn finish(&mut self, out: &mut [u8]) -> Result<usize, CommandError> {
        self.finish_stream(None, out)
    }

    /// Ends the stream with an error, in trailers; the chunks sent before stay sent.
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
        self.commit(state, SendProgress::new(length, 0))
    }

    /// Tells the service that the environment may be snapshotted. The reply comes after the
    /// restore, on a connection that must then be replaced. Only for
    /// `AWS_LAMBDA_INITIALIZATION_TYPE=snap-start`.
    ///
    /// # Errors
    ///
    /// Any [`CommandError`]; nothing has changed then.
    pub fn restore_next(&mut self, out: &mut [u8]) -> Result<usize, CommandError> {
        let state = self.state_for(Input::RestoreNext)?;
        let length = Request::RestoreNext.encode(&self.endpoint, out)?;
        self.commit(state, SendProgress::new(length, 0))
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
        self.commit(state, SendProgress::new(length, 0))
    }

    /// Takes back the answer whose body is no longer available, as far as that is possible.
    ///
    /// | sent | then |
    /// |---|---|
    /// | no byte of the response, or of the head of a stream | the invocation is unanswered again: [`Phase::Invoking`] |
    /// | no byte of the chunk, or of the end of a stream | the stream is as it was before [`chunk`](Self::chunk) or [`finish`](Self::finish) |
    /// | a part of the response or of the chunk | nothing more is sent, and this connection [can carry nothing else](Self::must_reconnect): drop it; unless a reply has begun to arrive, the recovery is [`FateUnknown`](super::Recovery::FateUnknown) |
    /// | a whole response | the reply is awaited; the response is not [sent again](super::Recovery::SendAgain) |
    /// | anything else | nothing changes |
    ///
    /// Only bytes on this connection count, with one exception: if a first attempt was sent whole on
    /// a lost connection, nothing takes it back, and its fate is unknown. The body of a report, the
    /// end of a stream and a pipelined `next` are in the buffer that the commands write to, so what
    /// has begun of them is still sent.
    pub fn withdraw(&mut self) {
        let Some(state) = self.state.after_withdrawal(self.sending.written_last()) else { return };
        self.state = state;
        match state {
            // The rest of a pipelined `next` is still sent.
            State::Reporting { .. } => return,
            State::Withdrawn { .. } => self.must_reconnect = true,
            _ => {}
        }
        self.sending = SendProgress::default();
    }

    /// Ends the session, in any phase. Nothing is left to send.
    pub fn shut_down(&mut self) {
        self.enter(Input::ShutDown);
        self.sending = SendProgress::default();
        self.forget_reply();
    }

    fn finish_stream(
        &mut self,
        report: Option<&ErrorReport<'_>>,
        out: &mut [u8],
    ) -> Result<usize, CommandError> {
        let command = if report.is_some() { Input::FinishWithError } else { Input::Finish };
        let state = self.state_for(command)?;
        let mut writer = Writer::new(out);
        put_last_chunk(&mut writer, self.chunk_position());
        match report {
            Some(report) => report.put_trailers(&mut writer),
            None => http::Sink::put(&mut writer, b"\r\n"),
        }
        let length = writer.finish()?;
        self.commit(state, SendProgress::continued(length, 0))
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

    fn commit(&mut self, state: State, sending: SendProgress) -> Result<usize, CommandError> {
        self.state = state;
        self.sending = sending;
        self.is_reply_begun = false;
        Ok(sending.head_len())
    }
}
