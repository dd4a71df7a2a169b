//! Time as an extension has it, which stands still while its environment is frozen.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// The time of one environment. A frozen extension cannot reply, and that is not its fault.
#[derive(Clone, Debug)]
pub(super) struct Pace(watch::Receiver<bool>);

impl Pace {
    /// `is_frozen` says whether the environment is frozen.
    pub(super) fn new(is_frozen: &watch::Sender<bool>) -> Self {
        Self(is_frozen.subscribe())
    }

    /// The result of the future, or `None` if that takes longer than the limit.
    pub(super) async fn limit<T>(
        &mut self,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            biased;
            result = future => Some(result),
            () = self.sleep(limit) => None,
        }
    }

    /// Waits until this much time has passed.
    pub(super) async fn sleep(&mut self, mut time: Duration) {
        loop {
            self.becomes(false).await;
            let began = Instant::now();
            tokio::select! {
                () = sleep(time) => return,
                () = self.becomes(true) => {}
            }
            time = time.saturating_sub(began.elapsed());
        }
    }

    /// Waits while the environment is frozen.
    pub(super) async fn thawed(&mut self) {
        self.becomes(false).await;
    }

    async fn becomes(&mut self, is_frozen: bool) {
        if self.0.wait_for(|it| *it == is_frozen).await.is_err() {
            // The environment is gone, and so is the extension.
            pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_stands_still_during_a_freeze() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let is_frozen = watch::Sender::new(true);
            let mut pace = Pace::new(&is_frozen);
            let millisecond = Duration::from_millis(1);
            let mut sleeping = std::pin::pin!(pace.sleep(millisecond));
            tokio::select! {
                () = &mut sleeping => panic!("it is frozen"),
                () = sleep(20 * millisecond) => {}
            }
            is_frozen.send_replace(false);
            sleeping.await;
            assert_eq!(Pace::new(&is_frozen).limit(millisecond, pending::<()>()).await, None);
            assert_eq!(Pace::new(&is_frozen).limit(SECOND, async { 1 }).await, Some(1));
            // What has come is taken during a freeze, too.
            is_frozen.send_replace(true);
            assert_eq!(Pace::new(&is_frozen).limit(SECOND, async { 1 }).await, Some(1));
        });
    }
}
