//! Tunnels that die: cut, reset, or silent. Both ends notice within ten seconds and come back
//! (promise 1: never connected but dead).

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use adit_tests::load::Load;
use adit_tests::wait::SOON;
use adit_tests::world::{Builder, until_answered};
use adit_tests::{Backend, Cable, Nginx, Rules, World, backend, on_both_drivers, socks, until};

// Ten seconds is promised; the rest is for asking, on a busy machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(12);

fn wired(builder: Builder) -> (World, Cable) {
    let cable = Cable::unplugged();
    let address = cable.address();
    let world = builder.start_with(|door| {
        cable.plug(door);
        address
    });
    (world, cable)
}

// Tunnels that the agent calls up.
fn up(world: &World) -> usize {
    let status = world.agents[0].admin().try_status().unwrap_or_default();
    let tunnels = status["tunnels"].as_array().cloned().unwrap_or_default();
    tunnels
        .iter()
        .filter(|tunnel| tunnel["state"] == "up")
        .count()
}

fn ended(world: &World) -> (f64, f64) {
    (
        world.agents[0]
            .admin()
            .metric("agent_tunnels_ended_total", &[]),
        world
            .gateway
            .admin()
            .metric("gateway_tunnels_ended_total", &[]),
    )
}

fn tunnels_die_and_come_back(driver: adit_tests::Driver, break_it: impl Fn(&Cable)) {
    let nginx = Nginx::start();
    let rules = Rules::none().http("web.virtual:80", nginx.url());
    let (world, cable) = wired(World::builder().driver(driver).rules(rules).alone());
    let load = Load::start(
        world.http(),
        8,
        world.request("GET", "http://web.virtual/1k", ""),
        |response| response.status == 200 && response.body.len() == 1024,
    );
    load.flows(200);
    let before = world.tunnels();
    assert_eq!(before.len(), 2, "one for each shard");
    let (agent_before, gateway_before) = ended(&world);

    break_it(&cable);
    let took = until(
        "both ends notice that the tunnels are dead",
        NOTICED_WITHIN,
        || {
            let (agent, gateway) = ended(&world);
            agent >= agent_before + 2.0 && gateway >= gateway_before + 2.0
        },
    );
    let now = world.tunnels();
    assert!(
        before.iter().all(|old| !now.contains(old)),
        "{before:?} then {now:?} after {took:?}"
    );

    until("tunnels are back", SOON, || {
        world.tunnels().len() == 2 && up(&world) == 2
    });
    load.flows(200);
    let back = Instant::now();
    load.flows(200);
    assert_eq!(
        load.failures_since(back).len(),
        0,
        "{:?}",
        load.failures_since(back)
    );
    drop(load.stop());
    let status = world.agents[0].admin().status();
    let told = status["failures"].as_array();
    assert!(told.is_some_and(|all| !all.is_empty()), "{status}");
}

on_both_drivers! {
    fn tunnels_cut_under_load_come_back(driver: Driver) {
        tunnels_die_and_come_back(driver, Cable::cut);
    }

    fn tunnels_reset_under_load_come_back(driver: Driver) {
        tunnels_die_and_come_back(driver, Cable::reset);
    }

    fn r05_tunnels_that_fall_silent_under_load_are_noticed_within_ten_seconds(driver: Driver) {
        tunnels_die_and_come_back(driver, Cable::stall);
    }
}

#[test]
fn r05_quiet_tunnels_that_fall_silent_are_noticed_within_ten_seconds() {
    let nginx = Nginx::start();
    let (world, cable) = wired(
        World::builder()
            .rules(Rules::none().http("web.virtual:80", nginx.url()))
            .alone(),
    );
    let before = world.tunnels();
    let (agent_before, gateway_before) = ended(&world);
    cable.stall();
    until("both ends notice", NOTICED_WITHIN, || {
        let (agent, gateway) = ended(&world);
        agent >= agent_before + 2.0 && gateway >= gateway_before + 2.0
    });
    assert!(
        world
            .tunnels()
            .iter()
            .all(|tunnel| !before.contains(tunnel))
    );
    until_answered(&world, "http://web.virtual/1k", 200, SOON);
}

#[test]
fn a_conversation_ends_with_its_tunnel_instead_of_hanging() {
    let echo = Backend::echo();
    let (world, cable) = wired(
        World::builder()
            .rules(Rules::none().tcp("echo.virtual:7", echo.address()))
            .alone(),
    );
    let mut stream = socks::connect(world.socks(), world.token(), "echo.virtual", 7).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    cable.stall();
    let started = Instant::now();
    // FIN or RST, but an end.
    assert_eq!(adit_tests::net::read_to_close(&mut stream).unwrap(), b"");
    assert!(
        started.elapsed() <= NOTICED_WITHIN,
        "{:?}",
        started.elapsed()
    );
    until("the backend sees the end, too", NOTICED_WITHIN, || {
        echo.open() == 0
    });
}

