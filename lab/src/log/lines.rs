//! The lines of the lab about an invocation.

use std::fmt;
use std::time::Duration;

use super::plain::Plain;
use crate::answer::ErrorType;

/// The version of a function that was never published.
pub(crate) const VERSION: &str = "$LATEST";

/// The REPORT line, the last line of an invocation.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) request_id: &'a str,
    /// The fields of a sampled trace.
    pub(crate) trace: Option<String>,
    pub(crate) metrics: Metrics,
    pub(crate) status: Status,
}

/// The numbers of an invocation, as REPORT and telemetry have them.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// From the event to the runtime's following `next`.
    pub(crate) duration: Duration,
    /// From the start of the process to its first `next`, if it was started for this invocation.
    pub(crate) init: Option<Duration>,
    /// From the restore of the process to its first `next`, if it was restored for this invocation.
    pub(crate) restore: Option<Duration>,
    /// The configured size, in MB as Lambda has it, that is, MiB.
    pub(crate) memory: u32,
    pub(crate) memory_used: Option<u64>,
}

/// A duration in milliseconds, with two digits after the point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Millis(pub(crate) Duration);

/// The INIT_REPORT line of a failed init.
#[derive(Debug)]
pub(crate) struct InitReport<'a> {
    pub(crate) duration: Duration,
    pub(crate) status: &'a Status,
}

/// How an invocation ended, as far as the log is concerned: an error that the runtime reported is a
/// success.
#[derive(Debug)]
pub(crate) enum Status {
    Success,
    Timeout,
    Error(ErrorType),
}

/// Source: Lambda Developer Guide, "Working with Lambda function logs".
impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Metrics { duration, init, restore, memory, memory_used } = &self.metrics;
        write!(
            f,
            "REPORT RequestId: {}\tDuration: {} ms\tBilled Duration: {} ms\tMemory Size: {memory} MB\t",
            Plain(self.request_id),
            Millis(*duration),
            self.metrics.billed_millis(),
        )?;
        if let Some(used) = memory_used {
            write!(f, "Max Memory Used: {used} MB\t")?;
        }
        if let Some(init) = init {
            write!(f, "Init Duration: {} ms\t", Millis(*init))?;
        }
        if let Some(restore) = restore {
            write!(f, "Restore Duration: {} ms\t", Millis(*restore))?;
        }
        write!(f, "{}", self.status)?;
        f.write_str(self.trace.as_deref().unwrap_or_default())
    }
}

impl fmt::Display for InitReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = Millis(self.duration);
        write!(f, "INIT_REPORT Init Duration: {millis} ms\tPhase: init\t{}", self.status)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => Ok(()),
            Self::Timeout => f.write_str("Status: timeout\t"),
            Self::Error(error_type) => {
                write!(f, "Status: error\tError Type: {}\t", Plain(&error_type.name))
            }
        }
    }
}

impl Metrics {
    /// The billed duration: that of the invocation, and of init, in whole milliseconds.
    pub(crate) fn billed_millis(&self) -> u128 {
        let billed = self.duration + self.init.unwrap_or_default();
        billed.as_nanos().div_ceil(1_000_000)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.0.as_secs_f64() * 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_fields_of_lambda() {
        let mut report = Report {
            request_id: "id",
            trace: None,
            metrics: Metrics {
                duration: Duration::from_micros(1234),
                init: None,
                restore: None,
                memory: 128,
                memory_used: Some(7),
            },
            status: Status::Success,
        };
        assert_eq!(
            report.to_string(),
            "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t\
             Max Memory Used: 7 MB\t"
        );
        report.metrics.init = Some(Duration::from_millis(10));
        report.metrics.memory_used = None;
        report.status = Status::Error(ErrorType::of_service("Runtime.ExitError"));
        report.trace = Some("XRAY TraceId: 1\t".into());
        assert_eq!(
            report.to_string(),
            "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 12 ms\tMemory Size: 128 MB\t\
             Init Duration: 10.00 ms\tStatus: error\tError Type: Runtime.ExitError\tXRAY TraceId: \
             1\t"
        );
        report.metrics.restore = Some(Duration::from_millis(20));
        report.status = Status::Timeout;
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
            (Status::Error(ErrorType::of_service("T")), "Status: error\tError Type: T\t"),
        ] {
            let report = InitReport { duration, status: &status }.to_string();
            assert_eq!(
                report,
                format!("INIT_REPORT Init Duration: 9999.71 ms\tPhase: init\t{end}")
            );
        }
    }
}
