//! The words that records use, as enums.

use core::fmt;

use lambda_proto::json::JsonStr;

/// How a phase ended [Lambda Developer Guide: Telemetry API schema].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status<'a> {
    /// It succeeded.
    Success,
    /// The environment failed.
    Failure,
    /// The function or its runtime reported an error, or the runtime exited.
    Error,
    /// It reached its deadline.
    Timeout,
    /// A status unknown to this crate.
    Other(JsonStr<'a>),
}

/// The phase in which an init runs [Lambda Developer Guide: Telemetry API schema].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitPhase<'a> {
    /// The init phase.
    Init,
    /// An invocation, which repeats an init that failed or took too long.
    Invoke,
    /// The init before a snapshot.
    SnapStart,
    /// A phase unknown to this crate.
    Other(JsonStr<'a>),
}

/// Why an environment was initialized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitializationType<'a> {
    /// For an invocation.
    OnDemand,
    /// For provisioned concurrency.
    ProvisionedConcurrency,
    /// For a snapshot.
    SnapStart,
    /// For Lambda Managed Instances.
    ManagedInstances,
    /// A type unknown to this crate.
    Other(JsonStr<'a>),
}

/// A word of the service.
pub(super) trait Word<'a>: Copy {
    /// The meaning of this text; `Other` if it has none.
    fn of(text: JsonStr<'a>) -> Self;
}

impl<'a> Word<'a> for Status<'a> {
    fn of(text: JsonStr<'a>) -> Self {
        match text.as_escaped() {
            "success" => Self::Success,
            "failure" => Self::Failure,
            "error" => Self::Error,
            "timeout" => Self::Timeout,
            _ => Self::Other(text),
        }
    }
}

impl<'a> Word<'a> for InitPhase<'a> {
    fn of(text: JsonStr<'a>) -> Self {
        match text.as_escaped() {
            "init" => Self::Init,
            "invoke" => Self::Invoke,
            "snap-start" => Self::SnapStart,
            _ => Self::Other(text),
        }
    }
}

impl<'a> Word<'a> for InitializationType<'a> {
    fn of(text: JsonStr<'a>) -> Self {
        match text.as_escaped() {
            "on-demand" => Self::OnDemand,
            "provisioned-concurrency" => Self::ProvisionedConcurrency,
            "snap-start" => Self::SnapStart,
            "lambda-managed-instances" => Self::ManagedInstances,
            _ => Self::Other(text),
        }
    }
}

/// The word of the service.
impl fmt::Display for Status<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("success"),
            Self::Failure => f.write_str("failure"),
            Self::Error => f.write_str("error"),
            Self::Timeout => f.write_str("timeout"),
            Self::Other(text) => text.fmt(f),
        }
    }
}

/// The word of the service.
impl fmt::Display for InitPhase<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init => f.write_str("init"),
            Self::Invoke => f.write_str("invoke"),
            Self::SnapStart => f.write_str("snap-start"),
            Self::Other(text) => text.fmt(f),
        }
    }
}

/// The word of the service.
impl fmt::Display for InitializationType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnDemand => f.write_str("on-demand"),
            Self::ProvisionedConcurrency => f.write_str("provisioned-concurrency"),
            Self::SnapStart => f.write_str("snap-start"),
            Self::ManagedInstances => f.write_str("lambda-managed-instances"),
            Self::Other(text) => text.fmt(f),
        }
    }
}
