//! Paths, hosts and fields that mean one thing to a rule and another to a backend (P-01 to P-08).

use adit_tests::{Backend, Connection, Rules, World, backend};

const ALLOWED: &str = "/sap/opu/odata/sap/API_X";

fn world() -> (World, Backend) {
    let mirror = Backend::mirror();
    let rules = Rules::none()
        .http_with("web.virtual:80", mirror.url(), "")
        .resource(&format!("path = \"{ALLOWED}\"\nscope = \"subtree\""));
    (World::with(rules), mirror)
}

// The answer to GET of a path, sent as it is, byte for byte.
fn get(world: &World, path: &[u8]) -> (u16, String) {
    let mut connection = world.connect();
    let mut bytes = b"GET http://web.virtual".to_vec();
    bytes.extend(path);
    bytes.extend(
        format!(
            " HTTP/1.1\r\nHost: web.virtual\r\n{}\r\n",
            world.credentials()
        )
        .into_bytes(),
    );
    connection.send(bytes).unwrap();
    let response = connection.response().unwrap();
    (response.status, response.refusal().to_owned())
}

fn denied(world: &World, mirror: &Backend, paths: &[&[u8]], wanted: &[u16]) {
    assert!(!paths.is_empty());
    for path in paths {
        let shown = String::from_utf8_lossy(path);
        let (status, reason) = get(world, path);
        assert!(wanted.contains(&status), "{shown}: {status} {reason}");
        assert!(!reason.is_empty(), "{shown}: it is adit that says so");
    }
    assert_eq!(mirror.accepted(), 0, "nothing has reached the backend");
}

#[test]
fn p01_a_subtree_ends_at_a_slash_and_cases_differ() {
    let (world, mirror) = world();
    denied(
        &world,
        &mirror,
        &[
            b"/sap/opu/odata/sap/API_X_EVIL",
            b"/sap/opu/odata/sap/API_Xtra",
            b"/sap/opu/odata/sap/API_",
            b"/SAP/opu/odata/sap/API_X",
            b"/sap/opu/odata/sap/api_x",
            b"/sap/opu/odata/sap",
            b"/",
        ],
        &[403],
    );
    for path in [
        ALLOWED.to_owned(),
        format!("{ALLOWED}/"),
        format!("{ALLOWED}/Items('1')"),
        format!("{ALLOWED}?x=/../y"),
    ] {
        assert_eq!(get(&world, path.as_bytes()).0, 200, "{path}");
        // What was judged is what was forwarded, byte for byte.
        assert_eq!(mirror.last().target(), path);
    }
}

#[test]
fn p02_what_could_be_another_path_is_refused() {
    let (world, mirror) = world();
    let inside = [
        "/../secret",
        "/./a",
        "/a/..",
        "/%2e%2e/secret",
        "/%2E./secret",
        "/.%2e/secret",
        "/..%2fsecret",
        "/..%2Fsecret",
        "/%252e%252e/secret",
        "/a%252fb",
        "/..;/secret",
        "/..;x=1/secret",
        "/%2e%2e;/secret",
        "/a%5cb",
        "/a\\b",
        "/..\\secret",
        "/a%2fb",
        "//secret",
        "/a//b",
        "/a%00",
        "/a%0d%0aX:1",
        "/a%0a",
        "/a%7f",
        "/%25%32%65%25%32%65/x",
    ];
    let mut paths: Vec<Vec<u8>> = inside
        .iter()
        .map(|end| format!("{ALLOWED}{end}").into_bytes())
        .collect();
    for start in [
        "//sap/opu/odata/sap/API_X",
        "///sap/opu/odata/sap/API_X",
        "/sap/opu;jsessionid=1/../odata/sap/API_X",
    ] {
        paths.push(start.as_bytes().to_vec());
    }
    let paths: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
    denied(&world, &mirror, &paths, &[400, 403]);
}

#[test]
fn p03_bytes_that_are_no_utf8_are_refused() {
    let (world, mirror) = world();
    let mut paths: Vec<Vec<u8>> = [
        "/%c0%ae%c0%ae/x",
        "/%c0%af",
        "/%e0%80%af",
        "/%ff",
        "/%c3",
        "/%ed%a0%80",
        "/%zz",
        "/%2",
        "/%",
    ]
    .iter()
    .map(|end| format!("{ALLOWED}{end}").into_bytes())
    .collect();
    paths.push([ALLOWED.as_bytes(), b"/\xc0\xaf"].concat());
    paths.push([ALLOWED.as_bytes(), b"/\xff"].concat());
    // Fullwidth dots and a slash, which some libraries fold into the plain ones.
    paths.push(format!("{ALLOWED}/%ef%bc%8e%ef%bc%8e%ef%bc%8fx").into_bytes());
    let paths: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
    denied(&world, &mirror, &paths, &[400]);
    // A letter beyond ASCII is a letter, and stays what it is.
    let letter = format!("{ALLOWED}/%c3%a9");
    assert_eq!(get(&world, letter.as_bytes()).0, 200);
    assert_eq!(mirror.last().target(), letter);
}

