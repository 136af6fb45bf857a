//! The server's half of SOCKS5 (RFC 1928), up to where the bytes of the conversation begin.
//!
//! Two ways to authenticate: SAP's method 0x80 (a JWT and a base64 location ID) and, so that curl, psql and everyone
//! else can come too, user name and password (RFC 1929: the location, or nothing, and the token). RFC 1929 has one
//! length byte, so a token above 255 bytes needs 0x80. Verifying tokens and dialling are left to others.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;

use crate::Refusal;
use crate::http::{Authority, AuthorityError};
use crate::limits::TOKEN_BYTES_MAX;
use crate::location::check_location;

/// What a caller showed to be let in. Not yet verified; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The token, at least one byte, at most [`TOKEN_BYTES_MAX`].
    pub token: Vec<u8>,
    /// The location ID; empty for the default location.
    pub location: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("token", &"(secret)")
            .field("location", &self.location)
            .finish()
    }
}

/// What the caller's bytes came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed by the steps of RFC 1928")]
pub enum Step {
    /// More bytes are needed, or it is the server's turn.
    More,
    /// Verify these, then call [`Negotiation::authenticated`].
    Authenticate(Credentials),
    /// Connect to this, then call [`Negotiation::reply`].
    Connect {
        /// The virtual host in ASCII lower case; an IPv4 address as a dotted quad.
        host: String,
        /// The virtual port, never 0.
        port: u16,
    },
}

/// Why a caller is turned away. What to tell it is already among the bytes to send: send them, then close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocksError {
    /// The first byte is not SOCKS version 5. Nothing is answered: whoever this is would not understand.
    Version,
    /// None of the offered methods is accepted.
    NoMethod,
    /// The version of the authentication message is not 1.
    AuthenticationVersion,
    /// The token is empty.
    TokenMissing,
    /// The token is longer than [`TOKEN_BYTES_MAX`]; told before it has arrived.
    TokenTooLarge,
    /// The location is not base64, or not a location ID.
    Location,
    /// The version of the request is not 5, or its reserved byte is not 0.
    Request,
    /// The command is not CONNECT.
    Command,
    /// The address is neither a name nor IPv4.
    AddressType,
    /// The name is not a host name, or the port is 0.
    Address,
}

impl SocksError {
    /// The reason to count it under.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::Version | Self::AuthenticationVersion | Self::Request => {
                Refusal::RequestMalformed
            }
            Self::NoMethod | Self::TokenMissing => Refusal::TokenMissing,
            Self::TokenTooLarge => Refusal::TokenTooLarge,
            Self::Location => Refusal::LocationMalformed,
            Self::Command => Refusal::CommandUnsupported,
            Self::AddressType => Refusal::AddressUnsupported,
            Self::Address => Refusal::HostMalformed,
        }
    }
}

impl fmt::Display for SocksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "socks: the first byte is not 5; speak SOCKS version 5",
            Self::NoMethod => "socks: neither method 0x80 nor 0x02 is offered; give the client a user name and a token",
            Self::AuthenticationVersion => "socks: the authentication message does not begin with 1",
            Self::TokenMissing => "socks: the token is empty; send one",
            Self::TokenTooLarge => "socks: the token is larger than this gateway reads; send a smaller one",
            Self::Location => "socks: the location ID cannot be read; with method 0x80 send it in base64",
            Self::Request => "socks: the request is not well-formed; begin it with 5, 1, 0",
            Self::Command => "socks: the command is not CONNECT; send no other",
            Self::AddressType => "socks: the address is neither a name nor IPv4; send one of them",
            Self::Address => "socks: the name is not a host name, or the port is 0; mend it",
        })
    }
}

impl core::error::Error for SocksError {}

/// One caller's way from its first byte to the reply.
#[derive(Clone, Debug)]
pub struct Negotiation {
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Greeting,
    Jwt,
    UserName,
    Verdict,
    Request,
    Reply,
    Over,
}

const VERSION: u8 = 5;
const AUTHENTICATION_VERSION: u8 = 1;
const METHOD_JWT: u8 = 0x80;
const METHOD_USER_NAME: u8 = 0x02;
const METHOD_NONE: u8 = 0xFF;
const CONNECT: u8 = 1;
const ADDRESS_IPV4: u8 = 1;
const ADDRESS_NAME: u8 = 3;

/// What a message came to: how many bytes it took and the step; none while it is not wholly there.
type Read = Result<Option<(usize, Step)>, SocksError>;

