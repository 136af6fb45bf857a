//! What a subscription counts. Each family is declared here once; labels come from closed lists.

use adit_runtime::metrics::{Family, Kind};

/// The families of a node with a control plane.
pub const FAMILIES: &[Family] = &[
    Family::new(
        "subscription_connected",
        "1 while a control plane is subscribed to; 0 means that changes of rules do not come",
        Kind::Gauge,
    ),
    Family::new(
        "subscription_contact_age_seconds",
        "Since a control plane was last heard, in seconds; beyond control.horizon an agent refuses everything",
        Kind::Gauge,
    ),
    Family::new(
        "subscription_connects_failed_total",
        "Tries to subscribe that failed; `status` has the last reasons",
        Kind::Counter,
    ),
    Family::new(
        "subscription_pushes_acked_total",
        "Pushes of a control plane that are in force",
        Kind::Counter,
    ),
    Family::new(
        "subscription_pushes_nacked_total",
        "Pushes of a control plane that were refused and changed nothing, by why",
        Kind::Counter,
    ),
    Family::new(
        "subscription_renewals_total",
        "Tries to renew the certificate, by outcome; `failed` alone ends in an outage",
        Kind::Counter,
    ),
    Family::new(
        "subscription_certificate_not_after_seconds",
        "When the certificate in use ends, in seconds since 1970; renewed at half of its life",
        Kind::Gauge,
    ),
    Family::new(
        "subscription_trusts_refused_total",
        "Trust of a control plane that this node cannot use; the one before goes on counting, `status` says why",
        Kind::Counter,
    ),
    Family::new(
        "subscription_trust_version",
        "Version of the trust in force: roots, signing keys, revoked certificates",
        Kind::Gauge,
    ),
];

pub(crate) fn connected(yes: bool) {
    metrics::gauge!("subscription_connected").set(f64::from(u8::from(yes)));
}

pub(crate) fn contact_age(seconds: u64) {
    metrics::gauge!("subscription_contact_age_seconds").set(as_gauge(seconds));
}

pub(crate) fn connect_failed() {
    metrics::counter!("subscription_connects_failed_total").increment(1);
}

pub(crate) fn acked() {
    metrics::counter!("subscription_pushes_acked_total").increment(1);
}

pub(crate) fn nacked(why: &'static str) {
    metrics::counter!("subscription_pushes_nacked_total", "why" => why).increment(1);
}

pub(crate) fn renewal(outcome: &'static str) {
    metrics::counter!("subscription_renewals_total", "outcome" => outcome).increment(1);
}

pub(crate) fn trust_refused() {
    metrics::counter!("subscription_trusts_refused_total").increment(1);
}

pub(crate) fn identity(until_unix_s: u64, trust_version: u64) {
    metrics::gauge!("subscription_certificate_not_after_seconds").set(as_gauge(until_unix_s));
    metrics::gauge!("subscription_trust_version").set(as_gauge(trust_version));
}

/// Exact up to 2^53.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a gauge is a float"
)]
fn as_gauge(number: u64) -> f64 {
    number as f64
}
