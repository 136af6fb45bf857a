//! Messages to a shard from other threads: moved connections, answers, commands.
//!
//! Off the byte path by design: a message costs a lock and, when the shard sleeps, one byte through
//! a socket pair. Payload never travels here.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::drain::Drain;

/// Sends to one shard; cheap to clone.
#[derive(Debug)]
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

/// The shard's end before the shard runs; [`Receiver::open`] turns it into the awaitable one.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    bell: UnixStream,
}

/// The shard's end.
#[derive(Debug)]
pub struct Inbox<T> {
    shared: Arc<Shared<T>>,
    bell: monoio::net::UnixStream,
}

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<VecDeque<T>>,
    // Set when a byte is in the pair and not yet read: further messages need no other.
    rung: AtomicBool,
    closed: AtomicBool,
    bell: UnixStream,
    capacity: usize,
}

/// A mailbox for at most `capacity` waiting messages.
///
/// # Errors
/// When no socket pair can be made.
pub fn mailbox<T>(capacity: usize) -> io::Result<(Sender<T>, Receiver<T>)> {
    let (ring, bell) = UnixStream::pair()?;
    ring.set_nonblocking(true)?;
    bell.set_nonblocking(true)?;
    let shared = Arc::new(Shared {
        queue: Mutex::new(VecDeque::new()),
        rung: AtomicBool::new(false),
        closed: AtomicBool::new(false),
        bell: ring,
        capacity,
    });
    Ok((
        Sender {
            shared: Arc::clone(&shared),
        },
        Receiver { shared, bell },
    ))
}

/// Leaves what `message` makes in all of `mailboxes`, in those that are full as soon as they have room. For housekeeping;
/// returns when all have it. A shard that has ended needs none, and a process that drains waits for no room.
pub async fn tell_all<T>(mailboxes: &[Sender<T>], drain: &Drain, message: impl Fn() -> T) {
    let mut waiting: Vec<&Sender<T>> = mailboxes.iter().collect();
    loop {
        waiting.retain(|mailbox| mailbox.send(message()).is_err() && !mailbox.is_closed());
        if waiting.is_empty() || !drain.is_serving() {
            return;
        }
        tokio::time::sleep(FULL_PAUSE).await;
    }
}

impl<T> Sender<T> {
    /// Leaves a message.
    ///
    /// # Errors
    /// The message itself when the mailbox is full or its shard has ended.
    pub fn send(&self, message: T) -> Result<(), T> {
        if self.shared.closed.load(Ordering::Acquire) {
            return Err(message);
        }
        {
            let mut queue = self.shared.queue.lock();
            if queue.len() >= self.shared.capacity {
                return Err(message);
            }
            queue.push_back(message);
        }
        if !self.shared.rung.swap(true, Ordering::AcqRel) {
            // The pair holds far more than one byte, so this cannot block; a closed end means the
            // shard has ended and its messages with it.
            let _ = (&self.shared.bell).write(&[1]);
        }
        Ok(())
    }
}

impl<T> Sender<T> {
    fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }
}

impl<T> Receiver<T> {
    /// Opens the inbox; must be called on the shard's own thread.
    ///
    /// # Errors
    /// When the driver refuses the descriptor.
    pub fn open(self) -> io::Result<Inbox<T>> {
        Ok(Inbox {
            shared: self.shared,
            bell: monoio::net::UnixStream::from_std(self.bell)?,
        })
    }
}

impl<T> Inbox<T> {
    /// The next message.
    pub async fn next(&mut self) -> T {
        use monoio::io::AsyncReadRent;
        loop {
            if let Some(message) = self.shared.queue.lock().pop_front() {
                return message;
            }
            // Reset before looking again: a sender that queues after the look rings anew.
            self.shared.rung.store(false, Ordering::Release);
            if let Some(message) = self.shared.queue.lock().pop_front() {
                return message;
            }
            // Readiness first: on a ring a read of a non-blocking socket does not wait.
            if self.bell.readable(false).await.is_ok() {
                crate::clock::woken();
                let (_, _) = self.bell.read(vec![0_u8; 8]).await;
            }
        }
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.queue.lock().clear();
    }
}

/// Between two tries to leave a message in a full mailbox.
const FULL_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::Phase;
    use crate::shard::{Driver, choose, run_here};

    #[test]
    fn messages_of_other_threads_arrive_in_order_on_both_drivers() {
        for driver in [choose(None).unwrap().driver, Driver::Epoll] {
            let (sender, receiver) = mailbox(10_000).unwrap();
            let writer = std::thread::spawn(move || {
                for n in 0..5_000_u32 {
                    sender.send(n).expect("room for all");
                }
            });
            let sum = run_here(driver, async move {
                let mut inbox = receiver.open().unwrap();
                for n in 0..5_000 {
                    assert_eq!(inbox.next().await, n);
                }
                true
            });
            assert!(sum.unwrap());
            writer.join().unwrap();
        }
    }

    #[test]
    fn whoever_waited_for_a_message_finds_the_clock_read_anew() {
        const LATER: Duration = Duration::from_millis(30);
        for driver in [choose(None).unwrap().driver, Driver::Epoll] {
            let (sender, receiver) = mailbox(1).unwrap();
            let waited = run_here(driver, async move {
                let mut inbox = receiver.open().unwrap();
                let begun = crate::clock::now();
                let writer = std::thread::spawn(move || {
                    std::thread::sleep(LATER);
                    sender.send(()).unwrap();
                });
                inbox.next().await;
                writer.join().unwrap();
                crate::clock::recent() - begun
            });
            assert!(waited.unwrap() >= LATER);
        }
    }

    #[test]
    fn all_mailboxes_are_told_a_full_one_last_and_none_that_has_ended() {
        let driver = choose(None).unwrap().driver;
        let (full, receiver) = mailbox(1).unwrap();
        let (ended, gone) = mailbox(1).unwrap();
        let (free, last) = mailbox(2).unwrap();
        full.send(1).unwrap();
        run_here(driver, async move { drop(gone.open()) }).unwrap();
        let all = vec![full, ended, free];
        let telling = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(tell_all(&all, &Drain::new(), || 2));
        });
        // The one with room has it although another one before it is full.
        run_here(driver, async move {
            assert_eq!(last.open().unwrap().next().await, 2);
            let mut inbox = receiver.open().unwrap();
            assert_eq!(inbox.next().await, 1);
            assert_eq!(inbox.next().await, 2);
        })
        .unwrap();
        telling.join().unwrap();
    }

    #[test]
    fn a_process_that_drains_waits_for_no_room() {
        let (full, _receiver) = mailbox(1).unwrap();
        full.send(1).unwrap();
        let drain = Drain::new();
        drain.advance(Phase::Draining);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(tell_all(&[full], &drain, || 2));
    }

    #[test]
    fn a_full_mailbox_gives_the_message_back() {
        let (sender, _receiver) = mailbox(1).unwrap();
        assert_eq!(sender.send(1), Ok(()));
        assert_eq!(sender.send(2), Err(2));
    }
}
