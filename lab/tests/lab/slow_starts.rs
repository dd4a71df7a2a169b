//! A program whose file system does not answer while it is being executed.
//!
//! A lease on the file delays every program that opens it, and so its execution, until the lease is
//! given back.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use crate::program_files::write_program;
use crate::served::{Served, lab};
use crate::support::{Connection, is_stopped, lives, marked, wait_until};

/// Takes a lease, as soon as the file is not open, and says when another process waits for it.
const HOLDER: &str = "
import fcntl, os, signal, sys, time
file = os.open(sys.argv[1], os.O_RDONLY)
signal.signal(signal.SIGIO, lambda *_: print('awaited', flush=True))
while True:
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        break
    except BlockingIOError:
        time.sleep(0.01)
print('held', flush=True)
sys.stdin.read()
";

/// A lease on a file, until this is dropped.
struct Lease {
    holder: Child,
    says: BufReader<ChildStdout>,
}

impl Lease {
    /// `None` if this machine has no leases, or no Python.
    fn on(file: &PathBuf) -> Option<Self> {
        let mut command = Command::new("python3");
        command.args(["-c", HOLDER]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().ok()?;
        let says = BufReader::new(holder.stdout.take().unwrap());
        let mut lease = Self { holder, says };
        lease.says("held").then_some(lease)
    }

    fn says(&mut self, word: &str) -> bool {
        let mut line = String::new();
        self.says.read_line(&mut line).is_ok() && line.trim() == word
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A lab with two environments: the function runs in one of them, with a daemon, and its execution
/// does not come to its end in the other.
struct Hung {
    folder: TempDir,
    served: Served,
    daemon: u32,
    mark: String,
    /// Waits for the answer of the environment that runs.
    running: Connection,
    /// Waits for the other.
    hung: Connection,
    lease: Lease,
}

impl Hung {
    /// `None` if this machine has no leases.
    fn start(name: &str, options: &[&str]) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let program = folder.path().join("slow-to-start");
        let bootstrap = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\n(setsid sh -c 'echo daemon $$ >&2; exec sleep 1000' &)\n\
             exec {} --exact bootstrap --nocapture\n",
            bootstrap.display()
        );
        write_program(&program, &script, "755");
        let mark = format!("LAB_TEST_HUNG={}-{name}", std::process::id());
        let path = std::env::var("PATH").unwrap();
        let mut command = lab();
        // By its name, so that the lab itself does not open it.
        command.env("PATH", format!("{}:{path}", folder.path().display()));
        command.args(["serve", "--port", "0", "--environments", "2", "--env", &mark]);
        let mut served = Served::of(command.args(options).arg("slow-to-start"));
        let until = format!("until {}", folder.path().join("go").display());
        let running = served.invoke(&until);
        let daemon = served.line_with("daemon ").parse().unwrap();
        let Some(mut lease) = Lease::on(&program) else {
            eprintln!("skipped: this machine has no leases on files, or no Python");
            return None;
        };
        let hung = served.invoke("1");
        assert!(lease.says("awaited"));
        Some(Self { folder, served, daemon, mark, running, hung, lease })
    }

    /// Ends the invocation that runs.
    fn go(&mut self) {
        let go = self.folder.path().join("go");
        std::fs::write(&go, "").unwrap();
        let until = format!("until {}", go.display());
        assert_eq!(self.running.response().text(), until);
    }

    /// Lets the other environment start, and ends the lab.
    fn release(mut self) {
        drop(self.lease);
        assert_eq!(self.hung.response().text(), "1");
        self.served.signal("TERM");
        self.served.rest();
        assert!(!lives(self.daemon));
    }
}

#[test]
fn a_daemon_is_frozen_while_another_environment_starts_slowly() {
    let Some(mut hung) = Hung::start("frozen", &["--freeze"]) else { return };
    assert!(!is_stopped(hung.daemon));
    hung.go();
    wait_until("it is stopped", || is_stopped(hung.daemon));
    hung.release();
}

#[test]
fn a_slow_start_delays_no_caller_of_another_environment() {
    let Some(mut hung) = Hung::start("callers", &[]) else { return };
    hung.go();
    let mut pids = Vec::new();
    for _ in 0..2 {
        let pid = hung.served.invoke("pid").response().text();
        assert!(pid.parse::<u32>().is_ok(), "{pid}");
        pids.push(pid);
    }
    assert_eq!(pids[0], pids[1]);
    let failed = hung.served.invoke("exit 3").response().text();
    assert!(failed.contains("exit status 3"), "{failed}");
    hung.release();
}

#[test]
fn a_signal_ends_the_lab_while_an_environment_starts_slowly() {
    for second in [false, true] {
        let Some(mut hung) = Hung::start("signal", &[]) else { return };
        hung.served.signal("TERM");
        if second {
            hung.served.signal("TERM");
        }
        wait_until("the lab has ended", || hung.served.child.try_wait().unwrap().is_some());
        assert_eq!(hung.served.child.wait().unwrap().code(), Some(143));
        drop(hung.lease);
        wait_until("all have ended", || marked(&hung.mark).is_empty());
    }
}
