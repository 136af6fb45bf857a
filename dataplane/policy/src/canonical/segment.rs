//! Judges one path segment that is not plain: percent-encodings, layers of them, UTF-8, dots and parameters.
//!
//! It knows nothing of slashes between segments or of rules; `path` calls it for the few segments that need it.
use super::Oddity;
use crate::limits::ENCODING_LAYERS_MAX;
use crate::rule::EncodedSlash;

/// Judges the segment `raw` (no raw slash in it). `last` says that no segment follows.
///
/// # Errors
/// The oddity and the offset in `raw` at which it was noticed.
pub(super) fn judge(raw: &[u8], last: bool, slash: EncodedSlash) -> Result<(), (Oddity, usize)> {
    let mut first = Layer::new(slash);
    let mut percent = false;
    let mut rest = raw;
    while let [byte, tail @ ..] = rest {
        let at = raw.len() - rest.len();
        let odd = |oddity| (oddity, at);
        let (decoded, encoded) = if *byte == b'%' {
            let [high, low, tail @ ..] = tail else {
                return Err(odd(Oddity::MalformedPercent));
            };
            let byte = hex_pair(*high, *low).ok_or_else(|| odd(Oddity::MalformedPercent))?;
            rest = tail;
            (byte, true)
        } else {
            rest = tail;
            (*byte, false)
        };
        if !encoded {
            match decoded {
                b'?' | b'#' => return Err(odd(Oddity::QueryOrFragment)),
                b' ' => return Err(odd(Oddity::Control)),
                _ => {}
            }
        }
        percent |= decoded == b'%';
        first.see(decoded, encoded).map_err(odd)?;
    }
    first.end(last).map_err(|oddity| (oddity, 0))?;
    if percent {
        further_layers(raw, last).map_err(|oddity| (oddity, 0))?;
    }
    Ok(())
}

/// Judges what the segment becomes when it is decoded twice, three times and so on.
fn further_layers(raw: &[u8], last: bool) -> Result<(), Oddity> {
    let mut layers = Layers::new();
    for byte in decoded(raw) {
        layers.feed(0, byte, false)?;
    }
    layers.end(last)
}

/// The bytes of a judged segment, decoded once.
pub(super) fn decoded(raw: &[u8]) -> impl Iterator<Item = u8> {
    decoded_units(raw).map(|(byte, _)| byte)
}

/// The bytes of a judged segment, decoded once, each with whether it was encoded.
pub(super) fn decoded_units(raw: &[u8]) -> impl Iterator<Item = (u8, bool)> {
    let mut rest = raw;
    core::iter::from_fn(move || match rest {
        [b'%', high, low, tail @ ..] if hex_pair(*high, *low).is_some() => {
            rest = tail;
            hex_pair(*high, *low).map(|byte| (byte, true))
        }
        [byte, tail @ ..] => {
            rest = tail;
            Some((*byte, false))
        }
        [] => None,
    })
}

pub(super) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    Some(hex_digit(high)? << 4 | hex_digit(low)?)
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The segment as one more decoding would show it, for each further layer; each feeds the next.
///
/// Decoding here is lenient: a `%` without two digits stands for itself, because in a second layer it usually does.
struct Layers {
    layers: [(Layer, Pending); ENCODING_LAYERS_MAX],
}

/// Bytes that may yet turn out to be an encoding.
#[derive(Clone, Copy)]
enum Pending {
    Nothing,
    Percent,
    PercentAnd(u8),
}

impl Layers {
    fn new() -> Self {
        Self {
            layers: [(Layer::new(EncodedSlash::Refuse), Pending::Nothing); ENCODING_LAYERS_MAX],
        }
    }

    /// Takes the next byte of what layer `index` reads; `fresh` when the layer before has just decoded it.
    fn feed(&mut self, index: usize, byte: u8, fresh: bool) -> Result<(), Oddity> {
        if fresh && matches!(byte, b'.' | b'/' | b'\\' | 0..=0x1f | 0x7f) {
            return Err(Oddity::DoubleEncoding);
        }
        let Some((layer, pending)) = self.layers.get_mut(index) else {
            // Nothing may be left to decode below the last layer.
            return if fresh {
                Err(Oddity::DoubleEncoding)
            } else {
                Ok(())
            };
        };
        // What was not fresh has been judged one layer above; only its company may have changed.
        layer
            .see_again(byte)
            .map_err(|_hidden| Oddity::DoubleEncoding)?;
        let before = core::mem::replace(pending, Pending::Nothing);
        match (before, byte) {
            (Pending::Nothing, b'%') => self.wait(index, Pending::Percent),
            (Pending::Nothing, _) => self.feed(index + 1, byte, false)?,
            (Pending::Percent, _) if hex_digit(byte).is_some() => {
                self.wait(index, Pending::PercentAnd(byte));
            }
            (Pending::Percent, _) => {
                self.feed(index + 1, b'%', false)?;
                self.literal(index, byte)?;
            }
            (Pending::PercentAnd(high), _) => match hex_pair(high, byte) {
                Some(decoded) => self.feed(index + 1, decoded, true)?,
                None => {
                    self.feed(index + 1, b'%', false)?;
                    self.feed(index + 1, high, false)?;
                    self.literal(index, byte)?;
                }
            },
        }
        Ok(())
    }