/// The reply to a CONNECT request, for a conversation that was handed on without its [`Negotiation`].
pub fn write_reply(code: u8, out: &mut Vec<u8>) {
    // The bound address is the agent's affair and nobody's business: callers ignore it.
    out.extend_from_slice(&[VERSION, code, 0, ADDRESS_IPV4, 0, 0, 0, 0, 0, 0]);
}

impl Default for Negotiation {
    fn default() -> Self {
        Self::new()
    }
}

impl Negotiation {
    /// A caller that has not said anything yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Greeting,
        }
    }

    /// Reads the caller's next message off the front of `input`, which holds all bytes received and not yet consumed, and
    /// appends what must be sent to `out`. Returns how many bytes were consumed; what is left behind the CONNECT request
    /// is the beginning of the conversation.
    ///
    /// Unconsumed bytes never need to exceed [`SOCKS5_MESSAGE_BYTES_MAX`](crate::limits::SOCKS5_MESSAGE_BYTES_MAX).
    ///
    /// # Errors
    /// The caller is turned away: send `out`, then close.
    pub fn advance(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Step), SocksError> {
        let mut consumed = 0;
        loop {
            let rest = input.get(consumed..).unwrap_or_default();
            let before = self.state;
            let read = match before {
                State::Greeting => self.greeting(rest, out),
                State::Jwt => jwt(rest),
                State::UserName => user_name(rest),
                State::Request => request(rest),
                State::Verdict | State::Reply | State::Over => Ok(None),
            };
            match read {
                Ok(None) => return Ok((consumed, Step::More)),
                Ok(Some((taken, step))) => {
                    consumed += taken;
                    match step {
                        Step::More => {}
                        Step::Authenticate(_) => self.state = State::Verdict,
                        Step::Connect { .. } => self.state = State::Reply,
                    }
                    if step != Step::More {
                        return Ok((consumed, step));
                    }
                }
                Err(why) => {
                    match before {
                        State::Jwt | State::UserName => self.authenticated(false, out),
                        State::Request => {
                            self.state = State::Reply;
                            self.reply(why.refusal().socks_reply(), out);
                        }
                        State::Greeting | State::Verdict | State::Reply | State::Over => {}
                    }
                    self.state = State::Over;
                    return Err(why);
                }
            }
        }
    }

    /// Appends the verdict on the credentials. When they are not accepted, send it, then close.
    pub fn authenticated(&mut self, accepted: bool, out: &mut Vec<u8>) {
        debug_assert!(
            matches!(self.state, State::Verdict | State::Jwt | State::UserName),
            "there is one verdict"
        );
        out.extend_from_slice(&[AUTHENTICATION_VERSION, u8::from(!accepted)]);
        self.state = if accepted {
            State::Request
        } else {
            State::Over
        };
    }

    /// Appends the reply to the CONNECT request: 0 when connected, else [`Refusal::socks_reply`]. After 0 the bytes of
    /// the conversation follow; after anything else, close.
    pub fn reply(&mut self, code: u8, out: &mut Vec<u8>) {
        debug_assert!(self.state == State::Reply, "there is one reply");
        write_reply(code, out);
        self.state = State::Over;
    }

    /// `05 | count | methods`; answered with the method chosen.
    fn greeting(&mut self, input: &[u8], out: &mut Vec<u8>) -> Read {
        let Some((&version, rest)) = input.split_first() else {
            return Ok(None);
        };
        if version != VERSION {
            return Err(SocksError::Version);
        }
        let Some((&count, rest)) = rest.split_first() else {
            return Ok(None);
        };
        let Some(methods) = rest.get(..usize::from(count)) else {
            return Ok(None);
        };
        let (method, next) = if methods.contains(&METHOD_JWT) {
            (METHOD_JWT, State::Jwt)
        } else if methods.contains(&METHOD_USER_NAME) {
            (METHOD_USER_NAME, State::UserName)
        } else {
            out.extend_from_slice(&[VERSION, METHOD_NONE]);
            return Err(SocksError::NoMethod);
        };
        out.extend_from_slice(&[VERSION, method]);
        self.state = next;
        Ok(Some((2 + methods.len(), Step::More)))
    }
}

