//! The closed list of reasons for which adit says no.
//!
//! One table gives each reason its stable number (wire), token (`adit-refusal` field, metric label), HTTP status, SOCKS5
//! reply and the sentence a caller reads. Which reason applies is decided elsewhere.
//!
//! How the two outer columns were chosen. HTTP: 407 for everything about the token (what SAP's proxy answers, and what
//! client libraries react to by fetching a new one); 400 for a request that cannot be one thing only; 403 for what the
//! rules do not grant; 405 for `https://` targets and `CONNECT` to an HTTP system (SAP's documented answer); 408, 417
//! and 431 as RFC 9110 and RFC 6585 name them; 503 where another try may well succeed because no backend was asked;
//! 502 and 504 for what happened behind the agent. SOCKS5: 5 is an authentication failure, 3 "no agent", 2 "the rules
//! do not grant it", 4 "the agent cannot reach the backend", 7 and 8 as RFC 1928 names them, 1 for all else (the
//! meanings SAP documents for its own SOCKS5 door).

use core::fmt;

macro_rules! refusals {
    ($( $variant:ident = $number:literal, $reason:literal, $http:literal, $socks:literal, $text:literal; )*) => {
        /// Why adit says no. Numbers are stable for ever; a retired one is never given out again.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        #[expect(clippy::exhaustive_enums, reason = "a new refusal must be looked at wherever refusals are told apart")]
        pub enum Refusal {
            $( #[doc = $text] $variant = $number, )*
        }

        impl Refusal {
            /// Every reason, in the order of their numbers.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// The stable number under which the reason travels between agent and gateway.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self { $( Self::$variant => $number, )* }
            }

            /// The reason with this number; none for a number of a newer version.
            #[must_use]
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $( $number => Some(Self::$variant), )* _ => None }
            }

            /// The token in the `adit-refusal` field and in metric labels.
            #[must_use]
            pub const fn reason(self) -> &'static str {
                match self { $( Self::$variant => $reason, )* }
            }

            /// The status code the HTTP door answers with.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $( Self::$variant => $http, )* }
            }

            /// The reply code the SOCKS5 door answers with (RFC 1928, section 6).
            #[must_use]
            pub const fn socks_reply(self) -> u8 {
                match self { $( Self::$variant => $socks, )* }
            }

            /// One sentence for the caller: what is wrong and how to mend it. Names nothing of the private network.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }
        }
    };
}

