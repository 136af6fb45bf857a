//! Stories about SOCKS5 callers: SAP's mail client, curl, and worse.

use std::format;
use std::vec;

use super::*;

/// What a caller got, message by message, until it was turned away or connected.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    steps: Vec<Step>,
    sent: Vec<u8>,
    refused: Option<SocksError>,
    left: Vec<u8>,
}

/// Plays the server for a caller whose bytes arrive in these pieces.
fn serve(pieces: &[&[u8]]) -> Told {
    let mut negotiation = Negotiation::new();
    let mut told = Told {
        steps: Vec::new(),
        sent: Vec::new(),
        refused: None,
        left: Vec::new(),
    };
    for piece in pieces {
        told.left.extend_from_slice(piece);
        loop {
            assert!(
                negotiation.state == State::Over
                    || told.left.len() <= crate::limits::SOCKS5_MESSAGE_BYTES_MAX + piece.len()
            );
            match negotiation.advance(&told.left, &mut told.sent) {
                Err(why) => {
                    told.refused = Some(why);
                    return told;
                }
                Ok((consumed, step)) => {
                    told.left.drain(..consumed);
                    match &step {
                        Step::More => break,
                        Step::Authenticate(_) => negotiation.authenticated(true, &mut told.sent),
                        Step::Connect { .. } => negotiation.reply(0, &mut told.sent),
                    }
                    told.steps.push(step);
                }
            }
        }
    }
    told
}

fn jwt_message(token: &[u8], location: &[u8]) -> Vec<u8> {
    let mut out = vec![1];
    out.extend(u32::try_from(token.len()).unwrap().to_be_bytes());
    out.extend(token);
    out.push(u8::try_from(location.len()).unwrap());
    out.extend(location);
    out
}

fn connect_message(host: &[u8], port: u16) -> Vec<u8> {
    let mut out = vec![5, 1, 0, 3, u8::try_from(host.len()).unwrap()];
    out.extend(host);
    out.extend(port.to_be_bytes());
    out
}

/// The reply code a request is turned away with, behind a good greeting and token.
fn request_refused(request: &[u8]) -> (u8, Option<SocksError>) {
    let told = serve(&[&[5, 1, 0x80], &jwt_message(b"t", b""), request]);
    let reply = told.sent.get(4..).unwrap_or_default();
    assert_eq!((reply.len(), reply.first()), (10, Some(&5)), "{told:?}");
    (reply[1], told.refused)
}

fn credentials(token: &[u8], location: &str) -> Step {
    Step::Authenticate(Credentials {
        token: token.to_vec(),
        location: location.into(),
    })
}

