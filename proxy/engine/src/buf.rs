//! Buffers.
//!
//! [`Buf`] is a window on a slot of an engine's receive [`Pool`]; slots are shared by count and go back to the
//! pool when the last window drops. Windows never overlap, so the owner of one may write to it. [`OutBuf`] is a byte
//! vector on loan from a per-thread free list. [`Parts`] is what one `send` takes: a few of either, in order.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// Send buffers kept for reuse per thread.
const KEPT_OUT_BUFS: usize = 256;
/// A send buffer that grew beyond this is given back to the allocator.
const KEPT_OUT_BUF_BYTES: usize = 16 * 1024;
/// Parts that one `send` takes.
pub const MAX_PARTS: usize = 3;

/// Fixed-size receive slots in one allocation, counted.
///
/// The engine takes a slot when bytes arrive in it (`adopt`) and reads `returned` to learn which slots came back.
pub struct Pool {
    memory: Box<[Cell<u8>]>,
    slot_bytes: usize,
    /// Windows alive per slot.
    windows: Box<[Cell<u32>]>,
    returned: RefCell<Vec<u32>>,
    out: Cell<usize>,
}

impl Pool {
    /// `slots` slots of `slot_bytes` bytes each. Memory is untouched until first use.
    ///
    /// # Panics
    /// If they add up to 4 GiB or more.
    pub fn new(slots: usize, slot_bytes: usize) -> Rc<Pool> {
        assert!(slots.saturating_mul(slot_bytes) < u32::MAX as usize, "a pool is smaller than 4 GiB");
        // A zeroed vector of this size comes from fresh pages: nothing is resident until written.
        let zeroed = vec![0u8; slots * slot_bytes].into_boxed_slice();
        // SAFETY: `Cell<u8>` has the layout of `u8`, and the box is uniquely owned.
        let memory = unsafe { Box::from_raw(Box::into_raw(zeroed) as *mut [Cell<u8>]) };
        Rc::new(Pool {
            memory,
            slot_bytes,
            windows: vec![Cell::new(0); slots].into_boxed_slice(),
            // Grows with the slots that were ever used, not with all of them.
            returned: RefCell::default(),
            out: Cell::new(0),
        })
    }

    /// The number of slots.
    pub fn slots(&self) -> usize {
        self.windows.len()
    }

    /// The size of a slot in bytes.
    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes
    }

    /// Slots that sessions hold now.
    pub fn held(&self) -> usize {
        self.out.get()
    }

    /// Where slot `id` starts, for the engine to receive into while no window on it exists.
    pub fn slot_ptr(&self, id: u32) -> *mut u8 {
        self.memory[id as usize * self.slot_bytes..].as_ptr() as *mut u8
    }

    /// Makes the first `len` bytes of slot `id`, which the engine has filled, a window.
    ///
    /// # Panics
    /// If the slot is out already or `len` exceeds it.
    pub fn adopt(self: &Rc<Self>, id: u32, len: usize) -> Buf {
        assert!(len <= self.slot_bytes, "longer than a slot");
        let windows = &self.windows[id as usize];
        assert_eq!(windows.get(), 0, "slot {id} is out already");
        windows.set(1);
        self.out.set(self.out.get() + 1);
        let start = id as usize * self.slot_bytes;
        Buf {
            place: Some(Place::Slot { pool: self.clone(), id }),
            start: start as u32,
            end: (start + len) as u32,
        }
    }

    /// Hands each slot that came back since the last call to `take`.
    pub fn take_returned(&self, mut take: impl FnMut(u32)) {
        for id in self.returned.borrow_mut().drain(..) {
            take(id);
        }
    }

    /// Takes one slot that came back, the latest first.
    pub fn pop_returned(&self) -> Option<u32> {
        self.returned.borrow_mut().pop()
    }

    /// Puts a slot that was popped but not adopted back.
    pub fn push_returned(&self, id: u32) {
        self.returned.borrow_mut().push(id);
    }
}

/// Where the bytes of a window lie.
#[derive(Clone)]
enum Place {
    Slot {
        pool: Rc<Pool>,
        id: u32,
    },
    /// Bytes that lie in no slot: copied out of one because slots were scarce, or made by a session.
    Own(Rc<[Cell<u8>]>),
}

