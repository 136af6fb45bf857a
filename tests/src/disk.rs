//! A disk of a few mebibytes that can be filled, emptied and made read-only: a tmpfs in a mount namespace of its own.
//!
//! Programs enter the namespace to use it, so nothing of it is left on the machine when the test has gone. The test looks
//! in from outside through `/proc/PID/root`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::{SOON, until};

/// The disk.
#[derive(Debug)]
pub struct Disk {
    keeper: Process,
    path: PathBuf,
    is_root: bool,
    _scratch: Scratch,
}

impl Disk {
    /// A disk of `kib` KiB; `None`, told loudly, where this machine lets nobody mount one.
    ///
    /// # Panics
    /// When the machine allows namespaces and the disk does not come up.
    #[must_use]
    pub fn small(kib: u32) -> Option<Self> {
        let is_root = rustix::process::geteuid().is_root();
        let scratch = Scratch::new();
        let path = scratch.path("disk");
        std::fs::create_dir(&path).expect("one's own folder");
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private"]);
        if !is_root {
            unshare.arg("--map-root-user");
        }
        unshare.args(["sh", "-c"]);
        unshare.arg("mount -t tmpfs -o mode=0700,size=\"$1\"k tmpfs \"$0\" && exec sleep infinity");
        unshare.arg(&path).arg(kib.to_string());
        let mut keeper = Process::start("unshare", &mut unshare, &scratch.path("unshare.log"));
        let mounted = format!(" {} ", path.display());
        let mut refused = false;
        until("the small disk is mounted", SOON, || {
            refused = keeper.ended().is_some();
            let mounts = std::fs::read_to_string(format!("/proc/{}/mounts", keeper.pid()));
            refused || mounts.is_ok_and(|mounts| mounts.contains(&mounted))
        });
        if refused {
            eprintln!(
                "SKIPPED: this machine lets nobody mount a disk, run as root: {}",
                keeper.log()
            );
            return None;
        }
        Some(Self {
            keeper,
            path,
            is_root,
            _scratch: scratch,
        })
    }

    /// Where it is for those who have entered.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is for those who have not.
    #[must_use]
    pub fn outside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.pid()));
        root.join(self.path.strip_prefix("/").unwrap_or(&self.path))
    }

    /// The beginning of a command line that enters.
    #[must_use]
    pub fn enter(&self) -> Vec<String> {
        let target = self.keeper.pid().to_string();
        let mut words = vec!["nsenter", "--target", &target, "--mount"];
        if !self.is_root {
            words.extend(["--user", "--preserve-credentials"]);
        }
        words.into_iter().map(str::to_owned).collect()
    }

    /// Takes all room that is left.
    ///
    /// # Panics
    /// When it is not full then.
    pub fn fill(&self) {
        let mut file = File::create(self.outside().join(FILLER)).expect("a disk with room");
        let mut size = 64 * 1024;
        loop {
            match file.write(&vec![1; size]) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                    if size == 1 {
                        return;
                    }
                    // The last bytes one by one: a page of somebody else's file may be free in part.
                    size /= 2;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn empty(&self) {
        std::fs::remove_file(self.outside().join(FILLER)).expect("it was filled");
    }

    /// Whoever opens something from now on finds the disk read-only; or, with `false`, as it was.
    ///
    /// # Panics
    /// When it cannot be done.
    pub fn read_only(&self, yes: bool) {
        let script = if yes {
            // A second mount over the first: one that is in use for writing cannot be made read-only itself.
            "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\""
        } else {
            "umount \"$0\""
        };
        let enter = self.enter();
        let (program, words) = enter.split_first().expect("a command line");
        let status = Command::new(program)
            .args(words)
            .args(["sh", "-c", script])
            .arg(&self.path)
            .status()
            .expect("nsenter is there");
        assert!(status.success(), "{script}: {status}");
    }
}

const FILLER: &str = "filler";
