//! Lower-case hexadecimal digits, for digests, keys and signatures in lines.

/// The digits of one byte.
pub(crate) fn digits(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| {
        if nibble < 10 {
            b'0' + nibble
        } else {
            b'a' + nibble - 10
        }
    };
    [digit(byte >> 4), digit(byte & 0x0f)]
}

/// Appends the digits of all bytes.
pub(crate) fn append(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(2 * bytes.len());
    for byte in bytes {
        out.extend_from_slice(&digits(*byte));
    }
}

/// The text of all bytes.
pub(crate) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let [high, low] = digits(*byte);
        text.push(char::from(high));
        text.push(char::from(low));
    }
    text
}

/// Reads exactly `N` bytes; `None` for anything that [`text`] does not write.
pub(crate) fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_two_digits_that_read_back() {
        for byte in 0..=u8::MAX {
            assert_eq!(text(&[byte]), format!("{byte:02x}"));
            assert_eq!(read(&text(&[byte])), Some([byte]));
        }
        for wrong in ["", "0", "0g", "0A", "000", "\u{e4}"] {
            assert_eq!(read::<1>(wrong), None, "{wrong}");
        }
    }
}
