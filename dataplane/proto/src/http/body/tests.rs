//! Stories about bodies: what is counted, what is refused, and at which byte.

use std::format;
use std::vec::Vec;

use super::*;

fn chunked() -> Body {
    Body::new(Framing::Chunked, &Limits::default())
}

fn whole(text: impl AsRef<[u8]>) -> Result<Advance, Smuggling> {
    match chunked().advance(text.as_ref()) {
        Ok(advance) => Ok(advance),
        Err(BodyError::Smuggling(class)) => Err(class),
        Err(why) => panic!("{why}"),
    }
}

/// The whole text is a body, and nothing behind it.
fn accepted(text: &str) {
    let followed = format!("{text}GET /");
    assert_eq!(
        whole(&followed),
        Ok(Advance {
            taken: text.len(),
            complete: true
        }),
        "{text:?}"
    );
}

fn refused(text: impl AsRef<[u8]>) -> Smuggling {
    let text = text.as_ref();
    match whole(text) {
        Err(class) => class,
        Ok(read) => panic!("{} was read as {read:?}", text.escape_ascii()),
    }
}

#[test]
fn a_message_without_body_is_complete_at_once() {
    for framing in [Framing::None, Framing::Length(0)] {
        let mut body = Body::new(framing, &Limits::default());
        assert!(body.is_complete());
        assert_eq!(
            body.advance(b"next"),
            Ok(Advance {
                taken: 0,
                complete: true
            })
        );
        assert_eq!(body.on_close(), Ok(()));
    }
}

#[test]
fn a_counted_body_ends_with_its_last_byte() {
    let mut body = Body::new(Framing::Length(5), &Limits::default());
    assert_eq!(
        body.advance(b"abc"),
        Ok(Advance {
            taken: 3,
            complete: false
        })
    );
    assert_eq!(
        body.advance(b""),
        Ok(Advance {
            taken: 0,
            complete: false
        })
    );
    assert_eq!(
        body.advance(b"deNEXT"),
        Ok(Advance {
            taken: 2,
            complete: true
        })
    );
    assert_eq!(body.content_bytes(), 5);
}

#[test]
fn h04_a_body_cut_short_by_a_close_is_truncated() {
    let mut body = Body::new(Framing::Length(5), &Limits::default());
    body.advance(b"abcd").unwrap();
    assert_eq!(body.on_close(), Err(BodyError::Truncated));
    for cut in 0.."3\r\nabc\r\n0\r\nx: y\r\n\r\n".len() {
        let mut body = chunked();
        body.advance(&b"3\r\nabc\r\n0\r\nx: y\r\n\r\n"[..cut])
            .unwrap();
        assert_eq!(body.on_close(), Err(BodyError::Truncated), "{cut}");
    }
}

#[test]
fn a_body_until_close_takes_all_and_ends_well() {
    let mut body = Body::new(Framing::UntilClose, &Limits::default());
    assert_eq!(
        body.advance(b"HTTP/1.1 200 OK\r\n"),
        Ok(Advance {
            taken: 17,
            complete: false
        })
    );
    assert_eq!(body.on_close(), Ok(()));
    assert!(body.is_complete());
}

#[test]
fn a_chunked_body_ends_behind_its_last_chunk_and_trailers() {
    accepted("0\r\n\r\n");
    accepted("3\r\nabc\r\n0\r\n\r\n");
    accepted("003\r\nabc\r\n00\r\n\r\n");
    accepted("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n");
    accepted("5;name=value;other=\"quoted, still\"\r\n\r\n\r\n0\r\n0;x\r\n\r\n");
    accepted("0\r\ngrpc-status: 0\r\nServer-Timing: a;dur=1\r\nX-Empty:\r\n\r\n");
}