    /// Passes on a byte that ended a false start, unless it starts anew.
    fn literal(&mut self, index: usize, byte: u8) -> Result<(), Oddity> {
        if byte == b'%' {
            self.wait(index, Pending::Percent);
            return Ok(());
        }
        self.feed(index + 1, byte, false)
    }

    fn wait(&mut self, index: usize, what: Pending) {
        if let Some((_, pending)) = self.layers.get_mut(index) {
            *pending = what;
        }
    }

    fn end(mut self, last: bool) -> Result<(), Oddity> {
        for index in 0..self.layers.len() {
            let pending = self
                .layers
                .get_mut(index)
                .map(|(_, pending)| core::mem::replace(pending, Pending::Nothing));
            match pending {
                Some(Pending::Percent) => self.feed(index + 1, b'%', false)?,
                Some(Pending::PercentAnd(high)) => {
                    self.feed(index + 1, b'%', false)?;
                    self.feed(index + 1, high, false)?;
                }
                Some(Pending::Nothing) | None => {}
            }
        }
        for (layer, _) in self.layers {
            layer.end(last).map_err(|_hidden| Oddity::DoubleEncoding)?;
        }
        Ok(())
    }
}

/// What one layer of a segment has looked like so far.
#[derive(Clone, Copy)]
struct Layer {
    slash: EncodedSlash,
    utf8: Utf8,
    shape: Shape,
    /// An encoded slash was kept, so that pieces of this segment may be segments to the backend.
    pieces: bool,
    /// Parameters follow nothing, also for a backend that takes kept slashes for text.
    nameless: bool,
}

/// The name of a segment: what stands before its first `;`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Nothing yet, or only blanks.
    Blank,
    /// At least one dot, and otherwise only dots and blanks.
    Dots,
    /// Something else too.
    Name,
    /// Parameters follow, of a name or of nothing.
    Parameters,
}

impl Layer {
    const fn new(slash: EncodedSlash) -> Self {
        Self {
            slash,
            utf8: Utf8::new(),
            shape: Shape::Blank,
            pieces: false,
            nameless: false,
        }
    }

    fn see(&mut self, byte: u8, encoded: bool) -> Result<(), Oddity> {
        match byte {
            b'\\' if encoded => return Err(Oddity::EncodedBackslash),
            b'\\' => return Err(Oddity::Backslash),
            b'/' if self.slash == EncodedSlash::Refuse => return Err(Oddity::EncodedSlash),
            _ => {}
        }
        self.see_again(byte)
    }

    fn see_again(&mut self, byte: u8) -> Result<(), Oddity> {
        let Some(character) = self.utf8.push(byte)? else {
            return Ok(());
        };
        if character.is_control() {
            return Err(Oddity::Control);
        }
        if is_lookalike(character) {
            return Err(Oddity::Lookalike);
        }
        self.shape = match (self.shape, character) {
            (Shape::Dots, '/' | ';') => return Err(Oddity::DotSegment),
            (_, '/') => {
                self.pieces = true;
                Shape::Blank
            }
            (Shape::Blank, ';') => {
                self.nameless |= !self.pieces;
                Shape::Parameters
            }
            (Shape::Name, ';') => Shape::Parameters,
            (Shape::Blank | Shape::Dots, '.') => Shape::Dots,
            (shape @ (Shape::Blank | Shape::Dots), blank) if is_blank(blank) => shape,
            (Shape::Blank | Shape::Dots | Shape::Name, _) => Shape::Name,
            (Shape::Parameters, _) => Shape::Parameters,
        };
        Ok(())
    }

    fn end(self, last: bool) -> Result<(), Oddity> {
        self.utf8.end()?;
        match self.shape {
            Shape::Dots => Err(Oddity::DotSegment),
            // `/app/;jsessionid=1` is how servlet containers write `/app/` with a session, so it stays usable as the
            // last segment. In the middle it is a segment that some programs drop.
            Shape::Blank | Shape::Name | Shape::Parameters if self.nameless && !last => {
                Err(Oddity::EmptySegment)
            }
            Shape::Blank | Shape::Name | Shape::Parameters => Ok(()),
        }
    }
}

/// A UTF-8 decoder that takes one byte at a time (The Unicode Standard, table 3-7).
#[derive(Clone, Copy)]
struct Utf8 {
    /// Continuation bytes still to come.
    need: u8,
    /// The range the next one must lie in.
    low: u8,
    high: u8,
    point: u32,
}

impl Utf8 {
    const fn new() -> Self {
        Self {
            need: 0,
            low: 0x80,
            high: 0xbf,
            point: 0,
        }
    }

