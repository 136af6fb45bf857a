//! S-09: who may do what, for every operation of the door, and nothing of a subaccount for who is of another.

use std::collections::BTreeSet;

use adit_people::{Grant, How, Principal, Role, Scope, Verb, authorize};
use adit_tests::member::{Line, Member};
use adit_tests::openssl::Authority;
use adit_tests::plane::{Caller, Memory, Plane, ROOT, rules_number};
use serde_json::{Value, json};

/// Who may do an operation.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// Everybody, also without a token.
    Open,
    /// Everybody who is known.
    Known,
    /// Everybody who is known, and sees what they may.
    Seen,
    /// Whoever has this somewhere; what they see is theirs.
    Somewhere(Verb),
    /// Whoever has this in the subaccount of the path.
    Here(Verb),
    /// Whoever has this everywhere.
    Everywhere(Verb),
    /// Whoever may do this to the user; others hear that there is none.
    User(Verb),
}

use Rule::{Everywhere, Here, Known, Open, Seen, Somewhere, User};

const TABLE: &[(&str, &str, Rule)] = &[
    ("post", "/api/v1/setup", Open),
    ("post", "/api/v1/logins", Open),
    ("delete", "/api/v1/logins/current", Known),
    ("get", "/api/v1/whoami", Known),
    ("post", "/api/v1/password", Known),
    ("get", "/api/v1/tokens", Seen),
    ("post", "/api/v1/tokens", Known),
    ("delete", "/api/v1/tokens/{id}", Known),
    ("get", "/api/v1/users", Seen),
    ("post", "/api/v1/users", User(Verb::UsersWrite)),
    ("get", "/api/v1/users/{name}", User(Verb::UsersRead)),
    ("patch", "/api/v1/users/{name}", User(Verb::UsersWrite)),
    ("delete", "/api/v1/users/{name}", User(Verb::UsersWrite)),
    ("get", "/api/v1/rules", Seen),
    ("get", "/api/v1/agents", Seen),
    ("post", "/api/v1/backup", Everywhere(Verb::BackupCreate)),
    ("post", "/api/v1/restore", Everywhere(Verb::BackupRestore)),
    (
        "get",
        "/api/v1/subaccounts/{subaccount}/rules",
        Here(Verb::RulesRead),
    ),
    (
        "put",
        "/api/v1/subaccounts/{subaccount}/rules",
        Here(Verb::RulesApply),
    ),
    (
        "get",
        "/api/v1/subaccounts/{subaccount}/rules/versions",
        Here(Verb::RulesRead),
    ),
    (
        "get",
        "/api/v1/subaccounts/{subaccount}/rules/versions/{version}",
        Here(Verb::RulesRead),
    ),
    (
        "post",
        "/api/v1/subaccounts/{subaccount}/rules/rollback",
        Here(Verb::RulesApply),
    ),
    (
        "post",
        "/api/v1/subaccounts/{subaccount}/rules/promote",
        Here(Verb::RulesApply),
    ),
    (
        "post",
        "/api/v1/subaccounts/{subaccount}/rules/abandon",
        Here(Verb::RulesApply),
    ),
    (
        "get",
        "/api/v1/subaccounts/{subaccount}/rules/rollout",
        Here(Verb::RulesRead),
    ),
    (
        "get",
        "/api/v1/subaccounts/{subaccount}/agents",
        Here(Verb::NodesRead),
    ),
    (
        "get",
        "/api/v1/subaccounts/{subaccount}/agents/{name}",
        Here(Verb::NodesRead),
    ),
    (
        "delete",
        "/api/v1/subaccounts/{subaccount}/agents/{name}",
        Here(Verb::NodesRevoke),
    ),
    (
        "get",
        "/api/v1/subaccounts/{subaccount}/agents/{name}/status",
        Here(Verb::NodesAsk),
    ),
    (
        "post",
        "/api/v1/subaccounts/{subaccount}/agents/{name}/explain",
        Here(Verb::NodesAsk),
    ),
    (
        "post",
        "/api/v1/subaccounts/{subaccount}/agents/{name}/revoke",
        Here(Verb::NodesRevoke),
    ),
    (
        "get",
        "/api/v1/subaccounts/{subaccount}/invitations",
        Here(Verb::NodesRead),
    ),
    (
        "post",
        "/api/v1/subaccounts/{subaccount}/invitations",
        Here(Verb::NodesInvite),
    ),
    (
        "delete",
        "/api/v1/subaccounts/{subaccount}/invitations/{id}",
        Here(Verb::NodesInvite),
    ),
    (
        "get",
        "/api/v1/subaccounts/{subaccount}/why/{request}",
        Here(Verb::NodesAsk),
    ),
    (
        "get",
        "/api/v1/subaccounts/{subaccount}/traffic",
        Here(Verb::RulesPlan),
    ),
    ("get", "/api/v1/gateways", Everywhere(Verb::NodesRead)),
    (
        "get",
        "/api/v1/gateways/{name}",
        Everywhere(Verb::NodesRead),
    ),
    (
        "delete",
        "/api/v1/gateways/{name}",
        Everywhere(Verb::NodesRevoke),
    ),
    (
        "get",
        "/api/v1/gateways/{name}/status",
        Everywhere(Verb::NodesAsk),
    ),
    (
        "post",
        "/api/v1/gateways/{name}/revoke",
        Everywhere(Verb::NodesRevoke),
    ),
    (
        "get",
        "/api/v1/gateways/invitations",
        Everywhere(Verb::NodesRead),
    ),
    (
        "post",
        "/api/v1/gateways/invitations",
        Everywhere(Verb::NodesInvite),
    ),
    (
        "delete",
        "/api/v1/gateways/invitations/{id}",
        Everywhere(Verb::NodesInvite),
    ),
    ("get", "/api/v1/acts", Somewhere(Verb::AuditRead)),
    ("get", "/api/v1/acts/chain", Everywhere(Verb::AuditRead)),
    ("get", "/api/v1/status", Everywhere(Verb::ServerStatus)),
    ("get", "/api/v1/authority", Everywhere(Verb::AuthorityRead)),
    (
        "post",
        "/api/v1/authority/roll",
        Everywhere(Verb::AuthorityRoll),
    ),
];

