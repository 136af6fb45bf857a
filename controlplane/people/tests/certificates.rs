//! Certificates of people: which are some, whom they name, and when they count.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking; its helpers are as much test as it is"
)]

use adit_people::certificate::{
    NameField, NoAuthority, NoPerson, PersonCertificate, authority_key,
};
use adit_people::password::PasswordHash;
use adit_people::{Grant, How, Role, User};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, DnValue, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, SanType, date_time_ymd,
};
use ring::rand::SystemRandom;

/// 2027-01-15, 08:00 UTC.
const NOW: u64 = 1_800_000_000;
/// 2027-02-01, the certificates' last second.
const LAST: u64 = 1_801_440_000;

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "ada.l@example.com");
    params.custom_extensions = vec![mails(&["ada@example.com"])];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.not_before = date_time_ymd(2027, 1, 1);
    params.not_after = date_time_ymd(2027, 2, 1);
    params
}

/// Mail addresses as the one extension of alternative names (RFC 5280, section 4.2.1.6): `[1] IA5String` each.
fn mails(addresses: &[&str]) -> CustomExtension {
    let mut names = Vec::new();
    for address in addresses {
        names.extend([0x81, u8::try_from(address.len()).unwrap()]);
        names.extend_from_slice(address.as_bytes());
    }
    let mut content = vec![0x30, u8::try_from(names.len()).unwrap()];
    content.extend(names);
    CustomExtension::from_oid_content(&[2, 5, 29, 17], content)
}

fn der(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = params();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

fn read(field: NameField, change: impl FnOnce(&mut CertificateParams)) -> Result<String, NoPerson> {
    PersonCertificate::read(&der(change), field).map(|person| person.user.to_string())
}

#[test]
fn the_field_of_the_settings_names_the_user_and_no_other_does() {
    let (name, mail) = (NameField::CommonName, NameField::Email);
    assert_eq!(NameField::default(), name);
    assert_eq!(read(name, |_| {}).as_deref(), Ok("ada.l@example.com"));
    assert_eq!(read(mail, |_| {}).as_deref(), Ok("ada@example.com"));
    let no_name = |params: &mut CertificateParams| {
        params.distinguished_name = rcgen::DistinguishedName::new();
    };
    assert_eq!(read(name, no_name), Err(NoPerson::Name(name)));
    assert_eq!(read(mail, no_name).as_deref(), Ok("ada@example.com"));
    let no_mail = |params: &mut CertificateParams| {
        params.custom_extensions.clear();
        params.subject_alt_names = vec![SanType::DnsName("ada".try_into().unwrap())];
    };
    assert_eq!(read(mail, no_mail), Err(NoPerson::Name(mail)));
    assert_eq!(read(name, no_mail).as_deref(), Ok("ada.l@example.com"));
    let two_mails = |params: &mut CertificateParams| {
        params.custom_extensions = vec![mails(&["ada@example.com", "eve@example.com"])];
    };
    assert_eq!(read(mail, two_mails), Err(NoPerson::Name(mail)));
}

#[test]
fn a_name_counts_as_it_is_written_and_not_as_it_could_be_meant() {
    for bad in [
        "Ada",
        "Ada Lovelace",
        " ada",
        "ada ",
        "ada\0",
        "ada\0eve",
        "\u{430}da",
        "",
        "../eve",
    ] {
        let named = read(NameField::CommonName, |params| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, bad);
        });
        assert_eq!(named, Err(NoPerson::Name(NameField::CommonName)), "{bad:?}");
    }
    // Two bytes a character: what others may read as another name.
    let wide = read(NameField::CommonName, |params| {
        let wide = DnValue::BmpString("ada".try_into().unwrap());
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, wide);
    });
    assert_eq!(wide, Err(NoPerson::Name(NameField::CommonName)));
}

#[test]
fn a_certificate_that_is_not_said_to_be_for_clients_or_names_a_node_is_no_persons() {
    let field = NameField::CommonName;
    for usages in [
        vec![],
        vec![ExtendedKeyUsagePurpose::ServerAuth],
        vec![ExtendedKeyUsagePurpose::Any],
    ] {
        let read = read(field, |params| params.extended_key_usages = usages);
        assert_eq!(read, Err(NoPerson::NoClientAuth));
    }
    for uri in [
        "spiffe://adit.local/subaccount/acme/agent/a",
        "spiffe://elsewhere/x",
        "SPIFFE://adit.local/gateway/g",
    ] {
        let read = read(field, |params| {
            params.custom_extensions.clear();
            params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        });
        assert_eq!(read, Err(NoPerson::NodeName), "{uri}");
    }
    let harmless = read(field, |params| {
        let uri = SanType::URI("https://people.example/ada".try_into().unwrap());
        params.custom_extensions.clear();
        params.subject_alt_names = vec![uri];
    });
    assert_eq!(harmless.as_deref(), Ok("ada.l@example.com"));
}

#[test]
fn bytes_that_are_no_certificate_or_more_than_one_are_nobodys() {
    let good = der(|_| {});
    let field = NameField::CommonName;
    assert!(PersonCertificate::read(&good, field).is_ok());
    let mut more = good.clone();
    more.push(0);
    for bytes in [&b""[..], b"\x30\x00", &more, &good[..good.len() - 1]] {
        let read = PersonCertificate::read(bytes, field);
        assert_eq!(read, Err(NoPerson::Malformed));
    }
}

#[test]
fn a_certificate_counts_to_its_last_second_for_a_user_without_a_password_who_is_not_disabled() {
    let der = der(|params| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "ada");
    });
    let person = PersonCertificate::read(&der, NameField::CommonName).unwrap();
    assert_eq!(person.not_after_unix_s, LAST);
    assert_eq!(person.fingerprint.len(), 64);
    let grants = vec![Grant::in_subaccount(Role::Operator, "acme")];
    let named = |name: &str| User::new(name.parse().unwrap(), None, grants.clone(), NOW);
    let ada = named("ada");
    let principal = person.principal(&ada, NOW).unwrap();
    assert_eq!(principal.to_string(), "certificate:ada");
    assert_eq!(principal.grants, grants);
    let fingerprint = person.fingerprint.clone();
    assert_eq!(principal.how, How::Certificate { fingerprint });

    assert!(person.principal(&ada, LAST).is_some());
    assert_eq!(person.principal(&ada, LAST + 1), None);
    assert_eq!(person.principal(&named("eve"), NOW), None);
    let mut disabled = ada.clone();
    disabled.disabled = true;
    assert_eq!(person.principal(&disabled, NOW), None);
    let mut with_password = ada;
    let hash = PasswordHash::new(
        "canary-of-the-mine-12",
        &with_password.name,
        &SystemRandom::new(),
    );
    with_password.set_password(Some(hash.unwrap()), NOW);
    assert_eq!(person.principal(&with_password, NOW), None);
}

#[test]
fn an_authority_is_known_by_its_key_and_who_is_none_is_told() {
    let key = KeyPair::generate().unwrap();
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority_key(params.self_signed(&key).unwrap().der())
    };
    assert!(authority("a").is_ok());
    assert_eq!(
        authority("a"),
        authority("b"),
        "another certificate of one key"
    );
    let other = der(|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    assert_ne!(authority_key(&other), authority("a"));
    assert_eq!(authority_key(&der(|_| {})), Err(NoAuthority));
    assert_eq!(authority_key(b"-----"), Err(NoAuthority));
}
