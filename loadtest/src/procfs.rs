//! What the kernel tells of processes: processor time, memory, sockets, children.
//!
//! Processor time is the sum over a process's threads of `/proc/<pid>/task/<tid>/schedstat`, in
//! nanoseconds (user and system together), thread by thread. Threads that ended leave their time only in
//! `/proc/<pid>/stat`, which counts in clock ticks; the larger of the two differences is taken.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Processor time of some processes at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu(BTreeMap<u32, Used>);

/// What one process has used: each thread by its own account, all that ever ran in ticks.
#[derive(Clone, Debug, Default)]
struct Used {
    threads: BTreeMap<u32, Duration>,
    ticks: Duration,
}

impl Cpu {
    /// Now.
    pub(crate) fn of(pids: &[u32]) -> Self {
        Self(
            pids.iter()
                .map(|pid| {
                    let used = Used {
                        threads: threads(*pid),
                        ticks: ticks(*pid),
                    };
                    (*pid, used)
                })
                .collect(),
        )
    }

    /// What `pid` has used since `earlier`.
    pub(crate) fn since(&self, earlier: &Self, pid: u32) -> Duration {
        let none = Used::default();
        let now = self.0.get(&pid).unwrap_or(&none);
        let then = earlier.0.get(&pid).unwrap_or(&none);
        // Thread by thread: one that ended meanwhile takes its account with it, and nothing of the others'.
        let fine = now.threads.iter().map(|(thread, used)| {
            let before = then.threads.get(thread).copied();
            used.saturating_sub(before.unwrap_or_default())
        });
        let fine: Duration = fine.sum();
        let coarse = now.ticks.saturating_sub(then.ticks);
        // The coarse one is off by a tick at each end, for user and system each.
        if coarse > fine + 4 * tick() {
            coarse
        } else {
            fine
        }
    }

    /// What all of them have used since `earlier`.
    pub(crate) fn all_since(&self, earlier: &Self) -> Duration {
        self.0.keys().map(|pid| self.since(earlier, *pid)).sum()
    }
}

/// Processor time of the threads of this process whose name begins with `name`.
pub(crate) fn own_threads(name: &str) -> Duration {
    let mut sum = Duration::ZERO;
    for entry in fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let folder = entry.path();
        let is_one =
            fs::read_to_string(folder.join("comm")).is_ok_and(|comm| comm.starts_with(name));
        if is_one {
            sum += schedstat(&fs::read_to_string(folder.join("schedstat")).unwrap_or_default());
        }
    }
    sum
}

/// Processor time of everything on this machine, all processors, idle time left out.
pub(crate) fn machine_busy() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().map_or(0, busy_ticks);
    tick().saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))
}

/// proc(5): `cpu user nice system idle iowait irq softirq steal guest guest_nice`; guests are in user.
fn busy_ticks(line: &str) -> u64 {
    line.split_whitespace()
        .skip(1)
        .take(8)
        .enumerate()
        .filter(|(index, _)| *index != 3 && *index != 4)
        .filter_map(|(_, field)| field.parse::<u64>().ok())
        .sum()
}

fn threads(pid: u32) -> BTreeMap<u32, Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    tasks
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let thread = entry.file_name().to_str()?.parse().ok()?;
            let text = fs::read_to_string(entry.path().join("schedstat")).ok()?;
            Some((thread, schedstat(&text)))
        })
        .collect()
}

/// The first field of `schedstat` is the time on a processor, in nanoseconds.
fn schedstat(text: &str) -> Duration {
    let first = text.split_whitespace().next();
    Duration::from_nanos(first.and_then(|field| field.parse().ok()).unwrap_or(0))
}

fn ticks(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    tick().saturating_mul(u32::try_from(stat_ticks(&stat)).unwrap_or(u32::MAX))
}

/// Behind the name in parentheses: state is field 3, utime 14, stime 15 (proc(5)).
fn stat_ticks(stat: &str) -> u64 {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum()
}

/// The resolution of `/proc/<pid>/stat`.
pub(crate) fn tick() -> Duration {
    let a_second = u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100);
    Duration::from_secs(1) / a_second.max(1)
}

/// Memory of a process in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    /// Shared pages divided by those who share them.
    pub(crate) proportional: u64,
}

