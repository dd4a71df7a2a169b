use std::fmt;
use std::io::Write;
use std::time::Duration;

/// The version of a function that was never published.
pub(crate) const VERSION: &str = "$LATEST";

/// The lab's own lines, on standard error.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Log {
    Stderr,
    Discarded,
}

/// What the last line of an invocation tells.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) trace_id: Option<&'a str>,
    /// From the event to the runtime's next `next`.
    pub(crate) duration: Duration,
    /// From the start of the process to its first `next`, if it was started for this invocation.
    pub(crate) init: Option<Duration>,
    /// In MB, which means MiB.
    pub(crate) memory: u32,
    pub(crate) memory_used: Option<u64>,
    pub(crate) status: Status<'a>,
}

/// How an invocation ended, as far as the service is concerned: an error that the runtime reported is
/// a success.
#[derive(Debug)]
pub(crate) enum Status<'a> {
    Success,
    Timeout,
    Error(&'a str),
}

impl Log {
    pub(crate) fn line(self, line: impl fmt::Display) {
        match self {
            Self::Stderr => {
                // In one piece, for the runtime writes there as well; and nobody is told that nobody
                // can be told.
                let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
            }
            Self::Discarded => {}
        }
    }

    pub(crate) fn start(self, request_id: &str) {
        self.line(format_args!("START RequestId: {request_id} Version: {VERSION}"));
    }

    pub(crate) fn end(self, report: &Report<'_>) {
        self.line(format_args!("END RequestId: {}", report.request_id));
        self.line(report);
    }
}

/// Source: Lambda Developer Guide, "Working with Lambda function logs".
impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let billed = millis(self.duration + self.init.unwrap_or_default()).ceil();
        write!(
            f,
            "REPORT RequestId: {}\tDuration: {:.2} ms\tBilled Duration: {billed} ms\tMemory Size: {} MB\t",
            self.request_id,
            millis(self.duration),
            self.memory
        )?;
        if let Some(used) = self.memory_used {
            write!(f, "Max Memory Used: {used} MB\t")?;
        }
        if let Some(init) = self.init {
            write!(f, "Init Duration: {:.2} ms\t", millis(init))?;
        }
        match self.status {
            Status::Success => {}
            Status::Timeout => f.write_str("Status: timeout\t")?,
            Status::Error(error_type) => {
                write!(f, "Status: error\tError Type: {error_type}\t")?;
            }
        }
        if let Some(trace_id) = self.trace_id {
            write!(f, "XRAY TraceId: {trace_id}\t")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_fields_of_lambda() {
        let mut report = Report {
            request_id: "id",
            trace_id: None,
            duration: Duration::from_micros(1234),
            init: None,
            memory: 128,
            memory_used: Some(7),
            status: Status::Success,
        };
        assert_eq!(
            report.to_string(),
            "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t\
             Max Memory Used: 7 MB\t"
        );
        report.init = Some(Duration::from_millis(10));
        report.memory_used = None;
        report.status = Status::Error("Runtime.ExitError");
        report.trace_id = Some("Root=1");
        assert_eq!(
            report.to_string(),
            "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 12 ms\tMemory Size: 128 MB\t\
             Init Duration: 10.00 ms\tStatus: error\tError Type: Runtime.ExitError\tXRAY TraceId: \
             Root=1\t"
        );
    }
}
