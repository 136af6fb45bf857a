//! Why something was not done, and how the REST door says so.

use adit_api::Problem;
use adit_policy::Problems;
use adit_store::Error;

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// Nobody known asks.
    Unauthenticated(&'static str),
    /// They may not.
    Denied(String),
    /// It is not there, or not for them.
    NotFound(String),
    /// It was changed by somebody else since it was read.
    Stale(String),
    /// A condition is missing: what was read must be named.
    ConditionMissing,
    /// It cannot be done in the state that things are in.
    Conflict(String),
    /// What was sent is wrong.
    Invalid(String),
    /// Rules or their tests are wrong.
    Rules {
        title: String,
        problems: Vec<String>,
    },
    /// This path takes other methods.
    NoMethod,
    /// What was sent is of another media type.
    MediaType(&'static str),
    /// What was sent is too large.
    TooLarge { limit: usize },
    /// What was sent came too slowly.
    Slow,
    /// Others send so much that there is no room.
    Busy,
    /// Too many tries.
    Throttled { retry_after_s: u64 },
    /// A node does not answer.
    NodeSilent(String),
    /// The store.
    Store(Error),
    /// A bug, or a machine without threads.
    Internal(String),
}

impl Trouble {
    pub(crate) fn rules(title: &str, found: &Problems) -> Self {
        let mut problems: Vec<String> = found.list().iter().map(ToString::to_string).collect();
        if found.unlisted() > 0 {
            problems.push(format!("and {} more problems", found.unlisted()));
        }
        Self::Rules {
            title: title.to_owned(),
            problems,
        }
    }

    /// HTTP status and the kind as a word.
    pub(crate) fn status(&self) -> (u16, &'static str) {
        match self {
            Self::Unauthenticated(_) => (401, "unauthenticated"),
            Self::Denied(_) => (403, "denied"),
            Self::NotFound(_) => (404, "not-found"),
            Self::Conflict(_) => (409, "conflict"),
            Self::Stale(_) => (412, "stale"),
            Self::ConditionMissing => (428, "condition-missing"),
            Self::Invalid(_) => (400, "invalid"),
            Self::Rules { .. } => (422, "rules"),
            Self::NoMethod => (405, "no-method"),
            Self::MediaType(_) => (415, "media-type"),
            Self::TooLarge { .. } => (413, "too-large"),
            Self::Slow => (408, "slow"),
            Self::Busy => (503, "busy"),
            Self::Throttled { .. } => (429, "throttled"),
            Self::NodeSilent(_) => (504, "node-silent"),
            Self::Store(error) => match error {
                Error::Conflict { .. } => (412, "stale"),
                Error::TooLarge { .. } => (413, "too-large"),
                Error::Full { .. } => (507, "store-full"),
                Error::Unavailable { .. } | Error::LeaseLost { .. } | Error::Compacted { .. } => {
                    (503, "store-unavailable")
                }
                Error::Newer { .. } => (503, "store-newer"),
                Error::Corrupt { .. } => (500, "store-corrupt"),
            },
            Self::Internal(_) => (500, "internal"),
        }
    }

    /// What the caller reads.
    pub(crate) fn into_problem(self, request_id: String) -> Problem {
        let (status, kind) = self.status();
        let mut problems = Vec::new();
        let title = match self {
            Self::Unauthenticated(why) => why.to_owned(),
            Self::Denied(why)
            | Self::NotFound(why)
            | Self::Stale(why)
            | Self::Conflict(why)
            | Self::Invalid(why)
            | Self::NodeSilent(why) => why,
            Self::ConditionMissing => {
                "say what you have read, so that nobody's change is lost: If-Match with its ETag, or If-None-Match: * \
                 for what is not there yet"
                    .to_owned()
            }
            Self::Rules { title, problems: list } => {
                problems = list;
                title
            }
            Self::NoMethod => "this path takes other methods; /api/v1/openapi.json lists them".to_owned(),
            Self::MediaType(wanted) => format!("send Content-Type: {wanted}"),
            Self::TooLarge { limit } => format!("the body is larger than {limit} bytes"),
            Self::Slow => "the body did not come in time".to_owned(),
            Self::Busy => "too much is being sent at the moment; try again".to_owned(),
            Self::Throttled { retry_after_s } => format!("too many tries; wait {retry_after_s} s"),
            // Keys and paths of the store are nobody's business outside; the log has them.
            Self::Store(Error::Conflict { .. }) => {
                "it was changed by somebody else meanwhile; read it again".to_owned()
            }
            Self::Store(Error::TooLarge { size, limit, .. }) => format!("{size} is above {limit}"),
            Self::Store(Error::Full { .. }) => {
                "the store is full; nothing was changed, and what is in force stays in force; make room where the \
                 server, or its etcd, keeps its state, and try again"
                    .to_owned()
            }
            Self::Store(Error::Unavailable { outcome: adit_store::Outcome::Unknown, .. }) => {
                "the store did not answer; the change may have been made, read before trying again".to_owned()
            }
            Self::Store(Error::Newer { .. }) => {
                "what is stored was written by a newer version of adit, and this server does not know all of it and \
                 leaves it as it is; update this server, and read before trying again"
                    .to_owned()
            }
            Self::Store(Error::Corrupt { .. }) => {
                "what is stored is damaged and is not used; put it anew, or restore a backup".to_owned()
            }
            Self::Store(_) => "the store cannot be used now; nothing was changed".to_owned(),
            Self::Internal(_) => "something unexpected; the server's log says what".to_owned(),
        };
        Problem {
            kind: format!("urn:adit:problem:{kind}"),
            status,
            title,
            problems,
            request_id,
        }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}
