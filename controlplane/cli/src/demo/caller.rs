//! The cloud application of the demo: it speaks to the gateway's doors as any client would.
//!
//! HTTP in absolute form with a bearer token, SOCKS5 with the token as password. What answers mean
//! is left to `story`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, PROXY_AUTHORIZATION};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// How long one conversation may take: longer than the agent's 5 s for connecting to a backend.
const WITHIN: Duration = Duration::from_secs(10);

/// Largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// An answer of the HTTP door.
#[derive(Debug)]
pub(super) struct HttpAnswer {
    pub(super) status: StatusCode,
    /// The field `adit-refusal`: why there was no answer from a backend.
    pub(super) refusal: Option<String>,
    pub(super) body: String,
    pub(super) took: Duration,
}

/// `GET url` through the HTTP door.
pub(super) async fn get(door: SocketAddr, url: &str, token: Option<&str>) -> Result<HttpAnswer> {
    timed(http(door, url, token)).await
}

/// Connects to `host:port` through the SOCKS5 door, reads a line, sends `line` and reads one back.
pub(super) async fn talk(
    door: SocketAddr,
    host: &str,
    port: u16,
    token: &str,
    line: &str,
) -> Result<[String; 2]> {
    timed(socks(door, host, port, token, line)).await
}

async fn timed<T>(conversation: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(WITHIN, conversation)
        .await
        .map_err(|_elapsed| anyhow!("nothing came within {} s", WITHIN.as_secs()))?
}

async fn http(door: SocketAddr, url: &str, token: Option<&str>) -> Result<HttpAnswer> {
    let uri: Uri = url.parse().context("the URL")?;
    let host = uri.host().context("the URL names a host")?.to_owned();
    // In absolute form, as RFC 9112, section 3.2.2 wants it from a proxy's client.
    let mut request = Request::get(uri).header(HOST, host);
    if let Some(token) = token {
        request = request.header(PROXY_AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new())?;

    let began = Instant::now();
    let stream = TcpStream::connect(door).await.context("the HTTP door")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the sender; what it has to say comes with the answer.
    tokio::spawn(async move { connection.await.unwrap_or_default() });
    let answer = sender
        .send_request(request)
        .await
        .context("the HTTP door")?;
    let status = answer.status();
    let refusal = answer
        .headers()
        .get("adit-refusal")
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| anyhow!(error).context("the answer's body"))?
        .to_bytes();
    Ok(HttpAnswer {
        status,
        refusal,
        body: String::from_utf8_lossy(&body).trim_end().to_owned(),
        took: began.elapsed(),
    })
}

async fn socks(
    door: SocketAddr,
    host: &str,
    port: u16,
    token: &str,
    line: &str,
) -> Result<[String; 2]> {
    let length = |text: &str, what: &str| {
        u8::try_from(text.len()).with_context(|| format!("{what} has more than 255 bytes"))
    };
    let mut stream = TcpStream::connect(door).await.context("the SOCKS5 door")?;

    // RFC 1928, section 3: version 5, one method, user name and password.
    stream.write_all(&[5, 1, 2]).await?;
    let method = read(&mut stream, "the method").await?;
    ensure!(
        method == [5, 2],
        "the SOCKS5 door wants no password: {method:02x?}"
    );

    // RFC 1929, section 2: the user name is the location, and the default location has none.
    let mut login = vec![1, 0, length(token, "the token")?];
    login.extend_from_slice(token.as_bytes());
    stream.write_all(&login).await?;
    let [_, status] = read(&mut stream, "the answer to the token").await?;
    ensure!(status == 0, "the SOCKS5 door refused the token: {status}");

    // RFC 1928, section 4: connect, by name.
    let mut request = vec![5, 1, 0, 3, length(host, "the host")?];
    request.extend_from_slice(host.as_bytes());
    request.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&request).await?;
    let [_, reply, _, kind] = read(&mut stream, "the reply").await?;
    ensure!(reply == 0, "the SOCKS5 door refused: {}", said(reply));
    let address = match kind {
        1 => 4,
        3 => usize::from(stream.read_u8().await?),
        4 => 16,
        other => bail!("the SOCKS5 door replied with address type {other}"),
    };
    stream.read_exact(&mut vec![0; address + 2]).await?;

    let mut stream = BufReader::new(stream.take(64 * 1024));
    let mut greeting = String::new();
    stream
        .read_line(&mut greeting)
        .await
        .context("the greeting")?;
    let sent = format!("{line}\r\n");
    stream
        .get_mut()
        .get_mut()
        .write_all(sent.as_bytes())
        .await
        .context("the line")?;
    let mut echoed = String::new();
    stream
        .read_line(&mut echoed)
        .await
        .context("the line's echo")?;
    Ok([greeting, echoed].map(|line| line.trim_end().to_owned()))
}

