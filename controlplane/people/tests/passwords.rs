//! Which passwords are taken, and which stored ones are checked.

use adit_people::UserName;
use adit_people::limits::{
    HASH_LANES_MAX, HASH_MEMORY_KIB_MAX, HASH_WORK_KIB_MAX, PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN,
};
use adit_people::password::{BadPassword, MEMORY_KIB, PASSES, PasswordHash, judge, verify};
use ring::rand::SystemRandom;

fn ada() -> UserName {
    "ada.lovelace".parse().expect("a user name")
}

fn stored(text: &str) -> Option<PasswordHash> {
    PasswordHash::try_from(text.to_owned()).ok()
}

#[test]
fn a_password_is_taken_up_to_both_ends_of_its_length() {
    let long = |bytes: usize| {
        "a quiet mine "
            .chars()
            .cycle()
            .take(bytes)
            .collect::<String>()
    };
    assert_eq!(judge(&long(PASSWORD_BYTES_MIN), &ada()), Ok(()));
    assert_eq!(
        judge(&long(PASSWORD_BYTES_MIN - 1), &ada()),
        Err(BadPassword::Short)
    );
    assert_eq!(judge(&long(PASSWORD_BYTES_MAX), &ada()), Ok(()));
    assert_eq!(
        judge(&long(PASSWORD_BYTES_MAX + 1), &ada()),
        Err(BadPassword::Long)
    );
}

#[test]
fn nothing_but_length_and_hopelessness_counts() {
    for good in [
        "            .",
        "onlylowercase",
        "ÄÖÜßäöü",
        "пароль-шахта",
        "a\tb\nc\u{0}defghij",
    ] {
        assert_eq!(judge(good, &ada()), Ok(()), "{good}");
    }
    for bad in [
        "password1234",
        "PassWord1234",
        "123456789012",
        "aaaaaaaaaaaa",
        "            ",
        "ada.lovelace",
        "Ada.LovelaceAda.Lovelace",
        "CorrectHorseBatteryStaple",
    ] {
        assert_eq!(judge(bad, &ada()), Err(BadPassword::Hopeless), "{bad}");
    }
    let refused = PasswordHash::new("password1234", &ada(), &SystemRandom::new());
    assert_eq!(refused, Err(BadPassword::Hopeless));
}

#[test]
fn hashes_of_the_reference_implementation_are_checked_as_it_does() {
    // phc-winner-argon2, src/test.c, Argon2id of version 0x13.
    for (password, text) in [
        (
            "password",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        ),
        (
            "password",
            "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
        ),
        (
            "password",
            "$argon2id$v=19$m=65536,t=4,p=1$c29tZXNhbHQ$kCXUjmjvc5XMqQedpMTsOv+zyJEf5PhtGiUghW9jFyw",
        ),
        (
            "differentpassword",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94",
        ),
        (
            "password",
            "$argon2id$v=19$m=65536,t=2,p=1$ZGlmZnNhbHQ$vfMrBczELrFdWP0ZsfhWsRPaHppYdP3MVEMIVlqoFBw",
        ),
    ] {
        let hash = stored(text).unwrap();
        assert!(verify(password, Some(&hash)), "{text}");
        assert!(!verify(&format!("{password}1"), Some(&hash)), "{text}");
        assert!(hash.is_outdated());
        assert_eq!(String::from(hash), text);
    }
}

#[test]
fn a_new_hash_has_its_own_salt_and_todays_cost() {
    let random = SystemRandom::new();
    let password = "a quiet mine 7";
    let [one, other] = [(); 2].map(|()| PasswordHash::new(password, &ada(), &random).unwrap());
    assert_ne!(one, other);
    let front = format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1$");
    assert!(String::from(one.clone()).starts_with(&front));
    assert!(!one.is_outdated());
    assert!(verify(password, Some(&one)) && verify(password, Some(&other)));
    // OWASP's least for Argon2id: 19 MiB and two passes.
    const { assert!(MEMORY_KIB >= 19 * 1024 && PASSES >= 2) }
}

#[test]
fn nobody_and_too_long_a_password_are_never_right() {
    assert!(!verify("", None));
    assert!(!verify("a quiet mine 7", None));
    let hash = PasswordHash::new("a quiet mine 7", &ada(), &SystemRandom::new()).unwrap();
    assert!(!verify(&"a".repeat(PASSWORD_BYTES_MAX + 1), Some(&hash)));
}

#[test]
fn a_stored_hash_may_cost_as_much_as_the_limits_say_and_no_more() {
    let cost = |memory: u64, passes: u64, lanes: u32| {
        let text = format!(
            "$argon2id$v=19$m={memory},t={passes},p={lanes}$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
        );
        stored(&text).is_some()
    };
    let memory = u64::from(HASH_MEMORY_KIB_MAX);
    assert!(cost(memory, 1, 1));
    assert!(!cost(memory + 1, 1, 1));
    assert!(cost(memory, HASH_WORK_KIB_MAX / memory, 1));
    assert!(!cost(memory, HASH_WORK_KIB_MAX / memory + 1, 1));
    assert!(cost(1024, HASH_WORK_KIB_MAX / 1024, 1));
    assert!(!cost(1024, u64::from(u32::MAX), 1));
    assert!(!cost(1024, u64::from(u32::MAX) + 1, 1));
    assert!(cost(1024, 1, HASH_LANES_MAX));
    assert!(!cost(1024, 1, HASH_LANES_MAX + 1));
    assert!(!cost(1024, 1, 0) && !cost(1024, 0, 1) && !cost(0, 1, 1));
    // RFC 9106, section 3.1: 8 KiB for each lane.
    assert!(cost(16, 1, 2) && !cost(15, 1, 2));
}

#[test]
fn what_is_no_such_hash_is_refused() {
    const GOOD: &str =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
    assert!(stored(GOOD).is_some());
    for (from, to) in [
        ("argon2id", "argon2i"),
        ("$argon2id", "argon2id"),
        ("v=19", "v=16"),
        ("$v=19", ""),
        ("m=256", "m=+256"),
        ("m=256", "m="),
        ("m=256", "t=256"),
        ("m=256,", ""),
        ("p=1", "p=1,keyid=aa"),
        ("c29tZXNhbHQ", "c29tZXN"),
        ("c29tZXNhbHQ", "c29tZXNhbHQ="),
        ("c29tZXNhbHQ", "c29tZXNhbHR"),
        ("nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "nf65"),
        ("Gi/4", "Gi/4$"),
        ("Gi/4", "Gi-4"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        assert!(stored(&GOOD.replacen(from, to, 1)).is_none(), "{to}");
    }
}
