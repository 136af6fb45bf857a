//! Buffers that are lent for as long as there is something to carry.
//!
//! A buffer belongs to one of a few size classes and goes back to the free list of the thread that
//! drops it, newest first, so that the next borrower finds it in the cache. A quiet connection holds
//! none. What lies in a buffer is nobody's business here.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{Deref, DerefMut};

use memmap2::MmapMut;

/// The sizes in which buffers exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Class {
    /// 2 KiB: a small request, a head, the first read of a connection of unknown appetite.
    Small,
    /// 16 KiB: a TLS record, headers and tag included, 22 bytes short of a full one, so that it fills its pages.
    Record,
    /// 256 KiB: one large read of a tunnel.
    Block,
}

impl Class {
    /// Bytes of a buffer of this class.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Small => 2 * 1024,
            Self::Record => 16 * 1024,
            Self::Block => 256 * 1024,
        }
    }

    /// Free buffers of this class that a thread keeps; more are given back to the allocator.
    /// Worst case kept per thread: 4096 x 2 KiB + 1024 x 16 KiB + 32 x 256 KiB = 32 MiB.
    #[must_use]
    pub const fn kept_max(self) -> usize {
        match self {
            Self::Small => 4096,
            Self::Record => 1024,
            Self::Block => 32,
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Small => 0,
            Self::Record => 1,
            Self::Block => 2,
        }
    }
}

/// A borrowed buffer; goes home when dropped.
pub struct Buffer {
    // None only while `drop` runs.
    memory: Option<Memory>,
    class: Class,
}

// Large buffers are pages of their own: after a flood an allocator would keep them for good, between small things that
// live long, where nobody can give them back to the system.
enum Memory {
    Heap(Box<[u8]>),
    Pages(MmapMut),
}

impl Memory {
    fn new(class: Class) -> Self {
        let heap = || Self::Heap(vec![0; class.bytes()].into_boxed_slice());
        match class {
            Class::Small => heap(),
            // Without pages, or without room for another mapping, the allocator has the last word.
            Class::Record | Class::Block => {
                MmapMut::map_anon(class.bytes()).map_or_else(|_| heap(), Self::Pages)
            }
        }
    }
}

impl Buffer {
    /// Borrows a buffer. Its contents are whatever the last borrower left.
    #[must_use]
    pub fn take(class: Class) -> Self {
        let kept =
            FREE.try_with(|free| free.borrow_mut().get_mut(class.index()).and_then(Vec::pop));
        let _ = LENT.try_with(|lent| {
            if let Some(count) = lent.get(class.index()) {
                count.set(count.get() + 1);
            }
        });
        let memory = kept.ok().flatten().unwrap_or_else(|| Memory::new(class));
        Self {
            memory: Some(memory),
            class,
        }
    }

    /// The class it was borrowed as.
    #[must_use]
    pub const fn class(&self) -> Class {
        self.class
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.memory {
            Some(Memory::Heap(bytes)) => bytes,
            Some(Memory::Pages(pages)) => pages,
            None => &[],
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Some(Memory::Heap(bytes)) => bytes,
            Some(Memory::Pages(pages)) => pages,
            None => &mut [],
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

// Payload is not for logs.
impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({:?})", self.class)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(memory) = self.memory.take() else {
            return;
        };
        let _ = LENT.try_with(|lent| {
            if let Some(count) = lent.get(self.class.index()) {
                count.set(count.get().saturating_sub(1));
            }
        });
        // While the thread ends its free lists may be gone; then the allocator takes the memory.
        let _ = FREE.try_with(|free| {
            if let Some(list) = free.borrow_mut().get_mut(self.class.index())
                && list.len() < self.class.kept_max()
            {
                list.push(memory);
            }
        });
    }
}

/// An empty vector to write a head into: one that was [`keep`]t on this thread, or a new one of 2 KiB.
#[must_use]
pub fn vector() -> Vec<u8> {
    let kept = VECTORS.try_with(|kept| kept.borrow_mut().pop());
    kept.ok()
        .flatten()
        .unwrap_or_else(|| Vec::with_capacity(VECTOR_BYTES))
}

/// Takes a vector that is no longer needed for the next [`vector`], unless there are enough, or it is large. For short
/// work only: a vector that waits for a peer shall be as small as what is in it.
pub fn keep(mut vector: Vec<u8>) {
    let _ = VECTORS.try_with(|kept| {
        let mut kept = kept.borrow_mut();
        if (VECTOR_BYTES..=VECTOR_BYTES_MAX).contains(&vector.capacity())
            && kept.len() < VECTORS_KEPT
        {
            vector.clear();
            kept.push(vector);
        }
    });
}

/// What a new vector holds: nearly every head.
const VECTOR_BYTES: usize = 2 * 1024;
/// Larger ones are not kept.
const VECTOR_BYTES_MAX: usize = 8 * 1024;
/// How many a thread keeps: 512 KiB at worst.
const VECTORS_KEPT: usize = 64;

/// How many free buffers of `class` this thread keeps.
#[must_use]
pub fn kept(class: Class) -> usize {
    FREE.try_with(|free| free.borrow().get(class.index()).map_or(0, Vec::len))
        .unwrap_or(0)
}

/// How many buffers of `class` this thread has lent and not got back.
#[must_use]
pub fn lent(class: Class) -> usize {
    LENT.try_with(|lent| lent.get(class.index()).map_or(0, Cell::get))
        .unwrap_or(0)
}

thread_local! {
    static VECTORS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static LENT: [Cell<usize>; 3] = const { [Cell::new(0), Cell::new(0), Cell::new(0)] };
    static FREE: RefCell<[Vec<Memory>; 3]> = const { RefCell::new([Vec::new(), Vec::new(), Vec::new()]) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_the_next_one_borrowed() {
        let first = Buffer::take(Class::Record);
        let address = first.as_ptr();
        drop(first);
        assert_eq!(Buffer::take(Class::Record).as_ptr(), address);
    }

    #[test]
    fn a_thread_keeps_no_more_than_its_limit() {
        let many: Vec<Buffer> = (0..Class::Block.kept_max() + 2)
            .map(|_| Buffer::take(Class::Block))
            .collect();
        drop(many);
        assert_eq!(kept(Class::Block), Class::Block.kept_max());
    }

    #[test]
    fn what_is_lent_is_counted_until_it_is_back() {
        let before = lent(Class::Block);
        let one = Buffer::take(Class::Block);
        assert_eq!(lent(Class::Block), before + 1);
        drop(one);
        assert_eq!(lent(Class::Block), before);
    }

    #[test]
    fn a_kept_vector_is_the_next_one_and_neither_too_many_nor_large_ones_are_kept() {
        std::thread::spawn(|| {
            let mut first = vector();
            first.extend_from_slice(b"secret");
            let address = first.as_ptr();
            keep(first);
            let again = vector();
            assert_eq!((again.as_ptr(), again.len()), (address, 0));
            for capacity in [VECTOR_BYTES - 1, VECTOR_BYTES_MAX + 1] {
                keep(Vec::with_capacity(capacity));
            }
            assert_eq!(VECTORS.with_borrow(Vec::len), 0);
            (0..=VECTORS_KEPT).for_each(|_| keep(Vec::with_capacity(VECTOR_BYTES_MAX)));
            assert_eq!(VECTORS.with_borrow(Vec::len), VECTORS_KEPT);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn sizes_are_what_the_classes_say() {
        for class in [Class::Small, Class::Record, Class::Block] {
            assert_eq!(Buffer::take(class).len(), class.bytes());
        }
    }
}
