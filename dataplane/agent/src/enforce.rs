//! The one place where a request meets the rules.
//!
//! One load of the snapshot answers one request; what the caller hears of a denial is a refusal of the
//! closed list, what the operator hears is the whole explanation.

use std::sync::Arc;

use adit_audit::Unrecorded;
use adit_manifest::Stamp;
use adit_policy::{DenialReason, Permit, Request, Snapshot};
use adit_proto::connect::Request as Connect;
use adit_proto::refusal::Refusal;
use adit_runtime::clock;

use crate::backend::trust::Trust;
use crate::shard::Shard;

/// The rules in force, and whom to trust at the backends they name.
#[derive(Debug)]
pub(crate) struct InForce {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) trust: Trust,
    /// As which version of whose life a signer gave it out; `None` for rules that came unsigned.
    pub(crate) stamp: Option<Stamp>,
}

/// Judges what `connect` asks for on behalf of its caller.
///
/// # Errors
/// The refusal to answer with.
pub(crate) fn judge(
    shard: &Shard,
    connect: &Connect<'_>,
    request: &Request<'_>,
) -> Result<(Permit, Arc<InForce>), Refusal> {
    let control = shard.shared.control.as_ref();
    if control.is_some_and(|control| control.is_beyond_horizon(clock::recent())) {
        return Err(Refusal::RulesStale);
    }
    let Some(in_force) = shard.shared.in_force.load_full() else {
        return Err(Refusal::NoSnapshot);
    };
    match in_force.snapshot.decide(request) {
        Ok(permit) => {
            let recorded = shard.shared.decisions.granted(connect, request, &permit);
            recorded.map_err(|Unrecorded| Refusal::AuditUnavailable)?;
            shard.counters.granted();
            Ok((permit, in_force))
        }
        Err(denial) => {
            let version = in_force.snapshot.version();
            shard.counters.denied(denial.reason());
            shard
                .shared
                .decisions
                .denied(connect, request, &denial, version);
            tracing::debug!(
                id = %connect.id, caller = ?connect.caller, request = %request, version, why = %denial, "denied"
            );
            Err(refusal(denial.reason()))
        }
    }
}

/// What the caller hears of a denial.
fn refusal(reason: DenialReason) -> Refusal {
    match reason {
        DenialReason::SystemUnknown => Refusal::SystemUnknown,
        DenialReason::PortDenied => Refusal::PortDenied,
        // A path that is switched off and a system of another kind are exposed, but not so.
        DenialReason::ResourceDenied | DenialReason::Suspended | DenialReason::ProtocolMismatch => {
            Refusal::ResourceDenied
        }
        DenialReason::MethodDenied => Refusal::MethodDenied,
        DenialReason::UpgradeDenied => Refusal::UpgradeDenied,
        DenialReason::PathAmbiguous => Refusal::PathAmbiguous,
        DenialReason::HostMalformed => Refusal::HostMalformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_denial_is_a_4xx_that_names_no_rule() {
        for reason in DenialReason::ALL {
            assert!(
                (400..500).contains(&refusal(reason).http_status()),
                "{reason}"
            );
        }
    }
}
