//! Response bodies: however the input is cut, the same bytes come out and nothing after the body is
//! consumed.

use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;

use crate::http::body::{BodyDecoder, BodyError, BodyLength};
use crate::http::{BufferTooSmall, ChunkPosition, Writer, put_chunk_prefix, put_last_chunk};
use crate::limits::{MAX_CHUNK_LINE, MAX_PAYLOAD, MAX_RESPONSE_TRAILERS};

/// Feeds `input` in these pieces; returns the body, whether it is complete, and the bytes consumed.
fn decode_pieces<'i>(
    length: BodyLength,
    pieces: impl IntoIterator<Item = &'i [u8]>,
) -> Result<(Vec<u8>, bool, usize), BodyError> {
    let mut decoder = BodyDecoder::new(length);
    let (mut body, mut consumed) = (Vec::new(), 0);
    for whole in pieces {
        let mut piece = whole;
        while let Some(bytes) = decoder.decode(&mut piece)? {
            assert!(!bytes.is_empty());
            body.extend_from_slice(bytes);
        }
        consumed += whole.len() - piece.len();
        assert!(piece.is_empty() || decoder.is_complete());
    }
    Ok((body, decoder.is_complete(), consumed))
}

fn decode(length: BodyLength, input: &[u8]) -> Result<(Vec<u8>, bool, usize), BodyError> {
    decode_pieces(length, [input])
}

fn decode_chunked(input: &[u8]) -> Result<(Vec<u8>, bool, usize), BodyError> {
    decode(BodyLength::Chunked, input)
}

/// The error of a chunked body, which must be the same byte by byte.
fn error(input: &[u8]) -> BodyError {
    let error = decode_chunked(input).unwrap_err();
    assert_eq!(decode_pieces(BodyLength::Chunked, input.chunks(1)), Err(error));
    error
}

