//! `adit rules rollback`, `promote` and `abandon`: changes that need no file.
//!
//! Each is shown as a plan, asked about, and made on the condition that nobody was faster.

use adit_api::{Applied, Rollback};
use hyper::StatusCode;
use serde_json::json;

use super::apply::{Step, came, looked};
use super::held::{Held, Place, PlaceArgs, stale};
use super::plan::{self, Rules};
use super::rollout::{WaitArgs, look};
use crate::ending::Failure;
use crate::output::Output;
use crate::plane::{Call, Plane, prompt};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct RollbackArgs {
    /// The version whose rules come back
    #[arg(long, value_name = "NUMBER")]
    to: u64,
    /// Why, as the history will show it
    #[arg(long, default_value = "", hide_default_value = true)]
    message: String,
    #[command(flatten)]
    change: ChangeArgs,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct ChangeArgs {
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Brings an earlier version's rules back, as a new version.
pub(super) async fn roll_back(args: RollbackArgs, output: Output) -> Result<(), Failure> {
    let (place, plane) = args.change.place.open()?;
    let held = place.held(&plane).await?;
    held.no_trial(&place)?;
    let back = place.version(&plane, args.to).await?;
    let new = Rules::of_text(&place.to_string(), Some(args.to), back.text)?;
    let step = Step::new(place, held, new)?;
    let wish = Rollback {
        to: args.to,
        message: args.message,
    };
    let call = Call::post(step.place.path("/rollback")).json(&wish)?;
    make(&args.change, step, call, &plane, output).await
}

/// Ends a trial: all agents get the version.
pub(super) async fn promote(args: ChangeArgs, output: Output) -> Result<(), Failure> {
    let (place, plane) = args.place.open()?;
    let (held, trial) = on_trial(&place, &plane).await?;
    let step = Step::new(place, held, trial)?;
    let call = Call::post(step.place.path("/promote"));
    make(&args, step, call, &plane, output).await
}

/// Ends a trial: what was before comes back to the agents that had it.
pub(super) async fn abandon(args: ChangeArgs, output: Output) -> Result<(), Failure> {
    let (place, plane) = args.place.open()?;
    let (held, trial) = on_trial(&place, &plane).await?;
    // Seen from the agents of the trial: from its rules to those in force.
    let mut step = Step::new(place, held, trial)?;
    std::mem::swap(&mut step.old, &mut step.new);
    step.plan = Some(adit_policy::plan(
        step.old.snapshot.table(),
        step.new.snapshot.table(),
    ));
    let call = Call::post(step.place.path("/abandon"));
    make(&args, step, call, &plane, output).await
}

async fn on_trial(place: &Place, plane: &Plane) -> Result<(Held, Rules), Failure> {
    let mut held = place.held(plane).await?;
    let canary = held.rules.as_ref().and_then(|rules| rules.canary.clone());
    let canary = canary.ok_or_else(|| {
        Failure::failed(format!(
            "{place}: no version is on trial; nothing was changed"
        ))
    })?;
    let trial = place.version(plane, canary.version).await?;
    // While the first version ever is on trial, the server shows it although nothing is in force.
    if let Some(rules) = held
        .rules
        .as_mut()
        .filter(|rules| rules.version.version == canary.version)
    {
        rules.text.clear();
        rules.version.version = 0;
    }
    let rules = Rules::of_text(&place.to_string(), Some(canary.version), trial.text)?;
    Ok((held, rules))
}

async fn make(
    args: &ChangeArgs,
    step: Step,
    call: Call,
    plane: &Plane,
    output: Output,
) -> Result<(), Failure> {
    let Step {
        place,
        held,
        old,
        new,
        plan,
    } = step;
    if let Some(plan) = &plan {
        output.line(plan::text(plan, &old, &new));
        output.line("");
    }
    if !args.yes {
        prompt::confirm("make this change?")?;
    }
    let call = place.call(call).based_on(held.tag.as_deref());
    let answer = plane.send(call).await?;
    if answer.status == StatusCode::PRECONDITION_FAILED {
        return Err(stale(&place, plane, held.version()).await);
    }
    if !answer.status.is_success() {
        return Err(answer.refusal());
    }
    let applied: Applied = answer.json()?;
    let (rollout, ended) = looked(if args.wait.is_wanted() {
        args.wait
            .follow(&place, plane, applied.version, output)
            .await
    } else {
        let look = look(&place, plane).await;
        look.map(|rollout| (rollout, Ok(())))
    });
    let text = if applied.changed {
        came(&place, &applied, rollout.as_ref())
    } else {
        format!(
            "{place}: no change, version {} is in force",
            applied.version
        )
    };
    let plan = plan
        .map(|plan| plan::value(&plan, &old, &new))
        .transpose()?;
    output.result(
        text,
        &json!({
            "place": place.to_string(),
            "changed": applied.changed,
            "version": applied.version,
            "plan": plan,
            "rollout": rollout,
        }),
    );
    ended
}