impl Place {
    fn own(bytes: Rc<[u8]>) -> Place {
        debug_assert_eq!(Rc::strong_count(&bytes), 1);
        // SAFETY: `Cell<u8>` has the layout of `u8`, and nobody else holds these bytes: nobody relies on them being
        // immutable.
        Place::Own(unsafe { Rc::from_raw(Rc::into_raw(bytes) as *const [Cell<u8>]) })
    }
}

/// Received bytes: a window on a slot of the engine. The slot goes back when the last window on it drops.
///
/// Windows on one slot never overlap: `adopt` makes the only one, `split_to` cuts one in two, the others shrink it.
/// Whoever holds a window mutably may therefore write to it (TLS decrypts in place).
pub struct Buf {
    place: Option<Place>,
    // Offsets into the pool's memory, or into the own bytes. Pools are far below 4 GiB.
    start: u32,
    end: u32,
}

impl Buf {
    /// No bytes: the end of a stream. Holds no slot.
    pub const fn empty() -> Buf {
        Buf { place: None, start: 0, end: 0 }
    }

    /// Bytes of its own, in no slot; they are copied once. For data that a session made or joined, and for tests.
    ///
    /// # Panics
    /// If they are 4 GiB or more.
    pub fn from_vec(bytes: Vec<u8>) -> Buf {
        let end = u32::try_from(bytes.len()).expect("a buffer is smaller than 4 GiB");
        if bytes.is_empty() {
            return Buf::empty();
        }
        Buf { place: Some(Place::own(bytes.into())), start: 0, end }
    }

    /// Before a wait for a peer: copies the bytes and lets the slot go, if slots are scarce (more than half of the pool
    /// is out), so that those who wait longest do not keep all the slots. Says whether slots were scarce.
    pub fn relieve(&mut self) -> bool {
        match &self.place {
            Some(Place::Slot { pool, .. }) if pool.held() * 2 > pool.slots() => {
                let own = Place::own((**self).into());
                *self = Buf { place: Some(own), start: 0, end: self.end - self.start };
                true
            }
            _ => false,
        }
    }

    /// Drops the first `n` bytes from the window.
    ///
    /// # Panics
    /// If the window is shorter.
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len());
        self.start += n as u32;
    }

    /// Keeps the first `n` bytes only.
    pub fn truncate(&mut self, n: usize) {
        if n < self.len() {
            self.end = self.start + n as u32;
        }
    }

    /// Splits off the first `n` bytes as a window of their own on the same slot.
    ///
    /// # Panics
    /// If the window is shorter.
    pub fn split_to(&mut self, n: usize) -> Buf {
        assert!(n <= self.len());
        if let Some(Place::Slot { pool, id }) = &self.place {
            let windows = &pool.windows[*id as usize];
            windows.set(windows.get() + 1);
        }
        let head = Buf { place: self.place.clone(), start: self.start, end: self.start + n as u32 };
        self.start += n as u32;
        head
    }

    #[inline]
    fn cells(&self) -> &[Cell<u8>] {
        let window = self.start as usize..self.end as usize;
        match &self.place {
            None => &[],
            Some(Place::Own(cells)) => &cells[window],
            Some(Place::Slot { pool, .. }) => &pool.memory[window],
        }
    }
}

impl Deref for Buf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let cells = self.cells();
        // SAFETY: while a window exists the engine does not write to the slot, no safe code can reach the cells but
        // through windows, and windows do not overlap: only `&mut self` could change these bytes, and `self` is
        // borrowed.
        unsafe { std::slice::from_raw_parts(cells.as_ptr() as *const u8, cells.len()) }
    }
}

impl DerefMut for Buf {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let cells = self.cells();
        // SAFETY: as in `deref`, and `self` is borrowed mutably: nobody else reads or writes these bytes. A kernel that
        // sends from a window does so from one that was moved into its operation. Writing through a pointer from a
        // shared reference is allowed: the bytes are cells. The pointer reaches this window only.
        unsafe { std::slice::from_raw_parts_mut(cells.as_ptr() as *mut u8, cells.len()) }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        if let Some(Place::Slot { pool, id }) = self.place.take() {
            let windows = &pool.windows[id as usize];
            windows.set(windows.get() - 1);
            if windows.get() == 0 {
                pool.out.set(pool.out.get() - 1);
                pool.returned.borrow_mut().push(id);
            }
        }
    }
}

