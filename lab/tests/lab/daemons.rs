//! Processes that outlive those that started them, under the program `lambda-lab`.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::time::Instant;

use crate::program_files::copy_program;
use crate::served::{Served, TELL, lab};
use crate::support::{PATIENCE, is_stopped, lives, session, state_and_parent, wait_until};

/// The part of a script that starts a daemon, and prints its id.
const DAEMON: &str = "setsid sleep 1000 & echo daemon $! >&2; ";

/// The same, with no variable of the function, and without the parent that started it.
const HIDDEN: &str = "(setsid env -i sh -c 'echo daemon $$ >&2; exec sleep 1000' &); ";

/// The rest of a script that answers each event with itself.
fn echo() -> String {
    let bootstrap = std::env::current_exe().unwrap();
    format!("exec {} --exact bootstrap --nocapture", bootstrap.display())
}

/// The id of a daemon that has left its process group.
fn daemon(served: &mut Served) -> u32 {
    let pid = served.line_with("daemon ").parse().unwrap();
    wait_until("it leads a session", || session(pid) == Some(pid));
    pid
}

#[test]
fn a_daemon_ends_with_the_lab() {
    for daemon in [DAEMON, HIDDEN] {
        let file = std::env::temp_dir().join(format!("lambda-lab-daemon-{}", std::process::id()));
        let name = file.display();
        let daemon = daemon.replace(">&2", &format!(">{name}"));
        let script = format!("{daemon} until [ -s {name} ]; do sleep 0.01; done; {}", echo());
        let mut command = lab();
        command.args(["run", "--event", "1", "sh", "-c", &script]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert_eq!(output.stdout, b"1");
        let pid = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let pid = pid.trim().strip_prefix("daemon ").unwrap().parse().unwrap();
        assert!(!lives(pid), "{daemon}");
    }
}

#[test]
fn a_daemon_ends_with_its_environment_when_the_process_ends() {
    for event in ["exit 3", "sleep 60000"] {
        let script = format!("{DAEMON}{}", echo());
        let mut served = Served::start(&["--timeout", "0.5"], &script);
        assert_eq!(served.invoke("1").response().text(), "1");
        let first = daemon(&mut served);
        assert!(lives(first));
        let failed = served.invoke(event).response().text();
        assert!(failed.contains("exit status 3") || failed.contains("timed out"), "{failed}");
        wait_until("it has ended", || !lives(first));
        // The next one has its own.
        assert_eq!(served.invoke("1").response().text(), "1");
        let second = daemon(&mut served);
        assert!(lives(second));
        served.signal("TERM");
        served.rest();
        assert!(!lives(second));
    }
}

#[test]
fn a_daemon_of_another_environment_lives_on() {
    let script = format!("{DAEMON}{}", echo());
    let mut served = Served::start(&["--environments", "2"], &script);
    let mut caller = served.invoke("sleep 1000");
    let first = daemon(&mut served);
    let mut other = served.invoke("exit 3");
    let second = daemon(&mut served);
    assert!(other.response().text().contains("exit status 3"));
    wait_until("the daemon of the other has ended", || !lives(second));
    assert!(lives(first));
    assert_eq!(caller.response().text(), "sleep 1000");
    served.signal("TERM");
    assert_eq!(served.child.wait().unwrap().code(), Some(143));
    assert!(!lives(first));
}

#[test]
fn signals_that_end_the_lab_end_daemons() {
    for (signal, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut served = Served::start(&[], &format!("{DAEMON}{HIDDEN}{}", echo()));
        assert_eq!(served.invoke("1").response().text(), "1");
        let both = [daemon(&mut served), daemon(&mut served)];
        served.signal(signal);
        assert_eq!(served.child.wait().unwrap().code(), Some(code));
        assert!(both.iter().all(|pid| !lives(*pid)), "{code}");
    }
}

#[test]
fn a_stopped_daemon_is_continued_and_does_not_outlive_a_lab_that_is_killed() {
    let mut served = Served::start(&["--freeze"], &format!("{DAEMON}{}", echo()));
    assert_eq!(served.invoke("1").response().text(), "1");
    let daemon = daemon(&mut served);
    wait_until("it is stopped", || is_stopped(daemon));
    let mut caller = served.invoke("sleep 500");
    wait_until("it is continued", || !is_stopped(daemon));
    caller.response();
    wait_until("it is stopped again", || is_stopped(daemon));
    served.signal("KILL");
    served.rest();
    wait_until("it has ended", || !lives(daemon));
}

#[test]
fn orphans_are_reaped_and_the_exit_status_of_the_function_is_not_lost() {
    let script = format!(
        "for i in 1 2 3 4 5 6 7 8 9; do (setsid sleep 0.0$i &); (sleep 0.0$i &); done; {}",
        echo()
    );
    let mut served = Served::start(&[], &script);
    let lab = served.child.id();
    for _ in 0..10 {
        let failed = served.invoke("exit 7").response().text();
        assert!(failed.contains("exit status 7"), "{failed}");
    }
    assert_eq!(served.invoke("1").response().text(), "1");
    wait_until("the orphans have been reaped", || {
        children(lab).iter().all(|pid| state_and_parent(*pid).is_none_or(|it| it.0 != 'Z'))
    });
    assert!(served.child.try_wait().unwrap().is_none());
    served.signal("TERM");
    served.rest();
}

#[test]
fn process_1_of_a_container_reaps_orphans_and_ends_them() {
    let mut command = Command::new("unshare");
    let options = ["--map-root-user", "--fork", "--pid", "--mount-proc", "--kill-child"];
    command.args(options);
    let is_allowed = command.arg("true").output().is_ok_and(|output| output.status.success());
    if !is_allowed {
        eprintln!("skipped: this machine does not allow namespaces");
        return;
    }
    let mut command = Command::new("unshare");
    command.args(options).arg(env!("CARGO_BIN_EXE_lambda-lab"));
    // Counts the zombies that it sees, until there is none.
    let script = format!(
        "(setsid sleep 0.01 &); sleep 0.1; [ $PPID = 1 ] && echo child of 1 >&2; \
         while grep -qs ') Z' /proc/[0-9]*/stat; do sleep 0.01; done; echo none >&2; {}",
        echo()
    );
    command.args(["run", "--init-timeout", "20", "--timeout", "20"]);
    let output = command.args(["--event", "1", "sh", "-c", &script]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(0), b"1".to_vec()), "{said}");
    assert!(said.contains("child of 1\nnone\n"), "{said}");
}

