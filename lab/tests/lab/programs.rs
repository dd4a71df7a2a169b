//! What is given as the program: a command, a folder, or a zip archive.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::program_files::write_program;
use crate::served::lab;

/// A bootstrap that says where it runs.
const TELL: &str = "#!/bin/sh\necho in $PWD, task $LAMBDA_TASK_ROOT, runtime $LAMBDA_RUNTIME_DIR, \
                    file $(cat data), arguments $@ >&2\npwd -P >&2\n";

fn executable(file: &Path, text: &str) {
    write_program(file, text, "755");
}

/// What a function prints that exits at once.
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Why the lab does not start.
fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A folder with a bootstrap, and a file for it to read.
fn task_root() -> TempDir {
    let folder = TempDir::new().unwrap();
    executable(&folder.path().join("bootstrap"), TELL);
    fs::write(folder.path().join("data"), "found").unwrap();
    folder
}

#[test]
fn a_folder_is_a_task_root_whose_bootstrap_is_started_there() {
    let folder = task_root();
    let root = fs::canonicalize(folder.path()).unwrap();
    let root = root.display();
    let parent = folder.path().parent().unwrap();
    let relative = folder.path().file_name().unwrap();
    for given in [folder.path().as_os_str(), &Path::new(".").join(relative).into_os_string()] {
        let text = printed(lab().current_dir(parent).arg("run").arg(given).args(["x", "y"]));
        let line =
            format!("in {root}, task {root}, runtime {root}, file found, arguments x y\n{root}\n");
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn a_program_is_started_in_the_folder_of_the_lab_and_its_own_is_the_task_root() {
    let folder = task_root();
    let root = folder.path().display();
    let elsewhere = TempDir::new().unwrap();
    fs::write(elsewhere.path().join("data"), "elsewhere").unwrap();
    let here = elsewhere.path().display();
    let bootstrap = folder.path().join("bootstrap");
    let text = printed(lab().current_dir(&elsewhere).arg("run").arg(&bootstrap));
    let line = format!("in {here}, task {root}, runtime {root}, file elsewhere, arguments");
    assert!(text.contains(&line), "{text}");
    // A relative path, and a name without a slash in the folder of the lab.
    let text = printed(lab().current_dir(&folder).args(["run", "./bootstrap"]));
    assert!(text.contains(&format!("in {root}, task {root}, ")), "{text}");
}

#[test]
fn a_program_from_path_has_the_working_folder_as_its_task_root() {
    let folder = task_root();
    let root = folder.path().display();
    for program in ["sh", "/bin/sh"] {
        let text = printed(lab().current_dir(&folder).args(["run", program, "bootstrap"]));
        let line = format!("in {root}, task {root}, runtime {root}, file found, arguments");
        assert!(text.contains(&line), "{program}: {text}");
    }
}

#[test]
fn a_name_is_looked_up_in_the_path_of_the_function() {
    let (tools, here) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    executable(&tools.path().join("tool"), "#!/bin/sh\necho a tool, task $LAMBDA_TASK_ROOT >&2\n");
    // A folder of the same name, which is what the word would mean without the tool.
    fs::create_dir(here.path().join("tool")).unwrap();
    executable(&here.path().join("tool/bootstrap"), "#!/bin/sh\necho a task root >&2\n");
    let path = std::env::var("PATH").unwrap();
    let both = format!("PATH={}:{path}", tools.path().display());
    let text = printed(lab().current_dir(&here).args(["run", "--env", &both, "tool"]));
    assert!(text.contains(&format!("a tool, task {}\n", here.path().display())), "{text}");
    // The lab's own, which the function does not have.
    let (without, with) = (format!("PATH={path}"), &both["PATH=".len()..]);
    let mut command = lab();
    command.env("PATH", with).current_dir(&here).args(["run", "--env", &without, "tool"]);
    assert!(printed(&mut command).contains("a task root"));
}

#[test]
fn the_task_root_that_is_given_is_also_the_working_folder() {
    let (folder, code) = (task_root(), TempDir::new().unwrap());
    let (root, code_root) = (folder.path().display(), code.path().display());
    fs::write(code.path().join("data"), "code").unwrap();
    let option = ["run", "--task-root", code.path().to_str().unwrap()];
    let line = format!("in {code_root}, task {code_root}, runtime {root}, file code, arguments");
    // As a path from the folder of the lab, and as a folder.
    for given in ["./bootstrap", "."] {
        let text = printed(lab().current_dir(&folder).args(option).arg(given));
        assert!(text.contains(&line), "{given}: {text}");
    }
}

#[test]
fn a_folder_without_an_executable_bootstrap_is_refused() {
    let folder = TempDir::new().unwrap();
    let text = refused(lab().arg("run").arg(folder.path()));
    assert!(text.contains("/bootstrap: a folder that is given as the program is"), "{text}");
    fs::write(folder.path().join("bootstrap"), TELL).unwrap();
    let text = refused(lab().arg("run").arg(folder.path()));
    assert!(text.contains("/bootstrap: it is not executable: run chmod +x /"), "{text}");
}

#[cfg(not(feature = "zip"))]
#[test]
fn a_lab_without_the_feature_refuses_an_archive() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("f.zip"), "PK").unwrap();
    let text = refused(lab().current_dir(&folder).args(["run", "f.zip"]));
    assert!(text.contains("built without the feature zip; unpack it"), "{text}");
}

