//! Large bodies arrive whole, one at a time and many at once, and a stalled one hurts nobody.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use adit_tests::curl::Curl;
use adit_tests::payload::{self, Noise, digest_of};
use adit_tests::world::World;
use adit_tests::{Backend, Nginx, Rules, net, on_both_drivers, socks};

/// What curl needs to know of a world.
struct Proxy {
    proxy: String,
    authorization: String,
}

impl Proxy {
    fn of(world: &World) -> Self {
        Self {
            proxy: format!("http://{}", world.http()),
            authorization: format!("Proxy-Authorization: Bearer {}", world.token()),
        }
    }

    fn curl(&self, args: &[&str]) -> Curl {
        let ours = [
            "-f",
            "-x",
            &self.proxy,
            "--proxy-header",
            &self.authorization,
        ];
        Curl::new(&[&ours, args].concat())
    }
}

on_both_drivers! {
    fn a_large_file_arrives_with_the_same_sha256_down_and_up(driver: Driver) {
        let nginx = Nginx::start();
        let web = Rules::none().http("web.virtual:80", nginx.url());
        let world = World::builder().driver(driver).rules(web).alone().start();
        let sent = nginx.file("large", payload::large_bytes());
        let proxy = Proxy::of(&world);

        assert_eq!(proxy.curl(&["http://web.virtual/large"]).digest(), sent);

        let file = nginx.path("large").display().to_string();
        let up = proxy.curl(&["-T", &file, "http://web.virtual/upload/large"]).run();
        assert_eq!(up.code, Some(0), "{}", up.stderr);
        assert_eq!(nginx.digest("upload/large"), sent);
    }

    fn sixteen_large_files_at_once_arrive_with_the_same_sha256_down_and_up(driver: Driver) {
        let nginx = Nginx::start();
        let web = Rules::none().http("web.virtual:80", nginx.url());
        let world = World::builder().driver(driver).rules(web).alone().start();
        let part = payload::large_bytes() / 16;
        let proxy = Proxy::of(&world);
        std::thread::scope(|scope| {
            for number in 0..16 {
                let (nginx, proxy) = (&nginx, &proxy);
                scope.spawn(move || {
                    let name = format!("part-{number}");
                    let sent = nginx.file(&name, part);
                    let url = format!("http://web.virtual/{name}");
                    assert_eq!(proxy.curl(&[&url]).digest(), sent, "{name} down");
                    let file = nginx.path(&name).display().to_string();
                    // Chunked, because the length is not told.
                    let url = format!("http://web.virtual/upload/{name}");
                    let chunked = "Transfer-Encoding: chunked";
                    let up = proxy.curl(&["-H", chunked, "-T", &file, &url]).run();
                    assert_eq!(up.code, Some(0), "{name} up: {}", up.stderr);
                    assert_eq!(nginx.digest(&format!("upload/{name}")), sent, "{name} up");
                });
            }
        });
    }
}

#[test]
fn a_slow_reader_keeps_neither_its_neighbours_waiting_nor_memory() {
    const NEIGHBOURS: usize = 64;
    const ROUNDS: usize = 20;
    let nginx = Nginx::start();
    let echo = Backend::echo();
    let rules = Rules::none()
        .http("web.virtual:80", nginx.url())
        .tcp("echo.virtual:7", echo.address());
    // One shard: the slow reader and all neighbours share one tunnel.
    let mut world = World::builder().shards(1).rules(rules).alone().start();
    let sent = nginx.file("large", 192 << 20);

    let mut slow = net::connect(world.http()).unwrap();
    slow.write_all(
        world
            .request("GET", "http://web.virtual/large", "")
            .as_bytes(),
    )
    .unwrap();
    // The stall is there when the backend cannot get rid of anything more: nginx has not logged an end.
    let mut first = [0; 1];
    slow.read_exact(&mut first).unwrap();

    let before =
        world.agent().process().resident_bytes() + world.gateway.process().resident_bytes();
    let mut neighbours: Vec<_> = (0..NEIGHBOURS)
        .map(|_| socks::connect(world.socks(), world.token(), "echo.virtual", 7).unwrap())
        .collect();
    let ping = Noise::new(1).bytes(1024);
    let mut pong = vec![0; ping.len()];
    for _ in 0..ROUNDS {
        for neighbour in &mut neighbours {
            neighbour.write_all(&ping).unwrap();
        }
        for neighbour in &mut neighbours {
            neighbour.read_exact(&mut pong).unwrap();
            assert_eq!(pong, ping);
        }
    }
    let after = world.agent().process().resident_bytes() + world.gateway.process().resident_bytes();
    assert!(
        after < before + (64 << 20),
        "{} MiB were kept for one slow reader",
        (after - before) >> 20
    );
    assert!(
        nginx.access_log().is_empty(),
        "the file was not carried whole: nobody reads it"
    );

    // It was only slow: all of it is still there for it.
    let mut reader = first.chain(slow.try_clone().unwrap());
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        reader.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert_eq!(digest_of(reader.take(sent.len)).unwrap(), sent);
    let _ = slow.set_read_timeout(Some(Duration::from_secs(1)));
}
