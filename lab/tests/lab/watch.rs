//! A program that is built again while the lab runs.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use lambda_lab::{Function, Lab, Output};
use tempfile::TempDir;

use crate::program_files::write_program;
use crate::served::Served;
use crate::support::{PATIENCE, lives};

/// A script that becomes the bootstrap of these tests, with its version in a variable.
fn script(version: u32) -> String {
    let program = std::env::current_exe().unwrap();
    format!(
        "#!/bin/sh\nLAB_VERSION={version} exec {} --exact bootstrap --nocapture\n",
        program.display()
    )
}

/// Replaces the program as a linker does, by a new file.
fn build(file: &Path, version: u32) {
    let new = file.with_extension("new");
    write_program(&new, &script(version), "755");
    fs::rename(&new, file).unwrap();
}

fn built(version: u32) -> (TempDir, Function) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bootstrap");
    build(&file, version);
    let function = Function::new(file).watch().timeout(PATIENCE).output(Output::Discarded);
    (folder, function)
}

fn version(lab: &Lab) -> String {
    String::from_utf8(lab.invoke("env LAB_VERSION").unwrap().body).unwrap()
}

fn text(lab: &Lab, event: &str) -> String {
    String::from_utf8(lab.invoke(event).unwrap().body).unwrap()
}

#[test]
fn the_next_invocation_runs_the_program_that_was_built_again() {
    for is_frozen in [false, true] {
        let (folder, function) = built(1);
        let function = if is_frozen { function.freeze() } else { function };
        let lab = function.start().unwrap();
        assert_eq!(version(&lab), "1");
        let (pid, temporary) = (text(&lab, "pid"), text(&lab, "env TMPDIR"));
        assert_eq!(text(&lab, "pid"), pid, "nothing has changed");
        for number in 2..4 {
            build(&folder.path().join("bootstrap"), number);
            assert_eq!(version(&lab), number.to_string());
        }
        assert_ne!(text(&lab, "pid"), pid);
        // It is another environment.
        assert_ne!(text(&lab, "env TMPDIR"), temporary);
        assert!(!Path::new(&temporary).exists());
    }
}

#[test]
fn without_watching_the_process_is_kept() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bootstrap");
    build(&file, 1);
    let lab = Function::new(&file).timeout(PATIENCE).output(Output::Discarded).start().unwrap();
    assert_eq!(version(&lab), "1");
    build(&file, 2);
    assert_eq!(version(&lab), "1");
}

#[test]
fn the_lab_says_what_it_watches_and_what_has_changed() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("app.sh");
    build(&file, 1);
    let mut command = crate::served::lab();
    command.args(["serve", "--port", "0", "--watch", "sh"]).arg(&file);
    let mut served = Served::of(&mut command);
    let watched = served.line_with("lambda-lab: watching ");
    assert!(watched.ends_with(&format!("/sh, {}", file.display())), "{watched}");
    assert_eq!(served.invoke("env LAB_VERSION").response().text(), "1");
    build(&file, 2);
    assert_eq!(served.invoke("env LAB_VERSION").response().text(), "2");
    served.line_with(&format!("{} has changed; starting a new environment", file.display()));
    served.line_with("lambda-lab: shutdown (spindown): ");
    served.signal("TERM");
}

#[test]
fn the_program_that_is_watched_is_named_with_its_folder() {
    let (folder, _) = built(1);
    let file = folder.path().join("bootstrap");
    let path = format!("PATH={}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    for words in [&["./bootstrap"][..], &["--env", &path, "bootstrap"]] {
        let mut command = crate::served::lab();
        command.current_dir(&folder).args(["serve", "--port", "0", "--watch"]).args(words);
        let mut served = Served::of(&mut command);
        let watched = served.line_with("lambda-lab: watching ");
        assert_eq!(watched, file.display().to_string(), "{words:?}");
        served.signal("TERM");
    }
}

#[test]
fn a_program_that_is_missing_for_a_moment_is_waited_for() {
    let (folder, function) = built(1);
    let file = folder.path().join("bootstrap");
    let lab = function.start().unwrap();
    assert_eq!(version(&lab), "1");
    fs::remove_file(&file).unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| version(&lab));
        thread::sleep(Duration::from_millis(200));
        build(&file, 2);
        assert_eq!(caller.join().unwrap(), "2");
    });
}

#[test]
fn a_program_that_stays_missing_is_named_and_the_next_one_is_taken() {
    let (folder, function) = built(1);
    let file = folder.path().join("bootstrap");
    let lab = function.start().unwrap();
    assert_eq!(version(&lab), "1");
    fs::remove_file(&file).unwrap();
    let error = lab.invoke("pid").unwrap_err().to_string();
    assert!(error.contains("Runtime.InvalidEntrypoint"), "{error}");
    let reason = format!("{} is missing, or not executable, after 10s", file.display());
    assert!(error.contains(&reason), "{error}");
    build(&file, 2);
    assert_eq!(version(&lab), "2");
}

#[test]
fn the_process_of_a_program_that_stays_missing_is_ended_before_the_next_invocation() {
    let (folder, function) = built(1);
    let file = folder.path().join("bootstrap");
    let lab = function.start().unwrap();
    let pid = text(&lab, "pid").parse().unwrap();
    assert!(lives(pid));
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    lab.invoke("pid").unwrap_err();
    assert!(!lives(pid));
    fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(version(&lab), "1");
}

