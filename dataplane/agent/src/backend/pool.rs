//! Quiet connections to backends, kept for the next request to the same target.
//!
//! A connection comes in only after both messages on it ended cleanly, and goes out only when it is
//! still quiet; the newest is used first, so that a pool shrinks by itself. Time is an argument.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::limits::POOL_ALL_MAX;

/// What makes a connection fit to be kept.
pub(crate) trait Keepable {
    /// Whether it is alive and nothing waits on it.
    fn is_quiet(&self) -> bool;
}

/// Where a connection leads. Connections of one target can stand in for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// Under which anchors TLS was made; none without TLS.
    pub(crate) anchors: Option<u64>,
}

/// The quiet connections of one shard.
#[derive(Debug)]
pub(crate) struct Pool<C> {
    hosts: RefCell<HashMap<Box<str>, Vec<Row<C>>, RandomState>>,
    kept: std::cell::Cell<usize>,
    idle_max: Duration,
    per_target_max: usize,
}

#[derive(Debug)]
struct Row<C> {
    port: u16,
    anchors: Option<u64>,
    // Oldest first.
    idle: Vec<Idle<C>>,
}

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    address: IpAddr,
    since: Duration,
}

impl<C: Keepable> Pool<C> {
    /// An empty pool that keeps a connection for `idle_max`, and `per_target_max` to one target.
    pub(crate) fn new(idle_max: Duration, per_target_max: usize) -> Self {
        Self {
            hosts: RefCell::default(),
            kept: std::cell::Cell::new(0),
            idle_max,
            per_target_max,
        }
    }

    /// A connection to `target` that is alive, with its address. What is found dead, too old or at an
    /// address that `admits` no longer admits is closed.
    pub(crate) fn take(
        &self,
        target: Target<'_>,
        now: Duration,
        admits: impl Fn(IpAddr) -> bool,
    ) -> Option<(C, IpAddr)> {
        let mut hosts = self.hosts.borrow_mut();
        let row = hosts
            .get_mut(target.host)?
            .iter_mut()
            .find(|row| row.is(target))?;
        while let Some(idle) = row.idle.pop() {
            self.kept.set(self.kept.get().saturating_sub(1));
            let fresh = now.saturating_sub(idle.since) < self.idle_max;
            if fresh && admits(idle.address) && idle.connection.is_quiet() {
                return Some((idle.connection, idle.address));
            }
        }
        None
    }

    /// Keeps a connection, if there is room for it.
    pub(crate) fn put(&self, target: Target<'_>, connection: C, address: IpAddr, now: Duration) {
        if self.per_target_max == 0 || self.idle_max.is_zero() {
            return;
        }
        let mut hosts = self.hosts.borrow_mut();
        let rows = match hosts.get_mut(target.host) {
            Some(rows) => rows,
            None => hosts.entry(target.host.into()).or_default(),
        };
        let at = rows
            .iter()
            .position(|row| row.is(target))
            .unwrap_or_else(|| {
                rows.push(Row {
                    port: target.port,
                    anchors: target.anchors,
                    idle: Vec::new(),
                });
                rows.len() - 1
            });
        let Some(row) = rows.get_mut(at) else {
            return;
        };
        if row.idle.len() >= self.per_target_max {
            // The oldest is the one its backend closes next.
            drop(row.idle.remove(0));
            self.kept.set(self.kept.get().saturating_sub(1));
        } else if self.kept.get() >= POOL_ALL_MAX {
            return;
        }
        row.idle.push(Idle {
            connection,
            address,
            since: now,
        });
        self.kept.set(self.kept.get() + 1);
    }

    /// Closes what has been quiet for too long or is dead, and forgets targets without connections.
    pub(crate) fn sweep(&self, now: Duration) {
        let mut kept = 0;
        self.hosts.borrow_mut().retain(|_, rows| {
            rows.retain_mut(|row| {
                row.idle.retain(|idle| {
                    now.saturating_sub(idle.since) < self.idle_max && idle.connection.is_quiet()
                });
                kept += row.idle.len();
                !row.idle.is_empty()
            });
            !rows.is_empty()
        });
        self.kept.set(kept);
    }

    /// Closes all.
    pub(crate) fn clear(&self) {
        self.hosts.borrow_mut().clear();
        self.kept.set(0);
    }

    /// How many are kept.
    pub(crate) fn kept(&self) -> usize {
        self.kept.get()
    }
}

