//! Notices that the program, or an extension, has been built again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tokio::time::sleep;

use crate::program::Program;
use crate::settings::Settings;

/// The files of a function that change when it is built again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    /// The program itself, or the archive. It has to exist.
    program: PathBuf,
    is_archive: bool,
    /// The external extensions. They have to exist, too.
    extensions: BTreeSet<PathBuf>,
    /// The files among the arguments.
    arguments: BTreeSet<PathBuf>,
    /// Folders, with all that is in them.
    folders: BTreeSet<PathBuf>,
}

/// What the files were at one moment. A file that is missing is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    files: BTreeMap<PathBuf, Identity>,
    /// Not all files of the folders are in it.
    is_cut: bool,
}

/// Changes if the file is written, replaced or made executable. The time of the last change of
/// status is left out: it changes with the number of links, which Cargo makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    mode: u32,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

/// How long nothing may have changed before a program is taken for complete.
const QUIET: Duration = Duration::from_millis(300);

/// How long a program that is missing, or being written, is waited for.
pub(crate) const BUILD_PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked at.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// How many files are compared at most.
const MAX_FILES: usize = 10_000;

/// Folders that are not looked into, beside those whose name begins with a dot: they are large, or
/// change when the function runs.
const SKIPPED: [&str; 3] = ["__pycache__", "node_modules", "target"];

impl Watch {
    /// `None` if the settings do not ask for it.
    pub(crate) fn new(settings: &Settings) -> Option<Self> {
        let program = settings.program.as_ref().filter(|_| settings.is_watched)?;
        let program = Program::of(program, settings.path());
        let file = program.file(settings.path());
        let is_archive = matches!(program, Program::Archive(_));
        let mut folders = BTreeSet::from_iter(settings.task_root.clone());
        // The function sees paths from its working folder.
        let mut working_folder = settings.task_root.clone();
        if let Program::Folder(folder) = program {
            working_folder.get_or_insert_with(|| folder.clone());
            folders.insert(folder);
        }
        let working_folder = working_folder.unwrap_or_default();
        let arguments = settings.arguments.iter().map(|it| working_folder.join(it));
        let arguments = arguments.filter(|it| it.is_file() && *it != file).collect();
        let extensions = settings.extensions.iter().cloned().collect();
        Some(Self { program: file, is_archive, extensions, arguments, folders })
    }

    /// What is watched, for people.
    pub(crate) fn describe(&self) -> String {
        let files = self.files().map(|it| it.display().to_string());
        let folders = self.folders.iter().map(|it| format!("all of {}", it.display()));
        files.chain(folders).collect::<Vec<_>>().join(", ")
    }

    /// Looks at all files now.
    pub(crate) fn look(&self) -> Look {
        let mut look = Look::default();
        for file in self.files() {
            if let Ok(metadata) = fs::metadata(file) {
                look.files.insert(file.clone(), Identity::of(&metadata));
            }
        }
        let mut folders: Vec<_> = self.folders.iter().cloned().collect();
        while let Some(folder) = folders.pop() {
            // A folder that cannot be read is as good as empty.
            let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            for entry in entries {
                let (path, name) = (entry.path(), entry.file_name());
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let is_skipped = name.as_encoded_bytes().starts_with(b".")
                        || SKIPPED.iter().any(|skipped| name == *skipped);
                    folders.extend((!is_skipped).then_some(path));
                } else if look.files.len() == MAX_FILES {
                    look.is_cut = true;
                    return look;
                } else if let Ok(metadata) = fs::metadata(&path) {
                    look.files.insert(path, Identity::of(&metadata));
                }
            }
        }
        look
    }

    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.program).chain(&self.extensions).chain(&self.arguments)
    }

    /// Like [`look`](Self::look), on another thread, as it may take a while.
    pub(crate) async fn look_elsewhere(&self) -> Look {
        let watch = self.clone();
        // Fails only if the task panicked, which would be a bug.
        tokio::task::spawn_blocking(move || watch.look()).await.unwrap_or_default()
    }

    /// An executable file that is missing, or not executable.
    fn missing(&self, look: &Look) -> Option<&Path> {
        let is_executable =
            |file: &PathBuf| look.files.get(file).is_some_and(|it| it.mode & 0o111 != 0);
        let is_there = |file: &&PathBuf| match self.is_archive && **file == self.program {
            true => look.files.contains_key(*file),
            false => is_executable(file),
        };
        let mut files = std::iter::once(&self.program).chain(&self.extensions);
        files.find(|file| !is_there(file)).map(PathBuf::as_path)
    }

    /// Waits until the program and the extensions are there, and nothing has changed for a moment.
    ///
    /// # Errors
    ///
    /// A text that says what is missing or still changes after 10 s, and what to do.
    pub(crate) async fn settled(&self) -> Result<Look, String> {
        let began = Instant::now();
        let (mut last, mut since) = (self.look_elsewhere().await, began);
        let mut changed = self.program.clone();
        loop {
            let missing = self.missing(&last);
            if missing.is_none() && (last.is_old() || since.elapsed() >= QUIET) {
                return Ok(last);
            }
            if began.elapsed() > BUILD_PATIENCE {
                return Err(match missing {
                    None => self.changing(&changed),
                    Some(file) => format!(
                        "{} is missing, or not executable, after {BUILD_PATIENCE:?}: build it again",
                        file.display()
                    ),
                });
            }
            sleep(PAUSE).await;
            let look = self.look_elsewhere().await;
            if let Some(file) = last.difference(&look) {
                changed = file.to_owned();
                (last, since) = (look, Instant::now());
            }
        }
    }

    /// What to do about a file that does not stop changing.
    fn changing(&self, file: &Path) -> String {
        let is_built = self.files().any(|it| it == file);
        let remedy = if is_built { "" } else { "move it out of the task root, or " };
        format!(
            "{} still changes after {BUILD_PATIENCE:?}: {remedy}wait for the build",
            file.display()
        )
    }
}

impl Look {
    /// A file that is not the same in both.
    pub(crate) fn difference<'a>(&'a self, other: &'a Self) -> Option<&'a Path> {
        let differs =
            |(path, identity): &(&PathBuf, &Identity)| other.files.get(*path) != Some(*identity);
        let changed = self.files.iter().find(differs).map(|(path, _)| path);
        let added = || other.files.keys().find(|path| !self.files.contains_key(*path));
        changed.or_else(added).map(PathBuf::as_path)
    }

    /// Whether there are more files than are compared.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether the last change was some time ago.
    fn is_old(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.files.values().all(|identity| {
            let seconds = u64::try_from(identity.seconds).unwrap_or_default();
            let nanoseconds = u32::try_from(identity.nanoseconds).unwrap_or_default();
            // A time in the future says nothing.
            now.checked_sub(Duration::new(seconds, nanoseconds)).is_some_and(|age| age >= QUIET)
        })
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            mode: metadata.mode(),
            size: metadata.size(),
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
        }
    }
}
