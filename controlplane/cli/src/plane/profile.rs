//! Which control plane, and as whom: flags and their environment first, then what `adit login` left.
//!
//! The profile is one file with mode 0600. A token of a profile goes to nobody but servers that prove themselves by the
//! profile's own roots.

use std::fmt;
use std::path::PathBuf;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::certificate::ClientCertificate;
use super::client::{Plane, ServerUrl};
use super::shown::{now_unix_s, when};
use super::{Trust, prompt};
use crate::ending::Failure;
use crate::safe_file::{self, Readers};

/// Which control plane to ask, where that is not the one of `adit login`.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(skip)]
pub(crate) struct Connect {
    /// A server of the control plane, https://HOST:PORT; several are tried in turn [default: that of `adit login`]
    #[arg(
        long,
        value_name = "URL",
        env = "ADIT_SERVER",
        value_delimiter = ',',
        help_heading = "Control plane"
    )]
    server: Vec<ServerUrl>,
    /// The roots that its certificate has to come from, PEM [default: those of `adit login`]
    #[arg(
        long,
        value_name = "FILE",
        env = "ADIT_ROOT",
        help_heading = "Control plane"
    )]
    root: Option<PathBuf>,
    /// A file with a token, as `adit tokens new` writes it, instead of a login
    #[arg(
        long,
        value_name = "FILE",
        env = "ADIT_TOKEN_FILE",
        help_heading = "Control plane"
    )]
    token_file: Option<PathBuf>,
    /// Your client certificate, PEM, instead of a login or a token
    #[arg(
        long,
        value_name = "FILE",
        env = "ADIT_CERTIFICATE_FILE",
        requires = "key_file",
        help_heading = "Control plane"
    )]
    certificate_file: Option<PathBuf>,
    /// Its private key, PEM, mode 0600
    #[arg(
        long,
        value_name = "FILE",
        env = "ADIT_KEY_FILE",
        requires = "certificate_file",
        help_heading = "Control plane"
    )]
    key_file: Option<PathBuf>,
}

/// What `adit login` leaves behind.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Profile {
    pub(crate) urls: Vec<ServerUrl>,
    /// PEM.
    pub(crate) roots: String,
    pub(crate) trust_domain: String,
    #[serde(flatten)]
    pub(crate) proof: Proof,
    pub(crate) user: String,
    pub(crate) expires_unix_s: u64,
}

/// By what its owner is known.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Proof {
    /// By the login itself.
    Token { token: String },
    /// By a certificate; it may be renewed where it is.
    Certificate {
        certificate_file: PathBuf,
        key_file: PathBuf,
    },
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Connect {
    /// The control plane, as somebody.
    ///
    /// # Errors
    /// It is not known which, whom to trust, or who asks.
    pub(crate) fn open(&self) -> Result<Plane, Failure> {
        let profile = Profile::read()?;
        let given = self.root.as_ref().map(|root| {
            std::fs::read_to_string(root)
                .map(|pem| (root.display().to_string(), pem))
                .map_err(|error| Failure::config(format!("{}: {error}", root.display())))
        });
        let given = given.transpose()?;
        // Whoever names other roots means another control plane, which must never see this one's token.
        let profile = profile.filter(|profile| {
            given
                .as_ref()
                .is_none_or(|(_, pem)| pem.trim() == profile.roots.trim())
        });
        let urls = if self.server.is_empty() {
            let urls = profile.as_ref().map(|profile| profile.urls.clone());
            urls.ok_or_else(nobody)?
        } else {
            self.server.clone()
        };
        let trust = match (&given, &profile) {
            (Some((place, pem)), _) => Trust::roots(place, pem)?,
            (None, Some(profile)) => Trust::roots(&Profile::place()?, &profile.roots)?,
            (None, None) => {
                return Err(Failure::usage(
                    "whom to trust is not known: add --root FILE with the ca.pem of the control plane, or `adit login`",
                ));
            }
        };
        let domain = profile
            .as_ref()
            .map(|profile| profile.trust_domain.as_str());
        let given = self.certificate_file.as_ref().zip(self.key_file.as_ref());
        let proof = match (&self.token_file, given, &profile) {
            (Some(_), Some(_), _) => {
                return Err(Failure::usage(
                    "both a token and a certificate say who you are: leave out --token-file (ADIT_TOKEN_FILE), or \
                     --certificate-file and --key-file (ADIT_CERTIFICATE_FILE, ADIT_KEY_FILE)",
                ));
            }
            (Some(file), None, _) => Proof::Token {
                token: prompt::secret(file)?,
            },
            (None, Some((certificate, key)), _) => Proof::Certificate {
                certificate_file: certificate.clone(),
                key_file: key.clone(),
            },
            (None, None, Some(profile)) => profile.live_proof()?,
            (None, None, None) => return Err(nobody()),
        };
        match proof {
            Proof::Token { token } => Ok(Plane::new(urls, &trust, domain, None)?.with_token(token)),
            Proof::Certificate {
                certificate_file,
                key_file,
            } => {
                let certificate = ClientCertificate::read(&certificate_file, &key_file)?;
                Plane::new(urls, &trust, domain, Some(certificate))
            }
        }
    }

    /// Whether a login is used, and nothing that was given beside it.
    pub(crate) fn is_login(&self) -> bool {
        self.token_file.is_none() && self.certificate_file.is_none()
    }
}

