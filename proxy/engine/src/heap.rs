//! How much of the heap is in use: the measure of a memory budget.
//!
//! Each thread counts for itself, in a cell that only it writes: no locked instruction, and nothing at all where nothing is
//! allocated. The sum over the cells is exact, also for memory that changes threads. What this module does not do: tell
//! receive slots that are in use from those that are not (their memory is allocated once), or count the kernel's buffers.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// Cells. Threads that come later than so many share the last: workers are among the first.
const CELLS: usize = 128;

/// A cell on a cache line of its own.
#[repr(align(64))]
struct Line(AtomicI64);

static TAKEN: [Line; CELLS] = [const { Line(AtomicI64::new(0)) }; CELLS];
static NEXT_CELL: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The thread's cell. Without a destructor, so that it can be used as long as the thread allocates.
    static CELL: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The system's allocator, counted. Becomes the allocator of a program by `#[global_allocator]`.
#[derive(Debug)]
pub struct Counted;

/// Bytes that the program has allocated and not freed. Zero in a program whose allocator is another one. Reads every cell:
/// not for each request.
pub fn in_use() -> u64 {
    let sum: i64 = TAKEN.iter().map(|line| line.0.load(Ordering::Relaxed)).sum();
    u64::try_from(sum).unwrap_or(0)
}

#[inline]
fn count(bytes: i64) {
    let mut at = CELL.get();
    if at == usize::MAX {
        at = NEXT_CELL.fetch_add(1, Ordering::Relaxed).min(CELLS - 1);
        CELL.set(at);
    }
    let cell = &TAKEN[at].0;
    if at < CELLS - 1 {
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(bytes), Ordering::Relaxed);
    } else {
        cell.fetch_add(bytes, Ordering::Relaxed);
    }
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

    /// The test program's allocator is another one: only what is counted here shows.
    #[test]
    fn counts_what_is_taken_and_given_back_by_any_thread() {
        let layout = Layout::from_size_align(1000, 8).expect("a layout");
        let longer = Layout::from_size_align(3000, 8).expect("a layout");
        // SAFETY: each pointer comes from the call before with the layout that it is used with.
        let at = unsafe {
            let at = Counted.alloc(layout);
            assert_eq!(in_use(), 1000);
            let at = Counted.realloc(at, layout, 3000);
            assert_eq!(in_use(), 3000);
            at as usize
        };
        std::thread::spawn(move || {
            // SAFETY: allocated above, and used by nobody.
            unsafe { Counted.dealloc(at as *mut u8, longer) };
        })
        .join()
        .expect("it ends");
        assert_eq!(in_use(), 0);
        // More threads than cells.
        for _ in 0..CELLS + 10 {
            let once = move || {
                // SAFETY: as above.
                unsafe {
                    let zeroed = Counted.alloc_zeroed(layout);
                    assert_eq!(*zeroed, 0);
                    Counted.dealloc(zeroed, layout);
                }
            };
            std::thread::spawn(once).join().expect("it ends");
        }
        assert_eq!(in_use(), 0);
    }
}
