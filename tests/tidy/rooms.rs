//! The walls between rooms: who may use whom, and what a quiet room has not.

use std::collections::{BTreeMap, BTreeSet};

use crate::nothing;
use crate::source::{Source, words};
use crate::tree::{exists, files, read, sources};

/// One crate of the house, as its `Cargo.toml` says.
#[derive(Debug)]
struct Room {
    folder: String,
    arrows: BTreeSet<String>,
    for_tests: BTreeSet<String>,
    /// Names of all dependencies but those for tests.
    uses: BTreeSet<String>,
}

/// Where rooms are.
const HOMES: [&str; 3] = ["dataplane/", "controlplane/", "loadtest/"];

/// The rooms by short name: `adit-mux` is `mux`.
fn rooms() -> BTreeMap<String, Room> {
    let manifests = files()
        .iter()
        .filter(|path| HOMES.iter().any(|home| path.starts_with(home)))
        .filter(|path| path.ends_with("/Cargo.toml"));
    let rooms: BTreeMap<String, Room> = manifests.map(|path| room(path)).collect();
    assert!(rooms.len() >= 14, "rooms found: {:?}", rooms.keys());
    rooms
}

fn room(path: &str) -> (String, Room) {
    let manifest: toml::Table = read(path).unwrap().parse().unwrap();
    let name = short(manifest["package"]["name"].as_str().unwrap());
    let mut uses = BTreeSet::new();
    let mut for_tests = BTreeSet::new();
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let sections = targets.into_iter().flat_map(toml::Table::values);
    for section in sections
        .filter_map(toml::Value::as_table)
        .chain([&manifest])
    {
        uses.extend(keys(section, "dependencies"));
        uses.extend(keys(section, "build-dependencies"));
        for_tests.extend(keys(section, "dev-dependencies"));
    }
    let ours = |all: &BTreeSet<String>| -> BTreeSet<String> {
        all.iter()
            .filter(|name| name.starts_with("adit"))
            .map(|name| short(name))
            .collect()
    };
    let room = Room {
        folder: path.trim_end_matches("/Cargo.toml").to_owned(),
        arrows: ours(&uses),
        for_tests: ours(&for_tests),
        uses,
    };
    (name, room)
}

fn keys(section: &toml::Table, name: &str) -> Vec<String> {
    let table = section.get(name).and_then(toml::Value::as_table);
    table
        .into_iter()
        .flat_map(toml::Table::keys)
        .cloned()
        .collect()
}

fn short(package: &str) -> String {
    package.strip_prefix("adit-").unwrap_or(package).to_owned()
}

/// The table of rooms in ARCHITECTURE.md: name, kind, whom it uses.
fn drawn() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = read("ARCHITECTURE.md").expect("there is an ARCHITECTURE.md");
    let lines = text
        .lines()
        .skip_while(|line| !line.starts_with("| room | kind | uses |"))
        .skip(2);
    let rows = lines.take_while(|line| line.starts_with('|'));
    let rooms: BTreeMap<_, _> = rows
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let uses = quoted(cells[3]).into_iter().collect();
            (quoted(cells[1])[0].clone(), (cells[2].to_owned(), uses))
        })
        .collect();
    assert!(
        rooms.len() >= 14,
        "the table of rooms is not found: {rooms:?}"
    );
    rooms
}

/// What stands between backticks.
pub(crate) fn quoted(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn quiet() -> BTreeSet<String> {
    let rooms = drawn()
        .into_iter()
        .filter(|(_, (kind, _))| kind.starts_with("quiet"));
    let rooms: BTreeSet<String> = rooms.map(|(name, _)| name).collect();
    assert!(rooms.len() >= 7, "quiet rooms found: {rooms:?}");
    rooms
}

fn quiet_sources() -> Vec<&'static Source> {
    let rooms = rooms();
    let folders: Vec<String> = quiet()
        .iter()
        .map(|room| format!("{}/src", rooms[room].folder))
        .collect();
    let found: Vec<&Source> = sources()
        .iter()
        .filter(|source| folders.iter().any(|folder| source.is_in(folder)))
        .collect();
    assert!(
        found.len() > 30,
        "only {} sources of quiet rooms found",
        found.len()
    );
    found
}

