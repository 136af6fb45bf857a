//! Users, their passwords and their secrets, from making to end; and the limits of names.

use adit_people::bearer::{
    ApiToken, Kind, Login, LoginKind, NotASecret, SECRET_BYTES, Secret, SecretHash, Setup, is_label,
};
use adit_people::limits::{
    API_TOKEN_LIFE_S_MAX, GRANTS_MAX, LABEL_BYTES_MAX, SUBACCOUNT_BYTES_MAX, USER_NAME_BYTES_MAX,
};
use adit_people::password::{PasswordHash, verify};
use adit_people::{Grant, How, Principal, Role, Scope, User, UserName};
use ring::rand::SystemRandom;

const NOW: u64 = 1_800_000_000;
const PASSWORD: &str = "canary-of-the-mine-12";

fn user() -> User {
    let name: UserName = "ada".parse().expect("a good name and password");
    let hash =
        PasswordHash::new(PASSWORD, &name, &SystemRandom::new()).expect("a good name and password");
    let grants = vec![Grant::in_subaccount(Role::Operator, "a")];
    User::new(name, Some(hash), grants, NOW)
}

#[test]
fn a_user_reads_back_from_the_store_and_the_password_still_fits() {
    let user = user();
    let json = serde_json::to_string(&user).unwrap();
    let back: User = serde_json::from_str(&json).unwrap();
    assert_eq!(back, user);
    assert!(verify(PASSWORD, back.password.as_ref()));
    assert!(!verify("canary-of-the-mine-13", back.password.as_ref()));
    assert!(!json.contains(PASSWORD));
    let more = json.replacen("\"disabled\"", "\"master\":true,\"disabled\"", 1);
    assert!(serde_json::from_str::<User>(&more).is_err());
}

#[test]
fn no_debug_shows_a_secret() {
    let user = user();
    let stored = String::from(user.password.clone().unwrap());
    let random = *b"canary canary canary canary can!";
    let mut shown = vec![format!("{user:?}"), format!("{:?}", user.principal())];
    for kind in Kind::ALL {
        let secret = Secret::new(kind, random);
        shown.push(format!("{secret:?}"));
        shown.push(format!("{:?}", Secret::parse(&secret.reveal())));
        shown.push(format!("{secret:#?}"));
        let cut = secret.reveal();
        let wrong = Secret::parse(&cut[..cut.len() - 1]).unwrap_err();
        shown.push(format!("{wrong:?} {wrong}"));
    }
    let broken = stored.replacen("argon2id", "argon2i", 1);
    shown.push(format!("{:?}", PasswordHash::try_from(broken)));
    let text = Secret::new(Kind::Login, random).reveal();
    let tail = text.strip_prefix("adit_s_").unwrap();
    let parts: Vec<&str> = stored.split('$').filter(|part| part.len() > 20).collect();
    assert_eq!(parts.len(), 2, "salt and tag");
    for shown in shown {
        for secret in [PASSWORD, "canary", tail].iter().chain(&parts) {
            assert!(!shown.contains(*secret), "{shown}");
        }
    }
}

#[test]
fn a_secret_has_one_spelling() {
    for kind in Kind::ALL {
        let text = Secret::new(kind, [0xfb; SECRET_BYTES]).reveal();
        let tail = "-_v7".repeat(10) + "-_s";
        assert_eq!(text, format!("{}{tail}", kind.prefix()));
        let back = Secret::parse(&text).unwrap();
        assert_eq!((back.kind(), back.reveal()), (kind, text.clone()));
        let wrong = [
            String::new(),
            kind.prefix().to_owned(),
            tail.clone(),
            format!(" {text}"),
            format!("{text} "),
            format!("{text}="),
            format!("{text}A"),
            text[..text.len() - 1].to_owned(),
            text.to_uppercase(),
            text.replace('-', "+").replace("__", "_/"),
            // The last character's spare bits.
            format!("{}t", &text[..text.len() - 1]),
        ];
        for wrong in wrong {
            assert_eq!(Secret::parse(&wrong).err(), Some(NotASecret), "{wrong}");
        }
    }
}

