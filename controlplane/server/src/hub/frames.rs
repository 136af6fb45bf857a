//! Documents as the events that carry them to nodes: read once for all nodes that want them, and held while they do.
//!
//! Which version a node wants is the hub's, and whether a document is what was signed the book's.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use adit_proto::control::{EVENT_HEAD_BYTES, Event};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::book::Head;
use crate::place::Place;
use crate::secret::hex;
use crate::trouble::Trouble;

/// Documents that nodes of this server want. Nodes of a place share the bytes.
#[derive(Debug, Default)]
pub(super) struct Frames(Mutex<Held>);

/// A document on its way to nodes.
#[derive(Clone, Debug)]
pub(crate) struct Pushed {
    pub(crate) version: u64,
    /// SHA-256 of the document, by which a node refuses it.
    pub(crate) sha256: String,
    /// The whole event.
    pub(crate) frame: Bytes,
}

/// Bytes of documents that are held for nodes to come. 256 MiB.
const FRAMES_BYTES_MAX: usize = 256 * 1024 * 1024;

impl Pushed {
    pub(super) fn new(version: u64, document: &[u8]) -> Self {
        let sha256 = hex(ring::digest::digest(&ring::digest::SHA256, document).as_ref());
        let mut frame = Vec::with_capacity(document.len() + EVENT_HEAD_BYTES);
        Event::Push(document.to_vec()).encode(&mut frame);
        Self {
            version,
            sha256,
            frame: frame.into(),
        }
    }
}

impl Frames {
    /// A version of a place's rules, by `load` if nobody has loaded it. A thousand nodes that come at once are one
    /// reading, whose bytes are there once: one loads, the others wait and look again.
    ///
    /// # Errors
    /// `load`'s; then whoever waits tries it next.
    pub(super) async fn get(
        &self,
        place: &Place,
        version: u64,
        load: impl AsyncFnOnce() -> Result<Pushed, Trouble>,
    ) -> Result<Pushed, Trouble> {
        let key = (place.clone(), version);
        let turn = match self.0.lock().known_or_turn(&key) {
            Ok(known) => return Ok(known),
            Err(turn) => turn,
        };
        let _turn = turn.lock().await;
        if let Some(known) = self.0.lock().by_version.get(&key) {
            return Ok(known.clone());
        }
        let pushed = load().await?;
        self.0.lock().keep(key, pushed.clone());
        Ok(pushed)
    }

    /// Drops what no node of a place can want any more.
    pub(super) fn forget(&self, place: &Place, head: Option<&Head>) {
        self.0.lock().forget(place, head);
    }

    /// Drops all.
    pub(super) fn clear(&self) {
        *self.0.lock() = Held::default();
    }
}

type VersionOf = (Place, u64);

/// Who has it loads.
type Turn = tokio::sync::Mutex<()>;

#[derive(Debug, Default)]
struct Held {
    by_version: HashMap<VersionOf, Pushed>,
    bytes: usize,
    /// Versions that somebody is loading.
    loading: HashMap<VersionOf, Weak<Turn>>,
}

impl Held {
    /// What is known of a version, else the turn to load it: the same one for all who ask while it is loaded.
    fn known_or_turn(&mut self, key: &(Place, u64)) -> Result<Pushed, Arc<Turn>> {
        if let Some(known) = self.by_version.get(key) {
            return Ok(known.clone());
        }
        if let Some(turn) = self.loading.get(key).and_then(Weak::upgrade) {
            return Err(turn);
        }
        // Turns that nobody has or waits for are over, also when whoever had them is gone.
        self.loading.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(Turn::default());
        self.loading.insert(key.clone(), Arc::downgrade(&turn));
        Err(turn)
    }

    fn keep(&mut self, key: (Place, u64), pushed: Pushed) {
        if self.bytes + pushed.frame.len() > FRAMES_BYTES_MAX {
            self.by_version.clear();
            self.bytes = 0;
        }
        self.bytes += pushed.frame.len();
        if let Some(old) = self.by_version.insert(key, pushed) {
            self.bytes = self.bytes.saturating_sub(old.frame.len());
        }
    }

    /// Drops what no node of a place can want any more.
    fn forget(&mut self, place: &Place, head: Option<&Head>) {
        let wanted = |version: u64| {
            head.is_some_and(|head| {
                head.version == version
                    || head
                        .canary
                        .as_ref()
                        .is_some_and(|canary| canary.version == version)
            })
        };
        let bytes = &mut self.bytes;
        self.by_version.retain(|(of, version), pushed| {
            let stays = of != place || wanted(*version);
            if !stays {
                *bytes = bytes.saturating_sub(pushed.frame.len());
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::task::yield_now;

    use super::*;

    fn place() -> Place {
        Place::new("acme", "plant-1").unwrap()
    }

    #[tokio::test]
    async fn a_version_that_many_want_at_once_is_loaded_once_and_again_after_it_was_dropped() {
        let frames = Frames::default();
        let place = place();
        let loads = Cell::new(0);
        let wanted = async || {
            let load = async || {
                loads.set(loads.get() + 1);
                yield_now().await;
                Ok(Pushed::new(7, b"rules"))
            };
            frames.get(&place, 7, load).await.unwrap().frame.as_ptr()
        };
        let (one, other, third) = tokio::join!(wanted(), wanted(), wanted());
        assert_eq!((other, third, loads.get()), (one, one, 1));
        frames.forget(&place, None);
        wanted().await;
        assert_eq!(loads.get(), 2);
    }

    #[tokio::test]
    async fn who_waited_for_a_load_that_failed_or_was_given_up_loads() {
        let frames = Frames::default();
        let place = place();
        let fails = async || {
            yield_now().await;
            Err(Trouble::Busy)
        };
        let loads = async || Ok(Pushed::new(7, b"rules"));
        let (failed, loaded) =
            tokio::join!(frames.get(&place, 7, fails), frames.get(&place, 7, loads));
        assert!(matches!(failed, Err(Trouble::Busy)), "{failed:?}");
        assert_eq!(loaded.unwrap().version, 7);

        let never = async || std::future::pending().await;
        let mut given_up = Box::pin(frames.get(&place, 8, never));
        assert!(futures_now(given_up.as_mut()).await.is_none());
        drop(given_up);
        let loads = async || Ok(Pushed::new(8, b"more"));
        assert_eq!(frames.get(&place, 8, loads).await.unwrap().version, 8);
        assert_eq!(
            frames.0.lock().loading.len(),
            1,
            "only the last turn is left"
        );
    }

    /// What a future gives at its first look.
    async fn futures_now<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            let look = std::pin::Pin::new(&mut future).poll(context);
            std::task::Poll::Ready(match look {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
