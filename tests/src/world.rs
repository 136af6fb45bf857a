//! Gateway and agents as real processes with fresh keys, tokens and rules, ended with the test.
//!
//! Starting waits until requests can be sent. What stands between agent and gateway, and around them,
//! is brought by the test.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{Connection, Response};
use crate::node::Admin;
use crate::process::Process;
use crate::programs;
use crate::rules::Rules;
use crate::scratch::Scratch;
use crate::token;
use crate::turn::Turn;
use crate::wait::{SOON, until, until_some};

/// What the shards wait with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the two drivers there are")]
pub enum Driver {
    /// Whatever the programs choose, which is io_uring where it can be had.
    #[default]
    IoUring,
    /// `ADITD_DRIVER=epoll`.
    Epoll,
}

/// The subaccount of the world's agents and tokens, unless a test says otherwise.
pub const SUBACCOUNT: &str = "acme";
const ISSUER: &str = "adit-dev";
const AUDIENCE: &str = "adit";

/// A configuration file: sections with keys and their values as TOML writes them.
#[derive(Clone, Debug, Default)]
pub struct Config(BTreeMap<String, BTreeMap<String, String>>);

impl Config {
    /// Sets `section.key` to a value written as TOML: `"\"5s\""`, `"3"`, `"true"`.
    pub fn set(&mut self, path: &str, value: impl Into<String>) -> &mut Self {
        let (section, key) = path.split_once('.').expect("a path is section.key");
        self.0
            .entry(section.to_owned())
            .or_default()
            .insert(key.to_owned(), value.into());
        self
    }

    /// Sets `section.key` to a string.
    pub fn text(&mut self, path: &str, value: impl std::fmt::Display) -> &mut Self {
        self.set(path, format!("{:?}", value.to_string()))
    }

    /// Takes `section.key` away.
    pub fn unset(&mut self, path: &str) -> &mut Self {
        if let Some((section, key)) = path.split_once('.')
            && let Some(keys) = self.0.get_mut(section)
        {
            keys.remove(key);
        }
        self
    }
}

impl std::fmt::Display for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (section, keys) in &self.0 {
            writeln!(f, "[{section}]")?;
            for (key, value) in keys {
                writeln!(f, "{key} = {value}")?;
            }
        }
        Ok(())
    }
}

/// Keys and certificates of one world: an authority, a token issuer, and what they made.
#[derive(Debug)]
pub struct Keys {
    scratch: Scratch,
}

impl Keys {
    /// An authority `pki` and an issuer `issuer`, made by `adit`.
    #[must_use]
    pub fn new() -> Self {
        let keys = Self {
            scratch: Scratch::new(),
        };
        keys.authority("pki");
        programs::run_adit(&["token", "issuer", "init", "--dir", &keys.text("issuer")]);
        keys
    }

    /// Makes another authority.
    pub fn authority(&self, name: &str) {
        programs::run_adit(&["pki", "init", "--dir", &self.text(name)]);
    }

    /// A gateway's certificate, signed by `authority`, in the folder `out`.
    pub fn gateway(&self, authority: &str, name: &str, out: &str) -> PathBuf {
        let (authority, out) = (self.text(authority), self.text(out));
        programs::run_adit(&[
            "pki", "issue", "gateway", "--dir", &authority, "--name", name, "--out", &out,
        ]);
        out.into()
    }

    /// An agent's certificate, signed by `authority`, in the folder `out`.
    pub fn agent(&self, authority: &str, subaccount: &str, name: &str, out: &str) -> PathBuf {
        let (authority, out) = (self.text(authority), self.text(out));
        let args = [
            "pki",
            "issue",
            "agent",
            "--dir",
            &authority,
            "--subaccount",
            subaccount,
            "--name",
            name,
            "--out",
            &out,
        ];
        programs::run_adit(&args);
        out.into()
    }

    /// A token of an hour.
    #[must_use]
    pub fn token(&self, subaccount: &str) -> String {
        self.token_with(&["--subaccount", subaccount])
    }

