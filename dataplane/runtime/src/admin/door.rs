//! The sockets of the admin endpoint and the connections on them.
//!
//! Opens them before the node starts, so that a taken port is told in time; accepts, limits and times out. What is
//! answered is `routes`' business.

use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::routes::Answers;
use super::{
    CONNECTION_GRACE, CONNECTION_LIFE, CONNECTIONS_MAX, HEAD_BUFFER_BYTES, HEAD_BYTES_MAX,
    HEAD_FIELDS_MAX, HEAD_TIMEOUT, Node, Settings,
};

/// The open sockets of an admin endpoint. Dropping them, or the future of [`serve`](Self::serve), closes them and
/// removes the socket file.
#[derive(Debug)]
pub struct Doors {
    tcp: Option<std::net::TcpListener>,
    unix: Option<UnixDoor>,
}

impl Doors {
    /// Opens what the settings name. From now on connections queue; they are answered by [`serve`](Self::serve).
    ///
    /// # Errors
    /// When an address is taken or not to be had; the message says which and how to mend it.
    pub fn open(settings: &Settings) -> Result<Self, OpenError> {
        Ok(Self {
            tcp: settings.listen.map(open_tcp).transpose()?,
            unix: settings.socket.as_deref().map(UnixDoor::open).transpose()?,
        })
    }

    /// The TCP address listened on, with the port the system chose when port 0 was asked for.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.local_addr().ok()
    }

    /// The unix socket listened on.
    pub fn socket(&self) -> Option<&Path> {
        self.unix.as_ref().map(|door| door.file.path.as_path())
    }

    /// Answers requests for `node` until the future is dropped. Runs inside a tokio runtime.
    ///
    /// # Errors
    /// When the runtime cannot take over the sockets; it has no descriptors left.
    pub async fn serve(self, node: Arc<dyn Node>) -> io::Result<()> {
        let answers = Arc::new(Answers::new(node));
        let tcp = self.tcp.map(TcpListener::from_std).transpose()?;
        let (unix, _file) = match self.unix {
            Some(UnixDoor { listener, file }) => {
                (Some(UnixListener::from_std(listener)?), Some(file))
            }
            None => (None, None),
        };
        let public = async {
            if let Some(listener) = &tcp {
                let accept = || async { listener.accept().await.map(|(stream, _)| stream) };
                tend(accept, &answers, false).await;
            }
        };
        let trusted = async {
            if let Some(listener) = &unix {
                let accept = || async { listener.accept().await.map(|(stream, _)| stream) };
                tend(accept, &answers, true).await;
            }
        };
        tokio::join!(public, trusted);
        // A node without admin doors has nothing to answer, and nothing to end either.
        std::future::pending().await
    }
}

/// An admin socket cannot be opened.
#[derive(Debug)]
pub struct OpenError(String);

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for OpenError {}

#[derive(Debug)]
struct UnixDoor {
    listener: std::os::unix::net::UnixListener,
    file: SocketFile,
}

impl UnixDoor {
    fn open(path: &Path) -> Result<Self, OpenError> {
        let say = |what: String| OpenError(format!("admin.socket {}: {what}", path.display()));
        // Linux would bind 108 bytes without a closing NUL too, but most clients could not connect (unix(7)).
        if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(say(format!(
                "the path is too long for a unix socket; use at most {SOCKET_PATH_BYTES_MAX} bytes"
            )));
        }
        let address = SocketAddrUnix::new(path).map_err(|error| say(error.to_string()))?;
        remove_stale(path, &address).map_err(say)?;
        let failed = |error: Errno| {
            say(match error {
                Errno::NOENT => "its folder does not exist; create it".to_owned(),
                Errno::ACCESS | Errno::PERM | Errno::ROFS => format!(
                    "user {} may not create files in its folder",
                    rustix::process::geteuid().as_raw()
                ),
                error => error.to_string(),
            })
        };
        let socket = stream_socket().map_err(failed)?;
        rustix::net::bind(&socket, &address).map_err(failed)?;
        let file = SocketFile::of(path).map_err(|error| say(error.to_string()))?;
        // The mode is set between bind and listen: until then nobody can connect, whatever the umask let through.
        rustix::fs::chmod(path, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        rustix::net::listen(&socket, BACKLOG).map_err(failed)?;
        Ok(Self {
            listener: socket.into(),
            file,
        })
    }
}

/// The file of a unix socket; removed when dropped, unless another node has put its own in place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self {
            path: path.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if ours {
            // If it stays, the next start finds that nobody listens on it and removes it then.
            drop(fs::remove_file(&self.path));
        }
    }
}

fn open_tcp(address: SocketAddr) -> Result<std::net::TcpListener, OpenError> {
    let open = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    open().map_err(|error: io::Error| {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "io::ErrorKind is open; the rest is said in the system's own words"
        )]
        let what = match error.kind() {
            io::ErrorKind::AddrInUse => "another process listens there".to_owned(),
            io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need CAP_NET_BIND_SERVICE".to_owned()
            }
            _ => error.to_string(),
        };
        OpenError(format!("admin.listen {address}: {what}"))
    })
}

/// Removes what a killed node left at `path`; refuses when it is not a socket or somebody listens on it.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), String> {
    // Nothing there; what else may be wrong with the path is said by bind.
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err("there is a file that is no socket; move it away".to_owned());
    }
    // Not blocking: connecting to a live process with a full backlog would wait for it.
    let probe = stream_socket().map_err(|error| error.to_string())?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path)
            .map_err(|error| format!("a stale socket is in the way and stays: {error}")),
        Err(Errno::NOENT) => Ok(()),
        Ok(()) | Err(Errno::AGAIN) => {
            Err("another process listens there; stop it or choose another path".to_owned())
        }
        Err(error) => Err(format!(
            "there is a socket that may be in use ({error}); remove it if it is not"
        )),
    }
}

fn stream_socket() -> Result<rustix::fd::OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Accepts and serves for ever, at most [`CONNECTIONS_MAX`] connections at once.
async fn tend<S, A, F>(accept: A, answers: &Arc<Answers>, trusted: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn() -> F,
    F: Future<Output = io::Result<S>>,
{
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let seat = Arc::clone(&seats)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        match accept().await {
            Ok(stream) => {
                let answers = Arc::clone(answers);
                connections.spawn(async move {
                    serve_connection(stream, &answers, trusted).await;
                    drop(seat);
                });
            }
            Err(error) => {
                tracing::warn!(%error, trusted, "admin door cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

pub(super) async fn serve_connection<S>(stream: S, answers: &Answers, trusted: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service =
        service_fn(
            |request| async move { Ok::<_, Infallible>(answers.answer(request, trusted).await) },
        );
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEAD_FIELDS_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(HEAD_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // How a connection ended is its peer's affair.
    if let Ok(ended) = tokio::time::timeout(CONNECTION_LIFE, connection.as_mut()).await {
        drop(ended);
        return;
    }
    connection.as_mut().graceful_shutdown();
    drop(tokio::time::timeout(CONNECTION_GRACE, connection).await);
}

/// `sun_path` without its closing NUL.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Connections the kernel holds for us while all seats are taken.
const BACKLOG: i32 = 128;

/// How long a door rests when the system has no descriptor for its next connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
