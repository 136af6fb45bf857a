//! Who is let in: the leaf whose key was proven, named by exactly one SPIFFE ID, and nobody else.

use adit_tls::{
    AlertDescription, ClientSettings, Credentials, Error, IdentityError, Options, RoleName, Roots,
    ServerSettings, SettingsError, SpiffeId,
};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, SanType,
    date_time_ymd,
};
use rustls::CertificateError;

use crate::support::{AGENT, Authority, GATEWAY, Issued, Leaf, World, shake};

const OTHER_AGENT: &str = "spiffe://adit.example/subaccount/b2/agent/paris-1";

fn client(issued: &Issued, roots: &Roots) -> ClientSettings {
    adit_tls::client(&issued.credentials(), roots).unwrap()
}

fn server(issued: &Issued, roots: &Roots) -> ServerSettings {
    adit_tls::server(&issued.credentials(), roots).unwrap()
}

/// An agent with `issued` at our gateway: what the gateway says, and which alert the agent gets.
fn agent_refused(world: &World, issued: &Issued) -> (Error, AlertDescription) {
    let settings = unchecked_client(world, issued);
    let mut server = adit_tls::Handshake::server(&world.server(&Options::default())).unwrap();
    let mut peer = rustls::ClientConnection::new(settings, crate::support::name()).unwrap();
    let mut input = Vec::new();
    loop {
        peer.write_tls(&mut input).unwrap();
        let mut output = Vec::new();
        let result = server.advance(&mut input, &mut output);
        let _taken = peer.read_tls(&mut output.as_slice()).unwrap();
        let heard = peer.process_new_packets();
        match result {
            Ok((consumed, adit_tls::Progress::Reading)) => {
                input.drain(..consumed);
                heard.unwrap();
            }
            Ok((_, adit_tls::Progress::Done)) => panic!("let in"),
            Err(error) => {
                let Err(rustls::Error::AlertReceived(alert)) = heard else {
                    panic!("no alert with {error}: {heard:?}");
                };
                return (error, alert);
            }
        }
    }
}

/// Any certificate at all, trusting anybody: what an attacker would run.
fn unchecked_client(world: &World, issued: &Issued) -> std::sync::Arc<rustls::ClientConfig> {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(world.authority.pem().as_bytes()).unwrap())
        .unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let chain: Vec<_> = CertificateDer::pem_slice_iter(issued.chain.as_bytes())
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let signing = provider.key_provider.load_private_key(key).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(std::sync::Arc::new(TrustsAnybody))
        .with_client_cert_resolver(std::sync::Arc::new(rustls::sign::SingleCertAndKey::from(
            rustls::sign::CertifiedKey::new(chain, signing),
        )));
    config.alpn_protocols = vec![adit_tls::ALPN.to_vec()];
    std::sync::Arc::new(config)
}

#[derive(Debug)]
struct TrustsAnybody;

