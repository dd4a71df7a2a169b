//! The environment variables of a runtime, read once at the start. No other module names them.
//!
//! [`endpoint`], [`concurrency`] and [`options`] are for the runtime itself, [`Environment`] is for
//! functions. The Lambda Developer Guide lists the variables in "Defined runtime environment
//! variables". The variables of [`options`] belong to these crates; [`Options`] documents them.
//!
//! Credentials are not read here. They change while the process runs (under SnapStart they come
//! from an endpoint), and the SDKs find them without help.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::sync::OnceLock;

use lambda_proto::api::{Concurrency, Endpoint};
use lambda_proto_extension::metadata::{API_VARIABLE, Metadata, MetadataError, TOKEN_VARIABLE};

use crate::lifecycle::clock;
use crate::policy::{Options, Setting, WrittenOptions};
use crate::{Error, Failure, Format, InvalidValue, Level, external_extensions};

const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";
const MAX_CONCURRENCY: &str = "AWS_LAMBDA_MAX_CONCURRENCY";

/// The address of the Runtime API, from `AWS_LAMBDA_RUNTIME_API`.
///
/// # Errors
///
/// [`Error::MissingVariable`] or [`Error::InvalidVariable`].
pub fn endpoint() -> Result<Endpoint, Error> {
    parse_endpoint(env::var_os(RUNTIME_API))
}

/// How many invocations this environment runs at the same time, from `AWS_LAMBDA_MAX_CONCURRENCY`,
/// as [`Concurrency::slots`] reads it.
///
/// # Errors
///
/// [`Error::InvalidVariable`] if it is not a decimal number, or if there is not enough memory for
/// that many slots.
pub fn concurrency() -> Result<usize, Error> {
    parse_concurrency(env::var_os(MAX_CONCURRENCY))
}

fn parse_endpoint(value: Option<OsString>) -> Result<Endpoint, Error> {
    let value = value.ok_or(Error::MissingVariable { name: RUNTIME_API })?;
    Endpoint::parse(&value.to_string_lossy()).map_err(|reason| Error::InvalidVariable {
        name: RUNTIME_API,
        reason: InvalidValue::Endpoint(reason),
    })
}

/// The least memory in bytes that a slot takes on any transport, for its client and first buffers.
const SLOT: usize = 1024;

fn parse_concurrency(value: Option<OsString>) -> Result<usize, Error> {
    let value = value.unwrap_or_default();
    let value = value.to_string_lossy();
    let invalid = |reason| Error::InvalidVariable { name: MAX_CONCURRENCY, reason };
    let slots = Concurrency::slots(&value).map_err(|reason| {
        invalid(InvalidValue::Slots { value: value.clone().into_owned(), reason })
    })?;
    // Checked here, where the error can name the variable. Later, a `Vec` that cannot grow would
    // abort the process.
    match Vec::<[u8; SLOT]>::new().try_reserve_exact(slots) {
        Ok(()) => Ok(slots),
        Err(_) => Err(invalid(InvalidValue::TooManySlots { slots })),
    }
}

/// The error type if a variable of [`options`] is invalid. AWS defines none for this; its service
/// recognises types of the form `Runtime.` and a word (emulator: `fatalerror/fatalerror.go`).
pub const INVALID_CONFIGURATION: &str = "Runtime.InvalidConfiguration";

/// The prefix of the variables of [`options`]; the name of the setting in capitals follows.
const OPTION_PREFIX: &str = "LAMBDA_PROTO_";

/// The lifecycle options that this environment sets: those of the variables that [`Options`] lists,
/// and the shutdown duration if there are external extensions. Every entry of `/opt/extensions`
/// that is not a directory counts as an extension.
///
/// # Errors
///
/// As [`options_from_lookup`].
pub fn options() -> Result<Options, Failure> {
    let options = options_from_lookup(&|name| env::var_os(name))?;
    Ok(options.or(external_extensions::options()))
}

