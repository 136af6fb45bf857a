//! A server from start to end: store, authority, door.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adit_authority::SealKey;
use adit_people::oidc::OidcSettings;
use adit_store::{Embedded, Etcd, EtcdOptions, Prefix, Store};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::acts::Acts;
use crate::backup::Generations;
use crate::book::Book;
use crate::door::{Door, GRACE, PeopleTrust};
use crate::hub::Hub;
use crate::life::Life;
use crate::members::Members;
use crate::metrics;
use crate::oidc::Oidc;
use crate::register::{CertificatePolicy, Register};
use crate::rest::Parts;
use crate::sender::Sender;
use crate::settings::{IssuerKeys, Seal, Settings, StoreSettings};
use crate::trouble::Trouble;

/// A running server.
pub struct Server {
    address: SocketAddr,
    pin: String,
    setup: Option<PathBuf>,
    generations: Generations,
    stop: watch::Sender<bool>,
    door: tokio::task::JoinHandle<()>,
}

/// Why a server did not start.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl Server {
    /// Opens everything. Works within a tokio runtime of several threads.
    ///
    /// # Errors
    /// What cannot be had, and how to mend it.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        metrics::describe();
        if let Some(address) = settings.metrics {
            metrics::serve(address)
                .map_err(|why| StartError(format!("server.metrics: {address}: {why}")))?;
        }
        make_folder(&settings.state).map_err(|error| at(&settings.state, error))?;
        let seal = seal_key(&settings.seal)?;
        let (whole, kind) = open_store(&settings).await?;
        let generations = Generations::open(whole)
            .await
            .map_err(|error| StartError(error.to_string()))?;
        let store = generations.store();
        let listener = TcpListener::bind(settings.listen)
            .await
            .map_err(|error| StartError(format!("server.listen: {}: {error}", settings.listen)))?;
        let address = listener
            .local_addr()
            .map_err(|error| StartError(error.to_string()))?;

        let acts = Acts::new(Arc::clone(&store));
        let life = Life::open(
            Arc::clone(&store),
            acts.clone(),
            seal,
            &settings.trust_domain,
            &settings.name,
        );
        let life = Arc::new(life.await.map_err(trouble)?);
        let roots = settings.state.join("ca.pem");
        write_file(&roots, life.roots_pem().as_bytes(), 0o644)?;
        let policy = CertificatePolicy {
            life_s: settings.certificate_life.as_secs(),
            renew_expired_s: settings.renew_expired.as_secs(),
        };
        let book = Arc::new(Book::new(
            Arc::clone(&store),
            acts.clone(),
            Arc::clone(&life),
        ));
        let register = Arc::new(Register::new(
            Arc::clone(&store),
            acts.clone(),
            Arc::clone(&life),
            policy,
        ));
        let oidc = match settings.oidc {
            None => None,
            Some((oidc, keys)) => Some(Arc::new(issuer(oidc, keys)?)),
        };
        let asking = oidc
            .clone()
            .map(|oidc| tokio::spawn(async move { oidc.keep().await }));
        let members = Arc::new(Members::new(Arc::clone(&store), acts.clone(), oidc));
        let hub = Hub::new(
            Arc::clone(&store),
            acts.clone(),
            Arc::clone(&book),
            Arc::clone(&register),
            Arc::clone(&life),
            settings.name.clone(),
        );
        let setup = match members.setup_token(&settings.name).await.map_err(trouble)? {
            None => {
                // Of no use to anybody any more; it may never have been there.
                let _ = std::fs::remove_file(settings.state.join("setup-token"));
                None
            }
            Some(token) => {
                let path = settings.state.join("setup-token");
                write_file(&path, format!("{token}\n").as_bytes(), 0o600)?;
                Some(path)
            }
        };
        let pin = life.pin();
        let keeping = tokio::spawn(keep_roots(Arc::clone(&life), settings.state.join("ca.pem")));
        let parts = Arc::new(Parts {
            name: settings.name.clone(),
            store_kind: kind,
            store,
            generations: generations.clone(),
            acts,
            book,
            register,
            members,
            hub: Arc::clone(&hub),
            life: Arc::clone(&life),
        });
        let people = match &settings.people {
            None => None,
            Some((file, field)) => {
                let pem = std::fs::read(file).map_err(|error| at(file, error))?;
                let trust = PeopleTrust::read(&pem, *field).map_err(|why| {
                    let file = file.display();
                    StartError(format!("people.certificates.ca_file: {file}: {why}"))
                })?;
                Some(trust)
            }
        };
        for sink in &settings.sinks {
            sink.check()
                .map_err(|why| StartError(format!("acts.{why}")))?;
        }
        let sender = Sender::new(
            Arc::clone(&parts.store),
            parts.acts.clone(),
            settings.sinks,
            settings.name.clone(),
            &settings.trust_domain,
        );
        let door =
            Door::new(&settings.name, &settings.names, people, life, parts).map_err(trouble)?;
        let (stop, stopped) = watch::channel(false);
        tracing::info!(%address, store = kind, name = settings.name, pin, "server up");
        let clearing = generations.clone();
        let running = tokio::spawn(async move {
            if let Err(error) = clearing.clear_others().await {
                tracing::warn!(%error, "what an earlier generation left is still there; tried again at the next start");
            }
            let following = tokio::spawn(Arc::clone(&hub).run());
            let sending = tokio::spawn(sender.run(stopped.clone()));
            let farewell = {
                let (hub, mut stopped) = (Arc::clone(&hub), stopped.clone());
                tokio::spawn(async move {
                    let _ = stopped.changed().await;
                    hub.farewell();
                })
            };
            door.serve(listener, stopped).await;
            following.abort();
            keeping.abort();
            if let Some(asking) = asking {
                asking.abort();
                let _ = asking.await;
            }
            let _ = (
                following.await,
                keeping.await,
                farewell.await,
                sending.await,
            );
            let _ = tokio::time::timeout(GRACE, hub.withdraw()).await;
        });
        Ok(Self {
            address,
            pin,
            setup,
            generations,
            stop,
            door: running,
        })
    }

    /// Where it listens; the real port where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// SHA-256 of its root's public key: by it people and nodes know their control plane.
    #[must_use]
    pub fn pin(&self) -> &str {
        &self.pin
    }

    /// Where the one-time setup token is, while there is no user.
    #[must_use]
    pub fn setup_token_file(&self) -> Option<&Path> {
        self.setup.as_deref()
    }

    /// Returns when a backup was put in place of everything: start again.
    pub async fn replaced(&self) {
        self.generations.replaced().await;
    }

    /// Ends it: no new connections, a moment for what is under way.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.door.await;
        tracing::info!("server down");
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Writes the roots anew whenever the authority changes: whoever logs in after a roll-over is given this file.
async fn keep_roots(life: Arc<Life>, path: PathBuf) {
    let mut news = life.news();
    while news.changed().await.is_ok() {
        if let Err(error) = write_file(&path, life.roots_pem().as_bytes(), 0o644) {
            tracing::error!(%error, "the roots could not be written");
        }
    }
}

