//! Response bodies: by length, in chunks, or to the end of the stream.

use core::fmt;

use crate::limits::{MAX_CHUNK_LINE, MAX_RESPONSE_TRAILERS};

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// This number of bytes.
    Fixed(u64),
    /// Chunks; the last one is empty.
    Chunked,
    /// Everything up to the end of the stream.
    ToEnd,
}

/// Strips the framing from a body, piece by piece, without copying.
///
/// Pieces borrow from the input. The decoder trusts no announced length: it counts the bytes that
/// arrive.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyDecoder {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fixed { left: u64 },
    ToEnd,
    // A size arrives digit by digit; `digits` is 0 until the first one. `line` counts the bytes of
    // the whole line, so that endless zeros or extensions end in an error.
    ChunkSize { size: u64, digits: u8, line: u16 },
    // White space after the size: an extension or the end of the line must follow.
    ChunkSpace { size: u64, line: u16 },
    // Everything up to the end of the line is ignored (RFC 9112 section 7.1.1).
    ChunkExtension { size: u64, line: u16 },
    // Only CR LF ends a line: readers that disagree about a bare LF would see different chunks.
    ChunkSizeLf { size: u64 },
    // `left` is never 0, here and in `Fixed`: an empty piece means that the input is used up.
    ChunkData { left: u64 },
    ChunkDataCr,
    ChunkDataLf,
    // `line` counts the bytes of the current trailer line, `seen` those of all, line ends included
    // once they are complete.
    Trailer { line: u32, seen: u32 },
    TrailerLf { line: u32, seen: u32 },
    Complete,
}

impl BodyDecoder {
    /// A decoder for one body; an empty body is complete from the start.
    pub(super) fn new(length: BodyLength) -> Self {
        let state = match length {
            // Keeps `left` above 0.
            BodyLength::Fixed(0) => State::Complete,
            BodyLength::Fixed(left) => State::Fixed { left },
            BodyLength::Chunked => CHUNK_START,
            BodyLength::ToEnd => State::ToEnd,
        };
        Self { state }
    }

    /// Consumes framing and at most one piece of the body from `input`.
    ///
    /// Returns a non-empty piece that ends at the cursor, or `None` when the body is complete or
    /// the input is used up. Call it until it returns `None`.
    ///
    /// # Errors
    ///
    /// Any [`BodyError`]; nothing more of this body can be read.
    #[inline]
    pub(super) fn decode<'b>(
        &mut self,
        input: &mut &'b [u8],
    ) -> Result<Option<&'b [u8]>, BodyError> {
        match self.state {
            State::Complete => Ok(None),
            // Nearly all bodies have a length; that case is inlined, the others are not.
            State::Fixed { left } => {
                let piece = take(input, left);
                let left = left - piece.len() as u64;
                self.state = if left == 0 { State::Complete } else { State::Fixed { left } };
                Ok((!piece.is_empty()).then_some(piece))
            }
            _ => self.decode_unmeasured(input),
        }
    }

    fn decode_unmeasured<'b>(
        &mut self,
        input: &mut &'b [u8],
    ) -> Result<Option<&'b [u8]>, BodyError> {
        loop {
            match self.state {
                State::ToEnd => {
                    let piece = take(input, u64::MAX);
                    return Ok((!piece.is_empty()).then_some(piece));
                }
                State::ChunkData { left } => {
                    let piece = take(input, left);
                    let left = left - piece.len() as u64;
                    self.state =
                        if left == 0 { State::ChunkDataCr } else { State::ChunkData { left } };
                    return Ok((!piece.is_empty()).then_some(piece));
                }
                State::Complete => return Ok(None),
                _ => {
                    // Framing is read byte by byte: it is a few bytes per chunk, and each may be
                    // the last one that has arrived. On an error the cursor stays at the wrong
                    // byte.
                    let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
                    self.state = self.state.after_framing(byte)?;
                    *input = rest;
                }
            }
        }
    }

    /// Records the end of the stream and returns whether the body is complete.
    pub(super) fn end_of_stream(&mut self) -> bool {
        // Only such a body may end with the stream; any other is cut off (RFC 9112 section 8).
        if self.state == State::ToEnd {
            self.state = State::Complete;
        }
        self.is_complete()
    }

    /// Whether the whole body has been consumed, with its framing.
    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// The number of bytes that belong to the body before any framing follows.
    pub(super) fn announced(&self) -> u64 {
        match self.state {
            State::Fixed { left } | State::ChunkData { left } => left,
            _ => 0,
        }
    }
}

const CHUNK_START: State = State::ChunkSize { size: 0, digits: 0, line: 0 };

