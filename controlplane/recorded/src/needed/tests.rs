//! Paths, and the rules that are made of them.
use adit_policy::limits::METHOD_BYTES_MAX;

use super::*;

fn subtree(path: &str) -> Resource {
    let path = ResourcePath::new(path, EncodedSlash::Refuse).unwrap();
    let mut resource = Resource::new(path, Scope::Subtree);
    resource.parameters = true;
    resource
}

fn made(resource: &Resource, paths: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut needed = Needed::default();
    for path in paths {
        needed.path(path.as_bytes(), "GET", EncodedSlash::Refuse);
    }
    let rules = needed.rules(resource, EncodedSlash::Refuse);
    rules
        .iter()
        .map(|rule| format!("{} {}", rule.scope, rule.path))
        .collect()
}

#[test]
fn few_paths_are_rules_of_their_own_and_one_more_becomes_one_for_all_below() {
    let resource = subtree("/a");
    let keys = |count: usize| (0..count).map(|at| format!("/a/keys/{at:02}/x"));
    let few = made(&resource, keys(EXACT_PATHS_MAX));
    assert_eq!(few.len(), EXACT_PATHS_MAX);
    assert!(few.contains(&"exact /a/keys/07/x".to_owned()), "{few:?}");
    assert_eq!(
        made(&resource, keys(EXACT_PATHS_MAX + 1)),
        ["subtree /a/keys"]
    );
}

#[test]
fn few_branches_are_followed_and_one_more_is_not() {
    let resource = subtree("/a");
    // each branch has so many paths that it is one rule by itself
    let branches = |count: usize| {
        (0..count)
            .flat_map(|branch| (0..=EXACT_PATHS_MAX).map(move |key| format!("/a/s/{branch}/{key}")))
    };
    let few = made(&resource, branches(BRANCHES_MAX));
    assert_eq!(few.len(), BRANCHES_MAX);
    assert!(few.contains(&"subtree /a/s/3".to_owned()), "{few:?}");
    assert_eq!(
        made(&resource, branches(BRANCHES_MAX + 1)),
        ["subtree /a/s"]
    );
}

#[test]
fn nothing_above_the_resource_is_made_and_at_its_own_border_it_is_the_resource() {
    let resource = subtree("/a");
    let keys = (0..40).map(|at| format!("/a/{at}"));
    assert_eq!(made(&resource, keys), ["subtree /a"]);
    let parameters = (0..40).map(|at| format!("/a;v={at}"));
    assert_eq!(made(&resource, parameters), ["subtree /a"]);
    let slashed = (0..40).map(|at| format!("/a/{at}"));
    assert_eq!(made(&subtree("/a/"), slashed), ["subtree /a/"]);
}

#[test]
fn one_path_in_two_spellings_is_one_and_methods_are_those_that_were_seen() {
    let mut needed = Needed::default();
    needed.path(b"/a/%62", "GET", EncodedSlash::Refuse);
    needed.path(b"/a/b", "HEAD", EncodedSlash::Refuse);
    let rules = needed.rules(&subtree("/a"), EncodedSlash::Refuse);
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].path.as_str(), "/a/b");
    assert_eq!(rules[0].methods.to_string(), "GET, HEAD");
    assert!(!rules[0].parameters);
}

#[test]
fn what_cannot_be_a_rule_leaves_the_resource_as_it_is() {
    assert_eq!(made(&subtree("/a"), ["/a/*".to_owned()]), ["subtree /a"]);
    let mut needed = Needed::default();
    needed.path(
        b"/a/b",
        &"X".repeat(METHOD_BYTES_MAX + 1),
        EncodedSlash::Refuse,
    );
    assert!(
        needed.rules(&subtree("/a"), EncodedSlash::Refuse)[0]
            .methods
            .is_all()
    );
    // more methods than a rule lists
    let mut needed = Needed::default();
    for at in 0..METHODS_MAX {
        needed.path(b"/a/b", &format!("M-{at}-XYZZY"), EncodedSlash::Refuse);
    }
    let all = |needed: &Needed| {
        needed.rules(&subtree("/a"), EncodedSlash::Refuse)[0]
            .methods
            .is_all()
    };
    assert!(!all(&needed));
    needed.path(b"/a/b", "ONE-MORE", EncodedSlash::Refuse);
    assert!(all(&needed));
}
