//! SOCKS5 by hand, from the client's side (RFC 1928, RFC 1929 and SAP's method 0x80).

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::net;

/// A conversation through the door: the token as RFC 1929 password, the target by name.
///
/// # Errors
/// When the door says no, `Other` with `method`, `token` or `reply` and the code.
pub fn connect(door: SocketAddr, token: &str, host: &str, port: u16) -> io::Result<TcpStream> {
    let mut stream = net::connect(door)?;
    stream.write_all(&[5, 1, 2])?;
    expect(&mut stream, [5, 2], "method")?;
    let mut login = vec![1, 0, length(token)?];
    login.extend(token.as_bytes());
    stream.write_all(&login)?;
    expect(&mut stream, [1, 0], "token")?;
    stream.write_all(&request(host, port)?)?;
    match reply(&mut stream)? {
        0 => Ok(stream),
        code => Err(io::Error::other(format!("reply {code}"))),
    }
}

/// SAP's way: method 0x80 with a token and a location. Gives back the reply code and the stream.
///
/// # Errors
/// When the door does not speak it, or refuses the token: `Other` with `method` or `token` and the code.
pub fn connect_jwt(
    door: SocketAddr,
    token: &str,
    location: &str,
    host: &str,
    port: u16,
) -> io::Result<(u8, TcpStream)> {
    let mut stream = ask_jwt(door, token, location, host, port)?;
    Ok((reply(&mut stream)?, stream))
}

/// The same, without waiting for the reply.
///
/// # Errors
/// As [`connect_jwt`].
pub fn ask_jwt(
    door: SocketAddr,
    token: &str,
    location: &str,
    host: &str,
    port: u16,
) -> io::Result<TcpStream> {
    let mut stream = net::connect(door)?;
    stream.write_all(&[5, 1, 0x80])?;
    expect(&mut stream, [5, 0x80], "method")?;
    stream.write_all(&jwt(token, location))?;
    expect(&mut stream, [1, 0], "token")?;
    stream.write_all(&request(host, port)?)?;
    Ok(stream)
}

/// `01 | len32 | JWT | len8 | base64(location)`.
///
/// # Panics
/// When one of them is longer than its length field can say.
#[must_use]
pub fn jwt(token: &str, location: &str) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend(
        u32::try_from(token.len())
            .expect("a token fits")
            .to_be_bytes(),
    );
    bytes.extend(token.as_bytes());
    let location = BASE64_STANDARD.encode(location);
    bytes.push(u8::try_from(location.len()).expect("a location fits"));
    bytes.extend(location.as_bytes());
    bytes
}

/// CONNECT to a name.
///
/// # Errors
/// When the name is longer than 255 bytes.
pub fn request(host: &str, port: u16) -> io::Result<Vec<u8>> {
    let mut bytes = vec![5, 1, 0, 3, length(host)?];
    bytes.extend(host.as_bytes());
    bytes.extend(port.to_be_bytes());
    Ok(bytes)
}

/// Reads a reply whole and gives back its code.
///
/// # Errors
/// When it does not come or is malformed.
pub fn reply(stream: &mut TcpStream) -> io::Result<u8> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let [version, code, reserved, kind] = head;
    if version != 5 || reserved != 0 {
        return Err(io::Error::other(format!("reply {head:02x?}")));
    }
    let address = match kind {
        1 => 4,
        4 => 16,
        3 => {
            let mut length = [0];
            stream.read_exact(&mut length)?;
            usize::from(length[0])
        }
        _ => return Err(io::Error::other(format!("address type {kind}"))),
    };
    let mut rest = vec![0; address + 2];
    stream.read_exact(&mut rest)?;
    Ok(code)
}

fn expect(stream: &mut TcpStream, wanted: [u8; 2], what: &str) -> io::Result<()> {
    let mut answer = [0; 2];
    stream.read_exact(&mut answer)?;
    if answer == wanted {
        Ok(())
    } else {
        Err(io::Error::other(format!("{what} {}", answer[1])))
    }
}

fn length(text: &str) -> io::Result<u8> {
    u8::try_from(text.len()).map_err(io::Error::other)
}
