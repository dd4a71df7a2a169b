//! One measurement: a client with a body, on some cores, for a number of invocations.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use crate::clients::Client;
use crate::error::{During, Error, Result};
use crate::proc::{self, Usage};
use crate::running::{Cores, Running};

/// The cost of one run of a client, per invocation unless stated otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    pub(crate) cpu_micros: f64,
    /// Clock ticks of the whole run, in user space and in the kernel.
    pub(crate) user: u64,
    pub(crate) system: u64,
    pub(crate) voluntary: f64,
    pub(crate) involuntary: f64,
    /// Resident memory at the end, and its peak, in KiB.
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    /// How many connections the client has opened.
    pub(crate) connections: usize,
}

/// Starts the client, warms it up, and measures a number of invocations. For `may_block`, see
/// [`become_fast`](crate::service::Service::become_fast).
pub(crate) fn measure(
    client: &Client,
    body: usize,
    cores: Cores,
    invocations: usize,
    may_block: bool,
) -> Result<Sample> {
    named(client, || {
        let mut running = Running::start(client, body, cores, &[])?;
        running.serve((invocations / 8).max(2 * client.slots).max(20))?;
        running.become_fast(may_block)?;
        // Warm up again in the mode that is measured.
        running.serve(client.slots.max(20))?;
        let before = Usage::of(running.pid())?;
        let elapsed = running.serve(invocations)?;
        let used = Usage::of(running.pid())?.since(before);
        let (resident, peak) = proc::memory(running.pid())?;
        let each = |total: u64| total as f64 / invocations as f64;
        Ok(Sample {
            per_second: invocations as f64 / elapsed.as_secs_f64(),
            cpu_micros: each(used.cpu) / 1000.0,
            user: used.user,
            system: used.system,
            voluntary: each(used.voluntary),
            involuntary: each(used.involuntary),
            resident,
            peak,
            connections: running.service.connections(),
        })
    })
}

/// System calls per invocation, by name.
pub(crate) type Calls = BTreeMap<String, f64>;

/// Counts system calls of all threads with `strace -c`, as the difference of two runs.
pub(crate) fn system_calls(
    client: &Client,
    body: usize,
    cores: Cores,
    invocations: usize,
) -> Result<Calls> {
    named(client, || {
        let once = trace(client, body, cores, invocations)?;
        let twice = trace(client, body, cores, 2 * invocations)?;
        let on_top = |(name, count): (String, u64)| {
            let count = count.checked_sub(once.get(&name).copied().unwrap_or_default())?;
            (count > 0).then(|| (name, count as f64 / invocations as f64))
        };
        Ok(twice.into_iter().filter_map(on_top).collect())
    })
}

fn trace(
    client: &Client,
    body: usize,
    cores: Cores,
    invocations: usize,
) -> Result<BTreeMap<String, u64>> {
    let file = std::env::temp_dir().join(format!("lambda-benches-{}.strace", std::process::id()));
    let path = file.display().to_string();
    let mut running = Running::start(client, body, cores, &["strace", "-f", "-c", "-o", &path])?;
    // Several for each slot, so that all are warm before the measurement.
    running.serve(4 * client.slots)?;
    running.become_fast(true)?;
    running.serve(invocations)?;
    // Give the client time to wait for an event, so that it is in the same call at the end of every
    // run.
    thread::sleep(Duration::from_millis(50));
    running.end_traced()?;
    let text = fs::read_to_string(&file).during(&format!("strace did not write {path}"))?;
    let _best_effort = fs::remove_file(&file);
    Ok(parse_summary(&text))
}

/// Parses lines of `strace -c`: share, seconds, microseconds per call, calls, errors if any, name.
fn parse_summary(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let name = *words.last()?;
        let calls = words.get(3)?.parse().ok()?;
        (name != "total").then(|| (name.to_owned(), calls))
    };
    text.lines().filter_map(line).collect()
}

/// Adds the label of the client to an error.
fn named<T>(client: &Client, act: impl FnOnce() -> Result<T>) -> Result<T> {
    act().map_err(|error| Error::new(format!("{}: {error}", client.label())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_of_strace_is_read_with_and_without_errors() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n \
            60.00    0.000060           1       401           read\n \
            40.00    0.000040           2        20         3 futex\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.000100           1       421         3 total\n";
        let calls = parse_summary(text);
        assert_eq!(
            calls.into_iter().collect::<Vec<_>>(),
            [("futex".to_owned(), 20), ("read".to_owned(), 401)]
        );
    }
}
