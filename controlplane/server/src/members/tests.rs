//! Goes to the borders of logins, tokens, the setup and hashing.
//! Who may do what is `people`'s test.

use std::net::Ipv4Addr;
use std::pin::pin;

use tokio::time::timeout;

use adit_people::bearer::{Login, LoginKind};

use super::*;
use crate::limits::{BEARERS_MAX, BEARERS_OF_ONE_MAX, LOGIN_LIFE, TOKENS_OF_ONE_MAX};
use crate::test_world::{add_member, by, empty_store, put_all};

mod scopes;

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// When these tests take place, in unix seconds.
const TODAY: u64 = 1_900_000_000;

async fn members() -> (tempfile::TempDir, Members) {
    let (folder, store) = empty_store().await;
    let acts = Acts::new(Arc::clone(&store));
    clock::stop_at(TODAY);
    (folder, Members::new(store, acts, None))
}

/// A user who has no password, so that nothing slow is done.
async fn user(members: &Members, name: &str) -> User {
    let name = UserName::from_str(name).unwrap();
    let grants = vec![Grant::all(Role::Administrator)];
    let user = User::new(name, None, grants, TODAY);
    let key = keys::user(&user.name);
    let txn = Txn::new().put(key, keys::write(&user));
    members.store.commit(&txn).await.unwrap();
    user
}

async fn token_of(members: &Members, principal: &Principal) -> Result<api::Token, Trouble> {
    let wish = api::NewToken {
        label: "ci".to_owned(),
        days: 1,
    };
    members.new_token(&by(), principal, wish).await
}

fn login_of(name: &str) -> Bearer {
    Bearer::Login(Login {
        user: UserName::from_str(name).unwrap(),
        password_version: 0,
        kind: LoginKind::CommandLine,
        created_unix_s: TODAY,
        expires_unix_s: TODAY + 60,
    })
}

async fn open(members: &Members, user: &User) -> Result<String, Trouble> {
    members.open_login(user, "").await.map(|token| token.token)
}

