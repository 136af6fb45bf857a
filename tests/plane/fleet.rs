//! The whole fleet: real gateways and agents that join a real control plane by invitation, and requests through them.

use std::net::SocketAddr;
use std::process::Command;

use adit_tests::http::{Connection, Response};
use adit_tests::plane::{Caller, Memory, Plane};
use adit_tests::wait::{SOON, until};
use adit_tests::world::{Driver, Keys, Node};
use adit_tests::{Backend, Rules, backend, net, programs};
use serde_json::json;

use crate::on_both_memories;
use crate::rules::rollout;

/// A gateway and its agents under one control plane.
pub(crate) struct Fleet {
    pub(crate) plane: Plane,
    pub(crate) root: Caller,
    pub(crate) gateway: Node,
    pub(crate) agents: Vec<Node>,
    pub(crate) door: SocketAddr,
    pub(crate) token: String,
    pub(crate) backend: Backend,
    // What the gateway reads at each start.
    _keys: Keys,
}

/// Gives a node that was made with certificates of its own a control plane instead.
fn join(plane: &Plane, node: &mut Node, role: &str, invitation: &str) {
    for key in ["certificate", "key", "roots"] {
        node.config.unset(&format!("tunnel.{key}"));
    }
    let identity = node.scratch().path("identity").display().to_string();
    node.config
        .text(&format!("{role}.identity"), identity)
        .set("control.urls", format!("[\"https://{}\"]", plane.address()));
    let config = node.scratch().write("join.toml", node.config.to_string());
    let url = format!("https://{}", plane.address());
    let output = Command::new(programs::aditd())
        .args([role, "--enrol", &url, "--enrol-only", "--config"])
        .arg(config)
        .env("ADIT_INVITATION", invitation)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

impl Fleet {
    /// With two agents; `more` are further lines of the control plane's configuration.
    pub(crate) fn start(memory: &Memory, more: &str, horizon: &str) -> Self {
        Self::of(
            Plane::ready("cp-1", memory, more),
            &["a-1", "a-2"],
            |node| {
                if node.is_agent() && !horizon.is_empty() {
                    node.config.text("control.horizon", horizon);
                }
            },
        )
    }

    /// With two agents that record at this level.
    pub(crate) fn recording(memory: &Memory, level: &str) -> Self {
        Self::of(Plane::ready("cp-1", memory, ""), &["a-1", "a-2"], |node| {
            if node.is_agent() {
                node.config.text("audit.level", level);
            }
        })
    }

    /// With these agents, under a control plane that runs; `change` sees each node before it starts.
    pub(crate) fn of(
        (plane, root): (Plane, Caller),
        agents: &[&str],
        change: impl Fn(&mut Node),
    ) -> Self {
        let keys = Keys::new();
        let mut gateway = Node::gateway(&keys, "gw-1", Driver::IoUring);
        join(
            &plane,
            &mut gateway,
            "gateway",
            &root.invite_gateway("gw-1"),
        );
        change(&mut gateway);
        gateway.start();
        gateway.keep_doors();
        let tunnel = gateway.door("tunnel");
        let agents: Vec<Node> = agents
            .iter()
            .map(|name| {
                let mut agent = Node::agent(&keys, "acme", "", name, Driver::IoUring, &[tunnel]);
                join(&plane, &mut agent, "agent", &root.invite("acme", name));
                change(&mut agent);
                agent.start();
                agent
            })
            .collect();
        let count = agents.len();
        let fleet = Self {
            door: gateway.door("http"),
            // Longer than any test, of which one takes an hour.
            token: keys.token_with(&["--subaccount", "acme", "--ttl", "2h"]),
            backend: Backend::saying(backend::ok("hello")),
            _keys: keys,
            plane,
            root,
            gateway,
            agents,
        };
        fleet.is_connected(count);
        fleet
    }

    pub(crate) fn is_connected(&self, agents: usize) {
        until(
            "the agents are connected to the control plane",
            SOON,
            || {
                let nodes = self.root.get("/api/v1/subaccounts/acme/agents").json();
                let nodes = nodes["items"].as_array().unwrap();
                let connected = nodes
                    .iter()
                    .filter(|node| node.get("connected").is_some())
                    .count();
                connected == agents
            },
        );
    }

    pub(crate) fn rules(&self, path: &str) -> String {
        Rules::none()
            .http_with("web.virtual:80", self.backend.url(), "")
            .resource(&format!("path = \"{path}\""))
            .to_string()
    }

    /// Applies and waits until all agents that are connected enforce it.
    pub(crate) fn apply(&self, path: &str) {
        let reply = self.root.apply("acme", "", &self.rules(path));
        assert_eq!(reply.status, 200, "{reply:?}");
        self.is_in_force();
    }

    pub(crate) fn is_in_force(&self) {
        until("all agents enforce it", SOON, || {
            let rollout = rollout(&self.root, "acme");
            rollout["connected"].as_u64() > Some(0) && rollout["acked"] == rollout["connected"]
        });
    }

    pub(crate) fn has_tunnels(&self) {
        (0..self.agents.len()).for_each(|agent| self.has_tunnel(agent));
    }

    pub(crate) fn has_tunnel(&self, agent: usize) {
        let admin = self.agents[agent].admin();
        until("the agent is ready", SOON, || admin.is_ready());
    }

    pub(crate) fn ask(&self, path: &str) -> Response {
        let mut connection = Connection::open(self.door).unwrap();
        connection.send(self.request(path)).unwrap();
        connection.response().unwrap()
    }

    pub(crate) fn request(&self, path: &str) -> String {
        format!(
            "GET http://web.virtual{path} HTTP/1.1\r\nHost: web.virtual\r\n\
             Proxy-Authorization: Bearer {}\r\n\r\n",
            self.token
        )
    }

    pub(crate) fn answers(&self, path: &str, status: u16) {
        let response = self.ask(path);
        assert_eq!(response.status, status, "{path}: {}", response.refusal());
    }
}

on_both_memories! {
    fn a_fleet_joins_by_invitation_and_enforces_what_is_applied_and_what_is_brought_back(memory: &Memory) {
        let fleet = Fleet::start(memory, "", "");
        fleet.apply("/a");
        fleet.has_tunnels();
        fleet.answers("/a", 200);
        fleet.answers("/b", 403);
        let denied = fleet.ask("/b");
        let id = denied.refusal_id().unwrap().to_owned();
        let why = fleet.root.get(&format!("/api/v1/subaccounts/acme/why/{id}"));
        assert_eq!(why.status, 200, "{why:?}");
        let why = why.json();
        let part = &why["parts"][0]["answer"];
        assert_eq!(part["reason"], "resource-denied", "{part}");
        assert!(part["text"].as_str().unwrap().contains("closest is"), "{part}");
        // The gateway knows which agent said so, and how long all of it took.
        let part = &why["parts"][1]["answer"];
        assert_eq!(why["parts"][1]["node"], "gateway/-/gw-1", "{why}");
        assert_eq!(part["reason"], "resource-denied", "{part}");
        let agent = part["agent"].as_str().unwrap();
        assert!(why["parts"][0]["node"].as_str().unwrap().ends_with(agent), "{why}");
        assert!(part["timing"]["routed_us"].as_u64() <= part["timing"]["ended_us"].as_u64(), "{part}");

        fleet.apply("/b");
        fleet.answers("/a", 403);
        fleet.answers("/b", 200);
        let etag = fleet.root.rules("acme").etag();
        let back = fleet.root.post_at(
            "/api/v1/subaccounts/acme/rules/rollback",
            &etag,
            &json!({"to": 1, "message": "a slip"}),
        );
        assert_eq!(back.json()["version"], 3, "{back:?}");
        fleet.is_in_force();
        fleet.answers("/a", 200);
        fleet.answers("/b", 403);
    }

    fn why_tells_of_a_backend_that_is_down_by_which_rule_it_was_asked_and_what_it_said(memory: &Memory) {
        let fleet = Fleet::start(memory, "", "");
        let nobody = net::free_address();
        let rules = Rules::none()
            .http_with("web.virtual:80", format!("http://{nobody}"), "")
            .resource("path = \"/a\"")
            .to_string();
        assert_eq!(fleet.root.apply("acme", "", &rules).status, 200);
        fleet.is_in_force();
        fleet.has_tunnels();
        let failed = fleet.ask("/a");
        assert_eq!(failed.status, 502, "{}", failed.refusal());
        let id = failed.refusal_id().unwrap().to_owned();
        let why = fleet.root.get(&format!("/api/v1/subaccounts/acme/why/{id}")).json();
        let part = &why["parts"][0]["answer"];
        assert_eq!((&part["outcome"], &part["rule"]), (&json!("allowed"), &json!("/a")), "{why}");
        assert_eq!(part["backend"]["leads_to"], nobody.to_string(), "{why}");
        assert_eq!(part["backend"]["reason"], "backend-refused", "{why}");
        assert!(part["backend"]["detail"].as_str().unwrap().contains("refused"), "{why}");
        assert!(part["timing"]["ended_us"].is_u64(), "{why}");
        let part = &why["parts"][1]["answer"];
        assert_eq!((&part["outcome"], &part["status"]), (&json!("refused"), &json!(502)), "{why}");

        // Who never came as far as an agent is known to the gateway alone.
        let mut connection = Connection::open(fleet.door).unwrap();
        connection.send("GET http://web.virtual/a HTTP/1.1\r\nHost: web.virtual\r\n\r\n").unwrap();
        let stranger = connection.response().unwrap();
        let id = stranger.refusal_id().unwrap().to_owned();
        let why = fleet.root.get(&format!("/api/v1/subaccounts/acme/why/{id}")).json();
        assert_eq!(why["parts"].as_array().unwrap().len(), 1, "{why}");
        assert_eq!(why["parts"][0]["answer"]["reason"], "token-missing", "{why}");
    }

    fn a_revoked_agent_serves_nobody_and_the_other_one_goes_on(memory: &Memory) {
        let mut fleet = Fleet::start(memory, "", "");
        fleet.apply("/a");
        fleet.has_tunnels();
        let reply = fleet.root.post("/api/v1/subaccounts/acme/agents/a-1/revoke", &json!({}));
        assert_eq!(reply.status, 204, "{reply:?}");
        let revoked = fleet.agents[0].admin();
        until("the revoked agent has no tunnel", SOON, || {
            revoked.get("/readyz").is_ok_and(|(code, _)| code == 503)
        });
        for _ in 0..20 {
            fleet.answers("/a", 200);
        }
        // Not even when it starts anew.
        fleet.agents[1].stop();
        fleet.agents[0].start();
        until("no agent is left", SOON, || fleet.ask("/a").status == 503);
    }

    fn a_canary_enforces_a_version_that_the_other_agent_does_not_have(memory: &Memory) {
        let mut fleet = Fleet::start(memory, "", "");
        fleet.apply("/a");
        fleet.has_tunnels();
        let trial = fleet.root.apply("acme", "?canary=a-1", &fleet.rules("/b"));
        assert_eq!(trial.json()["canary"], true, "{trial:?}");
        fleet.is_in_force();
        let versions = |fleet: &Fleet| {
            let rollout = rollout(&fleet.root, "acme");
            let agents = rollout["agents"].as_array().unwrap();
            agents.iter().map(|agent| agent["version"].as_u64().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(versions(&fleet), [2, 1]);
        fleet.agents[1].stop();
        until("only the canary is asked", SOON, || fleet.ask("/b").status == 200);
        fleet.agents[1].start();
        fleet.is_connected(2);
        let etag = fleet.root.rules("acme").etag();
        let ended = fleet.root.post_at("/api/v1/subaccounts/acme/rules/abandon", &etag, &json!({}));
        assert_eq!(ended.json()["version"], 3, "{ended:?}");
        fleet.is_in_force();
        assert_eq!(versions(&fleet), [3, 3]);
        fleet.has_tunnels();
        fleet.answers("/a", 200);
        fleet.answers("/b", 403);
    }
}

#[test]
fn r06_a_lost_control_plane_changes_nothing_and_nodes_start_from_their_last_good_rules() {
    let mut fleet = Fleet::start(&Memory::Embedded, "", "");
    fleet.apply("/a");
    fleet.has_tunnels();
    fleet.plane.process().kill();
    fleet.answers("/a", 200);
    for agent in &mut fleet.agents {
        agent.start();
    }
    fleet.gateway.start();
    fleet.has_tunnels();
    fleet.answers("/a", 200);
    fleet.answers("/b", 403);
    let admin = fleet.agents[0].admin();
    assert!(admin.metric("subscription_connected", &[]) < 0.5);
    assert!(admin.metric("subscription_contact_age_seconds", &[]) >= 0.0);

    fleet.plane.restart();
    fleet.root = fleet.root.at(&fleet.plane);
    fleet.is_connected(2);
    fleet.apply("/b");
    fleet.answers("/b", 200);
}

#[test]
fn r06_an_agent_with_a_horizon_refuses_everything_when_its_control_plane_was_away_for_longer() {
    let mut fleet = Fleet::start(&Memory::Embedded, "", "5s");
    fleet.apply("/a");
    fleet.has_tunnels();
    fleet.answers("/a", 200);
    fleet.plane.process().kill();
    until("what is stale is not enforced", SOON, || {
        fleet.ask("/a").refusal().starts_with("rules-stale")
    });
    fleet.plane.restart();
    fleet.root = fleet.root.at(&fleet.plane);
    until("it is enforced again", SOON * 2, || {
        fleet.ask("/a").status == 200
    });
}

#[test]
fn s06_an_invitation_that_was_used_makes_no_second_node() {
    let (plane, root) = Plane::ready("cp-1", &Memory::Embedded, "");
    let keys = Keys::new();
    let invitation = root.invite("acme", "a-1");
    let gateways = ["127.0.0.1:1".parse().unwrap()];
    let mut one = Node::agent(&keys, "acme", "", "a-1", Driver::IoUring, &gateways);
    join(&plane, &mut one, "agent", &invitation);
    let two = Node::agent(&keys, "acme", "", "a-2", Driver::IoUring, &gateways);
    let config = one.config.to_string().replace(
        &one.scratch().path("identity").display().to_string(),
        &two.scratch().path("identity").display().to_string(),
    );
    let config = two.scratch().write("join.toml", config);
    let output = Command::new(programs::aditd())
        .args(["agent", "--enrol", &format!("https://{}", plane.address())])
        .args(["--enrol-only", "--config"])
        .arg(config)
        .env("ADIT_INVITATION", &invitation)
        .output()
        .unwrap();
    assert!(!output.status.success(), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("cannot be used"), "{told}");
    assert!(!two.scratch().path("identity/cert.pem").exists());
}