/// Bodies in their framing.
const FRAMED: [(BodyLength, &[u8], &[u8]); 12] = [
    (BodyLength::Fixed(0), b"", b""),
    (BodyLength::Fixed(1), b"a", b"a"),
    (BodyLength::Fixed(11), b"\r\n0\r\n\r\nHTTP", b"\r\n0\r\n\r\nHTTP"),
    (BodyLength::Chunked, b"0\r\n\r\n", b""),
    (BodyLength::Chunked, b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (BodyLength::Chunked, b"3\r\n\r\n0\r\n5\r\n\r\n\r\n\r\r\n0\r\n\r\n", b"\r\n0\r\n\r\n\r"),
    (BodyLength::Chunked, b"1\r\na\r\n00a\r\n0123456789\r\n000\r\n\r\n", b"a0123456789"),
    (
        BodyLength::Chunked,
        b"B\r\n0123456789a\r\nb\r\nb0123456789\r\n0\r\n\r\n",
        b"0123456789ab0123456789",
    ),
    (BodyLength::Chunked, b"1;a=b\r\nx\r\n1 ; c=\"d;e\"\r\ny\r\n0;last\r\n\r\n", b"xy"),
    (BodyLength::Chunked, b"1 \r\nx\r\n1\t\r\ny\r\n0 \r\n\r\n", b"xy"),
    (BodyLength::Chunked, b"1\r\nx\r\n0\r\nA: b\r\n\r\n", b"x"),
    (BodyLength::Chunked, b"0\r\nA: b\r\nLambda-Trailer: 0\r\nC:\r\n\r\n", b""),
];
const BEHIND: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

#[test]
fn a_whole_body_is_decoded_and_bytes_after_it_are_left() {
    for (length, framed, body) in FRAMED {
        let input = [framed, BEHIND].concat();
        assert_eq!(decode(length, &input), Ok((body.to_vec(), true, framed.len())), "{length:?}");
    }
}

#[test]
fn a_body_fed_byte_by_byte_is_the_same_and_bytes_after_it_are_left() {
    for (length, framed, body) in FRAMED {
        let input = [framed, BEHIND].concat();
        let decoded = decode_pieces(length, input.chunks(1));
        assert_eq!(decoded, Ok((body.to_vec(), true, framed.len())), "{length:?}");
    }
}

#[test]
fn a_body_cut_at_any_position_is_the_same_and_bytes_after_it_are_left() {
    for (length, framed, body) in FRAMED {
        let input = [framed, BEHIND].concat();
        for cut in 0..=input.len() {
            let (left, right) = input.split_at(cut);
            let decoded = decode_pieces(length, [left, right]);
            assert_eq!(decoded, Ok((body.to_vec(), true, framed.len())), "{length:?} at {cut}");
        }
    }
}

#[test]
fn a_body_is_not_complete_before_its_last_byte() {
    for (length, framed, body) in FRAMED {
        for cut in 0..framed.len() {
            let (decoded, is_complete, consumed) = decode(length, &framed[..cut]).unwrap();
            assert!(
                !is_complete && consumed == cut && body.starts_with(&decoded),
                "{length:?} at {cut}"
            );
        }
    }
}

#[test]
fn the_end_of_the_stream_does_not_complete_a_body_that_is_cut_short() {
    for (length, framed, _) in FRAMED {
        for cut in 0..framed.len() {
            let mut decoder = BodyDecoder::new(length);
            let mut input = &framed[..cut];
            while decoder.decode(&mut input).unwrap().is_some() {}
            assert!(!decoder.end_of_stream(), "{length:?} at {cut}");
        }
    }
}

#[test]
fn a_body_to_the_end_is_everything_up_to_the_end_of_the_stream() {
    for size in [1, 3, BEHIND.len()] {
        let mut decoder = BodyDecoder::new(BodyLength::ToEnd);
        let mut body = Vec::new();
        for mut piece in BEHIND.chunks(size) {
            while let Some(bytes) = decoder.decode(&mut piece).unwrap() {
                body.extend_from_slice(bytes);
            }
            assert!(piece.is_empty() && !decoder.is_complete());
        }
        assert_eq!(body, BEHIND);
        assert!(decoder.end_of_stream() && decoder.is_complete());
    }
}

#[test]
fn a_body_to_the_end_may_be_empty() {
    assert!(BodyDecoder::new(BodyLength::ToEnd).end_of_stream());
}

#[test]
fn a_piece_is_part_of_the_input_and_not_a_copy() {
    let data = vec![b'x'; MAX_PAYLOAD];
    let framed = [format!("{MAX_PAYLOAD:x}\r\n").as_bytes(), &data, b"\r\n0\r\n\r\n"].concat();
    let mut input = &framed[..];
    let mut decoder = BodyDecoder::new(BodyLength::Chunked);
    let piece = decoder.decode(&mut input).unwrap().unwrap();
    assert_eq!(piece.len(), MAX_PAYLOAD);
    assert_eq!(
        piece.as_ptr_range().start,
        framed[framed.len() - input.len() - MAX_PAYLOAD..].as_ptr()
    );
    assert_eq!(decoder.decode(&mut input), Ok(None));
    assert!(decoder.is_complete());
}

#[test]
fn the_largest_event_in_one_chunk_is_the_same_in_reads_of_any_size() {
    let data: Vec<u8> = (0..MAX_PAYLOAD).map(|at| (at % 251) as u8).collect();
    let framed = [format!("{MAX_PAYLOAD:X}\r\n").as_bytes(), &data, b"\r\n0\r\n\r\n"].concat();
    for size in [1_000, 4_096, 65_537] {
        let (body, is_complete, _) =
            decode_pieces(BodyLength::Chunked, framed.chunks(size)).unwrap();
        assert!(is_complete && body == data, "reads of {size}");
    }
}

#[test]
fn announced_is_the_number_of_bytes_before_the_next_framing() {
    let mut fixed = BodyDecoder::new(BodyLength::Fixed(5));
    assert_eq!(fixed.announced(), 5);
    fixed.decode(&mut &b"ab"[..]).unwrap();
    assert_eq!(fixed.announced(), 3);

    let mut chunked = BodyDecoder::new(BodyLength::Chunked);
    assert_eq!(chunked.announced(), 0);
    chunked.decode(&mut &b"ff\r\n"[..]).unwrap();
    assert_eq!(chunked.announced(), 255);
    assert_eq!(BodyDecoder::new(BodyLength::ToEnd).announced(), 0);
}

#[test]
fn a_length_that_never_arrives_costs_nothing() {
    let decoded = decode(BodyLength::Fixed(u64::MAX), b"abc");
    assert_eq!(decoded, Ok((b"abc".to_vec(), false, 3)));
    let decoded = decode_chunked(b"ffffffffffffffff\r\nabc");
    assert_eq!(decoded, Ok((b"abc".to_vec(), false, 21)));
}

#[test]
fn a_chunk_size_of_more_than_64_bits_is_bad() {
    for size in ["10000000000000000", "fffffffffffffffff", "00010000000000000000"] {
        assert_eq!(error(format!("{size}\r\n").as_bytes()), BodyError::BadChunkSize, "{size}");
    }
}

#[test]
fn a_chunk_size_that_is_not_hexadecimal_is_bad() {
    for line in [
        "\r\n", " 5\r\n", ";a\r\n", "g\r\n", "-1\r\n", "+1\r\n", "0x5\r\n", "5_\r\n", "\0",
        "\u{ff15}",
    ] {
        assert_eq!(error(line.as_bytes()), BodyError::BadChunkSize, "{line:?}");
    }
}

#[test]
fn a_chunk_size_line_without_cr_lf_is_bad() {
    for line in
        ["5\nhello", "5\rhello", "5;a\nhello", "5;a\rb\r\n", "0\n\n", "5 \nhello", "5\r\rhello"]
    {
        assert_eq!(error(line.as_bytes()), BodyError::BadChunkSize, "{line:?}");
    }
}

#[test]
fn chunk_data_without_cr_lf_after_it_is_bad() {
    for input in ["1\r\nxy", "1\r\nx\n0\r\n\r\n", "1\r\nx\r0\r\n\r\n", "1\r\nx0\r\n\r\n"] {
        assert_eq!(error(input.as_bytes()), BodyError::BadChunkEnd, "{input:?}");
    }
}

#[test]
fn a_trailer_line_without_cr_lf_is_bad() {
    for input in ["0\r\n\n", "0\r\nA: b\n\r\n", "0\r\nA: b\r\n\n", "0\r\n\rx", "0\r\nA: b\rc"] {
        assert_eq!(error(input.as_bytes()), BodyError::BadTrailer, "{input:?}");
    }
}

#[test]
fn a_chunk_line_as_long_as_the_limit_is_read() {
    for line in
        [format!("{:0>MAX_CHUNK_LINE$}", "1"), format!("1;{}", "e".repeat(MAX_CHUNK_LINE - 2))]
    {
        assert_eq!(line.len(), MAX_CHUNK_LINE);
        let (body, is_complete, _) =
            decode_chunked(format!("{line}\r\nx\r\n0\r\n\r\n").as_bytes()).unwrap();
        assert_eq!((&body[..], is_complete), (&b"x"[..], true));
    }
}

#[test]
fn a_chunk_line_one_byte_over_the_limit_is_too_long() {
    for line in [
        format!("{:0>1$}", "1", MAX_CHUNK_LINE + 1),
        format!("1;{}", "e".repeat(MAX_CHUNK_LINE - 1)),
    ] {
        assert_eq!(line.len(), MAX_CHUNK_LINE + 1);
        assert_eq!(error(format!("{line}\r\nx").as_bytes()), BodyError::ChunkLineTooLong);
    }
}

/// Trailers of `length` bytes, including their line ends but not the empty line, in lines of `line`
/// bytes.
fn trailers(length: usize, line: usize) -> String {
    let mut section = format!("{}\r\n", "t".repeat(line - 2)).repeat(length / line - 1);
    section.push_str(&format!("{}\r\n", "t".repeat(length - section.len() - 2)));
    assert_eq!(section.len(), length);
    section
}

#[test]
fn trailers_as_long_as_the_limit_are_skipped() {
    for line in [3, 80, MAX_RESPONSE_TRAILERS] {
        let section = trailers(MAX_RESPONSE_TRAILERS, line);
        let decoded = decode_chunked(format!("1\r\nx\r\n0\r\n{section}\r\n").as_bytes());
        assert!(matches!(decoded, Ok((body, true, _)) if body == b"x"), "lines of {line}");
    }
}

#[test]
fn trailers_one_byte_over_the_limit_are_too_large() {
    for line in [3, 80, MAX_RESPONSE_TRAILERS] {
        let section = trailers(MAX_RESPONSE_TRAILERS + 1, line);
        let decoded = decode_chunked(format!("0\r\n{section}\r\n").as_bytes());
        assert_eq!(decoded, Err(BodyError::TrailersTooLarge), "lines of {line}");
    }
}

#[test]
fn trailers_without_end_are_too_large() {
    for line in ["t", "t: v\r\n"] {
        let section = line.repeat(2 * MAX_RESPONSE_TRAILERS);
        assert_eq!(
            decode_chunked(format!("0\r\n{section}").as_bytes()),
            Err(BodyError::TrailersTooLarge)
        );
    }
}

/// A chunked body as this crate writes it; empty data make no chunk.
fn encode_chunked(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut framed = Vec::new();
    let mut out = [0; 32];
    let mut position = ChunkPosition::First;
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
        let length = encode_prefix(position, chunk.len(), &mut out).unwrap();
        framed.extend_from_slice(&[&out[..length], chunk].concat());
        position = ChunkPosition::Later;
    }
    let length = encode_last(position, &mut out).unwrap();
    framed.extend_from_slice(&[&out[..length], b"\r\n"].concat());
    framed
}

