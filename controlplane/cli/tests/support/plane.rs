//! A real `adit serve` on a free port, and people who use it from a desk.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{Desk, Run};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A control plane, ended with the test.
pub(crate) struct Plane {
    pub(crate) desk: Desk,
    server: Child,
    pub(crate) url: String,
    pub(crate) pin: String,
}

impl Plane {
    /// A control plane that nobody has logged in to.
    pub(crate) fn fresh() -> Self {
        let desk = Desk::new();
        desk.write(
            "server.toml",
            "[server]\nname = \"cp-1\"\nlisten = \"127.0.0.1:0\"\nstate = \"state\"\n",
        );
        secret(&desk, "password", PASSWORD);
        let mut server = desk
            .command()
            .args(["serve", "--config", "server.toml", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("adit was built");
        let stdout = server.stdout.take().expect("its output is piped");
        let mut text = String::new();
        for line in BufReader::new(stdout).lines() {
            let line = line.expect("adit serve says where it is");
            text.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let said: Value = serde_json::from_str(&text).expect("adit serve prints JSON");
        let word = |name: &str| said[name].as_str().expect("a text").to_owned();
        Self {
            url: format!("https://{}", word("address")),
            pin: word("pin"),
            desk,
            server,
        }
    }

    /// A control plane of which Ada is the administrator, logged in.
    pub(crate) fn of_ada() -> Self {
        let plane = Self::fresh();
        let run = plane.run(
            "ada",
            &[
                "login",
                &plane.url,
                "--root",
                "state/ca.pem",
                "--setup",
                "state/setup-token",
                "--user",
                "ada",
                "--password-file",
                "password",
            ],
        );
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        plane
    }

    /// Somebody else with an account and a login.
    pub(crate) fn also(&self, who: &str, grant: &str) {
        let run = self.adit(&[
            "users",
            "add",
            who,
            "--grant",
            grant,
            "--password-file",
            "password",
        ]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let run = self.run(who, &self.login(who));
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    }

    pub(crate) fn login<'a>(&'a self, who: &'a str) -> [&'a str; 8] {
        [
            "login",
            &self.url,
            "--root",
            "state/ca.pem",
            "--user",
            who,
            "--password-file",
            "password",
        ]
    }

    /// The program in the hands of `who`.
    pub(crate) fn command(&self, who: &str, args: &[&str]) -> Command {
        let mut command = self.desk.command();
        command
            .env("ADIT_CONFIG_DIR", self.desk.path(&format!("config-{who}")))
            .env_remove("ADIT_SERVER")
            .env_remove("ADIT_ROOT")
            .env_remove("ADIT_TOKEN_FILE")
            .env_remove("ADIT_CERTIFICATE_FILE")
            .env_remove("ADIT_KEY_FILE")
            .stdin(Stdio::null())
            .args(args);
        command
    }

    pub(crate) fn run(&self, who: &str, args: &[&str]) -> Run {
        self.command(who, args)
            .output()
            .expect("adit was built")
            .into()
    }

    /// What Ada does.
    pub(crate) fn adit(&self, args: &[&str]) -> Run {
        self.run("ada", args)
    }

    /// What Ada does, and it is done.
    pub(crate) fn done(&self, args: &[&str]) -> Run {
        let run = self.adit(args);
        assert_eq!(run.code, Some(0), "{args:?}: {}{}", run.stdout, run.stderr);
        run
    }

    /// Starts a command of Ada's at a terminal.
    pub(crate) fn at_terminal(&self, args: &[&str]) -> Terminal {
        let (hers, its) = terminal();
        let mut command = self.command("ada", args);
        let child = command
            .stdin(its.try_clone().expect("a descriptor"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("adit was built");
        Terminal { child, hers, its }
    }

    pub(crate) fn profile(&self, who: &str) -> PathBuf {
        self.desk.path(&format!("config-{who}/plane.json"))
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A command whose standard input is a terminal.
pub(crate) struct Terminal {
    child: Child,
    hers: File,
    its: File,
}

impl Terminal {
    /// Waits for a question that ends with `end`, on standard error.
    pub(crate) fn asked(&mut self, end: &str) -> String {
        let stderr = self.child.stderr.as_mut().expect("it is piped");
        let mut said = Vec::new();
        let mut byte = [0];
        while !said.ends_with(end.as_bytes()) {
            let got = stderr.read(&mut byte).expect("adit asks");
            assert_eq!(got, 1, "ended with {:?}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&byte);
        }
        String::from_utf8(said).expect("adit writes UTF-8")
    }

    pub(crate) fn types(&mut self, text: &str) {
        self.hers.write_all(text.as_bytes()).expect("it listens");
    }

    /// Whether the terminal shows what is typed.
    pub(crate) fn shows(&self) -> bool {
        let settings = rustix::termios::tcgetattr(&self.its).expect("a terminal has settings");
        settings
            .local_modes
            .contains(rustix::termios::LocalModes::ECHO)
    }

    /// How it ended when it was interrupted, and whether the terminal shows what is typed.
    pub(crate) fn interrupted(mut self) -> (bool, Run) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
        let mut stderr = self.child.stderr.take().expect("it is piped");
        let mut said = String::new();
        stderr.read_to_string(&mut said).expect("adit writes UTF-8");
        let shows = self.shows();
        let status = self.child.wait().expect("it ends");
        let run = Run {
            code: status.code(),
            stdout: String::new(),
            stderr: said,
        };
        (shows, run)
    }

    /// How it ended, and what the terminal had shown of what was typed.
    pub(crate) fn told(mut self) -> (String, Run) {
        let run = self.child.wait_with_output().expect("it ends").into();
        drop(self.its);
        // Its own end is closed by now, so what is left is read and then an error.
        let mut shown = Vec::new();
        let _ = self.hers.read_to_end(&mut shown);
        (String::from_utf8_lossy(&shown).into_owned(), run)
    }
}

/// Both ends of a new terminal.
fn terminal() -> (File, File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let hers = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&hers).expect("it may be used");
    unlockpt(&hers).expect("it may be used");
    let name = ptsname(&hers, Vec::new()).expect("it has a name");
    let name = name.into_string().expect("its name is UTF-8");
    let its = OpenOptions::new()
        .read(true)
        .write(true)
        // O_NOCTTY: it shall not become the test's own.
        .custom_flags(0o400)
        .open(name)
        .expect("its other end");
    (File::from(hers), its)
}

/// A file that only its owner can read.
pub(crate) fn secret(desk: &Desk, name: &str, text: &str) {
    let path = desk.write(name, text);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}

pub(crate) fn mode(path: PathBuf) -> u32 {
    let metadata = std::fs::metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o777
}
