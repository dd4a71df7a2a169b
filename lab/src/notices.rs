//! What the lab says about its settings when it starts.

use std::net::SocketAddr;
use std::time::Duration;

use crate::function::DEFAULT_MEMORY;
use crate::refusal::MAX_EXTENSIONS;
use crate::settings::Settings;
use crate::watch::Watch;

/// The longest timeout on Lambda.
///
/// Source: Lambda Developer Guide, "Lambda quotas".
const MAX_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The longest shutdown on Lambda.
///
/// Source: Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle".
const MAX_SHUTDOWN: Duration = Duration::from_secs(2);

impl Settings {
    /// A line for each setting that others can abuse, that Lambda does not have, or that is not
    /// enforced. `listen` and `runtime_api` are the addresses at which the lab listens.
    pub(crate) fn notices(&self, listen: SocketAddr, runtime_api: SocketAddr) -> Vec<String> {
        let mut notices = Vec::new();
        if !listen.ip().is_loopback() {
            notices.push(format!(
                "warning: {listen} is open to the network: any machine that reaches it can \
                 invoke the function, which has the environment and the rights of this program"
            ));
        }
        if !runtime_api.ip().is_loopback() {
            notices.push(format!(
                "warning: the Runtime API at {runtime_api} is open to the network: any machine \
                 that reaches it can take the function's events and answer them"
            ));
        }
        if self.timeout > MAX_TIMEOUT {
            notices.push(format!(
                "a timeout of {:?} is beyond Lambda, which allows 15 minutes at most",
                self.timeout
            ));
        }
        if let Some(time) = self.shutdown_timeout.filter(|time| *time > MAX_SHUTDOWN) {
            notices.push(format!(
                "a shutdown timeout of {time:?} is beyond Lambda, which allows {MAX_SHUTDOWN:?} at \
                 most"
            ));
        }
        if self.extensions.len() > MAX_EXTENSIONS {
            notices.push(format!(
                "{} external extensions: Lambda allows {MAX_EXTENSIONS} at most, so every \
                 invocation will fail with Extension.LaunchError",
                self.extensions.len()
            ));
        }
        let memory = (self.memory != DEFAULT_MEMORY).then_some((self.memory, "memory"));
        let limits = memory.into_iter().chain(self.storage.map(|it| (it, "ephemeral storage")));
        let limits: Vec<_> = limits.map(|(size, what)| format!("{size} MB of {what}")).collect();
        if !limits.is_empty() {
            notices.push(format!("not enforced: {}", limits.join(", ")));
        }
        if let Some(watch) = Watch::new(self) {
            let cut = if watch.look().is_cut() { ", though not all of its files" } else { "" };
            notices.push(format!("watching {}{cut}", watch.describe()));
        }
        notices
    }
}
