//! Who sees, makes and changes which users and tokens; and when what somebody shows counts no more.

use adit_people::bearer::is_label;
use adit_people::limits::API_TOKEN_LIFE_S_MAX;

use super::*;

/// A user with these grants and no password.
async fn granted(members: &Members, name: &str, grants: &[&str]) -> Principal {
    let name = UserName::from_str(name).unwrap();
    let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
    let user = User::new(name, None, grants, clock::unix_s());
    let key = keys::user(&user.name);
    let txn = Txn::new().put(key, keys::write(&user));
    members.store.commit(&txn).await.unwrap();
    user.principal().unwrap()
}

fn grant_in(role: api::Role, subaccount: &str) -> api::Grant {
    api::Grant {
        role,
        scope: api::Scope::Subaccount(subaccount.to_owned()),
    }
}

fn new_token(label: &str, days: u64) -> api::NewToken {
    api::NewToken {
        label: label.to_owned(),
        days,
    }
}

#[tokio::test]
async fn s09_what_somebody_may_not_see_of_users_is_not_there_for_them_and_what_they_see_they_may_not_all_change()
 {
    let (_folder, members) = members().await;
    granted(&members, "root", &["administrator@*"]).await;
    let ann = granted(&members, "ann", &["administrator@a"]).await;
    let aud = granted(&members, "aud", &["auditor@a"]).await;
    granted(&members, "bea", &["operator@b"]).await;
    granted(&members, "op", &["operator@a"]).await;
    let names = async |of: &Principal| -> Vec<String> {
        let (seen, next) = members.list(of, None, 10).await.unwrap();
        assert_eq!(next, None);
        seen.into_iter().map(|user| user.name).collect()
    };
    assert_eq!(names(&ann).await, ["ann", "aud", "op"]);
    assert_eq!(names(&aud).await, ["ann", "aud", "op"]);
    let base = members.found("op").await.unwrap().1;
    for hidden in ["bea", "root", "nobody"] {
        let got = members.get(&ann, hidden).await;
        assert!(matches!(got, Err(Trouble::NotFound(_))), "{got:?}");
        let removed = members.remove(&by(), &ann, hidden, base).await;
        assert!(matches!(removed, Err(Trouble::NotFound(_))), "{removed:?}");
    }
    members.get(&aud, "op").await.unwrap();
    let removed = members.remove(&by(), &aud, "op", base).await;
    assert!(matches!(removed, Err(Trouble::Denied(_))), "{removed:?}");

    // More than one has is given to nobody, nor what counts elsewhere.
    let more = [
        grant_in(api::Role::Viewer, "b"),
        api::Grant {
            role: api::Role::Viewer,
            scope: api::Scope::All,
        },
    ];
    for grant in more {
        let wish = api::NewUser {
            name: "eve".to_owned(),
            password: Some("correct horse battery".to_owned()),
            certificate: false,
            grants: vec![grant.clone()],
        };
        let made = members.create(&by(), &ann, wish).await;
        assert!(matches!(made, Err(Trouble::Denied(_))), "{made:?}");
        let wish = api::UserChange {
            grants: Some(vec![grant]),
            ..api::UserChange::default()
        };
        let changed = members.change(&by(), &ann, "op", base, wish).await;
        assert!(matches!(changed, Err(Trouble::Denied(_))), "{changed:?}");
    }
    let disabled = || api::UserChange {
        disabled: Some(true),
        ..api::UserChange::default()
    };
    let stale = members.found("ann").await.unwrap().1;
    let changed = members.change(&by(), &ann, "op", stale, disabled()).await;
    assert!(matches!(changed, Err(Trouble::Stale(_))), "{changed:?}");
    let changed = members.change(&by(), &ann, "op", base, disabled()).await;
    changed.unwrap();
}