impl State {
    /// The state after one byte of chunk framing (RFC 9112 section 7.1).
    fn after_framing(self, byte: u8) -> Result<Self, BodyError> {
        match self {
            Self::ChunkSize { size, digits, line } => match byte {
                b'\r' if digits > 0 => Ok(Self::ChunkSizeLf { size }),
                b';' if digits > 0 => Self::extension(size, line),
                b' ' | b'\t' if digits > 0 => {
                    Ok(Self::ChunkSpace { size, line: next_in_line(line)? })
                }
                _ => {
                    let digit = (byte as char).to_digit(16).ok_or(BodyError::BadChunkSize)?;
                    // The multiplication leaves the lowest four bits free for the digit.
                    let size = size.checked_mul(16).ok_or(BodyError::BadChunkSize)?;
                    let line = next_in_line(line)?;
                    Ok(Self::ChunkSize { size: size | u64::from(digit), digits: 1, line })
                }
            },
            Self::ChunkSpace { size, line } => match byte {
                b'\r' => Ok(Self::ChunkSizeLf { size }),
                b';' => Self::extension(size, line),
                b' ' | b'\t' => Ok(Self::ChunkSpace { size, line: next_in_line(line)? }),
                _ => Err(BodyError::BadChunkSize),
            },
            Self::ChunkExtension { size, line } => match byte {
                b'\r' => Ok(Self::ChunkSizeLf { size }),
                b'\n' => Err(BodyError::BadChunkSize),
                _ => Self::extension(size, line),
            },
            Self::ChunkSizeLf { size } => match (byte, size) {
                // A size of 0 marks the last chunk; trailers follow.
                (b'\n', 0) => Ok(Self::Trailer { line: 0, seen: 0 }),
                (b'\n', left) => Ok(Self::ChunkData { left }),
                _ => Err(BodyError::BadChunkSize),
            },
            Self::ChunkDataCr if byte == b'\r' => Ok(Self::ChunkDataLf),
            Self::ChunkDataLf if byte == b'\n' => Ok(CHUNK_START),
            Self::ChunkDataCr | Self::ChunkDataLf => Err(BodyError::BadChunkEnd),
            Self::Trailer { line, seen } => match byte {
                b'\r' => Ok(Self::TrailerLf { line, seen }),
                b'\n' => Err(BodyError::BadTrailer),
                // Checked before counting, so neither counter can overflow.
                _ if seen as usize >= MAX_RESPONSE_TRAILERS => Err(BodyError::TrailersTooLarge),
                _ => Ok(Self::Trailer { line: line + 1, seen: seen + 1 }),
            },
            Self::TrailerLf { line, seen } => match (byte, line) {
                // The empty line ends the body and is not counted.
                (b'\n', 0) => Ok(Self::Complete),
                // The line end counts towards the limit too.
                (b'\n', _) if seen as usize + 2 > MAX_RESPONSE_TRAILERS => {
                    Err(BodyError::TrailersTooLarge)
                }
                (b'\n', _) => Ok(Self::Trailer { line: 0, seen: seen + 2 }),
                _ => Err(BodyError::BadTrailer),
            },
            // Not framing: `decode` and `decode_unmeasured` handle these.
            Self::Fixed { .. } | Self::ToEnd | Self::ChunkData { .. } | Self::Complete => Ok(self),
        }
    }

    fn extension(size: u64, line: u16) -> Result<Self, BodyError> {
        Ok(Self::ChunkExtension { size, line: next_in_line(line)? })
    }
}

fn next_in_line(line: u16) -> Result<u16, BodyError> {
    if usize::from(line) >= MAX_CHUNK_LINE {
        return Err(BodyError::ChunkLineTooLong);
    }
    Ok(line + 1)
}

/// Splits at most `most` bytes off the start of `input`.
fn take<'b>(input: &mut &'b [u8], most: u64) -> &'b [u8] {
    // The announced length may exceed `usize` and is only ever a bound on what has arrived.
    let length = usize::try_from(most).unwrap_or(usize::MAX).min(input.len());
    let (piece, rest) = input.split_at(length);
    *input = rest;
    piece
}

/// Why the bytes received are not a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// A chunk does not start with a hexadecimal size below 2^64 and CR LF.
    BadChunkSize,
    /// The line of a chunk size is longer than [`MAX_CHUNK_LINE`].
    ChunkLineTooLong,
    /// The data of a chunk is not followed by CR LF.
    BadChunkEnd,
    /// A trailer line does not end with CR LF.
    BadTrailer,
    /// The trailers are longer than [`MAX_RESPONSE_TRAILERS`].
    TrailersTooLarge,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadChunkSize => f.write_str("bad chunk size"),
            Self::ChunkLineTooLong => write!(f, "chunk size line over {MAX_CHUNK_LINE} bytes"),
            Self::BadChunkEnd => f.write_str("no line end after the data of a chunk"),
            Self::BadTrailer => f.write_str("malformed trailer"),
            Self::TrailersTooLarge => write!(f, "trailers over {MAX_RESPONSE_TRAILERS} bytes"),
        }
    }
}

impl core::error::Error for BodyError {}
