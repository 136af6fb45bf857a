//! Who may do what, where: the whole matrix, as a table to read and as properties of any grants.

use adit_people::{
    Denied, Grant, How, Principal, Reach, Role, Scope, Verb, Visible, authorize, may_grant,
    may_read_user, narrowed, visible,
};
use proptest::prelude::*;

/// For each verb and role: what somebody with the role in all subaccounts may, and somebody with it in `a` alone.
/// `+` everywhere, `a` in `a` and nowhere else, `-` nowhere.
const EXPECTED: &str = "
verb               administrator  operator  auditor  viewer
                   *  a           *  a      *  a     *  a
rules-read         +  a           +  a      +  a     +  a
rules-plan         +  a           +  a      +  a     -  -
rules-apply        +  a           +  a      -  -     -  -
nodes-read         +  a           +  a      +  a     +  a
nodes-invite       +  a           +  a      -  -     -  -
nodes-revoke       +  a           +  a      -  -     -  -
nodes-ask          +  a           +  a      +  a     -  -
audit-read         +  a           -  -      +  a     -  -
users-read         +  a           -  -      +  a     -  -
users-write        +  a           -  -      -  -     -  -
subaccounts-read   +  a           +  a      +  a     +  a
subaccounts-write  +  -           -  -      -  -     -  -
authority-read     +  -           -  -      +  -     -  -
authority-roll     +  -           -  -      -  -     -  -
backup-create      +  -           -  -      -  -     -  -
backup-restore     +  -           -  -      -  -     -  -
server-status      +  -           +  -      +  -     +  -
";

fn somebody(grants: Vec<Grant>) -> Principal {
    Principal {
        name: "somebody".to_owned(),
        how: How::Local,
        grants,
    }
}

fn sub(name: &str) -> Scope {
    Scope::Subaccount(name.to_owned())
}

#[test]
fn each_role_may_do_each_verb_in_each_scope_as_the_table_says() {
    let rows: Vec<Vec<&str>> = EXPECTED
        .lines()
        .skip(3)
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), Verb::ALL.len());
    let mut judged = 0;
    for (row, verb) in rows.iter().zip(Verb::ALL) {
        assert_eq!(row.len(), 9, "{row:?}");
        assert_eq!(row[0], verb.word());
        for (role, marks) in Role::ALL.iter().zip(row[1..].chunks(2)) {
            for (given, mark) in [Scope::All, sub("a")].into_iter().zip(marks) {
                let who = somebody(vec![Grant {
                    role: *role,
                    scope: given.clone(),
                }]);
                for at in [Scope::All, sub("a"), sub("b")] {
                    let expected = match *mark {
                        "+" => true,
                        "a" => at == sub("a"),
                        "-" => false,
                        other => panic!("{other}"),
                    };
                    let verdict = authorize(&who, *verb, &at);
                    assert_eq!(verdict.is_ok(), expected, "{role}@{given} {verb} at {at}");
                    judged += 1;
                }
                let seen = match *mark {
                    "+" => Visible::All,
                    "a" => Visible::Some(vec!["a".to_owned()]),
                    _ => Visible::None,
                };
                assert_eq!(visible(&who, *verb), seen, "{role}@{given} {verb}");
            }
        }
    }
    assert_eq!(judged, 17 * 4 * 2 * 3);
}

#[test]
fn the_table_of_the_document_is_the_table_of_the_code() {
    let document = include_str!("../../../docs/roles.md");
    let table = adit_people::table();
    assert_eq!(table.lines().count(), 2 + Verb::ALL.len());
    assert!(
        document.contains(&table),
        "docs/roles.md should hold:\n\n{table}"
    );
}

#[test]
fn a_verb_has_one_word_and_each_role_one_name() {
    for (at, verb) in Verb::ALL.iter().enumerate() {
        assert!(
            !Verb::ALL[..at]
                .iter()
                .any(|other| other.word() == verb.word())
        );
        assert!(verb.is_for(Role::Administrator), "{verb} is for nobody");
    }
    for role in Role::ALL {
        assert_eq!(role.word().parse(), Ok(role));
        let json = serde_json::to_string(&role).unwrap();
        assert_eq!(json, format!("\"{}\"", role.word()));
    }
    assert!("Operator".parse::<Role>().is_err());
}

#[test]
fn a_denial_tells_the_verb_and_nothing_of_the_place() {
    let who = somebody(vec![Grant::in_subaccount(Role::Administrator, "a")]);
    let denials: Vec<Denied> = [sub("b"), sub("does-not-exist"), Scope::All]
        .iter()
        .map(|at| authorize(&who, Verb::RulesRead, at).unwrap_err())
        .collect();
    for denial in &denials {
        assert_eq!(denial, &denials[0]);
        assert_eq!(
            denial.to_string(),
            "`rules-read` is not granted to you here; ask an administrator for a role that has it"
        );
    }
}

#[test]
fn whoever_holds_the_setup_token_makes_a_user_and_nothing_else() {
    let setup = Principal::setup();
    for verb in Verb::ALL {
        for at in [Scope::All, sub("a")] {
            let verdict = authorize(&setup, *verb, &at);
            assert_eq!(verdict.is_ok(), *verb == Verb::UsersWrite, "{verb}");
        }
    }
    assert_eq!(
        may_grant(&setup, &[Grant::all(Role::Administrator)]),
        Ok(())
    );
    assert_eq!(visible(&setup, Verb::RulesRead), Visible::None);
}

