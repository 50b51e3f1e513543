//! How much of the heap each thread has taken: the measure of a memory budget.
//!
//! The counts are plain integers of the threads: no atomics, and nothing at all where nothing is allocated. What a
//! worker's sessions allocate they free on the same thread, so its count is what they hold; memory that changes threads
//! moves the counts of both, and their sum stays right. What this module does not do: count receive slots that were
//! handed out (their memory is allocated once), or the kernel's socket buffers.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Without a destructor, so that it can be used as long as the thread allocates.
    static TAKEN: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, counted. Becomes the allocator of a program by `#[global_allocator]`.
#[derive(Debug)]
pub struct Counted;

/// Bytes that this thread has allocated and not freed; below zero if it frees what others allocated. Zero in a program
/// whose allocator is another one.
pub fn taken() -> i64 {
    TAKEN.get()
}

fn count(bytes: i64) {
    TAKEN.set(TAKEN.get().wrapping_add(bytes));
}

// SAFETY: every call is passed on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_taken_and_given_back() {
        let layout = Layout::from_size_align(1000, 8).expect("a layout");
        let before = taken();
        // SAFETY: each pointer comes from the call before with the layout that it is used with.
        unsafe {
            let at = Counted.alloc(layout);
            assert_eq!(taken() - before, 1000);
            let at = Counted.realloc(at, layout, 3000);
            assert_eq!(taken() - before, 3000);
            Counted.dealloc(at, Layout::from_size_align(3000, 8).expect("a layout"));
            let zeroed = Counted.alloc_zeroed(layout);
            assert_eq!((taken() - before, *zeroed), (1000, 0));
            Counted.dealloc(zeroed, layout);
        }
        assert_eq!(taken(), before);
    }
}
