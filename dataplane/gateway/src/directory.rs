//! Which tunnels there are, for all shards: read without a lock at every request, changed rarely.
//!
//! It knows where a tunnel lives and how busy it is; the tunnel itself is only known to its shard.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

/// One tunnel, as all shards see it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) shard: usize,
    pub(crate) subaccount: String,
    pub(crate) location: String,
    pub(crate) agent: String,
    pub(crate) instance: [u8; 16],
    pub(crate) software: String,
    pub(crate) peer: String,
    pub(crate) suite: &'static str,
    pub(crate) since_unix: u64,
    streams: AtomicUsize,
    open: AtomicBool,
}

/// Counts one stream of a tunnel while it lives.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Entry>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a new entry is made of.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) shard: usize,
    pub(crate) subaccount: String,
    pub(crate) location: String,
    pub(crate) agent: String,
    pub(crate) instance: [u8; 16],
    pub(crate) software: String,
    pub(crate) peer: String,
    pub(crate) suite: &'static str,
    pub(crate) since_unix: u64,
}

impl Entry {
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// The tunnel runs on its shard: streams may be opened.
    pub(crate) fn run(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    fn close(&self) {
        self.open.store(false, Ordering::Relaxed);
    }

    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }
}

/// Tunnels of one subaccount by location.
type Locations = HashMap<String, Vec<Arc<Entry>>, RandomState>;

/// All tunnels of the process.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    tunnels: ArcSwap<HashMap<String, Locations, RandomState>>,
    // When the last tunnel of a subaccount and location was lost.
    lost: Mutex<HashMap<(String, String), Duration>>,
    next: std::sync::atomic::AtomicU64,
}

impl Directory {
    pub(crate) fn register(&self, registration: Registration) -> Arc<Entry> {
        let entry = Arc::new(Entry {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            shard: registration.shard,
            subaccount: registration.subaccount,
            location: registration.location,
            agent: registration.agent,
            instance: registration.instance,
            software: registration.software,
            peer: registration.peer,
            suite: registration.suite,
            since_unix: registration.since_unix,
            streams: AtomicUsize::new(0),
            open: AtomicBool::new(false),
        });
        self.tunnels.rcu(|tunnels| {
            let mut changed = HashMap::clone(tunnels);
            changed
                .entry(entry.subaccount.clone())
                .or_default()
                .entry(entry.location.clone())
                .or_default()
                .push(Arc::clone(&entry));
            changed
        });
        entry
    }

    /// Whether an agent of this subaccount and location was here a moment ago and may be back at once.
    pub(crate) fn was_here(&self, subaccount: &str, location: &str, now: Duration) -> bool {
        self.lost
            .lock()
            .get(&(subaccount.to_owned(), location.to_owned()))
            .is_some_and(|at| now.saturating_sub(*at) < REMEMBERED)
    }

    /// The tunnel takes no new streams; its agent may be back with another at once.
    pub(crate) fn close(&self, entry: &Entry, now: Duration) {
        entry.close();
        let mut lost = self.lost.lock();
        lost.retain(|_, at| now.saturating_sub(*at) < REMEMBERED);
        lost.insert((entry.subaccount.clone(), entry.location.clone()), now);
    }

    pub(crate) fn remove(&self, entry: &Arc<Entry>, now: Duration) {
        self.close(entry, now);
        self.tunnels.rcu(|tunnels| {
            let mut changed = HashMap::clone(tunnels);
            if let Some(locations) = changed.get_mut(&entry.subaccount) {
                if let Some(list) = locations.get_mut(&entry.location) {
                    list.retain(|other| other.id != entry.id);
                    if list.is_empty() {
                        locations.remove(&entry.location);
                    }
                }
                if locations.is_empty() {
                    changed.remove(&entry.subaccount);
                }
            }
            changed
        });
    }

    /// The tunnel for a new stream: the least loaded open one, where one of this shard is preferred
    /// unless it is much busier than the best elsewhere. Ties are broken at random.
    pub(crate) fn choose(
        &self,
        subaccount: &str,
        location: &str,
        shard: usize,
        only_here: bool,
        except: Option<u64>,
    ) -> Option<Arc<Entry>> {
        let tunnels = self.tunnels.load();
        let list = tunnels.get(subaccount)?.get(location)?;
        let start = fastrand::usize(..list.len().max(1));
        let candidates = || {
            let (late, early) = list.split_at(start.min(list.len()));
            early
                .iter()
                .chain(late)
                .filter(|entry| entry.is_open() && Some(entry.id) != except)
        };
        let here = candidates()
            .filter(|entry| entry.shard == shard)
            .min_by_key(|entry| entry.streams());
        let best = candidates().min_by_key(|entry| entry.streams());
        match (here, best) {
            (Some(here), _) if only_here => Some(Arc::clone(here)),
            (Some(here), Some(best)) if here.streams() <= 2 * best.streams() + MUCH_BUSIER => {
                Some(Arc::clone(here))
            }
            (_, best) => best.map(Arc::clone),
        }
    }

    /// Tunnels of all processes with this agent's certificate. What they say of themselves does not count: who has a
    /// certificate may say anything.
    pub(crate) fn of_agent(&self, subaccount: &str, agent: &str) -> usize {
        let tunnels = self.tunnels.load();
        let here = tunnels.get(subaccount).into_iter();
        here.flat_map(HashMap::values)
            .flatten()
            .filter(|entry| entry.agent == agent)
            .count()
    }

