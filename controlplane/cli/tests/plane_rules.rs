//! `adit rules` against a real control plane: apply, plan, history, back again, and who was first.

mod support;

use support::RULES;
use support::plane::Plane;

/// The rules of the desk with another path.
fn other() -> String {
    RULES.replace("/orders", "/sales")
}

#[test]
fn rules_are_applied_once_and_applied_again_are_no_change() {
    let plane = Plane::of_ada();
    let apply = [
        "rules",
        "apply",
        "rules.toml",
        "--subaccount",
        "acme",
        "--location",
        "plant-1",
    ];
    let plan = [
        "rules",
        "plan",
        "rules.toml",
        "--subaccount",
        "acme",
        "--location",
        "plant-1",
    ];
    assert_eq!(plane.adit(&plan).code, Some(3));

    // A program that did not say --yes is not waited for.
    let run = plane.adit(&apply);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stdout
            .contains("+ GET http://erp.virtual:80/orders[/*]"),
        "{}",
        run.stdout
    );
    assert!(
        run.stderr.contains("nothing was changed") && run.stderr.contains("--yes"),
        "{}",
        run.stderr
    );

    let yes = [
        &apply[..],
        &["--yes", "--wait", "--message", "the first ones"],
    ]
    .concat();
    let run = plane.adit(&yes);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert_eq!(
        run.stdout.lines().last(),
        Some("acme/plant-1: version 1: no agent is connected yet")
    );

    let run = plane.adit(&yes);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(
        run.stdout,
        "acme/plant-1: no change, version 1 is in force\n"
    );
    let run = plane.adit(&[&yes[..], &["--json"]].concat());
    assert_eq!(run.code, Some(0));
    assert_eq!(run.json()["changed"], false);
    assert_eq!(run.json()["places"][0]["version"], 1);
    assert_eq!(plane.adit(&plan).code, Some(0));

    plane.desk.write("rules.toml", &other());
    let run = plane.adit(&[&yes[..], &["--json"]].concat());
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let value = run.json();
    assert_eq!(value["places"][0]["version"], 2);
    assert_eq!(value["places"][0]["place"], "acme/plant-1");
    let lines = value["places"][0]["plan"]["lines"].as_array().unwrap();
    assert!(
        lines
            .iter()
            .any(|line| line["text"] == "- GET http://erp.virtual:80/orders[/*]"),
        "{lines:?}"
    );
    assert_eq!(
        plane
            .adit(&["rules", "plan", "rules.toml", "--subaccount", "acme"])
            .code,
        Some(3),
        "another place"
    );
}

#[test]
fn a_person_at_the_terminal_is_shown_the_plan_and_asked() {
    let plane = Plane::of_ada();
    let apply = ["rules", "apply", "rules.toml", "--subaccount", "acme"];
    let mut terminal = plane.at_terminal(&apply);
    terminal.asked("make this change? [y/N] ");
    terminal.types("n\n");
    let (_, run) = terminal.told();
    assert_eq!(run.code, Some(1));
    assert!(
        run.stdout
            .contains("+ GET http://erp.virtual:80/orders[/*]"),
        "{}",
        run.stdout
    );
    let run = plane.done(&["rules", "history", "--subaccount", "acme"]);
    assert_eq!(run.stdout, "acme/ has no rules yet\n");

    let mut terminal = plane.at_terminal(&apply);
    terminal.asked("make this change? [y/N] ");
    terminal.types("y\n");
    let (_, run) = terminal.told();
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert_eq!(
        run.stdout.lines().last(),
        Some("acme/: version 1: no agent is connected yet")
    );
}

#[test]
fn of_two_who_change_the_same_rules_the_second_is_told_who_was_first() {
    let plane = Plane::of_ada();
    plane.also("bob", "operator@acme");
    plane.desk.write("bobs.toml", &other());
    for held in [0, 1] {
        let mut hers = plane.at_terminal(&["rules", "apply", "rules.toml", "--subaccount", "acme"]);
        hers.asked("make this change? [y/N] ");
        let bobs = [
            "rules",
            "apply",
            "bobs.toml",
            "--subaccount",
            "acme",
            "--yes",
            "--message",
            "sales, not orders",
        ];
        let run = plane.run("bob", &bobs);
        assert_eq!(run.code, Some(3), "{}", run.stderr);
        hers.types("y\n");
        let (_, run) = hers.told();
        assert_eq!(run.code, Some(1), "{}", run.stdout);
        for word in [
            "somebody else was first",
            "by local:bob",
            "\"sales, not orders\"",
            "nothing was changed",
        ] {
            assert!(run.stderr.contains(word), "{word}: {}", run.stderr);
        }
        let history = plane
            .done(&["rules", "history", "--subaccount", "acme", "--json"])
            .json();
        assert_eq!(
            history["items"].as_array().unwrap().len(),
            1 + 2 * held,
            "{history}"
        );
        // For the second round, where there is something already.
        let run = plane.adit(&[
            "rules",
            "apply",
            "good.toml",
            "--subaccount",
            "acme",
            "--yes",
        ]);
        assert_eq!(
            run.code,
            Some(78),
            "a file that is not there: {}",
            run.stderr
        );
        plane.desk.write("empty.toml", "");
        let run = plane.adit(&[
            "rules",
            "apply",
            "empty.toml",
            "--subaccount",
            "acme",
            "--yes",
        ]);
        assert_eq!(run.code, Some(3), "{}", run.stderr);
    }
}