fn ask(world: &World, target: &str, host: &str) -> (u16, String) {
    let credentials = world.credentials();
    let response = world
        .exchange(format!("GET {target} HTTP/1.1\r\n{host}{credentials}\r\n"))
        .unwrap();
    (response.status, response.refusal().to_owned())
}

#[test]
fn p04_the_host_of_a_request_is_one_thing_or_refused() {
    let mirror = Backend::mirror();
    let rules = Rules::none()
        .http("web.virtual:80", mirror.url())
        .http("under_score.virtual:80", mirror.url())
        .http("xn--mnchen-3ya.virtual:80", mirror.url());
    let world = World::with(rules);
    let web = "Host: web.virtual\r\n";
    for (target, host, status) in [
        ("http://web.virtual/", "Host: other.virtual\r\n", 400),
        ("http://web.virtual/", "Host: web.virtual:8080\r\n", 400),
        ("http://web.virtual/", "", 400),
        ("http://web.virtual/", "Host: \r\n", 400),
        ("http://user@web.virtual/", web, 400),
        ("http://user:pw@web.virtual/", web, 400),
        ("http://web.virtual@evil.virtual/", web, 400),
        ("http://web.virtual:0/", web, 400),
        ("http://web.virtual:65536/", web, 400),
        ("http://web.virtual:80x/", web, 400),
        (
            "http://[fe80::1%25eth0]/",
            "Host: [fe80::1%25eth0]\r\n",
            400,
        ),
        ("http://web virtual/", web, 400),
        ("http:///", web, 400),
        ("http://", web, 400),
        ("http://web.virtual\\@evil/", web, 400),
        ("http://web.virtual%2eevil/", web, 400),
    ] {
        let (code, reason) = ask(&world, target, host);
        assert_eq!(code, status, "{target} {host:?}: {reason}");
    }
    assert_eq!(mirror.accepted(), 0);
    for (target, host) in [
        ("http://WEB.Virtual/", "Host: web.VIRTUAL\r\n"),
        ("http://web.virtual:80/", web),
        ("http://web.virtual/", "Host: web.virtual:80\r\n"),
        (
            "http://under_score.virtual/",
            "Host: under_score.virtual\r\n",
        ),
        (
            "http://xn--mnchen-3ya.virtual/",
            "Host: xn--mnchen-3ya.virtual\r\n",
        ),
    ] {
        let (code, reason) = ask(&world, target, host);
        assert_eq!(code, 200, "{target} {host:?}: {reason}");
    }
}

#[test]
fn p05_fields_that_name_another_host_path_or_method_change_nothing() {
    let (world, mirror) = world();
    let credentials = world.credentials();
    for fields in [
        "Host: web.virtual\r\nHost: web.virtual\r\n",
        "Host: web.virtual\r\nhost: evil.virtual\r\n",
        "Host: web.virtual, evil.virtual\r\n",
        "Host: web.virtual evil.virtual\r\n",
    ] {
        let request =
            format!("GET http://web.virtual{ALLOWED} HTTP/1.1\r\n{fields}{credentials}\r\n");
        assert_eq!(world.exchange(request).unwrap().status, 400, "{fields:?}");
    }
    let spoofed = "X-Forwarded-Host: evil.virtual\r\nX-Original-URL: /secret\r\nX-Rewrite-URL: /secret\r\n\
                   X-HTTP-Method-Override: DELETE\r\nForwarded: host=evil.virtual\r\n";
    // Denied stays denied, allowed stays allowed.
    let response = world
        .exchange(world.request("GET", "http://web.virtual/secret", spoofed))
        .unwrap();
    assert_eq!(
        (response.status, response.refusal()),
        (403, "resource-denied")
    );
    let spoofed_allowed = spoofed.replace("/secret", ALLOWED);
    let response = world
        .exchange(world.request("GET", "http://web.virtual/secret", &spoofed_allowed))
        .unwrap();
    assert_eq!(
        (response.status, response.refusal()),
        (403, "resource-denied")
    );
    assert_eq!(mirror.accepted(), 0);
    let url = format!("http://web.virtual{ALLOWED}");
    let response = world.exchange(world.request("GET", &url, spoofed)).unwrap();
    assert_eq!(response.status, 200);
    let seen = mirror.last();
    assert_eq!(
        (seen.method(), seen.target(), seen.field("host")),
        ("GET", ALLOWED, Some("web.virtual"))
    );
}