    /// A token as `adit token issue` makes it with these arguments.
    #[must_use]
    pub fn token_with(&self, args: &[&str]) -> String {
        let issuer = self.text("issuer");
        let args = [&["token", "issue", "--dir", &issuer], args].concat();
        programs::run_adit(&args).trim_end().to_owned()
    }

    /// A well-signed token with these claims.
    #[must_use]
    pub fn token_of(&self, claims: &Value) -> String {
        let key = self.scratch.read("issuer/issuer-key.pem");
        token::assemble(&json!({"alg": "EdDSA"}), claims, token::ed25519(&key))
    }

    /// Claims that are accepted, to be spoilt.
    ///
    /// # Panics
    /// When the clock is before 1970.
    #[must_use]
    pub fn claims(&self) -> Value {
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("a clock after 1970")
            .as_secs();
        json!({"iss": ISSUER, "aud": AUDIENCE, "zid": SUBACCOUNT, "sub": "app", "exp": now + 3600})
    }

    /// Where `name` lies.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    fn text(&self, name: &str) -> String {
        self.scratch.path(name).display().to_string()
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new()
    }
}

const UNREAD_LOG: &str = "unread.log";

/// A node: its folder, its configuration, and its process while it runs.
#[derive(Debug)]
pub struct Node {
    role: &'static str,
    name: String,
    /// Its configuration; changes count from the next start.
    pub config: Config,
    driver: Driver,
    // What stands before its own command line.
    before: Vec<String>,
    environment: Vec<(String, String)>,
    // The reading end of a log that nobody reads.
    unread: Option<File>,
    // Ends before the folder with its log does.
    process: Option<Process>,
    scratch: Scratch,
}

impl Node {
    fn new(role: &'static str, name: &str, driver: Driver, certificates: &Path) -> Self {
        let scratch = Scratch::new();
        let mut config = Config::default();
        for (key, file) in [
            ("certificate", "cert.pem"),
            ("key", "key.pem"),
            ("roots", "ca.pem"),
        ] {
            config.text(&format!("tunnel.{key}"), certificates.join(file).display());
        }
        config.text("admin.socket", scratch.path("admin.sock").display());
        Self {
            role,
            name: name.to_owned(),
            config,
            driver,
            before: Vec::new(),
            environment: Vec::new(),
            unread: None,
            scratch,
            process: None,
        }
    }

    /// A gateway with doors on ports of the system's choice, not yet started.
    #[must_use]
    pub fn gateway(keys: &Keys, name: &str, driver: Driver) -> Self {
        let certificates = keys.gateway("pki", name, name);
        let mut node = Self::new("gateway", name, driver, &certificates);
        node.config
            .text("gateway.name", name)
            .text("tunnel.listen", "127.0.0.1:0")
            .text("http.listen", "127.0.0.1:0")
            .text("socks5.listen", "127.0.0.1:0")
            .text("token.jwks", keys.path("issuer/jwks.json").display())
            .set("token.issuers", format!("[\"{ISSUER}\"]"))
            .set("token.audiences", format!("[\"{AUDIENCE}\"]"));
        node
    }

    /// An agent of `subaccount` at `location` that dials `gateways`, not yet started.
    #[must_use]
    pub fn agent(
        keys: &Keys,
        subaccount: &str,
        location: &str,
        name: &str,
        driver: Driver,
        gateways: &[SocketAddr],
    ) -> Self {
        let certificates = keys.agent("pki", subaccount, name, &format!("{subaccount}-{name}"));
        let mut node = Self::new("agent", name, driver, &certificates);
        let state = node.scratch.path("state").display().to_string();
        let mut list = String::new();
        for gateway in gateways {
            let _ = write!(list, "\"{gateway}\", ");
        }
        node.config
            .text("agent.location", location)
            .text("agent.state", state)
            .set("tunnel.gateways", format!("[{list}]"));
        node
    }

    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    pub fn start(&mut self) {
        self.spawn();
        let admin = self.admin();
        let name = self.name.clone();
        until(&format!("{name} answers on its admin socket"), SOON, || {
            self.process().must_run();
            admin.get("/healthz").is_ok_and(|(code, _)| code == 200)
        });
    }

