//! Logs, and whoever reads them.

use adit_tests::wait::SOON;
use adit_tests::{Backend, Rules, World, on_both_drivers, until};

on_both_drivers! {
    fn a_log_that_nobody_reads_keeps_no_request_waiting(driver: Driver) {
        let backend = Backend::mirror();
        let loud = "debug";
        let mut world = World::builder()
            .driver(driver)
            .shards(1)
            .alone()
            .rules(Rules::none().http("web.virtual:80", backend.url()))
            .gateway(|config| {
                config.text("log.filter", loud);
            })
            .agent(|config| {
                config.text("log.filter", loud);
            })
            .start();
        world.gateway.keep_doors();
        world.gateway.log_to_nobody();
        world.gateway.start();
        world.agent().log_to_nobody();
        world.agent().start();
        world.wait_for_tunnels(1);

        // Both ends tell of each; a pipe takes some hundred events, and the queue before it 2,048.
        let refused = world.request("GET", "http://nowhere.virtual/", "");
        let mut connection = world.connect();
        for _ in 0..10_000 {
            connection.send(&refused).unwrap();
            let response = connection.response().unwrap();
            assert_eq!((response.status, response.closes()), (403, false), "{}", response.line);
        }
        assert_eq!(world.get("http://web.virtual/").status, 200);
        for node in [&world.gateway, &world.agents[0]] {
            until("what was not written is counted", SOON, || {
                node.admin().metric("process_log_events_lost_total", &[]) > 0.5
            });
        }
        // Nor is its end kept waiting.
        world.gateway.process().terminate();
        assert!(world.gateway.process().wait(SOON).success());
    }
}
