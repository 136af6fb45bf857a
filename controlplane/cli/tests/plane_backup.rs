//! Backups, made and restored against a real `adit serve`.

mod support;

use support::plane::{Plane, mode, secret};

const RULES: &str = "[[system]]\nvirtual = \"web.virtual:80\"\nprotocol = \"http\"\ninternal = \"http://10.1.2.3:80\"\n\
                     [[system.resource]]\npath = \"/PATH\"\n";

fn apply(plane: &Plane, path: &str) {
    plane.desk.write("rules.toml", &RULES.replace("PATH", path));
    let run = plane.adit(&[
        "rules",
        "apply",
        "rules.toml",
        "--subaccount",
        "acme",
        "--yes",
    ]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
}

fn shown(plane: &Plane) -> String {
    plane
        .done(&["rules", "show", "--subaccount", "acme"])
        .stdout
}

#[test]
fn what_a_backup_has_comes_back_in_one_step_and_a_wrong_password_changes_nothing() {
    let plane = Plane::of_ada();
    apply(&plane, "first");
    for (name, password) in [
        ("right", "a long enough password"),
        ("wrong", "another long password"),
    ] {
        secret(&plane.desk, name, password);
    }
    let create = [
        "backup",
        "create",
        "--out",
        "plane.backup",
        "--password-file",
        "right",
    ];
    plane.done(&create);
    assert_eq!(mode(plane.desk.path("plane.backup")), 0o600);
    assert_eq!(plane.adit(&create).code, Some(1), "nothing is overwritten");
    let sealed = std::fs::read(plane.desk.path("plane.backup")).unwrap();
    assert!(
        !sealed.windows(5).any(|part| part == b"first"),
        "it is sealed"
    );

    apply(&plane, "second");
    let restore = |password: &str| {
        plane.adit(&[
            "backup",
            "restore",
            "plane.backup",
            "--password-file",
            password,
            "--yes",
        ])
    };
    let refused = restore("wrong");
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("passphrase is another one"),
        "{}",
        refused.stderr
    );
    assert!(shown(&plane).contains("/second"));

    let done = restore("right");
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    // The server begins anew with it; the login of before the backup still counts.
    let mut run = plane.adit(&["rules", "show", "--subaccount", "acme"]);
    let begun = std::time::Instant::now();
    while run.code != Some(0) && begun.elapsed().as_secs() < 20 {
        run = plane.adit(&["rules", "show", "--subaccount", "acme"]);
    }
    assert!(
        run.stdout.contains("/first"),
        "{} {}",
        run.stdout,
        run.stderr
    );
    let acts = plane.done(&["acts", "list"]).stdout;
    assert!(acts.contains("backup-restore"), "{acts}");
}
