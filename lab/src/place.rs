//! What one environment has of its own: the address of its Runtime API, and its folders.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};

use crate::log::Log;
use crate::process::{children, obstacle};
use crate::program::Program;
use crate::settings::Settings;

/// The place where the processes of an environment run.
///
/// Its folder lives as long as the environment: through freezes, and when the process is replaced
/// after a failure or a timeout.
///
/// Source: Lambda Developer Guide, "Understanding the Lambda execution environment lifecycle".
#[derive(Debug)]
pub(crate) struct Place {
    /// The address at which the function reaches the Runtime API.
    pub(crate) runtime_api: SocketAddr,
    /// `None` for an external runtime, and after the end.
    content: Mutex<Option<Content>>,
}

#[derive(Debug)]
struct Content {
    folder: Folder,
    // Declared after the folder, so that it takes over if the lab is killed while that is removed.
    _cleaner: Cleaner,
    /// An archive is unpacked in the folder, and may have been removed since.
    program: Program,
}

/// A temporary folder, which is removed when this is dropped.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    log: Log,
}

/// A shell that waits for the end of its input, which means that the lab has been killed, and then
/// removes the folder.
#[derive(Debug)]
struct Cleaner(Child);

/// It waits a moment, as the processes of the function are killed at the same time. As
/// [`Folder::remove`], it makes folders writable if that is needed.
const CLEANER: &str = "trap '' HUP INT TERM; read -r _; sleep 1; rm -rf -- \"$0\" || \
                       { chmod -R u+rwx -- \"$0\"; rm -rf -- \"$0\"; }";

/// What a process is started with that belongs to its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    /// The file to execute, or a name to be looked up in `PATH`.
    pub(crate) file: PathBuf,
    /// `None` for the folder of this program.
    pub(crate) working_folder: Option<PathBuf>,
    pub(crate) task_root: PathBuf,
    pub(crate) runtime_folder: PathBuf,
    /// For temporary files.
    pub(crate) temporary: PathBuf,
}

/// The parts of the folder: temporary files, and an archive's content.
const TEMPORARY: &str = "tmp";
const TASK: &str = "task";

impl Place {
    /// # Errors
    ///
    /// An error, which says what to do, if a folder cannot be made, or an archive cannot be
    /// unpacked.
    pub(crate) fn new(settings: &Settings, runtime_api: SocketAddr) -> io::Result<Self> {
        let place = Self { runtime_api, content: Mutex::new(None) };
        place.renew(settings)?;
        Ok(place)
    }

    /// Removes the folder, and makes another one, as in a new environment. An archive is unpacked
    /// again.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new). The folder is kept.
    pub(crate) fn renew(&self, settings: &Settings) -> io::Result<()> {
        let Some(program) = &settings.program else { return Ok(()) };
        let folder = Folder::new(&settings.log).map_err(|error| {
            let all = std::env::temp_dir();
            let reason = format!(
                "cannot make a temporary folder in {}: {error}; set TMPDIR to another one",
                all.display()
            );
            io::Error::new(error.kind(), reason)
        })?;
        let cleaner = Cleaner::start(&folder.path)?;
        let program = Program::of(program, settings.path());
        if let Program::Archive(archive) = &program {
            crate::archive::unpack(archive, &folder.path.join(TASK))?;
        }
        let earlier = self.lock().replace(Content { folder, _cleaner: cleaner, program });
        drop(earlier);
        Ok(())
    }

    /// What the next process is started with.
    ///
    /// # Errors
    ///
    /// An error for an external runtime, and after the end.
    pub(crate) fn launch(&self, settings: &Settings) -> io::Result<Launch> {
        let content = self.lock();
        let Some(Content { folder, program, .. }) = content.as_ref() else {
            return Err(io::Error::other("the environment has ended"));
        };
        program.launch(settings, folder.path.join(TASK), folder.path.join(TEMPORARY))
    }

    /// Removes the folder for good.
    pub(crate) fn remove(&self) {
        // Without the lock, as it may take a while.
        let content = self.lock().take();
        drop(content);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Content>> {
        self.content.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Folder {
    /// A new folder, with one for temporary files in it.
    fn new(log: &Log) -> io::Result<Self> {
        let path = tempfile::Builder::new().prefix("lambda-lab-").tempdir()?.keep();
        let folder = Self { path, log: log.clone() };
        fs::create_dir(folder.path.join(TEMPORARY))?;
        Ok(folder)
    }

    fn remove(&self) -> io::Result<()> {
        // An empty folder is removed without a descriptor, of which there may be none.
        let _ = fs::remove_dir(self.path.join(TEMPORARY));
        fs::remove_dir(&self.path).or_else(|_| fs::remove_dir_all(&self.path)).or_else(|_| {
            // A function may leave folders that are not writable, as Go's module cache has them.
            make_writable(&self.path);
            fs::remove_dir_all(&self.path)
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            let path = self.path.display();
            let line = format!("lambda-lab: cannot remove {path}: {error}; remove it by hand");
            self.log.lines(&[&line]);
        }
    }
}

/// Makes the folders in this one writable, as far as that is allowed.
fn make_writable(folder: &Path) {
    let _ = fs::set_permissions(folder, Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

impl Cleaner {
    /// # Errors
    ///
    /// An error that says what to do.
    fn start(folder: &Path) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", CLEANER]).arg(folder).stdin(Stdio::piped()).stdout(Stdio::null());
        // In a group of its own, so that Ctrl-C does not reach it.
        command.stderr(Stdio::null()).env_clear().process_group(0);
        let cleaner = children::spawn_cleaner(&mut command).map_err(|error| {
            let remedy = obstacle::remedy(&error).unwrap_or_default();
            let reason =
                format!("cannot start /bin/sh, which removes temporary files: {error}{remedy}");
            io::Error::new(error.kind(), reason)
        })?;
        Ok(Self(cleaner))
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = children::reap(&mut self.0);
    }
}
