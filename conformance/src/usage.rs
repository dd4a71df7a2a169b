//! The processor time and memory that a process has used.

use std::time::Duration;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Its processor time.
    pub cpu: Duration,
    /// Its peak memory, in bytes.
    pub peak_memory: u64,
}

/// The usage of a process that has not been reaped, from `/proc` on Linux. `None` on other systems,
/// and if the process is gone.
pub(crate) fn usage(id: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name of the program, in parentheses, may contain spaces.
    let (_, behind) = stat.rsplit_once(')')?;
    let fields: Vec<_> = behind.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    let ticks = ticks(11)? + ticks(12)?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    // A zombie has no memory.
    let kibibytes = peak.and_then(|it| it.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    let peak_memory = kibibytes.unwrap_or(0) * 1024;
    // A tick is 10 ms on every Linux that Rust supports.
    Some(Usage { cpu: Duration::from_millis(ticks * 10), peak_memory })
}
