//! Numbers on the command line. What Lambda allows is checked with the other settings.

use std::str::FromStr;

/// A size of the memory in MB.
pub(crate) fn memory(text: &str) -> Result<u32, String> {
    number(text, "a size in MB: write a number from 128 to 10240, such as 512")
}

/// A size of the ephemeral storage in MB.
pub(crate) fn storage(text: &str) -> Result<u32, String> {
    number(text, "a size in MB: write a number from 512 to 10240, such as 1024")
}

pub(crate) fn port(text: &str) -> Result<u16, String> {
    number(text, "a port: write a number from 0 to 65535, such as 9000")
}

/// A number of environments or invocations.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    number(text, "a count: write a number from 1 to 10000, such as 4")
}

fn number<N: FromStr>(text: &str, wanted: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("\"{text}\" is not {wanted}"))
}