#[test]
fn wrong_rules_and_failing_tests_are_told_before_anything_is_asked() {
    let plane = Plane::of_ada();
    plane.desk.write(
        "wrong.toml",
        "[[system]]\nvirtual = \"erp.virtual:80\"\nprotocoll = \"http\"\n",
    );
    let failing = format!(
        "{RULES}\n[[test]]\nrequest = \"GET http://erp.virtual/payroll\"\nexpect = \"allow\"\n"
    );
    plane.desk.write("failing.toml", &failing);
    for (file, word) in [
        ("wrong.toml", "wrong.toml:3:1"),
        ("failing.toml", "tests of the rules fail"),
    ] {
        // Nobody who is not logged in hears anything else.
        for who in ["ada", "nobody"] {
            let run = plane.run(
                who,
                &["rules", "apply", file, "--subaccount", "acme", "--yes"],
            );
            assert_eq!(run.code, Some(78), "{}", run.stderr);
            assert!(run.stderr.contains(word), "{}", run.stderr);
        }
    }
    let run = plane.adit(&["rules", "show", "--subaccount", "acme"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("no rules yet"), "{}", run.stderr);
}

#[test]
fn who_may_not_change_rules_is_refused_and_may_still_plan() {
    let plane = Plane::of_ada();
    plane.also("vera", "viewer@acme");
    assert_eq!(
        plane
            .run(
                "vera",
                &["rules", "plan", "rules.toml", "--subaccount", "acme"]
            )
            .code,
        Some(3)
    );
    let run = plane.run(
        "vera",
        &[
            "rules",
            "apply",
            "rules.toml",
            "--subaccount",
            "acme",
            "--yes",
        ],
    );
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("(403, request "), "{}", run.stderr);
    let run = plane.run("vera", &["rules", "history", "--subaccount", "globex"]);
    assert_eq!(run.code, Some(1), "another subaccount: {}", run.stdout);
    assert_eq!(
        plane
            .adit(&["rules", "history", "--subaccount", "a/b"])
            .code,
        Some(2)
    );
}

#[test]
fn an_earlier_version_comes_back_as_a_new_one() {
    let plane = Plane::of_ada();
    let apply = [
        "rules",
        "apply",
        "rules.toml",
        "--subaccount",
        "acme",
        "--yes",
    ];
    assert_eq!(
        plane
            .adit(&[&apply[..], &["--message", "one"]].concat())
            .code,
        Some(3)
    );
    plane.desk.write("rules.toml", &other());
    assert_eq!(plane.adit(&apply).code, Some(3));

    let run = plane.adit(&["rules", "rollback", "--to", "1", "--subaccount", "acme"]);
    assert_eq!(run.code, Some(1), "nobody said yes");
    let run = plane.done(&[
        "rules",
        "rollback",
        "--to",
        "1",
        "--subaccount",
        "acme",
        "--yes",
        "--wait",
        "--message",
        "sales were wrong",
    ]);
    assert!(
        run.stdout
            .contains("+ GET http://erp.virtual:80/orders[/*]"),
        "{}",
        run.stdout
    );
    assert_eq!(
        run.stdout.lines().last(),
        Some("acme/: version 3: no agent is connected yet")
    );
    let run = plane.adit(&[
        "rules",
        "rollback",
        "--to",
        "9",
        "--subaccount",
        "acme",
        "--yes",
    ]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("(404, request "), "{}", run.stderr);

    let run = plane.done(&["rules", "history", "--subaccount", "acme"]);
    let rows: Vec<_> = run.stdout.lines().collect();
    assert_eq!(rows.len(), 4, "{}", run.stdout);
    let newest = rows.get(1).unwrap();
    assert!(
        newest.starts_with("3 ") && newest.contains("in force") && newest.contains("back to 1"),
        "{newest}"
    );
    assert!(rows.get(3).unwrap().ends_with("one"), "{}", run.stdout);
    let one = plane
        .done(&[
            "rules",
            "history",
            "--subaccount",
            "acme",
            "--last",
            "1",
            "--json",
        ])
        .json();
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    assert_eq!(one["in_force"], 3);
    assert_eq!(one["items"][0]["message"], "sales were wrong");

    // What is shown is what was written, letter by letter.
    let run = plane.done(&["rules", "show", "--subaccount", "acme", "--version", "2"]);
    assert_eq!(run.stdout, other());
    let run = plane.done(&["rules", "show", "--subaccount", "acme"]);
    assert_eq!(run.stdout, RULES);
    assert_eq!(
        plane
            .done(&["rules", "show", "--subaccount", "acme", "--json"])
            .json()["version"],
        3
    );

    assert_eq!(
        plane
            .adit(&["rules", "diff", "1", "2", "--subaccount", "acme"])
            .code,
        Some(3)
    );
    assert_eq!(
        plane
            .adit(&["rules", "diff", "1", "3", "--subaccount", "acme"])
            .code,
        Some(0)
    );
    let rollout = plane
        .done(&["rules", "rollout", "--subaccount", "acme", "--json"])
        .json();
    assert_eq!(rollout["version"], 3);
    let run = plane.done(&["rules", "rollout", "--subaccount", "acme", "--wait=5"]);
    assert_eq!(run.stdout, "version 3: no agent is connected yet\n");
    assert_eq!(
        plane
            .adit(&["rules", "rollout", "--subaccount", "none"])
            .code,
        Some(1)
    );
}