    /// Sets a variable of its environment from the next start on.
    pub fn environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// From the next start on it may have so many descriptors and no more.
    pub fn limit_descriptors(&mut self, most: usize) {
        let script = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
        self.start_by(vec!["sh".to_owned(), "-c".to_owned(), script]);
    }

    /// From the next start on these words stand before its command line.
    pub fn start_by(&mut self, words: Vec<String>) {
        self.before = words;
    }

    /// From the next start on it logs into a pipe that nobody reads.
    ///
    /// # Panics
    /// When there can be none.
    pub fn log_to_nobody(&mut self) {
        let pipe = self.scratch.path(UNREAD_LOG);
        let made = Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .expect("mkfifo runs");
        assert!(made.success(), "mkfifo {}: {made}", pipe.display());
        // Open in both directions, so that neither of the ends waits for the other.
        let unread = File::options()
            .read(true)
            .write(true)
            .open(pipe)
            .expect("one's own pipe");
        self.unread = Some(unread);
    }

    /// Starts it and does not wait.
    pub fn spawn(&mut self) {
        self.stop();
        // A socket of an earlier run must not be taken for this one's.
        let _ = std::fs::remove_file(self.scratch.path("admin.sock"));
        let config = self.scratch.write("node.toml", self.config.to_string());
        let mut command = programs::behind(&self.before, &programs::aditd());
        command.arg(self.role).arg("--config").arg(config);
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command.envs(self.environment.iter().cloned());
        match self.driver {
            Driver::IoUring => command.env_remove("ADITD_DRIVER"),
            Driver::Epoll => command.env("ADITD_DRIVER", "epoll"),
        };
        self.process = Some(Process::start(&self.name, &mut command, &self.log_path()));
    }

    /// Its process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn process(&mut self) -> &mut Process {
        let name = &self.name;
        self.process
            .as_mut()
            .unwrap_or_else(|| panic!("{name} was not started"))
    }

    /// Kills it.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Its admin socket.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::at(&self.scratch.path("admin.sock"))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it judges requests.
    #[must_use]
    pub fn is_agent(&self) -> bool {
        self.role == "agent"
    }

    /// Its folder.
    #[must_use]
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// What it has logged in all its lives.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path("node.log")).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        let name = if self.unread.is_some() {
            UNREAD_LOG
        } else {
            "node.log"
        };
        self.scratch.path(name)
    }

    /// The address of a gateway's door: `tunnel`, `http` or `socks5`.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn door(&self, door: &str) -> SocketAddr {
        let status = self.admin().status();
        let address = status["doors"][door]
            .as_str()
            .and_then(|text| text.parse().ok());
        address.unwrap_or_else(|| panic!("{} has no {door} door: {status:#}", self.name))
    }

    /// From now on the doors stay where they are, also over a restart.
    pub fn keep_doors(&mut self) {
        for door in ["tunnel", "http", "socks5"] {
            let address = self.door(door);
            self.config.text(&format!("{door}.listen"), address);
        }
    }

    /// Puts rules in force with `adit rules push`.
    ///
    /// # Panics
    /// When they are refused.
    pub fn push(&self, rules: &Rules) {
        let file = self.scratch.write("rules.toml", rules.to_string());
        let address = self.admin().address();
        programs::run_adit(&[
            "rules",
            "push",
            &file.display().to_string(),
            "--node",
            &address,
        ]);
    }
}

/// A gateway, its agents, and a caller with a token.
#[derive(Debug)]
pub struct World {
    /// The agents.
    pub agents: Vec<Node>,
    /// The gateway.
    pub gateway: Node,
    /// Keys, for further nodes and tokens.
    pub keys: Keys,
    token: String,
    http: SocketAddr,
    socks: SocketAddr,
    driver: Driver,
    _turn: Turn,
}

