//! The program as an operator or a unit file meets it: arguments, exit codes, one line a problem.

#![expect(clippy::unwrap_used, reason = "a test says what must hold")]

use std::path::Path;
use std::process::{Command, Output};

fn aditd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_aditd"))
        .args(arguments)
        .output()
        .unwrap()
}

fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn it_tells_its_version() {
    let output = aditd(&["--version"]);
    assert!(output.status.success());
    let expected = concat!("aditd ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn a_wrong_configuration_is_exit_code_78_and_a_line_for_each_problem() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = "[tunnel]\ngateways = [\"gw\"]\n[nonsense]\nx = 1\n";
    for role in ["agent", "gateway"] {
        let config = written(folder.path(), "wrong.toml", wrong);
        for arguments in [
            vec![role, "--config", &config],
            vec!["check", role, "--config", &config],
        ] {
            let output = aditd(&arguments);
            assert_eq!(output.status.code(), Some(78), "{arguments:?}");
            assert!(output.stdout.is_empty());
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(told.lines().count() >= 3, "{told}");
            assert!(told.lines().all(|line| line.starts_with(&config)), "{told}");
            assert!(told.contains("nonsense: unknown section"), "{told}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_a_configuration_problem() {
    let output = aditd(&["agent", "--config", "/does/not/exist.toml"]);
    assert_eq!(output.status.code(), Some(78));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("/does/not/exist.toml: "), "{told}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [
        vec![],
        vec!["agent"],
        vec!["check", "both", "--config", "x"],
        vec!["serve"],
    ] {
        assert_eq!(aditd(&arguments).status.code(), Some(2), "{arguments:?}");
    }
}
