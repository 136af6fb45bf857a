//! The control plane's memory: keys with values and revisions, changed by compare-and-swap.
//!
//! [`Store`] is what a server may rely on, whichever implementation is behind it: [`Embedded`] is one file of one
//! server, [`Etcd`] is shared by several. What the values mean, who may change them and what is audited is the server's.
#![forbid(unsafe_code)]

mod below;
mod embedded;
mod entry;
mod error;
mod etcd;
mod key;
mod lease;
pub mod limits;
mod txn;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use below::Below;
pub use embedded::{Embedded, OpenError};
pub use entry::{Change, Changes, Entry, Kind, Page, Revision, Value};
pub use error::{Error, Excess, Outcome};
pub use etcd::{Etcd, EtcdOptions, EtcdOptionsError};
pub use key::{Key, KeyError, Prefix};
pub use lease::LeaseId;
pub use txn::Txn;

/// An answer that is under way.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Keys with values and revisions.
///
/// Every commit that changes something has a revision of its own, and revisions only grow; they need not be
/// consecutive. What was acknowledged is durable. Any method may be [`Error::Unavailable`].
pub trait Store: fmt::Debug + Send + Sync {
    /// The value under `key` now.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when what is stored is not what was written.
    fn get<'a>(&'a self, key: &'a Key) -> Pending<'a, Option<Entry>>;

    /// Entries under `prefix` whose keys come behind `after`, in the order of their bytes: as many as
    /// [`limits::PAGE_ENTRIES_MAX`] and [`limits::PAGE_BYTES_MAX`] allow and at most `entries_max`.
    ///
    /// A page is consistent in itself and names its revision. Who reads several pages and then watches from the
    /// revision of the first misses nothing.
    ///
    /// # Errors
    /// [`Error::Corrupt`], as for [`Store::get`].
    fn list<'a>(
        &'a self,
        prefix: &'a Prefix,
        after: Option<&'a Key>,
        entries_max: usize,
    ) -> Pending<'a, Page>;

    /// Does all of `txn` or nothing, and returns when it is durable, with its revision. Where nothing changes (no
    /// changes in it, or only deletes of absent keys) it is the revision at which the conditions held.
    ///
    /// # Errors
    /// [`Error::Conflict`] with the key whose condition did not hold, [`Error::TooLarge`], [`Error::LeaseLost`],
    /// [`Error::Full`]. After [`Error::Unavailable`] with [`Outcome::Unknown`] it may have happened or may yet.
    fn commit<'a>(&'a self, txn: &'a Txn) -> Pending<'a, Revision>;

    /// The changes under `prefix` after revision `after`, from now on and for ever.
    ///
    /// # Errors
    /// None by itself; what is wrong is said by [`Watch::next`].
    fn watch<'a>(&'a self, prefix: &'a Prefix, after: Revision) -> Pending<'a, Box<dyn Watch>>;

    /// A lease that ends `ttl` after it was granted or last kept alive, whole seconds, at least
    /// [`limits::LEASE_TTL_MIN`] and at most [`limits::LEASE_TTL_MAX`]. Keys put with it vanish at its end.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a `ttl` or a number of leases beyond the limits.
    fn grant(&self, ttl: Duration) -> Pending<'_, LeaseId>;

    /// Begins the lease's time anew.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when it has ended.
    fn keep_alive(&self, lease: LeaseId) -> Pending<'_, ()>;

    /// Ends the lease, and its keys vanish. Nothing to do for one that has ended.
    ///
    /// # Errors
    /// [`Error::Full`]: the keys vanish as soon as there is room again.
    fn revoke(&self, lease: LeaseId) -> Pending<'_, ()>;
}

/// Changes as they are committed: each once, in order.
///
/// Resumes where the revision of the last [`Changes`] is given to [`Store::watch`] as `after`.
pub trait Watch: fmt::Debug + Send {
    /// The changes of the next revision that has some. Dropping the future loses none of them.
    ///
    /// # Errors
    /// [`Error::Compacted`] when changes that were to be told are forgotten: read all by [`Store::list`] and watch
    /// from there. After [`Error::Unavailable`] it goes on where it was.
    fn next(&mut self) -> Pending<'_, Changes>;
}