#[test]
fn arrows_are_those_of_architecture_md() {
    let drawn = drawn();
    let mut found = Vec::new();
    for (name, room) in rooms() {
        match drawn.get(&name) {
            None => found.push(format!("{name} is not in the table")),
            Some((_, uses)) => {
                let surplus = room.arrows.difference(uses);
                found.extend(surplus.map(|to| format!("{name} -> {to} is not in the table")));
                let missing = uses.difference(&room.arrows);
                found.extend(missing.map(|to| format!("{name} -> {to} is only in the table")));
            }
        }
    }
    let built = rooms();
    let absent = drawn.keys().filter(|name| !built.contains_key(*name));
    found.extend(absent.map(|name| format!("{name} is only in the table")));
    nothing(
        "An arrow is a decision: take the dependency line out of Cargo.toml, or draw the arrow in ARCHITECTURE.md, \
         section Rooms, and say in the commit why.",
        &found,
    );
}

/// What must stay absent, even if somebody draws it.
#[test]
fn a_gateway_cannot_grant_and_the_data_plane_knows_no_control_plane() {
    let rooms = rooms();
    let reaches = |from: &str| -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut left = vec![from.to_owned()];
        while let Some(name) = left.pop() {
            if seen.insert(name.clone()) {
                left.extend(rooms[&name].arrows.iter().cloned());
            }
        }
        seen
    };
    let mut found = Vec::new();
    if reaches("gateway").contains("policy") {
        found.push("gateway reaches policy: it could grant".to_owned());
    }
    for (name, room) in &rooms {
        let all = room.arrows.union(&room.for_tests);
        for to in all.filter(|to| rooms[*to].folder.starts_with("controlplane/")) {
            if room.folder.starts_with("dataplane/") {
                found.push(format!(
                    "{name} -> {to}: the data plane lives without the control plane"
                ));
            }
        }
    }
    for name in ["gateway", "agent", "transport", "relay", "runtime"] {
        if reaches("cli").contains(name) {
            found.push(format!(
                "cli reaches {name}: it is no part of the data plane"
            ));
        }
    }
    if rooms["loadtest"]
        .arrows
        .union(&rooms["loadtest"].for_tests)
        .count()
        > 0
    {
        found.push("loadtest has an arrow: it would measure what it shares".to_owned());
    }
    nothing(
        "Take the dependency line out: no decision record allows it.",
        &found,
    );
}

#[test]
fn quiet_rooms_use_no_library_with_sockets_threads_or_clocks() {
    const LOUD: [&str; 14] = [
        "tokio",
        "monoio",
        "rustix",
        "socket2",
        "mio",
        "io-uring",
        "libc",
        "nix",
        "hyper",
        "hyper-util",
        "async-std",
        "rayon",
        "crossbeam",
        "tempfile",
    ];
    let rooms = rooms();
    let mut found = Vec::new();
    for name in quiet() {
        let loud = rooms[&name]
            .uses
            .iter()
            .filter(|used| LOUD.contains(&used.as_str()));
        found.extend(loud.map(|used| format!("{name} uses {used}")));
        let quiet = quiet();
        let moving = rooms[&name].arrows.iter().filter(|to| !quiet.contains(*to));
        found.extend(moving.map(|to| format!("{name} uses {to}, which is no quiet room")));
    }
    nothing(
        "A quiet room is bytes, events and time as arguments: move what needs this library to a moving room.",
        &found,
    );
}

