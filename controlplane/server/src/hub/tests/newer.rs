//! Records that only a newer version knows whole: whoever has nothing to do with them is served as ever.

use std::net::{IpAddr, Ipv4Addr};

use adit_api::{Invite, Login, NewUser, Setup};
use adit_people::Principal;
use adit_store::{Error, Key, Value};

use super::test_world::{LOCATION, ada};
use super::*;
use crate::book::{Base, Wish};
use crate::test_world::{add_member, put_all};

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PASSWORD: &str = "a password for people";

fn is_newer<T>(done: &Result<T, Trouble>) -> bool {
    matches!(done, Err(Trouble::Store(Error::Newer { .. })))
}

/// Whom a node hears not to trust any more, and whether it was sent rules.
fn heard(events: &mut mpsc::Receiver<Bytes>) -> (Vec<String>, bool) {
    let (mut revoked, mut rules) = (Vec::new(), false);
    while let Ok(frame) = events.try_recv() {
        let event = Event::decode(&frame).unwrap().unwrap().0;
        rules |= matches!(event, Some(Event::Push(_)));
        if let Some(Event::Trust(trust)) = event {
            revoked = trust.revoked;
        }
    }
    (revoked, rules)
}

async fn apply(world: &World, location: &str) -> Place {
    let place = Place::new("acme", location).unwrap();
    let wish = Wish {
        text: "# one\n".to_owned(),
        message: String::new(),
        canary: None,
    };
    let book = &world.parts.book;
    book.apply(&ada(), &place, Base::Nothing, wish)
        .await
        .unwrap();
    place
}

#[tokio::test]
async fn r15_one_record_of_each_kind_that_only_a_newer_version_knows_keeps_nobody_else_out() {
    let world = World::new(1).await;
    let parts = &world.parts;
    let (members, register, store) = (&parts.members, &parts.register, &*parts.store);
    let console = Principal::console();
    let token = members.setup_token("cp-1").await.unwrap().unwrap();
    let setup = Setup {
        token,
        user: "ada".to_owned(),
        password: PASSWORD.to_owned(),
    };
    members.set_up(setup, SOURCE, "r").await.unwrap();
    let mut revisions = Vec::new();
    for name in ["eve", "grace"] {
        let wish = NewUser {
            name: name.to_owned(),
            password: None,
            certificate: true,
            grants: Vec::new(),
        };
        let made = members.create(&ada(), &console, wish).await;
        revisions.push(made.unwrap().1);
    }
    let old = world.agent("old-1").await;
    register.revoke(&ada(), &old.id).await.unwrap();
    let invite = async |name: &str| {
        let id = NodeId::agent("acme", name).unwrap();
        let wish = Invite {
            name: name.to_owned(),
            location: LOCATION.to_owned(),
        };
        register.invite(&ada(), &id, &wish).await
    };
    invite("to-come").await.unwrap();
    let place = apply(&world, LOCATION).await;
    let elsewhere = apply(&world, "elsewhere").await;

    let first = async |prefix| {
        let mut entries = scan::all(store, &prefix).await.unwrap();
        entries.remove(0).key
    };
    let (invitation, bearer) = (
        first(keys::invitations()).await,
        first(keys::bearers()).await,
    );
    let of = [
        (first(keys::revoked_all()).await, ""),
        (keys::head(&place), ""),
        (invitation.clone(), ""),
        (bearer, "/login"),
        (Key::new("users/grace").unwrap(), ""),
        (keys::node(&old.id), ""),
        (keys::meta(&elsewhere, 1), ""),
    ];
    let mut newer = Vec::new();
    for (key, at) in of {
        add_member(store, &key, at).await;
        newer.push(store.get(&key).await.unwrap().unwrap());
    }

    let login = Login {
        user: "ada".to_owned(),
        password: PASSWORD.to_owned(),
    };
    members.log_in(login, SOURCE, "r").await.unwrap();
    // Invited, enrolled, subscribed: it hears of whoever is revoked, and keeps what rules it has.
    let (subscription, mut events) = world.subscribed("berlin-1").await;
    assert_eq!(heard(&mut events), (vec![old.serial], false));
    assert!(world.hub().bring_place(&place).await, "nothing is owed");
    assert!(!subscription.is_ended());

    invite("to-come-too").await.unwrap();
    let open = register.invitations(|_| true).await.unwrap();
    assert_eq!(open.len(), 1);
    register
        .take_back(&ada(), &open[0].id, |_| true)
        .await
        .unwrap();
    let (tokens, _) = members.tokens(&console, None, 10).await.unwrap();
    assert!(tokens.is_empty());
    let (users, _) = members.list(&console, None, 10).await.unwrap();
    let users: Vec<_> = users.into_iter().map(|user| user.name).collect();
    assert_eq!(users, ["ada", "eve"]);
    let (nodes, _) = register.list(&keys::all_agents(), None, 10).await.unwrap();
    assert_eq!(nodes.len(), 1);
    assert_eq!(register.agents_at(&place).await.unwrap(), ["berlin-1"]);
    let (places, _) = parts.book.places(None, None, 10).await.unwrap();
    assert_eq!(places.len(), 1);
    // All of them: who rolls keys over next would leave the others without rules that anybody trusts.
    let document = keys::document(&place, 1);
    let signed = store.get(&document).await.unwrap().unwrap();
    parts.book.sign_anew().await.unwrap();
    let again = store.get(&document).await.unwrap().unwrap();
    assert!(again.revision > signed.revision);
    members
        .remove(&ada(), &console, "eve", revisions[0])
        .await
        .unwrap();

    // Who names one hears why, and that one is as it was.
    assert!(is_newer(&parts.book.current(&place).await));
    assert!(is_newer(&members.get(&console, "grace").await));
    assert!(is_newer(&register.get(&old.id).await));
    let id = &invitation.as_str()["invitations/".len()..][..16];
    let refused = register.take_back(&ada(), id, |_| true).await;
    assert!(is_newer(&refused), "{refused:?}");
    let said = refused.unwrap_err().into_problem(String::new()).title;
    assert!(!said.contains("nothing was changed"), "{said}");
    for entry in newer {
        let now = store.get(&entry.key).await.unwrap().unwrap();
        assert_eq!(now, entry);
    }
}

#[tokio::test]
async fn r15_a_revocation_that_cannot_be_read_counts() {
    let world = World::new(1).await;
    let strange = [
        (keys::revoked("0a"), Value::from(r#"{"until":"tomorrow"}"#)),
        (keys::revoked("0b"), Value::from("{")),
        (
            keys::revoked("0c"),
            Value::from(format!(r#"{{"until_unix_s":{}}}"#, u64::MAX)),
        ),
        (keys::revoked("0d"), Value::from(r#"{"until_unix_s":1}"#)),
    ];
    put_all(&*world.parts.store, &strange).await;
    let trust = world.parts.life.trust().await.unwrap();
    assert_eq!(trust.revoked, ["0a", "0b", "0c"]);
}
