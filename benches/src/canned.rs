//! The bytes that the service sends. They are the same as AWS's emulator sends
//! (`core/tests/captures`), except that a large event has a length, as from Lambda; the emulator
//! sends it in chunks.

/// The reply to an answer.
pub const TAKEN: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n\
    Date: Sat, 21 Nov 2026 09:18:58 GMT\r\nContent-Length: 16\r\n\r\n{\"status\":\"OK\"}\n";

/// The start of all request ids; a number of [`DIGITS`] digits follows.
pub const ID_PREFIX: &[u8] = b"34021ee5-fc1d-4ece-8ea8-";

/// The length of the number in a request id.
pub const DIGITS: usize = 12;

const BEFORE_ID: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: ";

/// The head of a reply to `next`, with the id of invocation 0.
pub fn next_head(body_length: usize) -> Vec<u8> {
    let prefix = String::from_utf8_lossy(ID_PREFIX);
    format!(
        "{BEFORE_ID}{prefix}{:0DIGITS$}\r\nLambda-Runtime-Deadline-Ms: 1795253038551\r\n\
         Lambda-Runtime-Invoked-Function-Arn: \
         arn:aws:lambda:us-east-1:012345678912:function:test_function\r\n\
         Date: Sat, 21 Nov 2026 09:18:58 GMT\r\nContent-Length: {body_length}\r\n\r\n",
        0
    )
    .into_bytes()
}

/// An event of this many bytes, at least 9. It is JSON in Python's format, so that an echo in
/// Python has the same bytes.
pub fn event(length: usize) -> Vec<u8> {
    let frame = r#"{"d": ""}"#;
    format!(r#"{{"d": "{}"}}"#, "x".repeat(length.saturating_sub(frame.len()))).into_bytes()
}

/// The event of a function URL: a `GET` of `/`, as a browser sends it (Lambda Developer Guide:
/// invoking function URLs).
pub fn http_event() -> Vec<u8> {
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let id = "tc7ofmpzkigrlvc4ajr6gbltxu0vdwtq";
    let domain = format!("{id}.lambda-url.us-east-1.on.aws");
    serde_json::json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {
            "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "accept-encoding": "gzip, deflate, br, zstd",
            "accept-language": "en-GB,en;q=0.5",
            "host": domain,
            "user-agent": agent,
            "x-amzn-tls-cipher-suite": "TLS_AES_128_GCM_SHA256",
            "x-amzn-tls-version": "TLSv1.3",
            "x-amzn-trace-id": "Root=1-6a1f3c22-6e0b1d1f5d3a4c2e7b9f8a60",
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": id,
            "domainName": domain,
            "domainPrefix": id,
            "http": {
                "method": "GET",
                "path": "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": agent,
            },
            "requestId": "0b4a4d0f-5c3e-4a52-9b0e-3f2c1d0e9a87",
            "routeKey": "$default",
            "stage": "$default",
            "time": "21/Nov/2026:09:18:58 +0000",
            "timeEpoch": 1_795_252_738_000_u64,
        },
        "isBase64Encoded": false,
    })
    .to_string()
    .into_bytes()
}

/// The body of the HTTP response to [`http_event`].
pub const HELLO: &str = "Hello, World!";

/// [`TAKEN`] followed by a reply to `next` with its event, to be sent together or separately.
pub struct Canned {
    bytes: Vec<u8>,
    body: usize,
}

impl Canned {
    /// Makes the replies for this event.
    pub fn new(event: &[u8]) -> Self {
        let bytes = [TAKEN, &next_head(event.len())].concat();
        let body = bytes.len();
        Self { bytes: [&bytes[..], event].concat(), body }
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The event.
    pub fn event(&self) -> &[u8] {
        &self.bytes[self.body..]
    }

    /// The position of the event.
    pub fn body(&self) -> usize {
        self.body
    }

    /// Puts this number into the request id of the event.
    pub fn set_number(&mut self, mut number: usize) {
        let first = TAKEN.len() + BEFORE_ID.len() + ID_PREFIX.len();
        for digit in self.bytes[first..first + DIGITS].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The replies to the first `next` and to the second answer of a recording of the emulator.
    fn captured() -> (String, String) {
        let path = "../core/tests/captures/02_pipelined_response_and_next.s2c.bin";
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let text = std::fs::read_to_string(path).expect("the main workspace has it");
        let (next, rest) = text.split_once("{\"k\":1}").expect("the first event");
        let end = rest.find("}\n").expect("the reply to the first answer") + 2;
        (next.to_owned(), rest[..end].to_owned())
    }

    #[test]
    fn replies_are_the_same_as_the_emulators() {
        let (next, taken) = captured();
        assert_eq!(String::from_utf8_lossy(TAKEN), taken);
        let id = next.split("Request-Id: ").nth(1).and_then(|rest| rest.get(..36)).expect("an id");
        let ours = String::from_utf8(next_head(7)).expect("it is text");
        assert_eq!(ours.replace("34021ee5-fc1d-4ece-8ea8-000000000000", id), next);
    }

    #[test]
    fn an_event_has_the_requested_length_and_its_number() {
        let mut canned = Canned::new(&event(128));
        assert_eq!(canned.event().len(), 128);
        let _json: serde_json::Value = serde_json::from_slice(canned.event()).expect("it is JSON");
        canned.set_number(99);
        canned.set_number(100);
        let head =
            String::from_utf8_lossy(&canned.bytes()[TAKEN.len()..canned.body()]).into_owned();
        assert!(head.contains("Id: 34021ee5-fc1d-4ece-8ea8-000000000100\r\n"), "{head}");
        assert!(head.ends_with("Content-Length: 128\r\n\r\n"), "{head}");
    }
}
