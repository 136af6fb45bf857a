//! Virtual hosts and ports, cut where a system of either table begins or ends.
//!
//! What differs below one of them, path by path, is `paths`'s to find.
use super::line::{Asked, Line};
use super::paths::{self, Side};
use super::{Judge, Plan, Spent};
use crate::request::Request;
use crate::rule::{PortRange, Protocol, Resource, System};
use crate::table::Table;

/// A virtual host with ports that the systems of both tables have or have not as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'t> {
    pub(super) host: &'t str,
    pub(super) ports: PortRange,
}

/// Compares all virtual hosts and ports.
pub(super) fn compare(judge: &mut Judge<'_>, plan: &mut Plan) -> Result<(), Spent> {
    let (old, new) = (Sorted::new(judge.old), Sorted::new(judge.new));
    let mut hosts: Vec<&str> = [&old, &new]
        .iter()
        .flat_map(|side| side.systems.iter())
        .map(|(system, _)| system.virtual_end.host.as_str())
        .collect();
    hosts.sort_unstable();
    hosts.dedup();
    for host in hosts {
        let (olds, news) = (old.of(host), new.of(host));
        let mut borders: Vec<u32> = olds
            .iter()
            .chain(news)
            .flat_map(|(system, _)| {
                let ports = system.virtual_end.ports;
                [u32::from(ports.first()), u32::from(ports.last()) + 1]
            })
            .collect();
        borders.sort_unstable();
        borders.dedup();
        for pair in borders.windows(2) {
            let Some(ports) = between(pair) else {
                continue;
            };
            let (old, new) = (at(olds, ports), at(news, ports));
            if old.is_none() && new.is_none() {
                continue;
            }
            if let (Some((old, _)), Some((new, _))) = (old, new)
                && says_the_same(old, new, ports)
            {
                plan.ends_same += 1;
                continue;
            }
            let before = plan.lines.len() + plan.unlisted;
            let end = End { host, ports };
            let systems = (old.map(|(system, _)| system), new.map(|(system, _)| system));
            opaque(judge, plan, end, systems.0, systems.1)?;
            let side = |table, found: Option<(&'_ System, usize)>| {
                found.and_then(|(_, index)| Side::of(table, index))
            };
            let (old, new) = (side(judge.old, old), side(judge.new, new));
            paths::compare(judge, plan, end, old, new)?;
            if plan.lines.len() + plan.unlisted == before {
                plan.ends_same += 1;
            } else {
                plan.ends_changed += 1;
            }
        }
    }
    Ok(())
}

/// The ports from one border to the next.
fn between(borders: &[u32]) -> Option<PortRange> {
    let [first, after] = borders else {
        return None;
    };
    let first = u16::try_from(*first).ok()?;
    let last = u16::try_from(after.checked_sub(1)?).ok()?;
    PortRange::new(first, last)
}

/// The systems of a table with their indices, by host and port.
struct Sorted<'t> {
    systems: Vec<(&'t System, usize)>,
}

impl<'t> Sorted<'t> {
    fn new(table: &'t Table) -> Self {
        let systems = table.rules().systems.iter();
        let mut systems: Vec<_> = systems
            .enumerate()
            .map(|(at, system)| (system, at))
            .collect();
        systems.sort_by(|(a, _), (b, _)| {
            let a = (&a.virtual_end.host, a.virtual_end.ports);
            a.cmp(&(&b.virtual_end.host, b.virtual_end.ports))
        });
        Self { systems }
    }

    fn of(&self, host: &str) -> &[(&'t System, usize)] {
        let name = |(system, _): &(&System, usize)| system.virtual_end.host.as_str().cmp(host);
        let first = self.systems.partition_point(|entry| name(entry).is_lt());
        let after = self.systems.partition_point(|entry| name(entry).is_le());
        self.systems.get(first..after).unwrap_or_default()
    }
}

/// The system that has these ports.
fn at<'t>(systems: &[(&'t System, usize)], ports: PortRange) -> Option<(&'t System, usize)> {
    let after =
        systems.partition_point(|(system, _)| system.virtual_end.ports.first() <= ports.first());
    let found = systems.get(after.checked_sub(1)?)?;
    found
        .0
        .virtual_end
        .ports
        .contains(ports.first())
        .then_some(*found)
}

/// Whether two systems are written alike in all that decides, so that nothing needs to be asked.
fn says_the_same(old: &System, new: &System, ports: PortRange) -> bool {
    lead_alike(old, new, ports) && same_resources(&old.resources, &new.resources)
}

/// Whether two systems read what asks for these ports alike and lead it to the same, so that only resources may
/// differ.
pub(super) fn lead_alike(old: &System, new: &System, ports: PortRange) -> bool {
    let settings = |system: &System| {
        (
            system.internal_protocol(),
            system.internal_ports(ports),
            system.host_header,
            system.encoded_slash,
            system.allow_loopback,
        )
    };
    settings(old) == settings(new)
        && old.internal.host == new.internal.host
        && old.ca_file == new.ca_file
}

fn same_resources(old: &[Resource], new: &[Resource]) -> bool {
    let same = |(old, new): (&Resource, &Resource)| {
        old.path == new.path && old.scope == new.scope && paths::says_the_same(old, new)
    };
    if old.len() != new.len() {
        return false;
    }
    if old.iter().zip(new).all(same) {
        return true;
    }
    let sorted = |list: &[Resource]| -> Vec<usize> {
        let mut order: Vec<usize> = (0..list.len()).collect();
        order.sort_unstable_by_key(|at| {
            list.get(*at)
                .map(|resource| (&resource.path, resource.scope))
        });
        order
    };
    sorted(old)
        .into_iter()
        .zip(sorted(new))
        .all(|(a, b)| old.get(a).zip(new.get(b)).is_some_and(same))
}

/// What becomes of opaque streams.
fn opaque(
    judge: &mut Judge<'_>,
    plan: &mut Plan,
    end: End<'_>,
    old: Option<&System>,
    new: Option<&System>,
) -> Result<(), Spent> {
    let request = Request::Tcp {
        host: end.host,
        port: end.ports.first(),
    };
    if let Some(change) = judge.ask(&request)?.change {
        plan.add(Line::new(change, end, Asked::Tcp, old, new));
    }
    Ok(())
}

impl<'t> Side<'t> {
    /// The tree of a system, when it has one.
    fn of(table: &'t Table, index: usize) -> Option<Self> {
        let system = table.rules().systems.get(index)?;
        match system.protocol {
            Protocol::Http => Some(Self {
                tree: table.tree(),
                root: table.root_of(index)?,
                system,
            }),
            Protocol::Tcp | Protocol::Tls => None,
        }
    }
}
