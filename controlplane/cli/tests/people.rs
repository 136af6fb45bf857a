//! Logins, users, tokens: who uses the control plane, against a real `adit serve`.

mod support;

use std::os::unix::fs::PermissionsExt as _;

use support::plane::{PASSWORD, Plane, mode, secret};

#[test]
fn the_first_administrator_comes_in_by_the_setup_token_and_the_login_is_kept_for_its_owner() {
    let plane = Plane::of_ada();
    let profile = plane.profile("ada");
    assert_eq!(mode(profile.clone()), 0o600);
    let who = plane.done(&["whoami"]);
    assert_eq!(who.stdout, "ada (local): administrator@*\n");
    let who = plane.done(&["whoami", "--json"]).json();
    assert_eq!(who["name"], "ada");
    assert_eq!(who["grants"][0]["scope"], "all");

    // The token worked once.
    let mut again = plane.login("eve").to_vec();
    again.extend(["--setup", "state/setup-token"]);
    let run = plane.run("eve", &again);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("used before"), "{}", run.stderr);
    assert!(!plane.profile("eve").exists());

    let text = std::fs::read_to_string(&profile).unwrap();
    std::fs::set_permissions(&profile, std::fs::Permissions::from_mode(0o644)).unwrap();
    let run = plane.adit(&["whoami"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("chmod 600"), "{}", run.stderr);
    let token = serde_json::from_str::<serde_json::Value>(&text).unwrap()["token"].clone();
    assert!(!run.stderr.contains(token.as_str().unwrap()));
}

#[test]
fn a_server_is_known_by_its_pin_or_its_root_and_by_nothing_else() {
    let plane = Plane::of_ada();
    let login = |trust: [&str; 2]| {
        let args = [
            "login",
            &plane.url,
            trust[0],
            trust[1],
            "--user",
            "ada",
            "--password-file",
            "password",
        ];
        plane.run("elsewhere", &args)
    };
    let run = login(["--pin", &plane.pin]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(
        run.stdout
            .starts_with("logged in as ada at cp-1 of adit.local until "),
        "{}",
        run.stdout
    );
    assert_eq!(
        plane.run("elsewhere", &["whoami"]).code,
        Some(0),
        "the root was kept"
    );
    assert_eq!(
        std::fs::read_to_string(plane.desk.path("state/ca.pem")).unwrap(),
        serde_json::from_slice::<serde_json::Value>(
            &std::fs::read(plane.profile("elsewhere")).unwrap()
        )
        .unwrap()["roots"]
    );

    let other = if plane.pin.starts_with('0') { "1" } else { "0" };
    let wrong = format!("{other}{}", plane.pin.get(1..).unwrap());
    let run = login(["--pin", &wrong]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr
            .contains(&format!("no certificate it showed has the pin {wrong}")),
        "{}",
        run.stderr
    );
    assert_eq!(login(["--pin", "abc"]).code, Some(2));

    assert_eq!(
        plane.desk.adit(&["pki", "init", "--dir", "ca"]).code,
        Some(0)
    );
    let run = login(["--root", "ca/ca.pem"]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains("of another authority"),
        "{}",
        run.stderr
    );

    // Neither: nobody is trusted because they answered.
    let run = plane.run(
        "nowhere",
        &[
            "login",
            &plane.url,
            "--user",
            "ada",
            "--password-file",
            "password",
        ],
    );
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("--pin"), "{}", run.stderr);
}