impl<C> Row<C> {
    fn is(&self, target: Target<'_>) -> bool {
        self.port == target.port && self.anchors == target.anchors
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::Ipv4Addr;
    use std::rc::Rc;

    use super::*;

    #[derive(Debug)]
    struct Fake {
        name: u32,
        quiet: Rc<Cell<bool>>,
    }

    impl Keepable for Fake {
        fn is_quiet(&self) -> bool {
            self.quiet.get()
        }
    }

    const ERP: Target<'_> = Target {
        host: "erp.local",
        port: 80,
        anchors: None,
    };
    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn fake(name: u32) -> (Fake, Rc<Cell<bool>>) {
        let quiet = Rc::new(Cell::new(true));
        (
            Fake {
                name,
                quiet: Rc::clone(&quiet),
            },
            quiet,
        )
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn taken(pool: &Pool<Fake>, target: Target<'_>, now: u64) -> Option<u32> {
        pool.take(target, seconds(now), |_| true)
            .map(|(fake, _)| fake.name)
    }

    #[test]
    fn the_newest_connection_is_used_first() {
        let pool = Pool::new(seconds(15), 8);
        pool.put(ERP, fake(1).0, ADDRESS, seconds(0));
        pool.put(ERP, fake(2).0, ADDRESS, seconds(1));
        assert_eq!(taken(&pool, ERP, 2), Some(2));
        assert_eq!(taken(&pool, ERP, 2), Some(1));
        assert_eq!(taken(&pool, ERP, 2), None);
        assert_eq!(pool.kept(), 0);
    }

    #[test]
    fn another_host_port_or_trust_never_gets_it() {
        let pool = Pool::new(seconds(15), 8);
        let with_tls = Target {
            anchors: Some(7),
            ..ERP
        };
        pool.put(with_tls, fake(1).0, ADDRESS, seconds(0));
        for other in [
            ERP,
            Target {
                anchors: Some(8),
                ..ERP
            },
            Target {
                port: 81,
                ..with_tls
            },
            Target {
                host: "erp.locale",
                ..with_tls
            },
        ] {
            assert_eq!(taken(&pool, other, 0), None, "{other:?}");
        }
        assert_eq!(taken(&pool, with_tls, 0), Some(1));
    }

    #[test]
    fn a_connection_is_used_until_just_before_its_time_and_not_after() {
        let pool = Pool::new(seconds(15), 8);
        pool.put(ERP, fake(1).0, ADDRESS, seconds(100));
        let early = Duration::from_millis(114_999);
        assert!(pool.take(ERP, early, |_| true).is_some());
        pool.put(ERP, fake(2).0, ADDRESS, seconds(100));
        assert_eq!(taken(&pool, ERP, 115), None);
    }

    #[test]
    fn a_dead_one_is_passed_over() {
        let pool = Pool::new(seconds(15), 8);
        pool.put(ERP, fake(1).0, ADDRESS, seconds(0));
        let (dead, quiet) = fake(2);
        pool.put(ERP, dead, ADDRESS, seconds(0));
        quiet.set(false);
        assert_eq!(taken(&pool, ERP, 0), Some(1));
    }

    #[test]
    fn p08_a_kept_connection_to_an_address_that_is_no_longer_admitted_is_closed() {
        let pool = Pool::new(seconds(15), 8);
        pool.put(ERP, fake(1).0, ADDRESS, seconds(0));
        assert!(
            pool.take(ERP, seconds(0), |address| address != ADDRESS)
                .is_none()
        );
        assert_eq!(pool.kept(), 0);
    }

    #[test]
    fn the_last_place_is_given_out_and_then_the_oldest_gives_way() {
        let pool = Pool::new(seconds(15), 2);
        for name in 1..=3 {
            pool.put(ERP, fake(name).0, ADDRESS, seconds(0));
        }
        assert_eq!(pool.kept(), 2);
        assert_eq!(taken(&pool, ERP, 0), Some(3));
        assert_eq!(taken(&pool, ERP, 0), Some(2));
        assert_eq!(taken(&pool, ERP, 0), None);
    }

    #[test]
    fn all_targets_together_keep_no_more_than_the_limit() {
        let pool = Pool::new(seconds(15), POOL_ALL_MAX + 1);
        for name in 0..=u32::try_from(POOL_ALL_MAX).unwrap() {
            pool.put(ERP, fake(name).0, ADDRESS, seconds(0));
        }
        assert_eq!(pool.kept(), POOL_ALL_MAX);
    }

    #[test]
    fn nothing_is_kept_where_keeping_is_switched_off() {
        for pool in [Pool::new(seconds(0), 8), Pool::new(seconds(15), 0)] {
            pool.put(ERP, fake(1).0, ADDRESS, seconds(0));
            assert_eq!(pool.kept(), 0);
        }
    }

    #[test]
    fn a_sweep_closes_old_and_dead_ones_and_forgets_their_targets() {
        let pool = Pool::new(seconds(15), 8);
        let (dead, quiet) = fake(1);
        pool.put(ERP, dead, ADDRESS, seconds(10));
        pool.put(Target { port: 81, ..ERP }, fake(2).0, ADDRESS, seconds(0));
        pool.put(
            Target {
                host: "other",
                ..ERP
            },
            fake(3).0,
            ADDRESS,
            seconds(10),
        );
        quiet.set(false);
        pool.sweep(seconds(15));
        assert_eq!(pool.kept(), 1);
        assert_eq!(pool.hosts.borrow().len(), 1);
    }
}