#[test]
fn content_is_counted_without_its_framing() {
    let mut body = chunked();
    body.advance(b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nt: v\r\n\r\n")
        .unwrap();
    assert_eq!(body.content_bytes(), 5);
}

#[test]
fn h03_a_chunk_size_is_1_to_16_hexadecimal_digits() {
    for bad in [
        "\r\n",
        "g\r\n",
        "0x5\r\n",
        "+5\r\n",
        "-1\r\n",
        " 5\r\n",
        "5 \r\n",
        "5\t\r\n",
        "5 ;x\r\n",
        ";x\r\n",
        "5,\r\n",
        "\u{b2}\r\n",
    ] {
        assert_eq!(refused(bad), Smuggling::ChunkSize, "{bad:?}");
    }
    assert!(whole("000000000000000F\r\n").is_ok());
    assert_eq!(refused("0000000000000000F\r\n"), Smuggling::ChunkSize);
    assert!(whole("FFFFFFFFFFFFFFFF\r\nabc").is_ok());
    assert_eq!(refused("10000000000000000\r\n"), Smuggling::ChunkSize);
}

#[test]
fn h03_bare_line_ends_in_a_chunk_line_are_refused() {
    assert_eq!(refused("5\nabcde\r\n"), Smuggling::ChunkSize);
    assert_eq!(refused("5\r\r\nabcde\r\n"), Smuggling::BareCr);
    assert_eq!(refused("5\rX"), Smuggling::BareCr);
}

#[test]
fn h03_term_ext_and_ext_term_attacks_are_refused() {
    // A line end hidden in an extension: one reader ends the line there, the other goes on to the CRLF.
    assert_eq!(
        refused("2;\nxx\r\n4c\r\n0\r\n\r\n"),
        Smuggling::ChunkExtension
    );
    assert_eq!(refused("2;a=b\n\r\n"), Smuggling::ChunkExtension);
    assert_eq!(refused("2;a\rb\r\n"), Smuggling::BareCr);
    assert_eq!(refused("2;\"\n\"\r\n"), Smuggling::ChunkExtension);
    assert_eq!(refused("2\r;a\r\n"), Smuggling::BareCr);
}

#[test]
fn h03_nul_control_and_foreign_bytes_in_an_extension_are_refused() {
    for byte in (0..=0xFF_u8).filter(|b| !(b' '..=b'~').contains(b) && *b != b'\r') {
        let text = [b"2;a=", &[byte][..], b"\r\n"].concat();
        assert_eq!(refused(&text), Smuggling::ChunkExtension, "{byte:#x}");
    }
}

#[test]
fn h03_extensions_of_one_body_may_have_4_kib_in_all() {
    let limit = usize::try_from(Limits::default().chunk_extension_bytes).unwrap();
    let once = |length: usize| format!("1;{}\r\n", "x".repeat(length - 1));
    assert!(whole(once(limit)).is_ok());
    assert_eq!(refused(once(limit + 1)), Smuggling::ChunkExtensionTooLarge);
    let twice = |second: usize| format!("{}a\r\n{}", once(limit / 2), once(second));
    assert!(whole(twice(limit - limit / 2)).is_ok());
    assert_eq!(
        refused(twice(limit - limit / 2 + 1)),
        Smuggling::ChunkExtensionTooLarge
    );
}

#[test]
fn h03_the_data_of_a_chunk_is_followed_by_crlf() {
    for bad in [
        "3\r\nabcd\r\n",
        "3\r\nabc\n",
        "3\r\nabc\rX",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabc\0\r\n",
    ] {
        assert_eq!(refused(bad), Smuggling::ChunkEnd, "{bad:?}");
    }
    assert_eq!(
        refused("3\r\nab\r\n0\r\n\r\n"),
        Smuggling::ChunkEnd,
        "a size larger than the data"
    );
}

#[test]
fn h03_a_million_chunks_of_one_byte_are_refused_long_before_their_end() {
    let mut body = chunked();
    let mut passed = 0_u32;
    let refused = loop {
        match body.advance(b"1\r\nx\r\n") {
            Ok(_) => passed += 1,
            Err(why) => break why,
        }
        assert!(passed < 1_000_000);
    };
    assert_eq!(refused.smuggling(), Some(Smuggling::ChunkOverhead));
    // Five bytes of framing each, of which two are paid for by the byte of content: 256 KiB / 3.
    assert_eq!(passed, 256 * 1024 / 3);
}

#[test]
fn h03_the_last_byte_of_surplus_framing_passes_and_one_more_does_not() {
    // Nine chunks of one byte and the last chunk: 9 x 5 + 5 bytes of framing, of which 9 x 2 are paid for.
    let text = format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(9));
    for (chunk_overhead_bytes, expected) in [
        (32, Ok(true)),
        (31, Err(BodyError::Smuggling(Smuggling::ChunkOverhead))),
    ] {
        let limits = Limits {
            chunk_overhead_bytes,
            ..Limits::default()
        };
        let mut body = Body::new(Framing::Chunked, &limits);
        let read = body.advance(text.as_bytes()).map(|read| read.complete);
        assert_eq!(read, expected, "{chunk_overhead_bytes}");
    }
}