/// How a world shall be.
#[derive(Debug)]
pub struct Builder {
    driver: Driver,
    shards: usize,
    agents: usize,
    alone: bool,
    rules: Option<Rules>,
    gateway: Config,
    agent: Config,
}

impl World {
    /// A gateway and one agent with these rules.
    #[must_use]
    pub fn with(rules: Rules) -> Self {
        Self::builder().rules(rules).start()
    }

    /// The same on a certain driver.
    #[must_use]
    pub fn on(driver: Driver, rules: Rules) -> Self {
        Self::builder().driver(driver).rules(rules).start()
    }

    /// Says more.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            driver: Driver::IoUring,
            shards: 2,
            agents: 1,
            alone: false,
            rules: None,
            gateway: Config::default(),
            agent: Config::default(),
        }
    }

    /// The HTTP door.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The SOCKS5 door.
    #[must_use]
    pub fn socks(&self) -> SocketAddr {
        self.socks
    }

    /// A token for the world's subaccount.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The first agent.
    #[must_use]
    pub fn agent(&mut self) -> &mut Node {
        &mut self.agents[0]
    }

    /// Another agent of `subaccount` at `location`, started, with `rules`.
    pub fn add_agent(&mut self, subaccount: &str, location: &str, name: &str, rules: &Rules) {
        let door = self.gateway.door("tunnel");
        let mut node = Node::agent(&self.keys, subaccount, location, name, self.driver, &[door]);
        node.start();
        node.push(rules);
        let admin = node.admin();
        until("the new agent is ready", SOON, || admin.is_ready());
        self.agents.push(node);
    }

    /// Pushes `rules` to all agents.
    pub fn push(&self, rules: &Rules) {
        for agent in &self.agents {
            agent.push(rules);
        }
    }

    /// The fields a caller's request needs.
    #[must_use]
    pub fn credentials(&self) -> String {
        format!("Proxy-Authorization: Bearer {}\r\n", self.token)
    }

    /// A request without a body, as a client sends it to a proxy. `more` are further fields with their
    /// line ends.
    #[must_use]
    pub fn request(&self, method: &str, url: &str, more: &str) -> String {
        let host = url
            .trim_start_matches("http://")
            .split('/')
            .next()
            .unwrap_or_default();
        let credentials = self.credentials();
        format!("{method} {url} HTTP/1.1\r\nHost: {host}\r\n{credentials}{more}\r\n")
    }

    /// A connection to the HTTP door.
    ///
    /// # Panics
    /// When it is shut.
    #[must_use]
    pub fn connect(&self) -> Connection {
        Connection::open(self.http).expect("the HTTP door is open")
    }

    /// `GET url` on a connection of its own.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn get(&self, url: &str) -> Response {
        self.try_get(url)
            .unwrap_or_else(|error| panic!("GET {url}: {error}"))
    }

    /// `GET url` on a connection of its own.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn try_get(&self, url: &str) -> io::Result<Response> {
        self.exchange(self.request("GET", url, ""))
    }

    /// Sends bytes on a connection of their own and reads one response.
    ///
    /// # Errors
    /// When there is none.
    pub fn exchange(&self, bytes: impl AsRef<[u8]>) -> io::Result<Response> {
        let mut connection = Connection::open(self.http)?;
        connection.send(bytes)?;
        connection.response()
    }

    /// The gateway's open tunnels: ids.
    #[must_use]
    pub fn tunnels(&self) -> Vec<u64> {
        let status = self.gateway.admin().try_status().unwrap_or_default();
        let tunnels = status["tunnels"].as_array().cloned().unwrap_or_default();
        let open = tunnels.iter().filter(|tunnel| tunnel["open"] == true);
        open.filter_map(|tunnel| tunnel["id"].as_u64()).collect()
    }

    /// Waits until the gateway has at least `count` open tunnels.
    pub fn wait_for_tunnels(&self, count: usize) {
        until(&format!("{count} tunnels are up"), SOON, || {
            self.tunnels().len() >= count
        });
    }

    /// Reads the doors again, after a restart on other ports.
    pub fn find_doors(&mut self) {
        self.http = self.gateway.door("http");
        self.socks = self.gateway.door("socks5");
    }
}

