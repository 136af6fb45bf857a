//! Programs killed before each step of a push, one step after the other: what is found afterwards is the old or the new.
//!
//! Rooms count the steps of their own files in their own tests, also those of a disk that forgets. Here the programs are
//! whole, and strace(1) kills them before the N-th system call of a kind, N = 1, 2, .. until a push comes through: each
//! file that is opened, written, synced, renamed or removed, and each word that is sent.

use std::path::Path;

use adit_tests::member::Member;
use adit_tests::plane::{Caller, Memory, Plane, rules_number};
use adit_tests::strace::{Strace, sockets_to};
use adit_tests::wait::{SOON, until};
use adit_tests::world::Node;
use serde_json::json;

use crate::cluster::{check_chain, history};
use crate::fleet::Fleet;
use crate::full::audit;
use crate::rules::{rollout, verified};

/// What changes something, in this machine's names for it.
const CALLS: [&str; 9] = [
    "openat",
    "?unlink,?unlinkat",
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "?rename,?renameat,?renameat2",
    "sendto",
    "writev",
];

/// Kills before the first, second, .. call of each kind until `push` says that nothing was killed: how often it was.
fn before_each_step(who: &str, push: impl FnMut(&str, usize) -> bool) -> usize {
    before_steps(who, &CALLS, |nth| nth + 1, push)
}

/// The same for these calls, where `next` says which one of a kind follows which.
pub(crate) fn before_steps(
    who: &str,
    calls: &[&str],
    next: impl Fn(usize) -> usize,
    mut push: impl FnMut(&str, usize) -> bool,
) -> usize {
    let mut points = Vec::new();
    for call in calls {
        let mut nth = 1;
        while push(call, nth) {
            points.push(format!("{call}#{nth}"));
            nth = next(nth);
            assert!(nth < 400, "{who}: {call} without end");
        }
    }
    eprintln!(
        "{who}: killed before {} steps: {}",
        points.len(),
        points.join(" ")
    );
    points.len()
}

/// Whether it is dead; one that is dying is waited for.
pub(crate) fn was_killed(node: &mut Node) -> bool {
    let killed = node.admin().get("/healthz").is_err();
    if killed {
        node.process().wait(SOON);
    }
    killed
}

pub(crate) fn files(folder: &Path, names: &[&str]) -> Vec<String> {
    let mut paths = vec![folder.display().to_string()];
    paths.extend(
        names
            .iter()
            .map(|name| folder.join(name).display().to_string()),
    );
    paths
}

/// Version `version` allows this path and no other.
fn path_of(version: u64) -> &'static str {
    if version % 2 == 1 { "/a" } else { "/b" }
}

/// What the fleet serves is exactly what this version says.
fn serves(fleet: &Fleet, version: u64) {
    for path in ["/a", "/b"] {
        let answer = fleet.ask(path);
        let status = if path == path_of(version) { 200 } else { 403 };
        assert_eq!(
            answer.status,
            status,
            "{path} under version {version}: {}",
            answer.refusal()
        );
    }
}

fn in_force(fleet: &Fleet) -> u64 {
    let status = fleet.agents[0].admin().status();
    status["snapshot"]["version"].as_u64().unwrap()
}

/// The control plane has heard from the one agent that it enforces `version`.
fn is_acked(fleet: &Fleet, version: u64) -> bool {
    let rollout = rollout(&fleet.root, "acme");
    let agent = &rollout["agents"][0];
    agent["version"] == version && agent["state"] == "in-force"
}

// The control plane stands still, so that nothing comes but what is there.
fn starts_as_it_was_left(fleet: &mut Fleet, versions: [u64; 2]) {
    fleet.plane.process().freeze();
    fleet.agents[0].start();
    fleet.has_tunnels();
    let found = in_force(fleet);
    assert!(versions.contains(&found), "{found} is none of {versions:?}");
    serves(fleet, found);
    fleet.plane.process().thaw();
}

