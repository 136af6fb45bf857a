//! A caller's way through the SOCKS5 door.

use adit_proto::limits::{LOCATION_BYTES_MAX, SOCKS5_MESSAGE_BYTES_MAX, TOKEN_BYTES_MAX};
use adit_proto::socks5::{Negotiation, SocksError, Step};

use crate::input::{Input, pieces};

/// [`Negotiation::advance`]: the same steps and answers however the bytes were cut. The first byte chooses the cut, the
/// second whether the token is accepted.
pub fn socks5(data: &[u8]) {
    let mut input = Input::new(data);
    let cut = input.byte();
    let accepted = input.byte() % 4 != 3;
    let bytes = input.rest();
    let whole = negotiate(bytes, 0, accepted);
    assert_eq!(negotiate(bytes, cut, accepted), whole);
    assert_eq!(negotiate(bytes, 1, accepted), whole);
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    steps: Vec<Step>,
    sent: Vec<u8>,
    refused: Option<SocksError>,
    /// The beginning of the conversation.
    left: Vec<u8>,
}

fn negotiate(bytes: &[u8], cut: u8, accepted: bool) -> Told {
    let mut negotiation = Negotiation::new();
    let mut told = Told::default();
    for piece in pieces(bytes, cut) {
        told.left.extend_from_slice(piece);
        loop {
            match negotiation.advance(&told.left, &mut told.sent) {
                Err(why) => {
                    // What arrived behind the fault depends on the cut and is never looked at.
                    told.left.clear();
                    told.refused = Some(why);
                    return told;
                }
                Ok((consumed, step)) => {
                    told.left.drain(..consumed);
                    match &step {
                        Step::More => {
                            let over = matches!(told.steps.last(), Some(Step::Connect { .. }));
                            assert!(
                                over || told.left.len() <= SOCKS5_MESSAGE_BYTES_MAX
                                    || piece.len() > 255,
                                "{} bytes wait",
                                told.left.len()
                            );
                            break;
                        }
                        Step::Authenticate(credentials) => {
                            assert!(!credentials.token.is_empty());
                            assert!(credentials.token.len() <= TOKEN_BYTES_MAX);
                            assert!(credentials.location.len() <= LOCATION_BYTES_MAX);
                            negotiation.authenticated(accepted, &mut told.sent);
                            if !accepted {
                                told.left.clear();
                                told.steps.push(step);
                                return told;
                            }
                        }
                        Step::Connect { host, port } => {
                            assert!(*port != 0 && !host.is_empty() && host.len() <= 253);
                            negotiation.reply(0, &mut told.sent);
                        }
                    }
                    told.steps.push(step);
                }
            }
        }
    }
    told
}
