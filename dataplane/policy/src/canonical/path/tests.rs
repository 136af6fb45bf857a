//! What is refused and what stays usable, row by row.
use proptest::prelude::*;

use super::*;
use crate::canonical::Oddity::{
    Backslash, Control, DotSegment, DoubleEncoding, EmptySegment, EncodedBackslash, InvalidUtf8,
    Lookalike, MalformedPercent, NotAbsolute, OverlongUtf8, QueryOrFragment,
};

fn oddity(path: &[u8]) -> Option<Oddity> {
    Path::judge(path, EncodedSlash::Refuse)
        .err()
        .map(|ambiguity| ambiguity.oddity())
}

fn oddity_kept(path: &[u8]) -> Option<Oddity> {
    Path::judge(path, EncodedSlash::Keep)
        .err()
        .map(|ambiguity| ambiguity.oddity())
}

/// Whether two judged paths are the same path, by the comparison that rules use.
fn same(a: &str, b: &str) -> bool {
    fn parts(path: &str) -> (Vec<Vec<u8>>, Remainder) {
        let mut segments = Path::judge(path.as_bytes(), EncodedSlash::Keep)
            .unwrap()
            .segments();
        let mut room = [0; crate::limits::RULE_PATH_BYTES_MAX];
        let mut list = Vec::new();
        for segment in segments.by_ref() {
            list.push(comparable(segment, &mut room).unwrap().to_vec());
        }
        (list, segments.remainder())
    }
    parts(a) == parts(b)
}

#[test]
fn what_real_services_send_is_not_ambiguous() {
    for path in [
        "/",
        "/a",
        "/a/",
        "/a/b.html",
        "/.well-known/openid-configuration",
        "/a/..b/c..",
        "/a/.b./x",
        "/sap/opu/odata/IWFND/CATALOGSERVICE;v=2/ServiceCollection('ZAPI_0001')",
        "/a;jsessionid=1B2C/b",
        "/app/;jsessionid=1B2C",
        "/odata/Orders(ID='x',IsActive=true)/$value",
        "/odata/%24metadata",
        "/odata/Names('O''Neil%20%26%20Sons')",
        "/files/100%25",
        "/files/100%25%20sure",
        "/files/50%25off",
        "/files/%25zz",
        "/stra%C3%9Fe/%E6%9D%B1%E4%BA%AC",
        "/emoji/%F0%9F%8E%89",
        "/~user/!x*@:+,=&'()",
        "/raw\u{df}",
        "/a/%3Fnot-a-query/%23",
        "/a%20b",
    ] {
        assert_eq!(oddity(path.as_bytes()), None, "{path}");
    }
}

#[test]
fn p02_dot_segments_in_any_encoding_are_refused() {
    for path in [
        "/.",
        "/..",
        "/./",
        "/../",
        "/a/../b",
        "/a/./b",
        "/a/..",
        "/a/.",
        "/a/%2e",
        "/a/%2E%2e/b",
        "/a/.%2e/b",
        "/a/%2e./b",
        "/..;/",
        "/a/..;x/b",
        "/a/..;x=1/b",
        "/a/.;x/b",
        "/a/%2e%2e;x/b",
        "/a/..%3bx/b",
        "/a/..%3B/b",
        "/a/.../b",
        "/a/..%20/b",
        "/a/%20../b",
        "/a/.%C2%AD./b",
        "/a/.\u{200c}./b",
        "/a/..%E2%80%8B/b",
        "/a/..%C2%A0/b",
        "/a/%EF%BB%BF../b",
    ] {
        assert_eq!(oddity(path.as_bytes()), Some(DotSegment), "{path}");
    }
}

#[test]
fn p02_slashes_and_backslashes_in_disguise_are_refused() {
    for (path, expected) in [
        ("/a%2fb", Oddity::EncodedSlash),
        ("/a%2Fb", Oddity::EncodedSlash),
        ("/..%2f", Oddity::EncodedSlash),
        ("/a%5cb", EncodedBackslash),
        ("/a%5Cb", EncodedBackslash),
        ("/a\\b", Backslash),
        ("/\\..\\b", Backslash),
    ] {
        assert_eq!(oddity(path.as_bytes()), Some(expected), "{path}");
    }
}

#[test]
fn p02_empty_segments_are_refused_and_one_trailing_slash_is_not() {
    for path in [
        "//", "///", "//a", "/a//b", "/a//", "/a/b//", "/a/;x/b", "/;x/b",
    ] {
        assert_eq!(oddity(path.as_bytes()), Some(EmptySegment), "{path}");
    }
    for path in ["/", "/a/", "/a/b/"] {
        assert_eq!(oddity(path.as_bytes()), None, "{path}");
    }
}

