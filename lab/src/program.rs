//! What is given as the program of a function: a command, a folder, or a zip archive.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf, absolute};

use crate::place::Launch;
use crate::process::obstacle;
use crate::settings::Settings;

/// The program of a function, as the command line names it.
///
/// A folder and an archive are task roots: `bootstrap` is started there, as on Lambda.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// An executable file, or a name that is looked up in `PATH`.
    Command(OsString),
    Folder(PathBuf),
    Archive(PathBuf),
}

/// The executable of a task root.
///
/// Source: Lambda Developer Guide, "Building a custom runtime for AWS Lambda".
pub(crate) const BOOTSTRAP: &str = "bootstrap";

impl Program {
    /// What is meant by this word. A name without a slash is looked up in `PATH` first.
    ///
    /// Here and below, `path` is the `PATH` of the function, if that is not the one of the lab.
    pub(crate) fn of(word: &OsStr, path: Option<&OsStr>) -> Self {
        let file = Path::new(word);
        let is_name = !word.as_encoded_bytes().contains(&b'/');
        if is_name && obstacle::look_up(word, path).is_some() {
            Self::Command(word.into())
        } else if file.is_dir() {
            Self::Folder(file.into())
        } else if is_archive(file) {
            Self::Archive(file.into())
        } else {
            Self::Command(word.into())
        }
    }

    /// Checks that there is something to start.
    ///
    /// # Errors
    ///
    /// A text that says what is missing, and what to do.
    pub(crate) fn check(&self, path: Option<&OsStr>) -> Result<(), String> {
        match self {
            Self::Command(program) if is_named_archive(Path::new(program)) => {
                obstacle::check(program, path).map_err(|_| {
                    format!(
                        "no file {}: give the path of the zip archive, and make it first",
                        program.display()
                    )
                })
            }
            Self::Command(program) => obstacle::check(program, path),
            Self::Folder(folder) => {
                let bootstrap = folder.join(BOOTSTRAP);
                if !bootstrap.is_file() {
                    return Err(format!(
                        "no file {}: a folder that is given as the program is a task root, whose \
                         bootstrap is started; build it, or give the program itself",
                        bootstrap.display()
                    ));
                }
                obstacle::check(absolute(&bootstrap).unwrap_or(bootstrap).as_os_str(), path)
            }
            Self::Archive(archive) => {
                crate::archive::check(archive).map_err(|error| error.to_string())
            }
        }
    }

    /// The file that is executed, or the archive that holds it.
    pub(crate) fn file(&self, path: Option<&OsStr>) -> PathBuf {
        match self {
            Self::Command(program) => match obstacle::look_up(program, path) {
                Some(file) => absolute(&file).unwrap_or(file),
                None => program.into(),
            },
            Self::Folder(folder) => folder.join(BOOTSTRAP),
            Self::Archive(archive) => archive.clone(),
        }
    }

    /// How the program is started. `unpacked` has the content of an archive, and `temporary` is
    /// for temporary files.
    ///
    /// # Errors
    ///
    /// An error if this program's own folder does not exist any longer.
    pub(crate) fn launch(
        &self,
        settings: &Settings,
        unpacked: PathBuf,
        temporary: PathBuf,
    ) -> io::Result<Launch> {
        let given = settings.task_root.as_deref().map(absolute).transpose()?;
        let (file, folder, is_task_root) = match self {
            Self::Command(program) => (program.into(), folder_of(program, settings.path())?, false),
            Self::Folder(folder) => {
                let folder = absolute(folder)?;
                (folder.join(BOOTSTRAP), folder, true)
            }
            Self::Archive(_) => (unpacked.join(BOOTSTRAP), unpacked, true),
        };
        let working_folder = given.clone().or(is_task_root.then(|| folder.clone()));
        let is_path = file.as_os_str().as_encoded_bytes().contains(&b'/');
        // A relative path would be taken from the new working folder by some systems.
        let file = if working_folder.is_some() && is_path { absolute(file)? } else { file };
        let task_root = given.unwrap_or_else(|| folder.clone());
        Ok(Launch { file, working_folder, task_root, runtime_folder: folder, temporary })
    }
}

/// The folder of a command. An interpreter or a tool, whose folder is in `PATH`, is not the
/// function: its folder is the working one.
fn folder_of(program: &OsStr, path: Option<&OsStr>) -> io::Result<PathBuf> {
    let found = obstacle::look_up(program, path).and_then(|file| absolute(file).ok());
    let folder = found.as_deref().and_then(Path::parent);
    let path = obstacle::in_effect(path);
    match folder.filter(|folder| !std::env::split_paths(&path).any(|it| it == *folder)) {
        Some(folder) => Ok(folder.into()),
        None => std::env::current_dir(),
    }
}

/// Whether this is a zip archive, by its name or its first bytes.
fn is_archive(path: &Path) -> bool {
    if !path.is_file() {
        return false;
    }
    let mut magic = [0; 4];
    let mut read = || fs::File::open(path)?.read_exact(&mut magic);
    is_named_archive(path) || (read().is_ok() && magic == *b"PK\x03\x04")
}

fn is_named_archive(path: &Path) -> bool {
    path.extension().is_some_and(|it| it.eq_ignore_ascii_case("zip"))
}
