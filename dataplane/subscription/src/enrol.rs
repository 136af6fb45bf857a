//! How a node becomes one: an invitation and a key made here, for a certificate and whom to trust.
//!
//! The server is known by the invitation's pin. Nothing is trusted because it was there first.

use std::path::PathBuf;

use adit_proto::control::{self, Enrol, Enrolled, Trust};
use adit_runtime::clock;
use adit_tls::{Role, RoleName};
use adit_transport::proxy::Proxy;
use hyper::StatusCode;

use crate::connection::Connection;
use crate::folder::{Folder, Store};
use crate::identity::Identity;
use crate::invitation::Invitation;
use crate::keys::Fresh;
use crate::settings::ControlUrl;

/// What a configuration says about enrolling.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "roles write all of it")]
pub struct Enrolment {
    /// What the certificate must make of us.
    pub role: RoleName,
    /// The folder of the identity.
    pub folder: PathBuf,
    /// The way out, if not direct.
    pub proxy: Option<Proxy>,
    /// The location in the configuration, if it names one.
    pub location: Option<String>,
    /// Name and version of the program.
    pub software: String,
    /// Whether the role can start with a trust; if not, why.
    pub usable: fn(&Trust) -> Result<(), String>,
}

impl Enrolment {
    /// Whether there is room for an identity: none is there, or one that has expired.
    ///
    /// # Errors
    /// Who is there already, or what is wrong with its files.
    pub fn check_free(&self) -> Result<(), String> {
        self.check(&Store::new(Folder::look(&self.folder)))
    }

    fn check(&self, store: &Store<Folder>) -> Result<(), String> {
        match store.load().map_err(|why| self.place(&why))? {
            Some(present) if !present.has_expired(clock::unix_now()) => Err(self.place(&format!(
                "is {} already, and renews itself; start without --enrol, or move the folder away to become another node",
                present.id()
            ))),
            Some(_) | None => Ok(()),
        }
    }

    fn place(&self, why: &str) -> String {
        format!("identity {}: {why}", self.folder.display())
    }
}

/// Gets an identity from the control plane at `url` and stores it. Blocks, on a runtime of its own; for a program that
/// has not started yet.
///
/// # Errors
/// Why there is none, and what to do. What there was is as it was.
pub fn enrol(
    enrolment: &Enrolment,
    url: &str,
    invitation: &Invitation,
) -> Result<Identity, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(enrol_here(enrolment, url, invitation))
}

pub(crate) async fn enrol_here(
    enrolment: &Enrolment,
    url: &str,
    invitation: &Invitation,
) -> Result<Identity, String> {
    let url = ControlUrl::parse(url)?;
    let store = Store::new(Folder::claim(&enrolment.folder)?);
    enrolment.check(&store)?;
    let tls = adit_tls::pinned_client(invitation.pin()).map_err(|error| error.to_string())?;
    let connection = Connection::dial(&url, enrolment.proxy.as_ref(), tls)
        .await
        .map_err(|failed| format!("{url}: {failed}"))?;
    let fresh = Fresh::draw()?;
    // Before it is asked for: a certificate without its key would be an invitation wasted.
    store
        .keep_key(&fresh.key_pem)
        .map_err(|error| enrolment.place(&error.to_string()))?;
    let asked = Enrol {
        token: invitation.text().to_owned(),
        csr: fresh.csr,
        software: enrolment.software.clone(),
    };
    let enrolled: Enrolled = connection
        .asker()
        .ask(
            control::ENROL,
            control::to_json(&asked),
            StatusCode::CREATED,
        )
        .await
        .map_err(|failed| format!("{url}: {failed}"))?;
    let identity = Identity::new(
        &fresh.key_pem,
        &enrolled.certificate,
        &enrolled.location,
        enrolled.trust,
    )
    .map_err(|why| format!("{url}: what the control plane sent is no identity: {why}"))?
    .due_at(enrolled.renew_unix_s);
    check(enrolment, &identity)?;
    (enrolment.usable)(identity.trust()).map_err(|why| {
        format!("{url}: this program cannot use what the control plane trusts: {why}")
    })?;
    store
        .save(&identity)
        .and_then(|()| store.keep_contact(clock::unix_now()))
        .map_err(|error| enrolment.place(&error.to_string()))?;
    Ok(identity)
}

fn check(enrolment: &Enrolment, identity: &Identity) -> Result<(), String> {
    let made = identity.id().role_name();
    if made != enrolment.role {
        return Err(format!(
            "the invitation is for a {made}, this is a {}; ask for another one",
            enrolment.role
        ));
    }
    if let Some(location) = &enrolment.location
        && matches!(identity.id().role, Role::Agent { .. })
        && location != identity.location()
    {
        return Err(format!(
            "the invitation is for the location `{}`, agent.location is `{location}`; delete that key or correct it",
            identity.location()
        ));
    }
    Ok(())
}
