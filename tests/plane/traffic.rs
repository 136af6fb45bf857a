//! Recorded decisions, told by the agents that made them: who asked for what, who would be hit, what is needed.

use adit_tests::Rules;
use adit_tests::member::{Line, Member};
use adit_tests::plane::{Memory, Plane};
use adit_tests::wait::{SOON, until, until_some};
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::{adit, on_both_memories};

impl Fleet {
    fn with_paths(&self, paths: &[&str]) -> String {
        let rules = Rules::none().http_with("web.virtual:80", self.backend.url(), "");
        let path = |rules: Rules, path: &&str| rules.resource(&format!("path = \"{path}\""));
        paths.iter().fold(rules, path).to_string()
    }

    /// `adit rules`, as the first administrator: exit code, what it printed as JSON, and standard error.
    fn rules_command(&self, args: &[&str]) -> (Option<i32>, Value, String) {
        let output = adit(&self.plane, &self.root)
            .args(["--json", "rules"])
            .args(args)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code(), value, told)
    }
}

/// What is said of agents that have not been there for as long as is asked for.
const YOUNG: &str =
    "adit: a-1, a-2: the records do not reach back so far; the table says how far\n";

on_both_memories! {
    fn a_plan_names_who_would_have_been_hit_and_a_suggestion_grants_what_was_needed(memory: &Memory) {
        let mut fleet = Fleet::recording(memory, "all");
        let reply = fleet.root.apply("acme", "", &fleet.with_paths(&["/a", "/b", "/unused"]));
        assert_eq!(reply.status, 200, "{reply:?}");
        fleet.is_in_force();
        fleet.has_tunnels();
        for (path, status) in [("/a", 200), ("/a", 200), ("/b", 200), ("/c", 403), ("/c", 403), ("/c", 403)] {
            fleet.answers(path, status);
        }
        let scratch = fleet.plane.scratch();
        scratch.write("rules/acme/_default.toml", fleet.with_paths(&["/a", "/unused"]));
        let plan = ["plan", "rules", "--recorded", "7d"];
        let told = until_some("all that was decided is on disk", SOON, || {
            let (code, told, stderr) = fleet.rules_command(&plan);
            assert_eq!((code, stderr.as_str()), (Some(3), YOUNG), "{told}");
            let read = told["places"][0]["plan"]["recorded"]["read"].clone();
            (read["granted"] == 3 && read["denied"] == 3).then_some(told)
        });
        let recorded = &told["places"][0]["plan"]["recorded"];
        assert_eq!((&recorded["judged"], &recorded["unjudged"]), (&json!(3), &json!(0)), "{recorded}");
        let hits = recorded["hits"].as_array().unwrap();
        assert_eq!(hits.len(), 1, "{recorded}");
        assert_eq!(hits[0]["request"], "GET http://web.virtual:80/b");
        assert_eq!((&hits[0]["count"], &hits[0]["reason"]), (&json!(1), &json!("resource-denied")));
        let caller = hits[0]["caller"].as_str().unwrap();
        assert!(!caller.is_empty() && hits[0]["subaccount"] == "acme", "{recorded}");
        let agents = recorded["read"]["agents"].as_array().unwrap();
        assert_eq!(agents.len(), 2, "{recorded}");
        assert!(agents.iter().all(|agent| agent["level"] == "all" && agent["complete"] == true), "{recorded}");

        let (code, told, stderr) = fleet.rules_command(&["suggest", "--subaccount", "acme", "--recorded", "7d"]);
        assert_eq!((code, stderr.as_str()), (Some(0), YOUNG), "{told}");
        assert_eq!(told["denied"][0]["request"], "GET http://web.virtual:80/c", "{told}");
        assert_eq!((&told["covered"], &told["unused"].as_array().unwrap().len()), (&json!(3), &1), "{told}");
        let suggested = told["rules"].as_str().unwrap();
        assert_eq!(fleet.root.apply("acme", "", suggested).status, 200, "{suggested}");
        fleet.is_in_force();
        for (path, status) in [("/a", 200), ("/b", 200), ("/unused", 403)] {
            fleet.answers(path, status);
        }

        fleet.agents[1].stop();
        until_some("one agent is away", SOON, || {
            let (_, told, stderr) = fleet.rules_command(&plan);
            let silent = &told["places"][0]["plan"]["recorded"]["read"]["silent"];
            let is_told = silent[0] == json!({"name": "a-2", "why": "is not connected"})
                && stderr.contains("what a-2 let through is missing");
            is_told.then_some(())
        });
    }
}

