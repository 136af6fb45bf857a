//! The store's promises, kept by every implementation: one suite, run against each.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

mod conformance;
mod etcd;
mod model;

use std::future::Future;
use std::sync::Arc;

use adit_store::{Below, Embedded, Etcd, EtcdOptions, Prefix, Store};
use adit_tests::scratch::Scratch;

/// A store of one implementation, fresh, and gone with its world.
trait World: Sized {
    /// Sets it up.
    fn start() -> impl Future<Output = Self>;
    /// The store.
    fn store(&self) -> Arc<dyn Store>;
}

/// Makes a test of each promise.
macro_rules! promises {
    ($module:ident, $world:ty, [$($promise:ident),* $(,)?]) => {
        mod $module {
            use crate::World as _;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let world = <$world>::start().await;
                    $crate::conformance::$promise(world.store()).await;
                }
            )*
        }
    };
}

macro_rules! conformance {
    ($module:ident, $world:ty) => {
        promises!(
            $module,
            $world,
            [
                what_was_put_is_got_and_what_was_deleted_is_gone,
                revisions_grow_with_every_change_and_with_nothing_else,
                a_condition_that_does_not_hold_is_named_and_nothing_is_changed,
                a_commit_takes_as_many_changes_and_conditions_as_it_may,
                a_list_comes_in_order_and_in_pages,
                a_list_holds_what_is_below_its_prefix_and_nothing_else,
                a_watch_tells_each_change_once_and_in_order_and_resumes_anywhere,
                a_watch_waits_for_what_comes,
                a_watch_does_not_lose_what_comes_when_its_future_is_dropped,
                keys_of_a_lease_vanish_at_its_end_and_not_while_it_is_kept_alive,
                keys_of_a_revoked_lease_vanish_and_what_was_put_anew_stays,
                a_lease_that_has_ended_takes_no_keys,
                many_at_once_lose_no_update,
                values_of_every_size_come_back_whole,
                a_value_of_the_largest_size_is_taken_and_a_larger_one_is_not,
                commits_in_any_order_do_what_the_model_does,
            ]
        );
    };
}

struct InFolder {
    store: Arc<Embedded>,
    _scratch: Scratch,
}

impl World for InFolder {
    async fn start() -> Self {
        let scratch = Scratch::new();
        let store = Embedded::open(scratch.dir()).await.unwrap();
        Self {
            store: Arc::new(store),
            _scratch: scratch,
        }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::<Embedded>::clone(&self.store)
    }
}

conformance!(embedded, crate::InFolder);

struct InEtcd {
    store: Arc<Etcd>,
    _etcd: adit_tests::Etcd,
}

impl World for InEtcd {
    async fn start() -> Self {
        let etcd = adit_tests::Etcd::start();
        let store = Etcd::new(&EtcdOptions::new([etcd.endpoint()])).unwrap();
        Self {
            store: Arc::new(store),
            _etcd: etcd,
        }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::<Etcd>::clone(&self.store)
    }
}

conformance!(in_etcd, crate::InEtcd);

/// A part of a store is a store, and what lies beside it is none of its business.
struct PartOfOne {
    store: Arc<dyn Store>,
    _whole: InFolder,
}

impl World for PartOfOne {
    async fn start() -> Self {
        let whole = InFolder::start().await;
        for beside in ["a/b", "part", "part0/a", "partly/a/b"] {
            conformance::put(&whole.store(), beside, "beside").await;
        }
        let prefix = Prefix::new("part/").unwrap();
        Self {
            store: Arc::new(Below::new(whole.store(), prefix)),
            _whole: whole,
        }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }
}

conformance!(below, crate::PartOfOne);
