//! The compiled rules and the one function that decides.
//!
//! It allocates nothing when it grants. What it grants becomes a permit in `snapshot`; what it denies is explained by
//! `closest`.
use crate::canonical::Ambiguity;
use crate::canonical::host::{self, HostProblem};
use crate::canonical::path::Path;
use crate::closest::{self, Closest, WhyNot};
use crate::compile;
use crate::denial::{Denial, DenialReason, Detail};
use crate::hosts::{Found, Hosts};
use crate::limits::{HOST_BYTES_MAX, RULE_PATH_BYTES_MAX};
use crate::method;
use crate::permit::InternalProtocol;
use crate::problem::Problems;
use crate::request::Request;
use crate::rule::{EncodedSlash, Protocol, Resource, RuleSet, System};
use crate::tree::{Ask, NodeIndex, Obstacle, Tree, Walk};

/// The compiled form of a rule set.
#[derive(Debug)]
pub struct Table {
    rules: RuleSet,
    hosts: Hosts,
    tree: Tree,
    doors: Box<[Door]>,
}

/// What of a system is needed to decide, close together: a system itself lies in several cache lines.
#[derive(Clone, Copy, Debug)]
struct Door {
    root: NodeIndex,
    protocol: Protocol,
    slash: EncodedSlash,
}

impl Table {
    /// Compiles a rule set.
    ///
    /// # Errors
    /// Everything that two rules, or two parts of one, may not say together.
    pub fn compile(rules: &RuleSet) -> Result<Self, Problems> {
        compile::check(rules)?;
        Ok(Self::build(rules.clone()))
    }

    /// Compiles a rule set that has been checked.
    pub(crate) fn build(rules: RuleSet) -> Self {
        let mut tree = Tree::default();
        let doors = rules
            .systems
            .iter()
            .map(|system| Door {
                root: tree.plant(&system.resources),
                protocol: system.protocol,
                slash: system.encoded_slash,
            })
            .collect();
        Self {
            hosts: Hosts::new(&rules.systems),
            tree,
            doors,
            rules,
        }
    }

    /// The rules this was compiled from.
    #[must_use]
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Decides. Of several rules that grant a request the most specific one is named: the deepest, the one without
    /// parameters, the exact one.
    ///
    /// # Errors
    /// [`Denial`] when no rule grants it: what no rule speaks of is denied.
    pub fn decide<'t>(&'t self, request: &Request<'_>) -> Result<Grant<'t>, Denial> {
        self.judge(request, |ground| self.denial(ground))
    }

    /// Decides as [`decide`](Self::decide) does, for who does not ask why a request is denied: finding that costs more
    /// than the decision.
    pub(crate) fn grants<'t>(&'t self, request: &Request<'_>) -> Option<Grant<'t>> {
        self.judge(request, |_| ()).ok()
    }

