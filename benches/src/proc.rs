//! Reads the resource usage of a process from `/proc`.

use std::fs;

use crate::error::{Error, Result};

/// The resources that all threads of a process have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Time on a processor, in nanoseconds.
    pub(crate) cpu: u64,
    /// Time in user space and in the kernel, in ticks: too coarse for more than a ratio.
    pub(crate) user: u64,
    pub(crate) system: u64,
    /// How many times it has waited.
    pub(crate) voluntary: u64,
    /// How many times it was preempted.
    pub(crate) involuntary: u64,
}

impl Usage {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let mut sum = Self::default();
        let folder = format!("/proc/{pid}/task");
        let threads = fs::read_dir(&folder).map_err(|error| cannot_read(&folder, error))?;
        for thread in threads.flatten() {
            let folder = thread.path().display().to_string();
            let schedstat = read(&format!("{folder}/schedstat"))?;
            sum.cpu += number(schedstat.split(' ').next());
            // The fields follow the name of the program in parentheses, which may contain anything.
            let stat = read(&format!("{folder}/stat"))?;
            let mut fields =
                stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').skip(11);
            sum.user += number(fields.next());
            sum.system += number(fields.next());
            let status = read(&format!("{folder}/status"))?;
            sum.voluntary += number(field(&status, "voluntary_ctxt_switches:"));
            sum.involuntary += number(field(&status, "nonvoluntary_ctxt_switches:"));
        }
        Ok(sum)
    }

    /// The usage since an earlier reading.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            user: self.user.saturating_sub(earlier.user),
            system: self.system.saturating_sub(earlier.system),
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            involuntary: self.involuntary.saturating_sub(earlier.involuntary),
        }
    }
}

/// The resident memory and its peak, in KiB.
pub(crate) fn memory(pid: u32) -> Result<(u64, u64)> {
    let status = read(&format!("/proc/{pid}/status"))?;
    Ok((number(field(&status, "VmRSS:")), number(field(&status, "VmHWM:"))))
}

/// The first child of a process.
pub(crate) fn child_of(parent: u32) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        rest.split(' ').nth(1).and_then(|id| id.parse().ok()) == Some(parent)
    })
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|error| cannot_read(path, error))
}

fn cannot_read(path: &str, error: std::io::Error) -> Error {
    Error::new(format!("cannot read {path}: {error}; needs Linux, and the client must be running"))
}

fn field<'t>(status: &'t str, name: &str) -> Option<&'t str> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()
}

fn number(text: Option<&str>) -> u64 {
    text.and_then(|text| text.trim().parse().ok()).unwrap_or_default()
}
