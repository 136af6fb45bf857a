//! What the server counts.

use adit_api::NodeRole;
use metrics::{counter, gauge};

/// Says what each metric means, once.
pub(crate) fn describe() {
    metrics::describe_gauge!(
        "control_nodes_connected",
        "Nodes that are connected to this server, by role"
    );
    metrics::describe_counter!(
        "control_pushes_total",
        "Rule documents that were sent to an agent"
    );
    metrics::describe_counter!(
        "control_acks_total",
        "Rule documents that an agent put in force"
    );
    metrics::describe_counter!(
        "control_nacks_total",
        "Rule documents that an agent refused; a rise wants a look at `adit nodes list`"
    );
    metrics::describe_counter!(
        "control_documents_damaged_total",
        "Rule documents that were not sent because the store's copy does not match its signature; a rise wants a restore"
    );
    metrics::describe_counter!(
        "control_identity_used_twice_total",
        "Connections refused because another process has the same identity; a rise means a copied machine or a stolen key"
    );
    metrics::describe_counter!(
        "control_requests_total",
        "Requests of people and programs, by status class"
    );
    metrics::describe_counter!(
        "control_logins_refused_total",
        "Logins with a wrong name or password; a rise means guessing"
    );
}

pub(crate) fn connected(role: NodeRole, count: usize) {
    let role = match role {
        NodeRole::Agent => "agent",
        NodeRole::Gateway => "gateway",
    };
    gauge!("control_nodes_connected", "role" => role)
        .set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

pub(crate) fn pushed() {
    counter!("control_pushes_total").increment(1);
}

pub(crate) fn acked() {
    counter!("control_acks_total").increment(1);
}

pub(crate) fn nacked() {
    counter!("control_nacks_total").increment(1);
}

pub(crate) fn document_damaged() {
    counter!("control_documents_damaged_total").increment(1);
}

pub(crate) fn identity_used_twice() {
    counter!("control_identity_used_twice_total").increment(1);
}

pub(crate) fn requested(status: u16) {
    let class = match status / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    counter!("control_requests_total", "status" => class).increment(1);
}

pub(crate) fn login_refused() {
    counter!("control_logins_refused_total").increment(1);
}

/// Lets Prometheus read, plain HTTP.
pub(crate) fn serve(address: std::net::SocketAddr) -> Result<(), String> {
    metrics_exporter_prometheus::PrometheusBuilder::new()
        .with_http_listener(address)
        .install()
        .map_err(|error| error.to_string())
}
