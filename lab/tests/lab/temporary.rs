//! The folder for temporary files of each environment.

use std::collections::HashSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use lambda_lab::Lab;
use tempfile::TempDir;

use crate::meeting::Meeting;
use crate::program_files::copy_program;
use crate::served::{Served, TELL};
use crate::support::{function, wait_until};

fn folder(lab: &Lab) -> PathBuf {
    String::from_utf8(lab.invoke("env TMPDIR").unwrap().body).unwrap().into()
}

#[test]
fn temporary_files_live_through_freezes_and_resets_and_end_with_the_lab() {
    let lab = function().freeze().start().unwrap();
    let temporary = folder(&lab);
    let file = temporary.join("kept");
    std::fs::write(&file, "by the first process").unwrap();
    lab.invoke("exit 3").unwrap_err();
    assert_eq!(folder(&lab), temporary);
    assert_eq!(std::fs::read(&file).unwrap(), b"by the first process");
    lab.stop();
    assert!(!temporary.exists() && !temporary.parent().unwrap().exists());
}

#[test]
fn each_environment_has_temporary_files_of_its_own() {
    let lab = function().environments(3).start().unwrap();
    let meeting = Meeting::of(3);
    let folders: HashSet<_> = thread::scope(|scope| {
        let callers = [(); 3].map(|()| scope.spawn(|| lab.invoke(meeting.then("env TMPDIR"))));
        callers.into_iter().map(|it| PathBuf::from(it.join().unwrap().unwrap().text())).collect()
    });
    assert_eq!(folders.len(), 3, "{folders:?}");
    assert!(folders.iter().all(|it| it.is_dir()), "{folders:?}");
    drop(lab);
    assert!(folders.iter().all(|it| !it.exists()), "{folders:?}");
}

#[test]
fn temporary_files_are_removed_when_a_signal_ends_the_lab() {
    for signal in ["INT", "TERM", "KILL"] {
        let mut served = Served::start(&[], "echo temporary $TMPDIR >&2; sleep 1000");
        let _caller = served.invoke_in_background();
        let temporary = served.line_with("temporary ");
        let temporary = Path::new(&temporary);
        assert!(temporary.is_dir());
        std::fs::write(temporary.join("file"), "1").unwrap();
        served.signal(signal);
        served.child.wait().unwrap();
        wait_until("it is removed", || !temporary.parent().unwrap().exists());
    }
}

#[test]
fn temporary_files_are_removed_when_a_second_signal_ends_the_lab() {
    let script = format!("trap 'echo asked >&2' TERM; {TELL}while :; do sleep 0.01; done");
    let script = format!("echo temporary $TMPDIR >&2; {script}");
    let mut served = Served::start(&["--shutdown-timeout", "60"], &script);
    let _caller = served.invoke_in_background();
    let temporary = served.line_with("temporary ");
    let temporary = Path::new(&temporary);
    let (mut api, _) = served.told();
    let name = [("Lambda-Extension-Name", "mine")];
    assert_eq!(api.request("POST /2020-01-01/extension/register", &name, "{}").status, 200);
    served.signal("INT");
    served.line_with("asked");
    served.signal("INT");
    assert_eq!(served.child.wait().unwrap().code(), Some(130));
    wait_until("it is removed", || !temporary.parent().unwrap().exists());
}

/// A program that another user than root can start, a folder for temporary files, and the words
/// before the program. `None` if this is root, and cannot become another one.
fn as_another_user() -> Option<(TempDir, PathBuf, Vec<&'static str>)> {
    // Other users may not search the folders of root, or list those in `/tmp`.
    let folder = tempfile::Builder::new().prefix("lambda-lab-").tempdir_in("/var/tmp").unwrap();
    let program = folder.path().join("lambda-lab");
    assert!(copy_program(env!("CARGO_BIN_EXE_lambda-lab"), &program));
    let all = folder.path().join("all");
    std::fs::create_dir(&all).unwrap();
    for (path, mode) in [(folder.path(), 0o755), (&program, 0o755), (&all, 0o777)] {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    if !rustix::process::geteuid().is_root() {
        return Some((folder, program, vec!["env"]));
    }
    let words = vec!["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
    let is_there = Command::new(words[0]).args(&words[1..]).arg("true").status();
    is_there.is_ok_and(|status| status.success()).then_some((folder, program, words))
}

#[test]
fn folders_that_are_not_writable_are_removed_too() {
    let Some((folder, program, words)) = as_another_user() else {
        eprintln!("skipped: root may write everywhere, and there is no setpriv");
        return;
    };
    let all = folder.path().join("all");
    let left = || std::fs::read_dir(&all).unwrap().count();
    let script = "mkdir -p $TMPDIR/go/pkg && touch $TMPDIR/go/pkg/file && \
                  chmod 555 $TMPDIR/go $TMPDIR/go/pkg && echo sealed >&2";
    let lab = |command: &str| {
        let mut lab = Command::new(words[0]);
        lab.args(&words[1..]).arg(&program).arg(command).env("TMPDIR", &all);
        lab.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        lab
    };
    let output = lab("run").args(["sh", "-c", script]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("sealed") && !said.contains("cannot remove"), "{said}");
    assert_eq!(left(), 0, "{said}");
    let script = format!("{script}; exec sleep 1000");
    let mut served = Served::of(lab("serve").args(["--port", "0", "sh", "-c", &script]));
    let _caller = served.invoke_in_background();
    served.line_with("sealed");
    served.signal("KILL");
    wait_until("it is removed", || left() == 0);
}

#[test]
fn what_is_not_enforced_and_what_lambda_does_not_have_is_said() {
    let options = ["--memory", "256", "--ephemeral-storage", "1024", "--shutdown-timeout", "5"];
    let mut served = Served::start(&options, "exit 1");
    served.line_with("lambda-lab: a shutdown timeout of 5s is beyond Lambda, which allows 2s");
    let line = served.line_with("lambda-lab: not enforced: ");
    assert_eq!(line, "256 MB of memory, 1024 MB of ephemeral storage");
    served.signal("TERM");
    let quiet = Served::start(&["--shutdown-timeout", "2"], "exit 1");
    quiet.signal("TERM");
    let rest = quiet.rest();
    assert!(!rest.contains("enforced") && !rest.contains("beyond"), "{rest}");
}
