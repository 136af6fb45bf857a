//! Audit: a decision put into bytes, as a shard does, and chained, as the writer does.

use std::hint::black_box;

use adit_audit::{Chain, Decision, Digest, Outcome, Record, Text, write_body};

use crate::case::{Case, UNITS, units};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "audit/append",
            "a decision appended to the chain",
            UNITS,
            || {
                let mut chain = Chain::new(Digest::ZERO);
                let mut out = Vec::new();
                units(move || {
                    out.clear();
                    chain.append(black_box(&decision()), &mut out);
                    black_box(&out);
                })
            },
        ),
        Case::new(
            "audit/body",
            "a decision put into bytes, on the shard",
            UNITS,
            || {
                let mut out = Vec::new();
                units(move || {
                    out.clear();
                    write_body(black_box(&decision()), &mut out);
                    black_box(&out);
                })
            },
        ),
        Case::new(
            "audit/chain",
            "its bytes chained and hashed, by the writer",
            UNITS,
            || {
                let mut body = Vec::new();
                write_body(&decision(), &mut body);
                let mut chain = Chain::new(Digest::ZERO);
                let mut out = Vec::new();
                units(move || {
                    out.clear();
                    chain.append_body(black_box(&body), &mut out);
                    black_box(&out);
                })
            },
        ),
    ]
}

fn decision() -> Record<'static> {
    Record::Decision(Decision {
        unix_ms: 1_800_000_000_000,
        request: Text::of("5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"),
        subaccount: Text::of("2f5c1a60-3c1e-4d0e-9c55-7a8e3b1f0d42"),
        caller: Text::of("sb-orders!b1234|connectivity!b17"),
        system: Text::of("erp.virtual:80"),
        method: Some(Text::of("GET")),
        path: Some(Text::of(
            "/sap/opu/odata/sap/API_SALES_ORDER_SRV/A_SalesOrder('4711')",
        )),
        upgrade: false,
        outcome: Outcome::Allowed {
            rule: Text::of("/sap/opu/odata/sap/API_SALES_ORDER_SRV"),
        },
        version: 7,
    })
}