#[test]
fn children_that_were_here_before_the_lab_live_on() {
    let mut command = Command::new("sh");
    let script = "sleep 1000 & echo $!; exec \"$0\" \"$@\" >&2";
    command.args(["-c", script, env!("CARGO_BIN_EXE_lambda-lab"), "run", "sh", "-c"]);
    let output = command.arg(echo()).stderr(std::process::Stdio::null());
    let mut child = output.stdout(std::process::Stdio::piped()).spawn().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    assert!(lives(pid));
    assert!(Command::new("kill").arg(pid.to_string()).status().unwrap().success());
}

#[test]
fn a_second_signal_ends_everything_at_once() {
    for (first, second, code) in [("INT", "INT", 130), ("INT", "TERM", 143), ("HUP", "INT", 130)] {
        let script =
            format!("{DAEMON}trap 'echo asked >&2' TERM; {TELL}while :; do sleep 0.01; done");
        let mut served = Served::start(&["--shutdown-timeout", "60"], &script);
        let _caller = served.invoke_in_background();
        let daemon = daemon(&mut served);
        let (mut api, pid) = served.told();
        let name = [("Lambda-Extension-Name", "mine")];
        assert_eq!(api.request("POST /2020-01-01/extension/register", &name, "{}").status, 200);
        let began = Instant::now();
        served.signal(first);
        served.line_with("asked");
        assert_eq!((lives(pid), lives(daemon)), (true, true), "{first}");
        served.signal(second);
        assert_eq!(served.child.wait().unwrap().code(), Some(code));
        assert!(began.elapsed() < PATIENCE, "it has waited for the shutdown timeout");
        wait_until("both have ended", || !lives(pid) && !lives(daemon));
    }
}

#[test]
fn a_process_that_cannot_be_killed_is_given_up() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can start a process that another user cannot kill");
        return;
    }
    // A copy with the right to become root, which the lab, as another user, cannot kill then.
    let folder =
        std::path::Path::new("/var/tmp").join(format!("lambda-lab-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mut cleared = Cleared(Vec::new(), folder.clone());
    let (tool, program) = (folder.join("setpriv"), folder.join("lambda-lab"));
    let setpriv =
        ["/usr/bin/setpriv", "/bin/setpriv"].into_iter().find(|it| copy_program(it, &tool));
    assert!(copy_program(env!("CARGO_BIN_EXE_lambda-lab"), &program));
    let mode = |file, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(file, mode).unwrap();
    };
    mode(&folder, 0o755);
    if setpriv.is_none() {
        eprintln!("skipped: there is no setpriv");
        return;
    }
    mode(&tool, 0o4755);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(&program);
    let script = "echo unyielding $$ >&2; exec sleep 1000 >/dev/null 2>&1";
    command.args(["serve", "--port", "0", "--timeout", "0.2", "--init-timeout", "0.1"]);
    command.arg(&tool).args(["--reuid", "0", "sh", "-c", script]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let mut served = Served::of(command.stderr(std::process::Stdio::piped()));
    let began = Instant::now();
    let mut caller = served.invoke_in_background();
    let first: u32 = served.line_with("unyielding ").parse().unwrap();
    cleared.0.push(first);
    let second: u32 = served.line_with("unyielding ").parse().unwrap();
    cleared.0.push(second);
    // The line about the first one may have been written before the second one's.
    let line = served.line_with("lambda-lab: process ");
    let says = |pid| line.starts_with(&format!("{pid} does not end after SIGKILL"));
    assert!(says(first) || says(second), "{line}");
    assert_eq!(caller.response().text(), "Task timed out after 0.20 seconds");
    served.signal("TERM");
    assert_eq!(served.child.wait().unwrap().code(), Some(143));
    assert!(began.elapsed() < PATIENCE);
    assert!(lives(first) && lives(second));
}

/// Ends a process, and removes a folder, also if the test fails.
struct Cleared(Vec<u32>, std::path::PathBuf);

impl Drop for Cleared {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status();
        }
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

/// The children of a process.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| state_and_parent(*pid).is_some_and(|it| it.1 == parent)).collect()
}
