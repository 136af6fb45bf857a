//! Disks that are full or read-only, under the server and under a node: nothing is lost, and nobody has to restart
//! anything when there is room again.

use std::path::Path;
use std::process::Command;

use adit_tests::disk::Disk;
use adit_tests::plane::{Memory, Plane, rules_number};
use adit_tests::programs;
use adit_tests::wait::{SOON, until, until_some};
use serde_json::{Value, json};

use crate::cluster::{check_chain, history};
use crate::fleet::Fleet;
use crate::rules::rollout;

fn connected(fleet: &Fleet) -> bool {
    fleet.agents[0]
        .admin()
        .metric("subscription_connected", &[])
        > 0.5
}

//
#[test]
fn r03_a_server_on_a_full_disk_refuses_changes_serves_the_rest_and_goes_on_when_there_is_room() {
    let Some(disk) = Disk::small(8 * 1024) else {
        return;
    };
    let plane = Plane::start_on("cp-1", &disk);
    let root = plane.set_up();
    let mut fleet = Fleet::of((plane, root), &["a-1"], |_| ());
    fleet.apply("/a");
    fleet.has_tunnels();
    disk.fill();
    let mut number = 0;
    // There may be free pages in the store's file.
    let refused = until_some("a change is refused", SOON, || {
        number += 1;
        let reply = fleet.root.apply("other", "", &rules_number(number));
        assert!(matches!(reply.status, 200 | 507), "{reply:?}");
        (reply.status == 507).then_some(reply)
    });
    assert_eq!(
        refused.field("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(refused.json()["type"], "urn:adit:problem:store-full");
    assert!(
        refused.text_of("title").contains("make room"),
        "{refused:?}"
    );
    let versions = history(&fleet.root);
    let refuses = |fleet: &Fleet| {
        let reply = fleet.root.apply("acme", "", &fleet.rules("/b"));
        assert_eq!(reply.status, 507, "{reply:?}");
        assert_eq!(fleet.root.rules("acme").text_of("text"), fleet.rules("/a"));
        fleet.answers("/a", 200);
        fleet.answers("/b", 403);
    };
    refuses(&fleet);
    // Nodes keep their lines, and come back when they start anew.
    assert!(connected(&fleet));
    fleet.agents[0].start();
    until("the agent is subscribed", SOON, || connected(&fleet));
    fleet.has_tunnels();
    refuses(&fleet);
    // So does the server itself.
    fleet.plane.process().kill();
    fleet.plane.restart();
    until("the agent is subscribed again", SOON * 2, || {
        connected(&fleet)
    });
    refuses(&fleet);

    disk.empty();
    until("changes are made again", SOON, || {
        let reply = fleet.root.apply("acme", "", &fleet.rules("/b"));
        assert!(matches!(reply.status, 200 | 507), "{reply:?}");
        reply.status == 200
    });
    fleet.is_connected(1);
    fleet.is_in_force();
    fleet.answers("/a", 403);
    fleet.answers("/b", 200);
    assert_eq!(history(&fleet.root).len(), versions.len() + 1);
    fleet.plane.process().kill();
    fleet.plane.restart();
    assert_eq!(fleet.root.rules("acme").text_of("text"), fleet.rules("/b"));
    assert!(check_chain(&fleet.root) > 0);
}

//
#[test]
fn r03_a_server_whose_disk_is_read_only_says_so_at_its_start_and_finds_everything_later() {
    let Some(disk) = Disk::small(8 * 1024) else {
        return;
    };
    let mut plane = Plane::start_on("cp-1", &disk);
    let root = plane.set_up();
    assert_eq!(root.apply("acme", "", &rules_number(1)).status, 200);
    plane.process().kill();
    disk.read_only(true);
    let told = plane.fails_to_start();
    let folder = disk.path().display().to_string();
    assert!(told.contains(&folder), "{told}");
    assert!(told.contains("Read-only file system"), "{told}");
    disk.read_only(false);
    plane.restart();
    assert_eq!(root.rules("acme").text_of("text"), rules_number(1));
    assert_eq!(root.apply("acme", "", &rules_number(2)).status, 200);
}

/// How the one agent refused what it shall have.
fn refusal(fleet: &Fleet) -> Option<String> {
    let rollout = rollout(&fleet.root, "acme");
    let agent = &rollout["agents"][0];
    (agent["state"] == "refused").then(|| agent["problems"].to_string())
}

/// Runs `adit audit` on a folder of records: its exit code, and what it said as JSON.
pub(crate) fn audit(folder: &Path, act: &str, more: &[&str]) -> (Option<i32>, Value) {
    let mut command = Command::new(programs::adit());
    let output = command
        .args(["--json", "audit", act])
        .arg(folder)
        .args(more)
        .output()
        .unwrap();
    let told = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), told)
}

