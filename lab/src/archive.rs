//! A function that is deployed as a zip archive.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use crate::process::obstacle;
use crate::program::BOOTSTRAP;

/// The most that the content of an archive may take, in bytes.
///
/// Source: Lambda Developer Guide, "Lambda quotas".
const MAX_SIZE: u64 = 262_144_000;

/// The file type of a Unix mode, and its value for symbolic links.
const TYPE: u32 = 0o170_000;
const LINK: u32 = 0o120_000;

/// Checks that the archive holds a bootstrap, without unpacking it.
///
/// # Errors
///
/// An error that says what is wrong with it, and what to do.
pub(crate) fn check(archive: &Path) -> io::Result<()> {
    let mut entries = open(archive)?;
    let wrong = |what: &str| Err(invalid(archive, what));
    let (mut size, mut bootstrap, mut nested) = (0, None, None);
    for index in 0..entries.len() {
        let entry = entries.by_index_raw(index).map_err(|error| unreadable(archive, error))?;
        let Some(path) = entry.enclosed_name() else {
            let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
            return wrong(&format!("its entry {name:?} would be outside of the task root"));
        };
        // The size in the central directory, beyond which no entry is unpacked. The archive does
        // not know the sum if it was streamed.
        size += u128::from(entry.size());
        if path.as_path() == Path::new(BOOTSTRAP) {
            bootstrap = Some((entry.is_dir(), entry.unix_mode()));
        } else if path.file_name().is_some_and(|it| it == BOOTSTRAP) {
            nested = Some(path);
        }
    }
    if size > u128::from(MAX_SIZE) {
        return wrong(&format!("its content has {size} bytes: Lambda allows {MAX_SIZE} at most"));
    }
    match (bootstrap, nested) {
        (Some((true, _)), _) => {
            wrong("its bootstrap is a folder: it has to be the executable file")
        }
        (Some((false, Some(mode))), _) if mode & TYPE == LINK || mode & 0o111 != 0 => Ok(()),
        (Some((false, _)), _) => wrong(
            "its bootstrap is not executable: run chmod +x bootstrap, and zip it again on Linux or \
             macOS, so that the archive has the file's mode",
        ),
        (None, Some(path)) => wrong(&format!(
            "it has no bootstrap, only {}: zip the content of the folder, not the folder",
            path.display()
        )),
        (None, None) => {
            wrong("it has no bootstrap, the executable that is started: add it at the top")
        }
    }
}

/// Unpacks the archive into this folder, which does not exist yet.
///
/// # Errors
///
/// An error that says what is wrong with it. The folder may be incomplete then.
pub(crate) fn unpack(archive: &Path, folder: &Path) -> io::Result<()> {
    check(archive)?;
    open(archive)?.extract(folder).map_err(|error| unreadable(archive, error))?;
    tame(folder)
}

/// Removes what a mode may do to others than the function, and makes sure that each folder can be
/// removed.
fn tame(folder: &Path) -> io::Result<()> {
    let mode = fs::metadata(folder)?.permissions().mode();
    fs::set_permissions(folder, Permissions::from_mode(mode & 0o777 | 0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (kind, mode) = (entry.file_type()?, entry.metadata()?.permissions().mode());
        if kind.is_dir() {
            tame(&entry.path())?;
        } else if kind.is_file() {
            fs::set_permissions(entry.path(), Permissions::from_mode(mode & 0o777 | 0o400))?;
        }
    }
    Ok(())
}

fn open(archive: &Path) -> io::Result<ZipArchive<File>> {
    let file = File::open(archive).map_err(|error| {
        let remedy = obstacle::remedy(&error).unwrap_or_default();
        let reason = format!("cannot open {}: {error}{remedy}", archive.display());
        io::Error::new(error.kind(), reason)
    })?;
    ZipArchive::new(file).map_err(|error| unreadable(archive, error))
}

fn unreadable(archive: &Path, error: ZipError) -> io::Error {
    if let ZipError::Io(error) = &error
        && error.raw_os_error().is_some()
    {
        // The system's, which says nothing about the archive.
        let remedy = obstacle::remedy(error).unwrap_or_default();
        let reason = format!("cannot unpack {}: {error}{remedy}", archive.display());
        return io::Error::new(error.kind(), reason);
    }
    invalid(archive, &format!("{error}; it must be a whole zip file, without encryption"))
}

fn invalid(archive: &Path, what: &str) -> io::Error {
    let reason = format!("cannot use the zip archive {}: {what}", archive.display());
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