on_both_drivers! {
    fn a_request_whose_only_tunnel_is_cut_is_answered_over_the_next_one(driver: Driver) {
        for (method, fields, status, says) in [
            ("GET", "", 200, "second"),
            // It may have been done: nobody may do it twice.
            ("POST", "Content-Length: 0\r\n", 502, "tunnel to the agent was lost"),
        ] {
            // What comes first is never answered.
            let backend = Backend::start(|visit| {
                while visit.request()?.is_some() {
                    if visit.number == 0 {
                        while !visit.some()?.is_empty() {}
                        return Ok(());
                    }
                    visit.send(backend::ok("second"))?;
                }
                Ok(())
            });
            let rules = Rules::none().http("slow.virtual:80", backend.url());
            let (world, cable) = wired(World::builder().driver(driver).shards(1).rules(rules).alone());
            let mut connection = world.connect();
            connection.send(world.request(method, "http://slow.virtual/", fields)).unwrap();
            until("the backend was asked", SOON, || backend.requests().len() == 1);
            cable.cut();
            let response = connection.response().unwrap();
            assert_eq!(response.status, status, "{method}: {}", response.refusal());
            assert!(response.text().contains(says), "{method}: {}", response.text());
        }
    }
}

#[test]
fn a_pause_shorter_than_the_keepalive_costs_nothing() {
    let nginx = Nginx::start();
    let (world, cable) = wired(
        World::builder()
            .rules(Rules::none().http("web.virtual:80", nginx.url()))
            .alone(),
    );
    let before = world.tunnels();
    cable.stall();
    let mut connection = world.connect();
    connection
        .send(world.request("GET", "http://web.virtual/1k", ""))
        .unwrap();
    connection.patience(Duration::from_secs(2)).unwrap();
    let waiting = connection.response();
    assert!(waiting.is_err(), "nothing comes through: {waiting:?}");
    cable.unstall();
    connection.patience(Duration::from_secs(20)).unwrap();
    assert_eq!(connection.response().unwrap().status, 200);
    assert_eq!(world.tunnels(), before, "the very same tunnels");
}

#[test]
fn r09_an_agent_whose_gateway_is_not_there_yet_tries_for_ever_and_says_why() {
    let nginx = Nginx::start();
    let cable = Cable::unplugged();
    let address = cable.address();
    let mut door = None;
    let mut world = World::builder()
        .agent(|config| {
            config.text("tunnel.retry_cap", "500ms");
        })
        .start_with(|gateway| {
            door = Some(gateway);
            address
        });
    let rules = Rules::none().http("web.virtual:80", nginx.url());
    world.push(&rules);
    let admin = world.agent().admin();
    until("the agent says why it is not up", SOON, || {
        let status = admin.status();
        status["failures"].as_array().is_some_and(|all| {
            all.iter()
                .any(|entry| entry["kind"] == "dial" && entry["count"].as_u64() >= Some(3))
        })
    });
    let (code, why) = admin.get("/readyz").unwrap();
    assert_eq!(code, 503);
    assert!(why.contains("no tunnel is up; last failure: "), "{why}");
    assert_eq!(
        admin.get("/healthz").unwrap().0,
        200,
        "it works, it only has nobody to talk to"
    );
    let response = world.get("http://web.virtual/1k");
    assert_eq!((response.status, response.refusal()), (503, "no-agent"));

    cable.plug(door.unwrap());
    until("the agent is ready", SOON, || admin.is_ready());
    until_answered(&world, "http://web.virtual/1k", 200, SOON);
}

#[test]
fn r09_a_gateway_whose_name_does_not_resolve_is_told_as_such() {
    let mut world = World::builder()
        .agent(|config| {
            config.set("tunnel.gateways", "[\"no-such-host.invalid:8443\"]");
        })
        .start();
    let admin = world.agent().admin();
    until("the agent names the host", SOON, || {
        adit_tests::node::failures(&admin.status()).contains("no-such-host.invalid")
    });
    assert!(!admin.is_ready());
}

#[test]
fn r09_a_gateway_of_another_authority_is_told_as_such() {
    let mut world = World::builder().start();
    world.keys.authority("other");
    let foreign = world.keys.agent("other", "acme", "agent-1", "foreign");
    let door = world.gateway.door("tunnel");
    let agent = world.agent();
    agent.stop();
    for (key, file) in [
        ("certificate", "cert.pem"),
        ("key", "key.pem"),
        ("roots", "ca.pem"),
    ] {
        agent
            .config
            .text(&format!("tunnel.{key}"), foreign.join(file).display());
    }
    agent.config.set("tunnel.gateways", format!("[\"{door}\"]"));
    agent.start();
    let admin = agent.admin();
    until(
        "the agent says that it does not trust the gateway",
        SOON,
        || {
            adit_tests::node::failures(&admin.status())
                .to_lowercase()
                .contains("certificate")
        },
    );
    // The first agent was killed; the kernel takes its ring apart in the background, and its tunnels
    // end when that is done.
    until("the old tunnels are gone", SOON, || {
        world.tunnels().is_empty()
    });
    assert!(!admin.is_ready());
}
