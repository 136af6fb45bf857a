//! What an authority issues, and what it is after each step of a change. Whether others accept it is in `tests/`.

use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::*;
use crate::leaf::{self, Leaf, parse_leaf};
use crate::limits::{DNS_NAME_BYTES_MAX, LIFE_MAX, LIFE_MIN, SERVER_NAMES_MAX};

const NOW_S: u64 = 1_800_000_000;
const DAY: Duration = Duration::from_secs(86_400);

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn authority() -> Authority {
    Authority::new(&"adit.local".parse().unwrap(), 3_650 * DAY, now()).unwrap()
}

fn gateway() -> Identity {
    Identity::Gateway {
        name: "gw-1".parse().unwrap(),
    }
}

fn csr() -> String {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key);
    request.unwrap().pem().unwrap()
}

fn key() -> SealKey {
    SealKey::from_bytes([1; 32])
}

fn leaf(issued: &Issued) -> Leaf {
    let der = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
    parse_leaf(&der).unwrap()
}

#[test]
fn what_is_said_of_a_certificate_stands_in_it() {
    let issued = authority().issue(&csr(), &gateway(), DAY, now()).unwrap();
    let leaf = leaf(&issued);
    assert_eq!(leaf.serial, issued.serial);
    assert_eq!(leaf.spiffe_id, issued.spiffe_id);
    assert_eq!(leaf.not_after_unix_s, issued.not_after_unix_s);
    assert_eq!(issued.spiffe_id, "spiffe://adit.local/gateway/gw-1");
}

#[test]
fn a_serial_is_a_random_number_of_128_bits() {
    let authority = authority();
    let csr = csr();
    let mut serials: Vec<String> = (0..50)
        .map(|_| {
            authority
                .issue(&csr, &gateway(), DAY, now())
                .unwrap()
                .serial
        })
        .collect();
    for serial in &serials {
        let number = u128::from_str_radix(serial, 16).unwrap();
        assert_eq!(number.leading_zeros(), 1, "positive, and of full length");
        assert_eq!(format!("{number:x}"), *serial);
    }
    serials.sort_unstable();
    serials.dedup();
    assert_eq!(serials.len(), 50);
}

#[test]
fn a_certificate_begins_an_hour_ago_or_a_quarter_of_its_life_and_ends_with_it() {
    let authority = authority();
    let life = |life: Duration, now| {
        let leaf = leaf(&authority.issue(&csr(), &gateway(), life, now).unwrap());
        (leaf.not_before_unix_s, leaf.not_after_unix_s)
    };
    let days = 30 * 86_400;
    assert_eq!(life(30 * DAY, now()), (NOW_S - 3_600, NOW_S + days));
    let short = Duration::from_secs(120);
    assert_eq!(life(short, now()), (NOW_S - 30, NOW_S + 120));
    // X.509 has whole seconds.
    let later = now() + Duration::from_millis(900);
    assert_eq!(life(short, later), (NOW_S - 30, NOW_S + 120));
}

#[test]
fn a_certificate_does_not_outlive_its_root() {
    let authority = authority();
    let end = now() + 3_650 * DAY;
    let last = end - Duration::from_secs(1);
    let issued = authority.issue(&csr(), &gateway(), DAY, last).unwrap();
    assert_eq!(issued.not_after_unix_s, NOW_S + 3_650 * 86_400);
    assert_eq!(
        authority.issue(&csr(), &gateway(), DAY, end),
        Err(IssueError::Ended { not_after: end })
    );
}

#[test]
fn lives_of_life_min_and_life_max_are_given_and_no_others() {
    let authority = authority();
    let second = Duration::from_secs(1);
    let issue = |life| authority.issue(&csr(), &gateway(), life, now());
    assert_eq!(
        issue(LIFE_MIN).unwrap().not_after_unix_s,
        NOW_S + LIFE_MIN.as_secs()
    );
    assert!(issue(LIFE_MAX).is_ok());
    for life in [LIFE_MIN - second, LIFE_MAX + second, Duration::MAX] {
        assert_eq!(issue(life), Err(IssueError::Life { life }));
    }
    let domain = "d".parse().unwrap();
    assert!(Authority::new(&domain, LIFE_MAX, now()).is_ok());
    assert!(Authority::new(&domain, LIFE_MAX + second, now()).is_err());
    // Close to the end of the calendar.
    let late = OffsetDateTime::from_unix_timestamp(253_402_300_000).unwrap();
    assert!(Authority::new(&domain, LIFE_MAX, late).is_err());
}