/// The options that the variables set, read through `lookup`, which is called once for each.
///
/// ```
/// use std::time::Duration;
/// use lambda_proto_host::environment::options_from_lookup;
///
/// let options = options_from_lookup(&|name| match name {
///     "LAMBDA_PROTO_INIT_TIMEOUT_MS" => Some("8000".into()),
///     _ => None,
/// });
/// assert_eq!(options?.init_timeout(), Duration::from_secs(8));
///
/// let failure = options_from_lookup(&|name| match name {
///     "LAMBDA_PROTO_SIGNALS" => Some("yes".into()),
///     _ => None,
/// });
/// assert_eq!(
///     failure.unwrap_err().message(),
///     "LAMBDA_PROTO_SIGNALS is \"yes\": not a boolean: write true or false",
/// );
/// # Ok::<(), lambda_proto_host::Failure>(())
/// ```
///
/// # Errors
///
/// One failure of type [`INVALID_CONFIGURATION`], which names every invalid variable with its value
/// and the reason.
pub fn options_from_lookup(lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<Options, Failure> {
    let mut written = WrittenOptions::default();
    let mut invalid: Vec<(Setting, String)> = Vec::new();
    let variable = |setting: Setting| format!("{OPTION_PREFIX}{}", setting.name().to_uppercase());
    let values = Setting::ALL.map(|setting| lookup(&variable(setting)).unwrap_or_default());
    for (setting, value) in Setting::ALL.into_iter().zip(&values) {
        if value.is_empty() {
            continue;
        }
        let set = value.to_str().ok_or("not UTF-8").and_then(|text| written.set(setting, text));
        if let Err(reason) = set {
            invalid.push((setting, reason.to_owned()));
        }
    }
    let options = written.into_options(|setting, reason| {
        invalid.push((setting, reason.to_string()));
    });
    if invalid.is_empty() {
        return Ok(options);
    }
    invalid.sort_by_key(|(setting, _)| *setting as usize);
    let lines = invalid.iter().map(|(setting, reason)| {
        let value = &values[*setting as usize];
        format!("{} is {value:?}: {reason}", variable(*setting))
    });
    Err(Failure::new(INVALID_CONFIGURATION, lines.collect::<Vec<_>>().join("; ")))
}

/// The environment variables that Lambda sets for a function, read once.
///
/// A variable that is unset, empty or not UTF-8 is absent, and so is a number that does not parse;
/// the caller decides whether that matters. The values never change; under SnapStart they may be
/// those of the time when the snapshot was made.
///
/// ```
/// use lambda_proto_host::environment::Environment;
///
/// let environment = Environment::from_lookup(&|name| match name {
///     "AWS_LAMBDA_FUNCTION_NAME" => Some("orders".into()),
///     "AWS_LAMBDA_FUNCTION_MEMORY_SIZE" => Some("512".into()),
///     _ => None,
/// });
/// assert_eq!(environment.function_name(), Some("orders"));
/// assert_eq!(environment.memory_size_mb(), Some(512));
/// assert_eq!(environment.log_stream(), None);
/// ```
///
/// The default is an environment without any of the variables.
#[derive(Clone, Default)]
pub struct Environment {
    texts: [Option<Box<str>>; VARIABLES],
}

/// A variable; its discriminant is its index in [`NAMES`].
#[derive(Clone, Copy)]
pub(crate) enum Variable {
    Handler,
    TaskRoot,
    RuntimeDir,
    ExecutionEnv,
    FunctionName,
    FunctionVersion,
    MemorySize,
    InitializationType,
    LogGroup,
    LogStream,
    LogFormat,
    LogLevel,
    Region,
    DefaultRegion,
    MetadataApi,
    MetadataToken,
    AccountId,
    XrayContextMissing,
    XrayDaemonAddress,
    TelemetryLogFd,
    TimeZone,
}

const VARIABLES: usize = Variable::TimeZone as usize + 1;

const NAMES: [&str; VARIABLES] = [
    "_HANDLER",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_LOG_FORMAT",
    "AWS_LAMBDA_LOG_LEVEL",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    API_VARIABLE,
    TOKEN_VARIABLE,
    "AWS_ACCOUNT_ID",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "_LAMBDA_TELEMETRY_LOG_FD",
    "TZ",
];

impl Variable {
    /// The name of the variable.
    pub(crate) const fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    /// The value, read through `lookup`; `None` if it is unset, empty or not UTF-8.
    pub(crate) fn text(self, lookup: &dyn Fn(&str) -> Option<OsString>) -> Option<String> {
        read_text(self.name(), lookup)
    }
}

fn read_text(name: &str, lookup: &dyn Fn(&str) -> Option<OsString>) -> Option<String> {
    let value = lookup(name)?.into_string().ok()?;
    (!value.is_empty()).then_some(value)
}

impl Environment {
    /// Reads the environment of this process.
    pub fn read() -> Self {
        Self::from_lookup(&|name| env::var_os(name))
    }

    /// The environment of this process, read on first use.
    pub fn of_process() -> &'static Self {
        static READ: OnceLock<Environment> = OnceLock::new();
        READ.get_or_init(Self::read)
    }

    /// Reads the variables through `lookup`, which is called once for each.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let mut environment = Self::default();
        for (name, text) in NAMES.iter().zip(&mut environment.texts) {
            *text = read_text(name, lookup).map(String::into_boxed_str);
        }
        environment
    }

    /// The configured handler, from `_HANDLER`; its meaning is up to the runtime.
    pub fn handler(&self) -> Option<&str> {
        self.text(Variable::Handler)
    }

    /// The folder with the function's code, from `LAMBDA_TASK_ROOT`.
    pub fn task_root(&self) -> Option<&str> {
        self.text(Variable::TaskRoot)
    }

    /// The folder with the libraries of the runtime, from `LAMBDA_RUNTIME_DIR`.
    pub fn runtime_dir(&self) -> Option<&str> {
        self.text(Variable::RuntimeDir)
    }

    /// The name of the managed runtime, from `AWS_EXECUTION_ENV`; absent under `provided.*`.
    pub fn execution_env(&self) -> Option<&str> {
        self.text(Variable::ExecutionEnv)
    }

    /// The function's name, from `AWS_LAMBDA_FUNCTION_NAME`.
    pub fn function_name(&self) -> Option<&str> {
        self.text(Variable::FunctionName)
    }

    /// The function's version, from `AWS_LAMBDA_FUNCTION_VERSION`: a number, or `$LATEST`.
    pub fn function_version(&self) -> Option<&str> {
        self.text(Variable::FunctionVersion)
    }

    /// The memory that the function may use, in MB, from `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`.
    pub fn memory_size_mb(&self) -> Option<u32> {
        self.text(Variable::MemorySize)?.parse().ok()
    }

    /// The reason why the environment was started, from `AWS_LAMBDA_INITIALIZATION_TYPE`.
    pub fn initialization_type(&self) -> Option<InitializationType<'_>> {
        Some(match self.text(Variable::InitializationType)? {
            "on-demand" => InitializationType::OnDemand,
            "provisioned-concurrency" => InitializationType::ProvisionedConcurrency,
            "snap-start" => InitializationType::SnapStart,
            MANAGED_INSTANCES => InitializationType::ManagedInstances,
            other => InitializationType::Other(other),
        })
    }

    /// The CloudWatch log group, from `AWS_LAMBDA_LOG_GROUP_NAME`; absent under SnapStart.
    pub fn log_group(&self) -> Option<&str> {
        self.text(Variable::LogGroup)
    }

    /// The CloudWatch log stream, from `AWS_LAMBDA_LOG_STREAM_NAME`; absent under SnapStart.
    pub fn log_stream(&self) -> Option<&str> {
        self.text(Variable::LogStream)
    }

    /// The format of log lines, from `AWS_LAMBDA_LOG_FORMAT`: JSON if the variable is `JSON` in any
    /// letter case, and always on managed instances, which support no other; otherwise text.
    pub fn log_format(&self) -> Format {
        log_format(self.text(Variable::InitializationType), self.text(Variable::LogFormat))
    }

    /// The lowest level to log, from `AWS_LAMBDA_LOG_LEVEL`; it applies only where the
    /// [format](Self::log_format) is JSON.
    pub fn log_level(&self) -> Option<Level> {
        self.text(Variable::LogLevel)?.parse().ok()
    }

    /// The region, from `AWS_REGION`, or else from `AWS_DEFAULT_REGION`.
    pub fn region(&self) -> Option<&str> {
        self.text(Variable::Region).or_else(|| self.text(Variable::DefaultRegion))
    }

    /// The address (`host:port`) of the metadata endpoint, from `AWS_LAMBDA_METADATA_API`.
    pub fn metadata_api(&self) -> Option<&str> {
        self.text(Variable::MetadataApi)
    }

    /// The bearer token for the metadata endpoint, from `AWS_LAMBDA_METADATA_TOKEN`. It is a
    /// secret: `Debug` does not show it.
    pub fn metadata_token(&self) -> Option<&str> {
        self.text(Variable::MetadataToken)
    }

    /// A client of the metadata endpoint, which has sent no request yet.
    ///
    /// ```no_run
    /// use lambda_proto_host::environment::Environment;
    ///
    /// let mut metadata = Environment::of_process().metadata()?;
    /// println!("this runs in {}", metadata.availability_zone()?);
    /// # Ok::<(), lambda_proto_host::MetadataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`MetadataError::MissingVariable`], [`MetadataError::Address`] and [`MetadataError::Token`].
    pub fn metadata(&self) -> Result<Metadata, MetadataError> {
        let missing = |name| move || MetadataError::MissingVariable { name };
        let address = self.metadata_api().ok_or_else(missing(API_VARIABLE))?;
        let token = self.metadata_token().ok_or_else(missing(TOKEN_VARIABLE))?;
        Metadata::new(address, token, clock::now)
    }

    /// The account that the function belongs to, from `AWS_ACCOUNT_ID`; only newer managed
    /// instances set it.
    pub fn account_id(&self) -> Option<&str> {
        self.text(Variable::AccountId)
    }

    /// What a tracer does without a trace context, from `AWS_XRAY_CONTEXT_MISSING`; Lambda sets
    /// `LOG_ERROR`.
    pub fn xray_context_missing(&self) -> Option<&str> {
        self.text(Variable::XrayContextMissing)
    }

    /// The address (`host:port`, UDP) of the X-Ray daemon, from `AWS_XRAY_DAEMON_ADDRESS`.
    pub fn xray_daemon_address(&self) -> Option<&str> {
        self.text(Variable::XrayDaemonAddress)
    }

    /// The file descriptor that takes log lines in [frames](crate::Log), from
    /// `_LAMBDA_TELEMETRY_LOG_FD`; set for managed runtimes.
    pub fn telemetry_log_fd(&self) -> Option<u32> {
        self.text(Variable::TelemetryLogFd)?.parse().ok()
    }

    /// The time zone, from `TZ`; Lambda sets `:UTC`.
    pub fn time_zone(&self) -> Option<&str> {
        self.text(Variable::TimeZone)
    }

    fn text(&self, variable: Variable) -> Option<&str> {
        self.texts[variable as usize].as_deref()
    }
}