/// Everything of subaccount b has this in its name.
const MARK: &str = "zzsecret";
const B: &str = "zzsecret-b";

struct Somebody {
    what: &'static str,
    caller: Caller,
    /// None: not known at all.
    grants: Option<Vec<Grant>>,
    is_certified: bool,
}

#[test]
fn s09_every_operation_is_for_whom_the_table_says_and_tells_nobody_of_another_subaccount() {
    let company = Authority::new();
    let settings = format!(
        "[people.certificates]\nca_file = \"{}\"\n",
        company.certificate().display()
    );
    let (plane, root) = Plane::ready("cp-1", &Memory::Embedded, &settings);
    let operations = operations(&root);
    let known: BTreeSet<(String, String)> = TABLE
        .iter()
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    assert_eq!(
        operations, known,
        "an operation without a rule, or a rule without an operation"
    );

    let mut lines = populate(&plane, &root);
    let somebodies = somebodies(&plane, &root, &company);
    for (method, path, rule) in TABLE {
        for who in &somebodies {
            for subaccount in ["a", B] {
                if subaccount == B
                    && !path.contains("{subaccount}")
                    && !path.contains("/users/{name}")
                {
                    continue;
                }
                let reply = send(&who.caller, method, path, subaccount);
                let way = if who.is_certified {
                    " by certificate"
                } else {
                    ""
                };
                let case = format!(
                    "{}{way} {method} {path} in {subaccount}: {reply:?}",
                    who.what
                );
                // A token would outlive the certificate, so nobody who comes by one makes any.
                if who.is_certified && (*method, *path) == ("post", "/api/v1/tokens") {
                    let status = who.grants.as_ref().map_or(401, |_known| 403);
                    assert_eq!(reply.status, status, "{case}");
                } else {
                    check(*rule, who, subaccount, reply.status, &case);
                }
                let sees_all = who
                    .grants
                    .as_ref()
                    .is_some_and(|grants| grants.iter().any(|grant| grant.scope == Scope::All));
                if !sees_all {
                    // What was asked for by name comes back in a refusal; nothing else does.
                    let name = format!("{MARK}-user");
                    let text = reply.text().replace(B, "").replace(&name, "");
                    let text = if subaccount == B {
                        text.replace(MARK, "")
                    } else {
                        reply.text()
                    };
                    assert!(!text.contains(MARK), "{case}");
                    assert!(!reply.text().contains("erp77"), "{case}");
                }
            }
        }
    }
    for line in &mut lines {
        assert_eq!(
            line.say(
                "beat",
                br#"{"not_ready":[],"tunnels":0,"streams":0,"certificate_until_unix_s":0}"#
            ),
            204
        );
    }
    // Page by page, nobody who is not seen is passed by name.
    let of_a = &somebodies
        .iter()
        .find(|who| who.what == "administrator@a")
        .unwrap()
        .caller;
    for list in ["users", "tokens", "rules", "acts"] {
        let mut path = format!("/api/v1/{list}?limit=1");
        for _ in 0..300 {
            let page = of_a.get(&path);
            assert_eq!(page.status, 200, "{page:?}");
            assert!(!page.text().contains(MARK), "{list}: {page:?}");
            let next = &page.json()["next"];
            let Some(next) = next
                .as_str()
                .map(str::to_owned)
                .or_else(|| next.as_u64().map(|next| next.to_string()))
            else {
                break;
            };
            path = format!("/api/v1/{list}?limit=1&after={next}");
        }
    }
}

