//! The bytes of every kind of reply, written from the documentation of the API.

/// Input that arrives in one piece, by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Said {
    /// 200 with an identifier.
    Registered,
    /// 200 with the identifier of an event.
    Event,
    /// A reply without identifier and document.
    Status(u16),
    /// The same, after which the service closes the connection.
    Last(u16),
    /// A reply with an identifier and a document of 9 bytes, of which [`TAIL`] is missing.
    Cut(u16),
    /// The missing bytes of a cut reply.
    Tail,
    /// 200 with an identifier and a document that lasts until the connection ends.
    Endless,
    /// 100: the final reply follows.
    Interim,
    /// Bytes of another protocol.
    Nonsense,
}

pub(crate) const TAIL: usize = 7;
pub(crate) const IDENTIFIER: &str = "c7d2";
pub(crate) const EVENT_IDENTIFIER: &str = "e824";

impl Said {
    pub(crate) const ALL: [Self; 14] = [
        Self::Registered,
        Self::Event,
        Self::Status(200),
        Self::Status(202),
        Self::Status(403),
        Self::Status(500),
        Self::Last(202),
        Self::Last(403),
        Self::Cut(200),
        Self::Cut(403),
        Self::Tail,
        Self::Endless,
        Self::Interim,
        Self::Nonsense,
    ];

    pub(crate) fn bytes(self) -> Vec<u8> {
        let head = |status: u16, fields: &str| format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        let identifier = format!("Lambda-Extension-Identifier: {IDENTIFIER}\r\n");
        let text = match self {
            Self::Registered => head(200, &(identifier + "Content-Length: 2\r\n")) + "{}",
            Self::Event => {
                let event = format!("Lambda-Extension-Event-Identifier: {EVENT_IDENTIFIER}\r\n");
                head(200, &(identifier + &event + "Content-Length: 2\r\n")) + "{}"
            }
            Self::Status(status) => head(status, "Content-Length: 0\r\n"),
            Self::Last(status) => head(status, "Connection: close\r\nContent-Length: 0\r\n"),
            Self::Cut(status) => head(status, &(identifier + "Content-Length: 9\r\n")) + "{ ",
            Self::Tail => "\"a\": 1}".to_owned(),
            Self::Endless => head(200, &identifier) + "hello",
            Self::Interim => head(100, &identifier),
            Self::Nonsense => "220 ready\r\n\r\n".to_owned(),
        };
        text.into_bytes()
    }

    /// The status of a reply, and the part of its document that arrives with it.
    pub(crate) fn reply(self) -> Option<(u16, &'static [u8])> {
        match self {
            Self::Registered | Self::Event => Some((200, b"{}")),
            Self::Status(status) | Self::Last(status) => Some((status, b"")),
            Self::Cut(status) => Some((status, b"{ ")),
            Self::Endless => Some((200, b"hello")),
            Self::Tail | Self::Interim | Self::Nonsense => None,
        }
    }

    /// The identifiers of the extension and of the event in it.
    pub(crate) fn identifiers(self) -> (&'static str, &'static str) {
        match self {
            Self::Event => (IDENTIFIER, EVENT_IDENTIFIER),
            Self::Registered | Self::Cut(_) | Self::Endless => (IDENTIFIER, ""),
            _ => ("", ""),
        }
    }
}
