//! Programs that cannot be started, and a lab without descriptors: what is said, and what to do.

use std::path::PathBuf;
use std::process::Command;

use crate::program_files::write_program;
use crate::served::{Served, lab};
use crate::support::{Connection, wait_until};

/// A file that is gone after the test.
struct Written(PathBuf);

impl Written {
    fn new(name: &str, content: &str, mode: &str) -> Self {
        let file = std::env::temp_dir().join(format!("lambda-lab-{}-{name}", std::process::id()));
        write_program(&file, content, mode);
        Self(file)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_program_that_cannot_be_started_ends_the_lab_with_what_to_do() {
    for (name, content, mode, words) in [
        ("mode", "#!/bin/sh\n", "644", "is not executable: run chmod +x "),
        (
            "crlf",
            "#!/bin/sh\r\n",
            "755",
            "the interpreter \"/bin/sh\\r\" does not exist: the first",
        ),
        ("none", "#!/no/such/python -u\n", "755", "the interpreter \"/no/such/python\" of its"),
    ] {
        let file = Written::new(name, content, mode);
        let output = lab().arg("run").arg(&file.0).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {said}");
        let expected = format!("lambda-lab: cannot start {}: ", file.0.display());
        assert!(said.starts_with(&expected) && said.contains(words), "{name}: {said}");
        assert_eq!(said.lines().count(), 1, "{name}: {said}");
    }
}

#[test]
fn a_program_in_a_wrong_format_fails_the_invocation_with_what_to_do() {
    let file = Written::new("format", "exec true\n", "755");
    let output = lab().arg("run").arg(&file.0).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a script begins with its interpreter, such as #!/bin/sh"), "{said}");
    assert!(said.contains("Runtime.InvalidEntrypoint"), "{said}");
}

#[test]
fn a_lab_that_has_too_few_descriptors_for_its_folder_says_so_and_leaves_none() {
    let all = tempfile::TempDir::new().unwrap();
    let mut refused = 0;
    // With fewer it cannot listen, and with more it starts.
    for most in 10..30 {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {most}; exec \"$0\" run true");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_lambda-lab")]).env("TMPDIR", all.path());
        let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
        if said.contains("temporary") {
            refused += 1;
            assert!(said.contains("raise its limit with ulimit -n"), "{most}: {said}");
            assert!(!said.contains("TMPDIR") && !said.contains("cannot remove"), "{most}: {said}");
        }
        assert_eq!(std::fs::read_dir(&all).unwrap().count(), 0, "{most}: {said}");
    }
    assert!(refused > 0);
}

#[test]
fn a_lab_without_descriptors_says_so_and_goes_on() {
    let bootstrap = std::env::current_exe().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 40; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_lambda-lab")]);
    command.args(["serve", "--port", "0"]).arg(bootstrap);
    command.args(["--exact", "bootstrap", "--nocapture"]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let mut served = Served::of(&mut command);
    let mut first = Connection::open(&served.address);
    // Answered, so that it has been accepted.
    assert_eq!(first.request("GET /", &[], "").status, 404);
    let others: Vec<_> = (0..60).map(|_| Connection::open(&served.address)).collect();
    let said = served.line_with("cannot accept a connection: ");
    assert!(said.contains("raise its limit with ulimit -n"), "{said}");
    let line = "POST /2015-03-31/functions/function/invocations";
    let failed = first.request(line, &[], "1").text();
    assert!(failed.contains("Runtime.InvalidEntrypoint"), "{failed}");
    assert!(failed.contains("raise its limit with ulimit -n"), "{failed}");
    drop(others);
    wait_until("there are descriptors again", || first.request(line, &[], "1").text() == "1");
}
