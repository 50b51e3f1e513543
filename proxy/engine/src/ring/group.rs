//! A group of receive slots: a pool, and the buffer ring through which the kernel takes slots from it.
//!
//! Few slots lie in the ring at a time, so that the same few are used over and over and stay in the caches; the
//! ring grows when it ran dry.

use std::collections::VecDeque;
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::setup::Uring;
use crate::buf::{Buf, Pool};

/// Entries of a buffer ring at most: as many slots may be filled by one turn of the event loop.
const MAX_RING_ENTRIES: usize = 4096;

pub(super) struct Group {
    pub(super) pool: Rc<Pool>,
    pub(super) id: u16,
    entries: Memory,
    mask: u16,
    tail: u16,
    /// Slots that lie in the ring, as far as completions have told.
    lying: usize,
    /// How many should.
    target: usize,
    /// Slots from here on were never used; their memory is not resident.
    fresh: usize,
    /// Streams that found the ring dry, the longest wait first.
    starving: VecDeque<u64>,
}

impl Group {
    /// Makes a pool and registers a buffer ring for it, `target` slots deep at first.
    pub(super) fn new(
        uring: &Uring,
        id: u16,
        (slots, slot_bytes): (usize, usize),
        target: usize,
    ) -> io::Result<Group> {
        if slots == 0 || slots > 1 << 16 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a group has 1 to 65536 slots"));
        }
        let count = slots.min(MAX_RING_ENTRIES).next_power_of_two();
        let entries = Memory::map(count * size_of::<BufRingEntry>())?;
        // SAFETY: the memory is page-aligned, as long as `count` entries, and is unmapped only after the ring is gone
        // (the field order in `Core`) or its registration failed.
        unsafe {
            uring.inner().submitter().register_buf_ring_with_flags(
                entries.0.as_ptr() as u64,
                count as u16,
                id,
                0,
            )?;
        }
        Ok(Group {
            pool: Pool::new(slots, slot_bytes),
            id,
            entries,
            mask: (count - 1) as u16,
            tail: 0,
            lying: 0,
            target: target.min(count),
            fresh: 0,
            starving: VecDeque::new(),
        })
    }

    /// Lays free slots into the ring, up to the target.
    pub(super) fn refill(&mut self) {
        if self.lying >= self.target {
            return;
        }
        let before = self.tail;
        while self.lying < self.target {
            let Some(id) = self.take_free() else { break };
            let index = usize::from(self.tail & self.mask);
            // SAFETY: the index is below the number of entries mapped, and the kernel reads an entry only once the
            // tail has passed it.
            let entry = unsafe { &mut *self.entries.0.as_ptr().add(index) };
            entry.set_addr(self.pool.slot_ptr(id) as u64);
            entry.set_len(self.pool.slot_bytes() as u32);
            entry.set_bid(id as u16);
            self.tail = self.tail.wrapping_add(1);
            self.lying += 1;
        }
        if self.tail != before {
            // SAFETY: the tail is a field of the first entry, two-byte aligned, which the kernel only reads.
            let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.0.as_ptr()).cast_mut()) };
            tail.store(self.tail, Ordering::Release);
        }
    }

    /// The kernel took slot `id` and received `len` bytes into it. None if it was for nothing.
    pub(super) fn received(&mut self, id: u16, len: i32) -> Option<Buf> {
        self.lying -= 1;
        let id = u32::from(id);
        match usize::try_from(len) {
            Ok(len) if len > 0 => Some(self.pool.adopt(id, len)),
            _ => {
                self.pool.push_returned(id);
                None
            }
        }
    }

    /// The ring was dry: it should hold more.
    pub(super) fn was_dry(&mut self) {
        self.target = (self.target * 2).min(usize::from(self.mask) + 1);
    }

    /// Notes that a stream found the ring dry. At most one note per stream.
    pub(super) fn starve(&mut self, key: u64) {
        self.starving.push_back(key);
    }

    /// Whether somebody starves though slots lie in the ring.
    pub(super) fn can_serve(&self) -> bool {
        self.lying > 0 && !self.starving.is_empty()
    }

    /// Takes up to as many starving streams as slots lie in the ring.
    pub(super) fn serve(&mut self) -> impl Iterator<Item = u64> {
        let count = self.lying.min(self.starving.len());
        self.starving.drain(..count)
    }

    /// A slot that neither lies in the ring nor is held; to be adopted or given back to the pool.
    pub(super) fn take_free(&mut self) -> Option<u32> {
        self.pool.pop_returned().or_else(|| {
            let id = self.fresh;
            (id < self.pool.slots()).then(|| {
                self.fresh += 1;
                id as u32
            })
        })
    }
}

/// Anonymous pages for the entries of a buffer ring.
struct Memory(NonNull<BufRingEntry>, usize);

impl Memory {
    fn map(bytes: usize) -> io::Result<Memory> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, anywhere.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Memory(start, bytes))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`, with this length, and not used after.
        unsafe { libc::munmap(self.0.as_ptr().cast(), self.1) };
    }
}