impl Builder {
    /// On which driver; default io_uring.
    #[must_use]
    pub fn driver(mut self, driver: Driver) -> Self {
        self.driver = driver;
        self
    }

    /// Shards of each node; default 2.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// How many agents; default 1.
    #[must_use]
    pub fn agents(mut self, agents: usize) -> Self {
        self.agents = agents;
        self
    }

    /// With the machine for itself: for heavy tests and timed ones.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// What the agents shall enforce. Without, no rules are pushed and nobody waits for readiness.
    #[must_use]
    pub fn rules(mut self, rules: Rules) -> Self {
        self.rules = Some(rules);
        self
    }

    /// Changes the gateway's configuration.
    #[must_use]
    pub fn gateway(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.gateway);
        self
    }

    /// Changes the configuration of all agents.
    #[must_use]
    pub fn agent(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.agent);
        self
    }

    /// Starts everything.
    ///
    /// # Panics
    /// When a node does not come up.
    #[must_use]
    pub fn start(self) -> World {
        self.start_with(|gateway| gateway)
    }

    /// Starts everything; the agents dial what `way` makes of the gateway's tunnel door.
    ///
    /// # Panics
    /// When a node does not come up.
    #[must_use]
    pub fn start_with(self, way: impl FnOnce(SocketAddr) -> SocketAddr) -> World {
        let turn = if self.alone {
            Turn::alone()
        } else {
            Turn::shared()
        };
        let keys = Keys::new();
        let mut gateway = Node::gateway(&keys, "gw-1", self.driver);
        gateway
            .config
            .set("runtime.shards", self.shards.to_string());
        overlay(&mut gateway.config, &self.gateway);
        gateway.start();
        let door = way(gateway.door("tunnel"));
        let agents = (1..=self.agents)
            .map(|number| {
                let name = format!("agent-{number}");
                let mut agent = Node::agent(&keys, SUBACCOUNT, "", &name, self.driver, &[door]);
                agent.config.set("runtime.shards", self.shards.to_string());
                overlay(&mut agent.config, &self.agent);
                agent.start();
                agent
            })
            .collect();
        let token = keys.token(SUBACCOUNT);
        let mut world = World {
            agents,
            http: gateway.door("http"),
            socks: gateway.door("socks5"),
            gateway,
            keys,
            token,
            driver: self.driver,
            _turn: turn,
        };
        if let Some(rules) = &self.rules {
            world.push(rules);
            for agent in &mut world.agents {
                let admin = agent.admin();
                let what = format!("{} is ready", agent.name());
                until_some(&what, SOON, || {
                    agent.process().must_run();
                    admin.is_ready().then_some(())
                });
            }
            world.wait_for_tunnels(self.agents * self.shards.min(TUNNELS_AUTO_MAX));
        }
        world
    }
}

fn overlay(config: &mut Config, changes: &Config) {
    for (section, keys) in &changes.0 {
        for (key, value) in keys {
            config.set(&format!("{section}.{key}"), value.clone());
        }
    }
}

/// Waits for `limit` at most until `world` answers `url` with `status`.
///
/// # Panics
/// When it does not.
pub fn until_answered(world: &World, url: &str, status: u16, limit: Duration) -> Duration {
    until(&format!("{url} is answered with {status}"), limit, || {
        world
            .try_get(url)
            .is_ok_and(|response| response.status == status)
    })
}

/// Tunnels an agent opens to one gateway by itself, at most.
const TUNNELS_AUTO_MAX: usize = 4;