#[test]
fn a_wrong_password_an_ended_login_and_none_are_told_apart() {
    let plane = Plane::of_ada();
    secret(&plane.desk, "wrong", "incorrect horse\n");
    let run = plane.adit(&["login", &plane.url, "--password-file", "wrong"]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains("wrong name or password"),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("request "),
        "the log knows it by its id: {}",
        run.stderr
    );
    plane.done(&["whoami"]);

    let run = plane.run("nobody", &["whoami"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("nobody is logged in"), "{}", run.stderr);

    // A login whose end has passed is not even tried.
    let path = plane.profile("ada");
    let mut profile: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let token = profile["token"].clone();
    profile["expires_unix_s"] = 1.into();
    std::fs::write(&path, profile.to_string()).unwrap();
    let run = plane.adit(&["whoami"]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains("ended at 1970-01-01") && run.stderr.contains(&plane.url),
        "{}",
        run.stderr
    );

    profile["expires_unix_s"] = u64::from(u32::MAX).into();
    profile["token"] = "adit_s_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into();
    std::fs::write(&path, profile.to_string()).unwrap();
    let run = plane.adit(&["whoami"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("log in"), "{}", run.stderr);
    assert!(!run.stderr.contains("adit_s_"), "{}", run.stderr);

    profile["token"] = token;
    std::fs::write(&path, profile.to_string()).unwrap();
    let run = plane.done(&["logout"]);
    assert_eq!(run.stdout, "ada is logged out\n");
    assert!(!path.exists());
    std::fs::write(&path, profile.to_string()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(
        plane.adit(&["whoami"]).code,
        Some(1),
        "the server knows that it ended"
    );
}

#[test]
fn a_server_that_is_gone_is_passed_over_for_the_next_one() {
    let plane = Plane::of_ada();
    // A port that was free a moment ago, and that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("https://{}", free.local_addr().unwrap());
    drop(free);
    let both = format!("{gone},{}", plane.url);
    plane.done(&["whoami", "--server", &both]);
    let run = plane.adit(&["whoami", "--server", &gone]);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains(&gone) && run.stderr.contains("does a server listen"),
        "{}",
        run.stderr
    );
    assert_eq!(
        plane.adit(&["whoami", "--server", "http://a:1"]).code,
        Some(2)
    );
}

#[test]
fn users_come_change_and_go() {
    let plane = Plane::of_ada();
    plane.also("bob", "operator@acme");
    let run = plane.done(&["users", "list"]);
    let bob = run
        .stdout
        .lines()
        .find(|line| line.starts_with("bob"))
        .unwrap();
    assert!(
        bob.contains("operator@acme") && bob.contains("enabled"),
        "{bob}"
    );

    let run = plane.adit(&[
        "users",
        "add",
        "bob",
        "--grant",
        "viewer@acme",
        "--password-file",
        "password",
    ]);
    assert_eq!(run.code, Some(1), "{}", run.stdout);
    let run = plane.adit(&[
        "users",
        "add",
        "eve",
        "--grant",
        "root@acme",
        "--password-file",
        "password",
    ]);
    assert_eq!(run.code, Some(2), "{}", run.stdout);
    secret(&plane.desk, "short", "short");
    let run = plane.adit(&[
        "users",
        "add",
        "eve",
        "--grant",
        "viewer@acme",
        "--password-file",
        "short",
    ]);
    assert_eq!(run.code, Some(1), "{}", run.stdout);

    // Who may not make users, cannot.
    let run = plane.run(
        "bob",
        &[
            "users",
            "add",
            "eve",
            "--grant",
            "viewer@acme",
            "--password-file",
            "password",
        ],
    );
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("(403, request "), "{}", run.stderr);

    let set = plane
        .done(&[
            "users",
            "set",
            "bob",
            "--grant",
            "viewer@acme",
            "--grant",
            "auditor@*",
            "--json",
        ])
        .json();
    assert_eq!(set["grants"].as_array().unwrap().len(), 2);
    assert_eq!(plane.adit(&["users", "set", "bob"]).code, Some(2));
    plane.done(&["users", "set", "bob", "--disable"]);
    assert_eq!(plane.run("bob", &["whoami"]).code, Some(1));
    plane.done(&["users", "set", "bob", "--enable"]);
    assert_eq!(plane.run("bob", &["whoami"]).code, Some(0));
    secret(&plane.desk, "new", "another long password\n");
    plane.done(&["users", "set", "bob", "--password-file", "new"]);
    assert_eq!(
        plane.run("bob", &["whoami"]).code,
        Some(1),
        "a new password ends logins"
    );

    plane.done(&["users", "remove", "bob"]);
    assert_eq!(plane.adit(&["users", "remove", "bob"]).code, Some(1));
    assert_eq!(
        plane.adit(&["users", "remove", "a/b"]).code,
        Some(2),
        "a name is one part of a path"
    );
}

#[test]
fn a_program_uses_a_token_from_a_file_and_needs_no_login() {
    let plane = Plane::of_ada();
    let run = plane.done(&[
        "tokens", "new", "--label", "pipeline", "--days", "7", "--out", "token",
    ]);
    assert_eq!(mode(plane.desk.path("token")), 0o600);
    let token = std::fs::read_to_string(plane.desk.path("token")).unwrap();
    assert!(!run.stdout.contains(&token) && !run.stderr.contains(&token));
    let run = plane.adit(&["tokens", "new", "--label", "pipeline", "--out", "token"]);
    assert_eq!(run.code, Some(1), "nothing is overwritten");
    assert_eq!(
        plane
            .adit(&[
                "tokens", "new", "--label", "x", "--days", "367", "--out", "t"
            ])
            .code,
        Some(2)
    );

    let pipeline = |variables: &[(&str, &str)]| {
        let mut command = plane.command("pipeline", &["whoami", "--json"]);
        command.envs(variables.iter().copied());
        support::Run::from(command.output().unwrap())
    };
    let all = [
        ("ADIT_SERVER", &*plane.url),
        ("ADIT_ROOT", "state/ca.pem"),
        ("ADIT_TOKEN_FILE", "token"),
    ];
    let run = pipeline(&all);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.json()["name"], "ada");
    assert!(!plane.profile("pipeline").exists());
    let run = pipeline(&all[..2]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("ADIT_TOKEN_FILE"), "{}", run.stderr);

    // A login's token goes to its own control plane only.
    plane.desk.adit(&["pki", "init", "--dir", "ca"]);
    let run = plane.adit(&["whoami", "--root", "ca/ca.pem", "--server", &plane.url]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("nobody is logged in"), "{}", run.stderr);
    plane.done(&["whoami", "--root", "state/ca.pem"]);
}