#[cfg(feature = "zip")]
mod archives {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    const EXECUTABLE: u32 = 0o755;
    const PLAIN: u32 = 0o644;

    /// An archive with these entries.
    fn archive(entries: &[(&str, u32, &[u8])]) -> TempDir {
        let folder = TempDir::new().unwrap();
        let mut writer = ZipWriter::new(fs::File::create(folder.path().join("f.zip")).unwrap());
        for (name, mode, content) in entries {
            let options = SimpleFileOptions::default().unix_permissions(*mode);
            writer.start_file(*name, options).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap();
        folder
    }

    #[test]
    fn a_zip_archive_is_unpacked_and_its_bootstrap_started_there() {
        let folder = archive(&[
            ("bootstrap", EXECUTABLE, TELL.as_bytes()),
            ("data", PLAIN, b"unpacked"),
            ("lib/tool", EXECUTABLE, b"#!/bin/sh\n"),
        ]);
        let text = printed(lab().current_dir(&folder).args(["run", "f.zip", "x"]));
        let root = text.split("in ").nth(1).unwrap().split(", task ").next().unwrap();
        let line = format!("in {root}, task {root}, runtime {root}, file unpacked, arguments x\n");
        assert!(text.contains(&line), "{text}");
        assert!(!Path::new(root).exists(), "it is removed with the environment");
        // By its content, whatever its name is.
        fs::rename(folder.path().join("f.zip"), folder.path().join("package")).unwrap();
        let text = printed(lab().arg("run").arg(folder.path().join("package")));
        assert!(text.contains("file unpacked"), "{text}");
    }

    /// The writer does not know the sizes in advance, as `zip` does not if it writes to a pipe.
    #[test]
    fn a_streamed_archive_is_unpacked() {
        let folder = TempDir::new().unwrap();
        let mut writer = ZipWriter::new_stream(Vec::new());
        for (name, mode, content) in
            [("bootstrap", EXECUTABLE, TELL), ("data", PLAIN, "streamed"), ("empty", PLAIN, "")]
        {
            let options = SimpleFileOptions::default().unix_permissions(mode);
            writer.start_file(name, options).unwrap();
            writer.write_all(content.as_bytes()).unwrap();
        }
        let bytes = writer.finish().unwrap().into_inner();
        const DATA_DESCRIPTOR: u8 = 8;
        assert_eq!(bytes[6] & DATA_DESCRIPTOR, DATA_DESCRIPTOR, "it was not streamed");
        fs::write(folder.path().join("f.zip"), bytes).unwrap();
        let text = printed(lab().current_dir(&folder).args(["run", "f.zip"]));
        assert!(text.contains("file streamed"), "{text}");
    }

    #[test]
    fn an_environment_keeps_the_content_of_an_archive_that_is_removed() {
        let folder = archive(&[("bootstrap", EXECUTABLE, b"#!/bin/sh\nexit 3\n")]);
        let file = folder.path().join("f.zip");
        let function = lambda_lab::Function::new(&file).output(lambda_lab::Output::Discarded);
        let lab = function.start().unwrap();
        fs::remove_file(&file).unwrap();
        for _ in 0..2 {
            let error = lab.invoke("{}").unwrap_err().to_string();
            assert!(error.contains("exit status 3"), "{error}");
        }
    }

    #[test]
    fn the_files_of_an_archive_have_their_modes_but_no_special_ones() {
        let script = "#!/bin/sh\nls -lR . >&2\n./link >&2\n";
        const SET_USER_ID: u32 = 0o104_755;
        let folder = TempDir::new().unwrap();
        let mut writer = ZipWriter::new(fs::File::create(folder.path().join("f.zip")).unwrap());
        let mode = |mode| SimpleFileOptions::default().unix_permissions(mode);
        writer.add_directory("sealed", mode(0o555)).unwrap();
        writer.start_file("sealed/file", mode(0o444)).unwrap();
        writer.start_file("tool", mode(0o755)).unwrap();
        writer.write_all(b"#!/bin/sh\necho the tool\n").unwrap();
        writer.add_symlink("link", "tool", mode(0o777)).unwrap();
        writer.start_file("bootstrap", mode(0o755)).unwrap();
        writer.write_all(script.as_bytes()).unwrap();
        writer.finish().unwrap();
        // The mode of the last entry of the central directory, which the writer would not take.
        let mut bytes = fs::read(folder.path().join("f.zip")).unwrap();
        let at = bytes.windows(4).rposition(|it| it == b"PK\x01\x02").unwrap() + 38;
        bytes[at..at + 4].copy_from_slice(&(SET_USER_ID << 16).to_le_bytes());
        fs::write(folder.path().join("f.zip"), bytes).unwrap();
        let text = printed(lab().arg("run").arg(folder.path().join("f.zip")));
        assert!(text.contains("the tool"), "{text}");
        for (name, mode) in
            [("bootstrap", "-rwxr-xr-x"), ("tool", "-rwxr-xr-x"), ("file", "-r--r--r--")]
        {
            let is_file =
                |line: &&str| line.starts_with('-') && line.ends_with(&format!(" {name}"));
            let line = text.lines().find(is_file);
            assert!(line.is_some_and(|line| line.starts_with(mode)), "{name}: {text}");
        }
    }

    #[test]
    fn an_archive_that_cannot_be_a_function_is_refused_with_its_reason() {
        let bootstrap = ("bootstrap", EXECUTABLE, TELL.as_bytes());
        for (entries, reason) in [
            (&[("data", PLAIN, &b"x"[..])][..], "it has no bootstrap, the executable"),
            (&[("app/bootstrap", EXECUTABLE, b"x")], "only app/bootstrap: zip the content"),
            (&[("bootstrap", PLAIN, b"x")], "its bootstrap is not executable: run chmod +x"),
            (&[("../evil", PLAIN, b"x"), bootstrap], "\"../evil\" would be outside"),
            (&[("/tmp/evil", PLAIN, b"x")], "it has no bootstrap"),
        ] {
            let folder = archive(entries);
            let text = refused(lab().current_dir(&folder).args(["run", "f.zip"]));
            assert!(text.contains(reason), "{reason}: {text}");
            assert!(text.contains("cannot use the zip archive f.zip: "), "{text}");
        }
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("f.zip"), "no archive").unwrap();
        let text = refused(lab().current_dir(&folder).args(["run", "f.zip"]));
        assert!(text.contains("cannot use the zip archive f.zip: "), "{text}");
        let text = refused(lab().current_dir(&folder).args(["run", "./missing.zip"]));
        assert!(text.contains("no file ./missing.zip: give the path of the zip archive"), "{text}");
    }

