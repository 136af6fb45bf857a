//! What an issuer says of where its keys are.

use adit_people::oidc::{Url, document_of, keys_of};

/// [`document_of`] and [`keys_of`]: the first line is the issuer, what follows its document. An address that is believed
/// has one spelling, goes to another machine by TLS only, and is a line of a request as it stands.
pub fn discovery(data: &[u8]) {
    let split = data.iter().position(|byte| *byte == b'\n');
    let (issuer, document) = data.split_at(split.unwrap_or(data.len()));
    let issuer = String::from_utf8_lossy(issuer);
    let document = document.strip_prefix(b"\n").unwrap_or(document);
    if let Ok(url) = document_of(&issuer) {
        believed(&url);
        assert!(url.path().ends_with("/.well-known/openid-configuration"));
        let issuer = Url::parse(&issuer).unwrap();
        assert_eq!((issuer.host(), issuer.port()), (url.host(), url.port()));
    }
    if let Ok(url) = keys_of(document, &issuer) {
        believed(&url);
    }
}

fn believed(url: &Url) {
    let text = url.to_string();
    assert_eq!(Url::parse(&text).as_ref(), Ok(url), "one spelling");
    let is_here = url.host() == "localhost"
        || url
            .host()
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    assert!(url.is_tls() || is_here, "http to another machine");
    assert!(url.path().starts_with('/') && url.port() > 0);
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!text.contains(['@', '#', '\\']));
}