//
#[test]
fn r01_an_agent_killed_before_any_step_of_a_push_has_the_old_rules_or_the_new_ones() {
    let mut fleet = Fleet::of(
        Plane::ready("cp-1", &Memory::Embedded, ""),
        &["a-1"],
        |_| (),
    );
    fleet.apply(path_of(1));
    fleet.has_tunnels();
    let mut version = 1;
    let mut old_found = 0;
    let mut new_found = 0;
    let points = before_each_step("agent", |call, nth| {
        let agent = &mut fleet.agents[0];
        let pid = agent.process().pid();
        let mut paths = files(
            &agent.scratch().path("state"),
            &["snapshot.toml", "snapshot.next.toml", "snapshot.prev.toml"],
        );
        let line = sockets_to(pid, fleet.plane.address().port());
        assert!(!line.is_empty(), "the agent is subscribed");
        paths.extend(line);
        let strace = Strace::kill_before(pid, call, nth, &paths, agent.scratch());
        let text = fleet.rules(path_of(version + 1));
        let reply = fleet.root.apply("acme", "", &text);
        version += 1;
        assert_eq!(reply.json()["version"], version, "{reply:?}");
        let mut acked = false;
        until("it is in force, or was killed", SOON, || {
            acked = is_acked(&fleet, version);
            acked || fleet.agents[0].process().ended().is_some()
        });
        strace.detach();
        let killed = was_killed(&mut fleet.agents[0]);
        if killed {
            starts_as_it_was_left(
                &mut fleet,
                [if acked { version } else { version - 1 }, version],
            );
            *(if in_force(&fleet) == version {
                &mut new_found
            } else {
                &mut old_found
            }) += 1;
            until("it converges", SOON, || is_acked(&fleet, version));
        }
        assert_eq!(in_force(&fleet), version);
        serves(&fleet, version);
        killed
    });
    eprintln!("agent: {old_found} times the old rules, {new_found} times the new ones");
    assert!(points >= 8, "{points}");
    assert!(old_found > 0 && new_found > 0);

    // What was acknowledged is there, however soon the end comes.
    fleet.apply(path_of(version + 1));
    fleet.agents[0].process().kill();
    starts_as_it_was_left(&mut fleet, [version + 1; 2]);

    // So is the chain of its records, with a word about each end that came too soon.
    let folder = fleet.agents[0].scratch().path("state/audit");
    let key = folder.join("public.pem").display().to_string();
    let (code, told) = audit(&folder, "verify", &["--key", &key]);
    assert_eq!((code, &told["whole"]), (Some(0), &json!(true)), "{told}");
    let (_, records) = audit(&folder, "query", &[]);
    let ends = records.to_string().matches("recovered").count();
    assert!(ends >= points, "{ends} of {points}");
}

//
#[test]
fn r01_a_gateway_killed_before_any_step_of_a_change_of_trust_trusts_as_before_or_as_after() {
    let mut fleet = Fleet::of(
        Plane::ready("cp-1", &Memory::Embedded, ""),
        &["a-1"],
        |_| (),
    );
    fleet.apply("/a");
    fleet.has_tunnels();
    let trusts = |fleet: &Fleet| {
        let status = fleet.gateway.admin().status();
        (
            status["control"]["trust"].as_u64().unwrap(),
            status["control"]["connected"] == true,
        )
    };
    let mut round = 0;
    let points = before_each_step("gateway", |call, nth| {
        round += 1;
        let name = format!("gone-{round}");
        let gone = Member::enrol(&fleet.plane, &fleet.root.invite("acme", &name)).unwrap();
        let (serial, (before, _)) = (gone.serial(), trusts(&fleet));
        let pid = fleet.gateway.process().pid();
        let folder = fleet.gateway.scratch().path("identity");
        let paths = files(&folder, &["trust.json", "trust.json.half"]);
        let strace = Strace::kill_before(pid, call, nth, &paths, fleet.gateway.scratch());
        let path = format!("/api/v1/subaccounts/acme/agents/{name}/revoke");
        assert_eq!(fleet.root.post(&path, &json!({})).status, 204);
        let kept = || {
            let file = std::fs::read_to_string(folder.join("trust.json"));
            file.is_ok_and(|file| file.contains(&serial))
        };
        until("it has kept what it heard, or was killed", SOON, || {
            kept() || fleet.gateway.process().ended().is_some()
        });
        strace.detach();
        let killed = was_killed(&mut fleet.gateway);
        if killed {
            fleet.plane.process().freeze();
            fleet.gateway.start();
            let (found, _) = trusts(&fleet);
            assert!(found == before || found == before + 1, "{before} {found}");
            until("requests are served", SOON, || {
                fleet.ask("/a").status == 200
            });
            fleet.plane.process().thaw();
        }
        until("it trusts as after", SOON, || {
            trusts(&fleet) == (before + 1, true)
        });
        until("that is kept", SOON, kept);
        fleet.answers("/a", 200);
        killed
    });
    assert!(points >= 5, "{points}");
}

