//! The machine on which everything is measured.

use std::fs;
use std::process::Command;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// What it is, and how busy.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.unwrap_or_default().trim_start_matches([' ', '\t', ':']).to_owned();
    vec![
        ("date", output("date", &["-u", "+%Y-%m-%d"])),
        ("processor", model),
        ("kernel", output("uname", &["-sr"])),
        ("load", load()),
        ("rustc", output("rustc", &["--version"])),
    ]
}

/// How many processes have wanted to run, in the last minute.
fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

/// The first line that a command prints.
pub(crate) fn output(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().trim().to_owned()
}

/// Lets this process, and all that it starts, run on one core only: the service and its client take
/// turns, so a second core would only add the time that it takes to wake it.
///
/// # Errors
///
/// That of the system.
pub(crate) fn pin_to_one_core() -> Result<(), String> {
    let wrong = |error| format!("cannot choose a core: {error}");
    let allowed = sched_getaffinity(None).map_err(wrong)?;
    let core = (0..CpuSet::MAX_CPU).find(|core| allowed.is_set(*core)).unwrap_or_default();
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one).map_err(wrong)
}