refusals! {
    // The caller's token.
    TokenMissing = 1, "token-missing", 407, 5,
        "The request carries no token; send `Proxy-Authorization: Bearer <token>`.";
    TokenMalformed = 2, "token-malformed", 407, 5,
        "The token cannot be read; send it as `Proxy-Authorization: Bearer <token>` or as the user name of Basic.";
    TokenAlgorithm = 3, "token-algorithm", 407, 5,
        "The token is signed with an algorithm that is not accepted here.";
    TokenSignature = 4, "token-signature", 407, 5,
        "The signature of the token does not match any known key.";
    TokenExpired = 5, "token-expired", 407, 5,
        "The token has expired; fetch a new one.";
    TokenNotYetValid = 6, "token-not-yet-valid", 407, 5,
        "The token is not valid yet; check the clock of its issuer.";
    TokenIssuer = 7, "token-issuer", 407, 5,
        "The issuer of the token is not trusted here.";
    TokenAudience = 8, "token-audience", 407, 5,
        "The token was made for another audience.";
    TokenSubaccount = 9, "token-subaccount", 407, 5,
        "The token names no subaccount.";
    TokenTooLarge = 10, "token-too-large", 407, 5,
        "The token is larger than this gateway reads.";

    // The way to an agent.
    NoAgent = 20, "no-agent", 503, 3,
        "No agent is connected for this subaccount and location.";
    AgentOverloaded = 21, "agent-overloaded", 503, 1,
        "The agent has as much work as it accepts; try again shortly.";
    TunnelLost = 22, "tunnel-lost", 502, 3,
        "The tunnel to the agent was lost before the answer was complete.";
    Draining = 23, "draining", 503, 3,
        "This node is shutting down; try again.";
    LocationMalformed = 24, "location-malformed", 400, 1,
        "The location ID cannot be read; it may only contain URI-safe characters.";
    NoSnapshot = 25, "no-snapshot", 503, 1,
        "The agent has no rules in force yet.";
    AuditUnavailable = 26, "audit-unavailable", 503, 1,
        "The request cannot be recorded at the moment, and none is served that cannot be; try again.";
    RulesStale = 27, "rules-stale", 503, 1,
        "The agent has not heard from its control plane for longer than it may act on its rules.";

    // What the rules say.
    SystemUnknown = 40, "system-unknown", 403, 2,
        "No system is exposed under this host and port.";
    ResourceDenied = 41, "resource-denied", 403, 2,
        "The system is exposed, this path is not.";
    MethodDenied = 42, "method-denied", 403, 2,
        "The path is exposed, this method is not.";
    UpgradeDenied = 43, "upgrade-denied", 403, 2,
        "The path is exposed, a protocol upgrade on it is not.";
    PortDenied = 44, "port-denied", 403, 2,
        "The host is exposed, this port is not.";
    PathAmbiguous = 45, "path-ambiguous", 400, 2,
        "The path could be read in more than one way; send it without dot segments, empty segments or encoded separators.";
    PermitWithdrawn = 46, "permit-withdrawn", 403, 2,
        "The rules changed and no longer grant this.";

    // The request itself.
    RequestMalformed = 60, "request-malformed", 400, 1,
        "The request is not well-formed HTTP/1.1.";
    HeadTooLarge = 61, "head-too-large", 431, 1,
        "The request head is too large.";
    LineTooLarge = 62, "line-too-large", 431, 1,
        "A line of the request head is too long.";
    MethodUnsupported = 63, "method-unsupported", 405, 7,
        "This method is not supported for this system; use `http://` and an ordinary method, not `CONNECT`.";
    SchemeUnsupported = 64, "scheme-unsupported", 405, 1,
        "Only `http://` targets are supported; the tunnel encrypts the road, and the agent speaks TLS to the backend.";
    HostMalformed = 65, "host-malformed", 400, 8,
        "The host or port of the request cannot be read.";
    HostMismatch = 66, "host-mismatch", 400, 1,
        "The Host field names another host than the request target.";
    BodyFraming = 67, "body-framing", 400, 1,
        "The length of the request body cannot be told beyond doubt.";
    HeaderTimeout = 68, "header-timeout", 408, 1,
        "The request head did not arrive in time.";
    ExpectationUnsupported = 69, "expectation-unsupported", 417, 1,
        "The only expectation supported is `100-continue`.";
    CommandUnsupported = 70, "command-unsupported", 405, 7,
        "Only the command CONNECT is supported.";
    AddressUnsupported = 71, "address-unsupported", 400, 8,
        "Only host names and IPv4 addresses are supported.";
    BodyTimeout = 72, "body-timeout", 408, 1,
        "The request body stopped arriving.";

    // Behind the agent.
    BackendUnreachable = 80, "backend-unreachable", 502, 4,
        "The agent cannot reach the system.";
    BackendRefused = 81, "backend-refused", 502, 4,
        "The system refused the connection.";
    BackendTimeout = 82, "backend-timeout", 504, 4,
        "The system did not accept a connection in time.";
    BackendDns = 83, "backend-dns", 502, 4,
        "The agent cannot resolve the address of the system.";
    BackendTls = 84, "backend-tls", 502, 4,
        "The agent and the system could not agree on TLS.";
    BackendAddressForbidden = 85, "backend-address-forbidden", 403, 2,
        "The address of the system is one the agent must not dial.";
    BackendReset = 86, "backend-reset", 502, 1,
        "The system closed the connection before its answer was complete.";
    BackendMalformed = 87, "backend-malformed", 502, 1,
        "The answer of the system is not well-formed HTTP/1.1.";
    BackendSilent = 88, "backend-silent", 504, 1,
        "The system did not answer in time.";

    // The limits and faults of adit itself. 100 was memory-budget: an end without memory resets the stream, and the caller
    // is told agent-overloaded.
    StreamsExhausted = 101, "streams-exhausted", 503, 1,
        "The tunnels carry as many streams as they may; try again shortly.";
    Internal = 102, "internal", 500, 1,
        "Something inside adit went wrong; its log has the request id.";
    ProtocolError = 103, "protocol-error", 502, 1,
        "Gateway and agent did not understand each other.";

    // Agents at the tunnel door.
    VersionUnsupported = 120, "version-unsupported", 502, 1,
        "The agent speaks a version of the tunnel protocol that is not accepted here.";
    // 121 was identity-denied: whom a certificate does not make an agent, TLS turns away before any word.
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl core::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_number_and_reason_is_given_out_once() {
        assert!(Refusal::ALL.len() > 40);
        let numbers: BTreeSet<u16> = Refusal::ALL.iter().map(|r| r.number()).collect();
        let reasons: BTreeSet<&str> = Refusal::ALL.iter().map(|r| r.reason()).collect();
        assert_eq!(numbers.len(), Refusal::ALL.len());
        assert_eq!(reasons.len(), Refusal::ALL.len());
    }

    #[test]
    fn a_number_leads_back_to_its_refusal() {
        for &refusal in Refusal::ALL {
            assert_eq!(Refusal::from_number(refusal.number()), Some(refusal));
        }
        assert_eq!(Refusal::from_number(0), None);
        assert_eq!(Refusal::from_number(u16::MAX), None);
    }

    #[test]
    fn the_numbers_of_retired_reasons_are_not_given_out_again() {
        for retired in [100, 121] {
            assert_eq!(Refusal::from_number(retired), None, "{retired}");
        }
    }

    #[test]
    fn reasons_are_tokens_fit_for_a_field_and_a_label() {
        for refusal in Refusal::ALL {
            let reason = refusal.reason();
            assert!(
                reason.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{reason}"
            );
            assert!(!reason.starts_with('-') && !reason.ends_with('-') && !reason.is_empty());
        }
    }

    #[test]
    fn every_refusal_is_an_error_status_and_a_socks_failure() {
        for refusal in Refusal::ALL {
            assert!((400..600).contains(&refusal.http_status()), "{refusal}");
            assert!((1..=8).contains(&refusal.socks_reply()), "{refusal}");
            assert!(
                refusal.text().ends_with('.') && refusal.text().is_ascii(),
                "{refusal}"
            );
        }
    }

    #[test]
    fn token_refusals_are_407_and_socks_authentication_failures() {
        for refusal in Refusal::ALL
            .iter()
            .filter(|r| r.reason().starts_with("token-"))
        {
            assert_eq!(
                (refusal.http_status(), refusal.socks_reply()),
                (407, 5),
                "{refusal}"
            );
        }
    }

    #[test]
    fn socks_replies_mean_what_sap_documents() {
        assert_eq!(Refusal::SystemUnknown.socks_reply(), 2);
        assert_eq!(Refusal::NoAgent.socks_reply(), 3);
        assert_eq!(Refusal::BackendUnreachable.socks_reply(), 4);
        assert_eq!(Refusal::CommandUnsupported.socks_reply(), 7);
        assert_eq!(Refusal::AddressUnsupported.socks_reply(), 8);
        assert_eq!(Refusal::BackendReset.socks_reply(), 1);
    }
}
