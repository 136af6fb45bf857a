//! What the gateway counts. Each family is declared here once; labels come from closed lists.

use std::cell::RefCell;
use std::collections::HashMap;

use adit_proto::refusal::Refusal;
use adit_runtime::metrics::{Family, Kind};
use foldhash::fast::RandomState;
use metrics::{Counter, Gauge, Histogram};

/// The gateway's families.
pub const FAMILIES: &[Family] = &[
    Family::new(
        "gateway_requests_total",
        "HTTP requests read by the HTTP door, answered or refused; its rate is the load of the door",
        Kind::Counter,
    ),
    Family::new(
        "gateway_responses_total",
        "Responses of backends passed to applications, by status class; a rise of 5xx is the backends' trouble",
        Kind::Counter,
    ),
    Family::new(
        "gateway_refused_total",
        "Requests answered by adit itself, by reason; a rise tells which rule, token or agent to look at",
        Kind::Counter,
    ),
    Family::new(
        "gateway_smuggling_rejected_total",
        "Requests whose framing could be read in two ways, by class; a rise is an attack or a broken client",
        Kind::Counter,
    ),
    Family::new(
        "gateway_opaque_total",
        "TCP conversations opened, by door",
        Kind::Counter,
    ),
    Family::new(
        "gateway_connections",
        "Application connections open now, by door",
        Kind::Gauge,
    ),
    Family::new(
        "gateway_connections_shed_total",
        "Application connections closed at once because the shard was full; raise connections_max or add gateways",
        Kind::Counter,
    ),
    Family::new(
        "gateway_moved_total",
        "Connections and tunnels moved between shards; a rise beside few tunnels means agents open too few",
        Kind::Counter,
    ),
    Family::new(
        "gateway_retried_total",
        "Requests sent again on another tunnel because the first was lost; a rise means tunnels die under load",
        Kind::Counter,
    ),
    Family::new("gateway_tunnels", "Tunnels up now", Kind::Gauge),
    Family::new(
        "gateway_tunnels_opened_total",
        "Tunnels that agents opened; a steady rise means they do not stay up",
        Kind::Counter,
    ),
    Family::new(
        "gateway_tunnels_ended_total",
        "Tunnels that ended, by how",
        Kind::Counter,
    ),
    Family::new(
        "gateway_tunnels_failed_total",
        "Connections to the tunnel door that became no tunnel; a rise is a wrong certificate or a stranger",
        Kind::Counter,
    ),
    Family::new(
        "gateway_first_byte_seconds",
        "From a request's head to its response's head, backend included",
        Kind::Histogram,
    ),
    Family::new(
        "gateway_accept_trouble_total",
        "Failures of accept for want of descriptors or memory; new connections wait meanwhile",
        Kind::Counter,
    ),
];

/// Handles of one shard, made once, so that counting is one addition.
pub(crate) struct Counters {
    pub(crate) requests: Counter,
    pub(crate) first_byte: Histogram,
    pub(crate) shed: Counter,
    pub(crate) moved: Counter,
    pub(crate) retried: Counter,
    pub(crate) tunnels: Gauge,
    pub(crate) tunnels_opened: Counter,
    pub(crate) tunnels_failed: Counter,
    pub(crate) accept_trouble: Counter,
    pub(crate) http_connections: Gauge,
    pub(crate) socks_connections: Gauge,
    classes: [Counter; 5],
    refused: RefCell<HashMap<Refusal, Counter, RandomState>>,
}

impl Counters {
    pub(crate) fn new() -> Self {
        let class =
            |class: &'static str| metrics::counter!("gateway_responses_total", "class" => class);
        Self {
            requests: metrics::counter!("gateway_requests_total"),
            first_byte: metrics::histogram!("gateway_first_byte_seconds"),
            shed: metrics::counter!("gateway_connections_shed_total"),
            moved: metrics::counter!("gateway_moved_total"),
            retried: metrics::counter!("gateway_retried_total"),
            tunnels: metrics::gauge!("gateway_tunnels"),
            tunnels_opened: metrics::counter!("gateway_tunnels_opened_total"),
            tunnels_failed: metrics::counter!("gateway_tunnels_failed_total"),
            accept_trouble: metrics::counter!("gateway_accept_trouble_total"),
            http_connections: metrics::gauge!("gateway_connections", "door" => "http"),
            socks_connections: metrics::gauge!("gateway_connections", "door" => "socks5"),
            classes: [
                class("1xx"),
                class("2xx"),
                class("3xx"),
                class("4xx"),
                class("5xx"),
            ],
            refused: RefCell::default(),
        }
    }

    pub(crate) fn responded(&self, status: u16) {
        if let Some(counter) = self
            .classes
            .get(usize::from(status / 100).saturating_sub(1))
        {
            counter.increment(1);
        }
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        self.refused
            .borrow_mut()
            .entry(refusal)
            .or_insert_with(
                || metrics::counter!("gateway_refused_total", "reason" => refusal.reason()),
            )
            .increment(1);
    }

    pub(crate) fn opaque(door: &'static str) {
        metrics::counter!("gateway_opaque_total", "door" => door).increment(1);
    }

    pub(crate) fn smuggling(class: &'static str) {
        metrics::counter!("gateway_smuggling_rejected_total", "class" => class).increment(1);
    }

    pub(crate) fn tunnel_ended(reason: &'static str) {
        metrics::counter!("gateway_tunnels_ended_total", "how" => reason).increment(1);
    }
}
