//! What was judged is what was forwarded.

use std::sync::{Arc, OnceLock};

use adit_policy::{HostHeader as Told, Request, Snapshot};
use adit_proto::connect::{Protocol, Request as Connect, RequestId};
use adit_proto::http::{HostHeader, Internal, Limits, RequestHead, Target};

/// Rules in which requests nearly meet: nested paths, parameters, kept slashes, methods, upgrades.
const RULES: &str = r#"
[[system]]
virtual = "erp.virtual:80"
protocol = "http"
internal = "http://10.1.2.3:8000"
[[system.resource]]
path = "/a"
scope = "subtree"
methods = ["GET", "HEAD"]
[[system.resource]]
path = "/a/b"
parameters = true
upgrade = true
[[system.resource]]
path = "/a/c"
scope = "subtree"
active = false
[[system.resource]]
path = "/sap/opu/odata/x.svc/Products('1')"
[[system.resource]]
path = "/$metadata"
[[system.resource]]
path = "/"

[[system]]
virtual = "keys.virtual:8080"
protocol = "http"
internal = "https://keys.corp.example:8443"
host_header = "internal"
encoded_slash = "keep"
[[system.resource]]
path = "/k"
scope = "subtree"
parameters = true

[[system]]
virtual = "db.virtual:5432-5440"
protocol = "tcp"
internal = "10.1.2.4:5432-5440"
"#;

fn snapshot() -> &'static Arc<Snapshot> {
    static SNAPSHOT: OnceLock<Arc<Snapshot>> = OnceLock::new();
    SNAPSHOT.get_or_init(|| Snapshot::new(1, RULES.to_owned()).expect("the rules are fine"))
}

/// A caller's head, from the gateway's door to the backend: the decision is the same on what the caller sent and on what
/// the agent received, and the backend receives the bytes that were judged.
pub fn policy_agrees(data: &[u8]) {
    // The gateway.
    let Ok(Some(head)) = RequestHead::parse(data, &Limits::REQUESTS) else {
        return;
    };
    if head.target == Target::Authority {
        return opaque(&head, data);
    }
    let authority = head.authority(data);
    let host = authority.canonical_host();
    let port = authority.port_or_default();
    let mut stream = Vec::new();
    let connect = Connect {
        protocol: Protocol::Http,
        host: &host,
        port,
        subaccount: "acme",
        caller: "app",
        principal: head.principal(data),
        id: RequestId([7; 16]),
    };
    if connect.encode(&mut stream).is_err() {
        return;
    }
    head.write_for_agent(data, &mut stream);

    // The agent.
    let (connect, used) = Connect::decode(&stream)
        .expect("what a gateway says, an agent reads")
        .expect("and whole");
    let message = &stream[used..];
    let received = RequestHead::parse(message, &Limits::TUNNELLED)
        .expect("what a gateway forwards, an agent reads")
        .expect("and whole");
    assert!(
        received.authority(message).is(connect.host, connect.port),
        "two names for one place"
    );
    assert!(matches!(received.target, Target::Origin | Target::Asterisk));
    let judged = Request::Http {
        host: connect.host,
        port: connect.port,
        method: received.method(message),
        path: received.path(message),
        upgrade: received.upgrade,
    };
    let decision = snapshot().decide(&judged);

    // Nothing the caller wrote differs from what was judged.
    let sent = Request::Http {
        host: authority.host,
        port,
        method: head.method(data),
        path: head.path(data),
        upgrade: head.upgrade,
    };
    let on_sent = snapshot().decide(&sent);
    match (&decision, &on_sent) {
        (Ok(one), Ok(two)) => {
            assert_eq!(
                (one.rule(), one.system_name()),
                (two.rule(), two.system_name())
            );
        }
        (Err(one), Err(two)) => assert_eq!(one.reason(), two.reason()),
        (one, two) => panic!("judged {one:?}, of what was sent {two:?}"),
    }

    // The backend.
    let Ok(permit) = decision else {
        return;
    };
    let (internal_host, internal_port) = permit.internal();
    let told = match permit.host_header() {
        Told::Virtual => HostHeader::Virtual,
        Told::Internal => HostHeader::Internal(Internal {
            https: permit.protocol().is_encrypted(),
            host: internal_host,
            port: internal_port,
        }),
    };
    let mut written = Vec::new();
    received.write_for_backend(message, &told, &mut written);
    let Request::Http { method, path, .. } = judged else {
        return;
    };
    let line = [method.as_bytes(), b" ", path].concat();
    let rest = written
        .strip_prefix(&line[..])
        .expect("the backend reads the path that was judged");
    assert!(
        matches!(rest.first(), Some(b' ' | b'?')),
        "and no more of a path"
    );
    let query = head
        .query(data)
        .map(|query| [b"?", query].concat())
        .unwrap_or_default();
    let rest = rest
        .strip_prefix(&query[..])
        .expect("the query as it was sent");
    assert!(
        rest.starts_with(b" HTTP/1."),
        "nothing between the target and the version"
    );
}

/// A CONNECT names a place and nothing else, and it names it once.
fn opaque(head: &RequestHead, data: &[u8]) {
    let authority = head.authority(data);
    let (host, port) = (authority.canonical_host(), authority.port_or_default());
    let one = snapshot().decide(&Request::Tcp {
        host: authority.host,
        port,
    });
    let two = snapshot().decide(&Request::Tcp { host: &host, port });
    match (one, two) {
        (Ok(one), Ok(two)) => assert_eq!(one.internal(), two.internal()),
        (Err(one), Err(two)) => assert_eq!(one.reason(), two.reason()),
        (one, two) => panic!("as written {one:?}, in canonical form {two:?}"),
    }
}
