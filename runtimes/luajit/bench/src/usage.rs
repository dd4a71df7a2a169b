//! The processor time and the memory of processes, from `/proc`.

use std::fs;
use std::time::Duration;

/// The processor time of all threads of a process, and of the processes that it has waited for.
///
/// # Errors
///
/// If the process does not exist.
pub(crate) fn cpu(pid: u32) -> Result<Duration, String> {
    let folder = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&folder).map_err(|error| format!("{folder}: {error}"))?;
    let own = threads.flatten().map(|thread| {
        let schedstat = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        schedstat.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or_default()
    });
    let own = Duration::from_nanos(own.sum());
    // `cutime` and `cstime`, in hundredths of a second.
    let ticks: u64 =
        stat(pid).iter().skip(13).take(2).filter_map(|it| it.parse::<u64>().ok()).sum();
    Ok(own + Duration::from_millis(ticks * 10))
}

/// The resident memory of a process and of all that it has started, in KiB.
///
/// # Errors
///
/// If the process does not exist.
pub(crate) fn memory_of_all(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let own = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let own = own.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
    let of_child = |child: u32| memory_of_all(child).unwrap_or_default();
    Ok(own.unwrap_or_default() + children(pid).into_iter().map(of_child).sum::<u64>())
}

fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |pid: &u32| stat(*pid).get(1).is_some_and(|id| *id == parent.to_string());
    pids.filter(is_child).collect()
}

/// The fields of `/proc/…/stat` that follow the name of the program: the state is the first.
fn stat(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    fields.split_whitespace().map(str::to_owned).collect()
}
