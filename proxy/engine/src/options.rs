//! The limits of one worker's engine.

/// Bytes of a small receive slot: a message head nearly always fits.
pub const SMALL_SLOT_BYTES: usize = 4 * 1024;
/// Bytes of a bulk receive slot.
pub const BULK_SLOT_BYTES: usize = 64 * 1024;
/// Small receive slots per worker: 64 MiB, resident only as far as ever used at once.
pub const SMALL_SLOTS: usize = 16 * 1024;
/// Bulk receive slots per worker: 64 MiB, resident only as far as ever used at once.
pub const BULK_SLOTS: usize = 1024;
/// Submission queue entries of a worker's ring.
pub const RING_ENTRIES: u32 = 1024;

/// The limits of one worker's engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Small receive slots: as many 4 KiB buffers may be held by sessions and in the kernel.
    pub small_slots: usize,
    /// Bytes of a small slot.
    pub small_slot_bytes: usize,
    /// Bulk receive slots.
    pub bulk_slots: usize,
    /// Bytes of a bulk slot.
    pub bulk_slot_bytes: usize,
    /// Submission queue entries (`ring` only); the completion queue has [`Options::CQ_FACTOR`] times as many.
    pub ring_entries: u32,
}

impl Options {
    /// Completion queue entries per submission queue entry: multishot operations complete many times.
    pub const CQ_FACTOR: u32 = 4;
}

impl Default for Options {
    fn default() -> Self {
        Options {
            small_slots: SMALL_SLOTS,
            small_slot_bytes: SMALL_SLOT_BYTES,
            bulk_slots: BULK_SLOTS,
            bulk_slot_bytes: BULK_SLOT_BYTES,
            ring_entries: RING_ENTRIES,
        }
    }
}
