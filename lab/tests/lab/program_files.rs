//! Programs that tests write.
//!
//! Other processes write them. If this one had a file open for writing while another test forks, the
//! new process would have it open, too, and nobody could execute the file until it has executed its
//! own program.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes a program with these permissions, in octal digits.
pub(crate) fn write_program(file: &Path, content: &str, mode: &str) {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "cat > \"$0\" && chmod \"$1\" \"$0\""]).arg(file).arg(mode);
    let mut shell = shell.stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
}

/// Copies a program. Returns whether that was possible.
pub(crate) fn copy_program(from: &str, to: &Path) -> bool {
    Command::new("cp").arg(from).arg(to).stderr(Stdio::null()).status().unwrap().success()
}