#[test]
fn a_token_is_listed_without_its_secret_and_ends_when_it_is_revoked() {
    let plane = Plane::of_ada();
    plane.done(&["tokens", "new", "--label", "pipeline", "--out", "token"]);
    let secret = std::fs::read_to_string(plane.desk.path("token")).unwrap();
    let run = plane.done(&["tokens", "list"]);
    assert!(run.stdout.contains("pipeline"), "{}", run.stdout);
    assert!(run.stdout.contains("administrator@*"), "{}", run.stdout);
    let listed = plane.done(&["tokens", "list", "--json"]);
    assert!(
        !listed
            .stdout
            .contains(secret.strip_prefix("adit_t_").unwrap())
    );
    let listed = listed.json();
    assert_eq!(listed["items"][0]["user"], "ada", "{listed}");
    let id = listed["items"][0]["id"].as_str().unwrap();
    plane.done(&["tokens", "revoke", id]);
    let run = plane.adit(&["tokens", "revoke", id]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("no such token"), "{}", run.stderr);
    let run = plane.done(&["tokens", "list", "--json"]);
    assert_eq!(run.json()["items"], serde_json::json!([]));
    let used = ["whoami", "--token-file", "token", "--server", &plane.url];
    assert_eq!(plane.adit(&used).code, Some(1));
}

#[test]
fn somebody_changes_their_own_password_and_stays_logged_in() {
    const NEW: &str = "another horse entirely";
    let plane = Plane::of_ada();
    let mut terminal = plane.at_terminal(&["users", "password"]);
    terminal.asked("password of ada as it is now: ");
    terminal.types(&format!("{PASSWORD}\n"));
    terminal.asked("password of ada from now on: ");
    terminal.types(&format!("{NEW}\n"));
    terminal.asked("again: ");
    terminal.types(&format!("{NEW}\n"));
    let (shown, run) = terminal.told();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(!shown.contains("horse"), "{shown:?}");
    assert!(!run.stdout.contains("horse") && !run.stderr.contains("horse"));
    plane.done(&["whoami"]);

    // By files as well, and not with the password of before.
    let file = |name: &str, text: &str| {
        let path = plane.desk.path(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    file("old", PASSWORD);
    file("new", "a third horse comes");
    let change = [
        "users",
        "password",
        "--old-password-file",
        "old",
        "--password-file",
        "new",
    ];
    let run = plane.adit(&change);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("nothing was changed"), "{}", run.stderr);
    file("old", NEW);
    plane.done(&change);
}

#[test]
fn a_password_that_is_typed_is_not_shown_and_a_program_is_not_asked() {
    let plane = Plane::of_ada();
    let run = plane.adit(&["login", &plane.url]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("--password-file"), "{}", run.stderr);

    let mut terminal = plane.at_terminal(&["login", &plane.url]);
    let asked = terminal.asked("password of ada: ");
    assert_eq!(asked, "password of ada: ");
    terminal.types(&format!("{PASSWORD}\n"));
    // The one thing that a terminal shows is that the line ended.
    let mut shown = String::new();
    let run = {
        let (echo, run) = terminal.told();
        shown.push_str(&echo);
        run
    };
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(!shown.contains("horse"), "{shown:?}");
    assert!(!run.stdout.contains("horse") && !run.stderr.contains("horse"));

    let mut terminal = plane.at_terminal(&["users", "add", "bob", "--grant", "viewer@acme"]);
    terminal.asked("password of bob: ");
    terminal.types(&format!("{PASSWORD}\n"));
    terminal.asked("again: ");
    terminal.types("something else entirely\n");
    let (_, run) = terminal.told();
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("not the same"), "{}", run.stderr);
    assert!(!plane.done(&["users", "list"]).stdout.contains("bob"));
}

