//! Which fields mean something to a proxy: the one table of names this room knows.
//!
//! A field is found once, while its head is parsed; what is done with it is decided where heads are written.

use super::head::Span;

/// One field of a head: where it stands and what it means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Span,
    pub(super) value: Span,
    pub(super) kind: Kind,
    /// Only spaces before the value and nothing after it: what framing fields must look like.
    pub(super) plain: bool,
    /// The Connection field names it: it ends here (RFC 9110, section 7.6.1).
    pub(super) nominated: bool,
}

/// What a field means to us. Everything not named here is [`Kind::Other`] and passes through as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Other,
    // Framing and routing.
    Host,
    ContentLength,
    TransferEncoding,
    Expect,
    // Hop by hop (RFC 9110, section 7.6.1, and h2c's companion).
    Connection,
    KeepAlive,
    Te,
    Upgrade,
    Http2Settings,
    /// `Proxy-*` and `Proxy`: for us, or for a CGI program to trip over.
    Proxy,
    ProxyConnection,
    ProxyAuthorization,
    // Consumed by the gateway.
    SapLocation,
    SapPrincipal,
    SapTechnicalPrincipal,
    SapConsumerAccount,
    SapServiceToken,
    /// Any other `SAP-Connectivity-*` or `SAP-CP-Connectivity-*`.
    SapOther,
    /// What a backend that trusts the agent would take for the agent's word about who the user is.
    ClientCertificate,
    ForwardedHost,
    // In responses.
    Location,
    SetCookie,
    AditRefusal,
    /// Would be a framing or routing field if `_` were `-`, as it is to CGI programs.
    Lookalike,
}

/// Which kinds a head has, so that nobody searches for what is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u32);

impl Kinds {
    pub(super) const fn of(kinds: &[Kind]) -> Self {
        let mut all = Self(0);
        let mut rest = kinds;
        while let [kind, others @ ..] = rest {
            all.add(*kind);
            rest = others;
        }
        all
    }

    pub(super) const fn add(&mut self, kind: Kind) {
        self.0 |= kind.bit();
    }

    pub(super) const fn has(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    pub(super) const fn has_any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }
}

