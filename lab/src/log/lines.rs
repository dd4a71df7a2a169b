//! The lines of the lab about an invocation.

use std::fmt;
use std::time::Duration;

use super::plain::Plain;

/// The version of a function that was never published.
pub(crate) const VERSION: &str = "$LATEST";

/// The REPORT line, the last line of an invocation.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) trace_id: Option<&'a str>,
    /// From the event to the runtime's following `next`.
    pub(crate) duration: Duration,
    /// From the start of the process to its first `next`, if it was started for this invocation.
    pub(crate) init: Option<Duration>,
    /// From the restore of the process to its first `next`, if it was restored for this invocation.
    pub(crate) restore: Option<Duration>,
    /// The configured size, in MB as Lambda has it, that is, MiB.
    pub(crate) memory: u32,
    pub(crate) memory_used: Option<u64>,
    pub(crate) status: Status,
}

/// The INIT_REPORT line of a failed init.
#[derive(Debug)]
pub(crate) struct InitReport<'a> {
    pub(crate) duration: Duration,
    pub(crate) status: &'a Status,
}

/// How an invocation ended, as far as the service is concerned: an error that the runtime reported
/// is a success.
#[derive(Debug)]
pub(crate) enum Status {
    Success,
    Timeout,
    Error(String),
}

/// Source: Lambda Developer Guide, "Working with Lambda function logs".
impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let billed = millis(self.duration + self.init.unwrap_or_default()).ceil();
        write!(
            f,
            "REPORT RequestId: {}\tDuration: {:.2} ms\tBilled Duration: {billed} ms\tMemory Size: {} MB\t",
            Plain(self.request_id),
            millis(self.duration),
            self.memory
        )?;
        if let Some(used) = self.memory_used {
            write!(f, "Max Memory Used: {used} MB\t")?;
        }
        if let Some(init) = self.init {
            write!(f, "Init Duration: {:.2} ms\t", millis(init))?;
        }
        if let Some(restore) = self.restore {
            write!(f, "Restore Duration: {:.2} ms\t", millis(restore))?;
        }
        write!(f, "{}", self.status)?;
        if let Some(trace_id) = self.trace_id {
            write!(f, "XRAY TraceId: {}\t", Plain(trace_id))?;
        }
        Ok(())
    }
}

impl fmt::Display for InitReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = millis(self.duration);
        write!(f, "INIT_REPORT Init Duration: {millis:.2} ms\tPhase: init\t{}", self.status)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => Ok(()),
            Self::Timeout => f.write_str("Status: timeout\t"),
            Self::Error(error_type) => {
                write!(f, "Status: error\tError Type: {}\t", Plain(error_type))
            }
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
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
            restore: None,
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
        report.status = Status::Error("Runtime.ExitError".into());
        report.trace_id = Some("Root=1");
        assert_eq!(
            report.to_string(),
            "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 12 ms\tMemory Size: 128 MB\t\
             Init Duration: 10.00 ms\tStatus: error\tError Type: Runtime.ExitError\tXRAY TraceId: \
             Root=1\t"
        );
        let restore = Some(Duration::from_millis(20));
        let report = Report { restore, init: None, status: Status::Timeout, ..report };
        assert!(
            report.to_string().contains("\tRestore Duration: 20.00 ms\tStatus: timeout\t"),
            "{report}"
        );
    }

    #[test]
    fn a_report_of_a_start_has_the_fields_of_lambda() {
        let duration = Duration::from_micros(9_999_710);
        for (status, end) in [
            (Status::Timeout, "Status: timeout\t"),
            (Status::Error("T".into()), "Status: error\tError Type: T\t"),
        ] {
            let report = InitReport { duration, status: &status }.to_string();
            assert_eq!(
                report,
                format!("INIT_REPORT Init Duration: 9999.71 ms\tPhase: init\t{end}")
            );
        }
    }
}
