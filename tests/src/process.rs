//! A child process: its log, its end, and never a trace of it after the test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until_some;

/// A running program, killed by its own id when dropped, also when the test panics.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
    gently: bool,
}

impl Process {
    /// Starts `command`; what it prints goes to `log`, behind what stands there.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let second = file.try_clone().expect("a descriptor can be copied");
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(second)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{command:?}: {error}; is it installed? see tests/peers.sh")
            });
        Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            ended: None,
            gently: false,
        }
    }

    /// When dropped it is asked to end before it is killed: for programs with children of their own.
    pub fn end_gently(&mut self) {
        self.gently = true;
    }

    /// Its id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child can be asked for");
        }
        self.ended
    }

    /// Fails the test if it has ended.
    ///
    /// # Panics
    /// When it has.
    pub fn must_run(&mut self) {
        if let Some(status) = self.ended() {
            panic!(
                "{} ended by itself: {status}\n{}",
                self.name,
                self.last_lines()
            );
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("end of {}", self.name);
        until_some(&what, limit, || self.ended())
    }

    /// SIGTERM.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// SIGSTOP: it is there and does nothing.
    pub fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            // An error says that it has just ended.
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }

    fn signal(&mut self, signal: Signal) {
        // Until it was waited for, the id is the child's and nobody else's.
        if self.ended().is_none()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, signal);
        }
    }

    /// What it has printed; nothing when that went into a pipe.
    #[must_use]
    pub fn log(&self) -> String {
        if !self.log.is_file() {
            return String::new();
        }
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Resident memory in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// Most resident memory it ever had, or since it was last forgotten.
    #[must_use]
    pub fn most_resident_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Forgets how much resident memory it once had.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn forget_most_resident(&self) {
        // proc_pid_clear_refs(5): 5 sets the peak to what is resident now.
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5")
            .expect("one's own child may be told so");
    }

    fn memory(&self, line: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let kib = status
            .lines()
            .find_map(|found| found.strip_prefix(line))
            .and_then(|rest| rest.trim().strip_suffix("kB"))
            .and_then(|number| number.trim().parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    /// Open descriptors.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).map_or(0, Iterator::count)
    }

    /// Processor time used so far.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        // Behind the name in parentheses: state is field 3, utime 14, stime 15 (proc(5)).
        let ticks: u64 = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().skip(11).take(2))
            .into_iter()
            .flatten()
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    fn last_lines(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(LOG_LINES);
        format!(
            "--- the end of {}'s log ---\n{}\n---",
            self.name,
            lines[first..].join("\n")
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.thaw();
        if self.gently {
            self.terminate();
            let deadline = Instant::now() + GENTLE_WITHIN;
            while self.ended().is_none() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.last_lines());
            return;
        }
        // Whatever else a test looks at, none may pass over a program that panicked.
        assert!(
            !self.log().contains("panicked at"),
            "{} panicked\n{}",
            self.name,
            self.last_lines()
        );
    }
}

/// How long a program may take to end its own children.
const GENTLE_WITHIN: Duration = Duration::from_secs(15);
/// Lines of a log shown when a test fails.
const LOG_LINES: usize = 60;