/// Kills servers before the steps of a change; `paths`: only what is done to these.
fn kill_servers(who: &str, (plane, root): (&mut Plane, &Caller), paths: &[String]) -> usize {
    let mut number = 0;
    let mut versions = history(root).len();
    let mut done = 0;
    let mut not_done = 0;
    let points = before_each_step(who, |call, nth| {
        number += 1;
        let text = rules_number(number);
        let now = root.rules("acme");
        let etag = (now.status != 404).then(|| now.etag());
        let condition = etag
            .as_deref()
            .map_or(("if-none-match", "*"), |etag| ("if-match", etag));
        let pid = plane.process().pid();
        let strace = Strace::kill_before(pid, call, nth, paths, plane.scratch());
        let answer = root.try_ask(
            "PUT",
            "/api/v1/subaccounts/acme/rules",
            &[("content-type", "application/toml"), condition],
            text.as_bytes(),
        );
        strace.detach();
        let acknowledged = match &answer {
            Ok(reply) => {
                assert_eq!(reply.status, 200, "{reply:?}");
                true
            }
            Err(_) => false,
        };
        let killed = !acknowledged || root.try_ask("GET", "/api/v1/acts", &[], b"").is_err();
        if killed {
            plane.process().wait(SOON);
            plane.restart();
        }
        let after = history(root);
        let last = after.len();
        assert_eq!(after.keys().next_back(), u64::try_from(last).ok().as_ref());
        // Entirely, or not at all.
        assert!(
            last == versions || last == versions + 1,
            "{versions} {after:?}"
        );
        let is_there = last > versions;
        assert!(
            is_there || !acknowledged,
            "{call}#{nth}: acknowledged and lost"
        );
        let current = root.rules("acme");
        assert_eq!(
            current.json()["text"] == text,
            is_there,
            "{call}#{nth}: {current:?}"
        );
        // With the record of who did it, and no other.
        let acts = root.acts();
        let told = acts
            .iter()
            .filter(|act| act["verb"] == "rules-apply")
            .count();
        assert_eq!(told, last, "{call}#{nth}");
        *(if is_there { &mut done } else { &mut not_done }) += 1;
        versions = last;
        killed
    });
    eprintln!("{who}: {done} times done, {not_done} times not");
    assert!(done > 0 && not_done > 0);
    assert!(check_chain(root) > u64::try_from(versions).unwrap());
    points
}

/// A node gets, verifies and takes what is in force.
fn a_node_gets_it(plane: &Plane, root: &Caller) {
    let member = Member::enrol(plane, &root.invite("acme", "a-1")).unwrap();
    let mut line = member.subscribe(plane).unwrap();
    let document = line.push();
    let trust = line.trust_with(|_| true);
    assert_eq!(
        verified(&document, &trust, "acme/"),
        root.rules("acme").text_of("text")
    );
    assert_eq!(line.ack(&document), 204);
    let last = u64::try_from(history(root).len()).unwrap();
    assert_eq!(document.version(), last);
}

//
#[test]
fn r01_a_server_killed_before_any_step_of_a_change_has_made_it_whole_or_not_at_all() {
    let (mut plane, root) = Plane::ready("cp-1", &Memory::Embedded, "");
    let store = files(&plane.state("store"), &["store.redb"]);
    let points = kill_servers("server, its store", (&mut plane, &root), &store);
    assert!(points >= 10, "{points}");
    let points = kill_servers("server, its words", (&mut plane, &root), &[]);
    assert!(points >= 10, "{points}");
    a_node_gets_it(&plane, &root);
}

//
#[test]
fn r01_a_server_on_etcd_killed_before_any_word_of_a_change_has_made_it_whole_or_not_at_all() {
    let memory = Memory::of("etcd");
    let (mut plane, root) = Plane::ready("cp-1", &memory, "");
    let points = kill_servers("server on etcd", (&mut plane, &root), &[]);
    assert!(points >= 5, "{points}");
    a_node_gets_it(&plane, &root);
}
