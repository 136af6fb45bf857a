//! What the server counts. Each family is declared here once; labels come from closed lists.

use adit_api::NodeRole;

/// A family of metrics.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a line of the table below")]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What a rise of it means.
    pub help: &'static str,
    /// Whether it may fall; all others only grow.
    pub is_gauge: bool,
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        help,
        is_gauge: false,
    }
}

/// The families of a server, each declared here once.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "control_nodes_connected",
        help: "Nodes that are connected to this server, by role",
        is_gauge: true,
    },
    counter(
        "control_pushes_total",
        "Rule documents that were sent to an agent",
    ),
    counter(
        "control_acks_total",
        "Rule documents that an agent put in force",
    ),
    counter(
        "control_nacks_total",
        "Rule documents that an agent refused; a rise wants a look at `adit nodes list`",
    ),
    counter(
        "control_documents_damaged_total",
        "Rule documents that were not sent because the store's copy does not match its signature; a rise wants a restore",
    ),
    counter(
        "control_identity_used_twice_total",
        "Connections refused because another process has the same identity; a rise means a copied machine or a stolen key",
    ),
    counter(
        "control_requests_total",
        "Requests of people, programs and nodes, by status class",
    ),
    counter(
        "control_logins_refused_total",
        "Logins with a wrong name or password; a rise means guessing",
    ),
    counter(
        "control_certificates_refused_total",
        "Client certificates of nodes and people that did not count, by why; a rise means ended certificates, or a stranger",
    ),
    counter(
        "control_issuer_keys_fetched_total",
        "Times the identity provider's keys were fetched from it; no rise for half an hour wants a look at the next",
    ),
    counter(
        "control_issuer_keys_failed_total",
        "Fetches of the identity provider's keys that failed, by why; a rise means that its people are locked out within a day",
    ),
];

/// Says what each metric means, once.
pub(crate) fn describe() {
    for family in FAMILIES {
        if family.is_gauge {
            metrics::describe_gauge!(family.name, family.help);
        } else {
            metrics::describe_counter!(family.name, family.help);
        }
    }
}

pub(crate) fn connected(role: NodeRole, count: usize) {
    let role = match role {
        NodeRole::Agent => "agent",
        NodeRole::Gateway => "gateway",
    };
    metrics::gauge!("control_nodes_connected", "role" => role)
        .set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

pub(crate) fn pushed() {
    metrics::counter!("control_pushes_total").increment(1);
}

pub(crate) fn acked() {
    metrics::counter!("control_acks_total").increment(1);
}

pub(crate) fn nacked() {
    metrics::counter!("control_nacks_total").increment(1);
}

pub(crate) fn document_damaged() {
    metrics::counter!("control_documents_damaged_total").increment(1);
}

pub(crate) fn identity_used_twice() {
    metrics::counter!("control_identity_used_twice_total").increment(1);
}

pub(crate) fn requested(status: u16) {
    let class = match status / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    metrics::counter!("control_requests_total", "status" => class).increment(1);
}

pub(crate) fn login_refused() {
    metrics::counter!("control_logins_refused_total").increment(1);
}

pub(crate) fn certificate_refused(why: &'static str) {
    metrics::counter!("control_certificates_refused_total", "why" => why).increment(1);
}

pub(crate) fn issuer_keys_fetched() {
    metrics::counter!("control_issuer_keys_fetched_total").increment(1);
}

pub(crate) fn issuer_keys_failed(why: &'static str) {
    metrics::counter!("control_issuer_keys_failed_total", "why" => why).increment(1);
}

/// Lets Prometheus read, plain HTTP.
pub(crate) fn serve(address: std::net::SocketAddr) -> Result<(), String> {
    metrics_exporter_prometheus::PrometheusBuilder::new()
        .with_http_listener(address)
        .install()
        .map_err(|error| error.to_string())
}
