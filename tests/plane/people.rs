//! People: the first of them, logins, users.

use adit_tests::plane::{Memory, PASSWORD, Plane, ROOT, grant_json};
use serde_json::json;

use crate::on_both_memories;

on_both_memories! {
    fn the_first_administrator_is_made_once(memory: &Memory) {
        let plane = Plane::start("cp-1", memory, "");
        let token = plane.setup_token();
        let wish = |token: &str| json!({"token": token, "user": ROOT, "password": PASSWORD});
        let wrong = plane.nobody().post("/api/v1/setup", &wish("adit_setup_nothing"));
        assert_eq!(wrong.status, 401, "{wrong:?}");
        let short = json!({"token": token, "user": ROOT, "password": "short"});
        assert_eq!(plane.nobody().post("/api/v1/setup", &short).status, 400);
        // At the same moment: one is first.
        let both: Vec<_> = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..3)
                .map(|number| {
                    let (plane, token) = (&plane, &token);
                    scope.spawn(move || {
                        let wish = json!({"token": token, "user": format!("u{number}"), "password": PASSWORD});
                        plane.nobody().post("/api/v1/setup", &wish)
                    })
                })
                .collect();
            tries.into_iter().map(|each| each.join().unwrap()).collect()
        });
        let mut made: Vec<u16> = both.iter().map(|reply| reply.status).collect();
        made.sort_unstable();
        assert_eq!(made, [201, 401, 401], "{both:?}");
        assert_eq!(plane.nobody().post("/api/v1/setup", &wish(&token)).status, 401);
        let winner = both.iter().find(|reply| reply.status == 201).unwrap();
        let me = plane.bearer(winner.text_of("token")).get("/api/v1/whoami").json();
        assert_eq!(me["grants"], json!([grant_json("administrator@*")]), "{me}");
    }

    fn a_login_ends_with_logout_with_a_new_password_and_with_its_user(memory: &Memory) {
        let (plane, root) = Plane::ready("cp-1", memory, "");
        root.make_user("ada", &["viewer@acme"]);
        let first = plane.log_in("ada");
        let second = plane.log_in("ada");
        assert_eq!(first.get("/api/v1/whoami").status, 200);
        assert_eq!(first.delete("/api/v1/logins/current", None).status, 204);
        assert_eq!(first.get("/api/v1/whoami").status, 401);
        assert_eq!(second.get("/api/v1/whoami").status, 200);

        let etag = root.get("/api/v1/users/ada").etag();
        let change = json!({"password": PASSWORD});
        let changed = root.patch("/api/v1/users/ada", &etag, &change);
        assert_eq!(changed.status, 200, "{changed:?}");
        assert_eq!(second.get("/api/v1/whoami").status, 401);
        // Who had read it before the change changes nothing.
        assert_eq!(root.patch("/api/v1/users/ada", &etag, &change).status, 412);
        let unnamed = root.ask(
            "PATCH",
            "/api/v1/users/ada",
            &[("content-type", "application/json")],
            b"{}",
        );
        assert_eq!(unnamed.status, 428);

        let program = plane.log_in("ada").post("/api/v1/tokens", &json!({"label": "ci", "days": 1}));
        assert_eq!(program.status, 201, "{program:?}");
        let program = plane.bearer(program.text_of("token"));
        assert_eq!(program.get("/api/v1/whoami").status, 200);
        let disabled = root.patch("/api/v1/users/ada", &changed.etag(), &json!({"disabled": true}));
        assert_eq!(disabled.status, 200, "{disabled:?}");
        assert_eq!(program.get("/api/v1/whoami").status, 401);
        let refused = plane.nobody().post("/api/v1/logins", &json!({"user": "ada", "password": PASSWORD}));
        assert_eq!(refused.status, 401);

        assert_eq!(root.delete("/api/v1/users/ada", Some(&disabled.etag())).status, 204);
        assert_eq!(root.get("/api/v1/users/ada").status, 404);
        // Another person of the same name is another person.
        root.make_user("ada", &["viewer@acme"]);
        assert_eq!(program.get("/api/v1/whoami").status, 401);
        assert_eq!(second.get("/api/v1/whoami").status, 401);
    }

    fn nobody_locks_themselves_out(memory: &Memory) {
        let (_plane, root) = Plane::ready("cp-1", memory, "");
        let path = format!("/api/v1/users/{ROOT}");
        let etag = root.get(&path).etag();
        assert_eq!(root.delete(&path, Some(&etag)).status, 409);
        for change in [json!({"disabled": true}), json!({"grants": []})] {
            let reply = root.patch(&path, &etag, &change);
            assert_eq!(reply.status, 409, "{change}: {reply:?}");
        }
        assert_eq!(root.get("/api/v1/whoami").status, 200);
    }
}

#[test]
fn whoever_guesses_waits() {
    let (plane, root) = Plane::ready("cp-1", &Memory::Embedded, "");
    root.make_user("ada", &[]);
    let guess = json!({"user": "ada", "password": "wrong wrong wrong"});
    let nobody = plane.nobody();
    let mut last = nobody.post("/api/v1/logins", &guess);
    for _ in 0..20 {
        if last.status == 429 {
            break;
        }
        assert_eq!(last.status, 401, "{last:?}");
        last = nobody.post("/api/v1/logins", &guess);
    }
    assert_eq!(last.status, 429, "{last:?}");
    let wait: u64 = last.field("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    // The right password does not help before.
    let right = json!({"user": "ada", "password": PASSWORD});
    assert_eq!(nobody.post("/api/v1/logins", &right).status, 429);
    // Whoever is logged in goes on.
    assert_eq!(root.get("/api/v1/whoami").status, 200);
}