fn issuer(oidc: OidcSettings, keys: IssuerKeys) -> Result<Oidc, StartError> {
    match keys {
        IssuerKeys::File(file) => {
            let place = file.display().to_string();
            Oidc::of_file(oidc, file)
                .map_err(|why| StartError(format!("oidc.keys: {place}: {why}")))
        }
        IssuerKeys::Published { roots } => {
            let read = |path: PathBuf| std::fs::read(&path).map_err(|error| at(&path, error));
            let roots = roots.map(read).transpose()?;
            Oidc::of_issuer(oidc, roots.as_deref())
                .map_err(|why| StartError(format!("oidc: {why}")))
        }
    }
}

async fn open_store(settings: &Settings) -> Result<(Arc<dyn Store>, &'static str), StartError> {
    match &settings.store {
        StoreSettings::Embedded => {
            let store = Embedded::open(&settings.state.join("store"))
                .await
                .map_err(|error| StartError(error.to_string()))?;
            Ok((Arc::new(store), "embedded"))
        }
        StoreSettings::Etcd {
            endpoints,
            roots,
            identity,
            prefix,
        } => {
            let read = |path: &PathBuf| std::fs::read(path).map_err(|error| at(path, error));
            let root = Prefix::new(prefix.clone())
                .map_err(|error| StartError(format!("store.prefix: {error}")))?;
            let mut options = EtcdOptions::new(endpoints.clone()).with_root(root);
            if let Some(roots) = roots {
                options = options.with_roots(read(roots)?);
            }
            if let Some((certificate, key)) = identity {
                options = options.with_identity(read(certificate)?, read(key)?);
            }
            let store = Etcd::new(&options).map_err(|error| StartError(error.to_string()))?;
            Ok((Arc::new(store), "etcd"))
        }
    }
}