    /// The decision. `deny` makes of its ground what a denial is to be.
    #[inline]
    fn judge<'t, D>(
        &'t self,
        request: &Request<'_>,
        deny: impl Fn(Ground<'_>) -> D,
    ) -> Result<Grant<'t>, D> {
        let (index, door) = self.door(request).map_err(&deny)?;
        let system = self.system_at(index);
        match (*request, door.protocol) {
            (Request::Tcp { port, .. }, Protocol::Tcp | Protocol::Tls) => Ok(Grant {
                system,
                decided: Decided {
                    system: index,
                    resource: None,
                    port,
                },
            }),
            (
                Request::Http {
                    port,
                    method,
                    path,
                    upgrade,
                    ..
                },
                Protocol::Http,
            ) => {
                let ask = Ask {
                    bit: method::bit(method),
                    method,
                    upgrade,
                };
                let resource = self.resource(door, system, path, &ask, deny)?;
                Ok(Grant {
                    system,
                    decided: Decided {
                        system: index,
                        resource: Some(resource),
                        port,
                    },
                })
            }
            (Request::Tcp { .. }, Protocol::Http)
            | (Request::Http { .. }, Protocol::Tcp | Protocol::Tls) => {
                Err(deny(Ground::Protocol(system)))
            }
        }
    }

    #[inline]
    fn door(&self, request: &Request<'_>) -> Result<(u32, Door), Ground<'_>> {
        let mut room = [0; HOST_BYTES_MAX];
        let host = host::comparable(request.host(), &mut room).map_err(Ground::Host)?;
        if request.port() == 0 {
            return Err(Ground::PortZero);
        }
        match self.hosts.find(host, request.port()) {
            Found::System(index) => {
                let door = usize::try_from(index)
                    .ok()
                    .and_then(|index| self.doors.get(index));
                Ok((index, *door.expect("every system has a door")))
            }
            Found::OtherPort(index) => Err(Ground::OtherPort(self.system_at(index))),
            Found::Nothing => Err(Ground::NoSystem),
        }
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The root of the tree of the system at this index.
    pub(crate) fn root_of(&self, index: usize) -> Option<NodeIndex> {
        self.doors.get(index).map(|door| door.root)
    }

    pub(crate) fn system_at(&self, index: u32) -> &System {
        usize::try_from(index)
            .ok()
            .and_then(|index| self.rules.systems.get(index))
            .expect("the index was made from these rules, which never change")
    }

    #[inline]
    fn resource<D>(
        &self,
        door: Door,
        system: &System,
        path: &[u8],
        ask: &Ask<'_>,
        deny: impl Fn(Ground<'_>) -> D,
    ) -> Result<u32, D> {
        //= RFC 9110, section 9.3.6
        //# CONNECT uses a special form of request target, unique to this method, consisting of only the host and port
        //# number of the tunnel destination, separated by a colon.
        if ask.method == "CONNECT" {
            let why = "a CONNECT reaches systems of protocol tcp or tls only";
            return Err(deny(Ground::Method(why)));
        }
        if ask.bit.is_none() && !method::is_token(ask.method) {
            let why = "the method is no token";
            return Err(deny(Ground::Method(why)));
        }
        let path = Path::judge(path, door.slash).map_err(|odd| deny(Ground::Path(odd)))?;
        // Almost no path is encoded, and clearing the room costs as much as a short walk.
        let walk = if path.as_bytes().contains(&b'%') {
            let mut room = [0; RULE_PATH_BYTES_MAX];
            self.tree.walk(door.root, &path, ask, system, &mut room)
        } else {
            self.tree.walk(door.root, &path, ask, system, &mut [])
        };
        match walk.granted {
            Some(leaf) => Ok(leaf.resource),
            None => Err(deny(Ground::Walk(system, &walk, ask))),
        }
    }

    #[cold]
    fn denial(&self, ground: Ground<'_>) -> Denial {
        match ground {
            Ground::Host(problem) => {
                Denial::new(DenialReason::HostMalformed, Detail::Host(problem))
            }
            Ground::PortZero => Denial::new(DenialReason::HostMalformed, Detail::PortZero),
            Ground::OtherPort(system) => {
                let why = WhyNot::Port(system.virtual_end.ports);
                near(DenialReason::PortDenied, system, None, why)
            }
            Ground::NoSystem => Denial::new(DenialReason::SystemUnknown, Detail::Nothing),
            Ground::Protocol(system) => {
                let why = WhyNot::Protocol(system.protocol);
                near(DenialReason::ProtocolMismatch, system, None, why)
            }
            Ground::Method(why) => Denial::new(DenialReason::MethodDenied, Detail::Method(why)),
            Ground::Path(odd) => Denial::new(DenialReason::PathAmbiguous, Detail::Path(odd)),
            Ground::Walk(system, walk, ask) => self.lost(system, walk, ask),
        }
    }

    fn lost(&self, system: &System, walk: &Walk<'_>, ask: &Ask<'_>) -> Denial {
        let Some((obstacle, leaf)) = walk.missed else {
            return match closest::to_walk(&self.tree, system, walk) {
                Some((resource, why)) => {
                    near(DenialReason::ResourceDenied, system, Some(resource), why)
                }
                None => near(
                    DenialReason::ResourceDenied,
                    system,
                    None,
                    WhyNot::NoResources,
                ),
            };
        };
        let resource = resource_at(system, leaf.resource);
        let (reason, why) = match obstacle {
            Obstacle::Method => (
                DenialReason::MethodDenied,
                WhyNot::Method {
                    asked: crate::request::quoted(ask.method.as_bytes()),
                    allowed: resource.methods.clone(),
                },
            ),
            Obstacle::Upgrade => (DenialReason::UpgradeDenied, WhyNot::Upgrade),
            Obstacle::Inactive | Obstacle::InactiveAndMore => {
                (DenialReason::Suspended, WhyNot::Inactive)
            }
        };
        near(reason, system, Some(resource), why)
    }
}

/// On what ground a request is denied, before anybody is told.
#[derive(Clone, Copy, Debug)]
enum Ground<'a> {
    Host(HostProblem),
    PortZero,
    OtherPort(&'a System),
    NoSystem,
    Protocol(&'a System),
    Method(&'static str),
    Path(Ambiguity),
    Walk(&'a System, &'a Walk<'a>, &'a Ask<'a>),
}

pub(crate) fn resource_at(system: &System, index: u32) -> &Resource {
    usize::try_from(index)
        .ok()
        .and_then(|index| system.resources.get(index))
        .expect("the index was made from this system, which never changes")
}

#[cold]
fn near(reason: DenialReason, system: &System, resource: Option<&Resource>, why: WhyNot) -> Denial {
    let closest = Closest::new(system, resource, why);
    Denial::new(reason, Detail::Closest(Box::new(closest)))
}

/// What a decision consists of, without a borrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) system: u32,
    pub(crate) resource: Option<u32>,
    pub(crate) port: u16,
}

/// One request is granted by this table, now. A [`Permit`](crate::Permit) is the same for longer.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'t> {
    system: &'t System,
    decided: Decided,
}

impl<'t> Grant<'t> {
    pub(crate) fn again(table: &'t Table, decided: Decided) -> Self {
        Self {
            system: table.system_at(decided.system),
            decided,
        }
    }

    pub(crate) fn decided(&self) -> Decided {
        self.decided
    }

    /// The system that was asked for.
    #[must_use]
    pub fn system(&self) -> &'t System {
        self.system
    }

    /// The resource that grants the request; `None` for opaque streams, which the system itself grants.
    #[must_use]
    pub fn resource(&self) -> Option<&'t Resource> {
        self.decided
            .resource
            .map(|resource| resource_at(self.system, resource))
    }

    /// The granting rule in one word: the path of the resource, or the name of the system.
    #[must_use]
    pub fn rule(&self) -> &'t str {
        self.resource()
            .map_or_else(|| self.system.name(), |resource| resource.path.as_str())
    }

    /// What the agent speaks to the backend.
    #[must_use]
    pub fn protocol(&self) -> InternalProtocol {
        self.system.internal_protocol()
    }

    /// The internal host (an IPv6 address without brackets) and port.
    #[must_use]
    pub fn internal(&self) -> (&'t str, u16) {
        let internal = &self.system.internal;
        let offset = self.decided.port - self.system.virtual_end.ports.first();
        (internal.host.as_str(), internal.ports.first() + offset)
    }

    /// The virtual port that was asked for.
    #[must_use]
    pub fn virtual_port(&self) -> u16 {
        self.decided.port
    }
}

#[cfg(test)]
mod tests;
