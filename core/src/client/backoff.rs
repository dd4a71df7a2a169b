use core::time::Duration;

/// Returns how long to wait after `failed` failures in a row: 50 ms, doubling to 3.2 s, of which up
/// to half is taken off at random so that slots and environments do not retry in step.
///
/// `random` is any number, a new one each time. After lost connections, `failed` is
/// [`losses`](crate::machine::Machine::losses) less one, as the first loss is an ordinary one.
///
/// ```
/// use core::time::Duration;
/// use lambda_proto::client::backoff;
///
/// assert_eq!(backoff(0, 7), Duration::ZERO);
/// assert_eq!(backoff(1, 0), Duration::from_millis(25));
/// assert_eq!(backoff(1, u32::MAX), Duration::from_millis(50));
/// assert_eq!(backoff(1000, u32::MAX), Duration::from_millis(3200));
/// ```
pub fn backoff(failed: u32, random: u32) -> Duration {
    const FIRST: u64 = 50_000;
    let Some(doublings) = failed.checked_sub(1) else { return Duration::ZERO };
    let half = (FIRST << doublings.min(6)) / 2;
    Duration::from_micros(half + half * u64::from(random) / u64::from(u32::MAX))
}