fn encode_prefix(
    position: ChunkPosition,
    length: usize,
    out: &mut [u8],
) -> Result<usize, BufferTooSmall> {
    let mut writer = Writer::new(out);
    put_chunk_prefix(&mut writer, position, length);
    writer.finish()
}

fn encode_last(position: ChunkPosition, out: &mut [u8]) -> Result<usize, BufferTooSmall> {
    let mut writer = Writer::new(out);
    put_last_chunk(&mut writer, position);
    writer.finish()
}

#[test]
fn chunks_are_written_with_exactly_these_bytes() {
    let chunks = [b"hello".to_vec(), vec![], vec![b'x'; 31]];
    let expected = format!("5\r\nhello\r\n1f\r\n{}\r\n0\r\n\r\n", "x".repeat(31));
    assert_eq!(encode_chunked(&chunks), expected.as_bytes());
    assert_eq!(encode_chunked(&[]), b"0\r\n\r\n");
}

#[test]
fn a_buffer_too_small_for_a_chunk_yields_the_exact_length_needed() {
    let needed = "\r\nffffffff\r\n".len();
    for size in 0..needed {
        let refused = encode_prefix(ChunkPosition::Later, 0xffff_ffff, &mut vec![0; size]);
        assert_eq!(refused, Err(BufferTooSmall { needed }));
    }
    let refused = encode_last(ChunkPosition::Later, &mut [0; 4]);
    assert_eq!(refused, Err(BufferTooSmall { needed: 5 }));
}