    #[test]
    fn a_link_of_an_archive_cannot_leave_it() {
        let outside = TempDir::new().unwrap();
        let target = outside.path().display().to_string();
        for link in [target.as_str(), "../..", "/etc"] {
            let folder = TempDir::new().unwrap();
            let mut writer = ZipWriter::new(fs::File::create(folder.path().join("f.zip")).unwrap());
            let mode = SimpleFileOptions::default().unix_permissions(EXECUTABLE);
            writer.start_file("bootstrap", mode).unwrap();
            writer.add_symlink("link", link, mode).unwrap();
            writer.start_file("link/evil", mode).unwrap();
            writer.write_all(b"x").unwrap();
            writer.finish().unwrap();
            let output = lab().current_dir(&folder).args(["run", "f.zip"]).output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{text}");
            assert!(text.contains("cannot use the zip archive f.zip: "), "{link}: {text}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn an_archive_may_not_be_larger_than_on_lambda_whatever_it_declares() {
        let content = vec![b'x'; 1_000_000];
        let folder =
            archive(&[("bootstrap", EXECUTABLE, TELL.as_bytes()), ("large", PLAIN, &content)]);
        let file = folder.path().join("f.zip");
        let bytes = fs::read(&file).unwrap();
        // The second entry of the central directory; its uncompressed size is 24 bytes after.
        let at = bytes.windows(4).rposition(|it| it == b"PK\x01\x02").unwrap() + 24;
        for (size, code, reason) in
            [(262_144_000_u32, 2, "Lambda allows 262144000 at most"), (10, 1, "f.zip")]
        {
            let mut bytes = bytes.clone();
            bytes[at..at + 4].copy_from_slice(&size.to_le_bytes());
            fs::write(&file, bytes).unwrap();
            let output = lab().current_dir(&folder).args(["run", "f.zip"]).output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{text}");
            assert!(text.contains(reason), "{size}: {text}");
        }
    }
}
