//! The Extensions API, documented at the [root](crate) of the crate.

mod documents;
mod errors;
#[cfg(feature = "std")]
mod internal;
mod machine;
mod names;
mod request;

pub use documents::{
    EnvironmentEvent, Invoke, Registration, Shutdown, ShutdownCause, ShutdownReason,
};
pub use errors::{CommandError, ReceiveError};
#[cfg(feature = "std")]
pub use internal::{InternalExtension, NotAvailable};
pub use machine::{Call, Event, Extension, Phase, Recovery, Reply};
pub use request::{EventKind, ExtensionName, InvalidExtensionName};
