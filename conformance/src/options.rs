//! What the command lines of both commands share.

use std::time::Duration;

use lexopt::ValueExt as _;

/// An error of the command line, with what to do.
pub(crate) fn words(error: lexopt::Error) -> String {
    format!("{error}; see --help")
}

/// The value of `--patience`.
///
/// # Errors
///
/// A text if it is not a number of seconds above 0.
pub(crate) fn patience(parser: &mut lexopt::Parser) -> Result<Duration, String> {
    let seconds = parser.value().and_then(|it| it.parse::<u32>()).map_err(words)?;
    match seconds {
        0 => Err("--patience needs at least 1 second".to_owned()),
        seconds => Ok(Duration::from_secs(seconds.into())),
    }
}
