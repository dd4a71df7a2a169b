use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use hyper::header::HeaderValue;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::answer::{Answer, AnswerBody, InvokeError, Piece};
use crate::event::Event;
use crate::invoke_api;
use crate::log::Log;
use crate::pool::Pool;
use crate::process::obstacle;
use crate::settings::Settings;

/// A local Lambda that runs one [`Function`](crate::Function).
///
/// It listens for callers over HTTP at [`url`](Self::url), and can be [invoked](Self::invoke) by
/// any number of threads. Its methods block, and may be called on any thread.
///
/// The function's processes end when the lab is dropped or [stopped](Self::stop), and also if this
/// program is killed. Only orphans that have left the function's process group live on: daemons, as
/// `setsid` starts them, whose parent has ended. The lab does not adopt them, as it does not own
/// the process of this program. In the programs of [`command`](crate::command) they end, too.
#[derive(Debug)]
pub struct Lab {
    pool: Arc<Pool>,
    address: SocketAddr,
    runtime_api: SocketAddr,
    invoke_api: InvokeApi,
    log: Log,
    runtime: Option<Runtime>,
}

#[derive(Debug)]
struct InvokeApi {
    close: watch::Sender<bool>,
    /// `None` once it has ended.
    server: Mutex<Option<JoinHandle<()>>>,
}

/// Why a lab cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is out of range, or the program does not exist; the text says which.
    Setting(String),
    /// The system refused a resource, for instance a port; the text says which.
    System(String),
}