fn check(rule: Rule, who: &Somebody, subaccount: &str, status: u16, case: &str) {
    let Some(grants) = &who.grants else {
        let open = matches!(rule, Open);
        assert!(open || status == 401, "{case}");
        return;
    };
    let principal = Principal {
        name: String::new(),
        how: How::Local,
        grants: grants.clone(),
    };
    let here = Scope::Subaccount(subaccount.to_owned());
    let may = |verb: Verb, scope: &Scope| authorize(&principal, verb, scope).is_ok();
    let allowed = match rule {
        Open => return,
        Known | Seen => true,
        Somewhere(verb) => {
            may(verb, &Scope::All) || grants.iter().any(|grant| may(verb, &grant.scope))
        }
        Here(verb) => may(verb, &here),
        Everywhere(verb) => may(verb, &Scope::All),
        User(verb) => {
            // Not to be seen is not to be there; to be seen and not to be changed is refused.
            if may(verb, &here) {
                true
            } else {
                assert!(matches!(status, 403 | 404), "{case}");
                return;
            }
        }
    };
    if allowed {
        assert!(!matches!(status, 401 | 403), "{case}");
    } else {
        assert_eq!(status, 403, "{case}");
    }
    assert!(status < 500 || status == 504, "{case}");
}

/// Asks without changing what the next one needs: with conditions that do not hold, of things that are not there.
fn send(caller: &Caller, method: &str, path: &str, subaccount: &str) -> adit_tests::plane::Reply {
    let user = if subaccount == B {
        format!("{MARK}-user")
    } else {
        "user-of-a".to_owned()
    };
    let name = match (path.contains("/users/"), method) {
        (true, _) => user.clone(),
        // Asked for what is there when it is read only.
        (false, "get") if subaccount == B => format!("{MARK}-agent"),
        (false, _) => "nobody".to_owned(),
    };
    let filled = path
        .replace("{subaccount}", subaccount)
        .replace("{name}", &name)
        .replace("{version}", "1")
        .replace("{id}", "0123456789abcdef")
        .replace("{request}", "00ff");
    // A question to a node that is connected and does not answer takes its whole time.
    let filled = if filled.contains("/status") {
        filled.replace(&format!("{MARK}-agent"), "nobody")
    } else {
        filled
    };
    let filled = if filled.ends_with("/why/00ff") {
        filled.replace("00ff", "_")
    } else if filled.ends_with("/traffic") {
        filled + "?location=nowhere"
    } else {
        filled
    };
    let body = match (method, path) {
        ("post", "/api/v1/users") => json!({
            "name": user, "password": "CANARY-of-a-password-7kq2",
            "grants": [{"role": "viewer", "scope": {"subaccount": subaccount}}],
        }),
        ("post", path) if path.ends_with("rollback") => json!({"to": 1}),
        ("post", path) if path.ends_with("roll") => json!({"step": "finish"}),
        ("post", path) if path.ends_with("invitations") => {
            json!({"name": "bad name", "location": ""})
        }
        ("post", path) if path.ends_with("explain") => json!({"request": "GET http://x.virtual/"}),
        ("post", "/api/v1/backup") => json!({"password": "too short"}),
        ("post", "/api/v1/tokens") => json!({"label": "", "days": 1}),
        _ => json!({}),
    };
    let kind = if method == "put" {
        "application/toml"
    } else {
        "application/json"
    };
    let fields = [("content-type", kind), ("if-match", "\"0\"")];
    if path == "/api/v1/logins/current" {
        // Of this one's own only the refusal of strangers is looked at.
        return caller.get("/api/v1/whoami");
    }
    caller.ask(
        &method.to_uppercase(),
        &filled,
        &fields,
        body.to_string().as_bytes(),
    )
}

