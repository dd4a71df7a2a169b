//! The external extensions of this environment, which shorten its shutdown.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::policy::Options;

/// The folder whose entries Lambda starts as external extensions [Lambda Developer Guide:
/// Extensions API].
const FOLDER: &str = "/opt/extensions";

/// The options that follow from external extensions: the shutdown duration, if there are any.
pub(crate) fn options() -> Options {
    options_with(Path::new(FOLDER))
}

fn options_with(folder: &Path) -> Options {
    if has_extensions_in(folder) { Options::WITH_EXTERNAL_EXTENSIONS } else { Options::new() }
}

/// Whether there is an entry that is not a directory (emulator: `agents/agent.go`). If the folder
/// cannot be read, there may be one, and the shorter shutdown is the safe choice.
fn has_extensions_in(folder: &Path) -> bool {
    let mut entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            return !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
        }
    };
    // A link to a directory counts as a link, not as a directory: Lambda starts it.
    entries
        .any(|entry| entry.and_then(|entry| entry.file_type()).map_or(true, |kind| !kind.is_dir()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    /// A new folder, removed on drop.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("lambda-proto-extensions-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_folder_that_is_missing_empty_or_a_file_has_no_extensions() {
        let folder = Folder::new("none");
        assert!(!has_extensions_in(&folder.0));
        assert!(!has_extensions_in(&folder.0.join("missing")));
        let file = folder.0.join("file");
        fs::write(&file, "").unwrap();
        assert!(!has_extensions_in(&file));
    }

    #[test]
    fn extensions_shorten_the_shutdown_unless_its_duration_is_set() {
        let folder = Folder::new("window");
        let set = Options::new().with_shutdown_duration(Duration::from_secs(2)).unwrap();
        let duration = |options: Options| {
            options.or(options_with(&folder.0)).shutdown_window().duration().as_millis()
        };
        assert_eq!((duration(Options::new()), duration(set)), (500, 2000));
        fs::write(folder.0.join("extension"), "").unwrap();
        assert_eq!((duration(Options::new()), duration(set)), (300, 2000));
    }

    #[test]
    fn any_entry_except_a_directory_is_an_extension() {
        let folder = Folder::new("some");
        fs::create_dir(folder.0.join("directory")).unwrap();
        assert!(!has_extensions_in(&folder.0));
        fs::write(folder.0.join("extension"), "").unwrap();
        assert!(has_extensions_in(&folder.0));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_a_directory_is_an_extension() {
        let folder = Folder::new("link");
        std::os::unix::fs::symlink("/", folder.0.join("link")).unwrap();
        assert!(has_extensions_in(&folder.0));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_cannot_be_read_may_have_extensions() {
        let folder = Folder::new("unreadable");
        // A link to itself cannot be followed. A folder without permissions would not do: root can
        // read it.
        let circle = folder.0.join("circle");
        std::os::unix::fs::symlink(&circle, &circle).unwrap();
        assert!(has_extensions_in(&circle));
    }
}
