//! `adit explain` and `adit why`: what live nodes say of a request, asked through the control plane.
//!
//! Judging is the nodes' own; here their words are laid out, whatever members they have.

use adit_api::{Explain, Why};
use adit_policy::OwnedRequest;
use serde_json::{Value, json};

use crate::ending::Failure;
use crate::output::{Output, Plain};
use crate::plane::shown::plain;
use crate::plane::{Call, Connect, segment};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The agent that is asked
    #[arg(long, value_name = "NAME")]
    agent: String,
    /// Its subaccount
    #[arg(long, value_name = "SUBACCOUNT")]
    subaccount: String,
    /// The request: 'GET http://erp.virtual:80/path', with ws:// for an upgrade, or 'tcp://db.virtual:5432'
    request: String,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct WhyArgs {
    /// The id that the caller got with the refusal
    request_id: String,
    /// The subaccount whose request it was
    #[arg(long, value_name = "SUBACCOUNT")]
    subaccount: String,
    #[command(flatten)]
    connect: Connect,
}

/// Asks one live agent. Exit code 0: allowed; 1: denied.
pub(crate) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    // A typing error is answered here, and nobody is bothered.
    let _: OwnedRequest = args.request.parse().map_err(Failure::usage)?;
    let path = format!(
        "/api/v1/subaccounts/{}/agents/{}/explain",
        segment("--subaccount", &args.subaccount)?,
        segment("--agent", &args.agent)?
    );
    let wish = Explain {
        request: args.request,
    };
    let plane = args.connect.open()?;
    let value: Value = plane.get(Call::post(path).json(&wish)?).await?;
    let allowed = match value.get("decision").and_then(Value::as_str) {
        Some("allow") => true,
        Some("deny") => false,
        _ => {
            return Err(Failure::failed(format!(
                "agent {}: the answer holds no decision; is it an agent of this version?",
                args.agent
            )));
        }
    };
    let text = value.get("text").and_then(Value::as_str);
    let text = text.map_or_else(
        || Plain(&value).to_string(),
        |text| text.lines().map(plain).collect::<Vec<_>>().join("\n"),
    );
    output.result(text, &value);
    if allowed {
        Ok(())
    } else {
        Err(Failure::denied())
    }
}

/// Asks all nodes that may know of a request.
pub(crate) async fn why(args: WhyArgs, output: Output) -> Result<(), Failure> {
    let path = format!(
        "/api/v1/subaccounts/{}/why/{}",
        segment("--subaccount", &args.subaccount)?,
        segment("REQUEST-ID", &args.request_id)?
    );
    let why: Why = args.connect.open()?.get(Call::get(path)).await?;
    output.result(text(&why), &json!(why));
    if why.parts.is_empty() {
        return Err(Failure::failed(format!(
            "{} of {} nodes did not answer, and the others know nothing of it",
            why.silent.len(),
            why.asked
        )));
    }
    Ok(())
}

fn text(why: &Why) -> String {
    let mut text = Vec::new();
    for part in &why.parts {
        text.push(plain(&part.node));
        let told = Plain(&part.answer).to_string();
        text.extend(told.lines().map(|line| format!("  {line}")));
    }
    if !why.silent.is_empty() {
        let silent: Vec<_> = why.silent.iter().map(|node| plain(node)).collect();
        text.push(format!("no answer from {}", silent.join(", ")));
    }
    if why.unasked > 0 {
        text.push(format!("{} more nodes were not asked", why.unasked));
    }
    text.join("\n")
}

#[cfg(test)]
mod tests {
    use adit_api::WhyPart;

    use super::*;

    #[test]
    fn the_words_of_each_node_stand_below_its_name() {
        let why = Why {
            parts: vec![
                WhyPart {
                    node: "agent/acme/a1".to_owned(),
                    answer: json!({"decision": "deny", "timing": {"judge_us": 12}, "closest": "/orders"}),
                },
                WhyPart {
                    node: "gateway/-/gw-1".to_owned(),
                    answer: json!({"caller": "shop\u{1b}"}),
                },
            ],
            asked: 3,
            unasked: 2,
            silent: vec!["agent/acme/a2".to_owned()],
        };
        assert_eq!(
            text(&why),
            "\
agent/acme/a1
  closest   /orders
  decision  deny
  timing
    judge_us  12
gateway/-/gw-1
  caller  shop 
no answer from agent/acme/a2
2 more nodes were not asked"
        );
    }
}
