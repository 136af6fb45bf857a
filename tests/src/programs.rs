//! Where the programs under test are: `aditd` and `adit` beside the test's own executable.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// The data-plane program.
#[must_use]
pub fn aditd() -> PathBuf {
    folder().join("aditd")
}

/// The command line.
#[must_use]
pub fn adit() -> PathBuf {
    folder().join("adit")
}

/// A command line for `program` behind the words of another, which then starts it.
#[must_use]
pub fn behind(words: &[String], program: &Path) -> Command {
    match words.split_first() {
        None => Command::new(program),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

/// Runs `adit` and gives back what it printed.
///
/// # Panics
/// When it fails.
pub fn run_adit<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> String {
    let output = Command::new(adit())
        .args(args)
        .output()
        .expect("adit was built");
    let shown: Vec<_> = args
        .iter()
        .map(|arg| arg.as_ref().to_string_lossy())
        .collect();
    assert!(
        output.status.success(),
        "adit {} ended with {}: {}",
        shown.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("adit prints UTF-8")
}

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the repository")
}

// `cargo test` builds a program only for its own package's tests, so ours may be missing or old.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        if let Some(named) = std::env::var_os("ADIT_TEST_PROGRAMS") {
            return PathBuf::from(named);
        }
        let exe = std::env::current_exe().expect("a test knows its own executable");
        let folder = exe
            .parent()
            .filter(|deps| deps.ends_with("deps"))
            .and_then(Path::parent)
            .expect("tests run from target/<profile>/deps")
            .to_owned();
        let built = ["aditd", "adit"].map(|name| modified(&folder.join(name)));
        let newest = ["dataplane", "controlplane"]
            .iter()
            .filter_map(|plane| newest_source(&repository().join(plane)))
            .max();
        if built.iter().any(|time| time.is_none() || *time < newest) {
            build(&folder);
        }
        folder
    })
}

fn build(folder: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "-p", "aditd", "-p", "adit-cli"])
        .current_dir(repository());
    if let Some(target) = folder.parent() {
        command.arg("--target-dir").arg(target);
    }
    if folder.ends_with("release") {
        command.arg("--release");
    }
    let status = command
        .status()
        .expect("cargo runs the tests, so it can build");
    assert!(status.success(), "`{command:?}` ended with {status}");
}

fn newest_source(folder: &Path) -> Option<SystemTime> {
    let mut newest = None;
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let time = if path.is_dir() {
            if name == "tests" {
                None
            } else {
                newest_source(&path)
            }
        } else if path.extension().is_some_and(|ext| ext == "rs") || name == "Cargo.toml" {
            modified(&path)
        } else {
            None
        };
        newest = newest.max(time);
    }
    newest
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|facts| facts.modified())
        .ok()
}
