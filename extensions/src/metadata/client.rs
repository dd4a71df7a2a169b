//! The metadata client over `std::net`.

use std::boxed::Box;
use std::string::{String, ToString};
use std::time::{Duration, Instant};
use std::vec::Vec;
use std::{fmt, io, vec};

use lambda_proto::api::{Endpoint, EndpointError};
use lambda_proto::http::ReplyError;
use lambda_proto::json::JsonError;
use lambda_proto::lifecycle::Clocks;

use super::{
    ExecutionEnvironment, InvalidToken, MetadataEvent, MetadataMeaning, MetadataReader,
    MetadataReply, MetadataToken, encode_request,
};
use crate::bounded::{Bounded, cut_off, keep};

/// The environment variable with the address of the metadata endpoint.
pub const API_VARIABLE: &str = "AWS_LAMBDA_METADATA_API";
/// The environment variable with its token.
pub const TOKEN_VARIABLE: &str = "AWS_LAMBDA_METADATA_TOKEN";

/// A client of the metadata endpoint that asks on demand and caches the reply.
///
/// A reply is kept for as long as it allows (`Cache-Control: max-age`); the time that the
/// environment is frozen counts. It is dropped when the monotonic clock shows that a snapshot was
/// restored, possibly in another zone.
///
/// ```no_run
/// use lambda_proto::lifecycle::Clocks;
/// use lambda_proto_extension::metadata::{API_VARIABLE, Metadata, TOKEN_VARIABLE};
/// use std::env;
///
/// # fn clocks() -> Clocks { unimplemented!() }
/// let mut metadata = Metadata::new(&env::var(API_VARIABLE)?, &env::var(TOKEN_VARIABLE)?, clocks)?;
/// println!("this runs in {}", metadata.availability_zone()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Metadata {
    endpoint: Endpoint,
    token: Box<str>,
    clocks: fn() -> Clocks,
    zone: String,
    /// When the zone was asked for, and how long it may be kept.
    kept: Option<(Clocks, Duration)>,
}

/// Why the availability zone is unknown.
#[derive(Debug)]
#[non_exhaustive]
pub enum MetadataError {
    /// A variable that Lambda sets is missing: this environment has no metadata.
    MissingVariable {
        /// Its name.
        name: &'static str,
    },
    /// The address is invalid.
    Address(EndpointError),
    /// The token cannot be sent.
    Token(InvalidToken),
    /// The endpoint cannot be reached, closes the connection, or takes too long.
    Connection(io::Error),
    /// The endpoint refused the token.
    WrongToken,
    /// The endpoint has no data yet; ask later.
    NotYet,
    /// There is no such endpoint here.
    Unavailable {
        /// The reply.
        reply: MetadataReply,
    },
    /// The endpoint does not speak the protocol.
    Protocol(ReplyError),
    /// The document cannot be read.
    Document(JsonError),
    /// The document names no availability zone.
    NoZone,
}

/// The limit for the whole exchange, which does not leave the environment.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most bytes of the document, which has a few dozen; a longer one is cut, and then does not
/// parse.
const MAX_DOCUMENT: usize = 64 * 1024;

impl Metadata {
    /// A client with the values of [`API_VARIABLE`] and [`TOKEN_VARIABLE`]. `clocks` reads both
    /// clocks; the origin of the monotonic one must not change. Sends nothing yet.
    ///
    /// # Errors
    ///
    /// [`MetadataError::Address`] and [`MetadataError::Token`].
    pub fn new(address: &str, token: &str, clocks: fn() -> Clocks) -> Result<Self, MetadataError> {
        MetadataToken::new(token).map_err(MetadataError::Token)?;
        Ok(Self {
            endpoint: Endpoint::parse(address).map_err(MetadataError::Address)?,
            token: token.into(),
            clocks,
            zone: String::new(),
            kept: None,
        })
    }

    /// The id of the availability zone, such as `use1-az1`: unlike its name, the same in every
    /// account.
    ///
    /// Blocks for at most 2 s if it has to ask.
    ///
    /// # Errors
    ///
    /// Any [`MetadataError`]; the next call asks again.
    pub fn availability_zone(&mut self) -> Result<&str, MetadataError> {
        let now = (self.clocks)();
        if !self.is_fresh(now) {
            let max_age = self.ask()?;
            self.kept = max_age.map(|max_age| (now, max_age));
        }
        Ok(&self.zone)
    }

    fn is_fresh(&self, now: Clocks) -> bool {
        self.kept.is_some_and(|(asked, max_age)| now.since(asked).thawed_after(max_age).is_none())
    }

