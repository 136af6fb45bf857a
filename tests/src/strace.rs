//! A process under strace(1), which kills it before the N-th of the system calls that a story is about.
//!
//! A signal that strace sends on entering a call keeps that call from being made, so the state left behind is exactly
//! the one between two calls. Which calls belong to the story, and what must hold afterwards, the tests say.

use std::process::Command;

use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::{SOON, until};

/// A strace that is attached.
#[derive(Debug)]
pub struct Strace {
    process: Process,
}

impl Strace {
    /// Attaches to all threads of `target`, which SIGKILL ends when one of them is about to make its `nth` system call
    /// named `call`. Counted from now; only calls on `paths` if there are any: files, folders, `socket:[inode]`.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    pub fn kill_before(
        target: u32,
        call: &str,
        nth: usize,
        paths: &[String],
        scratch: &Scratch,
    ) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-qqq", "-p", &target.to_string(), "-o"]);
        command.arg(scratch.path("trace"));
        command.arg("-e").arg(format!("trace={call}"));
        let inject = format!("inject={call}:signal=SIGKILL:when={nth}");
        command.arg("-e").arg(inject);
        for path in paths {
            command.arg("-P").arg(path);
        }
        let mut process = Process::start("strace", &mut command, &scratch.path("strace.log"));
        let tracer = format!("TracerPid:\t{}\n", process.pid());
        until("strace is attached to all threads", SOON, || {
            process.must_run();
            let threads = std::fs::read_dir(format!("/proc/{target}/task"));
            let threads: Vec<_> = threads.into_iter().flatten().flatten().collect();
            let is_traced = |thread: &std::fs::DirEntry| {
                std::fs::read_to_string(thread.path().join("status"))
                    .is_ok_and(|status| status.contains(&tracer))
            };
            !threads.is_empty() && threads.iter().all(is_traced)
        });
        Self { process }
    }

    /// Lets go of a process that lived.
    pub fn detach(mut self) {
        // Asked to end, it may wait for a thread that never stops for it; ptrace(2) frees them all when it is gone.
        self.process.kill();
    }
}

/// The sockets of `process` that are connected to port `peer` over IPv4, as [`Strace::kill_before`] takes them.
#[must_use]
pub fn sockets_to(process: u32, peer: u16) -> Vec<String> {
    // proc_pid_net(5): addresses are hexadecimal; the inode is the tenth field.
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).unwrap_or_default();
    let port = format!(":{peer:04X}");
    let inodes: Vec<String> = table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (remote, inode) = (fields.get(2)?, fields.get(9)?);
            remote.ends_with(&port).then(|| format!("socket:[{inode}]"))
        })
        .collect();
    let held = std::fs::read_dir(format!("/proc/{process}/fd"));
    held.into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .filter(|target| inodes.contains(target))
        .collect()
}
