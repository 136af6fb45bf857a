//! no descriptors left. What is open goes on, new ones wait, and nobody spins.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use adit_tests::wait::SOON;
use adit_tests::{Backend, Rules, World, net, on_both_drivers, socks, until};

on_both_drivers! {
    fn r10_a_gateway_without_descriptors_keeps_what_it_has_and_recovers(driver: Driver) {
        let echo = Backend::echo();
        let rules = Rules::none().tcp("echo.virtual:7", echo.address());
        let mut world = World::builder().driver(driver).rules(rules).alone().start();
        world.gateway.keep_doors();
        world.gateway.limit_descriptors(200);
        world.gateway.start();
        world.wait_for_tunnels(2);
        let mut kept = socks::connect(world.socks(), world.token(), "echo.virtual", 7).unwrap();
        let mut ping = |what: &str| {
            kept.write_all(b"ping").unwrap();
            let mut back = [0; 4];
            kept.read_exact(&mut back)
                .unwrap_or_else(|error| panic!("{what}: {error}"));
        };
        ping("before");

        // More than there are descriptors: the kernel takes them, the gateway cannot.
        let flood: Vec<_> = (0..400)
            .map(|_| net::connect(world.http()).unwrap())
            .collect();
        until("the gateway runs out of descriptors", SOON, || {
            world.gateway.process().descriptors() >= 199
        });
        ping("during");
        let before = world.gateway.process().cpu();
        let started = std::time::Instant::now();
        for _ in 0..20 {
            ping("during");
            std::thread::sleep(Duration::from_millis(50));
        }
        let (used, took) = (world.gateway.process().cpu() - before, started.elapsed());
        assert!(
            used < took / 2,
            "{used:?} of processor time in {took:?}: it spins"
        );

        drop(flood);
        until("descriptors are back", SOON, || {
            world.gateway.process().descriptors() < 150
        });
        ping("after");
        let mut fresh = socks::connect(world.socks(), world.token(), "echo.virtual", 7).unwrap();
        fresh.write_all(b"x").unwrap();
        fresh.read_exact(&mut [0; 1]).unwrap();
    }

    fn r10_an_agent_without_descriptors_refuses_with_a_reason_and_recovers(driver: Driver) {
        let echo = Backend::echo();
        let rules = Rules::none().tcp("echo.virtual:7", echo.address());
        let mut world = World::builder().driver(driver).rules(rules).alone().start();
        world.agents[0].limit_descriptors(100);
        world.agents[0].start();
        let admin = world.agents[0].admin();
        until("the agent is ready", SOON, || admin.is_ready());
        world.wait_for_tunnels(2);
        let mut open = Vec::new();
        let mut codes = Vec::new();
        for _ in 0..150 {
            match socks::connect(world.socks(), world.token(), "echo.virtual", 7) {
                Ok(stream) => open.push(stream),
                Err(error) => codes.push(error.to_string()),
            }
        }
        assert!(open.len() > 20, "{} were served", open.len());
        assert!(
            !codes.is_empty(),
            "a hundred descriptors are not enough for this"
        );
        assert!(
            codes
                .iter()
                .all(|code| code == "reply 1" || code == "reply 4"),
            "{codes:?}"
        );
        for stream in &mut open {
            stream.write_all(b"ping").unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
        }
        assert_eq!(world.tunnels().len(), 2, "the tunnels have not suffered");
        drop(open);
        until("the agent serves again", SOON, || {
            socks::connect(world.socks(), world.token(), "echo.virtual", 7).is_ok()
        });
    }
}
