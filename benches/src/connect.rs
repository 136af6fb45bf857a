//! The connect request, the first words on a stream: written by the gateway, read by the agent.

use std::hint::black_box;

use adit_proto::connect::{Protocol, Request, RequestId};

use crate::case::{Case, UNITS, units};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "connect/encode",
            "a connect request without principal written",
            UNITS,
            || {
                let mut out = Vec::new();
                units(move || {
                    out.clear();
                    black_box(REQUEST)
                        .encode(&mut out)
                        .expect("its parts are sound");
                    black_box(&out);
                })
            },
        ),
        Case::new(
            "connect/decode",
            "a connect request without principal read",
            UNITS,
            || {
                let mut bytes = Vec::new();
                REQUEST.encode(&mut bytes).expect("its parts are sound");
                units(move || {
                    black_box(Request::decode(black_box(&bytes)))
                        .expect("it is sound")
                        .expect("it is whole");
                })
            },
        ),
    ]
}

const REQUEST: Request<'static> = Request {
    protocol: Protocol::Http,
    host: "erp.virtual",
    port: 80,
    subaccount: "2f5c1a60-3c1e-4d0e-9c55-7a8e3b1f0d42",
    caller: "sb-orders!b1234|connectivity!b17",
    principal: None,
    id: RequestId([0x5a; 16]),
};
