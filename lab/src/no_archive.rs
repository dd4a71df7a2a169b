//! In the place of `archive`, without the feature `zip`.

use std::io;
use std::path::Path;

/// # Errors
///
/// Always.
pub(crate) fn check(archive: &Path) -> io::Result<()> {
    Err(io::Error::other(format!(
        "cannot use the zip archive {}: this lab is built without the feature zip; unpack it, and \
         give the folder",
        archive.display()
    )))
}

/// # Errors
///
/// Always.
pub(crate) fn unpack(archive: &Path, _folder: &Path) -> io::Result<()> {
    check(archive)
}