fn populate(plane: &Plane, root: &Caller) -> Vec<Line> {
    root.make_user("user-of-a", &["viewer@a"]);
    root.make_user(&format!("{MARK}-user"), &[&format!("operator@{B}")]);
    for (user, label) in [("user-of-a", "of a"), ("zzsecret-user", "zzsecret token")] {
        let token = json!({"label": label, "days": 1});
        let made = plane.log_in(user).post("/api/v1/tokens", &token);
        assert_eq!(made.status, 201, "{made:?}");
    }
    assert_eq!(root.apply("a", "", &rules_number(1)).status, 200);
    assert_eq!(
        root.apply(B, "?message=zzsecret", &rules_number(77)).status,
        200
    );
    let mut lines = Vec::new();
    for (subaccount, name) in [("a", "agent-of-a"), (B, "zzsecret-agent")] {
        let member = Member::enrol(plane, &root.invite(subaccount, name)).unwrap();
        lines.push(member.subscribe(plane).unwrap());
        let _ = root.invite(subaccount, &format!("{name}-2"));
    }
    let _ = root.invite_gateway("zzsecret-gateway");
    lines
}

fn somebodies(plane: &Plane, root: &Caller, company: &Authority) -> Vec<Somebody> {
    let papers = |name: &str| {
        let usage = "extendedKeyUsage=clientAuth";
        company.issue_client(name, usage, ["20200101000000Z", "20990101000000Z"])
    };
    let mut all = vec![
        Somebody {
            what: "nobody",
            caller: plane.nobody(),
            grants: None,
            is_certified: false,
        },
        Somebody {
            what: "an ended token",
            caller: ended(plane, root),
            grants: None,
            is_certified: false,
        },
        Somebody {
            what: "a made-up token",
            caller: plane.bearer("adit_login_nothing"),
            grants: None,
            is_certified: false,
        },
        Somebody {
            what: "a certificate of nobody",
            caller: plane.certified(&papers("stranger")),
            grants: None,
            is_certified: true,
        },
        Somebody {
            what: "a certificate of an administrator who has a password",
            caller: plane.certified(&papers(ROOT)),
            grants: None,
            is_certified: true,
        },
    ];
    let grants: [(&'static str, Vec<Grant>); 8] = [
        ("administrator@*", vec![Grant::all(Role::Administrator)]),
        ("auditor@*", vec![Grant::all(Role::Auditor)]),
        ("viewer@*", vec![Grant::all(Role::Viewer)]),
        (
            "administrator@a",
            vec![Grant::in_subaccount(Role::Administrator, "a")],
        ),
        (
            "operator@a",
            vec![Grant::in_subaccount(Role::Operator, "a")],
        ),
        ("auditor@a", vec![Grant::in_subaccount(Role::Auditor, "a")]),
        ("viewer@a", vec![Grant::in_subaccount(Role::Viewer, "a")]),
        ("no grant", vec![]),
    ];
    for (number, (what, grants)) in grants.into_iter().enumerate() {
        let name = format!("somebody-{number}");
        let words: Vec<&str> = if grants.is_empty() {
            vec![]
        } else {
            vec![what]
        };
        root.make_user(&name, &words);
        all.push(Somebody {
            what,
            caller: plane.log_in(&name),
            grants: Some(grants.clone()),
            is_certified: false,
        });
        let name = format!("certified-{number}");
        root.make_certified(&name, &words);
        all.push(Somebody {
            what,
            caller: plane.certified(&papers(&name)),
            grants: Some(grants),
            is_certified: true,
        });
    }
    all
}

fn ended(plane: &Plane, root: &Caller) -> Caller {
    root.make_user("gone", &["administrator@*"]);
    let gone = plane.log_in("gone");
    assert_eq!(gone.delete("/api/v1/logins/current", None).status, 204);
    gone
}

fn operations(root: &Caller) -> BTreeSet<(String, String)> {
    let document: Value = root.get("/api/v1/openapi.json").json();
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            if ["get", "put", "post", "patch", "delete"].contains(&method.as_str()) {
                operations.insert((method.clone(), path.clone()));
            }
        }
    }
    operations
}
