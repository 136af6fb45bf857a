//! What can be done in the control plane, and the one table of who may do it.
//!
//! Each door and each command names one of these verbs. Where somebody may do it is judged in `authorize`;
//! docs/roles.md shows the same table and a test compares them.

use core::fmt;

use crate::role::Role::{self, Administrator, Auditor, Operator, Viewer};

/// Where a verb can be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed by nature")]
pub enum Reach {
    /// In one subaccount, or in all.
    Subaccount,
    /// Only in all: it touches what belongs to no subaccount.
    Global,
}

macro_rules! verbs {
    ($($verb:ident $word:literal $reach:ident [$($role:ident)*] $what:literal)*) => {
        /// Something that can be done. The word is its name in audit records and refusals.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(clippy::exhaustive_enums, reason = "closed: who adds a verb says who may do it")]
        pub enum Verb {
            $(#[doc = $what] $verb,)*
        }

        impl Verb {
            /// Every verb, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$verb),*];

            /// Its name in audit records and refusals.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$verb => $word,)* }
            }

            /// Where it can be granted.
            #[must_use]
            pub const fn reach(self) -> Reach {
                match self { $(Self::$verb => Reach::$reach,)* }
            }

            /// Who may do it, where their role counts.
            #[must_use]
            pub const fn roles(self) -> &'static [Role] {
                match self { $(Self::$verb => &[$($role),*],)* }
            }

            /// What it covers, one line.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Self::$verb => $what,)* }
            }
        }
    };
}

// Viewer has neither `rules-plan` nor `nodes-ask`: a plan names callers of recorded decisions, `explain` and `why` tell
// who asked for what; and both put work on a server or a node. Operator has no `audit-read`: the records also watch the
// operator, and hold who called what; to find out why one request was denied `nodes-ask` is enough.
verbs! {
    RulesRead        "rules-read"        Subaccount [Administrator Operator Auditor Viewer] "rules, their versions and their history"
    RulesPlan        "rules-plan"        Subaccount [Administrator Operator Auditor]        "what a change would do, also to recorded callers; suggestions"
    RulesApply       "rules-apply"       Subaccount [Administrator Operator]                "put rules into force: apply, canary, promote, abandon, roll back"
    NodesRead        "nodes-read"        Subaccount [Administrator Operator Auditor Viewer] "nodes, what they run, invitations without their tokens"
    NodesInvite      "nodes-invite"      Subaccount [Administrator Operator]                "invite a node, withdraw an invitation"
    NodesRevoke      "nodes-revoke"      Subaccount [Administrator Operator]                "revoke a node's certificate, remove the node"
    NodesAsk         "nodes-ask"         Subaccount [Administrator Operator Auditor]        "ask a live node: status, explain, why"
    AuditRead        "audit-read"        Subaccount [Administrator Auditor]                 "recorded decisions and administrative acts: query, verify, export"
    UsersRead        "users-read"        Subaccount [Administrator Auditor]                 "users whose grants all lie here, their API tokens without the secret"
    UsersWrite       "users-write"       Subaccount [Administrator]                         "make, change, disable and remove such users, end their logins and tokens"
    SubaccountsRead  "subaccounts-read"  Subaccount [Administrator Operator Auditor Viewer] "subaccounts and their settings"
    SubaccountsWrite "subaccounts-write" Global     [Administrator]                         "make and remove subaccounts, change their settings"
    AuthorityRead    "authority-read"    Global     [Administrator Auditor]                 "roots, signing keys' public halves, and until when they count"
    AuthorityRoll    "authority-roll"    Global     [Administrator]                         "change the root or the signing key"
    BackupCreate     "backup-create"     Global     [Administrator]                         "write a backup, which holds everything"
    BackupRestore    "backup-restore"    Global     [Administrator]                         "put a backup in place of everything"
    ServerStatus     "server-status"     Global     [Administrator Operator Auditor Viewer] "how the servers and their store are"
}

impl Verb {
    /// Whether `role` may do it, where the role counts.
    #[must_use]
    pub fn is_for(self, role: Role) -> bool {
        self.roles().contains(&role)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The table of roles and verbs, as it stands in docs/roles.md.
#[must_use]
pub fn table() -> String {
    let mut text = String::from("| verb | where | ");
    let heads: Vec<&str> = Role::ALL.into_iter().map(Role::word).collect();
    text.push_str(&heads.join(" | "));
    text.push_str(" | covers |\n|---|---|---|---|---|---|---|\n");
    for verb in Verb::ALL {
        let reach = match verb.reach() {
            Reach::Subaccount => "subaccount",
            Reach::Global => "global",
        };
        let marks = Role::ALL.map(|role| if verb.is_for(role) { "yes" } else { "" });
        text.push_str(&format!(
            "| `{verb}` | {reach} | {} | {} |\n",
            marks.join(" | "),
            verb.what()
        ));
    }
    text
}
