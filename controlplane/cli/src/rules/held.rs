//! Rules at the control plane: which place is meant, what is in force there, what a change of it is based on.
//!
//! What is done with them is left to the commands.

use std::fmt;

use adit_api::{Rules, Version};
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::ending::Failure;
use crate::plane::shown::{plain, when};
use crate::plane::{Call, Connect, Plane, segment};

/// Which rules are meant, where it is one place.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(crate) struct PlaceArgs {
    /// The subaccount
    #[arg(long, value_name = "SUBACCOUNT")]
    subaccount: String,
    /// The location [default: the default location]
    #[arg(
        long,
        value_name = "LOCATION",
        default_value = "",
        hide_default_value = true
    )]
    location: String,
    #[command(flatten)]
    connect: Connect,
}

impl PlaceArgs {
    /// The place, and the control plane that has it.
    pub(super) fn open(&self) -> Result<(Place, Plane), Failure> {
        let place = Place::new(&self.subaccount, &self.location)?;
        Ok((place, self.connect.open()?))
    }
}

/// A location of a subaccount: what rules are for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    subaccount: String,
    location: String,
}

impl Place {
    pub(super) fn new(subaccount: &str, location: &str) -> Result<Self, Failure> {
        Ok(Self {
            subaccount: segment("subaccount", subaccount)?.to_owned(),
            location: location.to_owned(),
        })
    }

    /// The place that options name, if they name one, and the control plane that has it.
    pub(super) fn named(
        subaccount: Option<&str>,
        location: Option<&str>,
        connect: &Connect,
    ) -> Result<Option<(Self, Plane)>, Failure> {
        let Some(subaccount) = subaccount else {
            return Ok(None);
        };
        let place = Self::new(subaccount, location.unwrap_or_default())?;
        Ok(Some((place, connect.open()?)))
    }

    pub(super) fn subaccount(&self) -> &str {
        &self.subaccount
    }

    pub(super) fn location(&self) -> &str {
        &self.location
    }

    /// A path of these rules, with the location where it belongs.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/api/v1/subaccounts/{}/rules{rest}", self.subaccount)
    }

    /// A call about these rules.
    pub(super) fn call(&self, call: Call) -> Call {
        call.query("location", Some(&self.location))
    }

    /// Reads what is in force here.
    pub(super) async fn held(&self, plane: &Plane) -> Result<Held, Failure> {
        let answer = plane.send(self.call(Call::get(self.path("")))).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Held::default());
        }
        if !answer.status.is_success() {
            return Err(answer.refusal());
        }
        let tag = answer.etag().ok_or_else(|| {
            Failure::failed(format!(
                "{}: the answer has no ETag; does something on the way take it out?",
                answer.server()
            ))
        })?;
        Ok(Held {
            rules: Some(answer.json()?),
            tag: Some(tag),
        })
    }

    /// The rules of one version.
    pub(super) async fn version(&self, plane: &Plane, version: u64) -> Result<Rules, Failure> {
        let call = Call::get(self.path(&format!("/versions/{version}")));
        plane.get(self.call(call)).await
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.subaccount, plain_location(&self.location))
    }
}

/// What is in force at a place, and what a change of it is based on.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) rules: Option<Rules>,
    /// Absent where there is nothing yet.
    pub(super) tag: Option<String>,
}

impl Held {
    /// The version in force; 0 where there is none.
    pub(super) fn version(&self) -> u64 {
        self.rules.as_ref().map_or(0, |rules| rules.version.version)
    }

    pub(super) fn text(&self) -> &str {
        self.rules.as_ref().map_or("", |rules| rules.text.as_str())
    }

    /// That no version is on trial here.
    pub(super) fn no_trial(&self, place: &Place) -> Result<(), Failure> {
        let canary = self.rules.as_ref().and_then(|rules| rules.canary.as_ref());
        canary.map_or(Ok(()), |canary| {
            Err(Failure::failed(format!(
                "{place}: version {} is on trial at {}; end that first: adit rules promote, or adit rules abandon; nothing \
                 was changed",
                canary.version,
                plain(&canary.agents.join(", "))
            )))
        })
    }
}

/// Says who was faster, after a change was refused as stale.
pub(super) async fn stale(place: &Place, plane: &Plane, before: u64) -> Failure {
    let now = match place.held(plane).await {
        Ok(held) => held,
        Err(failure) => return failure,
    };
    let who = now.rules.as_ref().map_or_else(
        || "its rules are gone".to_owned(),
        |rules| {
            let what = match (&rules.canary, rules.version.version) {
                (Some(canary), _) => format!("version {} is on trial", canary.version),
                (None, version) if version == before => "a trial has ended".to_owned(),
                (None, _) => told(&rules.version),
            };
            format!("somebody else was first: {what}")
        },
    );
    Failure::failed(format!(
        "{place}: {who}; nothing was changed; look at the new plan and try again"
    ))
}

/// A version in words: its number, who made it, when and why.
pub(super) fn told(version: &Version) -> String {
    let message = if version.message.is_empty() {
        String::new()
    } else {
        format!(", {:?}", plain(&version.message))
    };
    format!(
        "version {} by {} at {}{message}",
        version.version,
        plain(&version.changed_by),
        when(version.changed_unix_s)
    )
}

/// A version without its rules, for programs.
pub(super) fn value(version: &Version) -> Value {
    json!(version)
}

fn plain_location(location: &str) -> String {
    if location.is_empty() {
        String::new()
    } else {
        plain(location)
    }
}
