use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::event::Event;
use crate::settings::Settings;

/// An event on its way to a runtime.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) request_id: String,
    /// Of this attempt, and never again.
    pub(crate) attempt_id: String,
    /// Milliseconds since the Unix epoch.
    pub(crate) deadline: u128,
    pub(crate) function_arn: String,
    pub(crate) event: Event,
}

impl Invocation {
    pub(crate) fn new(event: Event, settings: &Settings) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self {
            request_id: Uuid::new_v4().to_string(),
            attempt_id: Uuid::new_v4().to_string(),
            deadline: (now + settings.timeout).as_millis(),
            function_arn: settings.arn(),
            event,
        }
    }
}
