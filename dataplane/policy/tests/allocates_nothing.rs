//! A granted request costs no allocation, however it is spelled and whatever grants it.
use adit_policy::sample::Sample;
use adit_policy::{Request, Snapshot, Table, parse};

const RULES: &str = r#"
[[system]]
virtual = "erp.virtual:80"
protocol = "http"
internal = "http://10.1.2.3"
encoded_slash = "keep"
[[system.resource]]
path = "/a/b"
scope = "subtree"
methods = ["GET", "XYZZY"]
[[system.resource]]
path = "/p"
parameters = true
scope = "subtree"
[[system]]
virtual = "db.virtual:5432-5440"
protocol = "tcp"
internal = "10.1.2.3:5432-5440"
"#;

fn allocations(table: &Table, request: &Request<'_>) -> u64 {
    let counted = allocation_counter::measure(|| {
        assert!(table.decide(request).is_ok());
    });
    counted.count_total
}

#[test]
fn granting_allocates_nothing() {
    let table = Table::compile(&parse("r.toml", RULES).unwrap()).unwrap();
    let long = format!("/a/b/{}", "%61".repeat(20_000));
    let deep = "/a/b".to_owned() + &"/x%20y".repeat(5_000);
    for (method, path) in [
        ("GET", "/a/b"),
        ("GET", "/a/b/c"),
        ("XYZZY", "/%61/b/"),
        ("GET", "/a/b/%25%2520;v=2/%C3%9F%2Fx"),
        ("GET", "/p;v=2/x"),
        ("GET", long.as_str()),
        ("GET", deep.as_str()),
    ] {
        let request = Request::Http {
            host: "ERP.virtual",
            port: 80,
            method,
            path: path.as_bytes(),
            upgrade: false,
        };
        assert_eq!(allocations(&table, &request), 0, "{request}");
    }
    let request = Request::Tcp {
        host: "db.virtual",
        port: 5433,
    };
    assert_eq!(allocations(&table, &request), 0);
}

#[test]
fn a_permit_costs_no_allocation_either() {
    let snapshot = Snapshot::new(1, RULES.to_owned()).unwrap();
    let request = Request::Http {
        host: "erp.virtual",
        port: 80,
        method: "GET",
        path: b"/a/b/c",
        upgrade: false,
    };
    let counted = allocation_counter::measure(|| {
        let permit = snapshot.decide(&request).unwrap();
        assert_eq!(permit.internal(), ("10.1.2.3", 80));
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn no_sampled_request_that_is_granted_allocates() {
    let mut granted = 0;
    for seed in 0..300 {
        let mut sample = Sample::new(seed);
        let rules = sample.rule_set();
        let table = Table::compile(&rules).unwrap();
        for _ in 0..100 {
            let owned = sample.request(&rules);
            let request = owned.as_request();
            if table.decide(&request).is_ok() {
                granted += 1;
                assert_eq!(allocations(&table, &request), 0, "SEED={seed}: {request}");
            }
        }
    }
    assert!(granted > 1000);
}

#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(7))));
    assert_eq!(counted.count_total, 1);
}