#[test]
fn p02_parameters_without_a_name_are_refused_before_another_segment_also_with_a_kept_slash_in_them()
{
    for path in [
        "/;ab/c",
        "/;a%2Fb/c",
        "/;%2F/c",
        "/x/;a%2fb/c",
        "/%20;a%2Fb;d/c",
        "/;a%2Fb/",
    ] {
        assert_eq!(oddity_kept(path.as_bytes()), Some(EmptySegment), "{path}");
    }
    for path in [
        "/;a%2Fb",
        "/x/;a%2Fb",
        "/a;b%2Fc/d",
        "/a%2Fb;c/d",
        "/a%2F;b/c",
    ] {
        assert_eq!(oddity_kept(path.as_bytes()), None, "{path}");
    }
}

#[test]
fn p02_control_characters_are_refused_raw_and_encoded() {
    for path in [
        "/a%00",
        "/%00",
        "/a%0d%0ab",
        "/a%0D",
        "/a%1f",
        "/a%7f",
        "/a%09b",
        "/a%C2%85",
        "/a b",
        "/a\tb",
        "/a\0",
        "/a\x7f",
        "/a\u{85}",
    ] {
        assert_eq!(oddity(path.as_bytes()), Some(Control), "{path:?}");
    }
}

#[test]
fn p02_a_second_layer_of_encoding_over_something_refused_is_refused() {
    for path in [
        "/%252e%252e/b",
        "/a%252eb",
        "/a%252Eb",
        "/a%252fb",
        "/a%252Fb",
        "/a%255cb",
        "/a%255Cb",
        "/a%2500",
        "/a%250d%250a",
        "/a%257f",
        "/..%253bx/b",
        "/a/..%2520/b",
        // mixed: the digits of the second layer are encoded, too
        "/a%25%32%65",
        "/a%252%65b",
        "/a%25%32fb",
        // further layers
        "/a%25252e",
        "/a%2525252fb",
        "/a%25252525255c",
        "/a%25252500",
        // invalid and overlong UTF-8 and lookalikes below one layer
        "/a%25c0%25ae",
        "/a%25ff",
        "/a%25e4",
        "/a%25EF%25BC%258F",
    ] {
        assert_eq!(oddity(path.as_bytes()), Some(DoubleEncoding), "{path}");
    }
}

#[test]
fn p02_a_second_layer_of_encoding_over_text_is_text() {
    for path in [
        "/%25",
        "/%2525",
        "/%2541",
        "/a%2520b",
        "/%25C3%25A4",
        "/%25%25",
        "/100%25/a",
        "/%253F",
        "/%252",
        "/%25%32%35",
    ] {
        assert_eq!(oddity(path.as_bytes()), None, "{path}");
    }
}

#[test]
fn p02_layers_of_encoding_are_followed_up_to_the_limit_only() {
    // `%41` below n further layers; the first layer is the one that every path may have
    let path = |layers: usize| format!("/%{}41", "25".repeat(layers));
    let most = crate::limits::ENCODING_LAYERS_MAX - 1;
    assert_eq!(oddity(path(most).as_bytes()), None);
    assert_eq!(oddity(path(most + 1).as_bytes()), Some(DoubleEncoding));
    assert_eq!(oddity(path(1000).as_bytes()), Some(DoubleEncoding));
}

#[test]
fn p02_malformed_percent_signs_are_refused() {
    for path in [
        "/%", "/a%", "/a%2", "/a%zz", "/a%2/b", "/%%20", "/a%u002e", "/%+1",
    ] {
        assert_eq!(oddity(path.as_bytes()), Some(MalformedPercent), "{path}");
    }
}

#[test]
fn p03_overlong_and_invalid_utf8_is_refused() {
    for path in [
        "/%c0%ae%c0%ae/",
        "/a%c0%afb",
        "/a%e0%80%af",
        "/a%f0%80%80%af",
    ] {
        assert_eq!(oddity(path.as_bytes()), Some(OverlongUtf8), "{path}");
    }
    for path in [
        &b"/a\xff"[..],
        b"/%ff",
        b"/%e4",
        b"/%e4/b",
        b"/%ed%a0%80",
        b"/%f4%90%80%80",
        b"/\x80",
        b"/\xe4\xb8/\xad",
    ] {
        assert_eq!(oddity(path), Some(InvalidUtf8), "{path:?}");
    }
}

#[test]
fn p03_fullwidth_dots_and_slashes_are_refused_raw_and_encoded() {
    for path in [
        "/．．／a",
        "/a／b",
        "/a＼b",
        "/%EF%BC%8E%EF%BC%8E/",
        "/a%EF%BC%8Fb",
        "/a%EF%BC%BC",
        "/%E2%80%A5/",
        "/a%E2%81%84b",
        "/a%E2%88%95b",
        "/a%EF%BC%85",
    ] {
        assert_eq!(oddity(path.as_bytes()), Some(Lookalike), "{path}");
    }
}

#[test]
fn p06_a_query_or_fragment_is_no_part_of_a_path() {
    for path in ["/a?b", "/?/../", "/a#b", "/#"] {
        assert_eq!(oddity(path.as_bytes()), Some(QueryOrFragment), "{path}");
    }
}

