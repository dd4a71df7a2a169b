//! Processes of a function that run at the same time.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

/// Processes of a function that wait for each other, so that they run at the same time.
pub(crate) struct Meeting {
    /// Each process that takes part leaves a file in it.
    folder: TempDir,
    count: usize,
}

impl Meeting {
    pub(crate) fn of(count: usize) -> Self {
        Self { folder: TempDir::new().unwrap(), count }
    }

    /// The event for each of them: they meet, and then do what this event says.
    pub(crate) fn then(&self, event: &str) -> String {
        format!("meet {} {} {event}", self.count, self.folder.path().display())
    }
}

/// Returns the rest of such an event, after the meeting, or another one as it is.
pub(crate) fn attend(event: &str) -> &str {
    let mut words = event.splitn(4, ' ');
    let (Some("meet"), Some(count), Some(folder)) = (words.next(), words.next(), words.next())
    else {
        return event;
    };
    let folder = Path::new(folder);
    std::fs::write(folder.join(std::process::id().to_string()), "").unwrap();
    while std::fs::read_dir(folder).unwrap().count() < count.parse().unwrap() {
        std::thread::sleep(Duration::from_millis(10));
    }
    words.next().unwrap_or_default()
}
