//! The APIs that telemetry is subscribed with, and the versions of their records.

/// The API that an extension has subscribed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Telemetry,
    /// The older one, which the Telemetry API supersedes.
    Logs,
}

/// The version of an API's records that a subscriber has chosen.
///
/// Source: Lambda Developer Guide, "Lambda Telemetry API reference" and "Using the Lambda Logs
/// API".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    Logs20200815,
    Logs20210318,
    Telemetry20220701,
    Telemetry20221213,
    Telemetry20250129,
}

/// The records that an extension may subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Platform,
    Function,
    Extension,
}

impl Api {
    /// Its name in the types and texts of errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "Telemetry",
            Self::Logs => "Logs",
        }
    }
}

impl Schema {
    pub(super) const ALL: [Self; 5] = [
        Self::Logs20200815,
        Self::Logs20210318,
        Self::Telemetry20220701,
        Self::Telemetry20221213,
        Self::Telemetry20250129,
    ];

    /// The schema of this name, if the API has it.
    pub(super) fn of(api: Api, name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.api() == api && it.name() == name)
    }

    pub(super) fn api(self) -> Api {
        match self {
            Self::Logs20200815 | Self::Logs20210318 => Api::Logs,
            _ => Api::Telemetry,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Logs20200815 => "2020-08-15",
            Self::Logs20210318 => "2021-03-18",
            Self::Telemetry20220701 => "2022-07-01",
            Self::Telemetry20221213 => "2022-12-13",
            Self::Telemetry20250129 => "2025-01-29",
        }
    }

    /// Whether lines of a function that logs JSON are objects, and not strings.
    pub(super) fn has_objects(self) -> bool {
        matches!(self, Self::Telemetry20221213 | Self::Telemetry20250129)
    }
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Platform, Self::Function, Self::Extension];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Function => "function",
            Self::Extension => "extension",
        }
    }
}