#[test]
fn saps_mail_client_offers_none_and_jwt_and_gets_jwt() {
    // Recorded order: 05 02 00 80; location "loc-1" travels as base64 "bG9jLTE=".
    let told = serve(&[
        &[5, 2, 0, 0x80],
        &jwt_message(b"header.claims.signature", b"bG9jLTE="),
        &connect_message(b"Smtp.virtual", 25),
        b"EHLO",
    ]);
    assert_eq!(told.refused, None);
    assert_eq!(
        told.steps,
        [
            credentials(b"header.claims.signature", "loc-1"),
            Step::Connect {
                host: "smtp.virtual".into(),
                port: 25
            },
        ]
    );
    assert_eq!(told.sent, [5, 0x80, 1, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(
        told.left, b"EHLO",
        "what follows the request is the conversation"
    );
}

#[test]
fn curl_offers_a_user_name_and_sends_location_and_token() {
    let told = serve(&[
        &[5, 3, 0, 1, 2],
        b"\x01\x05loc-1\x05token",
        &connect_message(b"redis.virtual", 6379),
    ]);
    assert_eq!(
        told.steps,
        [
            credentials(b"token", "loc-1"),
            Step::Connect {
                host: "redis.virtual".into(),
                port: 6379
            }
        ]
    );
    assert_eq!(told.sent[..4], [5, 2, 1, 0]);
}

#[test]
fn jwt_is_preferred_to_a_user_name_and_an_empty_user_name_is_the_default_location() {
    assert_eq!(serve(&[&[5, 2, 2, 0x80]]).sent, [5, 0x80]);
    let told = serve(&[&[5, 1, 2], b"\x01\x00\x05token"]);
    assert_eq!(told.steps, [credentials(b"token", "")]);
}

#[test]
fn a_dotted_quad_arrives_as_an_ipv4_address_and_leaves_as_text() {
    let told = serve(&[
        &[5, 1, 0x80],
        &jwt_message(b"t", b""),
        &[5, 1, 0, 1, 10, 1, 2, 3, 0x1F, 0x90],
    ]);
    assert_eq!(
        told.steps.last(),
        Some(&Step::Connect {
            host: "10.1.2.3".into(),
            port: 8080
        })
    );
}

#[test]
fn s11_another_version_is_turned_away_without_an_answer() {
    for first in (0..=255).filter(|b| *b != 5) {
        let told = serve(&[&[first, 1, 0x80]]);
        assert_eq!(
            (told.refused, told.sent.as_slice()),
            (Some(SocksError::Version), &[][..]),
            "{first}"
        );
    }
}

#[test]
fn s11_a_caller_without_an_accepted_method_gets_ff() {
    let all_others: Vec<u8> = (0..=255).filter(|m| *m != 2 && *m != 0x80).collect();
    let mut many = vec![5, u8::try_from(all_others.len()).unwrap()];
    many.extend(all_others);
    for greeting in [&[5, 0][..], &[5, 1, 0], &[5, 2, 0, 1], &many] {
        let told = serve(&[greeting]);
        assert_eq!(
            (told.refused, told.sent.as_slice()),
            (Some(SocksError::NoMethod), &[5, 0xFF][..]),
            "{greeting:?}"
        );
    }
}

#[test]
fn s11_255_methods_are_read() {
    let mut greeting = vec![5, 255];
    greeting.extend([0; 254]);
    greeting.push(0x80);
    assert_eq!(serve(&[&greeting]).sent, [5, 0x80]);
}

#[test]
fn s11_an_empty_token_and_one_of_4_gib_are_refused_before_they_arrive() {
    for (length, expected) in [
        (0, SocksError::TokenMissing),
        (u32::MAX, SocksError::TokenTooLarge),
        (
            u32::try_from(TOKEN_BYTES_MAX + 1).unwrap(),
            SocksError::TokenTooLarge,
        ),
    ] {
        let mut message = vec![1];
        message.extend(length.to_be_bytes());
        let told = serve(&[&[5, 1, 0x80], &message]);
        assert_eq!(
            (told.refused, told.sent.as_slice()),
            (Some(expected), &[5, 0x80, 1, 1][..]),
            "{length}"
        );
    }
    let longest = vec![b't'; TOKEN_BYTES_MAX];
    assert_eq!(
        serve(&[&[5, 1, 0x80], &jwt_message(&longest, b"")]).steps,
        [credentials(&longest, "")]
    );
    assert_eq!(
        serve(&[&[5, 1, 2], b"\x01\x01l\x00"]).refused,
        Some(SocksError::TokenMissing)
    );
}

#[test]
fn s11_a_location_that_is_not_base64_or_not_a_location_is_refused() {
    // "YSBi" is "a b", "/w==" the byte FF.
    for location in [&b"loc-1"[..], b"====", b"YSBi", b"/w==", b"\0\0\0\0"] {
        let told = serve(&[&[5, 1, 0x80], &jwt_message(b"t", location)]);
        assert_eq!(
            (told.refused, &told.sent[2..]),
            (Some(SocksError::Location), &[1, 1][..]),
            "{location:?}"
        );
    }
    assert_eq!(
        serve(&[&[5, 1, 2], b"\x01\x03a b\x01t"]).refused,
        Some(SocksError::Location)
    );
}

#[test]
fn s11_the_longest_location_arrives() {
    let location = "x".repeat(crate::limits::LOCATION_BYTES_MAX);
    let encoded = crate::http::BASE64.encode(&location);
    let told = serve(&[&[5, 1, 0x80], &jwt_message(b"t", encoded.as_bytes())]);
    assert_eq!(told.steps, [credentials(b"t", &location)]);
}

#[test]
fn s11_the_authentication_message_has_version_1() {
    for (greeting, message) in [
        (&[5, 1, 0x80], &[5, 0, 0, 0, 1][..]),
        (&[5, 1, 2], &[0, 0, 1]),
    ] {
        let told = serve(&[greeting, message]);
        assert_eq!(
            (told.refused, &told.sent[2..]),
            (Some(SocksError::AuthenticationVersion), &[1, 1][..])
        );
    }
}

#[test]
fn s11_bind_and_udp_are_unsupported_commands() {
    for command in (0..=255).filter(|c| *c != 1) {
        assert_eq!(
            request_refused(&[5, command, 0]),
            (7, Some(SocksError::Command)),
            "{command}"
        );
    }
}

#[test]
fn s11_ipv6_and_unknown_address_types_are_unsupported() {
    for kind in (0..=255).filter(|k| *k != 1 && *k != 3) {
        assert_eq!(
            request_refused(&[5, 1, 0, kind]),
            (8, Some(SocksError::AddressType)),
            "{kind}"
        );
    }
}

#[test]
fn s11_a_request_begins_with_5_and_its_reserved_byte_is_0() {
    assert_eq!(
        request_refused(&[4, 1, 0, 3]),
        (1, Some(SocksError::Request))
    );
    assert_eq!(
        request_refused(&[5, 1, 1, 3]),
        (1, Some(SocksError::Request))
    );
}

#[test]
fn s11_a_name_that_is_no_host_and_port_0_are_refused() {
    let long = [b'h'; 255];
    for host in [
        &b""[..],
        b"a\0b",
        b"a b",
        b"a:80",
        b"[::1]",
        b"a.",
        b"user@h",
        b"\xff",
        &long,
    ] {
        assert_eq!(
            request_refused(&connect_message(host, 80)),
            (8, Some(SocksError::Address)),
            "{host:?}"
        );
    }
    assert_eq!(
        request_refused(&connect_message(b"h", 0)),
        (8, Some(SocksError::Address))
    );
    assert_eq!(
        request_refused(&[5, 1, 0, 1, 1, 2, 3, 4, 0, 0]),
        (8, Some(SocksError::Address))
    );
}

#[test]
fn s11_every_truncation_wants_more_and_says_nothing_wrong() {
    for script in [
        [
            &[5, 2, 0, 0x80][..],
            &jwt_message(b"token", b"bG9jLTE="),
            &connect_message(b"erp.virtual", 3200),
        ]
        .concat(),
        [
            &[5, 1, 2][..],
            b"\x01\x05loc-1\x05token",
            &[5, 1, 0, 1, 10, 0, 0, 1, 0, 80],
        ]
        .concat(),
    ] {
        let whole = serve(&[&script]);
        assert_eq!(
            (whole.refused, whole.steps.len(), whole.left.len()),
            (None, 2, 0)
        );
        for cut in 0..script.len() {
            let told = serve(&[&script[..cut]]);
            assert_eq!(told.refused, None, "cut at {cut}");
            assert!(told.steps.len() < 2, "cut at {cut}");
            assert_eq!(
                serve(&[&script[..cut], &script[cut..]]),
                whole,
                "cut at {cut}"
            );
        }
        let bytes: Vec<&[u8]> = script.chunks(1).collect();
        assert_eq!(serve(&bytes), whole, "byte by byte");
    }
}

#[test]
fn s11_a_second_request_behind_the_first_is_conversation() {
    let first = connect_message(b"a", 1);
    let second = connect_message(b"b", 2);
    let told = serve(&[&[5, 1, 0x80], &jwt_message(b"t", b""), &first, &second]);
    assert_eq!((told.steps.len(), told.left), (2, second));
}

#[test]
fn s11_bytes_sent_before_the_verdict_wait_for_it() {
    let mut negotiation = Negotiation::new();
    let mut out = Vec::new();
    let script = [
        &[5, 1, 0x80][..],
        &jwt_message(b"t", b""),
        &connect_message(b"h", 1),
    ]
    .concat();
    let (consumed, step) = negotiation.advance(&script, &mut out).unwrap();
    assert!(matches!(step, Step::Authenticate(_)));
    let rest = &script[consumed..];
    assert_eq!(negotiation.advance(rest, &mut out), Ok((0, Step::More)));
    negotiation.authenticated(false, &mut out);
    assert_eq!(
        negotiation.advance(rest, &mut out),
        Ok((0, Step::More)),
        "a refused caller gets no further"
    );
    assert_eq!(out, [5, 0x80, 1, 1]);
}

#[test]
fn s11_nothing_more_is_read_from_a_caller_that_was_turned_away() {
    let mut negotiation = Negotiation::new();
    let mut out = Vec::new();
    assert_eq!(
        negotiation.advance(&[4], &mut out),
        Err(SocksError::Version)
    );
    assert_eq!(
        negotiation.advance(&[5, 1, 0x80], &mut out),
        Ok((0, Step::More))
    );
    assert!(out.is_empty());
}

#[test]
fn every_refusal_has_a_reason_and_a_sentence() {
    for why in [
        SocksError::Version,
        SocksError::NoMethod,
        SocksError::AuthenticationVersion,
        SocksError::TokenMissing,
        SocksError::TokenTooLarge,
        SocksError::Location,
        SocksError::Request,
        SocksError::Command,
        SocksError::AddressType,
        SocksError::Address,
    ] {
        assert!(why.refusal().http_status() >= 400);
        assert!(format!("{why}").starts_with("socks: "));
    }
}

#[test]
fn s10_tokens_are_never_printed() {
    let text = format!("{:?}", credentials(b"canary", "l"));
    assert!(
        !text.contains("canary") && !text.contains("99, 97"),
        "{text}"
    );
}