#[tokio::test]
async fn a_login_counts_until_login_life_is_over_and_not_a_second_longer() {
    let (_folder, members) = members().await;
    let ada = user(&members, "ada").await;
    let token = open(&members, &ada).await.unwrap();
    clock::stop_at(TODAY + LOGIN_LIFE.as_secs() - 1);
    let known = members.known(&token).await.unwrap();
    assert_eq!(known.principal.name, "ada");
    clock::stop_at(TODAY + LOGIN_LIFE.as_secs());
    let refused = members.known(&token).await.unwrap_err();
    assert!(
        matches!(refused, Trouble::Unauthenticated(_)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_setup_token_counts_until_setup_life_is_over_and_not_a_second_longer() {
    let (_folder, members) = members().await;
    let token = members.setup_token("cp-1").await.unwrap().unwrap();
    let set_up = async || {
        let wish = api::Setup {
            token: token.clone(),
            user: "ada".to_owned(),
            password: "correct horse battery".to_owned(),
        };
        members.set_up(wish, SOURCE, "").await
    };
    clock::stop_at(TODAY + SETUP_LIFE.as_secs());
    let refused = set_up().await.unwrap_err();
    assert!(
        matches!(refused, Trouble::Unauthenticated(_)),
        "{refused:?}"
    );
    clock::stop_at(TODAY + SETUP_LIFE.as_secs() - 1);
    assert_eq!(set_up().await.unwrap().user, "ada");
}

#[tokio::test]
async fn bearers_of_one_max_logins_are_open_and_with_one_more_the_oldest_ends() {
    let (_folder, members) = members().await;
    let ada = user(&members, "ada").await;
    let mut tokens: Vec<String> = Vec::new();
    for second in 0..=BEARERS_OF_ONE_MAX {
        if second == BEARERS_OF_ONE_MAX {
            members.known(&tokens[0]).await.unwrap();
        }
        clock::stop_at(TODAY + u64::try_from(second).unwrap());
        tokens.push(open(&members, &ada).await.unwrap());
    }
    let refused = members.known(&tokens[0]).await.unwrap_err();
    assert!(
        matches!(refused, Trouble::Unauthenticated(_)),
        "{refused:?}"
    );
    for token in &tokens[1..] {
        members.known(token).await.unwrap();
    }
}

#[tokio::test]
async fn tokens_of_one_max_may_be_made_and_no_more_since_their_owner_would_be_locked_out() {
    let (_folder, members) = members().await;
    let ada = user(&members, "ada").await;
    let principal = ada.principal().unwrap();
    let make = async || token_of(&members, &principal).await;
    for _ in 0..TOKENS_OF_ONE_MAX {
        make().await.unwrap();
    }
    let refused = make().await.unwrap_err();
    assert!(matches!(refused, Trouble::Conflict(_)), "{refused:?}");
    // A login is still to be had, and the next one takes its place.
    let first = open(&members, &ada).await.unwrap();
    let second = open(&members, &ada).await.unwrap();
    members.known(&second).await.unwrap();
    let refused = members.known(&first).await.unwrap_err();
    assert!(
        matches!(refused, Trouble::Unauthenticated(_)),
        "{refused:?}"
    );
    let grace = user(&members, "grace").await;
    open(&members, &grace).await.unwrap();
}

#[tokio::test]
async fn bearers_max_logins_may_be_open_and_one_more_may_not_until_others_end() {
    let (_folder, members) = members().await;
    let ada = user(&members, "ada").await;
    let others: Vec<_> = (1..BEARERS_MAX)
        .map(|number| {
            let login = login_of(&format!("user-{}", number / 50));
            (keys::bearer(&format!("{number:064x}")), keys::write(&login))
        })
        .collect();
    put_all(&*members.store, &others).await;
    open(&members, &ada).await.unwrap();
    let refused = open(&members, &ada).await.unwrap_err();
    assert!(matches!(refused, Trouble::Conflict(_)), "{refused:?}");
    // One of them ends.
    let (ended, _) = others.first().unwrap();
    let txn = Txn::new().delete(ended.clone());
    members.store.commit(&txn).await.unwrap();
    open(&members, &ada).await.unwrap();
}

#[tokio::test]
async fn r15_what_only_a_newer_version_knows_counts_as_open_and_is_its_owners() {
    let (_folder, members) = members().await;
    let ada = user(&members, "ada").await;
    let principal = ada.principal().unwrap();
    let make = async || token_of(&members, &principal).await;
    make().await.unwrap();
    let all = scan::all(&*members.store, &keys::bearers()).await.unwrap();
    add_member(&*members.store, &all[0].key, "/api-token").await;
    for _ in 1..TOKENS_OF_ONE_MAX {
        make().await.unwrap();
    }
    let refused = make().await.unwrap_err();
    assert!(matches!(refused, Trouble::Conflict(_)), "{refused:?}");
    // It is not among those that are shown, and whoever names it hears why.
    let (shown, _) = members.tokens(&principal, None, 100).await.unwrap();
    assert_eq!(shown.len(), TOKENS_OF_ONE_MAX - 1);
    let hash = all[0].key.as_str().strip_prefix("bearers/").unwrap();
    let refused = members.revoke_token(&by(), &principal, &hash[..16]).await;
    let newer = matches!(
        refused,
        Err(Trouble::Store(adit_store::Error::Newer { .. }))
    );
    assert!(newer, "{refused:?}");

    // Of one that is of another shape nobody here says whose it is. It is one all the same.
    let foreign = adit_store::Value::from(r#"{"passkey":{}}"#);
    let mut others: Vec<_> = (TOKENS_OF_ONE_MAX + 1..BEARERS_MAX)
        .map(|number| {
            let login = login_of(&format!("user-{}", number / 50));
            (keys::bearer(&format!("{number:064x}")), keys::write(&login))
        })
        .collect();
    others.push((keys::bearer(&"f".repeat(64)), foreign));
    put_all(&*members.store, &others).await;
    let refused = open(&members, &ada).await.unwrap_err();
    assert!(matches!(refused, Trouble::Conflict(_)), "{refused:?}");
    let txn = Txn::new().delete(others[0].0.clone());
    members.store.commit(&txn).await.unwrap();
    open(&members, &ada).await.unwrap();
}

#[tokio::test]
async fn who_was_taken_away_is_said_to_be_gone_whatever_comes_of_what_they_had_open() {
    let (_folder, members) = members().await;
    user(&members, "eve").await;
    let console = Principal::console();
    let revision = members.get(&console, "eve").await.unwrap().1;
    let damaged = adit_store::Value::from("{");
    put_all(&*members.store, &[(keys::bearer("00"), damaged)]).await;
    let removed = members.remove(&by(), &console, "eve", revision).await;
    removed.unwrap();
    let gone = members.get(&console, "eve").await;
    assert!(matches!(gone, Err(Trouble::NotFound(_))), "{gone:?}");
}

#[tokio::test]
async fn hashers_max_passwords_are_hashed_at_one_time_and_one_more_waits() {
    let (_folder, members) = members().await;
    let log_in = async || {
        let wish = api::Login {
            user: "nobody".to_owned(),
            password: "correct horse battery".to_owned(),
        };
        members.log_in(wish, SOURCE, "").await
    };
    let others = u32::try_from(HASHERS_MAX - 1).unwrap();
    let _others = members.hashers.try_acquire_many(others).unwrap();
    let soon = Duration::from_secs(30);
    let answer = timeout(soon, log_in()).await.unwrap();
    assert!(matches!(answer, Err(Trouble::Unauthenticated(_))));
    let last = members.hashers.try_acquire().unwrap();
    let mut waiting = pin!(log_in());
    // Twenty times as long as hashing takes.
    let early = timeout(Duration::from_secs(1), waiting.as_mut()).await;
    assert!(early.is_err(), "it did not wait");
    drop(last);
    let answer = timeout(soon, waiting).await.unwrap();
    assert!(matches!(answer, Err(Trouble::Unauthenticated(_))));
}

/// A user with this password, logged in.
async fn logged_in(members: &Members, name: &str, password: &str) -> Known {
    let mut ada = user(members, name).await;
    let hash = members.hash(password.to_owned(), ada.name.clone()).await;
    ada.set_password(Some(hash.unwrap()), TODAY);
    let key = keys::user(&ada.name);
    let txn = Txn::new().put(key, keys::write(&ada));
    members.store.commit(&txn).await.unwrap();
    let token = open(members, &ada).await.unwrap();
    members.known(&token).await.unwrap()
}

#[tokio::test]
async fn who_changes_their_password_goes_on_and_their_other_logins_end() {
    const OLD: &str = "correct horse battery";
    const NEW: &str = "staple battery horse";
    let (_folder, members) = members().await;
    let known = logged_in(&members, "ada", OLD).await;
    let log_in = async |password: &str| {
        let wish = api::Login {
            user: "ada".to_owned(),
            password: password.to_owned(),
        };
        members.log_in(wish, SOURCE, "").await
    };
    let other = log_in(OLD).await.unwrap().token;
    let wish = api::NewToken {
        label: "ci".to_owned(),
        days: 1,
    };
    let program = members.new_token(&by(), &known.principal, wish).await;
    let program = program.unwrap().token;
    let change = async |old: &str, new: &str| {
        let wish = api::PasswordChange {
            old: old.to_owned(),
            new: new.to_owned(),
        };
        members.change_password(&by(), &known, wish, SOURCE).await
    };
    let wrong = change(NEW, NEW).await;
    assert!(matches!(wrong, Err(Trouble::Denied(_))), "{wrong:?}");
    let short = change(OLD, "short").await;
    assert!(matches!(short, Err(Trouble::Invalid(_))), "{short:?}");
    members.known(&other).await.unwrap();
    change(OLD, NEW).await.unwrap();
    let refused = members.known(&other).await.unwrap_err();
    assert!(
        matches!(refused, Trouble::Unauthenticated(_)),
        "{refused:?}"
    );
    members.known(&program).await.unwrap();
    let refused = log_in(OLD).await.unwrap_err();
    assert!(
        matches!(refused, Trouble::Unauthenticated(_)),
        "{refused:?}"
    );
    log_in(NEW).await.unwrap();
    // Whoever asked goes on with what they have, and may change it again.
    change(NEW, OLD).await.unwrap();
    // A program has no password, whosever it is.
    let program = members.known(&program).await.unwrap();
    let wish = api::PasswordChange {
        old: OLD.to_owned(),
        new: NEW.to_owned(),
    };
    let refused = members
        .change_password(&by(), &program, wish, SOURCE)
        .await
        .unwrap_err();
    assert!(matches!(refused, Trouble::Denied(_)), "{refused:?}");
}

#[tokio::test]
async fn who_guesses_the_old_password_waits_as_at_a_login() {
    let (_folder, members) = members().await;
    let known = logged_in(&members, "ada", "correct horse battery").await;
    let mut answers = Vec::new();
    for _ in 0..=adit_people::limits::FAILURES_PER_USER_MAX {
        let wish = api::PasswordChange {
            old: "wrong wrong wrong".to_owned(),
            new: "staple battery horse".to_owned(),
        };
        let answer = members.change_password(&by(), &known, wish, SOURCE).await;
        answers.push(matches!(answer, Err(Trouble::Throttled { .. })));
    }
    assert_eq!(answers.last(), Some(&true), "{answers:?}");
    assert_eq!(answers.first(), Some(&false), "{answers:?}");
    let wish = api::Login {
        user: "ada".to_owned(),
        password: "correct horse battery".to_owned(),
    };
    let login = members.log_in(wish, SOURCE, "").await;
    assert!(matches!(login, Err(Trouble::Throttled { .. })), "{login:?}");
}

#[tokio::test]
async fn a_token_is_listed_by_an_id_that_is_no_secret_and_revoked_by_it() {
    let (_folder, members) = members().await;
    let ada = user(&members, "ada").await.principal().unwrap();
    let grace = user(&members, "grace").await.principal().unwrap();
    let mut secrets = Vec::new();
    for owner in [&ada, &ada, &grace] {
        let wish = api::NewToken {
            label: format!("ci of {}", owner.name),
            days: 1,
        };
        let token = members.new_token(&by(), owner, wish).await.unwrap().token;
        secrets.push(token);
    }
    let (all, next) = members.tokens(&ada, None, 10).await.unwrap();
    assert_eq!((all.len(), next), (3, None));
    assert!(all.windows(2).all(|two| two[0].id < two[1].id));
    let shown = format!("{all:?}");
    for secret in &secrets {
        let bare = secret.strip_prefix("adit_t_").unwrap();
        assert!(!shown.contains(bare), "{shown}");
        members.known(secret).await.unwrap();
    }
    // Page by page.
    let (first, next) = members.tokens(&ada, None, 2).await.unwrap();
    let (rest, end) = members.tokens(&ada, next.as_deref(), 2).await.unwrap();
    assert_eq!([first, rest].concat(), all);
    assert_eq!(end, None);
    for token in &all {
        members.revoke_token(&by(), &ada, &token.id).await.unwrap();
        let again = members.revoke_token(&by(), &ada, &token.id).await;
        assert!(matches!(again, Err(Trouble::NotFound(_))), "{again:?}");
    }
    for secret in &secrets {
        assert!(members.known(secret).await.is_err());
    }
    // One that has ended is not there either.
    let wish = api::NewToken {
        label: "ci".to_owned(),
        days: 1,
    };
    members.new_token(&by(), &ada, wish).await.unwrap();
    clock::stop_at(TODAY + 86_399);
    assert_eq!(members.tokens(&ada, None, 10).await.unwrap().0.len(), 1);
    clock::stop_at(TODAY + 86_400);
    assert!(members.tokens(&ada, None, 10).await.unwrap().0.is_empty());
}