    /// The character that `byte` completes, if it does.
    fn push(&mut self, byte: u8) -> Result<Option<char>, Oddity> {
        if self.need > 0 {
            if !(self.low..=self.high).contains(&byte) {
                let continues = (0x80..=0xbf).contains(&byte);
                // Below the range after E0 and F0 lies what fits in fewer bytes; above it after ED and F4 lie
                // surrogates and what is beyond Unicode.
                return Err(if continues && byte < self.low {
                    Oddity::OverlongUtf8
                } else {
                    Oddity::InvalidUtf8
                });
            }
            self.point = self.point << 6 | u32::from(byte & 0x3f);
            self.need -= 1;
            (self.low, self.high) = (0x80, 0xbf);
            if self.need > 0 {
                return Ok(None);
            }
            return char::from_u32(self.point)
                .map(Some)
                .ok_or(Oddity::InvalidUtf8);
        }
        let (need, low, high, bits) = match byte {
            0x00..=0x7f => return Ok(Some(char::from(byte))),
            0xc0 | 0xc1 => return Err(Oddity::OverlongUtf8),
            0xc2..=0xdf => (1, 0x80, 0xbf, byte & 0x1f),
            0xe0 => (2, 0xa0, 0xbf, byte & 0x0f),
            0xed => (2, 0x80, 0x9f, byte & 0x0f),
            0xe1..=0xef => (2, 0x80, 0xbf, byte & 0x0f),
            0xf0 => (3, 0x90, 0xbf, byte & 0x07),
            0xf1..=0xf3 => (3, 0x80, 0xbf, byte & 0x07),
            0xf4 => (3, 0x80, 0x8f, byte & 0x07),
            0x80..=0xbf | 0xf5..=0xff => return Err(Oddity::InvalidUtf8),
        };
        *self = Self {
            need,
            low,
            high,
            point: u32::from(bits),
        };
        Ok(None)
    }

    fn end(self) -> Result<(), Oddity> {
        if self.need > 0 {
            return Err(Oddity::InvalidUtf8);
        }
        Ok(())
    }
}

/// Characters that some programs drop or trim, so that dots among them are dots alone: white space, and characters
/// that show nothing (soft hyphen, joiners, direction marks, invisible operators, variation selectors, byte order mark).
fn is_blank(character: char) -> bool {
    character.is_whitespace()
        || matches!(
            character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        )
}

/// Characters that compatibility normalisation (NFKC) or the "best fit" tables of Windows turn into a dot, slash,
/// backslash or percent sign.
fn is_lookalike(character: char) -> bool {
    matches!(
        character,
        '\u{2024}' | '\u{2025}' | '\u{fe52}' | '\u{ff0e}' // one dot leader, two dot leader, small and fullwidth full stop
        | '\u{2044}' | '\u{2215}' | '\u{ff0f}' // fraction slash, division slash, fullwidth solidus
        | '\u{2100}' | '\u{2101}' | '\u{2105}' | '\u{2106}' // a/c, a/s, c/o, c/u
        | '\u{2216}' | '\u{29f5}' | '\u{fe68}' | '\u{ff3c}' // set minus, reverse solidus operator, small and fullwidth
        | '\u{fe6a}' | '\u{ff05}' // small and fullwidth percent sign
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf8(bytes: &[u8]) -> Result<String, Oddity> {
        let mut decoder = Utf8::new();
        let mut text = String::new();
        for byte in bytes {
            text.extend(decoder.push(*byte)?);
        }
        decoder.end()?;
        Ok(text)
    }

    #[test]
    fn utf8_agrees_with_the_standard_library_on_every_two_bytes() {
        for first in 0..=255_u8 {
            for second in 0..=255_u8 {
                let bytes = [first, second];
                assert_eq!(
                    utf8(&bytes).ok().as_deref(),
                    core::str::from_utf8(&bytes).ok(),
                    "{bytes:02x?}"
                );
            }
        }
    }

    #[test]
    fn utf8_agrees_with_the_standard_library_at_every_border_of_three_and_four_bytes() {
        let borders = [
            0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1,
            0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff_u8,
        ];
        for a in borders {
            for b in borders {
                for c in borders {
                    for d in borders {
                        for bytes in [&[a, b, c][..], &[a, b, c, d][..]] {
                            assert_eq!(
                                utf8(bytes).ok().as_deref(),
                                core::str::from_utf8(bytes).ok(),
                                "{bytes:02x?}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn overlong_forms_are_told_from_other_damage() {
        for bytes in [
            &b"\xc0\xae"[..],
            b"\xc0\xaf",
            b"\xc1\xbf",
            b"\xe0\x80\xaf",
            b"\xf0\x80\x80\xaf",
        ] {
            assert_eq!(utf8(bytes), Err(Oddity::OverlongUtf8), "{bytes:02x?}");
        }
        for bytes in [
            &b"\x80"[..],
            b"\xe4",
            b"\xe4b",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xff",
        ] {
            assert_eq!(utf8(bytes), Err(Oddity::InvalidUtf8), "{bytes:02x?}");
        }
    }
}