#[test]
fn the_hash_is_of_the_whole_text_and_reads_back() {
    let secret = Secret::new(Kind::Login, [0; SECRET_BYTES]);
    let text = format!("adit_s_{}", "A".repeat(43));
    assert_eq!(secret.reveal(), text);
    let expected = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let hex: String = expected
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let hash = secret.hash();
    assert_eq!(hash.to_string(), hex);
    assert_eq!(hex.parse(), Ok(hash));
    assert_ne!(Secret::new(Kind::ApiToken, [0; SECRET_BYTES]).hash(), hash);
    let json = serde_json::to_string(&hash).unwrap();
    assert_eq!(serde_json::from_str::<SecretHash>(&json).unwrap(), hash);
    for wrong in [
        hex.to_uppercase(),
        hex[..63].to_owned(),
        format!("{hex}0"),
        hex.replace(&hex[..1], "g"),
    ] {
        assert!(wrong.parse::<SecretHash>().is_err(), "{wrong}");
    }
    let random = SystemRandom::new();
    let fresh = |kind| Secret::fresh(kind, &random).unwrap().hash();
    assert_ne!(fresh(Kind::Setup), fresh(Kind::Setup));
}

#[test]
fn a_login_ends_by_time_by_a_new_password_and_by_disabling() {
    let mut user = user();
    let login = Login::new(&user, LoginKind::Browser, NOW, 600);
    let json = serde_json::to_string(&login).unwrap();
    assert_eq!(serde_json::from_str::<Login>(&json).unwrap(), login);
    let ada = Principal {
        name: "ada".to_owned(),
        how: How::Local,
        grants: user.grants.clone(),
    };
    assert_eq!(login.principal(&user, NOW), Some(ada.clone()));
    assert_eq!(login.principal(&user, NOW + 599), Some(ada));
    assert_eq!(login.principal(&user, NOW + 600), None);

    user.grants.clear();
    assert_eq!(
        login.principal(&user, NOW).unwrap().grants,
        [],
        "as they are now"
    );
    user.disabled = true;
    assert_eq!(login.principal(&user, NOW), None);
    user.disabled = false;
    let mut other = user.clone();
    other.name = "eve".parse().unwrap();
    assert_eq!(login.principal(&other, NOW), None);
    let same = user.password.clone();
    user.set_password(same, NOW + 1);
    assert_eq!((user.password_version, user.changed_unix_s), (1, NOW + 1));
    assert_eq!(login.principal(&user, NOW), None);
}

#[test]
fn an_api_token_never_may_more_than_its_owner_now() {
    let mut user = user();
    let mut token = ApiToken {
        user: user.name.clone(),
        label: "ci".to_owned(),
        grants: Some(vec![
            Grant::in_subaccount(Role::Viewer, "a"),
            Grant::in_subaccount(Role::Administrator, "a"),
        ]),
        created_unix_s: NOW,
        expires_unix_s: NOW + 10,
    };
    let json = serde_json::to_string(&token).unwrap();
    assert_eq!(serde_json::from_str::<ApiToken>(&json).unwrap(), token);
    let who = token.principal(&user, NOW + 9).unwrap();
    assert_eq!(who.grants, [Grant::in_subaccount(Role::Viewer, "a")]);
    assert_eq!(
        who.how,
        How::ApiToken {
            label: "ci".to_owned()
        }
    );
    assert_eq!(who.to_string(), "api-token:ada");
    assert_eq!(token.principal(&user, NOW + 10), None);

    token.grants = None;
    assert_eq!(token.principal(&user, NOW).unwrap().grants, user.grants);
    token.expires_unix_s = u64::MAX;
    assert!(
        token
            .principal(&user, NOW + API_TOKEN_LIFE_S_MAX - 1)
            .is_some()
    );
    assert_eq!(token.principal(&user, NOW + API_TOKEN_LIFE_S_MAX), None);
    let mut eve = user.clone();
    eve.name = "eve".parse().unwrap();
    assert_eq!(token.principal(&eve, NOW), None);
    user.disabled = true;
    assert_eq!(token.principal(&user, NOW), None);
}

