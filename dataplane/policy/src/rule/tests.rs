//! What single values of the rule language may be.
use super::*;

#[test]
fn p08_addresses_have_one_spelling_and_the_error_names_it() {
    for (text, expected) in [
        ("010.1.2.3", "write this address `8.1.2.3`"),
        ("2130706433", "write this address `127.0.0.1`"),
        ("0x7f.1", "write this address `127.0.0.1`"),
        ("127.1", "write this address `127.0.0.1`"),
        ("[2001:DB8:0::1]", "write this address `[2001:db8::1]`"),
        (
            "2001:db8::1",
            "an IPv6 address stands in brackets: `[2001:db8::1]`",
        ),
    ] {
        assert_eq!(
            InternalHost::new(text).unwrap_err().to_string(),
            expected,
            "{text}"
        );
    }
    for text in [
        "[fe80::1%eth0]",
        "[fe80::1%25eth0]",
        "[::1",
        "::1]",
        "a:b",
        "[]",
        "[1.2.3.4]",
    ] {
        assert_eq!(
            InternalHost::new(text),
            Err(InternalHostProblem::NoIpv6),
            "{text}"
        );
    }
    for text in ["1.2.3.4.5", "erp.1", "256.1.1.1"] {
        assert_eq!(
            InternalHost::new(text),
            Err(InternalHostProblem::Number),
            "{text}"
        );
    }
}

#[test]
fn internal_hosts_are_names_and_addresses() {
    for (text, displayed, address) in [
        ("ERP.corp", "erp.corp", false),
        ("10.1.2.3", "10.1.2.3", true),
        ("[2001:db8::1]", "[2001:db8::1]", true),
        ("[::ffff:10.0.0.1]", "[::ffff:10.0.0.1]", true),
        ("host-1.0a", "host-1.0a", false),
    ] {
        let host = InternalHost::new(text).unwrap();
        assert_eq!(host.to_string(), displayed);
        assert_eq!(host.address().is_some(), address);
    }
    assert_eq!(
        InternalHost::new("[2001:db8::1]").unwrap().as_str(),
        "2001:db8::1"
    );
}

#[test]
fn a_path_that_is_not_in_canonical_form_is_refused_with_the_form_to_write() {
    for (text, part) in [
        ("/%61", "write \"/a\""),
        ("/a%2db", "write \"/a-b\""),
        ("/stra\u{df}e", "write \"/stra%C3%9Fe\""),
        ("/%c3%9f", "write \"/%C3%9F\""),
        ("a/b", "write \"/a/b\""),
        ("/a/*", "write path = \"/a\" and scope = \"subtree\""),
        ("/*", "write path = \"/\" and scope = \"subtree\""),
        ("/a/**/b", "write path = \"/a\" and scope = \"subtree\""),
        ("/a//b", "ambiguous"),
        ("/a%2Fb", "encoded_slash = \"keep\""),
        ("/a?b=c", "ambiguous"),
    ] {
        let message = ResourcePath::new(text, EncodedSlash::Refuse).unwrap_err();
        assert!(message.contains(part), "{text}: {message}");
    }
    assert!(ResourcePath::new("/a%2Fb", EncodedSlash::Keep).is_ok());
    assert!(ResourcePath::new("/a/b*c/x", EncodedSlash::Refuse).is_ok());
}

#[test]
fn the_longest_path_is_accepted_and_one_byte_more_is_not() {
    let longest = format!("/{}", "a".repeat(RULE_PATH_BYTES_MAX - 1));
    assert!(ResourcePath::new(&longest, EncodedSlash::Refuse).is_ok());
    assert!(ResourcePath::new(&format!("{longest}a"), EncodedSlash::Refuse).is_err());
}

#[test]
fn port_ranges_know_their_borders() {
    assert_eq!(PortRange::new(0, 5), None);
    assert_eq!(PortRange::new(6, 5), None);
    let range = PortRange::new(5432, 5440).unwrap();
    assert_eq!(range.width(), 8);
    assert!(range.contains(5432) && range.contains(5440));
    assert!(!range.contains(5431) && !range.contains(5441));
    assert!(range.overlaps(&PortRange::new(5440, 6000).unwrap()));
    assert!(!range.overlaps(&PortRange::new(5441, 6000).unwrap()));
    assert_eq!(PortRange::one(u16::MAX).unwrap().to_string(), "65535");
}

#[test]
fn system_names_have_at_most_64_characters() {
    assert!(is_system_name(&"a".repeat(SYSTEM_NAME_CHARS_MAX)));
    assert!(!is_system_name(&"a".repeat(SYSTEM_NAME_CHARS_MAX + 1)));
    assert!(!is_system_name(""));
    assert!(!is_system_name("a b"));
}

#[test]
fn a_path_in_another_spelling_is_respelled_and_an_ambiguous_one_stays_refused() {
    let respelled = |text: &str| {
        ResourcePath::respelled(text, EncodedSlash::Refuse).map(|path| path.as_str().to_owned())
    };
    assert_eq!(respelled("/a").as_deref(), Ok("/a"));
    assert_eq!(respelled("/%61/%c3%9f").as_deref(), Ok("/a/%C3%9F"));
    for odd in ["/a/../b", "/%2e%2e", "/a%2Fb", "a", "/%2A"] {
        assert!(respelled(odd).is_err(), "{odd}");
    }
}
