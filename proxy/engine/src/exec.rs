//! The single-threaded executor under every engine.
//!
//! A waker is one word: executor, task and generation, packed. Waking on the executor's own thread pushes to a
//! plain queue; waking from another thread goes through a locked inbox and the executor's bell. Wakers own
//! nothing, so cloning and dropping them is free and a stale one is harmless: at worst a task is polled for nothing.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use slab::Slab;

/// Executors that one process may have at a time.
const MAX_EXECUTORS: usize = 1 << 14;
const INDEX_BITS: u32 = 32;
const GENERATION_BITS: u32 = 16;

/// Tasks woken by other threads, and how to ring the bell of the executor's event loop.
struct Inbox {
    woken: Mutex<Vec<usize>>,
    ring: Box<dyn Fn() + Send + Sync>,
}

static INBOXES: Mutex<Vec<Option<Arc<Inbox>>>> = Mutex::new(Vec::new());

thread_local! {
    /// The executor of this thread: its number (0 = none) and where it is. It clears both before it is gone.
    static CURRENT: Cell<(usize, *const Executor)> = const { Cell::new((0, std::ptr::null())) };
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

struct Slot {
    /// Taken while the task runs.
    task: Option<Task>,
    generation: u16,
    queued: bool,
}

/// A set of tasks on one thread, and the queue of those to poll next.
pub struct Executor {
    number: usize,
    queue: RefCell<VecDeque<usize>>,
    tasks: RefCell<Slab<Slot>>,
    next_generation: Cell<u16>,
    inbox: Arc<Inbox>,
}

impl Executor {
    /// Makes the executor of this thread. `ring` wakes its event loop from another thread.
    ///
    /// # Panics
    /// If this thread has one already, or the process too many.
    pub fn new(ring: impl Fn() + Send + Sync + 'static) -> Rc<Executor> {
        assert_eq!(CURRENT.get().0, 0, "one executor per thread");
        let inbox = Arc::new(Inbox { woken: Mutex::new(Vec::new()), ring: Box::new(ring) });
        let mut inboxes = INBOXES.lock().unwrap_or_else(PoisonError::into_inner);
        // A number is reused: a waker of its last holder may then poll one of our tasks for nothing.
        let index = inboxes.iter().position(Option::is_none).unwrap_or(inboxes.len());
        assert!(index + 1 < MAX_EXECUTORS, "too many executors");
        if index == inboxes.len() {
            inboxes.push(None);
        }
        inboxes[index] = Some(inbox.clone());
        let executor = Rc::new(Executor {
            number: index + 1,
            queue: RefCell::default(),
            tasks: RefCell::default(),
            next_generation: Cell::new(0),
            inbox,
        });
        CURRENT.set((executor.number, Rc::as_ptr(&executor)));
        executor
    }

    /// Adds a task; it is polled in the next [`Executor::run_ready`].
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let generation = self.next_generation.get();
        self.next_generation.set(generation.wrapping_add(1));
        let index =
            self.tasks.borrow_mut().insert(Slot { task: Some(Box::pin(task)), generation, queued: true });
        self.queue.borrow_mut().push_back(self.pack(index, generation));
    }

    /// Tasks alive.
    pub fn tasks(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Queues every task.
    pub fn wake_all(&self) {
        let (mut tasks, mut queue) = (self.tasks.borrow_mut(), self.queue.borrow_mut());
        for (index, slot) in tasks.iter_mut() {
            if !slot.queued {
                slot.queued = true;
                queue.push_back(self.pack(index, slot.generation));
            }
        }
    }

    /// Whether a task waits to be polled.
    pub fn has_ready(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    /// Moves what other threads woke into the queue. To be called when the bell rang.
    pub fn take_inbox(&self) {
        let woken = std::mem::take(&mut *self.inbox.woken.lock().unwrap_or_else(PoisonError::into_inner));
        for word in woken {
            self.enqueue(word);
        }
    }

    /// Polls the tasks that are queued now, once each. What they queue in turn waits for the next call, so that the
    /// event loop gets its turn. Returns how many were polled.
    pub fn run_ready(&self) -> usize {
        let batch = self.queue.borrow().len();
        for _ in 0..batch {
            // The borrow ends before the poll, which queues others.
            let word = self.queue.borrow_mut().pop_front();
            let Some(word) = word else { break };
            self.poll(word);
        }
        batch
    }

    /// Drops every task, at its await, including those that the drops spawn.
    pub fn clear(&self) {
        while self.tasks() > 0 {
            let end = self.tasks.borrow().capacity();
            for index in 0..end {
                // One at a time, with no borrow held: a task's drop may spawn or wake others.
                let slot = self.tasks.borrow_mut().try_remove(index);
                drop(slot);
            }
        }
        self.queue.borrow_mut().clear();
    }

    fn poll(&self, word: usize) {
        let (index, generation) = unpack(word);
        let Some(mut task) = self.tasks.borrow_mut().get_mut(index).and_then(|slot| {
            (slot.generation == generation).then(|| {
                slot.queued = false;
                slot.task.take()
            })?
        }) else {
            return;
        };
        // SAFETY: the vtable's functions accept any word, and none of them dereferences it.
        let waker = unsafe { Waker::from_raw(RawWaker::new(word as *const (), &VTABLE)) };
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            if let Some(slot) = self.tasks.borrow_mut().get_mut(index) {
                slot.task = Some(task);
            }
        } else {
            drop(task);
            self.tasks.borrow_mut().try_remove(index);
        }
    }

    /// Queues a task unless it is queued already or gone.
    fn enqueue(&self, word: usize) {
        let (index, generation) = unpack(word);
        if let Some(slot) = self.tasks.borrow_mut().get_mut(index)
            && slot.generation == generation
            && !slot.queued
        {
            slot.queued = true;
            self.queue.borrow_mut().push_back(word);
        }
    }

    fn pack(&self, index: usize, generation: u16) -> usize {
        debug_assert!(index >> INDEX_BITS == 0);
        self.number << (INDEX_BITS + GENERATION_BITS) | (generation as usize) << INDEX_BITS | index
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.clear();
        CURRENT.set((0, std::ptr::null()));
        INBOXES.lock().unwrap_or_else(PoisonError::into_inner)[self.number - 1] = None;
    }
}

fn unpack(word: usize) -> (usize, u16) {
    (word & ((1 << INDEX_BITS) - 1), (word >> INDEX_BITS) as u16)
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |word| RawWaker::new(word, &VTABLE),
    |word| wake(word as usize),
    |word| wake(word as usize),
    |_| (),
);

/// Queues a task by its word, from any thread.
fn wake(word: usize) {
    let number = word >> (INDEX_BITS + GENERATION_BITS);
    // A thread that ends may have lost its variables already; it has no executor then.
    let (current, executor) = CURRENT.try_with(Cell::get).unwrap_or((0, std::ptr::null()));
    if current == number {
        // SAFETY: the executor of this thread is alive: it takes the pointer back before it is gone.
        unsafe { &*executor }.enqueue(word);
        return;
    }
    let inbox = INBOXES.lock().unwrap_or_else(PoisonError::into_inner).get(number - 1).cloned().flatten();
    if let Some(inbox) = inbox {
        let mut woken = inbox.woken.lock().unwrap_or_else(PoisonError::into_inner);
        woken.push(word);
        // Who pushed the first one rings; the inbox is emptied only after that ring.
        let first = woken.len() == 1;
        drop(woken);
        if first {
            (inbox.ring)();
        }
    }
}

#[cfg(test)]
mod tests;