const MANAGED_INSTANCES: &str = "lambda-managed-instances";

/// The log format for an initialization type and a value of `AWS_LAMBDA_LOG_FORMAT`.
pub(crate) fn log_format(initialization_type: Option<&str>, format: Option<&str>) -> Format {
    let is_json = initialization_type == Some(MANAGED_INSTANCES)
        || format.is_some_and(|format| format.eq_ignore_ascii_case("JSON"));
    if is_json { Format::Json } else { Format::Text }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (at, (text, name)) in self.texts.iter().zip(NAMES).enumerate() {
            let is_secret = at == Variable::MetadataToken as usize;
            if let Some(text) = text {
                map.entry(&name, if is_secret { &"…" } else { text });
            }
        }
        map.finish()
    }
}

/// The reason why an execution environment was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitializationType<'a> {
    /// For an invocation that is waiting.
    OnDemand,
    /// In advance, for later invocations.
    ProvisionedConcurrency,
    /// To take a snapshot, which is restored later.
    SnapStart,
    /// For concurrent invocations, on Lambda Managed Instances.
    ManagedInstances,
    /// A type that is newer than this crate.
    Other(&'a str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unset_empty_zero_and_one_mean_one_slot() {
        let cases = [(None, 1), (Some(""), 1), (Some("0"), 1), (Some("1"), 1), (Some("008"), 8)];
        for (value, slots) in cases {
            assert_eq!(parse_concurrency(value.map(OsString::from)).unwrap(), slots, "{value:?}");
        }
        assert_eq!(parse_concurrency(Some("1000".into())).unwrap(), 1000);
    }

    #[test]
    fn invalid_and_excessive_slots_are_refused_with_variable_and_value() {
        let most = usize::MAX.to_string();
        let values = [
            "abc",
            "-3",
            "+3",
            " 8",
            "8 ",
            "0x8",
            "1.0",
            "1000000000000",
            &most,
            "9".repeat(30).leak(),
        ];
        for value in values {
            let message = parse_concurrency(Some(value.into())).unwrap_err().to_string();
            assert!(message.starts_with("AWS_LAMBDA_MAX_CONCURRENCY"), "{message}");
            assert!(message.contains(value), "{message}");
        }
    }

    #[test]
    fn the_error_for_a_missing_address_says_what_to_do() {
        let message = parse_endpoint(None).unwrap_err().to_string();
        assert!(message.contains("AWS_LAMBDA_RUNTIME_API is not set"), "{message}");
        assert!(message.contains("lambda-lab run PROGRAM"), "{message}");
    }

    #[test]
    fn the_error_for_a_wrong_address_shows_variable_value_and_reason() {
        let message = parse_endpoint(Some("127.0.0.1:port".into())).unwrap_err().to_string();
        assert!(message.contains("AWS_LAMBDA_RUNTIME_API"), "{message}");
        assert!(message.contains("127.0.0.1:port"), "{message}");
        assert!(message.contains("the port is not a number"), "{message}");
    }

    #[test]
    fn the_reason_is_printed_once_even_if_sources_are_printed() {
        let error = parse_endpoint(Some("127.0.0.1:port".into())).unwrap_err();
        let printed = format!("{:?}", anyhow::Error::from(error));
        assert_eq!(printed.matches("the port is not a number").count(), 1, "{printed}");
    }
}
