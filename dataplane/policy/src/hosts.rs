//! Which system has a virtual host and port.
//!
//! It compares names that `canonical` has made comparable, and knows nothing else of a system.
use core::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::rule::System;

/// The virtual ends of all systems, found by hash.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// Where in `ends` each bucket begins, and one more for the end of the last. Their number is a power of two.
    starts: Box<[u32]>,
    /// Sorted by bucket and, inside one, by name and port: so colliding names cost a binary search, never a scan.
    ends: Box<[End]>,
    names: Box<[u8]>,
}

#[derive(Clone, Copy, Debug)]
struct End {
    name_start: u32,
    name_length: u8,
    first: u16,
    last: u16,
    system: u32,
}

/// What is known of a virtual host and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A system has them; its index.
    System(u32),
    /// This system has the host at another port.
    OtherPort(u32),
    /// No system has the host.
    Nothing,
}

impl Hosts {
    /// The virtual ends of these systems, none of which overlap.
    pub(crate) fn new(systems: &[System]) -> Self {
        let buckets = systems.len().next_power_of_two();
        let mut names = Vec::new();
        let mut order: Vec<(usize, &System, usize)> = systems
            .iter()
            .enumerate()
            .map(|(at, system)| {
                let bucket = bucket(system.virtual_end.host.as_str(), buckets);
                (bucket, system, at)
            })
            .collect();
        order.sort_by(|(bucket_a, a, _), (bucket_b, b, _)| {
            let a = (bucket_a, &a.virtual_end.host, a.virtual_end.ports);
            a.cmp(&(bucket_b, &b.virtual_end.host, b.virtual_end.ports))
        });
        let ends: Box<[End]> = order
            .iter()
            .map(|(_, system, at)| {
                let name = system.virtual_end.host.as_str();
                let start = names.len();
                names.extend_from_slice(name.as_bytes());
                End {
                    name_start: index(start),
                    name_length: u8::try_from(name.len())
                        .expect("a host name has at most 253 bytes"),
                    first: system.virtual_end.ports.first(),
                    last: system.virtual_end.ports.last(),
                    system: index(*at),
                }
            })
            .collect();
        let starts = (0..=buckets)
            .map(|bucket| index(order.partition_point(|(of, _, _)| *of < bucket)))
            .collect();
        Self {
            starts,
            ends,
            names: names.into(),
        }
    }

    /// Looks up a host in comparable form.
    pub(crate) fn find(&self, host: &str, port: u16) -> Found {
        let bucket = bucket(host, self.starts.len().saturating_sub(1));
        let bounds = self.starts.get(bucket).zip(self.starts.get(bucket + 1));
        let Some(ends) = bounds.and_then(|(start, end)| {
            let start = usize::try_from(*start).ok()?;
            let end = usize::try_from(*end).ok()?;
            self.ends.get(start..end)
        }) else {
            return Found::Nothing;
        };
        let after =
            ends.partition_point(|end| (self.name(end), end.first) <= (host.as_bytes(), port));
        let has_host = |end: &&End| self.name(end) == host.as_bytes();
        let before = after.checked_sub(1).and_then(|at| ends.get(at));
        match (before.filter(has_host), ends.get(after).filter(has_host)) {
            (Some(end), _) if port <= end.last => Found::System(end.system),
            (Some(end), _) | (None, Some(end)) => Found::OtherPort(end.system),
            (None, None) => Found::Nothing,
        }
    }

    fn name(&self, end: &End) -> &[u8] {
        usize::try_from(end.name_start)
            .ok()
            .and_then(|start| self.names.get(start..start + usize::from(end.name_length)))
            .unwrap_or_default()
    }
}

/// The bucket of a name when there are `buckets` of them, a power of two.
fn bucket(name: &str, buckets: usize) -> usize {
    let hash = FixedState::with_seed(0x61_64_69_74).hash_one(name.as_bytes());
    let mask = buckets.saturating_sub(1);
    usize::try_from(hash >> 32).unwrap_or_default() & mask
}

fn index(position: usize) -> u32 {
    u32::try_from(position).expect("`limits` keeps every vector of a table below 2^32 entries")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{HostName, InternalEnd, InternalHost, PortRange, Protocol, VirtualEnd};

    fn hosts(ends: &[(&str, u16, u16)]) -> Hosts {
        let systems: Vec<System> = ends
            .iter()
            .map(|(host, first, last)| {
                let ports = PortRange::new(*first, *last).unwrap();
                System::new(
                    VirtualEnd {
                        host: HostName::new(host).unwrap(),
                        ports,
                    },
                    Protocol::Tcp,
                    InternalEnd {
                        host: InternalHost::new("10.0.0.1").unwrap(),
                        ports,
                        encrypted: false,
                    },
                )
            })
            .collect();
        Hosts::new(&systems)
    }

    #[test]
    fn ports_and_ranges_of_one_host_are_told_apart_at_their_borders() {
        let hosts = hosts(&[
            ("db", 20, 29),
            ("db", 10, 10),
            ("db", 30, 30),
            ("aa", 20, 20),
            ("zz", 15, 15),
        ]);
        for (port, expected) in [
            (9, Found::OtherPort(1)),
            (10, Found::System(1)),
            (11, Found::OtherPort(1)),
            (19, Found::OtherPort(1)),
            (20, Found::System(0)),
            (29, Found::System(0)),
            (30, Found::System(2)),
            (31, Found::OtherPort(2)),
        ] {
            assert_eq!(hosts.find("db", port), expected, "{port}");
        }
        assert_eq!(hosts.find("d", 20), Found::Nothing);
        assert_eq!(hosts.find("dbx", 20), Found::Nothing);
        assert_eq!(hosts.find("aa", 20), Found::System(3));
    }

    #[test]
    fn every_host_of_a_thousand_is_found_and_no_other() {
        let names: Vec<String> = (0..1000).map(|n| format!("host-{n}.virtual")).collect();
        let ends: Vec<(&str, u16, u16)> =
            names.iter().map(|name| (name.as_str(), 80, 80)).collect();
        let hosts = hosts(&ends);
        for (n, name) in names.iter().enumerate() {
            assert_eq!(
                hosts.find(name, 80),
                Found::System(u32::try_from(n).unwrap())
            );
            assert_eq!(
                hosts.find(name, 81),
                Found::OtherPort(u32::try_from(n).unwrap())
            );
        }
        assert_eq!(hosts.find("host-1000.virtual", 80), Found::Nothing);
    }

    #[test]
    fn no_systems_means_no_hosts() {
        assert_eq!(hosts(&[]).find("a", 80), Found::Nothing);
    }
}