    /// The shard with the fewest tunnels of this agent process, and of those with as few the one with the fewest
    /// tunnels of all agents.
    pub(crate) fn place(
        &self,
        subaccount: &str,
        location: &str,
        instance: &[u8; 16],
        shards: usize,
    ) -> usize {
        let tunnels = self.tunnels.load();
        let own = tunnels
            .get(subaccount)
            .and_then(|locations| locations.get(location))
            .into_iter()
            .flatten()
            .filter(|entry| &entry.instance == instance);
        let all = tunnels.values().flat_map(HashMap::values).flatten();
        // Of each shard: tunnels of this agent, tunnels of all.
        let mut counts = vec![(0_usize, 0_usize); shards.max(1)];
        for entry in own {
            if let Some((count, _)) = counts.get_mut(entry.shard) {
                *count += 1;
            }
        }
        for entry in all {
            if let Some((_, count)) = counts.get_mut(entry.shard) {
                *count += 1;
            }
        }
        counts
            .iter()
            .enumerate()
            .min_by_key(|(_, counts)| **counts)
            .map_or(0, |(shard, _)| shard)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.tunnels
            .load()
            .values()
            .flat_map(|locations| locations.values().flatten().map(Arc::clone))
            .collect()
    }
}

/// How long a lost agent counts as one that may be back at once.
const REMEMBERED: Duration = Duration::from_secs(30);
/// Streams by which a tunnel of this shard may be ahead before a connection is moved to another:
/// a move costs more than a short queue.
const MUCH_BUSIER: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(shard: usize, agent: u8) -> Registration {
        Registration {
            shard,
            subaccount: "acme".to_owned(),
            location: String::new(),
            agent: format!("agent-{agent}"),
            instance: [agent; 16],
            software: String::new(),
            peer: String::new(),
            suite: "",
            since_unix: 0,
        }
    }

    fn register(directory: &Directory, shard: usize, agent: u8) -> Arc<Entry> {
        let entry = directory.register(registration(shard, agent));
        entry.run();
        entry
    }

    #[test]
    fn a_lost_agent_is_remembered_for_half_a_minute() {
        let directory = Directory::default();
        let one = register(&directory, 0, 1);
        assert!(!directory.was_here("acme", "", Duration::from_secs(100)));
        directory.close(&one, Duration::from_secs(100));
        assert!(directory.choose("acme", "", 0, false, None).is_none());
        assert!(directory.was_here("acme", "", Duration::from_millis(129_999)));
        assert!(!directory.was_here("acme", "", Duration::from_secs(130)));
        assert!(!directory.was_here("acme", "berlin", Duration::from_secs(101)));
    }

    #[test]
    fn the_least_loaded_tunnel_is_chosen() {
        let directory = Directory::default();
        let one = register(&directory, 0, 1);
        let two = register(&directory, 0, 2);
        let _busy = one.busy();
        assert_eq!(
            directory.choose("acme", "", 0, false, None).unwrap().id,
            two.id
        );
    }

    #[test]
    fn a_tunnel_of_this_shard_is_preferred_until_it_is_much_busier() {
        let directory = Directory::default();
        let here = register(&directory, 0, 1);
        let there = register(&directory, 1, 1);
        let mut busy: Vec<Busy> = (0..MUCH_BUSIER).map(|_| here.busy()).collect();
        assert_eq!(
            directory.choose("acme", "", 0, false, None).unwrap().id,
            here.id
        );
        busy.push(here.busy());
        assert_eq!(
            directory.choose("acme", "", 0, false, None).unwrap().id,
            there.id
        );
        assert_eq!(
            directory.choose("acme", "", 0, true, None).unwrap().id,
            here.id
        );
    }

    #[test]
    fn another_subaccount_or_location_is_never_chosen() {
        let directory = Directory::default();
        register(&directory, 0, 1);
        assert!(directory.choose("other", "", 0, false, None).is_none());
        assert!(directory.choose("acme", "berlin", 0, false, None).is_none());
    }

    #[test]
    fn a_removed_tunnel_is_gone_and_leaves_no_empty_lists() {
        let directory = Directory::default();
        let one = register(&directory, 0, 1);
        directory.remove(&one, Duration::ZERO);
        assert!(directory.choose("acme", "", 0, false, None).is_none());
        assert!(directory.tunnels.load().is_empty());
    }

    #[test]
    fn a_new_tunnel_goes_to_the_shard_with_the_fewest_of_its_agent() {
        let directory = Directory::default();
        register(&directory, 0, 1);
        register(&directory, 1, 2);
        assert_eq!(directory.place("acme", "", &[1; 16], 2), 1);
        assert_eq!(directory.place("acme", "", &[2; 16], 2), 0);
    }

    #[test]
    fn tunnels_are_an_agents_by_its_certificate_wherever_it_says_it_is() {
        let directory = Directory::default();
        for (location, instance) in [("", 1), ("berlin", 2), ("berlin", 3)] {
            directory.register(Registration {
                location: location.to_owned(),
                instance: [instance; 16],
                ..registration(0, 1)
            });
        }
        register(&directory, 0, 2);
        assert_eq!(directory.of_agent("acme", "agent-1"), 3);
        assert_eq!(directory.of_agent("globex", "agent-1"), 0);
    }

    #[test]
    fn of_shards_with_as_few_of_its_agent_the_one_with_the_fewest_in_all_is_chosen() {
        let directory = Directory::default();
        assert_eq!(directory.place("acme", "", &[9; 16], 3), 0);
        register(&directory, 0, 1);
        assert_eq!(directory.place("acme", "", &[9; 16], 3), 1);
        // Agents of other subaccounts and locations weigh as much.
        assert_eq!(directory.place("globex", "berlin", &[9; 16], 3), 1);
        register(&directory, 1, 2);
        assert_eq!(directory.place("acme", "", &[9; 16], 3), 2);
        register(&directory, 2, 9);
        register(&directory, 0, 3);
        // Its own tunnel on shard 2 comes first, then the two on shard 0.
        assert_eq!(directory.place("acme", "", &[9; 16], 3), 1);
    }
}
