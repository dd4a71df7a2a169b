//! The crate `tracing`, and a subscriber that writes to the log.

pub use ::tracing::*;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

/// Makes what the function logs through `tracing` lines of its [log](crate::Log), as the environment
/// configures it. If the process has a subscriber already, that one stays.
///
/// A line has the request id of its invocation.
pub fn init_default_subscriber() {
    let subscriber = registry().with(crate::Log::from_env().tracing_layer());
    let _has_one = ::tracing::subscriber::set_global_default(subscriber);
}