impl Kind {
    const fn bit(self) -> u32 {
        #[expect(
            clippy::as_conversions,
            reason = "the number of a variant, of which there are fewer than 32"
        )]
        let number = self as u32;
        1 << number
    }

    pub(super) fn of(name: &[u8]) -> Self {
        let Some(first) = name.first() else {
            return Self::Other;
        };
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match (first.to_ascii_lowercase(), name.len()) {
            (b'h', 4) if is("host") => Self::Host,
            (b'h', 14) if is("http2-settings") => Self::Http2Settings,
            (b'c', 10) if is("connection") => Self::Connection,
            (b'c', 14) if is("content-length") => Self::ContentLength,
            (b'c', 14) if is_alike(name, "content-length") => Self::Lookalike,
            (b't', 2) if is("te") => Self::Te,
            (b't', 17) if is("transfer-encoding") => Self::TransferEncoding,
            (b't', 17) if is_alike(name, "transfer-encoding") => Self::Lookalike,
            (b'e', 6) if is("expect") => Self::Expect,
            (b'k', 10) if is("keep-alive") => Self::KeepAlive,
            (b'u', 7) if is("upgrade") => Self::Upgrade,
            (b'p', 5) if is("proxy") => Self::Proxy,
            (b'p', 16) if is("proxy-connection") => Self::ProxyConnection,
            (b'p', 19) if is("proxy-authorization") => Self::ProxyAuthorization,
            (b'p', _) if begins_alike(name, "proxy-") => Self::Proxy,
            (b's', 10) if is("set-cookie") => Self::SetCookie,
            (b's', 16..) => Self::of_sap(name),
            (b's', 15) if begins_alike(name, "ssl-client-cert") => Self::ClientCertificate,
            (b'l', 8) if is("location") => Self::Location,
            (b'x', 16) if is_alike(name, "x-forwarded-host") => Self::ForwardedHost,
            (b'a', 12) if is("adit-refusal") => Self::AditRefusal,
            _ => Self::Other,
        }
    }

    fn of_sap(name: &[u8]) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if begins_alike(name, "ssl-client-cert") {
            Self::ClientCertificate
        } else if begins_alike(name, "sap-cp-connectivity-") {
            if is("sap-cp-connectivity-service-token") {
                Self::SapServiceToken
            } else {
                Self::SapOther
            }
        } else if !begins_alike(name, "sap-connectivity-") {
            Self::Other
        } else if is("sap-connectivity-scc-location_id") {
            Self::SapLocation
        } else if is("sap-connectivity-authentication") {
            Self::SapPrincipal
        } else if is("sap-connectivity-technical-authentication") {
            Self::SapTechnicalPrincipal
        } else if is("sap-connectivity-consumeraccount") {
            Self::SapConsumerAccount
        } else {
            Self::SapOther
        }
    }

    /// For us alone: never written on, in either direction. Host, Expect and the forwarded host are the writer's choice.
    pub(super) const fn ends_here(self) -> bool {
        match self {
            Self::Host
            | Self::ContentLength
            | Self::TransferEncoding
            | Self::Connection
            | Self::KeepAlive
            | Self::Te
            | Self::Upgrade
            | Self::Http2Settings
            | Self::Proxy
            | Self::ProxyConnection
            | Self::ProxyAuthorization
            | Self::SapLocation
            | Self::SapPrincipal
            | Self::SapTechnicalPrincipal
            | Self::SapConsumerAccount
            | Self::SapServiceToken
            | Self::SapOther
            | Self::ClientCertificate
            | Self::AditRefusal
            | Self::Lookalike => true,
            Self::Other | Self::Expect | Self::ForwardedHost | Self::Location | Self::SetCookie => {
                false
            }
        }
    }

    /// The name to complain with when such a field appears twice, for fields that can mean only one thing.
    pub(super) const fn single(self) -> Option<&'static str> {
        match self {
            Self::Expect => Some("expect"),
            Self::ProxyAuthorization => Some("proxy-authorization"),
            Self::SapLocation => Some("sap-connectivity-scc-location_id"),
            Self::SapPrincipal => Some("sap-connectivity-authentication"),
            Self::SapTechnicalPrincipal => Some("sap-connectivity-technical-authentication"),
            Self::SapConsumerAccount => Some("sap-connectivity-consumeraccount"),
            Self::SapServiceToken => Some("sap-cp-connectivity-service-token"),
            Self::Other
            | Self::Host
            | Self::ContentLength
            | Self::TransferEncoding
            | Self::Connection
            | Self::KeepAlive
            | Self::Te
            | Self::Upgrade
            | Self::Http2Settings
            | Self::Proxy
            | Self::ProxyConnection
            | Self::SapOther
            | Self::ClientCertificate
            | Self::ForwardedHost
            | Self::Location
            | Self::SetCookie
            | Self::AditRefusal
            | Self::Lookalike => None,
        }
    }
}

/// Fields that may not come behind a body: they frame, route, authenticate or modify the message, or describe its
/// content, and whoever reads them has already acted (RFC 9110, section 6.5.1).
pub(super) fn is_forbidden_trailer(name: &[u8]) -> bool {
    const NAMES: [&str; 34] = [
        "host",
        "transfer-encoding",
        "te",
        "trailer",
        "connection",
        "keep-alive",
        "upgrade",
        "http2-settings",
        "expect",
        "proxy",
        "authorization",
        "www-authenticate",
        "cookie",
        "set-cookie",
        "cache-control",
        "max-forwards",
        "pragma",
        "range",
        "age",
        "expires",
        "date",
        "location",
        "retry-after",
        "vary",
        "warning",
        "forwarded",
        "x-original-url",
        "x-rewrite-url",
        "x-http-method-override",
        "origin",
        "referer",
        "x-http-method",
        "x-method-override",
        "allow",
    ];
    const BEGINNINGS: [&str; 8] = [
        "content-",
        "proxy-",
        "sap-connectivity-",
        "sap-cp-connectivity-",
        "ssl-client-",
        "if-",
        "x-forwarded-",
        "adit-",
    ];
    NAMES.iter().any(|known| is_alike(name, known))
        || BEGINNINGS.iter().any(|known| begins_alike(name, known))
}

