//! Very many pushes under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adit_tests::http::Response;
use adit_tests::load::Load;
use adit_tests::plane::{Memory, Plane};
use adit_tests::wait::until;
use adit_tests::{Backend, Rules, backend};

use crate::fleet::Fleet;

/// Answers by what they say.
#[derive(Debug, Default)]
struct Seen {
    allowed: AtomicUsize,
    denied: AtomicUsize,
    withdrawn: AtomicUsize,
}

impl Seen {
    /// Whether `response` is what one of the versions says: `parity` answers, or nobody does.
    fn is_of_one_version(&self, response: &Response, parity: &str) -> bool {
        let count = match (response.status, response.refusal()) {
            (200, "") if response.text() == parity => &self.allowed,
            (403, "resource-denied") => &self.denied,
            // It began under rules that ended while it ran.
            (_, "permit-withdrawn") => &self.withdrawn,
            _ => return false,
        };
        count.fetch_add(1, Ordering::Relaxed);
        true
    }
}

//
#[test]
fn r14_a_thousand_pushes_under_load_cost_no_request_and_no_request_sees_two_versions() {
    let fleet = Fleet::of(
        Plane::ready("cp-1", &Memory::Embedded, ""),
        &["a-1", "a-2"],
        |_| (),
    );
    let (even, odd) = (
        Backend::saying(backend::ok("even")),
        Backend::saying(backend::ok("odd")),
    );
    // Destination and path change together: the one of a version with the other of the next would show.
    let rules = |version: u64| {
        let (path, backend) = if version.is_multiple_of(2) {
            ("/even", &even)
        } else {
            ("/odd", &odd)
        };
        Rules::none()
            .http("steady.virtual:80", fleet.backend.url())
            .http_with("web.virtual:80", backend.url(), "")
            .resource(&format!("path = \"{path}\""))
            .to_string()
    };
    let apply = |version: u64| {
        let reply = fleet.root.apply("acme", "", &rules(version));
        assert_eq!(reply.json()["version"], version, "{reply:?}");
    };
    apply(1);
    fleet.is_in_force();
    fleet.has_tunnels();
    let steady = Load::start(
        fleet.door,
        4,
        fleet.request("/").replace("web.virtual", "steady.virtual"),
        |response| response.status == 200 && response.text() == "hello",
    );
    let seen = ["even", "odd"].map(|parity| (parity, Arc::new(Seen::default())));
    let flipping = seen.clone().map(|(parity, seen)| {
        let request = fleet.request(&format!("/{parity}"));
        Load::start(fleet.door, 2, request, move |response| {
            seen.is_of_one_version(response, parity)
        })
    });
    steady.flows(100);
    for version in 2..=PUSHES + 1 {
        apply(version);
        until("both agents enforce it", Duration::from_secs(30), || {
            fleet.agents.iter().all(|agent| {
                let (_, page) = agent.admin().get("/metrics").unwrap();
                page.contains(&format!("\nagent_snapshot_version {version}\n"))
            })
        });
    }
    steady.flows(100);
    let steady = steady.stop();
    assert!(steady.failures.is_empty(), "{:?}", steady.failures);
    assert_eq!(steady.reopened, 0);
    for load in flipping {
        let outcome = load.stop();
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    }
    eprintln!("{} steady answers, flipping ones: {seen:?}", steady.fine);
    for (_, seen) in &seen {
        for count in [&seen.allowed, &seen.denied] {
            assert!(count.load(Ordering::Relaxed) > 100, "{seen:?}");
        }
    }
    for agent in &fleet.agents {
        let taken = agent.admin().metric("agent_snapshots_taken_total", &[]);
        assert!(
            taken >= f64::from(u32::try_from(PUSHES).unwrap()),
            "{taken}"
        );
        assert!(agent.admin().metric("agent_snapshots_refused_total", &[]) < 0.5);
    }
}

const PUSHES: u64 = 1000;
