//! The network between agent and gateway, as far as a test can break it: a TCP relay whose
//! connections can be cut, reset or silently stalled.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::net;

/// A relay to one address.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    target: Mutex<Option<SocketAddr>>,
    over: AtomicBool,
    carried: AtomicUsize,
    strands: Mutex<Vec<Arc<Strand>>>,
}

// One connection through the cable.
#[derive(Debug)]
struct Strand {
    near: TcpStream,
    far: TcpStream,
    stalled: AtomicBool,
    over: AtomicBool,
}

impl Cable {
    /// A cable to `target`.
    #[must_use]
    pub fn to(target: SocketAddr) -> Self {
        let cable = Self::unplugged();
        cable.plug(target);
        cable
    }

    /// A cable whose connections are accepted and closed at once, until it is plugged.
    #[must_use]
    pub fn unplugged() -> Self {
        let (listener, address) = net::listen();
        let inner = Arc::new(Inner {
            target: Mutex::new(None),
            over: AtomicBool::new(false),
            carried: AtomicUsize::new(0),
            strands: Mutex::new(Vec::new()),
        });
        let ours = Arc::clone(&inner);
        std::thread::spawn(move || accept(&listener, &ours));
        Self { address, inner }
    }

    /// New connections go to `target` from now on.
    pub fn plug(&self, target: SocketAddr) {
        *self
            .inner
            .target
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(target);
    }

    /// New connections are closed at once from now on.
    pub fn unplug(&self) {
        *self
            .inner
            .target
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections through it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.strands().len()
    }

    /// Bytes it has carried, both directions.
    #[must_use]
    pub fn carried(&self) -> usize {
        self.inner.carried.load(Ordering::SeqCst)
    }

    /// What is connected now carries nothing any more, and nobody is told. New connections are fine.
    pub fn stall(&self) {
        for strand in self.strands() {
            strand.stalled.store(true, Ordering::SeqCst);
        }
    }

    /// What was stalled goes on.
    pub fn unstall(&self) {
        for strand in self.strands() {
            strand.stalled.store(false, Ordering::SeqCst);
        }
    }

    /// What is connected now is closed, with FIN.
    pub fn cut(&self) {
        for strand in self.take_strands() {
            strand.end();
        }
    }

    /// What is connected now is closed, with RST.
    pub fn reset(&self) {
        for strand in self.take_strands() {
            net::linger_none(&strand.near);
            net::linger_none(&strand.far);
            // RST is sent by the last close, when the threads have let go, too.
            strand.over.store(true, Ordering::SeqCst);
        }
    }

    fn strands(&self) -> Vec<Arc<Strand>> {
        let mut strands = self
            .inner
            .strands
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        strands.retain(|strand| !strand.over.load(Ordering::SeqCst));
        strands.clone()
    }

    fn take_strands(&self) -> Vec<Arc<Strand>> {
        std::mem::take(
            &mut *self
                .inner
                .strands
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.inner.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect_timeout(
            &self.address,
            Duration::from_secs(1),
        ));
        self.cut();
    }
}

impl Strand {
    fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = self.near.shutdown(Shutdown::Both);
        let _ = self.far.shutdown(Shutdown::Both);
    }
}

fn accept(listener: &TcpListener, inner: &Arc<Inner>) {
    for near in listener.incoming() {
        if inner.over.load(Ordering::SeqCst) {
            return;
        }
        let target = *inner.target.lock().unwrap_or_else(PoisonError::into_inner);
        let (Ok(near), Some(target)) = (near, target) else {
            continue;
        };
        let Ok(far) = TcpStream::connect_timeout(&target, Duration::from_secs(5)) else {
            continue;
        };
        for stream in [&near, &far] {
            // Short, so that a stall or an end is noticed soon.
            let _ = stream.set_read_timeout(Some(LOOK_EVERY));
            let _ = stream.set_nodelay(true);
        }
        let strand = Arc::new(Strand {
            near,
            far,
            stalled: AtomicBool::new(false),
            over: AtomicBool::new(false),
        });
        inner
            .strands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&strand));
        for forward in [true, false] {
            let (strand, inner) = (Arc::clone(&strand), Arc::clone(inner));
            std::thread::spawn(move || carry(&strand, &inner, forward));
        }
    }
}

fn carry(strand: &Strand, inner: &Inner, forward: bool) {
    let (mut from, mut to) = if forward {
        (&strand.near, &strand.far)
    } else {
        (&strand.far, &strand.near)
    };
    let mut chunk = vec![0; 256 * 1024];
    while !strand.over.load(Ordering::SeqCst) {
        if strand.stalled.load(Ordering::SeqCst) {
            std::thread::sleep(LOOK_EVERY);
            continue;
        }
        match from.read(&mut chunk) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(n) => {
                // What is read just before a stall waits like the rest: a network may delay, not tear.
                while strand.stalled.load(Ordering::SeqCst) && !strand.over.load(Ordering::SeqCst) {
                    std::thread::sleep(LOOK_EVERY);
                }
                if to.write_all(&chunk[..n]).is_err() {
                    strand.end();
                    return;
                }
                inner.carried.fetch_add(n, Ordering::SeqCst);
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_gone) => {
                strand.end();
                return;
            }
        }
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(20);
