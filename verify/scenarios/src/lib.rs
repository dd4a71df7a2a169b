//! What a runtime does when its service does this: written once, run over every transport.
//!
//! A scenario plays the service ([`Service`]) for a [`Transport`], and says as data what the handler does
//! ([`Act`]). The suite is `tests/runtimes`; what is about the API of one transport is tested there.
#![forbid(unsafe_code)]

mod act;
mod on_memory;
mod on_mio;
mod on_std;

use std::sync::Arc;
use std::time::Duration;

pub use act::{Act, After, Ending, Head, Response, Seen, Streamed};
pub use lambda_proto::api::{ContentType, Outcome as ServiceOutcome};
pub use lambda_proto::client::Receipt;
pub use lambda_proto_host::{Error, Failure};
pub use lambda_proto_service::{
    Connection, Event, Gate, Lines, MOMENT, Outcome, PATIENCE, Place, Request, Service, TAKEN,
};
pub use on_memory::Memory;
pub use on_mio::Mio;
pub use on_std::Std;

/// A runtime on a thread of its own.
pub type Running = lambda_proto_service::Running<Error>;

/// What is called for every invocation. It may block; with several slots it runs on several threads.
pub type Handler = Arc<dyn Fn(&Seen<'_>) -> Act + Send + Sync>;

/// What a runtime is told; `None` leaves it at its own default.
#[derive(Clone, Copy, Default)]
pub struct Settings {
    /// How many invocations run at once.
    pub slots: Option<usize>,
    /// The largest event in bytes.
    pub max_event: Option<usize>,
    /// How long to try without any connection.
    pub patience: Option<Duration>,
    /// Whether invocations are pulled, where handlers that are called must answer. Only then may the
    /// handler [drop](Act::Drop) its responder.
    pub is_pulling: bool,
}

/// A runtime that the scenarios run over.
pub trait Transport {
    /// A service of the kind that it connects to.
    fn service(&self) -> Service;

    /// Starts it.
    fn start(&self, place: &Place, settings: Settings, handler: Handler) -> Running;
}

impl dyn Transport + '_ {
    /// Runs it with one slot.
    pub fn run<F>(&self, service: &Service, handler: F) -> Running
    where
        F: Fn(&Seen<'_>) -> Act + Send + Sync + 'static,
    {
        self.run_with(Settings::default(), service.place(), handler)
    }

    /// Runs it with so many slots.
    pub fn run_slots<F>(&self, slots: usize, service: &Service, handler: F) -> Running
    where
        F: Fn(&Seen<'_>) -> Act + Send + Sync + 'static,
    {
        let settings = Settings { slots: Some(slots), ..Settings::default() };
        self.run_with(settings, service.place(), handler)
    }

    /// Runs it with these settings.
    pub fn run_with<F>(&self, settings: Settings, place: &Place, handler: F) -> Running
    where
        F: Fn(&Seen<'_>) -> Act + Send + Sync + 'static,
    {
        self.start(place, settings, Arc::new(handler))
    }

    /// Runs one invocation whose service takes every answer, and sees to it that the loop goes on.
    #[track_caller]
    pub fn invoke_once<F>(&self, event: Event, handler: F) -> Outcome
    where
        F: Fn(&Seen<'_>) -> Act + Send + Sync + 'static,
    {
        let service = self.service();
        let run = self.run(&service, handler);
        Outcome::of(&service, run, event)
    }
}

/// Makes a test of each scenario and runtime, in modules that are named after the runtimes.
///
/// A scenario is a function of the same name that takes a `&dyn Transport`. One that is in no list is
/// dead code, which the compiler tells. Files that use this say `::std` for the standard library.
///
/// | list | runtimes |
/// |---|---|
/// | `on_every_runtime` | all |
/// | `on_sockets` | those that connect by an address |
/// | `where_answering_blocks` | those whose handlers learn what became of an answer, and then return |
#[macro_export]
macro_rules! scenarios {
    (
        $(on_every_runtime { $($every:ident,)* })?
        $(on_sockets { $($sockets:ident,)* })?
        $(where_answering_blocks { $($blocking:ident,)* })?
    ) => {
        $crate::scenarios!(@ std, Std, $($($every)*)? $($($sockets)*)? $($($blocking)*)?);
        $crate::scenarios!(@ mio, Mio, $($($every)*)? $($($sockets)*)?);
        $crate::scenarios!(@ memory, Memory, $($($every)*)? $($($blocking)*)?);
    };
    (@ $module:ident, $transport:ident, $($scenario:ident)*) => {
        mod $module {
            $(
                #[test]
                fn $scenario() {
                    super::$scenario(&$crate::$transport);
                }
            )*
        }
    };
}
