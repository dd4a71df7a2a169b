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

/// [`TAKEN`] followed by a reply to `next` with its event, to be sent together or separately.
pub struct Canned {
    bytes: Vec<u8>,
    body: usize,
}

impl Canned {
    /// Makes the replies for an event of this many bytes.
    pub fn new(body_length: usize) -> Self {
        let event = event(body_length);
        let bytes = [TAKEN, &next_head(event.len())].concat();
        let body = bytes.len();
        Self { bytes: [bytes, event].concat(), body }
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
        let mut canned = Canned::new(128);
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
