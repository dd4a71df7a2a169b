//! What a caller wants to invoke: a function by its name or ARN, with a version or an alias.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::log::VERSION;
use crate::region;
use crate::settings::{ACCOUNT, Settings};

/// The name in the emulator's path, whatever the name of the function.
const EMULATOR: &str = "function";

/// Whose form of failures a caller expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Emulator,
    Lambda,
}

/// The function that a caller names. There is only one, and every name invokes it, but it sees the
/// ARN that was invoked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) dialect: Dialect,
    partition: Option<String>,
    region: Option<String>,
    account: Option<String>,
    name: String,
    /// A version or an alias.
    qualifier: Option<String>,
}

/// Why a name or a qualifier does not name a function.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InvalidTarget {
    /// The parameter has this value, which does not match this pattern.
    Pattern { parameter: &'static str, value: String, pattern: &'static str },
    /// The parameter has this value, which is longer than this.
    Length { parameter: &'static str, value: String, most: usize },
    /// The name has one qualifier, and the query another.
    Mismatch,
}

impl Target {
    /// Reads the function in the path, percent-encoded, and the query.
    ///
    /// Source: Lambda API Reference, "Invoke", `FunctionName` and `Qualifier`.
    pub(super) fn of(function: &str, query: Option<&str>) -> Result<Self, InvalidTarget> {
        let mut target = Self::parse(&decoded(function))?;
        target.dialect = if function == EMULATOR { Dialect::Emulator } else { Dialect::Lambda };
        let asked =
            query.unwrap_or_default().split('&').find_map(|it| it.strip_prefix("Qualifier="));
        if let Some(asked) = asked.map(decoded).filter(|it| !it.is_empty()) {
            check_qualifier(&asked)?;
            if target.qualifier.as_ref().is_some_and(|qualifier| *qualifier != asked) {
                return Err(InvalidTarget::Mismatch);
            }
            target.qualifier = Some(asked);
        }
        Ok(target)
    }

    /// A name, a partial ARN (`ACCOUNT:function:NAME`), or an ARN, each with `:QUALIFIER` or not.
    fn parse(function: &str) -> Result<Self, InvalidTarget> {
        let (parameter, value) = ("functionName", function);
        let too_long = |most| InvalidTarget::Length { parameter, value: value.to_owned(), most };
        if function.len() > MAX_ARN {
            return Err(too_long(MAX_ARN));
        }
        let target = Self::parts(function).ok_or_else(|| InvalidTarget::Pattern {
            parameter,
            value: value.to_owned(),
            pattern: NAME_PATTERN,
        })?;
        if target.name.len() > MAX_NAME {
            return Err(too_long(MAX_NAME));
        }
        Ok(target)
    }

    /// The parts of a function's name; `None` if it does not match the pattern.
    fn parts(function: &str) -> Option<Self> {
        let count = function.split(':').count();
        let mut parts = function.split(':').peekable();
        let (mut partition, mut region, mut account) = (None, None, None);
        if parts.next_if_eq(&"arn").is_some() {
            partition = Some(parts.next().filter(|it| it.starts_with("aws") && is_word(it, b"-"))?);
            parts.next_if_eq(&"lambda")?;
            region = Some(parts.next().filter(|it| is_word(it, b"-"))?);
            account = Some(parts.next().filter(|it| is_account(it))?);
            parts.next_if_eq(&"function")?;
        } else if count > 1 {
            account = parts.next_if(|it| is_account(it));
            // A function may have this name itself.
            if account.is_none() || count > 2 {
                parts.next_if_eq(&"function");
            }
        }
        let name = parts.next().filter(|it| is_word(it, b"-_."))?;
        let qualifier = parts.next();
        let is_qualifier = |it: &str| is_word(it, b"-_") || it == VERSION || it == LATEST_PUBLISHED;
        if parts.next().is_some() || !qualifier.is_none_or(is_qualifier) {
            return None;
        }
        Some(Self {
            dialect: Dialect::Lambda,
            partition: partition.map(str::to_owned),
            region: region.map(str::to_owned),
            account: account.map(str::to_owned),
            name: name.to_owned(),
            qualifier: qualifier.map(str::to_owned),
        })
    }

    /// The ARN that was invoked, with the qualifier if the caller gave one. What the caller left
    /// out is that of the settings.
    pub(super) fn arn(&self, settings: &Settings) -> String {
        let name = match self.dialect {
            Dialect::Emulator => &settings.name,
            Dialect::Lambda => &self.name,
        };
        let region = self.region.as_deref().unwrap_or(&settings.region);
        let partition = self.partition.as_deref().unwrap_or_else(|| region::partition(region));
        let account = self.account.as_deref().unwrap_or(ACCOUNT);
        let arn = format!("arn:{partition}:lambda:{region}:{account}:function:{name}");
        match &self.qualifier {
            Some(qualifier) => format!("{arn}:{qualifier}"),
            None => arn,
        }
    }

    /// The version that the qualifier stands for. Aliases are those of the unpublished version.
    ///
    /// Source: Lambda API Reference, "Invoke", `X-Amz-Executed-Version`.
    pub(super) fn executed_version(&self) -> &str {
        self.qualifier
            .as_deref()
            .filter(|it| *it == LATEST_PUBLISHED || it.bytes().all(|byte| byte.is_ascii_digit()))
            .unwrap_or(VERSION)
    }
}

/// Source: Lambda API Reference, "Invoke", `FunctionName`.
const NAME_PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?";
const QUALIFIER_PATTERN: &str = r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+";
const MAX_ARN: usize = 256;
pub(crate) const MAX_NAME: usize = 64;
const MAX_QUALIFIER: usize = 128;

/// The latest published version of a function of managed instances.
const LATEST_PUBLISHED: &str = "$LATEST.PUBLISHED";

/// Whether a text has letters, digits and these characters, and at least one of them.
fn is_word(text: &str, more: &[u8]) -> bool {
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || more.contains(&byte);
    !text.is_empty() && text.bytes().all(is_of_it)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn check_qualifier(qualifier: &str) -> Result<(), InvalidTarget> {
    let (parameter, value) = ("qualifier", qualifier.to_owned());
    if qualifier.len() > MAX_QUALIFIER {
        return Err(InvalidTarget::Length { parameter, value, most: MAX_QUALIFIER });
    }
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || b"-_$".contains(&byte);
    if qualifier != LATEST_PUBLISHED && !qualifier.bytes().all(is_of_it) {
        return Err(InvalidTarget::Pattern { parameter, value, pattern: QUALIFIER_PATTERN });
    }
    Ok(())
}

/// Invalid UTF-8 is replaced, and then matches no pattern.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// In Lambda's words.
impl fmt::Display for InvalidTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = |f: &mut fmt::Formatter<'_>, parameter: &str, value: &str| {
            write!(
                f,
                "1 validation error detected: Value '{value}' at '{parameter}' failed to satisfy \
                 constraint: Member must "
            )
        };
        match self {
            Self::Pattern { parameter, value, pattern } => {
                failed(f, parameter, value)?;
                write!(f, "satisfy regular expression pattern: {pattern}")
            }
            Self::Length { parameter, value, most } => {
                failed(f, parameter, value)?;
                write!(f, "have length less than or equal to {most}")
            }
            Self::Mismatch => f.write_str(
                "The derived qualifier from the function name does not match the specified \
                 qualifier.",
            ),
        }
    }
}
