//! The leaves at both ends of a tunnel, and towards the control plane.

use std::sync::Arc;

use adit_authority::{Authority, Identity, Issued};
use adit_tls::{
    Credentials, Handshake, Options, Progress, Roots, SpiffeId, TimeProvider, client_with,
    server_with,
};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{DAY, agent, authority, gateway, node, now};

#[derive(Debug)]
struct Fixed;

impl TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(at())
    }
}

fn at() -> UnixTime {
    let seconds = u64::try_from(now().unix_timestamp()).unwrap();
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
}

fn options() -> Options {
    Options::default().with_clock(Arc::new(Fixed))
}

fn roots(authority: &Authority) -> Roots {
    Roots::from_pem(authority.trust(Vec::new()).roots.as_bytes()).unwrap()
}

fn credentials((issued, key): &(Issued, String)) -> Credentials {
    Credentials::from_pem(issued.certificate_pem.as_bytes(), key.as_bytes()).unwrap()
}

/// Whom the gateway and the agent take each other for, in a whole handshake in memory.
fn shake(
    authority: &Authority,
    agent: &(Issued, String),
    gateway: &(Issued, String),
) -> (SpiffeId, SpiffeId) {
    let roots = roots(authority);
    let client = client_with(&credentials(agent), &roots, &options()).unwrap();
    let server = server_with(&credentials(gateway), &roots, &options()).unwrap();
    let name = ServerName::try_from("gw.example").unwrap();
    let mut ends = [
        (Handshake::client(&client, name).unwrap(), Vec::new()),
        (Handshake::server(&server).unwrap(), Vec::new()),
    ];
    let mut done = [false; 2];
    for turn in 0..8 {
        let (from, to) = (turn % 2, (turn + 1) % 2);
        if done[from] {
            continue;
        }
        let mut output = Vec::new();
        let (handshake, input) = &mut ends[from];
        let (taken, progress) = handshake.advance(input, &mut output).unwrap();
        input.drain(..taken);
        done[from] = progress == Progress::Done;
        ends[to].1.extend_from_slice(&output);
    }
    assert_eq!(done, [true; 2]);
    let [(client, _), (server, _)] = ends;
    let taken_for = |handshake: Handshake| handshake.finish().unwrap().peer.id;
    (taken_for(server), taken_for(client))
}

#[test]
fn both_ends_of_a_tunnel_take_the_leaves_for_whom_they_name() {
    let authority = authority();
    let (agent, gateway) = (node(&authority, &agent()), node(&authority, &gateway()));
    let (at_gateway, at_agent) = shake(&authority, &agent, &gateway);
    assert_eq!(at_gateway.to_string(), agent.0.spiffe_id);
    assert_eq!(at_agent.to_string(), gateway.0.spiffe_id);
}

#[test]
fn tunnels_come_up_between_nodes_of_the_old_and_the_new_root() {
    let mut authority = authority();
    let (old_agent, old_gateway) = (node(&authority, &agent()), node(&authority, &gateway()));
    authority.begin_roll(3_650 * DAY, now()).unwrap();
    shake(&authority, &old_agent, &old_gateway);
    authority.switch().unwrap();
    let (new_agent, new_gateway) = (node(&authority, &agent()), node(&authority, &gateway()));
    shake(&authority, &old_agent, &new_gateway);
    shake(&authority, &new_agent, &old_gateway);
    authority.finish().unwrap();
    shake(&authority, &new_agent, &new_gateway);
}

#[test]
fn a_gateway_that_may_dial_the_control_plane_is_still_no_agent() {
    let authority = authority();
    let gateway = node(&authority, &gateway());
    let refused = client_with(&credentials(&gateway), &roots(&authority), &options());
    let told = refused.unwrap_err().to_string();
    assert!(told.contains("at that end belongs a agent"), "{told}");
}

#[test]
fn the_control_plane_is_no_end_of_a_tunnel() {
    let control = Identity::Control {
        name: "cp-1".parse().unwrap(),
    };
    let authority = authority();
    let control = node(&authority, &control);
    let (credentials, roots) = (credentials(&control), roots(&authority));
    let dialling = client_with(&credentials, &roots, &options()).unwrap_err();
    assert!(
        dialling.to_string().contains("at that end belongs a agent"),
        "{dialling}"
    );
    let accepting = server_with(&credentials, &roots, &options()).unwrap_err();
    assert!(
        accepting
            .to_string()
            .contains("at that end belongs a gateway"),
        "{accepting}"
    );
}

fn store(authority: &Authority) -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    let text = authority.trust(Vec::new()).roots;
    for root in CertificateDer::pem_slice_iter(text.as_bytes()) {
        store.add(root.unwrap()).unwrap();
    }
    Arc::new(store)
}

/// Who judges nodes that dial the control plane.
pub(crate) fn judge(authority: &Authority) -> Arc<dyn ClientCertVerifier> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(store(authority), provider)
        .build()
        .unwrap()
}

pub(crate) fn let_in(judge: &dyn ClientCertVerifier, issued: &Issued) -> bool {
    let leaf = CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap();
    judge.verify_client_cert(&leaf, &[], at()).is_ok()
}

#[test]
fn every_node_may_dial_the_control_plane() {
    let authority = authority();
    let judge = judge(&authority);
    for identity in [agent(), gateway()] {
        let (issued, _) = node(&authority, &identity);
        assert!(let_in(&*judge, &issued), "{identity:?}");
    }
    let control = Identity::Control {
        name: "cp-1".parse().unwrap(),
    };
    let (issued, _) = node(&authority, &control);
    assert!(!let_in(&*judge, &issued), "and the control plane does not");
}

#[test]
fn the_control_planes_certificate_counts_under_its_names_and_no_other() {
    let authority = authority();
    let names = ["cp.example.com", "10.0.0.1"].map(str::to_owned);
    let server = authority
        .issue_server(&"cp-1".parse().unwrap(), &names, DAY, now())
        .unwrap();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(server.chain_pem.as_bytes())
        .map(Result::unwrap)
        .collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let judge = WebPkiServerVerifier::builder_with_provider(store(&authority), provider)
        .build()
        .unwrap();
    let counts = |name: &str| {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let judged = judge.verify_server_cert(&chain[0], &chain[1..], &name, &[], at());
        judged.is_ok()
    };
    assert!(counts("cp.example.com") && counts("10.0.0.1"));
    assert!(!counts("example.com") && !counts("10.0.0.2") && !counts("cp-1"));
}
