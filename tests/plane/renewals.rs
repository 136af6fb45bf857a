//! Certificates that end every few seconds, under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adit_tests::Backend;
use adit_tests::http::Connection;
use adit_tests::load::Load;
use adit_tests::plane::{Memory, Plane};
use adit_tests::wait::{SOON, until};

use crate::fleet::Fleet;

/// A backend that answers `/short` after so long and `/long` for as long as the test likes.
fn backend(short: Duration, let_go: &Arc<AtomicBool>) -> Backend {
    let let_go = Arc::clone(let_go);
    Backend::start(move |visit| {
        while let Some(request) = visit.request()? {
            if request.target() == "/short" {
                std::thread::sleep(short);
                visit.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
                continue;
            }
            visit.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            until("the long answers may end", WITHIN, || {
                let_go.load(Ordering::SeqCst)
            });
            visit.send("5\r\nlong!\r\n0\r\n\r\n")?;
        }
        Ok(())
    })
}

/// An answer that takes longer than a certificate lives; whether it came whole.
fn long(door: std::net::SocketAddr, request: &str) -> std::io::Result<bool> {
    let mut connection = Connection::open(door)?;
    connection.patience(WITHIN)?;
    connection.send(request)?;
    let response = connection.response()?;
    Ok(response.status == 200 && response.text() == "long!")
}

// S-08
#[test]
fn s08_certificates_that_end_again_and_again_under_load_cost_no_request() {
    // An hour of certificates of two minutes, or as many renewals as a minute has room for.
    let is_hour = std::env::var_os("ADIT_TEST_HOUR").is_some();
    // The hour's backend takes its time, so that the machine can be used beside it.
    let (life, wanted, at_least, short) = if is_hour {
        let (life, hour) = (Duration::from_secs(120), Duration::from_secs(3600));
        (life, 3, hour, Duration::from_millis(5))
    } else {
        (Duration::from_secs(20), 3, Duration::ZERO, Duration::ZERO)
    };
    let more = format!("[nodes]\ncertificate_life = \"{}s\"\n", life.as_secs());
    let fleet = Fleet::of(
        Plane::ready("cp-1", &Memory::Embedded, &more),
        &["a-1", "a-2"],
        |node| {
            // Who begins under a certificate may end after it.
            let role = if node.is_agent() { "agent" } else { "gateway" };
            node.config
                .text(&format!("{role}.drain"), format!("{}s", 3 * life.as_secs()));
        },
    );
    let let_go = Arc::new(AtomicBool::new(false));
    let slow = backend(short, &let_go);
    let rules = adit_tests::Rules::none().http("web.virtual:80", slow.url());
    assert_eq!(fleet.root.apply("acme", "", &rules.to_string()).status, 200);
    fleet.is_in_force();
    fleet.has_tunnels();
    let renewals = || {
        let nodes = fleet.agents.iter().chain([&fleet.gateway]);
        nodes
            .map(|node| {
                node.admin()
                    .metric("subscription_renewals_total", &[("outcome", "ok")])
            })
            .fold(f64::INFINITY, f64::min)
    };
    let began = Instant::now();
    let load = Load::start(fleet.door, 2, fleet.request("/short"), |response| {
        response.status == 200 && response.text() == "hello"
    });
    load.flows(100);
    let (whole, rounds) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // A round takes half of a life for each renewal; one that would end after the hour is not begun.
    let round = life / 2 * wanted;
    while rounds.load(Ordering::SeqCst) == 0 || began.elapsed() + round < at_least {
        let before = renewals();
        let_go.store(false, Ordering::SeqCst);
        std::thread::scope(|scope| {
            for _ in 0..LONG {
                scope.spawn(|| {
                    let came = long(fleet.door, &fleet.request("/long"));
                    assert!(matches!(came, Ok(true)), "a long answer: {came:?}");
                    whole.fetch_add(1, Ordering::SeqCst);
                });
            }
            until(
                "every node has renewed often enough",
                life * (wanted + 2),
                || renewals() >= before + f64::from(wanted),
            );
            let_go.store(true, Ordering::SeqCst);
        });
        rounds.fetch_add(1, Ordering::SeqCst);
    }
    std::thread::sleep(at_least.saturating_sub(began.elapsed()));
    load.flows(100);
    let outcome = load.stop();
    eprintln!(
        "{} short answers, {} long ones, at least {} renewals a node in {:?}",
        outcome.fine,
        whole.load(Ordering::SeqCst),
        renewals(),
        began.elapsed()
    );
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert!(renewals() > 2.0);
    assert!(
        began.elapsed() > life,
        "the long answers outlived a certificate"
    );
    for node in fleet.agents.iter().chain([&fleet.gateway]) {
        assert!(
            node.admin()
                .metric("subscription_renewals_total", &[("outcome", "failed")])
                < 0.5
        );
    }
}

// S-08
#[test]
fn s08_an_agent_that_was_off_until_its_certificate_had_ended_comes_back_where_that_is_allowed_and_only_there()
 {
    std::thread::scope(|scope| {
        for (policy, is_allowed) in [("1h", true), ("0s", false)] {
            scope.spawn(move || {
                let life = Duration::from_secs(20);
                let more = format!(
                    "[nodes]\ncertificate_life = \"{}s\"\nrenew_expired = \"{policy}\"\n",
                    life.as_secs()
                );
                let mut fleet = Fleet::of(
                    Plane::ready("cp-1", &Memory::Embedded, &more),
                    &["a-1"],
                    |_| {},
                );
                fleet.apply("/a");
                fleet.has_tunnels();
                fleet.answers("/a", 200);
                fleet.agents[0].stop();
                let stopped = Instant::now();
                until("its certificate has ended", life * 2, || {
                    stopped.elapsed() > life + Duration::from_secs(1)
                });
                fleet.agents[0].start();
                if is_allowed {
                    fleet.has_tunnels();
                    fleet.answers("/a", 200);
                } else {
                    let admin = fleet.agents[0].admin();
                    until("it says why", SOON, || {
                        let problems = &admin.status()["control"]["problems"];
                        problems.to_string().contains("has expired")
                    });
                    until("its renewal was refused", SOON, || {
                        admin.metric("subscription_renewals_total", &[("outcome", "failed")]) > 0.5
                    });
                    fleet.answers("/a", 503);
                }
            });
        }
    });
}

/// Long answers at one time.
const LONG: usize = 4;
/// How long the longest may take.
const WITHIN: Duration = Duration::from_secs(1200);
