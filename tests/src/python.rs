//! A WebSocket peer that nobody here wrote: Debian's python3-websockets.

use std::net::SocketAddr;
use std::process::Command;

use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::{SOON, until_some};

/// A running echo server at `/chat`; it closes with code 4001 when told `bye`.
#[derive(Debug)]
pub struct WebSocketServer {
    address: SocketAddr,
    _process: Process,
    _scratch: Scratch,
}

impl WebSocketServer {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Self {
        let scratch = Scratch::new();
        let script = scratch.write("server.py", SCRIPT);
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg(scratch.path("port"));
        let mut process = Process::start(
            "python3 websockets",
            &mut command,
            &scratch.path("python.log"),
        );
        let address = until_some("the WebSocket server tells its port", SOON, || {
            process.must_run();
            let port = std::fs::read_to_string(scratch.path("port")).ok()?;
            format!("127.0.0.1:{}", port.strip_suffix('\n')?)
                .parse()
                .ok()
        });
        Self {
            address,
            _process: process,
            _scratch: scratch,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

const SCRIPT: &str = r#"
import asyncio, sys, websockets

async def chat(connection, *path):
    async for message in connection:
        if message == "bye":
            await connection.close(4001, "as you wish")
            return
        await connection.send(message)

async def main():
    server = await websockets.serve(chat, "127.0.0.1", 0, max_size=None, ping_interval=None)
    with open(sys.argv[1], "w") as told:
        told.write("%d\n" % server.sockets[0].getsockname()[1])
    await asyncio.Future()

asyncio.run(main())
"#;

/// A WebSocket frame of a client: final, masked (RFC 6455, section 5.2).
///
/// # Panics
/// When the payload is larger than 64 KiB.
#[must_use]
pub fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(short) if short < 126 => frame.push(0x80 | short),
        _ => {
            frame.push(0x80 | 126);
            let length = u16::try_from(payload.len()).expect("frames of tests are small");
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}
