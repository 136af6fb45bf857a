//! rustls's buffered connections: `writer` and `write_tls`, `read_tls` and `reader`.

use std::hint::black_box;
use std::io::{BufRead, Write};

use rustls::{ClientConnection, ServerConnection};

use super::RECORDS;
use crate::case::Work;
use crate::papers::Papers;

struct Seal {
    client: ClientConnection,
    plaintexts: Vec<Vec<u8>>,
}

/// One record at a time, as ours.
pub(super) fn seal(bytes: usize) -> Box<dyn Work> {
    let (client, _) = Papers::new().baseline();
    Box::new(Seal {
        client,
        plaintexts: plaintexts(bytes),
    })
}

impl Work for Seal {
    fn run(&mut self) {
        for plaintext in &self.plaintexts {
            write(&mut self.client, plaintext, &mut std::io::sink());
        }
    }
}

struct Open {
    client: ClientConnection,
    server: ServerConnection,
    plaintexts: Vec<Vec<u8>>,
    wire: Vec<u8>,
}

/// Opens what the other end has sealed before.
pub(super) fn open(bytes: usize) -> Box<dyn Work> {
    let (client, server) = Papers::new().baseline();
    Box::new(Open {
        client,
        server,
        plaintexts: plaintexts(bytes),
        wire: Vec::new(),
    })
}

impl Work for Open {
    fn prepare(&mut self) {
        self.wire.clear();
        for plaintext in &self.plaintexts {
            write(&mut self.client, plaintext, &mut self.wire);
        }
    }

    fn run(&mut self) {
        let mut rest = self.wire.as_slice();
        let mut opened = 0;
        while !rest.is_empty() {
            self.server
                .read_tls(&mut rest)
                .expect("a slice can be read");
            let state = self.server.process_new_packets().expect("an honest peer");
            let mut left = state.plaintext_bytes_to_read();
            opened += left;
            let mut reader = self.server.reader();
            while left > 0 {
                let bytes = black_box(reader.fill_buf().expect("plaintext is there")).len();
                reader.consume(bytes);
                left -= bytes;
            }
        }
        let sealed: usize = self.plaintexts.iter().map(Vec::len).sum();
        assert_eq!(opened, sealed, "all was opened");
    }
}

fn write(client: &mut ClientConnection, plaintext: &[u8], wire: &mut dyn Write) {
    client
        .writer()
        .write_all(plaintext)
        .expect("rustls buffers a record");
    while client.wants_write() {
        client.write_tls(wire).expect("memory takes all");
    }
}

fn plaintexts(bytes: usize) -> Vec<Vec<u8>> {
    (0..RECORDS).map(|_| vec![0x5a; bytes]).collect()
}
