//! The processor time and memory that a process has used.

use std::time::Duration;

/// What a process has used until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Its time on processors.
    pub cpu: Duration,
    /// The most memory that it has had, in bytes.
    pub peak_memory: u64,
}

/// What a process uses that has not been waited for, as Linux tells it in `/proc`; `None` elsewhere, and
/// if it is gone.
pub(crate) fn usage(id: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name of the program, in parentheses, may hold blanks.
    let (_, behind) = stat.rsplit_once(')')?;
    let fields: Vec<_> = behind.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    let ticks = ticks(11)? + ticks(12)?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    // Of a process that has ended and was not waited for there is no memory any more.
    let kibibytes = peak.and_then(|it| it.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    let peak_memory = kibibytes.unwrap_or(0) * 1024;
    // A hundredth of a second on every Linux that Rust runs on.
    Some(Usage { cpu: Duration::from_millis(ticks * 10), peak_memory })
}
