//! Follows one message body through any cut of its bytes, without holding or copying any of it.
//!
//! It tells which of the offered bytes belong to the body, and refuses chunk framing that could be read in two ways
//! (RFC 9112, section 7.1). A chunked body passes on in the form it came in. Time limits are kept by others.

use core::fmt;

use super::field::{TRAILER_NAME_BYTES, is_forbidden_trailer};
use super::head::Framing;
use super::{Limits, Smuggling};
use crate::Refusal;

/// The reader of one body.
#[derive(Clone, Debug)]
pub struct Body {
    state: State,
    /// Bytes of content so far.
    content: u64,
    /// Bytes of chunk framing so far.
    overhead: u64,
    extension_bytes: u32,
    trailer_bytes: u32,
    extension_bytes_max: u32,
    trailer_bytes_max: u32,
    overhead_bytes_max: u64,
    trailer: TrailerName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Complete,
    UntilClose,
    Length { left: u64 },
    // Chunked, in the order of the grammar.
    Size { digits: u8, size: u64 },
    Extension { size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerLine,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
}

/// The beginning of the name of the trailer being read, and its length.
#[derive(Clone, Copy, Debug, Default)]
struct TrailerName {
    bytes: [u8; TRAILER_NAME_BYTES],
    length: usize,
}

impl TrailerName {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
        }
        self.length += 1;
    }

    fn is_forbidden(&self) -> bool {
        is_forbidden_trailer(self.bytes.get(..self.length).unwrap_or(&self.bytes))
    }
}

/// What became of offered bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance {
    /// How many of them belong to the body, from the front.
    pub taken: usize,
    /// Whether the body ends with them. What was not taken is the next message.
    pub complete: bool,
}

/// Why a body cannot be read on. Where the next message would begin is unknown: the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// Its chunk framing could be read in two ways, or is out of proportion.
    Smuggling(Smuggling),
    /// The connection closed before the body was complete.
    Truncated,
}

impl BodyError {
    /// The class to count it under when it is an attack on the framing of messages.
    #[must_use]
    pub const fn smuggling(&self) -> Option<Smuggling> {
        match self {
            Self::Smuggling(class) => Some(*class),
            Self::Truncated => None,
        }
    }

    /// What the caller is told about a body of its own. For a backend's body it is
    /// [`BackendMalformed`](Refusal::BackendMalformed) or [`BackendReset`](Refusal::BackendReset).
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::Smuggling(class) => class.refusal(),
            Self::Truncated => Refusal::BodyFraming,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smuggling(class) => write!(f, "body: {}", class.text()),
            Self::Truncated => {
                f.write_str("body: the connection closed before the body was complete")
            }
        }
    }
}

impl core::error::Error for BodyError {}

