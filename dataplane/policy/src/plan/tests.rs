//! Plans as people read them, and how far they go.
use super::*;
use crate::limits::{METHODS_MAX, PLAN_EXCEPTIONS_MAX};
use crate::parse;

fn table(text: &str) -> Table {
    let rules = parse("r.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
    Table::compile(&rules).unwrap()
}

/// A system of protocol http with these resources, each `path scope methods more`.
fn http(resources: &[&str]) -> String {
    system("erp.virtual:80", "http", "http://10.1.2.3", resources)
}

fn system(virtual_end: &str, protocol: &str, internal: &str, resources: &[&str]) -> String {
    let mut text = format!(
        "[[system]]\nvirtual = \"{virtual_end}\"\nprotocol = \"{protocol}\"\ninternal = \"{internal}\"\n"
    );
    for resource in resources {
        let mut words = resource.split(' ');
        let path = words.next().unwrap();
        text.push_str(&format!("[[system.resource]]\npath = \"{path}\"\n"));
        for word in words {
            let line = match word {
                "subtree" => "scope = \"subtree\"".to_owned(),
                "upgrade" | "parameters" => format!("{word} = true"),
                methods => format!("methods = [\"{}\"]", methods.replace(',', "\", \"")),
            };
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

fn told(old: &str, new: &str) -> Vec<String> {
    let plan = plan(&table(old), &table(new));
    assert!(!plan.unfinished);
    plan.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn each_setting_that_leads_a_request_elsewhere_is_told_by_itself() {
    let old = system("erp.virtual:80", "http", "https://10.1.2.3", &["/a"]);
    for (setting, told_as) in [
        ("host_header = \"internal\"", "host_header internal"),
        ("allow_loopback = true", "allow_loopback true"),
        ("ca_file = \"/etc/ca.pem\"", "/etc/ca.pem"),
    ] {
        let with = format!("{setting}\n[[system.resource]]");
        let new = old.replacen("[[system.resource]]", &with, 1);
        let lines = told(&old, &new);
        assert_eq!(lines.len(), 1, "{setting}: {lines:?}");
        let line = lines.concat();
        assert!(line.starts_with("~ ") && line.contains(told_as), "{line}");
    }
}

#[test]
fn a_change_is_told_as_the_requests_it_concerns() {
    for (old, new, lines) in [
        (
            vec!["/orders subtree GET,HEAD"],
            vec!["/orders subtree GET,HEAD", "/invoices/2026 GET"],
            vec!["+ GET http://erp.virtual:80/invoices/2026  to http://10.1.2.3:80"],
        ),
        (
            vec!["/orders subtree GET", "/orders/secret subtree"],
            vec!["/orders subtree GET"],
            vec!["- * but GET http://erp.virtual:80/orders/secret[/*]"],
        ),
        // What was granted before is no news.
        (
            vec!["/orders subtree GET", "/x/y"],
            vec!["/ subtree GET", "/x/y"],
            vec![
                "+ GET http://erp.virtual:80/* except /orders[/*], /x/y[/*]  to http://10.1.2.3:80",
                "+ GET http://erp.virtual:80/x/y/*  to http://10.1.2.3:80",
            ],
        ),
        // Exact and with a slash are three things.
        (
            vec!["/a subtree GET"],
            vec!["/a GET"],
            vec!["- GET http://erp.virtual:80/a/*"],
        ),
        (
            vec!["/a/ GET"],
            vec!["/a/ subtree GET"],
            vec!["+ GET http://erp.virtual:80/a/* except /a/  to http://10.1.2.3:80"],
        ),
        (
            vec!["/chat GET"],
            vec!["/chat GET upgrade"],
            vec!["+ GET ws://erp.virtual:80/chat  to http://10.1.2.3:80"],
        ),
        (
            vec!["/a subtree GET parameters"],
            vec!["/a subtree GET"],
            vec!["- GET http://erp.virtual:80/a;*[/*]"],
        ),
        (
            vec!["/a subtree GET parameters", "/a;v=1 GET"],
            vec!["/a;v=1 GET"],
            vec![
                "- GET http://erp.virtual:80/a[/*]",
                "- GET http://erp.virtual:80/a;*[/*] except /a;v=1[/*]",
                "- GET http://erp.virtual:80/a;v=1/*",
            ],
        ),
        // With any parameters an exact path, with certain ones a subtree: each is told by itself.
        (
            vec!["/a GET parameters", "/a;v=1 subtree GET"],
            vec!["/a GET", "/a;v=1 GET"],
            vec![
                "- GET http://erp.virtual:80/a;* except /a;v=1[/*]",
                "- GET http://erp.virtual:80/a;v=1/*",
            ],
        ),
        // Several sets of methods on one path.
        (
            vec!["/a GET,POST,PUT"],
            vec!["/a GET,DELETE"],
            vec![
                "+ DELETE http://erp.virtual:80/a  to http://10.1.2.3:80",
                "- POST, PUT http://erp.virtual:80/a",
            ],
        ),
    ] {
        assert_eq!(told(&http(&old), &http(&new)), lines, "{old:?} to {new:?}");
    }
}

#[test]
fn what_leads_elsewhere_is_told_with_both_ends() {
    let old = system(
        "erp.virtual:80",
        "http",
        "http://10.1.2.3",
        &["/a subtree GET"],
    );
    let new = old.replace("http://10.1.2.3", "https://10.1.2.4:8443");
    assert_eq!(
        told(&old, &new),
        ["~ GET http://erp.virtual:80/a[/*]  from http://10.1.2.3:80 to https://10.1.2.4:8443"]
    );
    let more = "host_header = \"internal\"\nallow_loopback = true\n[[system.resource]]";
    assert_eq!(
        told(&old, &old.replace("[[system.resource]]", more)),
        [
            "~ GET http://erp.virtual:80/a[/*]  from http://10.1.2.3:80 (host_header virtual) (allow_loopback false) \
             to http://10.1.2.3:80 (host_header internal) (allow_loopback true)"
        ]
    );
}

#[test]
fn ports_are_told_in_ranges_however_the_systems_are_cut() {
    let one = system("db.virtual:10-29", "tcp", "10.1.2.3:1010-1029", &[]);
    let two = [
        system("db.virtual:10-19", "tcp", "10.1.2.3:1010-1019", &[]),
        system("db.virtual:20-29", "tcp", "10.1.2.3:1020-1029", &[]),
    ]
    .concat();
    assert_eq!(told(&one, &two), [""; 0]);
    assert_eq!(told(&two, ""), ["- tcp://db.virtual:10-29"]);
    assert_eq!(
        told("", &two),
        ["+ tcp://db.virtual:10-29  to tcp://10.1.2.3:1010-1029"]
    );
    let shifted = system("db.virtual:15-34", "tcp", "10.1.2.3:1015-1034", &[]);
    assert_eq!(
        told(&one, &shifted),
        [
            "- tcp://db.virtual:10-14",
            "+ tcp://db.virtual:30-34  to tcp://10.1.2.3:1030-1034"
        ]
    );
    let moved = system("db.virtual:10-29", "tcp", "10.1.2.3:1011-1030", &[]);
    assert_eq!(
        told(&one, &moved),
        ["~ tcp://db.virtual:10-29  from tcp://10.1.2.3:1010-1029 to tcp://10.1.2.3:1011-1030"]
    );
    let http = system(
        "db.virtual:10",
        "http",
        "http://10.1.2.3",
        &["/ subtree GET"],
    );
    let tcp = system("db.virtual:10", "tcp", "10.1.2.3:10", &[]);
    assert_eq!(
        told(&http, &tcp),
        [
            "+ tcp://db.virtual:10  to tcp://10.1.2.3:10",
            "- GET http://db.virtual:10/*"
        ]
    );
}

#[test]
fn encoded_slashes_are_told_where_systems_differ_in_them() {
    let old = http(&["/a subtree GET"]);
    let keep = old.replace(
        "[[system.resource]]",
        "encoded_slash = \"keep\"\n[[system.resource]]",
    );
    assert_eq!(
        told(&old, &keep),
        ["+ GET http://erp.virtual:80/a[/*] with %2F  to http://10.1.2.3:80"]
    );
    let moved = keep.replace("10.1.2.3", "10.1.2.4");
    assert_eq!(
        told(&old, &moved),
        [
            "~ GET http://erp.virtual:80/a[/*] without %2F  from http://10.1.2.3:80 to http://10.1.2.4:80",
            "+ GET http://erp.virtual:80/a[/*] with %2F  to http://10.1.2.4:80",
        ]
    );
}

#[test]
fn a_plan_is_json_for_programs() {
    let (old, new) = (http(&["/orders subtree GET"]), http(&["/ subtree GET"]));
    let told = serde_json::to_value(plan(&table(&old), &table(&new))).unwrap();
    let target = serde_json::json!({
        "protocol": "http", "host": "10.1.2.3", "ports": "80", "host_header": "virtual", "ca_file": null,
        "allow_loopback": false,
    });
    let line = serde_json::json!({
        "change": "reachable", "host": "erp.virtual", "ports": "80", "asked": "http", "methods": ["GET"],
        "upgrade": false, "path": "/", "scope": "subtree", "parameters": false, "encoded_slashes": "refused",
        "except": [{"path": "/orders", "scope": "subtree", "parameters": false}], "except_unlisted": 0,
        "before": null, "after": target,
    });
    assert_eq!(told["lines"], serde_json::json!([line]));
    assert_eq!(
        (&told["ends_same"], &told["ends_changed"]),
        (&0.into(), &1.into())
    );
    let all = MethodSet::new(true, [].into_iter());
    let but = MethodSet::new(true, ["PUT", "GET"].into_iter());
    assert_eq!(serde_json::to_value(all).unwrap(), "all");
    assert_eq!(
        serde_json::to_value(but).unwrap(),
        serde_json::json!({"all_but": ["GET", "PUT"]})
    );
}

/// Systems with an exact path each.
fn systems(count: usize) -> String {
    (0..count)
        .map(|n| {
            system(
                &format!("h{n}.virtual:80"),
                "http",
                "http://10.1.2.3",
                &["/a GET"],
            )
        })
        .collect()
}

#[test]
fn as_many_lines_as_the_limit_are_listed_and_the_rest_is_counted() {
    for (count, unlisted) in [(PLAN_LINES_MAX, 0), (PLAN_LINES_MAX + 2, 2)] {
        let plan = plan(&table(""), &table(&systems(count)));
        assert_eq!(
            (plan.lines.len(), plan.unlisted),
            (PLAN_LINES_MAX, unlisted)
        );
        assert_eq!((plan.ends_changed, plan.ends_same), (count, 0));
        let told = plan.to_string();
        assert_eq!(told.ends_with("\nand 2 more"), unlisted > 0, "{told}");
    }
}

#[test]
fn as_many_exceptions_as_the_limit_are_named_and_the_rest_is_counted() {
    for (count, unlisted) in [(PLAN_EXCEPTIONS_MAX, 0), (PLAN_EXCEPTIONS_MAX + 3, 3)] {
        let paths: Vec<String> = (0..count)
            .map(|n| format!("/p{n:04} subtree GET"))
            .collect();
        let mut paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let old = http(&paths);
        paths.push("/ subtree GET");
        let plan = plan(&table(&old), &table(&http(&paths)));
        let [line] = plan.lines.as_slice() else {
            panic!("{plan}");
        };
        let Asked::Http(asked) = &line.asked else {
            panic!("{line}");
        };
        assert_eq!(
            (asked.except.len(), asked.except_unlisted),
            (PLAN_EXCEPTIONS_MAX, unlisted)
        );
        assert_eq!(
            line.to_string().contains(" and 3 more"),
            unlisted > 0,
            "{line}"
        );
    }
}

#[test]
fn as_many_methods_as_a_resource_lists_are_named_and_the_rest_is_counted() {
    let names: Vec<String> = (0..=METHODS_MAX).map(|n| format!("M{n:03}")).collect();
    let set = |count: usize| MethodSet::new(false, names.iter().take(count).map(String::as_str));
    assert_eq!(set(METHODS_MAX).unlisted, 0);
    let cut = set(METHODS_MAX + 1);
    assert_eq!((cut.names.len(), cut.unlisted), (METHODS_MAX, 1));
    assert!(cut.to_string().ends_with("M063 and 1 more"), "{cut}");
}

#[test]
fn more_methods_than_a_set_of_bits_holds_are_compared_all_the_same() {
    // Each resource tells its method from all others: 130 classes and the one of the others.
    let resources: Vec<String> = (0..130).map(|n| format!("/p{n:03} M{n:03}")).collect();
    let resources: Vec<&str> = resources.iter().map(String::as_str).collect();
    let lines = told("", &http(&resources));
    assert_eq!(lines.len(), 130);
    for n in 0..130 {
        let line = format!("+ M{n:03} http://erp.virtual:80/p{n:03}  to http://10.1.2.3:80");
        assert!(lines.contains(&line), "{line}");
    }
}

#[test]
fn a_plan_ends_where_its_decisions_are_spent_and_says_so() {
    let (old, new) = (table(&systems(1)), table(&systems(3)));
    let whole = plan(&old, &new);
    let needed = (0..)
        .find(|decisions| !plan_within(&old, &new, *decisions).unfinished)
        .unwrap();
    assert_eq!(plan_within(&old, &new, needed), whole);
    let cut = plan_within(&old, &new, needed - 1);
    assert!(cut.unfinished && !cut.is_empty());
    assert!(needed < PLAN_DECISIONS_MAX);
    assert!(
        !plan_within(&old, &old, 0).unfinished,
        "equal systems need no decision"
    );
}
