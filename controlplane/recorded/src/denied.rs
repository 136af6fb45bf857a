//! Recorded requests that were denied often, and what they would have needed. No rule is made of them.

use adit_policy::{DenialReason, Table};

use crate::ledger::Ledger;

/// A request that was denied, how often, and what would have granted it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wanted {
    /// The request.
    pub request: String,
    /// How often it was denied.
    pub count: u64,
    /// The reason that was recorded.
    pub reason: String,
    /// What it would have needed, for a person.
    pub needs: String,
}

/// The recorded requests that were denied `often` times or more and still are by `rules`, the most frequent first.
#[must_use]
pub fn wanted(rules: &Table, ledger: &Ledger, often: u64) -> Vec<Wanted> {
    let mut list: Vec<Wanted> = ledger
        .denied()
        .filter(|(_, count)| *count >= often)
        .filter_map(|(asked, count)| {
            let reason = asked.ground.to_string();
            let word = match asked.request(asked.upgrade) {
                Some(request) => match rules.decide(&request.as_request()) {
                    // An upgrade may have been asked for; then the rules may still deny it.
                    Ok(_) if reason == DenialReason::UpgradeDenied.word() => reason.clone(),
                    Ok(_) => return None,
                    Err(denial) => denial.reason().word().to_owned(),
                },
                None => reason.clone(),
            };
            Some(Wanted {
                request: asked.told(),
                count,
                needs: needs(&word, &asked.system),
                reason,
            })
        })
        .collect();
    list.sort_by(|a, b| {
        b.count
            .cmp(&a.count)
            .then_with(|| a.request.cmp(&b.request))
    });
    list
}

fn needs(reason: &str, system: &str) -> String {
    let reason = DenialReason::ALL
        .into_iter()
        .find(|known| known.word() == reason);
    match reason {
        Some(DenialReason::SystemUnknown) => format!("a system with virtual = \"{system}\""),
        Some(DenialReason::PortDenied) => format!("the port of \"{system}\" on its system"),
        Some(DenialReason::ProtocolMismatch) => "a system of the other protocol".to_owned(),
        Some(DenialReason::ResourceDenied) => "a resource that reaches the path".to_owned(),
        Some(DenialReason::MethodDenied) => "the method on the resource".to_owned(),
        Some(DenialReason::UpgradeDenied) => "upgrade = true on the resource".to_owned(),
        Some(DenialReason::Suspended) => "active = true on the resource".to_owned(),
        Some(DenialReason::PathAmbiguous | DenialReason::HostMalformed) => {
            "nothing that a rule can give: the caller has to ask otherwise".to_owned()
        }
        None => "see the reason".to_owned(),
    }
}