#[test]
fn h03_sensible_chunks_never_run_out_of_budget() {
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let mut body = chunked();
    for _ in 0..200_000 {
        body.advance(chunk.as_bytes()).unwrap();
    }
}

#[test]
fn h03_trailers_that_belong_in_the_head_are_refused() {
    for name in [
        "Content-Length",
        "content-length",
        "CONTENT_LENGTH",
        "Transfer-Encoding",
        "Host",
        "Connection",
        "TE",
        "Trailer",
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "Content-Type",
        "Content-Encoding",
        "SAP-Connectivity-Authentication",
        "SSL_CLIENT_CERT",
        "X-Forwarded-For",
        "X-HTTP-Method-Override",
        "Upgrade",
        "Expect",
        "If-Match",
        "Cache-Control",
        "Location",
        "adit-refusal",
        "SAP-Connectivity-Something-Much-Longer-Than-What-Is-Kept",
    ] {
        assert_eq!(
            refused(format!("0\r\n{name}: x\r\n\r\n")),
            Smuggling::TrailerForbidden,
            "{name}"
        );
    }
}

#[test]
fn h03_each_trailer_is_judged_by_its_own_name() {
    assert_eq!(
        refused("0\r\nx-a: b\r\nHost: x\r\n\r\n"),
        Smuggling::TrailerForbidden
    );
    // Two harmless names that only together would spell a forbidden one.
    accepted("0\r\nho: a\r\nst: b\r\n\r\n");
}

#[test]
fn h03_trailers_are_well_formed_field_lines() {
    for bad in [
        "0\r\n x: y\r\n\r\n",
        "0\r\nx : y\r\n\r\n",
        "0\r\n: y\r\n\r\n",
        "0\r\nx\r\n\r\n",
        "0\r\nx: a\nb: c\r\n\r\n",
        "0\r\nx: a\0b\r\n\r\n",
        "0\r\nx: y\r\n z\r\n\r\n",
        "0\r\n\n",
        "0\r\nx(): y\r\n\r\n",
    ] {
        assert_eq!(refused(bad), Smuggling::TrailerMalformed, "{bad:?}");
    }
    assert_eq!(refused("0\r\nx: a\rb\r\n\r\n"), Smuggling::BareCr);
    assert_eq!(refused("0\r\n\rX"), Smuggling::BareCr);
}

#[test]
fn h03_trailers_may_have_8_kib_in_all() {
    let limit = usize::try_from(Limits::default().trailer_bytes).unwrap();
    let with = |length: usize| format!("0\r\nx:{}\r\n\r\n", "y".repeat(length - 2));
    assert!(whole(with(limit)).is_ok());
    assert_eq!(refused(with(limit + 1)), Smuggling::TrailerTooLarge);
}

#[test]
fn every_refusal_of_a_body_is_answered_with_400() {
    for why in [
        BodyError::Truncated,
        BodyError::Smuggling(Smuggling::ChunkSize),
    ] {
        assert_eq!(why.refusal().http_status(), 400);
        assert!(!format!("{why}").is_empty());
    }
}

#[test]
fn every_cut_of_a_body_gives_the_same_result() {
    let good = b"3;e=f\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nt: v\r\nu:\r\n\r\nNEXT".to_vec();
    let bad = b"3\r\nabc\r\n0\r\nhost: x\r\n\r\n".to_vec();
    for text in [good, bad] {
        let expected = whole(&text);
        for cut in 0..=text.len() {
            let mut body = chunked();
            let pieces: [&[u8]; 2] = [&text[..cut], &text[cut..]];
            assert_eq!(
                feed(&mut body, &pieces),
                expected.map(|a| a.taken),
                "cut at {cut}"
            );
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(
            feed(&mut chunked(), &bytes),
            expected.map(|a| a.taken),
            "byte by byte"
        );
    }
}

fn feed(body: &mut Body, pieces: &[&[u8]]) -> Result<usize, Smuggling> {
    let mut taken = 0;
    for piece in pieces {
        taken += match body.advance(piece) {
            Ok(advance) => advance.taken,
            Err(why) => return Err(why.smuggling().expect("a close is the only other end")),
        };
    }
    Ok(taken)
}

#[test]
fn one_reader_of_a_body_is_small_whatever_the_body() {
    // Followed, not held: two cache lines for a body of any size.
    assert!(size_of::<Body>() <= 128, "{}", size_of::<Body>());
}
