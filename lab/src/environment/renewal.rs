//! Replaces an environment whose program, or an extension of it, has been built again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Environment;
use crate::lifecycle::{LaunchError, Reason, StartFailure};
use crate::watch::Look;

impl Environment {
    /// Replaces the environment if the program or an extension has been built again: ends the
    /// processes, and empties the folder for temporary files.
    pub(super) async fn renew_if_rebuilt(&self, id: &str) -> Result<(), StartFailure> {
        let Some(watch) = &self.watch else { return Ok(()) };
        let now = watch.look_elsewhere().await;
        let seen = self.seen.lock().unwrap_or_else(|it| it.into_inner()).clone();
        if seen.as_ref() == Some(&now) {
            return Ok(());
        }
        let settled = tokio::select! {
            () = self.life.stopping() => return Err(StartFailure::Stopped),
            settled = watch.settled() => settled,
        };
        let settled = match settled {
            Ok(settled) => settled,
            Err(reason) => {
                // The failure ends the waiting `next` of the old runtime, whose exit must not be
                // that of a later invocation.
                if self.settings.concurrency.is_none() {
                    self.life.end(Reason::Spindown).await;
                }
                return Err(self.cannot_start(id, &LaunchError::of_runtime(&reason)));
            }
        };
        if let Some(changed) = seen.as_ref().and_then(|seen| seen.difference(&settled)) {
            // With managed instances, others may use the processes.
            let mut in_flight = self.in_flight.subscribe();
            tokio::select! {
                () = self.life.stopping() => return Err(StartFailure::Stopped),
                _ = in_flight.wait_for(|count| *count == 0) => {}
            }
            let changed = changed.display();
            let line = format!("lambda-lab: {changed} has changed; starting a new environment");
            self.log.line(line);
            self.life.end(Reason::Spindown).await;
            // A snapshot of the old program.
            self.life.take_snapshot();
            let (place, settings) = (Arc::clone(&self.place), Arc::clone(&self.settings));
            let renewed = tokio::task::spawn_blocking(move || place.renew(&settings)).await;
            if let Ok(Err(error)) = renewed {
                let error = LaunchError::of_runtime(&error.to_string());
                return Err(self.cannot_start(id, &error));
            }
        }
        self.saw(settled);
        // The failure was that of another program.
        self.has_failed.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Looks at the files that the next processes are started from.
    pub(super) async fn look(&self) {
        if let Some(watch) = &self.watch {
            self.saw(watch.look_elsewhere().await);
        }
    }

    /// Keeps what the files are that the next processes are started from.
    fn saw(&self, look: Look) {
        *self.seen.lock().unwrap_or_else(|it| it.into_inner()) = Some(look);
    }
}