//
#[test]
fn r03_an_agent_on_a_full_disk_keeps_its_rules_and_takes_the_new_ones_when_there_is_room() {
    let Some(disk) = Disk::small(1024) else {
        return;
    };
    let plane = Plane::ready("cp-1", &Memory::Embedded, "");
    let fleet = Fleet::of(plane, &["a-1"], |node| {
        if node.is_agent() {
            node.config
                .text("agent.state", disk.path().join("state").display())
                .text("audit.level", "all")
                .text("audit.spool_bytes", "64KiB");
            node.start_by(disk.enter());
        }
    });
    fleet.apply("/a");
    fleet.has_tunnels();
    let lost = || {
        fleet.agents[0]
            .admin()
            .metric("recorder_records_lost_total", &[])
    };
    for (path, full) in [("/b", true), ("/a", false)] {
        let old = if path == "/b" { "/a" } else { "/b" };
        if full {
            disk.fill();
        } else {
            disk.read_only(true);
        }
        let reply = fleet.root.apply("acme", "", &fleet.rules(path));
        assert_eq!(reply.status, 200, "{reply:?}");
        let why = until_some("it refuses what it cannot keep", SOON, || refusal(&fleet));
        let word = if full {
            "No space left"
        } else {
            "Read-only file system"
        };
        assert!(
            why.contains("could not be stored") && why.contains(word),
            "{why}"
        );
        fleet.answers(old, 200);
        fleet.answers(path, 403);
        if full {
            // What is recorded meanwhile waits in memory as long as there is room there.
            until("records are lost", SOON * 3, || {
                fleet.answers(old, 200);
                lost() > 3.0
            });
            disk.empty();
        } else {
            disk.read_only(false);
        }
        until("the new rules come by themselves", SOON * 2, || {
            refusal(&fleet).is_none() && fleet.ask(path).status == 200
        });
        fleet.is_in_force();
        fleet.answers(old, 403);
    }
    let folder = disk.outside().join("state/audit");
    until("the gap is told", SOON, || {
        audit(&folder, "query", &[])
            .1
            .to_string()
            .contains("\"gap\"")
    });
    let key = folder.join("public.pem").display().to_string();
    let (code, told) = audit(&folder, "verify", &["--key", &key]);
    assert_eq!(code, Some(0), "{told}");
}

//
#[test]
fn r03_a_gateway_on_a_full_disk_heeds_a_revocation_and_keeps_it_when_there_is_room() {
    let Some(disk) = Disk::small(1024) else {
        return;
    };
    let plane = Plane::ready("cp-1", &Memory::Embedded, "");
    let mut fleet = Fleet::of(plane, &["a-1", "a-2"], |node| {
        if node.is_agent() {
            return;
        }
        let (from, to) = (
            node.scratch().path("identity"),
            disk.outside().join("identity"),
        );
        std::fs::create_dir(&to).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
        node.config
            .text("gateway.identity", disk.path().join("identity").display());
        node.start_by(disk.enter());
    });
    fleet.apply("/a");
    fleet.has_tunnels();
    disk.fill();
    let node = fleet.root.get("/api/v1/subaccounts/acme/agents/a-1").json();
    let serial = node["certificate"]["serial"].as_str().unwrap().to_owned();
    // The one that stays must be a node of the gateway's door still, the other one never again.
    fleet.agents[1].stop();
    let reply = fleet
        .root
        .post("/api/v1/subaccounts/acme/agents/a-1/revoke", &json!({}));
    assert_eq!(reply.status, 204, "{reply:?}");
    until("the revoked agent is cut off", SOON, || {
        fleet.ask("/a").status == 503
    });
    fleet.agents[1].start();
    fleet.has_tunnel(1);
    fleet.answers("/a", 200);
    let kept = || std::fs::read_to_string(disk.outside().join("identity/trust.json")).unwrap();
    assert!(!kept().contains(&serial));
    disk.empty();
    until("it is kept", SOON, || kept().contains(&serial));
    // Also without a control plane.
    fleet.plane.process().kill();
    fleet.gateway.start();
    let trust = fleet.gateway.admin().status()["control"]["trust"].as_u64();
    assert!(
        kept().contains(&format!("\"version\": {}", trust.unwrap())),
        "{}",
        kept()
    );
    fleet.has_tunnel(1);
    fleet.answers("/a", 200);
}