    /// Asks for the zone and returns how long it may be kept.
    fn ask(&mut self) -> Result<Option<Duration>, MetadataError> {
        let token = MetadataToken::new(&self.token).map_err(MetadataError::Token)?;
        let encode = |out: &mut [u8]| encode_request(&self.endpoint, token, out);
        let mut request = vec![0; encode(&mut []).unwrap_or_else(|error| error.needed)];
        let fits = "the buffer has the length that was asked for";
        let length = encode(&mut request).expect(fits);

        let mut connection = Bounded::connect(&self.endpoint, Instant::now() + PATIENCE)?;
        connection.send(&request[..length])?;
        let mut document = Vec::new();
        let reply = receive_reply(&mut connection, &mut document)?;
        match reply.meaning() {
            MetadataMeaning::Available => {}
            MetadataMeaning::WrongToken => return Err(MetadataError::WrongToken),
            MetadataMeaning::NotYet => return Err(MetadataError::NotYet),
            _ => return Err(MetadataError::Unavailable { reply }),
        }
        let environment =
            ExecutionEnvironment::parse(&document).map_err(MetadataError::Document)?;
        let zone = environment.availability_zone_id.to_string();
        if zone.is_empty() {
            return Err(MetadataError::NoZone);
        }
        self.zone = zone;
        Ok(reply.max_age())
    }
}

fn receive_reply(
    connection: &mut Bounded,
    document: &mut Vec<u8>,
) -> Result<MetadataReply, MetadataError> {
    let mut reader = MetadataReader::default();
    let received = connection.receive(|input| {
        while let Some(event) = reader.receive(input).map_err(MetadataError::Protocol)? {
            match event {
                MetadataEvent::Document(piece) => keep(document, piece, MAX_DOCUMENT),
                MetadataEvent::Reply(reply) => return Ok(Some(reply)),
            }
        }
        Ok::<_, MetadataError>(None)
    })?;
    received.or_else(|| reader.end_of_stream()).ok_or_else(|| cut_off().into())
}

/// Omits the token, which is a secret.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.endpoint.authority();
        f.debug_struct("Metadata").field("address", &address).finish_non_exhaustive()
    }
}

impl From<io::Error> for MetadataError {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

impl fmt::Display for MetadataError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no metadata of the execution environment: ")?;
        match self {
            Self::MissingVariable { name } => write!(f, "{name} is not set"),
            Self::Address(error) => write!(f, "{API_VARIABLE}: {error}"),
            Self::Token(error) => write!(f, "{TOKEN_VARIABLE}: {error}"),
            Self::Connection(error) => error.fmt(f),
            Self::WrongToken => f.write_str("the endpoint refused the token"),
            Self::NotYet => f.write_str("the endpoint has no data yet"),
            Self::Unavailable { reply } => {
                write!(f, "the endpoint replied with status {}", reply.status())
            }
            Self::Protocol(error) => error.fmt(f),
            Self::Document(error) => error.fmt(f),
            Self::NoZone => f.write_str("the document names no availability zone"),
        }
    }
}

/// `Display` includes the cause, so `source` does not return it.
impl std::error::Error for MetadataError {}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(monotonic: Duration, wall: Duration) -> Clocks {
        Clocks { monotonic, wall }
    }

    fn kept(asked: Clocks, max_age: Duration) -> Metadata {
        let endpoint = Endpoint::parse("127.0.0.1:9001").unwrap();
        let (token, zone) = ("64875270".into(), String::from("use1-az1"));
        let clocks = || unreachable!("readings are passed in");
        Metadata { endpoint, token, clocks, zone, kept: Some((asked, max_age)) }
    }

    #[test]
    fn a_kept_zone_becomes_stale_by_either_clock() {
        let metadata = kept(at(HOUR, 9 * HOUR), HOUR);
        assert!(metadata.is_fresh(at(HOUR, 9 * HOUR)));
        let almost = HOUR - Duration::from_nanos(1);
        assert!(metadata.is_fresh(at(HOUR + almost, 9 * HOUR + almost)));
        assert!(!metadata.is_fresh(at(2 * HOUR, 10 * HOUR)));
        assert!(!metadata.is_fresh(at(HOUR, 10 * HOUR)), "frozen for an hour");
        assert!(!metadata.is_fresh(at(2 * HOUR, HOUR)), "the wall clock was set back");
    }

    #[test]
    fn a_kept_zone_is_stale_after_the_restore_of_a_snapshot() {
        let metadata = kept(at(HOUR, 9 * HOUR), HOUR);
        assert!(!metadata.is_fresh(at(Duration::ZERO, 9 * HOUR)));
    }
}