/// How many bytes of a name [`is_forbidden_trailer`] needs to see.
pub(super) const TRAILER_NAME_BYTES: usize = 32;

/// Equal, ignoring case and taking `_` for `-` as CGI programs do.
fn is_alike(name: &[u8], known: &str) -> bool {
    name.len() == known.len() && begins_alike(name, known)
}

fn begins_alike(name: &[u8], known: &str) -> bool {
    let fold = |byte: u8| {
        if byte == b'_' {
            b'-'
        } else {
            byte.to_ascii_lowercase()
        }
    };
    name.len() >= known.len()
        && name
            .iter()
            .zip(known.bytes())
            .all(|(&byte, wanted)| fold(byte) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(Kind::of(b"HOST"), Kind::Host);
        assert_eq!(Kind::of(b"Content-length"), Kind::ContentLength);
        assert_eq!(
            Kind::of(b"SAP-Connectivity-SCC-Location_ID"),
            Kind::SapLocation
        );
        assert_eq!(
            Kind::of(b"sap-connectivity-authentication"),
            Kind::SapPrincipal
        );
        assert_eq!(
            Kind::of(b"SAP-Connectivity-Technical-Authentication"),
            Kind::SapTechnicalPrincipal
        );
        assert_eq!(
            Kind::of(b"SAP-Connectivity-ConsumerAccount"),
            Kind::SapConsumerAccount
        );
        assert_eq!(
            Kind::of(b"SAP-CP-Connectivity-Service-Token"),
            Kind::SapServiceToken
        );
        assert_eq!(
            Kind::of(b"SAP-Connectivity-Region-Configuration-Id"),
            Kind::SapOther
        );
        assert_eq!(Kind::of(b"sap_connectivity_authentication"), Kind::SapOther);
    }

    #[test]
    fn names_that_only_begin_or_end_alike_are_other_fields() {
        for name in [
            "hosts",
            "x-host",
            "content-lengths",
            "transfer-encodin",
            "t",
            "sap-client",
            "sap-connectivity",
            "sap-contextid-accept-long",
            "proxies",
            "expected",
            "locations",
            "x-forwarded-hosts",
            "set-cookie2",
        ] {
            assert_eq!(Kind::of(name.as_bytes()), Kind::Other, "{name}");
        }
    }

    #[test]
    fn framing_names_with_underscores_are_lookalikes() {
        assert_eq!(Kind::of(b"Content_Length"), Kind::Lookalike);
        assert_eq!(Kind::of(b"TRANSFER_ENCODING"), Kind::Lookalike);
    }

    #[test]
    fn a_client_certificate_field_is_known_in_all_its_spellings() {
        for name in [
            "SSL_CLIENT_CERT",
            "ssl-client-cert",
            "SSL_CLIENT_CERT_CHAIN_0",
            "Ssl-Client_Cert-x",
        ] {
            assert_eq!(Kind::of(name.as_bytes()), Kind::ClientCertificate, "{name}");
        }
    }

    #[test]
    fn h03_forbidden_trailers_are_known_by_the_beginning_of_their_names() {
        for name in [
            "Content-Length",
            "content_type",
            "Host",
            "x-forwarded-for",
            "SAP-Connectivity-Authentication",
        ] {
            assert!(is_forbidden_trailer(name.as_bytes()), "{name}");
        }
        for name in [
            "grpc-status",
            "grpc-message",
            "server-timing",
            "etag",
            "x-checksum",
            "digest",
        ] {
            assert!(!is_forbidden_trailer(name.as_bytes()), "{name}");
        }
    }
}
