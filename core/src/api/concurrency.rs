use core::fmt;

/// How many invocations the environment runs at once (`AWS_LAMBDA_MAX_CONCURRENCY`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Concurrency {
    /// One: the service can tell a duplicate answer from an answer to a later invocation.
    #[default]
    Single,
    /// Several, each with its own machine: the service needs the attempt id to recognise
    /// duplicates.
    Multi,
}

impl Concurrency {
    /// Reads how many slots a runtime has from the value of `AWS_LAMBDA_MAX_CONCURRENCY`. Pass an
    /// empty string if the variable is not set.
    ///
    /// Empty, 0 and 1 mean one slot. There is no upper bound, as in AWS's own clients of 2026
    /// (aws-lambda-java-libs 2.8.7 removed the one that it had).
    ///
    /// ```
    /// use lambda_proto::api::Concurrency;
    ///
    /// assert_eq!(Concurrency::slots(""), Ok(1));
    /// assert_eq!(Concurrency::slots("0"), Ok(1));
    /// assert_eq!(Concurrency::slots("64"), Ok(64));
    /// assert!(Concurrency::slots("many").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidSlots`] if the value is not a decimal number, or too large for a `usize`.
    pub fn slots(value: &str) -> Result<usize, InvalidSlots> {
        if value.is_empty() {
            return Ok(1);
        }
        // `parse` also takes a sign.
        let is_decimal = value.bytes().all(|byte| byte.is_ascii_digit());
        let slots = value.parse().ok().filter(|_| is_decimal);
        slots.map(|slots: usize| slots.max(1)).ok_or(InvalidSlots)
    }

    /// The concurrency of a runtime with this many slots.
    pub const fn of_slots(slots: usize) -> Self {
        if slots > 1 { Self::Multi } else { Self::Single }
    }
}

/// The value is not a number of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSlots;

impl fmt::Display for InvalidSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected a decimal number, at most {}", usize::MAX)
    }
}

impl core::error::Error for InvalidSlots {}