fn seal_key(seal: &Seal) -> Result<SealKey, StartError> {
    match seal {
        Seal::PassphraseFile(path) => {
            let words = read_secret(path)?;
            let words = String::from_utf8(words)
                .map_err(|error| StartError(format!("{}: {error}", path.display())))?;
            let words = words.trim_end_matches(['\r', '\n']).to_owned();
            Ok(SealKey::passphrase(words))
        }
        Seal::KeyFile { path, make } => {
            if *make && !path.exists() {
                let mut key = [0_u8; 32];
                SystemRandom::new()
                    .fill(&mut key)
                    .map_err(|_nothing_to_tell| {
                        StartError("the system gives no random numbers".to_owned())
                    })?;
                write_file(path, &key, 0o600)?;
            }
            let bytes = read_secret(path)?;
            let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_length| {
                StartError(format!(
                    "{}: has {} bytes, and a seal's key is 32 random ones: head -c 32 /dev/urandom > FILE",
                    path.display(),
                    bytes.len()
                ))
            })?;
            Ok(SealKey::from_bytes(key))
        }
    }
}

fn read_secret(path: &Path) -> Result<Vec<u8>, StartError> {
    let metadata = std::fs::metadata(path).map_err(|error| at(path, error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(StartError(format!(
            "{}: mode {mode:04o} lets others read this secret; run `chmod 600`, and change it if they did",
            path.display()
        )));
    }
    std::fs::read(path).map_err(|error| at(path, error))
}

fn make_folder(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    sync_names(folder)
}

/// Writes a file so that a reader sees the old bytes or the new ones.
fn write_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StartError> {
    // What is there already needs no room, on a disk that may have none.
    if std::fs::read(path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    let new = path.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(&new, error)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)
        .map_err(|error| at(&new, error))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|error| at(&new, error))?;
    std::fs::rename(&new, path).map_err(|error| at(path, error))?;
    // A seal's key that a power failure takes away takes with it all that was sealed since.
    sync_names(path).map_err(|error| at(path, error))
}

/// Returns when the name of `path` would survive a crash.
fn sync_names(path: &Path) -> std::io::Result<()> {
    match folder_of_name(path) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// The folder in which the name of `path` stands; the root stands in none.
fn folder_of_name(path: &Path) -> Option<&Path> {
    let folder = path.parent()?;
    // Of a name alone the folder is the one that we are in, which no text says.
    let is_said = !folder.as_os_str().is_empty();
    Some(if is_said { folder } else { Path::new(".") })
}

fn at(path: &Path, error: std::io::Error) -> StartError {
    StartError(format!("{}: {error}", path.display()))
}

fn trouble(trouble: Trouble) -> StartError {
    if let Trouble::Internal(why) = trouble {
        return StartError(why);
    }
    if let Trouble::Store(error) = trouble {
        return StartError(error.to_string());
    }
    StartError(trouble.into_problem(String::new()).title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_in_a_folder_that_can_be_opened_also_where_it_is_said_without_one() {
        for (path, folder) in [
            ("adit-server", Some(".")),
            ("adit-server/seal.key", Some("adit-server")),
            ("/adit-server", Some("/")),
            ("/", None),
        ] {
            assert_eq!(folder_of_name(Path::new(path)), folder.map(Path::new));
        }
        sync_names(Path::new("adit-server")).unwrap();
    }
}
