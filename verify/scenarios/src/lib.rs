//! How a runtime reacts to its service: scenarios that are written once and run over every
//! transport.
//!
//! A scenario plays the service ([`Service`]) for a [`Transport`], and gives the actions of the
//! handler as data ([`Act`]). The suite is `tests/runtimes`. Tests of the API of one transport are
//! in the crate of that transport.
#![forbid(unsafe_code)]

mod act;
mod on_memory;
mod on_mio;
mod on_std;
mod on_tokio;
mod on_tokio_parallel;

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
pub use on_tokio::Tokio;
pub use on_tokio_parallel::TokioParallel;

/// A runtime on its own thread.
pub type Running = lambda_proto_service::Running<Error>;

/// Called for every invocation. It may block; with several slots it runs on several threads.
pub type Handler = Arc<dyn Fn(&Seen<'_>) -> Act + Send + Sync>;

/// The settings of a runtime; `None` leaves the default.
#[derive(Clone, Copy, Default)]
pub struct Settings {
    /// How many invocations run at the same time.
    pub slots: Option<usize>,
    /// The largest event in bytes.
    pub max_event: Option<usize>,
    /// How long to keep trying without any connection.
    pub patience: Option<Duration>,
    /// Whether invocations are pulled, on transports whose handlers have to answer. On those, only
    /// a handler that pulls may [drop](Act::Drop) its responder.
    pub is_pulling: bool,
}

/// A kind of runtime on which the scenarios run.
pub trait Transport {
    /// Starts a service of the kind to which it connects.
    fn service(&self) -> Service;

    /// Starts a runtime.
    fn start(&self, place: &Place, settings: Settings, handler: Handler) -> Running;
}

impl dyn Transport + '_ {
    /// Runs a runtime with one slot.
    pub fn run<F>(&self, service: &Service, handler: F) -> Running
    where
        F: Fn(&Seen<'_>) -> Act + Send + Sync + 'static,
    {
        self.run_with(Settings::default(), service.place(), handler)
    }

    /// Runs a runtime with this number of slots.
    pub fn run_slots<F>(&self, slots: usize, service: &Service, handler: F) -> Running
    where
        F: Fn(&Seen<'_>) -> Act + Send + Sync + 'static,
    {
        let settings = Settings { slots: Some(slots), ..Settings::default() };
        self.run_with(settings, service.place(), handler)
    }

    /// Runs a runtime with these settings.
    pub fn run_with<F>(&self, settings: Settings, place: &Place, handler: F) -> Running
    where
        F: Fn(&Seen<'_>) -> Act + Send + Sync + 'static,
    {
        self.start(place, settings, Arc::new(handler))
    }

    /// Runs one invocation whose answer the service accepts, and checks that the loop continues.
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
/// A scenario is a function of the same name that takes a `&dyn Transport`. The compiler warns
/// about a scenario that is in no list, since it is dead code. Files that use this macro write
/// `::std` for the standard library.
///
/// | list | runtimes |
/// |---|---|
/// | `on_every_runtime` | all |
/// | `on_sockets` | those that connect by an address |
/// | `where_answering_blocks` | those whose handlers get the receipt before they return |
#[macro_export]
macro_rules! scenarios {
    (
        $(on_every_runtime { $($every:ident,)* })?
        $(on_sockets { $($sockets:ident,)* })?
        $(where_answering_blocks { $($blocking:ident,)* })?
    ) => {
        $crate::scenarios!(@ std, Std, $($($every)*)? $($($sockets)*)? $($($blocking)*)?);
        $crate::scenarios!(@ tokio, Tokio, $($($every)*)? $($($sockets)*)? $($($blocking)*)?);
        $crate::scenarios!(@ tokio_parallel, TokioParallel, $($($every)*)? $($($sockets)*)? $($($blocking)*)?);
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