#[test]
fn who_interrupts_the_question_for_a_password_has_a_terminal_that_shows_again() {
    let plane = Plane::of_ada();
    let mut terminal = plane.at_terminal(&["login", &plane.url]);
    terminal.asked("password of ada: ");
    assert!(!terminal.shows());
    let (shows, run) = terminal.interrupted();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert!(run.stderr.contains("nothing was changed"), "{}", run.stderr);
    assert!(shows);
}

#[test]
fn no_command_takes_a_secret_as_an_argument() {
    let plane = Plane::fresh();
    for (command, flags) in [
        (&["login"][..], &["--password", "--token"][..]),
        (&["users", "add"], &["--password", "--token"]),
        (&["tokens", "new"], &["--token"]),
        (&["users", "password"], &["--password", "--old-password"]),
        (&["whoami"], &["--password", "--token"]),
    ] {
        for flag in flags {
            let run = plane.adit(&[command, &[*flag, "x"]].concat());
            assert_eq!(run.code, Some(2), "{command:?} {flag}");
        }
    }
}

#[test]
fn a_user_whose_name_is_a_mail_address_is_changed_and_removed() {
    let plane = Plane::of_ada();
    let name = "ben+test@corp.example";
    plane.done(&["users", "add", name, "--password-file", "password"]);
    let run = plane.done(&["users", "set", name, "--grant", "viewer@acme"]);
    assert!(run.stdout.contains("viewer@acme"), "{}", run.stdout);
    plane.done(&["users", "remove", name]);
    assert!(!plane.done(&["users", "list"]).stdout.contains(name));
    for name in ["..", ".", ""] {
        assert_eq!(
            plane.adit(&["users", "remove", name]).code,
            Some(2),
            "{name:?}"
        );
    }
}

#[test]
fn no_secret_is_made_that_cannot_be_kept() {
    let plane = Plane::of_ada();
    plane.desk.write("taken", "mine");
    for out in ["nowhere/secret", "taken"] {
        let token = ["tokens", "new", "--label", "ci", "--out", out];
        let node = [
            "nodes", "invite", "--role", "gateway", "--name", "gw-1", "--out", out,
        ];
        let backup = [
            "backup",
            "create",
            "--password-file",
            "password",
            "--out",
            out,
        ];
        for args in [&token[..], &node, &backup] {
            let run = plane.adit(args);
            assert_eq!(run.code, Some(1), "{args:?}: {}", run.stderr);
            assert!(run.stderr.contains(out), "{}", run.stderr);
        }
    }
    let acts = plane.done(&["acts", "list", "--json"]).json();
    let verbs: Vec<_> = acts["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|act| act["verb"].as_str().expect("a word"))
        .collect();
    assert!(!verbs.is_empty());
    let made = |verb: &&str| {
        verb.starts_with("token") || verb.contains("invite") || verb.contains("backup")
    };
    assert!(!verbs.iter().any(made), "{verbs:?}");
    // What a server refuses leaves no empty file behind.
    let run = plane.adit(&["tokens", "new", "--label", "", "--out", "left"]);
    assert_ne!(run.code, Some(0));
    assert!(!plane.desk.path("left").exists());
    assert_eq!(
        std::fs::read_to_string(plane.desk.path("taken")).expect("it is there"),
        "mine"
    );
}

#[test]
fn roots_that_can_be_read_once_only_are_enough_for_a_login() {
    let plane = Plane::of_ada();
    let login = plane.login("ada").map(|word| {
        if word == "state/ca.pem" {
            "/dev/stdin"
        } else {
            word
        }
    });
    let mut command = plane.command("ada", &login);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("adit was built");
    let roots = std::fs::read(plane.desk.path("state/ca.pem")).expect("the server's roots");
    let mut stdin = child.stdin.take().expect("it is piped");
    std::io::Write::write_all(&mut stdin, &roots).expect("adit reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    plane.done(&["whoami"]);
}