/// Decodes a chunked body that is known to be whole and valid, step by step as the RFC says.
fn decode_naively(mut input: &[u8]) -> (Vec<u8>, usize) {
    let whole = input.len();
    let mut body = Vec::new();
    let line = |input: &mut &[u8]| {
        let end = input.windows(2).position(|two| two == b"\r\n").unwrap();
        let line = String::from_utf8_lossy(&input[..end]).into_owned();
        *input = &input[end + 2..];
        line
    };
    loop {
        let size = line(&mut input);
        let size = usize::from_str_radix(size.split(';').next().unwrap().trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&input[..size]);
        input = &input[size..];
        assert_eq!(line(&mut input), "");
    }
    while !line(&mut input).is_empty() {}
    (body, whole - input.len())
}

/// A chunked body: chunks, each with zeros before its size and an extension, and trailers.
fn chunked_body() -> impl Strategy<Value = Vec<u8>> {
    let chunk =
        (prop::collection::vec(any::<u8>(), 1..40), 0..3usize, "( ?;[ -~]{0,6})?", any::<bool>());
    let trailers = prop::collection::vec("[A-Za-z]{1,5}:[ -~]{0,8}", 0..3);
    (prop::collection::vec(chunk, 0..6), trailers).prop_map(|(chunks, trailers)| {
        let mut framed = Vec::new();
        for (data, zeros, extension, is_upper) in chunks {
            let size =
                if is_upper { format!("{:X}", data.len()) } else { format!("{:x}", data.len()) };
            framed.extend_from_slice(
                format!("{}{size}{extension}\r\n", "0".repeat(zeros)).as_bytes(),
            );
            framed.extend_from_slice(&data);
            framed.extend_from_slice(b"\r\n");
        }
        framed.extend_from_slice(b"0\r\n");
        trailers
            .iter()
            .for_each(|trailer| framed.extend_from_slice(format!("{trailer}\r\n").as_bytes()));
        framed.extend_from_slice(b"\r\n");
        framed
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..Default::default() })]

    #[test]
    fn chunked_bodies_decode_like_the_naive_decoder(framed in chunked_body(), size in 1..50usize) {
        let input = [&framed[..], BEHIND].concat();
        let (body, consumed) = decode_naively(&input);
        prop_assert_eq!(consumed, framed.len());
        let decoded = decode_pieces(BodyLength::Chunked, input.chunks(size));
        prop_assert_eq!(decoded, Ok((body, true, consumed)));
    }

    #[test]
    fn chunks_that_are_written_decode_to_their_data(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
    ) {
        let framed = encode_chunked(&chunks);
        prop_assert_eq!(decode_chunked(&framed), Ok((chunks.concat(), true, framed.len())));
    }

    #[test]
    fn a_damaged_body_gives_the_same_result_in_pieces_of_any_size(
        mut framed in chunked_body(), at in any::<prop::sample::Index>(), byte in any::<u8>(), size in 1..9usize,
    ) {
        *at.get_mut(&mut framed) = byte;
        prop_assert_eq!(decode_pieces(BodyLength::Chunked, framed.chunks(size)), decode_chunked(&framed));
    }

    #[test]
    fn arbitrary_bytes_never_panic(input in "[0-9a-f;: \r\nx]{0,60}") {
        let (_, _, consumed) = decode_chunked(input.as_bytes()).unwrap_or_default();
        prop_assert!(consumed <= input.len());
    }
}

#[test]
fn only_an_extension_or_the_line_end_may_follow_white_space_after_a_size() {
    for line in ["1 ", "1\t ", "1 ;x", "1\t;x=\"y\""] {
        let decoded = decode_chunked(format!("{line}\r\nx\r\n0\r\n\r\n").as_bytes());
        assert!(matches!(decoded, Ok((body, true, _)) if body == b"x"), "{line:?}");
    }
    for line in ["1 1", "1 x", "1 \u{b}"] {
        let decoded = decode_chunked(format!("{line}\r\nx\r\n0\r\n\r\n").as_bytes());
        assert_eq!(decoded, Err(BodyError::BadChunkSize), "{line:?}");
    }
}
