//! Nodes, questions to them, the authority and the acts, against a real `adit serve` without any node.

mod support;

use support::plane::{Plane, mode};

#[test]
fn an_invitation_is_told_once_and_can_be_taken_back() {
    let plane = Plane::of_ada();
    let invite = [
        "nodes",
        "invite",
        "--role",
        "agent",
        "--subaccount",
        "acme",
        "--location",
        "plant-1",
        "--name",
        "a1",
    ];
    let run = plane.done(&invite);
    let token = run.stdout.trim_end().to_owned();
    assert_eq!(
        run.stdout.lines().count(),
        1,
        "nothing but the token: {}",
        run.stdout
    );
    assert!(token.ends_with(&plane.pin), "{token}");
    assert!(
        run.stderr.contains("agent a1 of acme/plant-1"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains(&token));

    let run = plane.done(&[
        "nodes", "invite", "--role", "gateway", "--name", "gw-1", "--out", "gw.token",
    ]);
    assert_eq!(mode(plane.desk.path("gw.token")), 0o600);
    let written = std::fs::read_to_string(plane.desk.path("gw.token")).unwrap();
    assert!(!run.stdout.contains(&written) && !run.stderr.contains(&written));
    let run = plane.adit(&[
        "nodes", "invite", "--role", "gateway", "--name", "gw-2", "--out", "gw.token",
    ]);
    assert_eq!(run.code, Some(1), "nothing is overwritten");

    let run = plane.done(&["nodes", "invitations", "--subaccount", "acme"]);
    assert!(
        run.stdout.contains("plant-1") && !run.stdout.contains(&token),
        "{}",
        run.stdout
    );
    let listed = plane
        .done(&["nodes", "invitations", "--subaccount", "acme", "--json"])
        .json();
    let id = listed["items"][0]["id"].as_str().unwrap().to_owned();
    let gateways = plane.done(&["nodes", "invitations", "--json"]).json();
    assert_eq!(gateways["items"].as_array().unwrap().len(), 1);
    assert_eq!(gateways["items"][0]["name"], "gw-1");

    assert_eq!(
        plane.adit(&["nodes", "uninvite", &id]).code,
        Some(1),
        "it is no gateway's"
    );
    plane.done(&["nodes", "uninvite", &id, "--subaccount", "acme"]);
    let listed = plane
        .done(&["nodes", "invitations", "--subaccount", "acme", "--json"])
        .json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 0);

    for args in [
        &["nodes", "invite", "--role", "agent", "--name", "a1"][..],
        &[
            "nodes",
            "invite",
            "--role",
            "gateway",
            "--name",
            "g",
            "--subaccount",
            "acme",
        ],
        &[
            "nodes",
            "invite",
            "--role",
            "gateway",
            "--name",
            "g",
            "--location",
            "x",
        ],
        &["nodes", "invite", "--role", "node", "--name", "g"],
    ] {
        assert_eq!(plane.adit(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn nodes_that_are_not_there_are_said_to_be_none() {
    let plane = Plane::of_ada();
    plane.also("vera", "viewer@acme");
    for who in ["ada", "vera"] {
        let run = plane.run(who, &["nodes", "list"]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(
            run.stdout.starts_with("ROLE ") && run.stdout.lines().count() == 1,
            "{}",
            run.stdout
        );
    }
    let listed = plane
        .done(&["nodes", "list", "--subaccount", "acme", "--json"])
        .json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 0);
    assert_eq!(
        plane
            .run("vera", &["nodes", "list", "--subaccount", "globex"])
            .code,
        Some(1)
    );
    for verb in ["show", "revoke", "remove", "status"] {
        for whose in [&["a1", "--subaccount", "acme"][..], &["gw-1"]] {
            let run = plane.adit(&[&["nodes", verb], whose].concat());
            assert_eq!(run.code, Some(1), "{verb} {whose:?}");
            assert!(run.stderr.contains("(404, request "), "{}", run.stderr);
            assert!(run.stderr.contains(&plane.url), "{}", run.stderr);
        }
    }
}

#[test]
fn questions_about_requests_need_a_node_to_answer() {
    let plane = Plane::of_ada();
    let explain = ["explain", "--agent", "a1", "--subaccount", "acme"];
    let run = plane.adit(&[&explain[..], &["GET http://erp.virtual/x"]].concat());
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("(404, request "), "{}", run.stderr);
    let run = plane.adit(&[&explain[..], &["nonsense"]].concat());
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    let run = plane.adit(&["why", "0123456789abcdef", "--subaccount", "acme"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("none of 0 nodes"), "{}", run.stderr);
    assert_eq!(
        plane.adit(&["why", "../x", "--subaccount", "acme"]).code,
        Some(2)
    );
}

#[test]
fn a_roll_over_takes_its_steps_and_a_login_survives_it() {
    let plane = Plane::of_ada();
    let before = plane.done(&["authority", "show", "--json"]).json();
    assert_eq!(before["roots"][0]["pin"], plane.pin.as_str());
    let run = plane.adit(&["authority", "roll", "begin"]);
    assert_eq!(run.code, Some(1), "nobody said yes");
    assert_eq!(
        plane.adit(&["authority", "roll", "finish", "--yes"]).code,
        Some(1),
        "not begun"
    );
    assert_eq!(plane.adit(&["authority", "roll", "again"]).code, Some(2));
    for step in ["begin", "switch", "finish"] {
        plane.done(&["authority", "roll", step, "--yes"]);
        plane.done(&["whoami"]);
    }
    let run = plane.done(&["authority", "show"]);
    assert!(
        !run.stdout.contains(&plane.pin) && run.stdout.contains("issues"),
        "{}",
        run.stdout
    );
    let after = plane.done(&["authority", "show", "--json"]).json();
    assert_eq!(after["roots"].as_array().unwrap().len(), 1);

    plane.also("otto", "operator@acme");
}

#[test]
fn acts_are_listed_and_their_chain_is_verified_while_it_is_exported() {
    let plane = Plane::of_ada();
    plane.also("bob", "operator@acme");
    let apply = [
        "rules",
        "apply",
        "rules.toml",
        "--subaccount",
        "acme",
        "--yes",
    ];
    assert_eq!(plane.run("bob", &apply).code, Some(3));
    let run = plane.done(&["acts", "list"]);
    let row = run
        .stdout
        .lines()
        .find(|line| line.contains("rules-apply"))
        .unwrap();
    assert!(
        row.contains("bob") && row.contains("acme") && row.contains("version 1"),
        "{row}"
    );
    let acme = plane
        .done(&["acts", "list", "--subaccount", "acme", "--json"])
        .json();
    assert_eq!(acme["items"].as_array().unwrap().len(), 1, "{acme}");
    let his = plane
        .done(&["acts", "list", "--who", "local:bob", "--json"])
        .json();
    assert_eq!(his["items"].as_array().unwrap().len(), 1, "{his}");
    assert_eq!(
        plane
            .done(&["acts", "list", "--last", "2"])
            .stdout
            .lines()
            .count(),
        3
    );

    let run = plane
        .done(&["acts", "export", "--out", "chain", "--json"])
        .json();
    let text = std::fs::read_to_string(plane.desk.path("chain")).unwrap();
    assert_eq!(run["acts"], text.lines().count());
    assert_eq!(run["complete"], true);
    assert_eq!(mode(plane.desk.path("chain")), 0o600);
    // The chain is everybody's, and an operator of one subaccount may not read it.
    let run = plane.run("bob", &["acts", "export", "--out", "his"]);
    assert_eq!(run.code, Some(1));
    assert!(!plane.desk.path("his").exists());
}

#[test]
fn acts_are_followed_as_they_happen() {
    use std::io::{BufRead as _, BufReader};
    let plane = Plane::of_ada();
    let mut command = plane.command(
        "ada",
        &["acts", "list", "--follow", "--last", "1", "--json"],
    );
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next =
        || -> serde_json::Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["verb"], "login");
    plane.done(&["nodes", "invite", "--role", "gateway", "--name", "gw-1"]);
    assert_eq!(next()["verb"], "nodes-invite");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_control_plane_tells_of_its_servers() {
    let plane = Plane::of_ada();
    let status = plane.done(&["plane", "status", "--json"]).json();
    assert_eq!(status["server"], "cp-1");
    assert_eq!(status["store"], "embedded");
    assert!(plane.done(&["plane", "status"]).stdout.contains("cp-1"));
    plane.also("bob", "operator@acme");
    assert_eq!(plane.run("bob", &["plane", "status"]).code, Some(1));
}