#[test]
fn quiet_rooms_have_no_socket_file_thread_or_clock() {
    const LOUD: [&str; 9] = [
        "std::fs",
        "std::thread",
        "std::process",
        "std::env",
        "std::os",
        "Instant",
        "SystemTime",
        "thread_local",
        "std::io",
    ];
    // Addresses are values; what connects them is not.
    const SOCKETS: [&str; 4] = ["TcpStream", "TcpListener", "UdpSocket", "ToSocketAddrs"];
    let mut found = Vec::new();
    for source in quiet_sources() {
        for word in LOUD.iter().chain(&SOCKETS) {
            let places = words(source.product(), word);
            found.extend(places.map(|at| format!("{}: {word}", source.place(at))));
        }
        if source.product().contains("std::net::*") {
            found.push(format!("{}: std::net::*", source.path));
        }
        // `use std::{fs, ..}` says the same in other words.
        for (at, group) in source.product().match_indices("std::{") {
            let inside = &source.product()[at + group.len()..];
            let inside = &inside[..inside.find(';').unwrap_or(inside.len())];
            for word in LOUD.iter().filter_map(|word| word.strip_prefix("std::")) {
                if words(inside, word).next().is_some() {
                    found.push(format!("{}: std::{{{word}}}", source.place(at)));
                }
            }
        }
    }
    nothing(
        "A quiet room gets bytes and time as arguments: pass them in.",
        &found,
    );
}

#[test]
fn quiet_rooms_are_no_std_or_carry_the_ban_list() {
    let rooms = rooms();
    let root = read(".clippy.toml").expect("there is a .clippy.toml at the root");
    let mut lists = BTreeMap::new();
    let mut found = Vec::new();
    for name in quiet() {
        let folder = &rooms[&name].folder;
        let library = read(&format!("{folder}/src/lib.rs")).unwrap();
        if library.contains("#![no_std]") {
            continue;
        }
        match read(&format!("{folder}/.clippy.toml")) {
            None => found.push(format!("{folder} has neither #![no_std] nor .clippy.toml")),
            Some(list) => {
                if !list.starts_with(&root) {
                    found.push(format!(
                        "{folder}/.clippy.toml does not begin with the lines of the root's"
                    ));
                }
                lists.insert(format!("{folder}/.clippy.toml"), list);
            }
        }
    }
    let first = lists.values().next().expect("some quiet rooms have std");
    let others = lists.iter().filter(|(_, list)| *list != first);
    found.extend(
        others.map(|(path, _)| format!("{path} differs from {}", lists.keys().next().unwrap())),
    );
    nothing(
        "A room's .clippy.toml replaces the root's, so all copies are the same and begin with its lines: copy \
         dataplane/policy/.clippy.toml.",
        &found,
    );
}

/// The rooms in which `unsafe` may live at all, and where.
const UNSAFE: [(&str, &str); 2] = [
    ("transport", "dataplane/transport/src/socket.rs"),
    ("runtime", "dataplane/runtime/src/buffer.rs"),
];

#[test]
fn unsafe_stays_where_a_decision_put_it() {
    let mut found = Vec::new();
    let mut seen = 0;
    for source in sources() {
        for at in words(&source.code, "unsafe") {
            seen += 1;
            if !UNSAFE.iter().any(|(_, path)| *path == source.path) {
                found.push(source.place(at));
            }
        }
    }
    assert!(seen > 0, "transport::socket borrows a descriptor");
    nothing(
        "A new place for `unsafe` is a decision record first; until then write it without.",
        &found,
    );
}

#[test]
fn every_other_crate_forbids_unsafe() {
    let mut found = Vec::new();
    let mut seen = 0;
    for manifest in files().iter().filter(|path| path.ends_with("Cargo.toml")) {
        let folder = manifest.trim_end_matches("Cargo.toml");
        let exempt = UNSAFE
            .iter()
            .any(|(_, path)| path.starts_with(&format!("{folder}src/")));
        for root in ["src/lib.rs", "src/main.rs"].map(|root| format!("{folder}{root}")) {
            if !exempt && exists(&root) {
                seen += 1;
                if !read(&root).unwrap().contains("#![forbid(unsafe_code)]") {
                    found.push(root);
                }
            }
        }
    }
    assert!(seen >= 10, "only {seen} crates were looked at");
    nothing(
        "Write `#![forbid(unsafe_code)]` below the module's words.",
        &found,
    );
}