impl Body {
    /// The reader of a body with this framing.
    #[must_use]
    pub fn new(framing: Framing, limits: &Limits) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Complete,
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => State::Size { digits: 0, size: 0 },
            Framing::UntilClose => State::UntilClose,
        };
        Self {
            state,
            content: 0,
            overhead: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
            extension_bytes_max: limits.chunk_extension_bytes,
            trailer_bytes_max: limits.trailer_bytes,
            overhead_bytes_max: limits.chunk_overhead_bytes,
            trailer: TrailerName::default(),
        }
    }

    /// Whether the body is over; true at once for a message without one.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// How many bytes are still to come, where the head told a length; none where only the body itself will tell.
    #[must_use]
    pub const fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length { left } => Some(left),
            State::Complete => Some(0),
            State::UntilClose
            | State::Size { .. }
            | State::Extension { .. }
            | State::SizeLf { .. }
            | State::Data { .. }
            | State::DataCr
            | State::DataLf
            | State::TrailerLine
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::LastLf => None,
        }
    }

    /// Bytes of content so far, without chunk framing and trailers.
    #[must_use]
    pub const fn content_bytes(&self) -> u64 {
        self.content
    }

    /// Looks at the next bytes of the connection and tells how many of them belong to the body.
    ///
    /// # Errors
    /// The framing is refused; none of these bytes may be passed on, and the body is over.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Advance, BodyError> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            let step = match self.state {
                State::Complete => break,
                State::UntilClose => self.count(rest.len(), u64::MAX).0,
                State::Length { left } => {
                    let (step, left) = self.count(rest.len(), left);
                    self.state = if left == 0 {
                        State::Complete
                    } else {
                        State::Length { left }
                    };
                    step
                }
                State::Data { left } => {
                    let (step, left) = self.count(rest.len(), left);
                    self.state = if left == 0 {
                        State::DataCr
                    } else {
                        State::Data { left }
                    };
                    step
                }
                State::Size { .. }
                | State::Extension { .. }
                | State::SizeLf { .. }
                | State::DataCr
                | State::DataLf
                | State::TrailerLine
                | State::TrailerName
                | State::TrailerValue
                | State::TrailerLf
                | State::LastLf => {
                    let Some(&byte) = rest.first() else { break };
                    self.frame(byte).map_err(BodyError::Smuggling)?;
                    1
                }
            };
            taken += step;
        }
        Ok(Advance {
            taken,
            complete: self.is_complete(),
        })
    }

    /// The connection has closed: was the body complete?
    ///
    /// # Errors
    /// [`BodyError::Truncated`] when bytes are missing.
    pub const fn on_close(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Complete | State::UntilClose => {
                self.state = State::Complete;
                Ok(())
            }
            State::Length { .. }
            | State::Size { .. }
            | State::Extension { .. }
            | State::SizeLf { .. }
            | State::Data { .. }
            | State::DataCr
            | State::DataLf
            | State::TrailerLine
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::LastLf => Err(BodyError::Truncated),
        }
    }

    /// Takes content: how many of `offered` bytes are within `left`, and what is left then.
    fn count(&mut self, offered: usize, left: u64) -> (usize, u64) {
        let step = offered.min(usize::try_from(left).unwrap_or(usize::MAX));
        let wide = u64::try_from(step).unwrap_or(u64::MAX);
        self.content = self.content.saturating_add(wide);
        (step, left.saturating_sub(wide))
    }

    /// Takes one byte of chunk framing or of the trailers.
    fn frame(&mut self, byte: u8) -> Result<(), Smuggling> {
        self.overhead += 1;
        if self.overhead
            > self
                .overhead_bytes_max
                .saturating_add(self.content.saturating_mul(2))
        {
            return Err(Smuggling::ChunkOverhead);
        }
        self.state = match (self.state, byte) {
            (State::Size { digits: 0, .. }, _) if !byte.is_ascii_hexdigit() => {
                return Err(Smuggling::ChunkSize);
            }
            (State::Size { digits, size }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == SIZE_DIGITS_MAX {
                    return Err(Smuggling::ChunkSize);
                }
                State::Size {
                    digits: digits + 1,
                    size: size << 4 | u64::from(hex_value(byte)),
                }
            }
            (State::Size { size, .. } | State::Extension { size }, b'\r') => State::SizeLf { size },
            (State::Size { size, .. }, b';') => self.extension(size)?,
            (State::Size { .. }, _) => return Err(Smuggling::ChunkSize),
            // Printable ASCII only. RFC 9112 would allow tabs and, in quotes, bytes above 127; nobody sends them, and
            // TERM.EXT attacks hide line ends among them.
            (State::Extension { size }, b' '..=b'~') => self.extension(size)?,
            (State::Extension { .. }, _) => return Err(Smuggling::ChunkExtension),
            (State::SizeLf { size: 0 }, b'\n') => State::TrailerLine,
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::SizeLf { .. }, _) => return Err(Smuggling::BareCr),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { digits: 0, size: 0 },
            (State::DataCr | State::DataLf, _) => return Err(Smuggling::ChunkEnd),
            (State::TrailerLine, b'\r') => State::LastLf,
            (State::TrailerLine, _) => {
                self.trailer = TrailerName::default();
                self.trailer_name(byte)?
            }
            (State::TrailerName, b':') => {
                self.trailer_byte()?;
                if self.trailer.is_forbidden() {
                    return Err(Smuggling::TrailerForbidden);
                }
                State::TrailerValue
            }
            (State::TrailerName, _) => self.trailer_name(byte)?,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => {
                self.trailer_byte()?;
                State::TrailerValue
            }
            (State::TrailerValue, _) => return Err(Smuggling::TrailerMalformed),
            (State::TrailerLf, b'\n') => State::TrailerLine,
            (State::LastLf, b'\n') => State::Complete,
            (State::TrailerLf | State::LastLf, _) => return Err(Smuggling::BareCr),
            (
                State::Complete | State::UntilClose | State::Length { .. } | State::Data { .. },
                _,
            ) => {
                debug_assert!(false, "content is not framing");
                self.state
            }
        };
        Ok(())
    }

    const fn extension(&mut self, size: u64) -> Result<State, Smuggling> {
        self.extension_bytes += 1;
        if self.extension_bytes > self.extension_bytes_max {
            return Err(Smuggling::ChunkExtensionTooLarge);
        }
        Ok(State::Extension { size })
    }

    fn trailer_name(&mut self, byte: u8) -> Result<State, Smuggling> {
        if !byte.is_ascii_alphanumeric() && !b"!#$%&'*+-.^_`|~".contains(&byte) {
            return Err(Smuggling::TrailerMalformed);
        }
        self.trailer_byte()?;
        self.trailer.push(byte);
        Ok(State::TrailerName)
    }

    const fn trailer_byte(&mut self) -> Result<(), Smuggling> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > self.trailer_bytes_max {
            return Err(Smuggling::TrailerTooLarge);
        }
        Ok(())
    }
}

/// Sixteen digits are 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

const fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests;