#[test]
fn p06_a_path_of_64_kib_is_judged() {
    let long = format!("/{}", "a%20".repeat(16 * 1024));
    assert_eq!(oddity(long.as_bytes()), None);
    let deep = "/a".repeat(32 * 1024);
    assert_eq!(oddity(deep.as_bytes()), None);
    assert_eq!(oddity(format!("{deep}/..").as_bytes()), Some(DotSegment));
}

#[test]
fn paths_begin_with_a_slash() {
    for path in ["", "a", "*", "%2Fa", "?"] {
        assert_eq!(oddity(path.as_bytes()), Some(NotAbsolute), "{path}");
    }
}

#[test]
fn a_kept_slash_hides_neither_dot_segments_nor_a_second_layer() {
    for path in [
        "/a%2Fb",
        "/Files('a%2fb.txt')",
        "/Files('http:%2F%2Fx')",
        "/%2F",
    ] {
        assert_eq!(oddity_kept(path.as_bytes()), None, "{path}");
    }
    for path in [
        "/..%2f",
        "/a%2F..%2Fb",
        "/a%2F..",
        "/a%2f%2e%2E",
        "/a%2F.;x",
        "/a;x=%2F..%2Fb",
    ] {
        assert_eq!(oddity_kept(path.as_bytes()), Some(DotSegment), "{path}");
    }
    assert_eq!(oddity_kept(b"/a%252Fb"), Some(DoubleEncoding));
    assert_eq!(oddity_kept(b"/a%5Cb"), Some(EncodedBackslash));
}

#[test]
fn encoding_what_needs_no_encoding_changes_nothing() {
    assert!(same("/%61", "/a"));
    assert!(same("/%7Euser", "/~user"));
    assert!(same("/x/%24metadata", "/x/$metadata"));
    assert!(same("/x(%27a%27)", "/x('a')"));
    assert!(same("/%c3%9f", "/%C3%9F"));
    assert!(same("/a%2Db", "/a-b"));
}

#[test]
fn what_differs_is_not_the_same() {
    assert!(!same("/a", "/A"));
    assert!(!same("/a", "/a/"));
    assert!(!same("/a/b", "/a%2Fb"));
    assert!(!same("/a;v=2", "/a%3Bv=2"));
    assert!(!same("/%25", "/%2525"));
    assert!(!same("/%2541", "/A"));
    assert!(!same("/a%20", "/a"));
}

#[test]
fn the_canonical_spelling_encodes_what_must_be_and_nothing_else() {
    let spelling = |path: &str| {
        Path::judge(path.as_bytes(), EncodedSlash::Keep)
            .unwrap()
            .spelling()
    };
    assert_eq!(spelling("/%61%2d"), "/a-");
    assert_eq!(spelling("/stra\u{df}e/x\"y"), "/stra%C3%9Fe/x%22y");
    assert_eq!(spelling("/a%3bv=2;x%2fy"), "/a%3Bv=2;x%2Fy");
    assert_eq!(spelling("/50%25/"), "/50%25/");
    assert_eq!(spelling("/"), "/");
}

fn any_path() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec!["/", "a", "b", ".", "..", ";", "%", "2", "5", "e", "f", "c", "0"]).prop_map(|s| s.as_bytes().to_vec()),
        2 => prop::sample::select(vec!["%25", "%2e", "%2F", "%5c", "%3b", "%20", "%c3", "%a4", "%C0", "%af"]).prop_map(|s| s.as_bytes().to_vec()),
        1 => any::<u8>().prop_map(|b| vec![b]),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| {
        let mut path = b"/".to_vec();
        path.extend(pieces.concat());
        path
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_quick_look_at_a_segment_never_differs_from_the_long_one(path in any_path()) {
        for segment in path.split(|byte| *byte == b'/') {
            if is_plain(segment) {
                prop_assert_eq!(judge(segment, false, EncodedSlash::Refuse), Ok(()));
                prop_assert_eq!(judge(segment, false, EncodedSlash::Keep), Ok(()));
            }
        }
    }

    #[test]
    fn the_canonical_spelling_is_the_same_path_and_its_own_spelling(path in any_path()) {
        if let Ok(judged) = Path::judge(&path, EncodedSlash::Keep) {
            let spelling = judged.spelling();
            let again = Path::judge(spelling.as_bytes(), EncodedSlash::Keep).unwrap();
            prop_assert_eq!(again.spelling(), spelling.clone());
            if let Ok(text) = core::str::from_utf8(&path) {
                prop_assert!(same(text, &spelling));
            }
        }
    }

    #[test]
    fn who_refuses_an_encoded_slash_refuses_whatever_keeping_it_refuses(path in any_path()) {
        if Path::judge(&path, EncodedSlash::Refuse).is_ok() {
            prop_assert!(Path::judge(&path, EncodedSlash::Keep).is_ok());
        }
    }
}
