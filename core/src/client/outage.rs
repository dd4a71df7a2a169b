use core::time::Duration;

/// How long no slot of a runtime has had a connection, so that the runtime can give up.
///
/// All slots of a runtime share one `Outage`. The runtime gives up when [`lasted`](Self::lasted)
/// reaches its patience (by default [`limits::PATIENCE`](crate::limits::PATIENCE)). A slot that
/// cannot connect while another slot has a connection keeps trying: if it ended alone, the service
/// would still count on it.
///
/// `now` and `began` are readings of one monotonic clock, as the time since any fixed moment.
///
/// ```
/// use core::time::Duration;
/// use lambda_proto::client::Outage;
///
/// let seconds = Duration::from_secs;
/// let mut outage = Outage::default();
/// outage.failed(seconds(100));
/// assert_eq!(outage.lasted(seconds(130)), Some(seconds(30)));
///
/// outage.connected();
/// outage.failed(seconds(140)); // another slot
/// assert_eq!(outage.lasted(seconds(300)), None);
///
/// outage.lost(seconds(300));
/// assert_eq!(outage.lasted(seconds(310)), Some(seconds(10)));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Outage {
    connections: usize,
    /// When the first attempt since the last connection began to fail.
    since: Option<Duration>,
}

impl Outage {
    /// Records that a slot has a connection.
    pub fn connected(&mut self) {
        self.connections = self.connections.saturating_add(1);
        self.since = None;
    }

    /// Records that a slot has lost its connection, or has ended and dropped it.
    ///
    /// This alone does not begin an outage, since the next connection may not be needed for hours.
    pub fn lost(&mut self, now: Duration) {
        self.connections = self.connections.saturating_sub(1);
        // A slot was connected until now, so the outage starts here.
        if self.connections == 0 && self.since.is_some() {
            self.since = Some(now);
        }
    }

    /// Records that an attempt to connect, which began at `began`, has failed.
    pub fn failed(&mut self, began: Duration) {
        self.since.get_or_insert(began);
    }

    /// How long there has been no connection; `None` if a slot has one, or no attempt has failed.
    pub fn lasted(&self, now: Duration) -> Option<Duration> {
        let since = self.since.filter(|_| self.connections == 0)?;
        Some(now.saturating_sub(since))
    }

    /// How many slots have a connection.
    pub fn connections(&self) -> usize {
        self.connections
    }
}