/// Memory of all of `pids` together.
pub(crate) fn memory(pids: &[u32]) -> Memory {
    pids.iter()
        .map(|pid| {
            parse_rollup(
                &fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default(),
            )
        })
        .fold(Memory::default(), |sum, one| Memory {
            resident: sum.resident + one.resident,
            proportional: sum.proportional + one.proportional,
        })
}

fn parse_rollup(text: &str) -> Memory {
    let kib = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key))
            .and_then(|rest| rest.trim().strip_suffix("kB"))
            .and_then(|number| number.trim().parse::<u64>().ok())
            .unwrap_or(0)
    };
    Memory {
        resident: kib("Rss:") * 1024,
        proportional: kib("Pss:") * 1024,
    }
}

/// What the kernel holds for sockets and descriptors of this machine, in bytes: buffers of TCP, and
/// the slabs that socket, file and epoll structures come from.
pub(crate) fn kernel_memory() -> u64 {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    parse_sockstat(&read("/proc/net/sockstat")) + parse_slab(&read("/proc/meminfo"))
}

fn parse_slab(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("Slab:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB"));
    kib.and_then(|number| number.trim().parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

/// `TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 12`, the last in pages of 4 KiB.
fn parse_sockstat(text: &str) -> u64 {
    let line = text
        .lines()
        .find(|line| line.starts_with("TCP:"))
        .unwrap_or("");
    let mut words = line
        .split_whitespace()
        .skip_while(|word| *word != "mem")
        .skip(1);
    words
        .next()
        .and_then(|pages| pages.parse::<u64>().ok())
        .unwrap_or(0)
        * 4096
}

/// `pid` and all that came from it.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut looked_at = 0;
    while let Some(parent) = family.get(looked_at).copied() {
        looked_at += 1;
        for entry in fs::read_dir(format!("/proc/{parent}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let children = fs::read_to_string(entry.path().join("children")).unwrap_or_default();
            family.extend(
                children
                    .split_whitespace()
                    .filter_map(|child| child.parse::<u32>().ok()),
            );
        }
    }
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 37 5 0 0 20 0 4 0 100 1 1";
        assert_eq!(stat_ticks(stat), 42);
    }

    #[test]
    fn idle_and_waiting_for_disks_are_no_work() {
        assert_eq!(
            busy_ticks("cpu  1 2 3 1000 2000 4 5 6 7 8"),
            1 + 2 + 3 + 4 + 5 + 6
        );
    }

    #[test]
    fn memory_is_told_in_bytes() {
        let text =
            "5600-7ff0 ---p 0 0 0 [rollup]\nRss:      100 kB\nPss:       60 kB\nPss_Dirty: 9 kB\n";
        let memory = parse_rollup(text);
        assert_eq!(memory.resident, 100 * 1024);
        assert_eq!(memory.proportional, 60 * 1024);
    }

    #[test]
    fn pages_of_sockets_are_told_in_bytes() {
        let text =
            "sockets: used 9\nTCP: inuse 5 orphan 0 tw 0 alloc 7 mem 12\nUDP: inuse 0 mem 3\n";
        assert_eq!(parse_sockstat(text), 12 * 4096);
        assert_eq!(
            parse_slab("MemTotal: 9 kB\nSlab:     70 kB\nSReclaimable: 3 kB\n"),
            70 * 1024
        );
    }

    #[test]
    fn a_thread_that_worked_has_used_time() {
        let me = std::process::id();
        let before = Cpu::of(&[me]);
        let mut sum = 0_u64;
        let end = std::time::Instant::now() + Duration::from_millis(30);
        while std::time::Instant::now() < end {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(Cpu::of(&[me]).all_since(&before) > Duration::ZERO);
    }

    #[test]
    fn a_thread_that_ends_takes_nothing_of_what_others_have_used_since() {
        let used = |threads: &[(u32, u64)]| Used {
            threads: threads
                .iter()
                .map(|(thread, millis)| (*thread, Duration::from_millis(*millis)))
                .collect(),
            ticks: Duration::ZERO,
        };
        let before = Cpu(BTreeMap::from([(1, used(&[(1, 10), (2, 500)]))]));
        let after = Cpu(BTreeMap::from([(1, used(&[(1, 13), (3, 4)]))]));
        assert_eq!(after.since(&before, 1), Duration::from_millis(7));
    }

    #[test]
    fn a_child_belongs_to_the_family() {
        let mut child = std::process::Command::new("sleep")
            .arg("5")
            .spawn()
            .unwrap();
        assert!(family(std::process::id()).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
