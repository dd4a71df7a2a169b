//! What Linux says about processes, in `/proc`. On systems without it, nothing is found.
//!
//! Source: proc(5).

use std::collections::HashSet;
use std::fs;
use std::sync::OnceLock;

use rustix::process::Pid;

/// The fields of `/proc/PID/stat` that the lab reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stat {
    pub(super) is_zombie: bool,
    pub(super) is_stopped: bool,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
}

/// `None` if there is no such process.
pub(super) fn stat(pid: Pid) -> Option<Stat> {
    let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may contain anything, so the fields begin after the last parenthesis.
    let end = line.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(&line[end + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let (is_zombie, is_stopped) = (matches!(state, "Z" | "X"), matches!(state, "T" | "t"));
    let mut number = || fields.next()?.parse().ok();
    Some(Stat { is_zombie, is_stopped, parent: number()?, group: number()?, session: number()? })
}

/// The process group of a process: 0 if a process outside of the PID namespace leads it.
///
/// `rustix` takes 0 for an impossible answer, and panics or worse.
pub(super) fn group(pid: Pid) -> Option<i32> {
    #[cfg(target_os = "linux")]
    return Some(stat(pid)?.group);
    // There are no PID namespaces.
    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::disallowed_methods)]
    return Some(rustix::process::getpgid(Some(pid)).ok()?.as_raw_pid());
}

/// The children of all threads of a process.
///
/// While children end, some may be missing.
pub(super) fn children(pid: Pid) -> Vec<Pid> {
    if !has_lists() {
        return scan(|stat| stat.parent == pid.as_raw_pid());
    }
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.filter_map(|it| fs::read_to_string(it.ok()?.path().join("children")).ok());
    lists.flat_map(|list| pids(&list)).collect()
}

/// The children of the first thread of a process. Orphans become children of this thread.
pub(super) fn children_of_first_thread(pid: Pid) -> Vec<Pid> {
    if !has_lists() {
        return children(pid);
    }
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    pids(&list.unwrap_or_default())
}

/// All that descend from these processes, without the processes themselves.
pub(super) fn descendants(roots: &[Pid]) -> Vec<Pid> {
    let mut seen: HashSet<Pid> = roots.iter().copied().collect();
    let (mut found, mut open) = (Vec::new(), roots.to_vec());
    while let Some(pid) = open.pop() {
        for child in children(pid) {
            if seen.insert(child) {
                found.push(child);
                open.push(child);
            }
        }
    }
    found
}

/// Whether a process was started with this variable, given as `NAME=value`.
///
/// A process that is ending has no variables any more.
pub(super) fn has_variable(pid: Pid, variable: &[u8]) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|it| it == variable)
}

/// The most memory that a process has had resident, in KiB.
pub(super) fn peak_memory(pid: Pid) -> Option<u64> {
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let mut lines = status.split(|byte| *byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"VmHWM:"))?;
    std::str::from_utf8(line).ok()?.trim().strip_suffix(" kB")?.parse().ok()
}

/// Whether the kernel lists the children of a thread, which is an option of its configuration.
fn has_lists() -> bool {
    static HAS_LISTS: OnceLock<bool> = OnceLock::new();
    *HAS_LISTS.get_or_init(|| fs::metadata("/proc/thread-self/children").is_ok())
}

fn scan(is_wanted: impl Fn(&Stat) -> bool) -> Vec<Pid> {
    let is_wanted = |pid: &Pid| stat(*pid).is_some_and(|stat| is_wanted(&stat));
    all().into_iter().filter(is_wanted).collect()
}

/// All processes that can be seen.
pub(super) fn all() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|it| pid(it.ok()?.file_name().to_str()?)).collect()
}

fn pids(list: &str) -> Vec<Pid> {
    list.split_ascii_whitespace().filter_map(pid).collect()
}

fn pid(text: &str) -> Option<Pid> {
    // `Pid::from_raw` expects a positive number.
    text.parse().ok().filter(|number| *number > 0).and_then(Pid::from_raw)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn descendants_are_found_with_and_without_the_lists_of_the_kernel() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "(sleep 1000; :) & (sleep 1000; :) & wait"]).stdout(Stdio::null());
        let mut shell = shell.spawn().unwrap();
        let pid = Pid::from_child(&shell);
        let began = std::time::Instant::now();
        let found = loop {
            let found = descendants(&[pid]);
            if found.len() == 4 {
                break found;
            }
            assert!(began.elapsed().as_secs() < 20, "{found:?}");
            std::thread::yield_now();
        };
        let mut scanned = scan(|stat| stat.parent == pid.as_raw_pid());
        let mut listed = children(pid);
        scanned.sort_by_key(|pid| pid.as_raw_pid());
        listed.sort_by_key(|pid| pid.as_raw_pid());
        assert_eq!((listed.len(), &listed), (2, &scanned));
        assert!(found.iter().all(|pid| peak_memory(*pid).is_some_and(|kib| kib > 0)));
        for pid in found.into_iter().chain([pid]) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        shell.wait().unwrap();
        assert!(stat(pid).is_none() && peak_memory(pid).is_none() && children(pid).is_empty());
    }

    #[test]
    fn a_program_with_parentheses_in_its_name_does_not_hide_its_fields() {
        let folder = std::env::temp_dir().join(format!("lambda-lab-proc-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let program = folder.join("a) Z 1 2 (b");
        // A copy might still be open for writing in a child that another test has just forked.
        std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
        let mut child = Command::new(&program).arg("1000").spawn().unwrap();
        let stat = stat(Pid::from_child(&child)).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert!(!stat.is_zombie);
        assert_eq!(stat.parent, std::process::id() as i32);
    }
}