#[test]
fn an_administrator_of_one_subaccount_gives_what_lies_wholly_in_it() {
    let who = somebody(vec![Grant::in_subaccount(Role::Administrator, "a")]);
    for role in Role::ALL {
        let inside = Grant::in_subaccount(role, "a");
        assert_eq!(may_grant(&who, std::slice::from_ref(&inside)), Ok(()));
        assert_eq!(may_read_user(&who, std::slice::from_ref(&inside)), Ok(()));
        for outside in [Grant::in_subaccount(role, "b"), Grant::all(role)] {
            for grants in [vec![outside.clone()], vec![inside.clone(), outside.clone()]] {
                assert!(may_grant(&who, &grants).is_err(), "{grants:?}");
                assert!(may_read_user(&who, &grants).is_err(), "{grants:?}");
            }
        }
    }
    assert!(may_grant(&who, &[]).is_err(), "belongs to no subaccount");
    assert!(may_read_user(&who, &[]).is_err());
    let root = somebody(vec![Grant::all(Role::Administrator)]);
    assert_eq!(may_grant(&root, &[]), Ok(()));
    assert_eq!(may_read_user(&root, &[]), Ok(()));
}

#[test]
fn only_administrators_give_and_nobody_more_than_they_hold() {
    for role in [Role::Operator, Role::Auditor, Role::Viewer] {
        let who = somebody(vec![Grant::all(role)]);
        assert!(may_grant(&who, &[Grant::all(Role::Viewer)]).is_err());
        assert!(may_grant(&who, &[Grant::in_subaccount(role, "a")]).is_err());
    }
    // Administrator of `a`, viewer of all: the viewer's part is held, and still not theirs to give.
    let who = somebody(vec![
        Grant::in_subaccount(Role::Administrator, "a"),
        Grant::all(Role::Viewer),
    ]);
    assert!(may_grant(&who, &[Grant::in_subaccount(Role::Viewer, "b")]).is_err());
    assert_eq!(
        may_grant(&who, &[Grant::in_subaccount(Role::Viewer, "a")]),
        Ok(())
    );
}

#[test]
fn what_is_narrowed_is_what_is_held() {
    let held = [
        Grant::in_subaccount(Role::Operator, "a"),
        Grant::in_subaccount(Role::Auditor, "b"),
    ];
    let wanted: Vec<Grant> = [
        "viewer@a",
        "operator@a",
        "administrator@a",
        "viewer@b",
        "operator@b",
        "viewer@c",
        "viewer@*",
    ]
    .iter()
    .map(|text| text.parse().unwrap())
    .collect();
    let left: Vec<String> = narrowed(&held, &wanted)
        .iter()
        .map(Grant::to_string)
        .collect();
    assert_eq!(left, ["viewer@a", "operator@a", "viewer@b"]);
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(Role::ALL.to_vec())
}

fn grants(names: &'static [&'static str], all: bool) -> impl Strategy<Value = Vec<Grant>> {
    let scope = (0..names.len() + usize::from(all))
        .prop_map(move |at| names.get(at).map_or(Scope::All, |name| sub(name)));
    prop::collection::vec(
        (role(), scope).prop_map(|(role, scope)| Grant { role, scope }),
        0..6,
    )
}

const A: &[&str] = &["a"];
const MANY: &[&str] = &["a", "b", "c"];

proptest! {
    #[test]
    fn whoever_has_grants_in_one_subaccount_can_do_nothing_elsewhere(
        grants in grants(A, false),
        other in "[A-Za-z0-9._-]{1,128}",
    ) {
        let who = somebody(grants);
        prop_assume!(other != "a");
        for verb in Verb::ALL {
            for at in [sub(&other), Scope::All] {
                prop_assert!(authorize(&who, *verb, &at).is_err(), "{verb} at {at}");
                prop_assert!(!visible(&who, *verb).shows(&at));
            }
            if verb.reach() == Reach::Global {
                prop_assert!(authorize(&who, *verb, &sub("a")).is_err());
            }
        }
    }

    #[test]
    fn a_list_shows_what_may_be_read_one_by_one(grants in grants(MANY, true)) {
        let who = somebody(grants);
        for verb in Verb::ALL.iter().filter(|verb| verb.reach() == Reach::Subaccount) {
            for at in ["a", "b", "c", "d"].map(sub).into_iter().chain([Scope::All]) {
                let shown = visible(&who, *verb).shows(&at);
                prop_assert_eq!(shown, authorize(&who, *verb, &at).is_ok());
            }
        }
    }

    #[test]
    fn whoever_is_given_something_may_not_more_than_the_giver(
        giver in grants(MANY, true),
        given in grants(MANY, true),
    ) {
        let giver = somebody(giver);
        if may_grant(&giver, &given).is_ok() {
            let taker = somebody(given);
            for verb in Verb::ALL {
                for at in ["a", "b", "c", "d"].map(sub).into_iter().chain([Scope::All]) {
                    if authorize(&taker, *verb, &at).is_ok() {
                        prop_assert!(authorize(&giver, *verb, &at).is_ok(), "{verb} at {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_narrowed_may_not_more_than_either(
        held in grants(MANY, true),
        wanted in grants(MANY, true),
    ) {
        let left = somebody(narrowed(&held, &wanted));
        let (held, wanted) = (somebody(held), somebody(wanted));
        for verb in Verb::ALL {
            for at in ["a", "b", "c"].map(sub).into_iter().chain([Scope::All]) {
                if authorize(&left, *verb, &at).is_ok() {
                    prop_assert!(authorize(&held, *verb, &at).is_ok());
                    prop_assert!(authorize(&wanted, *verb, &at).is_ok());
                }
            }
        }
    }

    #[test]
    fn a_grant_reads_back_from_text_and_from_json(grants in grants(MANY, true)) {
        for grant in grants {
            prop_assert_eq!(grant.to_string().parse::<Grant>(), Ok(grant.clone()));
            let json = serde_json::to_string(&grant).unwrap();
            prop_assert_eq!(serde_json::from_str::<Grant>(&json).unwrap(), grant);
        }
    }
}