#[test]
fn a_file_that_does_not_stop_changing_is_named_with_what_to_do() {
    let (folder, _) = built(1);
    let log = folder.path().join("log");
    fs::write(&log, "").unwrap();
    let function = Function::new(folder.path()).watch();
    let lab = function.timeout(PATIENCE).output(Output::Discarded).start().unwrap();
    assert_eq!(version(&lab), "1");
    let error = thread::scope(|scope| {
        let caller = scope.spawn(|| lab.invoke("pid"));
        let mut file = File::options().append(true).open(&log).unwrap();
        while !caller.is_finished() {
            file.write_all(b"more").unwrap();
            thread::sleep(Duration::from_millis(10));
        }
        caller.join().unwrap().unwrap_err().to_string()
    });
    let reason = format!(
        "{} still changes after 10s: move it out of the task root, or wait for the build",
        log.display()
    );
    assert!(error.contains(&reason), "{error}");
}

/// Linux does not execute a file that is open for writing.
#[cfg(target_os = "linux")]
#[test]
fn a_program_that_is_being_written_is_waited_for() {
    let (folder, function) = built(1);
    let file = folder.path().join("bootstrap");
    let lab = function.start().unwrap();
    assert_eq!(version(&lab), "1");
    let text = script(2);
    let (start, rest) = text.split_at(text.len() / 2);
    let mut open = OpenOptions::new().write(true).truncate(true).open(&file).unwrap();
    open.write_all(start.as_bytes()).unwrap();
    thread::scope(|scope| {
        let caller = scope.spawn(|| version(&lab));
        // Longer than the lab waits for further changes.
        thread::sleep(Duration::from_millis(600));
        open.write_all(rest.as_bytes()).unwrap();
        drop(open);
        assert_eq!(caller.join().unwrap(), "2");
    });
}

#[test]
fn a_change_ends_no_invocation_in_flight() {
    let (folder, function) = built(1);
    let lab = function.concurrency(2).start().unwrap();
    assert_eq!(version(&lab), "1");
    thread::scope(|scope| {
        let slow = scope.spawn(|| lab.invoke("sleep 1500"));
        // The first may come later than the second, which changes nothing for both.
        thread::sleep(Duration::from_millis(300));
        build(&folder.path().join("bootstrap"), 2);
        assert_eq!(version(&lab), "2");
        assert_eq!(slow.join().unwrap().unwrap().body, b"sleep 1500");
    });
}

#[test]
fn each_environment_takes_the_new_program() {
    let (folder, function) = built(1);
    let lab = function.environments(2).start().unwrap();
    let both = |expected: &str| {
        thread::scope(|scope| {
            let slow = scope.spawn(|| lab.invoke("sleep 300").unwrap());
            assert_eq!(version(&lab), expected);
            slow.join().unwrap();
        });
        assert_eq!(version(&lab), expected);
    };
    both("1");
    build(&folder.path().join("bootstrap"), 2);
    both("2");
}

#[test]
fn a_new_snapshot_is_taken_of_the_new_program() {
    let (folder, function) = built(1);
    let lab = function.snapstart().start().unwrap();
    assert_eq!(version(&lab), "1");
    build(&folder.path().join("bootstrap"), 2);
    assert_eq!(version(&lab), "2");
    let pid = text(&lab, "pid");
    assert_eq!(text(&lab, "pid"), pid);
}

#[test]
fn files_of_a_task_root_are_watched_except_for_what_runs_and_builds_leave_there() {
    let (folder, _) = built(1);
    let root = folder.path();
    let function = Function::new(root).watch().timeout(PATIENCE).output(Output::Discarded);
    let lab = function.start().unwrap();
    let mut pid = text(&lab, "pid");
    for (path, is_watched) in [
        ("lib/module.py", true),
        ("lib/module.py", true),
        ("__pycache__/module.pyc", false),
        ("node_modules/some/index.js", false),
        (".git/index", false),
        ("target/debug/x", false),
        ("data", true),
    ] {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let mut file = File::options().create(true).append(true).open(file).unwrap();
        file.write_all(b"more").unwrap();
        let now = text(&lab, "pid");
        assert_eq!(now != pid, is_watched, "{path}");
        pid = now;
    }
    fs::remove_file(root.join("data")).unwrap();
    assert_ne!(text(&lab, "pid"), pid);
}

#[cfg(feature = "zip")]
#[test]
fn an_archive_that_changes_is_unpacked_again() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("f.zip");
    let pack = |version| {
        let mut writer = zip::ZipWriter::new(File::create(&file).unwrap());
        let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
        writer.start_file("bootstrap", options).unwrap();
        writer.write_all(script(version).as_bytes()).unwrap();
        writer.finish().unwrap();
    };
    pack(1);
    let function = Function::new(&file).watch().timeout(PATIENCE).output(Output::Discarded);
    let lab = function.start().unwrap();
    assert_eq!(version(&lab), "1");
    let root = text(&lab, "env LAMBDA_TASK_ROOT");
    pack(2);
    assert_eq!(version(&lab), "2");
    assert!(!Path::new(&root).exists());
    let root = text(&lab, "env LAMBDA_TASK_ROOT");
    lab.stop();
    assert!(!Path::new(&root).exists());
}
