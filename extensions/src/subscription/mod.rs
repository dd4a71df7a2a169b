//! Subscriptions to telemetry and logs.
//!
//! Lambda sends what a function and its extensions write, and events of the platform, to a port on
//! which the extension listens. [`Extension::subscribe`](crate::Extension::subscribe) asks for it,
//! before the first `next`, on the extension's own connection:
//!
//! ```
//! # #[cfg(feature = "std")] {
//! use core::time::Duration;
//! use std::net::TcpListener;
//!
//! use lambda_proto_extension::subscription::{
//!     Buffering, Destination, Listener, Subscription, TelemetryTypes,
//! };
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let destination = Destination::http(Listener::of(&listener)?);
//! let types = TelemetryTypes::PLATFORM.and(TelemetryTypes::FUNCTION);
//! let subscription = Subscription::telemetry(types, destination)
//!     .with_buffering(Buffering::DEFAULT.with_timeout(Duration::from_millis(25))?);
//! # let _ = subscription;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Lambda connects as soon as it has accepted a subscription, and what arrives at a port without a
//! listener is late or lost. So a subscription can only be made for a [`Listener`].
//!
//! | reply to `subscribe` | meaning |
//! |---|---|
//! | 200 | telemetry will come |
//! | 202 | none will: [`NotSupported`](crate::RefusalKind::NotSupported), as on AWS's emulator |
//! | 400 | [`ValidationError`](crate::RefusalKind::ValidationError), with a text that says what is wrong |
//! | 403 | [`SubscriptionClosed`](crate::RefusalKind::SubscriptionClosed): init is over; or the extension is unknown |
//! | 404, 405 | [`NoSuchCall`](crate::RefusalKind::NoSuchCall): no such API here |
//! | 500 | the process must end |
//!
//! Only 200 [is accepted](crate::Reply::is_accepted); after any other reply the extension goes on
//! without telemetry, or ends.

mod buffering;
mod destination;

use core::fmt;
use core::time::Duration;

use lambda_proto::api::RequestWriter;
use lambda_proto::http::BufferTooSmall;

pub use buffering::Buffering;
pub use destination::{Destination, Listener};

use destination::Protocol;

use crate::limits::{BATCH_BYTES, BATCH_RECORDS, BATCH_TIMEOUT};

/// What to send, in which form, and where.
///
/// The Telemetry API and the older Logs API exclude each other: of several subscriptions, make all
/// with the same one [Lambda Developer Guide: Logs API].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription<'l> {
    api: Api,
    types: TelemetryTypes,
    destination: Destination<'l>,
    buffering: Buffering,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    Telemetry(TelemetrySchema),
    Logs(LogsSchema),
}

/// A set of telemetry types, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TelemetryTypes(u8);

/// A version of the events of the Telemetry API [Lambda Developer Guide: Telemetry API schema].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TelemetrySchema {
    /// A log record is always text.
    V2022_07_01,
    /// A log record that is a JSON object arrives as one.
    V2022_12_13,
    /// Compatible with the one before. The only one on Managed Instances.
    #[default]
    V2025_01_29,
}

/// A version of the events of the Logs API [Lambda Developer Guide: Logs API].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogsSchema {
    /// Without `platform.runtimeDone`, so a [barrier](crate::barrier) has
    /// [nothing to wait for](crate::barrier::Barrier::no_telemetry).
    V2020_08_15,
    /// With `platform.runtimeDone`.
    #[default]
    V2021_03_18,
}

impl<'l> Subscription<'l> {
    /// A subscription to the Telemetry API, in the newest schema.
    pub const fn telemetry(types: TelemetryTypes, destination: Destination<'l>) -> Self {
        Self {
            api: Api::Telemetry(TelemetrySchema::V2025_01_29),
            types,
            destination,
            buffering: Buffering::DEFAULT,
        }
    }

    /// A subscription to the Telemetry API in a certain schema.
    pub const fn telemetry_in(
        schema: TelemetrySchema,
        types: TelemetryTypes,
        destination: Destination<'l>,
    ) -> Self {
        Self { api: Api::Telemetry(schema), types, destination, buffering: Buffering::DEFAULT }
    }

    /// A subscription to the Logs API, which the Telemetry API has superseded. Managed Instances do
    /// not have it.
    pub const fn logs(
        schema: LogsSchema,
        types: TelemetryTypes,
        destination: Destination<'l>,
    ) -> Self {
        Self { api: Api::Logs(schema), types, destination, buffering: Buffering::DEFAULT }
    }

    /// Sets when a batch is sent.
    #[must_use]
    pub const fn with_buffering(mut self, buffering: Buffering) -> Self {
        self.buffering = buffering;
        self
    }

    /// Whether Managed Instances take it: the Telemetry API in the schema 2025-01-29 (emulator:
    /// `internal/lambda-managed-instances/rapi/router.go` and its telemetry).
    pub const fn is_for_managed_instances(&self) -> bool {
        matches!(self.api, Api::Telemetry(TelemetrySchema::V2025_01_29))
    }

    pub(crate) const fn is_to_telemetry(&self) -> bool {
        matches!(self.api, Api::Telemetry(_))
    }

