//! Records sealed and opened in place, in a row of slots.

use std::hint::black_box;

use adit_tls::{Opened, RECORD_OVERHEAD, Records};

use super::RECORDS;
use crate::case::Work;
use crate::papers;

struct Seal {
    records: Records,
    slots: Vec<Vec<u8>>,
    control: Vec<u8>,
}

/// Seals what lies in the slots.
pub(super) fn seal(bytes: usize) -> Box<dyn Work> {
    let (agent, _) = papers::shaken();
    Box::new(Seal {
        records: agent.records,
        slots: slots(bytes),
        control: Vec::new(),
    })
}

impl Work for Seal {
    fn prepare(&mut self) {
        // A key lasts for four million records and criterion makes more; nobody reads them here.
        self.control.clear();
        self.records
            .maintenance(&mut self.control)
            .expect("rustls derives a key");
    }

    fn run(&mut self) {
        for slot in &mut self.slots {
            self.records.seal(slot).expect("the key is fresh");
            black_box(slot);
        }
    }
}

struct Open {
    near: Records,
    far: Records,
    slots: Vec<Vec<u8>>,
}

/// Opens what the other end has sealed before.
pub(super) fn open(bytes: usize) -> Box<dyn Work> {
    let (agent, gateway) = papers::shaken();
    Box::new(Open {
        near: agent.records,
        far: gateway.records,
        slots: slots(bytes),
    })
}

impl Work for Open {
    fn prepare(&mut self) {
        let mut control = Vec::new();
        self.near
            .maintenance(&mut control)
            .expect("rustls derives a key");
        if !control.is_empty() {
            let told = self.far.open(&mut control);
            assert!(matches!(told, Ok(Opened::Handled { .. })), "a key update");
        }
        for slot in &mut self.slots {
            self.near.seal(slot).expect("the key is fresh");
        }
    }

    fn run(&mut self) {
        for slot in &mut self.slots {
            match self.far.open(slot) {
                Ok(Opened::Data { plaintext, .. }) => {
                    black_box(slot.get(plaintext));
                }
                other => unreachable!("a sealed record opens: {other:?}"),
            }
        }
    }
}

fn slots(bytes: usize) -> Vec<Vec<u8>> {
    (0..RECORDS)
        .map(|_| vec![0x5a; bytes + RECORD_OVERHEAD])
        .collect()
}
