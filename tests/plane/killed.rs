//! Programs killed before the steps of what happens more rarely than a push: a restore, a renewal.

use std::time::{SystemTime, UNIX_EPOCH};

use adit_tests::plane::{Caller, Memory, Plane, Reply, rules_number};
use adit_tests::strace::Strace;
use adit_tests::wait::{SOON, until};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cluster::check_chain;
use crate::crashes::{before_steps, files, was_killed};
use crate::fleet::Fleet;

const PASSWORD: &str = "a password for backups";

fn restore(root: &Caller, backup: &[u8]) -> std::io::Result<Reply> {
    let password = STANDARD.encode(PASSWORD);
    let fields = [
        ("content-type", "application/octet-stream"),
        ("adit-backup-password", password.as_str()),
    ];
    root.try_ask("POST", "/api/v1/restore", &fields, backup)
}

fn epoch(root: &Caller) -> Option<u64> {
    let reply = root.try_ask("GET", "/api/v1/status", &[], b"").ok()?;
    (reply.status == 200).then(|| reply.json()["epoch"].as_u64())?
}

/// Kills a server before steps of a restore; `paths`: only what is done to these.
fn kill_restores(who: &str, memory: &Memory, calls: &[&str], of_store: bool) {
    let (mut plane, root) = Plane::ready("cp-1", memory, "");
    let kept = rules_number(1);
    assert_eq!(root.apply("acme", "", &kept).status, 200);
    let made = root.post("/api/v1/backup", &json!({"password": PASSWORD}));
    assert_eq!(made.status, 200, "{made:?}");
    let backup = made.body;
    let paths = if of_store {
        files(&plane.state("store"), &["store.redb"])
    } else {
        Vec::new()
    };
    let (mut number, mut done, mut not_done) = (1, 0, 0);
    // The first steps one by one, of the many that follow some.
    let points = before_steps(
        who,
        calls,
        |nth| nth + nth.div_ceil(3),
        |call, nth| {
            number += 1;
            let since = rules_number(number);
            assert_eq!(root.apply("acme", "", &since).status, 200);
            let before = epoch(&root).unwrap();
            let strace =
                Strace::kill_before(plane.process().pid(), call, nth, &paths, plane.scratch());
            let answer = restore(&root, &backup);
            if let Ok(reply) = &answer {
                assert_eq!(reply.status, 204, "{reply:?}");
                until("it has begun anew, or was killed", SOON, || {
                    plane.process().ended().is_some() || epoch(&root) == Some(before + 1)
                });
            }
            strace.detach();
            let killed = answer.is_err() || epoch(&root).is_none();
            if killed {
                plane.process().wait(SOON);
                plane.restart();
            }
            // Entirely the backup, or entirely what was there.
            let after = epoch(&root).unwrap();
            let text = root.rules("acme").text_of("text");
            if after == before {
                assert!(answer.is_err(), "{call}#{nth}: acknowledged and lost");
                assert_eq!(text, since, "{call}#{nth}");
                not_done += 1;
            } else {
                assert_eq!((after, &text), (before + 1, &kept), "{call}#{nth}");
                done += 1;
            }
            assert!(check_chain(&root) > 2);
            killed
        },
    );
    eprintln!("{who}: {done} times restored, {not_done} times not");
    assert!(points >= 5 && done > 0 && not_done > 0, "{points}");
}

//
#[test]
fn r01_a_server_killed_before_a_step_of_a_restore_has_all_of_the_backup_or_nothing() {
    let calls = ["pwrite64", "fdatasync"];
    kill_restores("restore", &Memory::Embedded, &calls, true);
}

//
#[test]
fn r01_a_server_on_etcd_killed_before_a_word_of_a_restore_has_all_of_the_backup_or_nothing() {
    kill_restores(
        "restore on etcd",
        &Memory::of("etcd"),
        &["sendto,writev"],
        false,
    );
}

/// Makes the certificate `serial` of a node that does not run due for its renewal.
fn make_due(fleet: &Fleet, serial: &str) {
    let path = fleet.agents[0].scratch().path("identity/trust.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut trust: Value = serde_json::from_str(&text).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    // As a version writes it that knows no checksum.
    trust.as_object_mut().unwrap().remove("sha256");
    trust["serial"] = json!(serial);
    trust["renew_unix_s"] = json!(now.as_secs());
    std::fs::write(&path, trust.to_string()).unwrap();
}

//
#[test]
fn r01_an_agent_killed_before_any_step_of_a_renewal_starts_with_the_old_identity_or_the_new_one() {
    let mut fleet = Fleet::of(
        // A node with four certificates that count gets the next one after a 24th of a life.
        Plane::ready(
            "cp-1",
            &Memory::Embedded,
            "[nodes]\ncertificate_life = \"48s\"\n",
        ),
        &["a-1"],
        |_| (),
    );
    fleet.apply("/a");
    fleet.has_tunnels();
    let serial = |fleet: &Fleet| {
        let status = fleet.agents[0].admin().status();
        status["control"]["certificate"]["serial"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let renewed = |fleet: &Fleet| {
        let (code, text) = fleet.agents[0].admin().get("/metrics").unwrap_or_default();
        code == 200 && text.contains("subscription_renewals_total{outcome=\"ok\"} 1")
    };
    let (mut old_found, mut new_found) = (0, 0);
    // What only reads leaves nothing behind: opening a file anew is followed by a write that is one of these.
    let calls = [
        "?unlink,?unlinkat",
        "write",
        "fsync",
        "?rename,?renameat,?renameat2",
    ];
    let points = before_steps(
        "renewal",
        &calls,
        |nth| nth + 1,
        |call, nth| {
            let before = serial(&fleet);
            fleet.agents[0].process().kill();
            make_due(&fleet, &before);
            fleet.plane.process().freeze();
            let agent = &mut fleet.agents[0];
            agent.start();
            let names = ["key", "cert", "trust"].map(|name| {
                let kind = if name == "trust" { "json" } else { "pem" };
                [
                    format!("{name}.{kind}"),
                    format!("{name}.{kind}.half"),
                    format!("{name}.next.{kind}"),
                    format!("{name}.next.{kind}.half"),
                ]
            });
            let names: Vec<&str> = names.iter().flatten().map(String::as_str).collect();
            let paths = files(&agent.scratch().path("identity"), &names);
            let strace =
                Strace::kill_before(agent.process().pid(), call, nth, &paths, agent.scratch());
            fleet.plane.process().thaw();
            until("it has renewed, or was killed", SOON, || {
                renewed(&fleet) || fleet.agents[0].process().ended().is_some()
            });
            strace.detach();
            let killed = was_killed(&mut fleet.agents[0]);
            if killed {
                // Nobody is there to mend anything: what it has is an identity, with which requests pass.
                fleet.plane.process().freeze();
                fleet.agents[0].start();
                fleet.has_tunnels();
                fleet.answers("/a", 200);
                let found = serial(&fleet);
                *(if found == before {
                    &mut old_found
                } else {
                    &mut new_found
                }) += 1;
                fleet.plane.process().thaw();
                until("the control plane takes it", SOON, || {
                    fleet.agents[0].admin().status()["control"]["connected"] == true
                });
            } else {
                assert_ne!(serial(&fleet), before, "it has renewed");
                fleet.has_tunnels();
            }
            fleet.answers("/a", 200);
            killed
        },
    );
    eprintln!("renewal: {old_found} times the old identity, {new_found} times the new one");
    assert!(points >= 12 && old_found > 0 && new_found > 0, "{points}");
}