impl Profile {
    /// The profile, if there is one.
    pub(crate) fn read() -> Result<Option<Self>, Failure> {
        let path = path()?;
        if !path.exists() {
            return Ok(None);
        }
        let text = safe_file::read_secret(&path)?;
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Failure::config(format!(
                "{}: {error}; remove it and log in again",
                path.display()
            ))
        })
    }

    /// Keeps it for the commands to come.
    pub(crate) fn write(&self) -> Result<PathBuf, Failure> {
        let path = path()?;
        if let Some(folder) = path.parent() {
            safe_file::make_folder(folder)?;
        }
        let text = serde_json::to_string_pretty(self).context("the profile")?;
        safe_file::replace(&path, text.as_bytes(), Readers::Owner)?;
        Ok(path)
    }

    /// Forgets it.
    pub(crate) fn remove() -> Result<(), Failure> {
        let path = path()?;
        std::fs::remove_file(&path)
            .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
    }

    /// Where it is, for messages.
    pub(crate) fn place() -> Result<String, Failure> {
        Ok(path()?.display().to_string())
    }

    /// A certificate's end is looked for in its file.
    fn live_proof(&self) -> Result<Proof, Failure> {
        if let Proof::Token { .. } = self.proof
            && self.expires_unix_s <= now_unix_s()
        {
            return Err(Failure::failed(format!(
                "the login of {} ended at {}; log in again: adit login {}",
                self.user,
                when(self.expires_unix_s),
                listed(&self.urls)
            )));
        }
        Ok(self.proof.clone())
    }
}

fn listed(urls: &[ServerUrl]) -> String {
    let urls: Vec<_> = urls.iter().map(ToString::to_string).collect();
    urls.join(" ")
}

fn nobody() -> Failure {
    Failure::failed(
        "nobody is logged in; `adit login https://HOST:PORT --root FILE`, or for a program --server, --root and \
         --token-file, or --certificate-file and --key-file (ADIT_SERVER, ADIT_ROOT, ADIT_TOKEN_FILE, \
         ADIT_CERTIFICATE_FILE, ADIT_KEY_FILE)",
    )
}

/// `plane.json` in `ADIT_CONFIG_DIR`, else in `~/.config/adit`.
fn path() -> Result<PathBuf, Failure> {
    let folder = match std::env::var_os("ADIT_CONFIG_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => {
            let home = std::env::var_os("HOME").ok_or_else(|| {
                Failure::failed("neither ADIT_CONFIG_DIR nor HOME is set, so there is no profile")
            })?;
            PathBuf::from(home).join(".config/adit")
        }
    };
    Ok(folder.join("plane.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(proof: &str) -> Result<Profile, serde_json::Error> {
        serde_json::from_str(&format!(
            r#"{{"urls":["https://cp1:7420"],"roots":"","trust_domain":"adit.local",{proof}"user":"ada","expires_unix_s":1}}"#
        ))
    }

    #[test]
    fn a_profile_holds_a_token_or_says_where_a_certificate_is() {
        let of_token = profile(r#""token":"adit_s_x","#).unwrap();
        assert!(matches!(&of_token.proof, Proof::Token { token } if token == "adit_s_x"));
        assert!(of_token.live_proof().is_err(), "it ended in 1970");
        let of_files = r#""certificate_file":"/a/cert.pem","key_file":"/a/key.pem","#;
        let of_files = profile(of_files).unwrap();
        assert!(of_files.live_proof().is_ok(), "its file tells when it ends");
        for profile in [of_token, of_files] {
            let text = serde_json::to_string(&profile).unwrap();
            let back: Profile = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&back).unwrap(), text);
        }
        for proof in ["", r#""certificate_file":"/a/cert.pem","#] {
            assert!(profile(proof).is_err(), "{proof}");
        }
    }
}