    /// Writes the document and ends the request.
    pub(crate) fn finish(&self, writer: RequestWriter<'_>) -> Result<usize, BufferTooSmall> {
        let schema = match self.api {
            Api::Telemetry(TelemetrySchema::V2022_07_01) => "2022-07-01",
            Api::Telemetry(TelemetrySchema::V2022_12_13) => "2022-12-13",
            Api::Telemetry(TelemetrySchema::V2025_01_29) => "2025-01-29",
            Api::Logs(LogsSchema::V2020_08_15) => "2020-08-15",
            Api::Logs(LogsSchema::V2021_03_18) => "2021-03-18",
        };
        let members = self.buffering.members();
        let mut before = ",\"buffering\":{";
        let [items, bytes, timeout] = members.map(|(key, value)| match value {
            Some(_) => [core::mem::replace(&mut before, ","), key],
            None => ["", ""],
        });
        let [items_value, bytes_value, timeout_value] =
            members.map(|(_, value)| value.map_or(Decimal::NONE, Decimal::new));
        let buffering_end = if before == "," { "}" } else { "" };
        let port = Decimal::new(self.destination.listener.port().into());
        let (before_port, after_port) = match self.destination.protocol {
            Protocol::Http { .. } => {
                ("\"protocol\":\"HTTP\",\"URI\":\"http://sandbox.localdomain:", "\"")
            }
            Protocol::Tcp => ("\"protocol\":\"TCP\",\"port\":", ""),
        };
        let path = match self.destination.protocol {
            Protocol::Http { path } => path,
            Protocol::Tcp => "",
        };
        writer.finish_with([
            &b"{\"schemaVersion\":\""[..],
            schema.as_bytes(),
            b"\",\"types\":[",
            self.types.list().as_bytes(),
            b"]",
            items[0].as_bytes(),
            items[1].as_bytes(),
            items_value.as_bytes(),
            bytes[0].as_bytes(),
            bytes[1].as_bytes(),
            bytes_value.as_bytes(),
            timeout[0].as_bytes(),
            timeout[1].as_bytes(),
            timeout_value.as_bytes(),
            buffering_end.as_bytes(),
            b",\"destination\":{",
            before_port.as_bytes(),
            port.as_bytes(),
            path.as_bytes(),
            after_port.as_bytes(),
            b"}}",
        ])
    }
}

impl TelemetryTypes {
    /// Events of the platform: the beginning and the end of init and of invocations, and others.
    pub const PLATFORM: Self = Self(1);
    /// What the function logs.
    pub const FUNCTION: Self = Self(2);
    /// What extensions log. An extension that logs for each of these records never stops.
    pub const EXTENSION: Self = Self(4);

    /// The types of both sets.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether all of these types are in the set.
    pub const fn contains(self, types: Self) -> bool {
        self.0 & types.0 == types.0
    }

    /// The members of the JSON array.
    const fn list(self) -> &'static str {
        match self.0 {
            1 => r#""platform""#,
            2 => r#""function""#,
            3 => r#""platform","function""#,
            4 => r#""extension""#,
            5 => r#""platform","extension""#,
            6 => r#""function","extension""#,
            _ => r#""platform","function","extension""#,
        }
    }
}

/// A number in decimal digits, or none.
#[derive(Clone, Copy)]
struct Decimal {
    digits: [u8; 10],
    begin: usize,
}

impl Decimal {
    const NONE: Self = Self { digits: [b'0'; 10], begin: 10 };

    fn new(number: u32) -> Self {
        let mut this = Self::NONE;
        let mut left = number;
        for digit in this.digits.iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
            this.begin -= 1;
            if left == 0 {
                break;
            }
        }
        this
    }

    fn as_bytes(&self) -> &[u8] {
        self.digits.get(self.begin..).unwrap_or_default()
    }
}

/// Why a subscription cannot be made: the caller's fault. The service would refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidSubscription {
    /// Nobody can listen on port 0.
    NoPort,
    /// Port 9001 is reserved [Lambda Developer Guide: Telemetry API].
    ReservedPort,
    /// The path is not a `/` and visible ASCII characters without `"`, `\` and `#`.
    Path,
    /// The number of records is not in [`MAX_ITEMS`](crate::limits::BATCH_RECORDS).
    MaxItems(u32),
    /// The number of bytes is not in [`MAX_BYTES`](crate::limits::BATCH_BYTES).
    MaxBytes(u32),
    /// The time is not in [`BUFFERING_TIMEOUT`](crate::limits::BATCH_TIMEOUT).
    Timeout(Duration),
}

impl fmt::Display for InvalidSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPort => f.write_str("port 0 is not the port of a listener"),
            Self::ReservedPort => {
                f.write_str("port 9001 is reserved by Lambda; listen on another one")
            }
            Self::Path => f.write_str(
                "the path for telemetry must begin with `/` and have visible ASCII characters only, \
                 without `\"`, `\\` and `#`",
            ),
            Self::MaxItems(items) => {
                let (least, most) = (BATCH_RECORDS.start(), BATCH_RECORDS.end());
                write!(f, "a batch of {items} records: {least} to {most} are allowed")
            }
            Self::MaxBytes(bytes) => {
                let (least, most) = (BATCH_BYTES.start(), BATCH_BYTES.end());
                write!(f, "a batch of {bytes} bytes: {least} to {most} are allowed")
            }
            Self::Timeout(timeout) => {
                let timeout = timeout.as_millis();
                let (least, most) =
                    (BATCH_TIMEOUT.start().as_millis(), BATCH_TIMEOUT.end().as_millis());
                write!(f, "a batch after {timeout} ms: {least} to {most} ms are allowed")
            }
        }
    }
}

impl core::error::Error for InvalidSubscription {}