fn part(path: &str, next: Option<&str>) -> String {
    json!({
        "level": "all",
        "first_unix_ms": 5,
        "requests": [{
            "caller": "shop", "system": "erp.virtual:80", "method": "GET", "path": path,
            "granted": true, "ground": "/", "count": 2, "last_unix_ms": 9,
        }],
        "rules": [], "more_granted": 1, "more_denied": 0, "lost": 0, "unreadable": 0, "next": next,
    })
    .to_string()
}

fn members(plane: &Plane, root: &adit_tests::plane::Caller) -> Vec<Line> {
    let member = |name| Member::enrol(plane, &root.invite("acme", name)).unwrap();
    let lines = ["a-1", "a-2", "a-3"].map(|name| member(name).subscribe(plane).unwrap());
    until("all servers know that they are connected", SOON, || {
        let nodes = root.get("/api/v1/subaccounts/acme/agents").json();
        let nodes = nodes["items"].as_array().unwrap();
        nodes.iter().all(|node| node.get("connected").is_some())
    });
    lines.into()
}

#[test]
fn parts_are_asked_for_until_there_are_no_more_and_who_tells_nonsense_hides_nobody() {
    let (plane, root) = Plane::ready("cp-1", &Memory::Embedded, "");
    let mut lines = members(&plane, &root);
    let path = "/api/v1/subaccounts/acme/traffic";
    let told = std::thread::scope(|scope| {
        let asked = scope.spawn(|| root.get(&format!("{path}?days=366")));
        let [one, two, three] = lines.get_disjoint_mut([0, 1, 2]).unwrap();
        let ask = one.question();
        assert_eq!(
            (ask.method.as_str(), ask.path.as_str()),
            ("GET", "/traffic")
        );
        assert!(
            ask.query.starts_with("since_ms=") && !ask.query.contains("after"),
            "{ask:?}"
        );
        one.answer(&ask, 200, &part("/a", Some("3-700")));
        let ask = one.question();
        assert!(ask.query.ends_with("&after=3-700"), "{ask:?}");
        // It reads for somebody else at the moment.
        one.answer(&ask, 503, "ask again");
        let ask = one.question();
        assert!(ask.query.ends_with("&after=3-700"), "{ask:?}");
        one.answer(&ask, 200, &part("/b", None));
        let ask = two.question();
        two.answer(&ask, 200, "nonsense");
        let ask = three.question();
        three.answer(&ask, 200, &part(&"x".repeat(10_000), None));
        asked.join().unwrap()
    });
    assert_eq!(told.status, 200, "{told:?}");
    let told = told.json();
    assert_eq!(told["agents"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(
        (&told["agents"][0]["complete"], &told["more_granted"]),
        (&json!(true), &json!(2))
    );
    let paths: Vec<_> = told["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["path"])
        .collect();
    assert_eq!(paths, ["/a", "/b"]);
    let why = "its answer is not understood";
    assert_eq!(
        told["silent"],
        json!([{"name": "a-2", "why": why}, {"name": "a-3", "why": why}])
    );
    for days in [0, 367] {
        assert_eq!(
            root.get(&format!("{path}?days={days}")).status,
            400,
            "{days}"
        );
    }
}

#[test]
fn one_bad_answer_to_why_hides_no_other() {
    let (plane, root) = Plane::ready("cp-1", &Memory::Embedded, "");
    let mut lines = members(&plane, &root);
    let why = std::thread::scope(|scope| {
        let asked = scope.spawn(|| root.get("/api/v1/subaccounts/acme/why/0123abcd"));
        for (line, status, body) in [
            (0, 200, "nonsense"),
            (1, 500, "broken"),
            (2, 200, r#"{"outcome":"denied"}"#),
        ] {
            let line = &mut lines[line];
            let ask = line.question();
            line.answer(&ask, status, body);
        }
        asked.join().unwrap()
    });
    assert_eq!(why.status, 200, "{why:?}");
    let why = why.json();
    assert_eq!(
        why["parts"],
        json!([{"node": "agent/acme/a-3", "answer": {"outcome": "denied"}}])
    );
    assert_eq!(why["silent"], json!(["agent/acme/a-1", "agent/acme/a-2"]));
    assert_eq!((&why["asked"], &why["unasked"]), (&json!(3), &json!(0)));
}
