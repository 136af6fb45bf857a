//! The door against its own document: schemathesis, which nobody here wrote, asks what the document says can be asked
//! and what it says cannot, and holds the answers against it.

use std::path::PathBuf;
use std::process::Command;

use adit_tests::plane::{Memory, Plane};
use adit_tests::programs::repository;

#[test]
fn the_door_is_what_its_document_says() {
    let program = schemathesis();
    let (plane, root) = Plane::ready("cp-1", &Memory::Embedded, "");
    let scratch = plane.scratch();
    let document = scratch.write("openapi.json", root.get("/api/v1/openapi.json").text());
    let settings = scratch.write("schemathesis.toml", SETTINGS);
    let output = Command::new(program)
        .arg("--config-file")
        .arg(settings)
        .arg("run")
        .arg(document)
        .args([
            "--url",
            &format!("https://localhost:{}", plane.address().port()),
        ])
        .args([
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            "20",
        ])
        .args([
            "--seed",
            "1",
            "--workers",
            "2",
            "--continue-on-failure",
            "--no-color",
        ])
        // Ends the login that it asks with.
        .args(["--exclude-path", "/api/v1/logins/current"])
        // Rules are TOML, which it cannot write; `rules` and `isolation` ask that.
        .args(["--exclude-method", "PUT"])
        // What names may be is not in the document yet, so it makes up others.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .env("ADIT_TEST_BEARER", root.token())
        .current_dir(scratch.dir())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{shown}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(shown.contains("Tested:"), "{shown}");
    assert_eq!(root.get("/api/v1/whoami").status, 200);
}

/// Its token, by the environment: not on a command line. That a condition is missing or stale is said by 428 and 412.
const SETTINGS: &str = r#"
tls-verify = false

[headers]
Authorization = "Bearer ${ADIT_TEST_BEARER}"

[checks]
missing_required_header.expected-statuses = ["400", "401", "403", "406", "415", "422", "428"]
negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "412", "413", "415", "422", "428", "429"]
"#;

fn schemathesis() -> PathBuf {
    let program = std::env::var_os("ADIT_TEST_SCHEMATHESIS").map_or_else(
        || repository().join("target/schemathesis/bin/schemathesis"),
        PathBuf::from,
    );
    assert!(
        program.is_file(),
        "{} is missing; run tests/peers.sh, which installs it by pip",
        program.display()
    );
    program
}