#[test]
fn a_trial_needs_an_agent_and_without_one_there_is_nothing_to_end() {
    let plane = Plane::of_ada();
    let run = plane.adit(&[
        "rules",
        "apply",
        "rules.toml",
        "--subaccount",
        "acme",
        "--canary",
        "a1",
        "--yes",
    ]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("no agent \"a1\""), "{}", run.stderr);
    for word in ["promote", "abandon"] {
        let run = plane.adit(&["rules", word, "--subaccount", "acme", "--yes"]);
        assert_eq!(run.code, Some(1));
        assert!(
            run.stderr.contains("no version is on trial"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn a_folder_is_applied_place_by_place_and_what_it_no_longer_has_is_emptied_on_demand() {
    let plane = Plane::of_ada();
    let put = |file: &str, text: &str| {
        std::fs::create_dir_all(plane.desk.path(file).parent().unwrap()).unwrap();
        plane.desk.write(file, text);
    };
    put("all/acme/_default.toml", RULES);
    put("all/acme/plant-1.toml", RULES);
    put("all/globex/_default.toml", RULES);
    put("all/README", "");
    let apply = ["rules", "apply", "all", "--yes", "--json"];
    let run = plane.adit(&apply);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let places: Vec<String> = run.json()["places"]
        .as_array()
        .unwrap()
        .iter()
        .map(|place| format!("{} {}", place["place"].as_str().unwrap(), place["changed"]))
        .collect();
    assert_eq!(places, ["acme/ true", "acme/plant-1 true", "globex/ true"]);
    assert_eq!(plane.adit(&apply).code, Some(0), "twice is once");

    // One wrong file, and no place is touched.
    put("all/acme/_default.toml", &other());
    put("all/globex/_default.toml", "nonsense");
    assert_eq!(plane.adit(&apply).code, Some(78));
    assert_eq!(
        plane
            .done(&["rules", "show", "--subaccount", "acme"])
            .stdout,
        RULES
    );
    put("all/globex/_default.toml", RULES);

    std::fs::remove_file(plane.desk.path("all/acme/plant-1.toml")).unwrap();
    std::fs::remove_dir_all(plane.desk.path("all/globex")).unwrap();
    assert_eq!(
        plane.adit(&apply).code,
        Some(3),
        "the default location of acme"
    );
    let shown = [
        "rules",
        "show",
        "--subaccount",
        "acme",
        "--location",
        "plant-1",
    ];
    assert_eq!(
        plane.done(&shown).stdout,
        RULES,
        "nothing is emptied unasked"
    );
    let prune = [&apply[..], &["--prune"]].concat();
    let run = plane.adit(&prune);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert_eq!(plane.done(&shown).stdout, "");
    assert_eq!(
        plane
            .done(&["rules", "show", "--subaccount", "globex"])
            .stdout,
        RULES,
        "the folder no longer speaks for it"
    );
    assert_eq!(plane.adit(&prune).code, Some(0), "twice is once");

    for args in [
        &[
            "rules",
            "apply",
            "all",
            "--location",
            "x",
            "--subaccount",
            "acme",
            "--yes",
        ][..],
        &[
            "rules",
            "apply",
            "rules.toml",
            "--subaccount",
            "acme",
            "--prune",
            "--yes",
        ],
        &["rules", "apply", "rules.toml", "--yes"],
    ] {
        assert_eq!(plane.adit(args).code, Some(2), "{args:?}");
    }
    assert_eq!(
        plane
            .adit(&["rules", "apply", "all", "--subaccount", "initech", "--yes"])
            .code,
        Some(78)
    );
}
