//! The nodes together: enrolled one after the other, then subscribed all at once.
//!
//! Standard input has a line for each thing to do: `enrol NAME INVITATION`, and once `subscribe`. Standard output answers
//! `enrolled NAME`, and says of each version that all nodes enforce, when each of them did. It ends with its input.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_runtime::settings::Document;
use adit_subscription::{Control, Enrolment, Facts, Invitation, Subscription, enrol};
use adit_tls::RoleName;
use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use crate::node::{Enforced, Node, usable};
use crate::tell;

/// Does what standard input says.
///
/// # Errors
/// When a node does not become one.
pub(crate) fn run(url: &str, folder: &Path) -> Result<()> {
    let mut folders = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["enrol", name, invitation] => {
                let own = folder.join(name);
                enrol_one(url, &own, invitation).with_context(|| format!("node {name}"))?;
                folders.push(own);
                tell(&format!("enrolled {name}"))?;
            }
            ["subscribe"] => return serve(url, &folders),
            // The line itself may hold an invitation.
            _ => bail!("a line is neither `enrol NAME INVITATION` nor `subscribe`"),
        }
    }
    Ok(())
}

fn enrol_one(url: &str, folder: &Path, invitation: &str) -> Result<()> {
    let invitation = Invitation::parse(invitation).map_err(|error| anyhow!("{error}"))?;
    let enrolment = Enrolment {
        role: RoleName::Agent,
        folder: folder.to_owned(),
        proxy: None,
        location: None,
        software: SOFTWARE.to_owned(),
        usable,
    };
    enrol(&enrolment, url, &invitation).map_err(|why| anyhow!(why))?;
    Ok(())
}

fn serve(url: &str, folders: &[PathBuf]) -> Result<()> {
    let (told, mut enforced) = mpsc::unbounded_channel();
    let mut nodes = Vec::new();
    for (number, folder) in folders.iter().enumerate() {
        let facts = Facts {
            software: SOFTWARE.to_owned(),
            instance: format!("{number:032x}"),
        };
        let subscription =
            Subscription::open(control(url, folder)?, None, facts).map_err(|why| anyhow!(why))?;
        let node = Node::new(&subscription.identity(), told.clone()).map_err(|why| anyhow!(why))?;
        nodes.push((Arc::new(subscription), Arc::new(node)));
    }
    let (over, ended) = oneshot::channel();
    std::thread::spawn(move || {
        // Whatever comes, only its end says something.
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        let _ = over.send(());
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let count = nodes.len();
        for (subscription, node) in nodes {
            tokio::task::spawn_local(async move { subscription.run(node.as_ref()).await });
        }
        tokio::select! {
            told = report(&mut enforced, count) => told,
            _ = ended => Ok(()),
        }
    })
}

/// Tells of each version when `count` nodes have it in force.
async fn report(enforced: &mut mpsc::UnboundedReceiver<Enforced>, count: usize) -> Result<()> {
    let mut times: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    while let Some(one) = enforced.recv().await {
        let at = times.entry(one.version).or_default();
        at.push(one.at_ns);
        if at.len() < count {
            continue;
        }
        tell(&json!({"version": one.version, "at_ns": at}).to_string())?;
        // An older version that some node passed over will never be whole.
        times = times.split_off(&(one.version + 1));
    }
    Ok(())
}

fn control(url: &str, folder: &Path) -> Result<Control> {
    let text = format!("[control]\nurls = [\"{url}\"]\n");
    let document = Document::parse("control", PathBuf::new(), text)
        .map_err(|problems| anyhow!("{problems}"))?;
    let control = Control::read(
        &document.root().section("control"),
        folder.to_owned(),
        false,
    );
    document
        .finish()
        .map_err(|problems| anyhow!("{problems}"))?;
    control.context("a section that is there")
}

/// What the nodes call themselves.
const SOFTWARE: &str = "adit-fleet";
