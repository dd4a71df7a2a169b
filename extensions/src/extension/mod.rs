//! The Extensions API, documented at the [root](crate) of the crate.

mod documents;
mod errors;
#[cfg(feature = "std")]
mod internal;
mod machine;
mod names;
mod phase;
mod refusal;
mod registrant;
mod reply;
mod request;

pub use documents::{
    EnvironmentEvent, Invoke, Registration, Shutdown, ShutdownCause, ShutdownReason,
};
pub use errors::{CommandError, ReceiveError};
#[cfg(feature = "std")]
pub use internal::{InternalExtension, NotAvailable};
pub use machine::{Event, Extension};
pub use phase::{Phase, Recovery};
pub use refusal::{Refusal, RefusalKind, Remedy};
pub use registrant::{ExternalEvents, InternalEvents, ManagedEvents, Registrant};
pub use reply::{Call, Reply};
pub use request::{ExtensionName, InvalidExtensionName};
