//! A shard: one thread, one ring, and everything of its connections.
//!
//! Chooses the driver (io_uring, or epoll where that is missing or forbidden) and says why; starts
//! the threads. What a shard does is its role's business.

use std::fmt;
use std::future::Future;
use std::io;
use std::thread::JoinHandle;

/// How a shard waits for its sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Driver {
    /// io_uring.
    IoUring,
    /// epoll: old kernels and containers that forbid io_uring.
    Epoll,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}

/// The driver in use and the reason, for `status` and the log.
#[derive(Clone, Debug)]
pub struct Choice {
    /// What is used.
    pub driver: Driver,
    /// Why.
    pub reason: String,
}

/// Chooses the driver: what `ADITD_DRIVER` says (`auto`, `io_uring`, `epoll`), else io_uring where a
/// ring can be made.
///
/// # Errors
/// When `ADITD_DRIVER` says something else, or asks for an io_uring that cannot be made.
pub fn choose(wish: Option<&str>) -> Result<Choice, String> {
    match wish {
        None | Some("" | "auto") => Ok(match probe() {
            Ok(()) => Choice {
                driver: Driver::IoUring,
                reason: "io_uring is available".to_owned(),
            },
            Err(error) => Choice {
                driver: Driver::Epoll,
                reason: format!("io_uring cannot be used here: {error}"),
            },
        }),
        Some("epoll") => Ok(Choice {
            driver: Driver::Epoll,
            reason: "ADITD_DRIVER=epoll".to_owned(),
        }),
        Some("io_uring") => probe()
            .map(|()| Choice {
                driver: Driver::IoUring,
                reason: "ADITD_DRIVER=io_uring".to_owned(),
            })
            .map_err(|error| {
                format!("ADITD_DRIVER=io_uring, but io_uring cannot be used here: {error}; use auto or epoll")
            }),
        Some(other) => Err(format!(
            "ADITD_DRIVER={other} is not known; use auto, io_uring or epoll"
        )),
    }
}

/// Runs `future` to its end on this thread with a driver of its own.
///
/// # Errors
/// When the driver cannot be made.
pub fn run_here<F: Future>(driver: Driver, future: F) -> io::Result<F::Output> {
    let future = async {
        crate::pace::begin();
        crate::timer::begin();
        future.await
    };
    match driver {
        Driver::IoUring => {
            let with = |settings| {
                monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
                    .enable_timer()
                    .with_entries(RING_ENTRIES)
                    .uring_builder(settings)
                    .build()
            };
            // Else each socket that becomes ready interrupts the shard, from whichever core; it looks often enough.
            let mut cooperative = io_uring::IoUring::builder();
            cooperative.setup_coop_taskrun();
            with(cooperative)
                .or_else(|error| {
                    // A kernel before 5.19 (io_uring_setup(2)).
                    if error.kind() == io::ErrorKind::InvalidInput {
                        with(io_uring::IoUring::builder())
                    } else {
                        Err(error)
                    }
                })
                .map(|mut runtime| runtime.block_on(future))
        }
        Driver::Epoll => monoio::RuntimeBuilder::<monoio::LegacyDriver>::new()
            .enable_timer()
            .build()
            .map(|mut runtime| runtime.block_on(future)),
    }
}

/// Starts shard `index` on a thread of its own. `main` is called there; the thread ends with its future.
///
/// # Errors
/// When the thread cannot be started.
pub fn start<M, F>(driver: Driver, index: usize, main: M) -> io::Result<JoinHandle<io::Result<()>>>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    std::thread::Builder::new()
        .name(format!("shard-{index}"))
        .spawn(move || run_here(driver, async move { main().await }))
}

/// How many cores this process may use; at least 1.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn probe() -> Result<(), String> {
    if !monoio::utils::detect_uring() {
        return Err("the kernel lacks it, or a sysctl or seccomp profile forbids it".to_owned());
    }
    run_here(Driver::IoUring, async {}).map_err(|error| error.to_string())
}

/// Submission queue entries of a ring. A full queue is submitted early, never an error.
const RING_ENTRIES: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_wish_is_refused_with_the_known_ones() {
        let error = choose(Some("kqueue")).unwrap_err();
        assert!(error.contains("auto, io_uring or epoll"), "{error}");
    }

    #[test]
    fn epoll_can_be_asked_for() {
        assert_eq!(choose(Some("epoll")).unwrap().driver, Driver::Epoll);
    }

    #[test]
    fn both_drivers_run_a_future() {
        for driver in [choose(None).unwrap().driver, Driver::Epoll] {
            assert_eq!(run_here(driver, async { 7 }).unwrap(), 7);
        }
    }
}