#[tokio::test]
async fn nobody_changes_what_they_may_do_themselves_and_a_person_of_an_issuer_is_no_user_of_that_name()
 {
    let (_folder, members) = members().await;
    let ada = granted(&members, "ada", &["administrator@*"]).await;
    let base = members.found("ada").await.unwrap().1;
    let program = Principal {
        how: How::ApiToken {
            label: "ci".to_owned(),
        },
        ..ada.clone()
    };
    let less = || api::UserChange {
        grants: Some(vec![grant_in(api::Role::Viewer, "a")]),
        ..api::UserChange::default()
    };
    for own in [&ada, &program] {
        let changed = members.change(&by(), own, "ada", base, less()).await;
        assert!(matches!(changed, Err(Trouble::Conflict(_))), "{changed:?}");
        let removed = members.remove(&by(), own, "ada", base).await;
        assert!(matches!(removed, Err(Trouble::Conflict(_))), "{removed:?}");
    }
    members
        .new_token(&by(), &ada, new_token("ci", 1))
        .await
        .unwrap();
    let how = How::Oidc {
        issuer: "https://id.example".to_owned(),
    };
    let namesake = Principal {
        name: "ada".to_owned(),
        how: how.clone(),
        grants: vec!["viewer@a".parse().unwrap()],
    };
    let seen = members.tokens(&namesake, None, 10).await.unwrap().0;
    assert!(seen.is_empty(), "{seen:?}");
    let made = members
        .new_token(&by(), &namesake, new_token("ci", 1))
        .await;
    assert!(matches!(made, Err(Trouble::Denied(_))), "{made:?}");
    let other_administrator = Principal { how, ..ada };
    members
        .change(&by(), &other_administrator, "ada", base, less())
        .await
        .unwrap();
}

#[tokio::test]
async fn s09_a_token_is_made_by_who_has_logged_in_and_ended_by_who_may_change_its_user() {
    let (_folder, members) = members().await;
    let root = granted(&members, "root", &["administrator@*"]).await;
    let aud = granted(&members, "aud", &["auditor@a"]).await;
    let bea = granted(&members, "bea", &["administrator@b"]).await;
    let op = granted(&members, "op", &["operator@a"]).await;
    let most = API_TOKEN_LIFE_S_MAX / 86_400;
    let longest = "l".repeat(adit_people::limits::LABEL_BYTES_MAX);
    assert!(is_label(&longest));
    for (label, days) in [
        ("ci", 0),
        ("ci", most + 1),
        ("ci", u64::MAX),
        ("", 1),
        ("a\u{1b}b", 1),
        (&format!("{longest}l"), 1),
    ] {
        let made = members.new_token(&by(), &op, new_token(label, days)).await;
        assert!(matches!(made, Err(Trouble::Invalid(_))), "{label} {made:?}");
    }
    let token = members
        .new_token(&by(), &op, new_token(&longest, most))
        .await;
    let secret = token.unwrap().token;
    // A token makes no further one, which would outlive it.
    let program = members.known(&secret).await.unwrap().principal;
    let made = members.new_token(&by(), &program, new_token("ci", 1)).await;
    assert!(matches!(made, Err(Trouble::Denied(_))), "{made:?}");

    let id = members.tokens(&root, None, 10).await.unwrap().0[0]
        .id
        .clone();
    assert!(is_id(&id));
    for other in [
        "",
        "0123456789abcde",
        "0123456789abcdefa",
        "0123456789ABCDEF",
        "0123456789abcdeg",
    ] {
        assert!(!is_id(other), "{other}");
    }
    assert!(members.tokens(&bea, None, 10).await.unwrap().0.is_empty());
    let ended = members.revoke_token(&by(), &bea, &id).await;
    assert!(matches!(ended, Err(Trouble::NotFound(_))), "{ended:?}");
    assert_eq!(members.tokens(&aud, None, 10).await.unwrap().0.len(), 1);
    let ended = members.revoke_token(&by(), &aud, &id).await;
    assert!(matches!(ended, Err(Trouble::Denied(_))), "{ended:?}");
    members.known(&secret).await.unwrap();
    members.revoke_token(&by(), &program, &id).await.unwrap();
    assert!(members.known(&secret).await.is_err());
}

