//! One size of receive slots of the `epoll` engine: the free ones, and who waits for one.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use crate::buf::Pool;

/// A pool whose slots are taken one at a time, the most recently used first.
pub(crate) struct Slots {
    pub(crate) pool: Rc<Pool>,
    /// Slots from here on were never used; their memory is not resident.
    fresh: Cell<u32>,
    waiting: RefCell<VecDeque<u64>>,
}

impl Slots {
    pub(crate) fn new(slots: usize, slot_bytes: usize) -> Slots {
        Slots { pool: Pool::new(slots, slot_bytes), fresh: Cell::new(0), waiting: RefCell::default() }
    }

    /// Takes a free slot, to be adopted or put back.
    pub(crate) fn take(&self) -> Option<u32> {
        self.pool.pop_returned().or_else(|| {
            let id = self.fresh.get();
            ((id as usize) < self.pool.slots()).then(|| {
                self.fresh.set(id + 1);
                id
            })
        })
    }

    /// Puts a taken slot back.
    pub(crate) fn put_back(&self, id: u32) {
        self.pool.push_returned(id);
    }

    /// Notes that a stream found no slot. At most one note per stream that waits.
    pub(crate) fn wait(&self, token: u64) {
        self.waiting.borrow_mut().push_back(token);
    }

    /// Whether somebody waits for a slot and there is one.
    pub(crate) fn can_serve(&self) -> bool {
        !self.waiting.borrow().is_empty() && self.free() > 0
    }

    /// Lets as many waiting streams try again as there are slots, the longest wait first. `wake` says whether the
    /// stream still exists.
    pub(crate) fn serve(&self, mut wake: impl FnMut(u64) -> bool) {
        let mut left = self.free();
        while left > 0 {
            let Some(token) = self.waiting.borrow_mut().pop_front() else { return };
            left -= usize::from(wake(token));
        }
    }

    fn free(&self) -> usize {
        self.pool.slots() - self.pool.held()
    }
}
