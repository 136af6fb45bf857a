//! Agents and gateways that end, killed or asked to, while requests are under way
//! (promise 3: a change never costs a request).

use std::time::{Duration, Instant};

use adit_tests::load::{Load, Outcome};
use adit_tests::wait::SOON;
use adit_tests::{Backend, Nginx, Rules, World, backend, net, on_both_drivers, socks, until};

fn fetching(world: &World) -> Load {
    let load = Load::start(
        world.http(),
        8,
        world.request("GET", "http://web.virtual/1k", ""),
        |response| response.status == 200 && response.body.len() == 1024,
    );
    load.flows(200);
    load
}

fn without_failure(outcome: &Outcome) {
    assert!(outcome.fine > 200, "{}", outcome.fine);
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert_eq!(outcome.reopened, 0, "no connection was closed unannounced");
}

on_both_drivers! {
    fn one_of_two_agents_killed_costs_no_idempotent_request_after_the_first_second(driver: Driver) {
        let nginx = Nginx::start();
        let rules = Rules::none().http("web.virtual:80", nginx.url());
        let mut world = World::builder().driver(driver).agents(2).rules(rules).alone().start();
        for victim in [0, 1] {
            let load = fetching(&world);
            let killed = Instant::now();
            world.agents[victim].stop();
            until("the first second is over", SOON, || killed.elapsed() > Duration::from_secs(1));
            load.flows(300);
            let late = load.failures_since(killed + Duration::from_secs(1));
            assert!(late.is_empty(), "{late:?}");
            drop(load.stop());
            assert_eq!(world.tunnels().len(), 2, "those of the agent that is left");
            world.agents[victim].start();
            world.wait_for_tunnels(4);
        }
    }

    fn agents_are_back_within_15_seconds_after_the_gateway_was_restarted_under_load(driver: Driver) {
        let nginx = Nginx::start();
        let rules = Rules::none().http("web.virtual:80", nginx.url());
        let mut world = World::builder().driver(driver).agents(2).rules(rules).alone().start();
        world.gateway.keep_doors();
        let load = fetching(&world);
        world.gateway.stop();
        world.gateway.start();
        let up = Instant::now();
        until("the tunnels of both agents are back", Duration::from_secs(15), || world.tunnels().len() == 4);
        let took = up.elapsed();
        load.flows(300);
        let back = Instant::now();
        load.flows(300);
        let late = load.failures_since(back);
        assert!(late.is_empty(), "{took:?}: {late:?}");
        drop(load.stop());
    }

    fn an_agent_asked_to_end_costs_no_request(driver: Driver) {
        let nginx = Nginx::start();
        let rules = Rules::none().http("web.virtual:80", nginx.url());
        let mut world = World::builder().driver(driver).agents(2).rules(rules).alone().start();
        let load = fetching(&world);
        for agent in [0, 1] {
            let process = world.agents[agent].process();
            process.terminate();
            let status = process.wait(Duration::from_secs(40));
            assert!(status.success(), "{status}");
            load.flows(100);
            world.agents[agent].start();
            world.wait_for_tunnels(4);
            load.flows(100);
        }
        without_failure(&load.stop());
    }
}

#[test]
fn an_agent_asked_to_end_finishes_what_it_has_begun() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let backend = Backend::start(move |visit| {
        visit.request()?;
        visit.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")?;
        gone.lock()
            .unwrap()
            .recv_timeout(Duration::from_secs(30))
            .map_err(std::io::Error::other)?;
        visit.send("world")
    });
    let rules = Rules::none().http("web.virtual:80", backend.url());
    let mut world = World::with(rules);
    let mut connection = world.connect();
    connection
        .send(world.request("GET", "http://web.virtual/", ""))
        .unwrap();
    assert_eq!(connection.head().unwrap().status, 200);
    assert_eq!(connection.exactly(5).unwrap(), b"hello");
    world.agent().process().terminate();
    until("the agent takes no new requests", SOON, || {
        world.tunnels().is_empty()
    });
    assert_eq!(world.get("http://web.virtual/").refusal(), "no-agent");
    assert!(
        world.agent().process().ended().is_none(),
        "it waits for what is under way"
    );
    go.send(()).unwrap();
    assert_eq!(connection.exactly(5).unwrap(), b"world");
    assert!(
        world
            .agent()
            .process()
            .wait(Duration::from_secs(15))
            .success()
    );
}

#[test]
fn an_agent_that_is_asked_twice_ends_at_once() {
    let backend = Backend::silent();
    let mut world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let mut connection = world.connect();
    connection
        .send(world.request("GET", "http://web.virtual/", ""))
        .unwrap();
    until("the request has arrived", SOON, || backend.open() == 1);
    world.agent().process().terminate();
    until("the agent drains", SOON, || world.tunnels().is_empty());
    world.agent().process().terminate();
    // The drain may take 30 s; the second signal does not wait for it.
    let _ = world.agent().process().wait(Duration::from_secs(10));
    let response = connection.response().unwrap();
    assert_eq!(response.status, 502, "{}", response.refusal());
}

#[test]
fn a_gateway_asked_to_end_finishes_what_it_has_begun() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let backend = Backend::start(move |visit| {
        visit.request()?;
        gone.lock()
            .unwrap()
            .recv_timeout(Duration::from_secs(30))
            .map_err(std::io::Error::other)?;
        visit.send(backend::ok("late"))
    });
    let mut world = World::with(Rules::none().http("web.virtual:80", backend.url()));
    let mut idle = world.connect();
    let mut busy = world.connect();
    busy.send(world.request("GET", "http://web.virtual/", ""))
        .unwrap();
    until("the request has arrived", SOON, || backend.accepted() == 1);
    world.gateway.process().terminate();
    assert!(
        idle.closes().unwrap(),
        "a connection without a request is closed"
    );
    until("the doors are shut", SOON, || {
        net::connect(world.http()).is_err()
    });
    go.send(()).unwrap();
    let response = busy.response().unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "late"));
    assert!(
        world
            .gateway
            .process()
            .wait(Duration::from_secs(40))
            .success()
    );
}

#[test]
fn a_gateway_that_is_asked_twice_ends_at_once() {
    let echo = Backend::echo();
    let mut world = World::with(Rules::none().tcp("echo.virtual:7", echo.address()));
    let mut stream = socks::connect(world.socks(), world.token(), "echo.virtual", 7).unwrap();
    world.gateway.process().terminate();
    until("the doors are shut", SOON, || {
        net::connect(world.http()).is_err()
    });
    world.gateway.process().terminate();
    let _ = world.gateway.process().wait(Duration::from_secs(10));
    assert_eq!(net::read_to_close(&mut stream).unwrap(), b"");
}
