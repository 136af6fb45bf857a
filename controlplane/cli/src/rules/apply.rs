//! `adit rules apply`: rules of files become the rules of places at the control plane.
//!
//! Read what is there, show what the change means, ask, write on the condition that nobody was faster, wait. All files
//! are compiled and tested before the first is sent. The server compiles and judges again.

use std::path::{Path, PathBuf};

use adit_api::{Applied, Rollout, RuleSets};
use adit_policy::Plan;
use hyper::StatusCode;
use serde_json::{Value, json};

use super::held::{Held, Place, stale};
use super::plan::{self, Rules};
use super::rollout::{WaitArgs, look, progress};
use super::{folder, read_rules};
use crate::ending::Failure;
use crate::output::Output;
use crate::plane::{Call, Connect, Plane, prompt};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// The rules, TOML; or a folder of them: SUBACCOUNT/LOCATION.toml, and SUBACCOUNT/_default.toml for the default
    /// location
    file: PathBuf,
    /// Whose rules they are; with a folder: only those of this subaccount
    #[arg(long, value_name = "SUBACCOUNT")]
    subaccount: Option<String>,
    /// For which location [default: the default location]
    #[arg(long, value_name = "LOCATION", requires = "subaccount")]
    location: Option<String>,
    /// Why, as the history will show it
    #[arg(long, default_value = "", hide_default_value = true)]
    message: String,
    /// Agents that get the rules first, separated by commas; `adit rules promote` or `abandon` ends the trial
    #[arg(long, value_name = "AGENT,..", value_delimiter = ',')]
    canary: Vec<String>,
    /// With a folder: empty the rules of locations that it no longer has, in subaccounts that it has
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    wait: WaitArgs,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    connect: Connect,
}

/// A change of one place.
pub(super) struct Step {
    pub(super) place: Place,
    pub(super) held: Held,
    pub(super) old: Rules,
    pub(super) new: Rules,
    /// Nothing where the rules are the same, letter by letter.
    pub(super) plan: Option<Plan>,
}

/// What became of a step.
struct Done {
    applied: Option<Applied>,
    rollout: Option<Rollout>,
}

pub(super) async fn run(args: Args, output: Output) -> Result<(), Failure> {
    let is_folder = args.file.is_dir();
    let files = files(&args, is_folder)?;
    // Everything that can be wrong with the files is said before anybody is asked anything.
    let mut wanted = Vec::new();
    for (place, path) in &files {
        wanted.push((place.clone(), tested(path)?));
    }
    let plane = args.connect.open()?;
    if args.prune {
        for place in gone(&plane, &files).await? {
            wanted.push((place, Rules::of_text("no rules", None, String::new())?));
        }
    }
    let mut steps = Vec::new();
    for (place, new) in wanted {
        let held = place.held(&plane).await?;
        held.no_trial(&place)?;
        steps.push(Step::new(place, held, new)?);
    }
    tell_plans(&steps, output);
    let changing = steps.iter().filter(|step| step.plan.is_some()).count();
    if changing > 0 && !args.yes {
        let where_to = match changing {
            1 => "this change".to_owned(),
            many => format!("these changes of {many} places"),
        };
        prompt::confirm(&format!("make {where_to}?"))?;
    }
    let mut values = Vec::new();
    let mut ended = Ok(());
    for step in &steps {
        let made = step.make(&args, &plane).await;
        let (mut done, version) = match made {
            Ok(applied) => {
                let version = applied.as_ref().map_or(0, |applied| applied.version);
                (
                    Done {
                        applied,
                        rollout: None,
                    },
                    version,
                )
            }
            Err(failure) => {
                ended = Err(partly(failure, &values));
                break;
            }
        };
        let changed = done.applied.as_ref().is_some_and(|applied| applied.changed);
        if changed && args.wait.is_wanted() {
            let followed = args.wait.follow(&step.place, &plane, version, output).await;
            let (rollout, arrived) = looked(followed);
            done.rollout = rollout;
            ended = ended.and(arrived);
        } else if changed {
            let look = look(&step.place, &plane).await;
            let (rollout, arrived) = looked(look.map(|rollout| (rollout, Ok(()))));
            done.rollout = rollout;
            ended = ended.and(arrived);
        }
        step.tell(&done, output);
        values.push(step.value(&done)?);
    }
    let changed = values.iter().any(|value| value["changed"] == true);
    if output.is_json() {
        output.result("", &json!({"changed": changed, "places": values}));
    }
    ended?;
    if changed {
        Err(Failure::changes())
    } else {
        Ok(())
    }
}

/// What was seen of a change that is made. It is made whatever comes after, so a failure to look must not hide it.
pub(super) fn looked(
    look: Result<(Rollout, Result<(), Failure>), Failure>,
) -> (Option<Rollout>, Result<(), Failure>) {
    match look {
        Ok((rollout, arrived)) => (Some(rollout), arrived),
        Err(failure) => {
            let failure = failure
                .after("the change is made; how far it has come is not known: adit rules rollout");
            (None, Err(failure))
        }
    }
}

