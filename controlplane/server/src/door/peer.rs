//! Which node a certificate is of.

use adit_authority::parse_leaf;
use axum::extract::FromRequestParts;
use axum::http::request::Parts as Head;

use super::{Connection, Shown};
use crate::clock;
use crate::place::NodeId;
use crate::trouble::Trouble;

/// The node that asks: its certificate was proved by the handshake. Whether it still counts is the register's.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) serial: String,
    /// The certificate's last second.
    pub(crate) until_unix_s: u64,
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Trouble;

    async fn from_request_parts(head: &mut Head, _state: &S) -> Result<Self, Trouble> {
        const NOBODY: Trouble = Trouble::Unauthenticated(
            "only a node with a certificate of this control plane may ask this",
        );
        let shown = head.extensions.get::<Connection>();
        let Some(Shown::Node(leaf)) = shown.map(|connection| connection.shown.clone()) else {
            return Err(NOBODY);
        };
        let leaf = parse_leaf(&leaf).map_err(|error| Trouble::Denied(error.to_string()))?;
        // A connection may be older than that.
        if leaf.not_after_unix_s < clock::unix_s() {
            return Err(Trouble::Unauthenticated(
                "the certificate has ended; connect anew",
            ));
        }
        let id = node(&leaf.spiffe_id).ok_or(NOBODY)?;
        Ok(Self {
            id,
            serial: leaf.serial,
            until_unix_s: leaf.not_after_unix_s,
        })
    }
}

/// The node of `spiffe://TRUST-DOMAIN/subaccount/S/agent/N` or `spiffe://TRUST-DOMAIN/gateway/N`. The trust domain is
/// ours: the chain ends at our root, which signs for no other.
fn node(spiffe_id: &str) -> Option<NodeId> {
    let (_, path) = spiffe_id.strip_prefix("spiffe://")?.split_once('/')?;
    let names: Vec<&str> = path.split('/').collect();
    match names.as_slice() {
        ["subaccount", subaccount, "agent", name] => NodeId::agent(subaccount, name).ok(),
        ["gateway", name] => NodeId::gateway(name).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_certificate_counts_until_its_last_second_also_on_a_line_that_is_older() {
        let (_folder, parts) = crate::test_world::world().await;
        let key = rcgen::KeyPair::generate().unwrap();
        let csr = rcgen::CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        let id = NodeId::agent("acme", "b-1").unwrap();
        let issued = parts.life.issue(&csr.pem().unwrap(), &id, 100).unwrap();
        let leaf = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
        let leaf = Arc::new(leaf);
        let peer = async |leaf: Option<&Arc<CertificateDer<'static>>>| {
            let mut request = axum::http::Request::new(());
            request.extensions_mut().insert(Connection {
                source: ([127, 0, 0, 1], 1).into(),
                shown: leaf.map_or(Shown::Nothing, |leaf| Shown::Node(Arc::clone(leaf))),
            });
            let (mut head, ()) = request.into_parts();
            Peer::from_request_parts(&mut head, &()).await
        };
        clock::stop_at(issued.not_after_unix_s);
        let found = peer(Some(&leaf)).await.unwrap();
        assert_eq!((found.id, found.serial), (id, issued.serial));
        assert!(matches!(peer(None).await, Err(Trouble::Unauthenticated(_))));
        clock::stop_at(issued.not_after_unix_s + 1);
        let ended = peer(Some(&leaf)).await;
        assert!(
            matches!(ended, Err(Trouble::Unauthenticated(_))),
            "{ended:?}"
        );
    }

    #[test]
    fn only_agents_and_gateways_are_nodes() {
        let text = |id: &str| node(id).map(|id| id.to_string());
        assert_eq!(
            text("spiffe://a/subaccount/acme/agent/b-1").as_deref(),
            Some("agent/acme/b-1")
        );
        assert_eq!(text("spiffe://a/gateway/g").as_deref(), Some("gateway/-/g"));
        for id in [
            "spiffe://a/control/c",
            "spiffe://a",
            "https://a/gateway/g",
            "spiffe://a/gateway/g/h",
            "spiffe://a/gateway/",
        ] {
            assert_eq!(text(id), None, "{id}");
        }
    }
}
