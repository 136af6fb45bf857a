//! What the demo tells: requests, a question and a mistake, hop by hop, with what was expected and what was seen.
//!
//! Every sentence about a hop comes from that hop: the backend says what reached it, the agent
//! explains its own decision, the gateway's answer is shown as it came.

use std::time::Duration;

use adit_policy::OwnedRequest;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::backends::{Backends, GREETING};
use super::caller::{self, HttpAnswer};
use super::operator::{LOGIN, Operator, as_called};
use super::world::{
    AGENT, ALLOWED_URL, DENIED_URL, Endpoints, GATEWAY, SUBACCOUNT, TCP_HOST, TCP_PORT, World,
};
use crate::ending::Failure;
use crate::output::{Output, Table};

const WHY: &str = "why was it denied";
const BACK: &str = "a change that was wrong is taken back";

/// How many steps the story has.
const STEPS: usize = 6;

/// The teller.
pub(super) struct Story<'w> {
    world: &'w World,
    backends: &'w Backends,
    operator: &'w Operator,
    output: Output,
    steps: Vec<Step>,
}

/// One request and how it went.
struct Step {
    title: &'static str,
    expected: String,
    /// What was seen; an error when it was something else.
    seen: Result<Vec<Hop>>,
}

/// Who did something, and what.
struct Hop(&'static str, String);

impl<'w> Story<'w> {
    pub(super) fn new(
        world: &'w World,
        backends: &'w Backends,
        operator: &'w Operator,
        output: Output,
    ) -> Self {
        Self {
            world,
            backends,
            operator,
            output,
            steps: Vec::new(),
        }
    }

    pub(super) fn opening(&self) {
        self.output.line(format_args!(
            "keys, token, rules, configurations and logs are in {}\n",
            self.world.path("").display()
        ));
        self.output.line(format_args!(
            "backends   http {}, tcp {}: on loopback, inside this process",
            self.backends.http, self.backends.tcp
        ));
    }

    pub(super) fn started(&self, role: &str, pid: Option<u32>) {
        let pid = pid.map_or_else(|| "none".to_owned(), |pid| pid.to_string());
        self.output
            .line(format_args!("{role:<9}  started as process {pid}"));
    }

    pub(super) fn ready(&self) {
        self.output
            .line("\ntunnel    up: the agent dialled out, no port is open on its side");
    }

    /// Sends the requests, asks and mends, and tells each as it happens.
    pub(super) async fn tell(&mut self) {
        self.title("an allowed request");
        let step = Step {
            title: "an allowed request",
            expected: "200 from the backend".to_owned(),
            seen: self.allowed().await,
        };
        self.add(step);
        self.title("a request no rule allows");
        let step = Step {
            title: "a request no rule allows",
            expected: "403 resource-denied, and nothing reaches the backend".to_owned(),
            seen: self.denied().await,
        };
        self.add(step);
        self.title("a request without a token");
        let step = Step {
            title: "a request without a token",
            expected: "407 token-missing".to_owned(),
            seen: self.unknown().await,
        };
        self.add(step);
        self.title("a TCP conversation by SOCKS5");
        let step = Step {
            title: "a TCP conversation by SOCKS5",
            expected: "the greeting, and the line sent".to_owned(),
            seen: self.conversation().await,
        };
        self.add(step);

        self.title(WHY);
        let step = Step {
            title: WHY,
            expected: "the agent that denied it says by which rules, and what comes closest"
                .to_owned(),
            seen: self.why().await,
        };
        self.add(step);
        self.title(BACK);
        let step = Step {
            title: BACK,
            expected: "403 while it is in force, 200 again afterwards".to_owned(),
            seen: self.taken_back().await,
        };
        self.add(step);

        let steps: Vec<Value> = self.steps.iter().map(Step::json).collect();
        let summary = match self.otherwise() {
            0 => "\nall of it went as expected".to_owned(),
            otherwise => format!("\n{otherwise} of {STEPS} steps went otherwise than expected"),
        };
        let dir = self.world.path("");
        self.output.result(
            summary,
            &json!({"ok": self.otherwise() == 0, "dir": dir, "steps": steps}),
        );
    }

    /// Whether all of it was told and went as expected.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if self.steps.len() < STEPS {
            return Err(Failure::failed("stopped before the story was told"));
        }
        match self.otherwise() {
            0 => Ok(()),
            otherwise => Err(Failure::failed(format!(
                "{otherwise} of {STEPS} steps went otherwise than expected; see {} and {}",
                self.world.path("gateway.log").display(),
                self.world.path("agent.log").display()
            ))),
        }
    }

    fn otherwise(&self) -> usize {
        self.steps.iter().filter(|step| step.seen.is_err()).count()
    }

    /// Where everything is, and lines to paste.
    pub(super) fn invitation(&self) {
        let Endpoints {
            control,
            http,
            socks5,
            tunnel,
            gateway_admin,
            agent_metrics,
        } = self.world.endpoints;
        let login = self.world.path(LOGIN);
        let login = login.display();
        let token = self.world.path("token");
        let token = token.display();
        let agent = self.world.agent_admin();
        let adit = as_called();
        let mut table = Table::new(["ENDPOINT", "ADDRESS"]);
        for (what, address) in [
            ("control plane", format!("https://{control}")),
            ("gateway, HTTP proxy", http.to_string()),
            ("gateway, SOCKS5 proxy", socks5.to_string()),
            ("gateway, tunnels", tunnel.to_string()),
            ("gateway, admin", format!("http://{gateway_admin}")),
            ("agent, admin", agent.to_string()),
            ("agent, metrics", format!("http://{agent_metrics}/metrics")),
        ] {
            table.row([what.to_owned(), address]);
        }
        self.output.line(format_args!(
            "\n{table}\n\n\
             try it:\n  \
             curl -x http://{http} --proxy-header \"Proxy-Authorization: Bearer $(cat {token})\" {ALLOWED_URL}\n  \
             curl -x http://{http} --proxy-header \"Proxy-Authorization: Bearer $(cat {token})\" -i {DENIED_URL}\n  \
             curl --socks5-hostname {socks5} --proxy-user \":$(cat {token})\" telnet://{TCP_HOST}:{TCP_PORT}\n  \
             {adit} status --node {agent}\n  \
             export ADIT_CONFIG_DIR={login}\n  \
             {adit} nodes list\n  \
             {adit} explain --agent {AGENT} --subaccount {SUBACCOUNT} 'GET {DENIED_URL}'\n  \
             {adit} rules apply {} --subaccount {SUBACCOUNT} --wait\n  \
             {adit} acts list\n\n\
             Ctrl-C ends the demo.",
            self.world.path("rules.toml").display()
        ));
    }

    /// What comes is told before it happens: some of it takes a moment.
    fn title(&self, title: &str) {
        let number = self.steps.len() + 1;
        self.output.line(format_args!("\n{number}. {title}"));
    }

    fn add(&mut self, step: Step) {
        match &step.seen {
            Ok(hops) => {
                for Hop(who, what) in hops {
                    self.output.line(hop(who, what));
                }
                self.output.line(hop("expected", &step.expected));
            }
            Err(error) => {
                self.output.line(hop("expected", &step.expected));
                self.output.line(hop("SEEN", &format!("{error:#}")));
            }
        }
        self.steps.push(step);
    }

    async fn allowed(&self) -> Result<Vec<Hop>> {
        let _ = self.backends.take_seen();
        let answer = self.get(ALLOWED_URL, true).await?;
        ensure!(answer.status == 200, "{}", summary(&answer));
        let reached = self
            .backends
            .take_seen()
            .context("200, and nothing reached the backend")?;
        let explained = self.explained(&format!("GET {ALLOWED_URL}"), true).await?;
        Ok(vec![
            self.sent(ALLOWED_URL),
            Hop(
                GATEWAY,
                format!("knows the caller; opens a stream to {AGENT}"),
            ),
            Hop(AGENT, explained),
            Hop("backend", reached),
            Hop("app", summary(&answer)),
        ])
    }

    async fn denied(&self) -> Result<Vec<Hop>> {
        let _ = self.backends.take_seen();
        let answer = self.get(DENIED_URL, true).await?;
        refused(&answer, 403, "resource-denied")?;
        if let Some(reached) = self.backends.take_seen() {
            anyhow::bail!("refused, and yet the backend saw {reached}");
        }
        let explained = self.explained(&format!("GET {DENIED_URL}"), false).await?;
        Ok(vec![
            self.sent(DENIED_URL),
            Hop(
                GATEWAY,
                format!("knows the caller; opens a stream to {AGENT}"),
            ),
            Hop(AGENT, explained),
            Hop("backend", "saw nothing".to_owned()),
            Hop("app", summary(&answer)),
        ])
    }

    async fn unknown(&self) -> Result<Vec<Hop>> {
        let answer = self.get(ALLOWED_URL, false).await?;
        refused(&answer, 407, "token-missing")?;
        Ok(vec![
            Hop("app", format!("GET {ALLOWED_URL}, no token")),
            Hop(GATEWAY, "knows no caller; opens no stream".to_owned()),
            Hop("app", summary(&answer)),
        ])
    }

    async fn conversation(&self) -> Result<Vec<Hop>> {
        const LINE: &str = "hello from the cloud";
        let door = self.world.endpoints.socks5;
        let [greeting, echoed] =
            caller::talk(door, TCP_HOST, TCP_PORT, &self.world.token, LINE).await?;
        ensure!(greeting == GREETING, "the greeting was {greeting:?}");
        ensure!(echoed == LINE, "the line came back as {echoed:?}");
        let request = format!("tcp://{TCP_HOST}:{TCP_PORT}");
        let explained = self.explained(&request, true).await?;
        Ok(vec![
            Hop(
                "app",
                format!("SOCKS5 {door}, token as password: connect {TCP_HOST}:{TCP_PORT}"),
            ),
            Hop(
                GATEWAY,
                format!("knows the caller; opens a stream to {AGENT}"),
            ),
            Hop(AGENT, explained),
            Hop("backend", greeting),
            Hop("app", format!("sends {LINE:?}")),
            Hop("backend", format!("gives back {echoed:?}")),
        ])
    }

    /// Asks by the id that the caller got, through the control plane.
    async fn why(&self) -> Result<Vec<Hop>> {
        let answer = self.get(DENIED_URL, true).await?;
        refused(&answer, 403, "resource-denied")?;
        let refusal = answer.refusal.as_deref().unwrap_or_default();
        let id = refusal.rsplit_once("id=").map_or("", |(_, id)| id);
        let told = self
            .operator
            .types(&["why", id, "--subaccount", SUBACCOUNT], &[0])
            .await?;
        for word in [AGENT, "resource-denied", "closest is"] {
            ensure!(told.contains(word), "nothing of {word} in: {told}");
        }
        Ok(vec![Hop("app", format!("got {refusal}"))])
    }

    /// Puts rules in force that do not allow what is needed, and brings back those before.
    async fn taken_back(&self) -> Result<Vec<Hop>> {
        self.operator.applies("wrong.toml", "a slip").await?;
        let during = self.get(ALLOWED_URL, true).await?;
        refused(&during, 403, "resource-denied")?;
        let back = [
            "rules",
            "rollback",
            "--to",
            "1",
            "--subaccount",
            SUBACCOUNT,
            "--yes",
            "--wait",
        ];
        self.operator.types(&back, &[0, 3]).await?;
        let after = self.get(ALLOWED_URL, true).await?;
        ensure!(after.status == 200, "{}", summary(&after));
        self.operator
            .types(&["rules", "history", "--subaccount", SUBACCOUNT], &[0])
            .await?;
        Ok(vec![
            Hop("app", format!("with the slip: {}", summary(&during))),
            Hop("app", format!("with version 1 back: {}", summary(&after))),
        ])
    }

    fn sent(&self, url: &str) -> Hop {
        let door = self.world.endpoints.http;
        Hop(
            "app",
            format!("GET {url} through {door}, token of subaccount {SUBACCOUNT}"),
        )
    }

    async fn get(&self, url: &str, with_token: bool) -> Result<HttpAnswer> {
        let token = with_token.then_some(self.world.token.as_str());
        caller::get(self.world.endpoints.http, url, token).await
    }

    /// The agent's own explanation; an error when it decides otherwise than it did.
    async fn explained(&self, request: &str, allowed: bool) -> Result<String> {
        let request: OwnedRequest = request.parse()?;
        let (decision, text, _) =
            crate::rules::explain_on(&self.world.agent_admin(), &request).await?;
        ensure!(
            decision == allowed,
            "the agent explains the opposite of what it did:\n{text}"
        );
        Ok(text)
    }
}