/// Which files are for which places.
fn files(args: &Args, is_folder: bool) -> Result<Vec<(Place, PathBuf)>, Failure> {
    if is_folder {
        if args.location.is_some() {
            return Err(Failure::usage(
                "--location: a folder names its locations itself; give one file, or leave it out",
            ));
        }
        return folder::places(&args.file, args.subaccount.as_deref());
    }
    if args.prune {
        return Err(Failure::usage(
            "--prune: one file cannot say which locations there shall be; give a folder",
        ));
    }
    let subaccount = args
        .subaccount
        .as_deref()
        .ok_or_else(|| Failure::usage("whose rules these are is missing: --subaccount"))?;
    let place = Place::new(subaccount, args.location.as_deref().unwrap_or_default())?;
    Ok(vec![(place, args.file.clone())])
}

/// Rules of a file that compile and whose tests pass.
fn tested(path: &Path) -> Result<Rules, Failure> {
    let (name, text) = read_rules(path)?;
    let rules = Rules::of_text(&name, None, text)?;
    rules.pass_tests()?;
    Ok(rules)
}

/// Places with rules in the folder's subaccounts that the folder no longer has.
async fn gone(plane: &Plane, files: &[(Place, PathBuf)]) -> Result<Vec<Place>, Failure> {
    let ours = folder::subaccounts(files);
    let mut gone = Vec::new();
    let mut after = None;
    loop {
        let page: RuleSets = plane
            .get(Call::get("/api/v1/rules").query("after", after))
            .await?;
        for set in page.items {
            let place = Place::new(&set.subaccount, &set.location)?;
            if ours.contains(place.subaccount()) && files.iter().all(|(kept, _)| *kept != place) {
                gone.push(place);
            }
        }
        after = page.next;
        if after.is_none() {
            gone.sort();
            return Ok(gone);
        }
    }
}

fn tell_plans(steps: &[Step], output: Output) {
    for step in steps {
        if let Some(plan) = &step.plan {
            output.line(plan::text(plan, &step.old, &step.new));
            if plan.unfinished {
                output.hint(format_args!(
                    "adit: {}: too large and too different to be compared to the end; more may change than is shown",
                    step.place
                ));
            }
            output.line("");
        }
    }
}

/// A failure after other places were changed says so.
fn partly(failure: Failure, values: &[Value]) -> Failure {
    let done: Vec<&str> = values
        .iter()
        .filter(|value| value["changed"] == true)
        .filter_map(|value| value["place"].as_str())
        .collect();
    if done.is_empty() {
        failure
    } else {
        failure.after(format_args!("changed before that: {}", done.join(", ")))
    }
}

impl Step {
    pub(super) fn new(place: Place, held: Held, new: Rules) -> Result<Self, Failure> {
        let version = held.rules.as_ref().map(|rules| rules.version.version);
        let old = Rules::of_text(
            &format!("{place} at the control plane"),
            version,
            held.text().to_owned(),
        );
        let old = old.map_err(|failure| {
            Failure::failed(format!(
                "{place} has rules in force that this version of adit does not understand: {failure}"
            ))
        })?;
        let is_same = version.is_some() && old.snapshot.hash_hex() == new.snapshot.hash_hex();
        // Where there are no rules yet, an empty set changes nothing but is still a version.
        let plan =
            (!is_same).then(|| adit_policy::plan(old.snapshot.table(), new.snapshot.table()));
        Ok(Self {
            place,
            held,
            old,
            new,
            plan,
        })
    }

    /// Writes it, on the condition that nobody was faster. Nothing where nothing is to be done.
    async fn make(&self, args: &Args, plane: &Plane) -> Result<Option<Applied>, Failure> {
        if self.plan.is_none() {
            return Ok(None);
        }
        let canary = args.canary.join(",");
        let call = self
            .place
            .call(Call::put(self.place.path("")))
            .query("message", Some(&args.message))
            .query("canary", Some(canary))
            .based_on(self.held.tag.as_deref())
            .body(adit_api::RULES_TYPE, self.new.text().as_bytes().to_vec());
        let answer = plane.send(call).await?;
        if answer.status == StatusCode::PRECONDITION_FAILED {
            return Err(stale(&self.place, plane, self.held.version()).await);
        }
        if !answer.status.is_success() {
            return Err(answer.refusal());
        }
        answer.json().map(Some)
    }

    fn tell(&self, done: &Done, output: Output) {
        let place = &self.place;
        match &done.applied {
            Some(applied) if applied.changed => {
                output.line(came(place, applied, done.rollout.as_ref()));
            }
            _ => output.line(format_args!(
                "{place}: no change, version {} is in force",
                self.held.version()
            )),
        }
    }

    fn value(&self, done: &Done) -> Result<Value, Failure> {
        let plan = self.plan.as_ref();
        let plan = plan.map(|plan| plan::value(plan, &self.old, &self.new));
        Ok(json!({
            "place": self.place.to_string(),
            "subaccount": self.place.subaccount(),
            "location": self.place.location(),
            "changed": done.applied.as_ref().is_some_and(|applied| applied.changed),
            "version": done.applied.as_ref().map_or_else(|| self.held.version(), |applied| applied.version),
            "canary": done.applied.as_ref().is_some_and(|applied| applied.canary),
            "plan": plan.transpose()?,
            "rollout": done.rollout,
        }))
    }
}

/// The last line: what is in force or on trial now, and how far it has come.
pub(super) fn came(place: &Place, applied: &Applied, rollout: Option<&Rollout>) -> String {
    let trial = if applied.canary { " on trial" } else { "" };
    let far = rollout.map_or_else(String::new, |rollout| {
        format!(": {}", progress(rollout, Some(applied.version)))
    });
    format!("{place}: version {}{trial}{far}", applied.version)
}