#[tokio::test]
async fn what_somebody_of_the_same_name_had_before_counts_no_more_and_is_not_shown() {
    let (_folder, members) = members().await;
    let before = user(&members, "ada").await;
    let login = open(&members, &before).await.unwrap();
    let principal = before.principal().unwrap();
    let token = members
        .new_token(&by(), &principal, new_token("ci", 1))
        .await;
    let token = token.unwrap().token;
    clock::stop_at(TODAY + 1);
    // As a server that was killed between taking the user away and taking the bearers away leaves it.
    granted(&members, "ada", &["administrator@*"]).await;
    for secret in [&login, &token] {
        let refused = members.known(secret).await;
        assert!(
            matches!(refused, Err(Trouble::Unauthenticated(_))),
            "{refused:?}"
        );
    }
    let seen = members.tokens(&principal, None, 10).await.unwrap().0;
    assert!(seen.is_empty(), "{seen:?}");
}

#[tokio::test]
async fn a_login_ends_with_logout_and_a_disabled_user_gets_none() {
    const PASSWORD: &str = "correct horse battery";
    let (_folder, members) = members().await;
    logged_in(&members, "ada", PASSWORD).await;
    let log_in = async || {
        let wish = api::Login {
            user: "ada".to_owned(),
            password: PASSWORD.to_owned(),
        };
        members.log_in(wish, SOURCE, "").await
    };
    let change = async |known: &Known| {
        let wish = api::PasswordChange {
            old: PASSWORD.to_owned(),
            new: PASSWORD.to_owned(),
        };
        members.change_password(&by(), known, wish, SOURCE).await
    };
    // Whoever knows the password is not kept from it by how often, and is who they were, shown as it is.
    let token = log_in().await.unwrap().token;
    for _ in 0..=adit_people::limits::FAILURES_PER_USER_MAX {
        let this = members.known(&token).await.unwrap();
        change(&this).await.unwrap();
    }
    let this = members.known(&token).await.unwrap();
    members.log_out(&by(), &this).await.unwrap();
    assert!(members.known(&token).await.is_err());
    // It does not come back with a new password either, asked for a moment before.
    let gone = change(&this).await;
    assert!(matches!(gone, Err(Trouble::Stale(_))), "{gone:?}");

    let token = log_in().await.unwrap().token;
    let (mut ada, _) = members.found("ada").await.unwrap();
    ada.disabled = true;
    let txn = Txn::new().put(keys::user(&ada.name), keys::write(&ada));
    members.store.commit(&txn).await.unwrap();
    assert!(members.known(&token).await.is_err());
    let refused = log_in().await;
    assert!(
        matches!(refused, Err(Trouble::Unauthenticated(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_setup_token_is_neither_made_nor_used_where_there_are_users_and_guessing_it_waits() {
    let (_folder, members) = members().await;
    let token = members.setup_token("cp-1").await.unwrap().unwrap();
    let set_up = async |token: &str| {
        let wish = api::Setup {
            token: token.to_owned(),
            user: "eve".to_owned(),
            password: "correct horse battery".to_owned(),
        };
        members.set_up(wish, SOURCE, "").await
    };
    granted(&members, "ada", &["administrator@*"]).await;
    assert_eq!(members.setup_token("cp-1").await.unwrap(), None);
    let mut answers = Vec::new();
    for _ in 0..=adit_people::limits::FAILURES_PER_USER_MAX {
        let refused = set_up(&token).await.unwrap_err();
        answers.push(matches!(refused, Trouble::Throttled { .. }));
    }
    assert_eq!(answers.first(), Some(&false));
    assert_eq!(answers.last(), Some(&true), "{answers:?}");
    assert!(
        members
            .user(&UserName::from_str("eve").unwrap())
            .await
            .unwrap()
            .is_none()
    );
}

#[test]
fn grants_max_grants_are_taken_and_one_more_is_not_nor_one_of_what_can_be_no_subaccount() {
    let many = |count: usize| -> Vec<api::Grant> {
        let one = |number| grant_in(api::Role::Viewer, &format!("s-{number}"));
        (0..count).map(one).collect()
    };
    assert_eq!(grants(&many(GRANTS_MAX)).unwrap().len(), GRANTS_MAX);
    let refused = grants(&many(GRANTS_MAX + 1));
    assert!(matches!(refused, Err(Trouble::Invalid(_))), "{refused:?}");
    for name in ["", "*", "a/b", "..", "a b"] {
        let refused = grants(&[grant_in(api::Role::Viewer, name)]);
        assert!(
            matches!(refused, Err(Trouble::Invalid(_))),
            "{name} {refused:?}"
        );
    }
}