/// `01 | length (4) | token | length (1) | base64 of the location`
fn jwt(input: &[u8]) -> Read {
    let Some((&version, rest)) = input.split_first() else {
        return Ok(None);
    };
    if version != AUTHENTICATION_VERSION {
        return Err(SocksError::AuthenticationVersion);
    }
    let Some((length, rest)) = rest.split_first_chunk() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length == 0 {
        return Err(SocksError::TokenMissing);
    }
    if length > TOKEN_BYTES_MAX {
        return Err(SocksError::TokenTooLarge);
    }
    let Some((token, rest)) = rest.split_at_checked(length) else {
        return Ok(None);
    };
    let Some((&location_length, rest)) = rest.split_first() else {
        return Ok(None);
    };
    let Some(location) = rest.get(..usize::from(location_length)) else {
        return Ok(None);
    };
    let Ok(location) = crate::http::BASE64.decode(location) else {
        return Err(SocksError::Location);
    };
    let credentials = Credentials {
        token: token.to_vec(),
        location: read_location(location)?,
    };
    Ok(Some((
        1 + 4 + length + 1 + usize::from(location_length),
        Step::Authenticate(credentials),
    )))
}

/// `01 | length | user name | length | password` (RFC 1929, section 2); the user name may be empty.
fn user_name(input: &[u8]) -> Read {
    let Some((&version, rest)) = input.split_first() else {
        return Ok(None);
    };
    if version != AUTHENTICATION_VERSION {
        return Err(SocksError::AuthenticationVersion);
    }
    let Some((&user_length, rest)) = rest.split_first() else {
        return Ok(None);
    };
    let Some((user, rest)) = rest.split_at_checked(usize::from(user_length)) else {
        return Ok(None);
    };
    let Some((&token_length, rest)) = rest.split_first() else {
        return Ok(None);
    };
    if token_length == 0 {
        return Err(SocksError::TokenMissing);
    }
    let Some(token) = rest.get(..usize::from(token_length)) else {
        return Ok(None);
    };
    let credentials = Credentials {
        token: token.to_vec(),
        location: read_location(user.to_vec())?,
    };
    Ok(Some((
        3 + usize::from(user_length) + token.len(),
        Step::Authenticate(credentials),
    )))
}

fn read_location(bytes: Vec<u8>) -> Result<String, SocksError> {
    match String::from_utf8(bytes) {
        Ok(location) if check_location(&location).is_ok() => Ok(location),
        Ok(_) | Err(_) => Err(SocksError::Location),
    }
}

/// `05 | 01 | 00 | address type | address | port`; what is wrong is told at the byte that makes it so.
fn request(input: &[u8]) -> Read {
    let Some((&version, rest)) = input.split_first() else {
        return Ok(None);
    };
    if version != VERSION {
        return Err(SocksError::Request);
    }
    let Some((&command, rest)) = rest.split_first() else {
        return Ok(None);
    };
    if command != CONNECT {
        return Err(SocksError::Command);
    }
    let Some((&reserved, rest)) = rest.split_first() else {
        return Ok(None);
    };
    if reserved != 0 {
        return Err(SocksError::Request);
    }
    let Some((&kind, rest)) = rest.split_first() else {
        return Ok(None);
    };
    let (host, rest) = match kind {
        ADDRESS_IPV4 => {
            let Some((&[a, b, c, d], rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            (format!("{a}.{b}.{c}.{d}"), rest)
        }
        ADDRESS_NAME => {
            let Some((&length, rest)) = rest.split_first() else {
                return Ok(None);
            };
            let Some((name, rest)) = rest.split_at_checked(usize::from(length)) else {
                return if length == 0 {
                    Err(SocksError::Address)
                } else {
                    Ok(None)
                };
            };
            (read_host(name)?, rest)
        }
        _ => return Err(SocksError::AddressType),
    };
    let Some((port, rest)) = rest.split_first_chunk() else {
        return Ok(None);
    };
    match u16::from_be_bytes(*port) {
        0 => Err(SocksError::Address),
        port => Ok(Some((
            input.len() - rest.len(),
            Step::Connect { host, port },
        ))),
    }
}

/// A name as it would stand in a URL, without a port.
fn read_host(name: &[u8]) -> Result<String, SocksError> {
    let parsed: Result<Authority<'_>, AuthorityError> = Authority::parse(name);
    match parsed {
        // RFC 1928 has an address type of its own for IPv6; a bracketed address is no name.
        Ok(Authority { host, port: None }) if !host.starts_with('[') => {
            Ok(host.to_ascii_lowercase())
        }
        Ok(_) | Err(_) => Err(SocksError::Address),
    }
}

#[cfg(test)]
mod tests;