#[test]
fn the_setup_token_counts_once_known_and_in_time() {
    let secret = Secret::new(Kind::Setup, [7; SECRET_BYTES]);
    let setup = Setup {
        hash: secret.hash(),
        created_unix_s: NOW,
        expires_unix_s: NOW + 900,
    };
    assert_eq!(
        setup.principal(&secret, NOW + 899),
        Some(Principal::setup())
    );
    assert_eq!(setup.principal(&secret, NOW + 900), None);
    let other = Secret::new(Kind::Setup, [8; SECRET_BYTES]);
    assert_eq!(setup.principal(&other, NOW), None);
    let login = Secret::new(Kind::Login, [7; SECRET_BYTES]);
    let disguised = Setup {
        hash: login.hash(),
        ..setup
    };
    assert_eq!(disguised.principal(&login, NOW), None);
}

#[test]
fn names_of_users_have_one_spelling_and_a_limit() {
    for good in ["a", "0", "ada.lovelace+x@example-1.org", "a_b"] {
        assert_eq!(good.parse::<UserName>().unwrap().as_str(), good);
    }
    for bad in [
        "", "Ada", "a b", "-a", "a.", "ädä", "a:b", "a/b", "a\n", "*",
    ] {
        assert!(bad.parse::<UserName>().is_err(), "{bad:?}");
    }
    assert!("a".repeat(USER_NAME_BYTES_MAX).parse::<UserName>().is_ok());
    assert!(
        "a".repeat(USER_NAME_BYTES_MAX + 1)
            .parse::<UserName>()
            .is_err()
    );
    assert!(serde_json::from_str::<UserName>("\"Ada\"").is_err());
}

#[test]
fn subaccounts_labels_and_lists_of_grants_end_at_their_limits() {
    let fits = "a".repeat(SUBACCOUNT_BYTES_MAX);
    assert_eq!(fits.parse(), Ok(Scope::Subaccount(fits.clone())));
    assert!(format!("{fits}a").parse::<Scope>().is_err());
    for bad in ["", "a b", "?", "**", "a/b", "ä"] {
        assert!(bad.parse::<Scope>().is_err(), "{bad:?}");
        let json = serde_json::json!({"subaccount": bad});
        assert!(serde_json::from_value::<Scope>(json).is_err(), "{bad:?}");
    }
    // A name that nobody checked does not become all subaccounts on its way through text or JSON.
    let star = Scope::Subaccount("*".to_owned());
    assert!(star.to_string().parse::<Scope>().is_err());
    let json = serde_json::to_string(&star).unwrap();
    assert!(serde_json::from_str::<Scope>(&json).is_err());
    assert_eq!(
        serde_json::from_str::<Scope>("\"all\"").unwrap(),
        Scope::All
    );
    for bad in [
        "operator",
        "operator@",
        "@a",
        "root@a",
        "operator@a@b",
        "viewer@.",
        "viewer@..",
    ] {
        assert!(bad.parse::<Grant>().is_err(), "{bad}");
    }

    assert!(is_label(&"ä".repeat(LABEL_BYTES_MAX / 2)));
    assert!(!is_label(&format!("{}b", "ä".repeat(LABEL_BYTES_MAX / 2))));
    assert!(!is_label("") && !is_label("a\nb"));

    let many = |count: usize| {
        (0..count)
            .map(|at| Grant::in_subaccount(Role::Viewer, &at.to_string()))
            .collect::<Vec<_>>()
    };
    assert_eq!(Grant::list(many(GRANTS_MAX)).unwrap().len(), GRANTS_MAX);
    assert!(Grant::list(many(GRANTS_MAX + 1)).is_err());
    let twice = [many(2), many(2)].concat();
    assert_eq!(Grant::list(twice).unwrap().len(), 2);
    assert!(Grant::list(vec![Grant::in_subaccount(Role::Viewer, "*")]).is_err());
}
