//! What every worker of a runtime is given.

use std::time::Duration;

use lambda_proto::Endpoint;

use crate::log::Log;
use crate::stop::StopHandle;

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) endpoint: Endpoint,
    pub(crate) max_event: usize,
    pub(crate) patience: Duration,
    pub(crate) stop: StopHandle,
    pub(crate) log: Log,
}

impl Settings {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            max_event: 16 * 1024 * 1024,
            patience: Duration::from_secs(60),
            stop: StopHandle::default(),
            log: Log::default(),
        }
    }
}
