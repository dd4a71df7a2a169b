//! What the extensions of every transport have in common: their configuration, the requests of
//! their session, what follows from each reply, and their errors.
//!
//! A transport connects, transfers bytes and waits. [`Session`] decides everything else.

mod config;
mod error;
mod function;
mod session;

use std::time::Duration;

pub use config::{Config, Kind};
pub use error::Error;
pub use function::Function;
pub use session::{Lost, Report, Session};

/// The longest time that a registration may take, connecting included. Lambda replies within
/// milliseconds, and init has 10 s for everything.
pub const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time that a subscription to telemetry may take, connecting included.
pub const SUBSCRIPTION_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest time that the report of a failure may take, connecting included.
pub const REPORT_TIMEOUT: Duration = Duration::from_secs(2);

/// The type of the error that is reported if an extension cannot listen for telemetry.
pub const CANNOT_LISTEN: &str = "Extension.CannotListen";

/// The same if this environment does not take the subscription.
pub const INVALID_SUBSCRIPTION: &str = "Extension.InvalidSubscription";