#[test]
fn server_names_max_names_of_dns_name_bytes_max_are_taken_and_no_more() {
    let authority = authority();
    let name: Name = "cp-1".parse().unwrap();
    let issue = |names: &[String]| authority.issue_server(&name, names, DAY, now());
    // 4 x 63 + 3 dots is 255; the last label is two shorter.
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), DNS_NAME_BYTES_MAX);
    assert!(issue(&vec![longest.clone(); SERVER_NAMES_MAX]).is_ok());
    let number = SERVER_NAMES_MAX + 1;
    assert_eq!(
        issue(&vec!["a".to_owned(); number]),
        Err(IssueError::Names { number })
    );
    assert!(issue(&[longest + "a"]).is_err());
    for good in ["localhost", "10.0.0.1", "::1", "cp-1.Example.com", "1.a"] {
        assert!(issue(&[good.to_owned()]).is_ok(), "{good}");
    }
    for bad in [
        "", ".", "a.", ".a", "a..b", "-a", "a-", "*.a", "a b", "ä", "a/b", "a:1",
    ] {
        let name = bad.to_owned();
        assert_eq!(
            issue(std::slice::from_ref(&name)),
            Err(IssueError::Name { name })
        );
    }
}

#[test]
fn an_authority_comes_out_of_its_seal_as_it_went_in() {
    let mut authority = authority();
    authority.begin_roll(DAY, now()).unwrap();
    authority.begin_signing_roll().unwrap();
    authority.switch_signing().unwrap();
    let opened = Authority::open(&authority.seal(&key()).unwrap(), &key()).unwrap();
    assert_eq!(opened.roots(), authority.roots());
    assert_eq!(opened.signing_keys(), authority.signing_keys());
    assert_eq!(opened.trust(Vec::new()), authority.trust(Vec::new()));
    assert_eq!(opened.pin(), authority.pin());
    assert_eq!(
        opened.signing_key().public(),
        authority.signing_key().public()
    );
    assert_eq!(opened.trust_domain(), authority.trust_domain());
}

#[test]
fn what_was_sealed_for_something_else_or_by_somebody_else_is_refused() {
    let sealed = authority().seal(&key()).unwrap();
    let other = SealKey::from_bytes([2; 32]);
    assert_eq!(Authority::open(&sealed, &other).err(), Some(OpenError::Key));
    let backup = seal::seal(b"{}", "backup", &key()).unwrap();
    assert!(matches!(
        Authority::open(&backup, &key()),
        Err(OpenError::Purpose { .. })
    ));
    for content in ["", "{}", "[]", "null"] {
        let sealed = seal::seal(content.as_bytes(), PURPOSE, &key()).unwrap();
        assert!(matches!(
            Authority::open(&sealed, &key()),
            Err(OpenError::Content(_))
        ));
    }
}

#[test]
fn a_state_that_does_not_hold_together_is_refused() {
    let sealed = authority().seal(&key()).unwrap();
    let content = seal::open(&sealed, PURPOSE, &key()).unwrap();
    let text = String::from_utf8(content).unwrap();
    let change = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let sealed = seal::seal(text.replace(from, to).as_bytes(), PURPOSE, &key()).unwrap();
        Authority::open(&sealed, &key()).err()
    };
    assert_eq!(change("acting", "acting"), None);
    for (from, to) in [
        ("acting", "going"),
        ("adit.local", "adit.other"),
        ("adit.local", "Adit"),
        ("\"seed\":\"", "\"seed\":\"AA"),
        ("BEGIN PRIVATE", "BEGIN"),
        ("BEGIN CERTIFICATE", "BEGIN"),
    ] {
        let told = change(from, to);
        assert!(matches!(told, Some(OpenError::Content(_))), "{from}");
    }
}

#[test]
fn steps_out_of_order_change_nothing() {
    let mut authority = authority();
    let before = authority.trust(Vec::new());
    assert_eq!(authority.switch(), Err(RollError::NotBegun));
    assert_eq!(authority.finish(), Err(RollError::NotBegun));
    assert_eq!(authority.switch_signing(), Err(RollError::NotBegun));
    assert_eq!(authority.finish_signing(), Err(RollError::NotBegun));
    assert_eq!(authority.trust(Vec::new()), before);
    authority.begin_roll(DAY, now()).unwrap();
    authority.begin_signing_roll().unwrap();
    let begun = authority.trust(Vec::new());
    let again = authority.begin_roll(DAY, now());
    assert_eq!(again, Err(RollError::NotSwitched));
    assert_eq!(authority.finish(), Err(RollError::NotSwitched));
    assert_eq!(authority.begin_signing_roll(), Err(RollError::NotSwitched));
    assert_eq!(authority.finish_signing(), Err(RollError::NotSwitched));
    assert_eq!(authority.trust(Vec::new()), begun);
    authority.switch().unwrap();
    authority.switch_signing().unwrap();
    let switched = authority.trust(Vec::new());
    let again = authority.begin_roll(DAY, now());
    assert_eq!(again, Err(RollError::NotFinished));
    assert_eq!(authority.switch(), Err(RollError::NotFinished));
    assert_eq!(authority.switch_signing(), Err(RollError::NotFinished));
    assert_eq!(authority.trust(Vec::new()), switched);
    authority.finish().unwrap();
    authority.finish_signing().unwrap();
    assert_eq!(authority.roots().len(), 1);
    assert_eq!(authority.signing_keys().len(), 1);
}