impl Lab {
    pub(crate) fn start(settings: Settings) -> Result<Self, StartError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("lambda-lab")
            .enable_all()
            .build()
            .map_err(|error| {
                let remedy = obstacle::remedy(&error).unwrap_or_default();
                StartError::System(format!("cannot start the threads of the lab: {error}{remedy}"))
            })?;
        let (listen, log) = (settings.listen, settings.log.clone());
        let starting = async move {
            let listener = TcpListener::bind(listen).await.map_err(|error| {
                let remedy = obstacle::listening(&error);
                StartError::System(format!("cannot listen on {listen}: {error}{remedy}"))
            })?;
            let system = |error: io::Error| StartError::System(error.to_string());
            let address = listener.local_addr().map_err(system)?;
            let settings = Arc::new(settings);
            let pool = Pool::new(Arc::clone(&settings)).await.map_err(system)?;
            for notice in settings.notices(address, pool.runtime_api()) {
                settings.log.lines(&[&format_args!("lambda-lab: {notice}")]);
            }
            let (close, closing) = watch::channel(false);
            let invoke_api = tokio::spawn(invoke_api::serve(listener, Arc::clone(&pool), closing));
            let server = Mutex::new(Some(invoke_api));
            Ok::<_, StartError>((pool, address, InvokeApi { close, server }))
        };
        // `Runtime::block_on` panics on a thread of another tokio runtime, which may be the
        // caller's.
        let started = pollster::block_on(runtime.spawn(starting));
        let result = started.unwrap_or_else(|error| Err(StartError::System(error.to_string())));
        match result {
            Ok((pool, address, invoke_api)) => {
                let runtime_api = reachable(pool.runtime_api());
                Ok(Self { pool, address, runtime_api, invoke_api, log, runtime: Some(runtime) })
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// The address at which the lab listens for callers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL to post events to. A lab that listens on all addresses is reached at the loopback
    /// address.
    pub fn url(&self) -> String {
        format!("http://{}{}", reachable(self.address), invoke_api::PATH)
    }

    /// The address of the first environment's Runtime API, as `host:port`, at which it is reached
    /// from this machine.
    pub fn runtime_api(&self) -> String {
        self.runtime_api.to_string()
    }

    /// The time that functions and callers see: the system's, plus all
    /// [pretended freezes](crate::Function::freeze_for) so far.
    pub fn now(&self) -> SystemTime {
        self.pool.clock().now()
    }

    /// Where the lab's lines go.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Invokes the function and waits for its whole answer.
    ///
    /// # Errors
    ///
    /// An [`InvokeError`] if the function failed, even in the middle of a streamed answer, or could
    /// not be invoked.
    pub fn invoke(&self, event: impl Into<Event>) -> Result<Answer, InvokeError> {
        let mut body = Vec::new();
        let mut answer = self.invoke_streaming(event, |piece| body.extend_from_slice(piece))?;
        answer.body = body;
        Ok(answer)
    }

    /// Like [`invoke`](Self::invoke), but passes the pieces of the answer to `on_piece` as they
    /// arrive. The returned [`Answer`] has an empty body. An answer that is not streamed is one
    /// piece.
    ///
    /// # Errors
    ///
    /// As [`invoke`](Self::invoke).
    pub fn invoke_streaming(
        &self,
        event: impl Into<Event>,
        on_piece: impl FnMut(&[u8]),
    ) -> Result<Answer, InvokeError> {
        pollster::block_on(invoke(&self.pool, event.into(), on_piece, Until::Answer))
    }

    /// Like [`invoke_streaming`](Self::invoke_streaming), but returns only when the function has
    /// also done the work that follows its answer.
    ///
    /// # Errors
    ///
    /// As [`invoke`](Self::invoke).
    pub fn invoke_to_the_end(
        &self,
        event: impl Into<Event>,
        on_piece: impl FnMut(&[u8]),
    ) -> Result<Answer, InvokeError> {
        pollster::block_on(invoke(&self.pool, event.into(), on_piece, Until::End))
    }

    /// Ends the function's processes, and returns when they have ended and the lab no longer
    /// listens. Callers that still wait for an answer get [`InvokeError::Stopped`].
    ///
    /// A runtime with an extension gets SIGTERM, and may still answer the invocation that it has in
    /// flight. If it does not end within its part of the [shutdown
    /// timeout](crate::Function::shutdown_timeout), it is killed. Other runtimes are killed
    /// immediately. [External extensions](crate::Function::extension) end after the runtime. If a
    /// process does not end within 2 s after SIGKILL, a log line names it, and this returns.
    pub fn stop(&self) {
        self.pool.stop();
        self.invoke_api.close.send_replace(true);
        let mut server = self.invoke_api.server.lock().unwrap_or_else(|it| it.into_inner());
        if let Some(server) = server.take() {
            // Fails only if a task panicked, which would be a bug.
            let _ = pollster::block_on(server);
            self.log.flush();
        }
    }
}

/// The address at which a program of this machine reaches one that listens on this address.
pub(crate) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Answer,
    End,
}

async fn invoke(
    pool: &Arc<Pool>,
    event: Event,
    mut on_piece: impl FnMut(&[u8]),
    until: Until,
) -> Result<Answer, InvokeError> {
    let invoked = pool.invoke(event.into()).await?;
    let result = match invoked.answer {
        Err(failure) => Err(failure),
        Ok(answered) => {
            let answer = Answer {
                request_id: answered.request_id,
                content_type: answered.content_type.as_ref().map(text),
                body: Vec::new(),
            };
            match answered.body {
                AnswerBody::Whole(body) => {
                    on_piece(&body);
                    Ok(answer)
                }
                AnswerBody::Stream(mut pieces) => loop {
                    match poll_fn(|context| pieces.poll_next(context)).await {
                        Piece::Data(piece) => on_piece(&piece),
                        Piece::End => break Ok(answer),
                        Piece::Failed(failure) => break Err(failure),
                    }
                },
            }
        }
    };
    if until == Until::End {
        // Fails if the lab was stopped, which ends the invocation too.
        let _ = invoked.end.await;
    }
    result.map_err(InvokeError::Function)
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop();
        if let Some(runtime) = self.runtime.take() {
            // Waiting would panic on a thread of another tokio runtime, and is not needed: the
            // processes have ended.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Setting(reason) | Self::System(reason)) = self;
        f.write_str(reason)
    }
}

impl std::error::Error for StartError {}
