//! Tunnels end with what they rest on: when the agent's certificate has ended, or is revoked.
//!
//! Only where there is a control plane: agents then have certificates that renew themselves, and their next tunnel is
//! up long before.

use std::rc::Rc;
use std::time::Duration;

use adit_runtime::clock;
use adit_tls::Leaf;
use adit_transport::Link;

use crate::shard::Shard;

/// Looks after the tunnels of a shard until it ends.
pub(crate) async fn watch(shard: Rc<Shard>) {
    loop {
        adit_runtime::timer::sleep(LOOK_EVERY).await;
        let now = clock::unix_now();
        let links: Vec<(u64, Rc<Link>)> = {
            let links = shard.links.borrow();
            links
                .iter()
                .map(|(id, link)| (*id, Rc::clone(link)))
                .collect()
        };
        for (id, link) in links {
            if link.is_open() && now > until(&shard, id, &link) {
                end(&shard, link);
            }
        }
        let known = shard.links.borrow();
        shard
            .until
            .borrow_mut()
            .retain(|id, _| known.contains_key(id));
    }
}

/// Cuts the tunnels of agents whose certificates no longer count.
pub(crate) fn trust(shard: &Shard) {
    let links: Vec<Rc<Link>> = shard.links.borrow().values().map(Rc::clone).collect();
    for link in links {
        check(shard, &link);
    }
}

/// Cuts `link` if its agent was revoked, be it during the handshake.
pub(crate) fn check(shard: &Shard, link: &Rc<Link>) {
    if is_revoked(shard, link) {
        cut(Rc::clone(link));
    }
}

/// Whether the certificate of its agent is revoked.
pub(crate) fn is_revoked(shard: &Shard, link: &Link) -> bool {
    let trusted = shard.shared.trusted.load();
    let leaf = &link.peer().identity.leaf;
    trusted.as_ref().is_some_and(|roots| roots.is_revoked(leaf))
}

fn cut(link: Rc<Link>) {
    tracing::warn!(agent = %link.peer().identity.id, "tunnel cut: the agent's certificate is revoked");
    monoio::spawn(async move { link.close().await });
}

// Reading a certificate each second for each tunnel would be work for nothing.
fn until(shard: &Shard, id: u64, link: &Link) -> u64 {
    let known = shard.until.borrow().get(&id).copied();
    known.unwrap_or_else(|| {
        let leaf = Leaf::read(&link.peer().identity.leaf);
        // What was verified can be read.
        let until = leaf.map_or(u64::MAX, |leaf| leaf.until_unix_s);
        shard.until.borrow_mut().insert(id, until);
        until
    })
}

fn end(shard: &Shard, link: Rc<Link>) {
    tracing::info!(agent = %link.peer().identity.id, "tunnel drains: the agent's certificate has ended");
    let limit = shard.shared.drain_limit;
    link.drain();
    monoio::spawn(async move {
        let quiet = async {
            while link.streams() > 0 && !link.has_ended() {
                adit_runtime::timer::sleep(LOOK_EVERY).await;
            }
        };
        // As long as any drain, and no longer.
        let _ = adit_runtime::timer::timeout(limit, quiet).await;
        link.close().await;
    });
}

/// How often the tunnels' certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