impl rustls::client::danger::ServerCertVerifier for TrustsAnybody {
    fn verify_server_cert(
        &self,
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &[rustls_pki_types::CertificateDer<'_>],
        _: &rustls_pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[test]
fn s01_the_leaf_names_the_agent_whatever_else_is_in_the_chain() {
    let world = World::new();
    let other = world.authority.issue(Leaf::naming(&[OTHER_AGENT]));
    let stuffed = world.agent.clone().with_filler(&other.chain);
    let (_, gateway) = shake(
        &client(&stuffed, &world.authority.roots()),
        &world.server(&Options::default()),
    )
    .unwrap();
    assert_eq!(gateway.peer.id.to_string(), AGENT);
    assert_eq!(
        SpiffeId::from_certificate(&gateway.peer.leaf)
            .unwrap()
            .to_string(),
        AGENT
    );
}

#[test]
fn s01_another_agents_leaf_in_front_is_refused_for_want_of_its_key() {
    let world = World::new();
    let other = world.authority.issue(Leaf::naming(&[OTHER_AGENT]));
    let stolen = Issued {
        chain: format!("{}{}", other.chain, world.agent.chain),
        key: world.agent.key.clone(),
    };
    let (error, alert) = agent_refused(&world, &stolen);
    assert_eq!(
        error,
        rustls::Error::InvalidCertificate(CertificateError::BadSignature).into()
    );
    assert_eq!(alert, AlertDescription::DecryptError);
}

#[test]
fn s01_the_leaf_names_the_gateway_whatever_else_is_in_the_chain() {
    let world = World::new();
    let other = world
        .authority
        .issue(Leaf::naming(&["spiffe://adit.example/gateway/other"]));
    let stuffed = world.gateway.clone().with_filler(&other.chain);
    let (agent, _) = shake(
        &world.client(&Options::default()),
        &server(&stuffed, &world.authority.roots()),
    )
    .unwrap();
    assert_eq!(agent.peer.id.to_string(), GATEWAY);
}

#[test]
fn a_chain_over_an_intermediate_is_followed_to_the_root() {
    let world = World::new();
    let intermediate = world.authority.intermediate("adit test intermediate");
    let agent = intermediate
        .issue(Leaf::naming(&[AGENT]))
        .with_filler(&intermediate.pem());
    let gateway = intermediate
        .issue(Leaf::naming(&[GATEWAY]))
        .with_filler(&intermediate.pem());
    let roots = world.authority.roots();
    let (agent_end, gateway_end) =
        shake(&client(&agent, &roots), &server(&gateway, &roots)).unwrap();
    assert_eq!(agent_end.peer.id.to_string(), GATEWAY);
    assert_eq!(gateway_end.peer.id.to_string(), AGENT);
}

#[test]
fn every_kind_of_key_an_authority_may_issue_is_accepted() {
    let world = World::new();
    let roots = world.authority.roots();
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
    ] {
        let agent = world
            .authority
            .issue(Leaf::naming(&[AGENT]).signing_with(algorithm));
        let gateway = world
            .authority
            .issue(Leaf::naming(&[GATEWAY]).signing_with(algorithm));
        shake(&client(&agent, &roots), &server(&gateway, &roots)).unwrap();
    }
}

/// What a gateway says to a leaf, and the alert the agent gets.
#[test]
fn s07_every_bad_leaf_of_an_agent_is_refused_with_its_reason() {
    let world = World::new();
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let id = |text| SpiffeId::parse(text).unwrap();
    let unknown = AlertDescription::CertificateUnknown;

    let identity_cases: Vec<(Leaf, IdentityError)> = vec![
        (Leaf::naming(&[]), IdentityError::UriCount { count: 0 }),
        (
            Leaf::naming(&[]).with(|p| p.subject_alt_names = vec![dns("berlin-1")]),
            IdentityError::UriCount { count: 0 },
        ),
        (
            Leaf::naming(&[AGENT, OTHER_AGENT]),
            IdentityError::UriCount { count: 2 },
        ),
        (
            Leaf::naming(&[AGENT, AGENT]),
            IdentityError::UriCount { count: 2 },
        ),
        (
            Leaf::naming(&[AGENT, "https://adit.example/"]),
            IdentityError::UriCount { count: 2 },
        ),
        (
            Leaf::naming(&[GATEWAY]),
            IdentityError::WrongRole {
                expected: RoleName::Agent,
                found: id(GATEWAY),
            },
        ),
        (
            Leaf::naming(&["spiffe://other.example/subaccount/a1/agent/berlin-1"]),
            IdentityError::WrongTrustDomain {
                expected: "adit.example".into(),
                found: id("spiffe://other.example/subaccount/a1/agent/berlin-1"),
            },
        ),
        (
            Leaf::naming(&["https://adit.example/subaccount/a1/agent/berlin-1"]),
            IdentityError::NotAnId("must begin with `spiffe://`"),
        ),
    ];
    for (leaf, expected) in identity_cases {
        let (error, alert) = agent_refused(&world, &world.authority.issue(leaf));
        assert_eq!(error, Error::Identity(Box::new(expected)));
        assert_eq!(alert, unknown, "{error}");
    }

    let good = |change: fn(&mut CertificateParams)| Leaf::naming(&[AGENT]).with(change);
    // The alerts of RFC 8446, section 6.2.
    let chain_cases: Vec<(&str, Issued, AlertDescription)> = vec![
        (
            "certificate expired",
            world
                .authority
                .issue(good(|p| p.not_after = date_time_ymd(2021, 1, 1))),
            AlertDescription::CertificateExpired,
        ),
        (
            "certificate not valid yet",
            world
                .authority
                .issue(good(|p| p.not_before = date_time_ymd(2119, 1, 1))),
            AlertDescription::CertificateExpired,
        ),
        (
            "does not allow extended key usage for client authentication",
            world.authority.issue(good(|p| {
                p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            })),
            AlertDescription::UnsupportedCertificate,
        ),
        (
            "CaUsedAsEndEntity",
            world.authority.issue(good(|p| {
                p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            })),
            AlertDescription::CertificateUnknown,
        ),
        (
            "UnknownIssuer",
            Authority::new("somebody else").issue(Leaf::naming(&[AGENT])),
            AlertDescription::UnknownCA,
        ),
        (
            "BadSignature",
            Authority::new("adit test root").issue(Leaf::naming(&[AGENT])),
            AlertDescription::DecryptError,
        ),
    ];
    for (says, issued, expected) in chain_cases {
        let (error, alert) = agent_refused(&world, &issued);
        assert!(
            error.to_string().contains(says),
            "{error} does not say {says}"
        );
        assert_eq!(alert, expected, "{error}");
        assert_eq!(error.fault(), adit_tls::Fault::Peer);
    }
}

#[test]
fn a_certificate_with_something_behind_it_is_malformed() {
    let world = World::new();
    let credentials = world.agent.credentials();
    let mut der = credentials.leaf().unwrap().to_vec();
    assert!(SpiffeId::from_certificate(&der.as_slice().into()).is_ok());
    der.push(0);
    assert_eq!(
        SpiffeId::from_certificate(&der.as_slice().into()),
        Err(IdentityError::Malformed)
    );
}

/// A subject alternative name extension of these URIs, each byte as given.
fn raw_names(uris: &[&[u8]]) -> CustomExtension {
    let names: Vec<u8> = uris
        .iter()
        .flat_map(|uri| {
            // [6] IMPLICIT IA5String, short form of the length.
            let length = u8::try_from(uri.len()).unwrap();
            assert!(length < 128);
            [&[0x86, length], *uri].concat()
        })
        .collect();
    let length = u8::try_from(names.len()).unwrap();
    let header: &[u8] = if length < 128 {
        &[0x30, length]
    } else {
        &[0x30, 0x81, length]
    };
    CustomExtension::from_oid_content(&[2, 5, 29, 17], [header, &names].concat())
}

#[test]
fn s01_names_that_parsers_could_read_differently_are_refused() {
    let world = World::new();
    let agent = AGENT.as_bytes();
    let with_nul = [agent, b"\0.example"].concat();
    let not_ascii = [&agent[..agent.len() - 1], b"\xFF"].concat();
    let cases: Vec<(&str, Vec<CustomExtension>)> = vec![
        ("a nul in the name", vec![raw_names(&[&with_nul])]),
        ("not ascii", vec![raw_names(&[&not_ascii])]),
        (
            "a good name and one that is not ascii",
            vec![raw_names(&[agent, &not_ascii])],
        ),
        (
            "a name that is not ascii and a good one",
            vec![raw_names(&[b"\xFF", agent])],
        ),
        ("an empty second name", vec![raw_names(&[agent, b""])]),
        (
            "two extensions",
            vec![raw_names(&[agent]), raw_names(&[agent])],
        ),
        (
            "a line feed behind",
            vec![raw_names(&[&[agent, b"\n"].concat()])],
        ),
    ];
    // The twin: written by hand like the others, but good.
    let good = world.authority.issue(
        Leaf::naming(&[]).with(|params| params.custom_extensions = vec![raw_names(&[agent])]),
    );
    assert_eq!(good.credentials().id().to_string(), AGENT);

    for (what, extensions) in cases {
        let issued = world
            .authority
            .issue(Leaf::naming(&[]).with(|params| params.custom_extensions = extensions));
        let (error, _alert) = agent_refused(&world, &issued);
        assert_eq!(error.fault(), adit_tls::Fault::Peer, "{what}: {error}");
        assert!(
            Credentials::from_pem(issued.chain.as_bytes(), issued.key.as_bytes()).is_err(),
            "{what}"
        );
    }
}

#[test]
fn s07_every_bad_leaf_of_a_gateway_is_refused_with_its_reason() {
    let world = World::new();
    let roots = world.authority.roots();
    let agent = world.client(&Options::default());
    // Whoever runs this gateway holds a certificate that our settings would not even start with,
    // so its settings are made from a good one and the authority is what differs.
    let cases: Vec<(Issued, &str)> = vec![
        (
            world
                .authority
                .issue(Leaf::naming(&[GATEWAY]).with(|p| p.not_after = date_time_ymd(2021, 1, 1))),
            "certificate expired",
        ),
        (
            world.authority.issue(Leaf::naming(&[GATEWAY]).with(|p| {
                p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            })),
            "does not allow extended key usage for server authentication",
        ),
        (
            Authority::new("somebody else").issue(Leaf::naming(&[GATEWAY])),
            "UnknownIssuer",
        ),
        (
            world
                .authority
                .issue(Leaf::naming(&["spiffe://other.example/gateway/eu-1"])),
            "our trust domain is `adit.example`",
        ),
    ];
    for (issued, says) in cases {
        let failed = shake(&agent, &server(&issued, &roots)).unwrap_err();
        let error = failed.client.unwrap();
        assert!(
            error.to_string().contains(says),
            "{error} does not say {says}"
        );
        assert!(
            matches!(failed.server, Some(Error::AlertReceived(_))),
            "the gateway hears of it: {:?}",
            failed.server
        );
    }
}

#[test]
fn an_agent_refuses_an_agent_at_the_other_end() {
    let world = World::new();
    let config =
        crate::rustls_peer::server_config(&world, &world.agent, adit_tls::Suite::Aes128Gcm);
    let error = crate::rustls_peer::our_client_against(&world, config).unwrap_err();
    assert_eq!(
        error,
        Error::Identity(Box::new(IdentityError::WrongRole {
            expected: RoleName::Gateway,
            found: SpiffeId::parse(AGENT).unwrap(),
        }))
    );
}

#[test]
fn an_agent_learns_by_an_alert_that_it_was_refused() {
    let world = World::new();
    let elsewhere = Authority::new("somebody else");
    let stranger = elsewhere.issue(Leaf::naming(&[AGENT]));
    let failed = shake(
        &client(&stranger, &world.authority.roots()),
        &world.server(&Options::default()),
    )
    .unwrap_err();
    assert_eq!(
        failed.client,
        Some(Error::AlertReceived(AlertDescription::UnknownCA))
    );
    assert!(failed.server.is_some());
}

#[test]
fn an_agent_without_certificate_is_refused() {
    let world = World::new();
    let config = crate::rustls_peer::client_config(&world, None, adit_tls::Suite::Aes128Gcm);
    let error = crate::rustls_peer::our_server_against(&world, config).unwrap_err();
    assert_eq!(error, rustls::Error::NoCertificatesPresented.into());
}

#[test]
fn settings_refuse_what_could_never_work() {
    let world = World::new();
    let roots = world.authority.roots();
    assert!(matches!(
        adit_tls::client(&world.gateway.credentials(), &roots),
        Err(SettingsError::Identity(IdentityError::WrongRole { .. }))
    ));
    assert!(matches!(
        adit_tls::server(&world.agent.credentials(), &roots),
        Err(SettingsError::Identity(IdentityError::WrongRole { .. }))
    ));
    let mixed = Issued {
        chain: world.agent.chain.clone(),
        key: world.gateway.key.clone(),
    };
    assert!(matches!(
        adit_tls::client(&mixed.credentials(), &roots),
        Err(SettingsError::Refused(rustls::Error::InconsistentKeys(_)))
    ));
    let chain = world.agent.chain.as_bytes();
    let key = world.agent.key.as_bytes();
    for (chain, key, says) in [
        (&b""[..], key, "no certificate"),
        (b"-----BEGIN NONSENSE-----\n", key, "not pem"),
        (key, key, "no certificate"),
        (chain, b"", "no private key"),
        (chain, chain, "no private key"),
    ] {
        let error = Credentials::from_pem(chain, key).unwrap_err().to_string();
        assert!(error.contains(says), "{error} does not say {says}");
    }
    assert!(matches!(
        Roots::from_pem(b""),
        Err(SettingsError::NoCertificate)
    ));
    let nonsense = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let two = [world.authority.pem().as_bytes(), nonsense].concat();
    assert!(matches!(
        Roots::from_pem(&two),
        Err(SettingsError::Root { number: 2, .. })
    ));
}

#[test]
fn secrets_are_not_printed() {
    let world = World::new();
    let credentials = world.agent.credentials();
    assert_eq!(
        format!("{credentials:?}"),
        format!("Credentials({AGENT}, secret)")
    );
    assert_eq!(
        format!("{:?}", world.client(&Options::default())),
        format!("ClientSettings({AGENT})")
    );
    assert_eq!(
        format!("{:?}", world.server(&Options::default())),
        format!("ServerSettings({GATEWAY})")
    );
}

#[test]
fn a_revoked_certificate_is_refused_at_both_ends_and_another_serial_is_not() {
    let world = World::new();
    let of = |issued: &Issued| {
        let credentials = issued.credentials();
        adit_tls::Leaf::read(credentials.leaf().unwrap())
            .unwrap()
            .serial
    };
    let (agent, gateway) = (of(&world.agent), of(&world.gateway));
    let roots = || world.authority.roots();
    let but = |serial: &str| roots().with_revoked([serial.to_owned()]);
    for (at_agent, at_gateway, is_refused) in [
        (roots(), roots(), false),
        (but(&agent), but(&gateway), false),
        (but(&gateway), roots(), true),
        (roots(), but(&agent), true),
    ] {
        let shaken = shake(
            &client(&world.agent, &at_agent),
            &server(&world.gateway, &at_gateway),
        );
        assert_eq!(shaken.is_err(), is_refused);
        if let Err(error) = shaken {
            let error = format!("{error:?}");
            assert!(error.to_lowercase().contains("revoked"), "{error}");
        }
    }
}

#[test]
fn a_control_plane_belongs_at_no_end_of_a_tunnel() {
    let world = World::new();
    let control = world
        .authority
        .issue(Leaf::naming(&["spiffe://adit.example/control/cp-1"]));
    let roots = world.authority.roots();
    assert!(adit_tls::client(&control.credentials(), &roots).is_err());
    assert!(adit_tls::server(&control.credentials(), &roots).is_err());
    let (error, _alert) = agent_refused(&world, &control);
    assert!(error.to_string().contains("/control/cp-1"), "{error}");
}