impl std::fmt::Debug for Buf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buf({} bytes)", self.len())
    }
}

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A byte vector to write a message into; its memory is reused by the thread.
#[derive(Debug)]
pub struct OutBuf(Vec<u8>);

impl Default for OutBuf {
    fn default() -> OutBuf {
        OutBuf::new()
    }
}

impl OutBuf {
    /// An empty buffer, from the thread's free list if it has one.
    pub fn new() -> OutBuf {
        OutBuf(FREE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(2048)))
    }
}

impl Deref for OutBuf {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for OutBuf {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for OutBuf {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0);
        if bytes.capacity() == 0 || bytes.capacity() > KEPT_OUT_BUF_BYTES {
            return;
        }
        bytes.clear();
        // At thread exit the list may be gone already; then the bytes are simply freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT_OUT_BUFS {
                free.push(bytes);
            }
        });
    }
}

/// One piece of a `send`.
#[derive(Debug)]
pub enum Part {
    /// Bytes that the session wrote.
    Out(OutBuf),
    /// Bytes that were received, passed on as they are.
    In(Buf),
    /// Bytes of the program.
    Static(&'static [u8]),
}

impl Deref for Part {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Part::Out(bytes) => bytes,
            Part::In(bytes) => bytes,
            Part::Static(bytes) => bytes,
        }
    }
}

/// What one `send` takes: up to [`MAX_PARTS`] pieces, in order.
#[derive(Debug, Default)]
pub struct Parts {
    pieces: [Option<Part>; MAX_PARTS],
}

impl Parts {
    /// Nothing yet.
    pub fn new() -> Parts {
        Parts::default()
    }

    /// Adds a piece at the end; an empty piece is dropped at once.
    ///
    /// # Panics
    /// If [`MAX_PARTS`] pieces are there already.
    pub fn push(&mut self, part: Part) {
        if part.is_empty() {
            return;
        }
        let free = self.pieces.iter_mut().find(|p| p.is_none()).expect("at most MAX_PARTS pieces");
        *free = Some(part);
    }

    /// Bytes left in all the pieces.
    pub fn bytes(&self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }

    /// Before a wait for the peer: copies received bytes and lets their slots go, if slots are scarce.
    pub fn relieve(&mut self) {
        for piece in self.pieces.iter_mut().flatten() {
            if let Part::In(bytes) = piece {
                bytes.relieve();
            }
        }
    }

    /// The pieces that are left, in order, none of them empty.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().flatten().map(|p| &**p).filter(|p| !p.is_empty())
    }

    /// Forgets the first `n` bytes, which were sent.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn advance(&mut self, mut n: usize) {
        for piece in &mut self.pieces {
            let Some(part) = piece else { continue };
            let len = part.len();
            if n >= len {
                n -= len;
                *piece = None;
                continue;
            }
            if n > 0 {
                match part {
                    Part::Out(bytes) => drop(bytes.drain(..n)),
                    Part::In(bytes) => bytes.advance(n),
                    Part::Static(bytes) => *bytes = &bytes[n..],
                }
            }
            return;
        }
        assert_eq!(n, 0, "advanced past the end");
    }
}

impl Extend<Part> for Parts {
    fn extend<I: IntoIterator<Item = Part>>(&mut self, parts: I) {
        parts.into_iter().for_each(|part| self.push(part));
    }
}

impl From<OutBuf> for Parts {
    fn from(bytes: OutBuf) -> Parts {
        let mut parts = Parts::new();
        parts.push(Part::Out(bytes));
        parts
    }
}

impl From<Buf> for Parts {
    fn from(bytes: Buf) -> Parts {
        let mut parts = Parts::new();
        parts.push(Part::In(bytes));
        parts
    }
}

impl From<&'static [u8]> for Parts {
    fn from(bytes: &'static [u8]) -> Parts {
        let mut parts = Parts::new();
        parts.push(Part::Static(bytes));
        parts
    }
}

#[cfg(test)]
mod tests;