async fn read<const N: usize>(stream: &mut TcpStream, what: &str) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    stream
        .read_exact(&mut bytes)
        .await
        .with_context(|| format!("{what} of the SOCKS5 door"))?;
    Ok(bytes)
}

/// RFC 1928, section 6, as the gateway uses it.
fn said(reply: u8) -> String {
    let meaning = match reply {
        1 => "general failure",
        2 => "not allowed by the rules",
        3 => "no agent is connected",
        4 => "the backend cannot be reached",
        5 => "the token was refused",
        7 => "command not supported",
        8 => "address type not supported",
        _ => "unknown",
    };
    format!("{reply} ({meaning})")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_request_goes_out_in_absolute_form_with_its_token() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = listener.local_addr().unwrap();
        let (answer, head) = tokio::join!(
            get(door, "http://erp.virtual/orders/1", Some("a.b.c")),
            async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let answer = "HTTP/1.1 403 Forbidden\r\nadit-refusal: resource-denied; id=0a\r\n\
                              content-length: 3\r\n\r\nno\n";
                stream.write_all(answer.as_bytes()).await.unwrap();
                String::from_utf8(head).unwrap().to_ascii_lowercase()
            }
        );
        assert!(
            head.starts_with("get http://erp.virtual/orders/1 http/1.1\r\n"),
            "{head}"
        );
        assert!(head.contains("\r\nhost: erp.virtual\r\n"), "{head}");
        assert!(
            head.contains("\r\nproxy-authorization: bearer a.b.c\r\n"),
            "{head}"
        );
        let answer = answer.unwrap();
        assert_eq!(answer.status, 403);
        assert_eq!(answer.refusal.as_deref(), Some("resource-denied; id=0a"));
        assert_eq!(answer.body, "no");
    }

    /// Plays the door's part of a SOCKS5 conversation byte by byte, then a backend that echoes.
    async fn door(listener: TcpListener, login: u8, reply: u8) {
        let (mut stream, _) = listener.accept().await.unwrap();
        async fn expect(stream: &mut TcpStream, bytes: &[u8]) {
            let mut read = vec![0; bytes.len()];
            stream.read_exact(&mut read).await.unwrap();
            assert_eq!(read, bytes);
        }
        expect(&mut stream, &[5, 1, 2]).await;
        stream.write_all(&[5, 2]).await.unwrap();
        expect(&mut stream, b"\x01\x00\x05a.b.c").await;
        stream.write_all(&[1, login]).await.unwrap();
        if login != 0 {
            return;
        }
        expect(&mut stream, b"\x05\x01\x00\x03\x0cecho.virtual\x00\x07").await;
        stream
            .write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        if reply == 0 {
            stream.write_all(b"220 hello\r\n").await.unwrap();
            expect(&mut stream, b"ping\r\n").await;
            stream.write_all(b"ping\r\n").await.unwrap();
        }
    }

    async fn converse(login: u8, reply: u8) -> Result<[String; 2]> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, ()) = tokio::join!(
            talk(address, "echo.virtual", 7, "a.b.c", "ping"),
            door(listener, login, reply)
        );
        told
    }

    #[tokio::test]
    async fn a_line_goes_through_the_socks5_door_and_comes_back() {
        let lines = converse(0, 0).await.unwrap();
        assert_eq!(lines, ["220 hello", "ping"]);
    }

    #[tokio::test]
    async fn refusals_of_the_socks5_door_are_told_in_words() {
        let error = converse(1, 0).await.unwrap_err().to_string();
        assert!(error.contains("refused the token"), "{error}");
        let error = converse(0, 2).await.unwrap_err().to_string();
        assert!(error.contains("2 (not allowed by the rules)"), "{error}");
    }
}
