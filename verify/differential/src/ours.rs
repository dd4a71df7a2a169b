//! How `lambda-proto` reads a reply.

use lambda_proto::http::{ReplyPart, ReplyReader};
use lambda_proto_extension::metadata::{MetadataEvent, MetadataReader};

use crate::client::{Reading, Reply};
use crate::memory::Fields;

/// Reads one reply that arrives in these pieces; the stream ends after them.
///
/// The reader is that of the metadata endpoint, which has no phases and shares its HTTP code with
/// the readers of the other APIs.
pub fn receive_by_ours<'i>(pieces: impl IntoIterator<Item = &'i [u8]>) -> Reading {
    let mut reader = MetadataReader::default();
    let (mut input, mut length) = (Vec::new(), 0);
    let (mut body, mut reply) = (Vec::new(), None);
    for piece in pieces {
        input.extend_from_slice(piece);
        let mut rest = input.get(length..).unwrap_or_default();
        loop {
            match reader.receive(&mut rest) {
                Err(error) => return Reading::Refused(format!("{error:?}")),
                Ok(Some(MetadataEvent::Document(piece))) => body.extend_from_slice(piece),
                Ok(Some(MetadataEvent::Reply(complete))) => reply = Some(complete),
                Ok(None) => break,
            }
        }
        length = input.len() - rest.len();
    }
    let ends_with_stream = reply.is_none();
    let Some(reply) = reply.or_else(|| reader.end_of_stream()) else { return Reading::Incomplete };
    Reading::Accepted(Reply {
        status: reply.status(),
        fields: final_fields(&input),
        body,
        ends_with_stream,
        length,
        is_persistent: (length == input.len()).then_some(reply.is_persistent()),
    })
}

/// The fields of the first head that is not an interim one.
fn final_fields(input: &[u8]) -> Fields {
    let (mut reader, mut rest) = (ReplyReader::default(), input);
    loop {
        let mut fields = Fields::new();
        let part = reader.read(&mut rest, &mut |name, value| {
            fields.push((String::from_utf8_lossy(name).to_lowercase(), value.to_vec()));
            false
        });
        let part = part.ok().flatten().expect("it has been read");
        if part != ReplyPart::Interim {
            fields.sort_by(|(one, _), (other, _)| one.cmp(other));
            return fields;
        }
    }
}
