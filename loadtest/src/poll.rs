//! Readiness of many sockets on one thread: epoll, and a timer finer than its milliseconds.
//!
//! It knows sockets by their tokens only; what they carry is left to its users.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

/// An epoll instance and its timer.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    timer: OwnedFd,
}

/// What a socket is watched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    Read,
    Write,
    Both,
    /// Only for its end.
    Nothing,
}

/// A socket that can go on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) token: u64,
    /// There is something to read, or it has failed or ended.
    pub(crate) read: bool,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        epoll::add(
            &epoll,
            &timer,
            epoll::EventData::new_u64(TIMER),
            // Edge-triggered: setting it anew makes the next expiry an event; it is never read.
            epoll::EventFlags::IN | epoll::EventFlags::ET,
        )?;
        Ok(Self { epoll, timer })
    }

    pub(crate) fn add(&self, socket: impl AsFd, token: u64, watch: Watch) -> io::Result<()> {
        epoll::add(
            &self.epoll,
            socket,
            epoll::EventData::new_u64(token),
            flags(watch),
        )?;
        Ok(())
    }

    pub(crate) fn change(&self, socket: impl AsFd, token: u64, watch: Watch) -> io::Result<()> {
        epoll::modify(
            &self.epoll,
            socket,
            epoll::EventData::new_u64(token),
            flags(watch),
        )?;
        Ok(())
    }

    /// Waits until a socket can go on or `limit` has passed, to the microsecond. Nothing is
    /// returned twice unless it is still so.
    pub(crate) fn wait(&self, limit: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        // epoll waits for whole milliseconds; for anything else the timer decides and the timeout stands
        // behind it.
        let timeout = if limit.subsec_nanos().is_multiple_of(1_000_000) {
            limit
        } else {
            timerfd_settime(
                &self.timer,
                TimerfdTimerFlags::empty(),
                &Itimerspec {
                    it_interval: timespec(Duration::ZERO),
                    it_value: timespec(limit),
                },
            )?;
            limit + Duration::from_millis(2)
        };
        let mut events = [const { MaybeUninit::uninit() }; EVENTS_A_TURN];
        let waited = epoll::wait(&self.epoll, &mut events[..], Some(&timespec(timeout)));
        let events = match waited {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for event in events {
            let token = event.data.u64();
            if token == TIMER {
                continue;
            }
            let flags = event.flags;
            ready.push(Ready {
                token,
                read: flags.intersects(ENDED_OR_READABLE),
            });
        }
        Ok(())
    }
}

fn flags(watch: Watch) -> epoll::EventFlags {
    match watch {
        Watch::Read => epoll::EventFlags::IN | epoll::EventFlags::RDHUP,
        Watch::Write => epoll::EventFlags::OUT,
        Watch::Both => epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::OUT,
        Watch::Nothing => epoll::EventFlags::empty(),
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}

const ENDED_OR_READABLE: epoll::EventFlags = epoll::EventFlags::IN
    .union(epoll::EventFlags::RDHUP)
    .union(epoll::EventFlags::ERR)
    .union(epoll::EventFlags::HUP);
const TIMER: u64 = u64::MAX;
const EVENTS_A_TURN: usize = 128;
