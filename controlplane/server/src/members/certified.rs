//! People who show a certificate: the user whom it names, as the register has them now.
//!
//! That the certificate is of the people's authority was proved by the handshake. Nothing of it is stored.

use adit_people::certificate::PersonCertificate;

use super::{Members, bearers::Known};
use crate::clock;
use crate::metrics;
use crate::trouble::Trouble;

impl Members {
    /// Who a certificate is of.
    pub(crate) async fn certified(&self, person: &PersonCertificate) -> Result<Known, Trouble> {
        let now = clock::unix_s();
        // A connection may be older than that.
        if person.has_ended(now) {
            return Err(refused(person, "ended"));
        }
        let user = self.user(&person.user).await?;
        let principal = user.and_then(|(user, _)| person.principal(&user, now));
        Ok(Known {
            principal: principal.ok_or_else(|| refused(person, "unknown-user"))?,
            bearer: None,
        })
    }
}

fn refused(person: &PersonCertificate, why: &'static str) -> Trouble {
    metrics::certificate_refused(why);
    let PersonCertificate {
        user, fingerprint, ..
    } = person;
    tracing::info!(%user, fingerprint, why, "a person's certificate was refused");
    Trouble::Unauthenticated(match why {
        "ended" => "the certificate has ended; connect anew with the next one",
        _ => {
            "this certificate names nobody who may come by certificate; an administrator makes users for that: adit users \
             add NAME --certificate"
        }
    })
}