impl Step {
    fn json(&self) -> Value {
        let (ok, seen) = match &self.seen {
            Ok(hops) => {
                let hops: Vec<Value> = hops
                    .iter()
                    .map(|Hop(who, what)| json!({"who": who, "what": what}))
                    .collect();
                (true, Value::from(hops))
            }
            Err(error) => (false, Value::from(format!("{error:#}"))),
        };
        json!({"title": self.title, "expected": self.expected, "ok": ok, "seen": seen})
    }
}

/// One hop, its later lines under the first.
fn hop(who: &str, what: &str) -> String {
    let mut lines = what.lines();
    let mut text = format!("   {who:<9} {}", lines.next().unwrap_or_default());
    for line in lines {
        text.push_str("\n             ");
        text.push_str(line);
    }
    text
}

fn summary(answer: &HttpAnswer) -> String {
    let refusal = answer
        .refusal
        .as_ref()
        .map_or_else(String::new, |refusal| format!(", adit-refusal: {refusal}"));
    format!(
        "{}{refusal}, in {}\n{}",
        answer.status,
        milliseconds(answer.took),
        answer.body
    )
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

/// Refused with this status and reason, and with an id to ask about.
fn refused(answer: &HttpAnswer, status: u16, reason: &str) -> Result<()> {
    ensure!(answer.status == status, "{}", summary(answer));
    let refusal = answer.refusal.as_deref().unwrap_or_default();
    ensure!(
        refusal.starts_with(&format!("{reason}; id=")),
        "{}",
        summary(answer)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    #[test]
    fn the_lines_of_a_hop_stand_under_each_other() {
        assert_eq!(
            hop("agent-1", "allow  GET http://erp/\n  rule  x"),
            "   agent-1   allow  GET http://erp/\n               rule  x"
        );
    }

    #[test]
    fn a_refusal_counts_only_with_its_status_reason_and_id() {
        let answer = |status: u16, refusal: Option<&str>| HttpAnswer {
            status: StatusCode::from_u16(status).unwrap(),
            refusal: refusal.map(ToOwned::to_owned),
            body: "no".to_owned(),
            took: Duration::from_micros(1500),
        };
        let check = |status, refusal| refused(&answer(status, refusal), 403, "resource-denied");
        assert!(check(403, Some("resource-denied; id=0a")).is_ok());
        assert!(check(404, Some("resource-denied; id=0a")).is_err());
        assert!(check(403, Some("method-denied; id=0a")).is_err());
        assert!(check(403, Some("resource-denied")).is_err());
        let error = check(403, None).unwrap_err().to_string();
        assert_eq!(error, "403 Forbidden, in 1.5 ms\nno");
    }
}