#[test]
fn p05_the_forwarded_host_is_set_by_adit_alone() {
    let mirror = Backend::mirror();
    let rules = Rules::none()
        .http_with("web.virtual:80", mirror.url(), "host_header = \"internal\"")
        .resource("path = \"/\"\nscope = \"subtree\"");
    let world = World::with(rules);
    let spoofed = "X-Forwarded-Host: evil.virtual\r\n";
    let response = world
        .exchange(world.request("GET", "http://web.virtual/", spoofed))
        .unwrap();
    assert_eq!(response.status, 200);
    let seen = mirror.last();
    let told: Vec<_> = seen.all("x-forwarded-host").collect();
    assert_eq!(told, ["web.virtual"], "one, and the true one");
}

#[test]
fn p06_query_and_fragment_take_no_part_and_a_long_url_is_431() {
    let (world, mirror) = world();
    for end in ["?/../secret", "?a=%2e%2e/%00", "?x//y", "?", "?a?b#"] {
        let path = format!("{ALLOWED}{end}");
        let (status, reason) = get(&world, path.as_bytes());
        // A fragment has no place in a request (RFC 9112, section 3.2): refused wherever it stands.
        let wanted = if path.contains('#') { 400 } else { 200 };
        assert_eq!(status, wanted, "{path}: {reason}");
        if wanted == 200 {
            assert_eq!(mirror.last().target(), path);
        }
    }
    let before = mirror.requests().len();
    for path in [
        "/secret?/sap/opu/odata/sap/API_X",
        "/secret#/sap/opu/odata/sap/API_X",
        "/?a=b/sap/opu/odata/sap/API_X",
    ] {
        assert!(
            matches!(get(&world, path.as_bytes()).0, 400 | 403),
            "{path}"
        );
    }
    let long = format!("{ALLOWED}/{}", "a".repeat(64 * 1024));
    assert_eq!(
        get(&world, long.as_bytes()),
        (431, "line-too-large".to_owned())
    );
    assert_eq!(mirror.requests().len(), before);
}

#[test]
fn p08_addresses_of_the_agents_own_machine_need_an_explicit_yes() {
    let mirror = Backend::mirror();
    let port = mirror.address().port();
    let mut world = World::with(Rules::none().http("web.virtual:80", mirror.url()));
    let admin = world.agent().admin();
    let mut refused_at_push = 0;
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.2",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "foo.localhost",
        "169.254.169.254",
        "[fe80::1]",
        "169.254.1.1",
        "metadata.google.internal",
    ] {
        let rules = format!(
            "[[system]]\nvirtual = \"web.virtual:80\"\nprotocol = \"http\"\ninternal = \"http://{host}:{port}\"\n\
             [[system.resource]]\npath = \"/\"\nscope = \"subtree\"\n"
        );
        let (code, answer) = admin.ask("PUT", "/rules", &rules).unwrap();
        if code == 200 {
            let response = world.get("http://web.virtual/");
            assert_eq!(
                response.refusal(),
                "backend-address-forbidden",
                "{host}: {}",
                response.text()
            );
        } else {
            assert_eq!(code, 422, "{host}: {answer}");
            refused_at_push += 1;
        }
    }
    assert!(refused_at_push > 0);
    assert_eq!(mirror.accepted(), 0);
}

#[test]
fn p08_a_redirect_is_the_clients_to_follow() {
    let secret = Backend::saying(backend::ok("secret"));
    let target = secret.url();
    let redirecting = Backend::answering(move |_| {
        format!("HTTP/1.1 302 Found\r\nLocation: {target}/x\r\nContent-Length: 0\r\n\r\n")
            .into_bytes()
    });
    let world = World::with(Rules::none().http("web.virtual:80", redirecting.url()));
    let response = world.get("http://web.virtual/");
    assert_eq!(response.status, 302);
    assert_eq!(secret.accepted(), 0);
}

#[test]
fn p08_the_doors_of_adit_itself_are_no_backends() {
    // The gateway's own admin endpoint and doors listen on this machine, and so are out of reach.
    let world = World::builder()
        .gateway(|config| {
            config.text("admin.listen", "127.0.0.1:0");
        })
        .start();
    let admin = world.gateway.door("admin");
    let rules = format!(
        "[[system]]\nvirtual = \"admin.virtual:80\"\nprotocol = \"http\"\ninternal = \"http://{admin}\"\n"
    );
    let (code, answer) = world.agents[0]
        .admin()
        .ask("PUT", "/rules", &rules)
        .unwrap();
    assert!(
        code == 422 && answer.contains("allow_loopback"),
        "{code} {answer}"
    );
    // And who may look at it may change nothing there.
    let mut connection = Connection::open(admin).unwrap();
    connection
        .send("PUT /rules HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    assert!(matches!(connection.response().unwrap().status, 403..=405));
}
