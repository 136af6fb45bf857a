//! Tokens for programs: who sees which, and who ends which.

use adit_tests::plane::{Caller, Memory, Plane};
use serde_json::{Value, json};

use crate::on_both_memories;

/// Makes a token of whoever asks: its secret.
fn make(of: &Caller, label: &str) -> String {
    let reply = of.post("/api/v1/tokens", &json!({"label": label, "days": 1}));
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.text_of("token")
}

/// Labels and ids of the tokens that somebody sees, page by page.
fn seen(by: &Caller) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut path = "/api/v1/tokens?limit=2".to_owned();
    loop {
        let page = by.get(&path);
        assert_eq!(page.status, 200, "{page:?}");
        assert!(!page.text().contains("adit_t_"), "{page:?}");
        let page = page.json();
        let text = |token: &Value, name: &str| token[name].as_str().unwrap().to_owned();
        for token in page["items"].as_array().unwrap() {
            found.push((text(token, "label"), text(token, "id")));
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/tokens?limit=2&after={next}"),
            None => break,
        }
    }
    found.sort();
    found
}

fn labels(by: &Caller) -> Vec<String> {
    seen(by).into_iter().map(|(label, _)| label).collect()
}

on_both_memories! {
    fn s09_tokens_are_seen_and_ended_by_their_user_and_by_who_may_see_and_change_that_user(memory: &Memory) {
        let (plane, root) = Plane::ready("cp-1", memory, "");
        for (name, grant) in [
            ("ann", "administrator@a"), ("aud", "auditor@a"), ("op", "operator@a"), ("view", "viewer@a"),
            ("bea", "operator@b"),
        ] {
            root.make_user(name, &[grant]);
        }
        root.make_user("both", &["viewer@a", "viewer@b"]);
        let somebody = |name: &str| plane.log_in(name);
        let (ann, aud, op, view, bea) =
            (somebody("ann"), somebody("aud"), somebody("op"), somebody("view"), somebody("bea"));
        let both = somebody("both");
        let root_secret = make(&root, "of root");
        let op_secret = make(&op, "of op");
        let bea_secret = make(&bea, "of bea");
        make(&both, "of both");
        make(&view, "of view");

        assert_eq!(labels(&root), ["of bea", "of both", "of op", "of root", "of view"]);
        for (who, sees) in [
            (&ann, vec!["of op", "of view"]), (&aud, vec!["of op", "of view"]), (&op, vec!["of op"]),
            (&view, vec!["of view"]), (&bea, vec!["of bea"]), (&both, vec!["of both"]),
        ] {
            assert_eq!(labels(who), sees);
        }
        // A token of a user sees what its user sees.
        assert_eq!(labels(&plane.bearer(op_secret.as_str())), ["of op"]);

        let all = seen(&root);
        let id = |label: &str| {
            let found = all.iter().find(|(known, _)| known == label);
            format!("/api/v1/tokens/{}", found.unwrap().1)
        };
        // What one does not see is not there, and looks like what never was.
        for (who, label) in [(&ann, "of bea"), (&ann, "of both"), (&ann, "of root"), (&op, "of view"), (&bea, "of op")] {
            let hidden = who.delete(&id(label), None);
            let never = who.delete("/api/v1/tokens/0123456789abcdef", None);
            assert_eq!((hidden.status, never.status), (404, 404), "{label}: {hidden:?}");
            assert_eq!(hidden.json()["title"], never.json()["title"]);
        }
        // What one sees and may not change stays.
        assert_eq!(aud.delete(&id("of op"), None).status, 403);
        for secret in [&root_secret, &op_secret, &bea_secret] {
            assert_eq!(plane.bearer(secret.as_str()).get("/api/v1/whoami").status, 200);
        }
        assert_eq!(ann.delete(&id("of op"), None).status, 204);
        assert_eq!(bea.delete(&id("of bea"), None).status, 204);
        assert_eq!(root.delete(&id("of both"), None).status, 204);
        for secret in [&op_secret, &bea_secret] {
            assert_eq!(plane.bearer(secret.as_str()).get("/api/v1/whoami").status, 401);
        }
        assert_eq!(labels(&root), ["of root", "of view"]);
        let acts = root.acts();
        let revoked = acts.iter().filter(|act| act["verb"] == "token-revoke").count();
        assert_eq!(revoked, 3, "{acts:?}");
    }
}
