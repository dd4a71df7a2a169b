//! The connections on which the service delivers telemetry to a client, and what the client prints.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use super::request::{Arrived, check_field, matches, owned, shown};
use super::vector::{Call, Place, Replied};

/// The service as a client of its client.
#[derive(Default)]
pub(super) struct Deliveries {
    /// The port that the client has subscribed with.
    port: Option<u16>,
    lines: Vec<Line>,
    /// Numbers of connections by their names; the connection without a name has an empty one.
    names: HashMap<String, usize>,
    /// What the client has printed and no step has taken.
    told: VecDeque<Value>,
}

/// One connection to the client.
#[derive(Default)]
struct Line {
    unread: Vec<u8>,
    is_ended: bool,
}

impl Deliveries {
    /// Notes the port of an accepted request, if it is a subscription.
    pub(super) fn note(&mut self, call: Call, request: &Arrived) {
        if matches!(call, Call::Telemetry | Call::Logs) {
            self.port = request.json().and_then(|body| port_of(&body));
        }
    }

    /// The port, and the connection of this name: the next number if it must be opened.
    pub(super) fn open(&mut self, place: &Place) -> Result<(u16, usize), String> {
        let port = self.port.ok_or("no request has named a port to deliver to")?;
        let name = place.on.clone().unwrap_or_default();
        let next = self.lines.len();
        let number = *self.names.entry(name).or_insert(next);
        if number == next {
            self.lines.push(Line::default());
        }
        Ok((port, number))
    }

    pub(super) fn find(&self, name: Option<&str>) -> Result<usize, String> {
        let name = name.unwrap_or_default();
        let found = self.names.get(name).copied();
        found.ok_or_else(|| format!("nothing was delivered on a connection {name:?}"))
    }

    pub(super) fn received(&mut self, connection: usize, bytes: &[u8]) {
        self.lines[connection].unread.extend_from_slice(bytes);
    }

    pub(super) fn ended(&mut self, connection: usize) {
        self.lines[connection].is_ended = true;
    }

    pub(super) fn has_ended(&self, place: &Place) -> Result<bool, String> {
        let line = &self.lines[self.find(place.on.as_deref())?];
        match &line.unread[..] {
            [] => Ok(line.is_ended),
            unread => Err(format!("expected the end of the connection, got {}", shown(unread))),
        }
    }

    /// Takes this reply, if it has arrived.
    pub(super) fn take_reply(&mut self, wanted: &Replied, host: &str) -> Result<bool, String> {
        let number = self.find(wanted.on.as_deref())?;
        let line = &mut self.lines[number];
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut reply = httparse::Response::new(&mut fields);
        let head = match reply.parse(&line.unread) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if line.is_ended => {
                return Err(format!(
                    "expected a reply with {}, but the client closed the connection",
                    wanted.status
                ));
            }
            Ok(httparse::Status::Partial) => return Ok(false),
            Err(error) => {
                return Err(format!("not an HTTP reply ({error}): {}", shown(&line.unread)));
            }
        };
        let status = reply.code.unwrap_or_default();
        let fields: Vec<_> = reply.headers.iter().map(owned).collect();
        let length = match fields.iter().find(|(name, _)| name == "content-length") {
            Some((_, length)) => std::str::from_utf8(length).ok().and_then(|it| it.parse().ok()),
            None => Some(0),
        };
        let length: usize = length.ok_or("the Content-Length of a reply is not a number")?;
        if line.unread.len() < head + length {
            return Ok(false);
        }
        if status != wanted.status {
            return Err(format!("expected a reply with {}, got {status}", wanted.status));
        }
        for (name, value) in &wanted.headers {
            check_field("header", name, value.as_ref(), host, &fields)?;
        }
        line.unread.drain(..head + length);
        Ok(true)
    }

    /// Notes a line of standard output. Only JSON objects count: a program may print other lines.
    pub(super) fn printed(&mut self, line: &str) {
        let json = serde_json::from_str(line).ok().filter(Value::is_object);
        self.told.extend(json);
    }

    /// Takes these objects, if they have been printed.
    pub(super) fn take_told(&mut self, wanted: &[Value]) -> Result<bool, String> {
        for (wanted, came) in wanted.iter().zip(&self.told) {
            if !matches(wanted, came) {
                return Err(format!("expected the line {wanted}, got {came}"));
            }
        }
        let is_there = self.told.len() >= wanted.len();
        if is_there {
            self.told.drain(..wanted.len());
        }
        Ok(is_there)
    }
}

/// The port of the destination of a subscription.
fn port_of(subscription: &Value) -> Option<u16> {
    let destination = &subscription["destination"];
    if let Some(port) = destination["port"].as_u64() {
        return port.try_into().ok();
    }
    let address = destination["URI"].as_str()?.strip_prefix("http://")?;
    let address = address.split('/').next()?;
    address.rsplit_once(':').map_or(Some(80), |(_, port)| port.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_port_of_a_subscription_is_found() {
        let port = |destination: Value| port_of(&json!({"destination": destination}));
        assert_eq!(
            port(json!({"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080"})),
            Some(8080)
        );
        assert_eq!(port(json!({"protocol": "HTTP", "URI": "http://sandbox:80/a:1"})), Some(80));
        assert_eq!(
            port(json!({"protocol": "HTTP", "URI": "http://sandbox.localdomain/"})),
            Some(80)
        );
        assert_eq!(port(json!({"protocol": "TCP", "port": 9000})), Some(9000));
        assert_eq!(port(json!({"protocol": "TCP", "port": 65_536})), None);
        assert_eq!(port(json!({"protocol": "HTTP", "URI": "sandbox:8080"})), None);
    }

    #[test]
    fn lines_are_taken_in_order_and_none_is_skipped() {
        let mut deliveries = Deliveries::default();
        for line in ["{\"a\":1}", "not JSON", "[]", "{\"b\":{\"c\":2,\"d\":3}}", "{\"e\":4}"] {
            deliveries.printed(line);
        }
        let wanted = [json!({"a": 1}), json!({"b": {"c": "*"}})];
        assert_eq!(deliveries.take_told(&wanted), Ok(true));
        assert!(deliveries.take_told(&wanted).unwrap_err().contains("{\"e\":4}"));
        assert_eq!(deliveries.take_told(&[json!({"e": 4}), json!({"f": 5})]), Ok(false));
    }
}