#[test]
fn a_change_shows_who_issues_and_who_goes() {
    let mut authority = authority();
    let old = authority.pin();
    authority.begin_roll(DAY, now()).unwrap();
    assert_eq!(authority.pin(), old);
    let [acting, coming] = &authority.roots()[..] else {
        panic!("two roots");
    };
    assert!(acting.issues && !acting.going && acting.pin == old);
    assert!(!coming.issues && !coming.going);
    assert_eq!(coming.not_after_unix_s, NOW_S + 86_400);
    let new = coming.pin.clone();
    authority.switch().unwrap();
    assert_eq!(authority.pin(), new);
    let [acting, going] = &authority.roots()[..] else {
        panic!("two roots");
    };
    assert!(acting.issues && acting.pin == new && going.going && !going.issues);
    authority.finish().unwrap();
    assert_eq!(authority.pin(), new);
}

#[test]
fn signatures_of_the_old_and_the_new_key_count_while_both_are_known() {
    use adit_manifest::PublicKey;
    let known = |authority: &Authority| -> Vec<KeyId> {
        let text = authority.trust(Vec::new()).signing_keys;
        rustls_pki_types::SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes())
            .map(|der| PublicKey::from_spki(&der.unwrap()).unwrap().id())
            .collect()
    };
    let mut authority = authority();
    let old = authority.signing_key().public().id();
    assert_eq!(known(&authority), [old]);
    authority.begin_signing_roll().unwrap();
    assert_eq!(authority.signing_key().public().id(), old);
    let both = known(&authority);
    authority.switch_signing().unwrap();
    let new = authority.signing_key().public().id();
    assert!(old != new && both == [old, new] && known(&authority) == [new, old]);
    authority.finish_signing().unwrap();
    assert_eq!(known(&authority), [new]);
}

#[test]
fn every_step_and_every_revocation_makes_a_later_trust() {
    let mut authority = authority();
    let mut last = authority.version();
    let mut later = |authority: &Authority| {
        let version = authority.trust(Vec::new()).version;
        assert_eq!(version, last + 1);
        last = version;
    };
    authority.advance();
    later(&authority);
    authority.begin_roll(DAY, now()).unwrap();
    later(&authority);
    authority.switch().unwrap();
    later(&authority);
    authority.finish().unwrap();
    later(&authority);
    authority.begin_signing_roll().unwrap();
    later(&authority);
    authority.switch_signing().unwrap();
    later(&authority);
    authority.finish_signing().unwrap();
    later(&authority);
}

#[test]
fn revoked_numbers_are_sorted_and_said_once() {
    let revoked = ["b", "a", "b"].map(str::to_owned).to_vec();
    assert_eq!(authority().trust(revoked).revoked, ["a", "b"]);
}

#[test]
fn numbers_are_written_without_leading_zeros() {
    assert_eq!(leaf::hex_number(&[0, 0x0a, 0xbc]), "abc");
    assert_eq!(leaf::hex_number(&[0xff, 0]), "ff00");
    assert_eq!(leaf::hex_number(&[0]), "0");
    assert_eq!(leaf::hex_number(&[]), "0");
}

#[test]
fn secrets_are_not_shown() {
    let authority = authority();
    let server = authority.issue_server(&"cp-1".parse().unwrap(), &[], DAY, now());
    let server = server.unwrap();
    let root = authority.roots.acting();
    let seed = authority.signers.acting().seed;
    let shown = format!("{authority:?} {server:?} {root:?}");
    assert!(shown.contains("adit.local") && shown.contains(&server.serial));
    for pem in [server.key_pem, root.key_pem()] {
        for line in pem.lines() {
            assert!(!shown.contains(line), "{shown}");
        }
    }
    assert!(!shown.contains("PRIVATE") && !shown.contains(&STANDARD.encode(seed)));
    assert!(!shown.contains(&format!("{seed:?}")) && !shown.contains(&leaf::hex(&seed)));
}
