//! The single-threaded executor under every engine.
//!
//! A waker is one word: executor, task and generation, packed. Waking on the executor's own thread pushes to a
//! plain queue; waking from another thread goes through a locked inbox and the executor's bell. Wakers own
//! nothing, so cloning and dropping them is free and a stale one is harmless.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use slab::Slab;

/// Executors that one process may create in its life.
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
    /// The executor that runs on this thread: its number (0 = none) and its queue.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
    static QUEUE: RefCell<VecDeque<usize>> = const { RefCell::new(VecDeque::new()) };
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
    tasks: RefCell<Slab<Slot>>,
    next_generation: Cell<u16>,
    inbox: Arc<Inbox>,
}

impl Executor {
    /// Makes the executor of this thread. `ring` wakes its event loop from another thread.
    ///
    /// # Panics
    /// If this thread has one already, or after too many in one process.
    pub fn new(ring: impl Fn() + Send + Sync + 'static) -> Rc<Executor> {
        assert_eq!(CURRENT.get(), 0, "one executor per thread");
        let inbox = Arc::new(Inbox { woken: Mutex::new(Vec::new()), ring: Box::new(ring) });
        let mut inboxes = INBOXES.lock().unwrap_or_else(PoisonError::into_inner);
        inboxes.push(Some(inbox.clone()));
        let number = inboxes.len();
        assert!(number < MAX_EXECUTORS, "too many executors");
        CURRENT.set(number);
        Rc::new(Executor { number, tasks: RefCell::new(Slab::new()), next_generation: Cell::new(0), inbox })
    }

    /// Adds a task; it is polled in the next [`Executor::run_ready`].
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let generation = self.next_generation.get();
        self.next_generation.set(generation.wrapping_add(1));
        let index =
            self.tasks.borrow_mut().insert(Slot { task: Some(Box::pin(task)), generation, queued: true });
        QUEUE.with_borrow_mut(|queue| queue.push_back(self.pack(index, generation)));
    }

    /// Tasks alive.
    pub fn tasks(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Queues every task.
    pub fn wake_all(&self) {
        let mut tasks = self.tasks.borrow_mut();
        QUEUE.with_borrow_mut(|queue| {
            for (index, slot) in tasks.iter_mut() {
                if !slot.queued {
                    slot.queued = true;
                    queue.push_back(self.pack(index, slot.generation));
                }
            }
        });
    }

    /// Whether a task waits to be polled.
    pub fn has_ready(&self) -> bool {
        QUEUE.with_borrow(|queue| !queue.is_empty())
    }

    /// Moves what other threads woke into the queue. To be called when the bell rang.
    pub fn take_inbox(&self) {
        let woken = std::mem::take(&mut *self.inbox.woken.lock().unwrap_or_else(PoisonError::into_inner));
        for word in woken {
            self.queue(word);
        }
    }

    /// Polls the tasks that are queued now, once each. What they queue in turn waits for the next call, so that the
    /// event loop gets its turn. Returns how many were polled.
    pub fn run_ready(&self) -> usize {
        let batch = QUEUE.with_borrow(VecDeque::len);
        for _ in 0..batch {
            let Some(word) = QUEUE.with_borrow_mut(VecDeque::pop_front) else { break };
            self.poll(word);
        }
        batch
    }

    /// Drops every task, at its await.
    pub fn clear(&self) {
        loop {
            // One at a time: a task's drop may spawn or wake others.
            let Some(task) = ({
                let mut tasks = self.tasks.borrow_mut();
                let first = tasks.iter().next().map(|(index, _)| index);
                first.map(|index| tasks.remove(index))
            }) else {
                break;
            };
            drop(task);
        }
        QUEUE.with_borrow_mut(VecDeque::clear);
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

    fn queue(&self, word: usize) {
        let (index, generation) = unpack(word);
        if let Some(slot) = self.tasks.borrow_mut().get_mut(index)
            && slot.generation == generation
            && !slot.queued
        {
            slot.queued = true;
            QUEUE.with_borrow_mut(|queue| queue.push_back(word));
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
        CURRENT.set(0);
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
    if CURRENT.try_with(Cell::get) == Ok(number) {
        // `poll` clears `queued` before it polls, so a duplicate here costs one empty look-up at worst.
        QUEUE.with_borrow_mut(|queue| queue.push_back(word));
        return;
    }
    let inbox = INBOXES.lock().unwrap_or_else(PoisonError::into_inner).get(number - 1).cloned().flatten();
    if let Some(inbox) = inbox {
        inbox.woken.lock().unwrap_or_else(PoisonError::into_inner).push(word);
        (inbox.ring)();
    }
}
