//! A certificate for the next one: at half of its life, tried for ever, also after its end.

use std::time::Duration;

use adit_proto::control::{self, Enrolled, Renew};
use adit_runtime::clock;
use adit_transport::backoff::Backoff;
use hyper::StatusCode;

use crate::connection::Connection;
use crate::identity::Identity;
use crate::keys::{self, Fresh};
use crate::limits::LOOK_EVERY;
use crate::metrics;
use crate::run::Subscription;
use crate::subscriber::{Change, Subscriber};

/// Renews for ever.
pub(crate) async fn keep_renewed(subscription: &Subscription, subscriber: &dyn Subscriber) {
    let mut backoff = Backoff::new(subscription.pace.retry_cap, fastrand::u64(..));
    let mut turn = 0_usize;
    let mut warned = None;
    loop {
        let identity = subscription.identity();
        let now = clock::unix_now();
        metrics::identity(identity.leaf().until_unix_s, identity.trust().version);
        if identity.is_nearly_over(now) && warned.as_ref() != Some(&identity.leaf().serial) {
            // Once for each certificate: `status` and the gauge go on to tell it.
            warned = Some(identity.leaf().serial.clone());
            tracing::warn!(
                until_unix = identity.leaf().until_unix_s,
                "less than a third of the certificate's life is left and it is not renewed; see `failures` in the status"
            );
        }
        if now < identity.renew_unix_s() {
            let until = Duration::from_secs(identity.renew_unix_s() - now);
            // The wall clock may be set meanwhile, or the machine sleep.
            tokio::time::sleep(until.min(LOOK_EVERY)).await;
            continue;
        }
        match renew(subscription, subscriber, &identity, turn).await {
            Ok(()) => {
                metrics::renewal("ok");
                backoff.succeeded();
                // A certificate that is due when it comes is no reason to ask without end.
                tokio::time::sleep(RENEWED_REST).await;
            }
            Err(why) => {
                metrics::renewal("failed");
                subscription.note(subscriber, &format!("renewal: {why}"));
                turn = turn.wrapping_add(1);
                tokio::time::sleep(backoff.next_wait()).await;
            }
        }
    }
}

async fn renew(
    subscription: &Subscription,
    subscriber: &dyn Subscriber,
    identity: &Identity,
    turn: usize,
) -> Result<(), String> {
    let url = subscription.url(turn);
    let fresh = Fresh::draw()?;
    let has_expired = identity.has_expired(clock::unix_now());
    let expired = has_expired
        .then(|| keys::prove(identity.key_pem(), identity.chain_pem(), &fresh.csr))
        .transpose()?;
    let own = (!has_expired).then(|| identity.credentials());
    let tls = adit_tls::control_client(own, &identity.id().trust_domain, identity.roots())
        .map_err(|error| error.to_string())?;
    let connection = Connection::dial(url, subscription.proxy.as_ref(), tls)
        .await
        .map_err(|failed| format!("{url}: {failed}"))?;
    // Before it is asked for, as when enrolling.
    let key = fresh.key_pem.clone();
    subscription
        .on_disk(move |store| store.keep_key(&key))
        .await?;
    let asked = Renew {
        csr: fresh.csr,
        expired,
    };
    let answer: Enrolled = connection
        .asker()
        .ask(
            control::RENEW,
            control::to_json(&asked),
            StatusCode::CREATED,
        )
        .await
        .map_err(|failed| format!("{url}: {failed}"))?;
    let _turn = subscription.changing.lock().await;
    // It may have changed while we asked.
    let current = subscription.identity();
    // A trust that we cannot use is no reason to go without a certificate.
    let newer = (answer.trust.version > current.trust().version)
        .then(|| subscription.usable(subscriber, &current, answer.trust))
        .flatten();
    let trust = newer.as_ref().unwrap_or(&current).trust().clone();
    let next = Identity::new(
        &fresh.key_pem,
        &answer.certificate,
        current.location(),
        trust,
    )
    .map_err(|why| format!("{url}: what the control plane sent is no identity: {why}"))?
    .due_at(answer.renew_unix_s);
    if next.id() != current.id() {
        return Err(format!(
            "{url}: the new certificate names {}, we are {}",
            next.id(),
            current.id()
        ));
    }
    if next.has_expired(clock::unix_now()) {
        return Err(format!(
            "{url}: the new certificate has expired; compare the clocks"
        ));
    }
    let saved = next.clone();
    subscription
        .on_disk(move |store| store.save(&saved))
        .await?;
    tracing::info!(until_unix = next.leaf().until_unix_s, serial = %next.leaf().serial, "certificate renewed");
    let trusts_others = next.trust().version != current.trust().version;
    subscription.adopt(subscriber, next, Change::Credentials);
    if trusts_others {
        subscriber.identity(&subscription.identity(), Change::Trust);
    }
    Ok(())
}

/// Between a renewal and the next, at least.
const RENEWED_REST: Duration = Duration::from_secs(1);
