//! Tests of the executor: wakes from here and elsewhere, stale wakers, the order of ends.

use std::future::poll_fn;
use std::sync::Condvar;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;

use super::*;

/// A bell that a test can wait for.
#[derive(Default)]
struct Bell {
    rings: Mutex<usize>,
    rang: Condvar,
}

impl Bell {
    fn executor(self: &Arc<Bell>) -> Rc<Executor> {
        let bell = self.clone();
        Executor::new(move || {
            *bell.rings.lock().unwrap() += 1;
            bell.rang.notify_all();
        })
    }

    /// Waits until it rang, and forgets that.
    fn wait(&self) -> usize {
        let rings = self.rang.wait_while(self.rings.lock().unwrap(), |rings| *rings == 0);
        std::mem::take(&mut *rings.unwrap())
    }
}

/// A task that never ends, counts its polls and shows its waker.
fn spy(executor: &Executor) -> (Rc<Cell<usize>>, Rc<RefCell<Option<Waker>>>) {
    let (polls, waker) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None)));
    let (in_polls, in_waker) = (polls.clone(), waker.clone());
    executor.spawn(poll_fn(move |cx| {
        in_polls.set(in_polls.get() + 1);
        *in_waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }));
    (polls, waker)
}

#[test]
fn polls_once_however_often_it_was_woken() {
    let executor = Arc::new(Bell::default()).executor();
    let (polls, waker) = spy(&executor);
    assert_eq!(executor.run_ready(), 1);
    let waker = waker.borrow().clone().unwrap();
    waker.wake_by_ref();
    waker.wake_by_ref();
    waker.wake();
    executor.wake_all();
    assert_eq!(executor.run_ready(), 1);
    assert_eq!((polls.get(), executor.has_ready()), (2, false));
}

#[test]
fn what_a_task_wakes_waits_for_the_next_round() {
    let executor = Arc::new(Bell::default()).executor();
    let polls = Rc::new(Cell::new(0));
    let counter = polls.clone();
    executor.spawn(poll_fn(move |cx| {
        counter.set(counter.get() + 1);
        cx.waker().wake_by_ref();
        Poll::Pending
    }));
    for round in 1..=3 {
        executor.run_ready();
        assert_eq!(polls.get(), round);
        assert!(executor.has_ready());
    }
}

#[test]
fn another_thread_wakes_through_the_bell_and_rings_once_per_batch() {
    let bell = Arc::new(Bell::default());
    let executor = bell.executor();
    let (polls, waker) = spy(&executor);
    executor.run_ready();
    let waker = waker.borrow().clone().unwrap();
    let other = thread::spawn(move || (0..100).for_each(|_| waker.wake_by_ref()));
    other.join().unwrap();
    assert_eq!(bell.wait(), 1, "one ring until the inbox is emptied");
    assert!(!executor.has_ready(), "the inbox is not looked at before");
    executor.take_inbox();
    executor.run_ready();
    assert_eq!(polls.get(), 2);
}

#[test]
fn no_wake_of_another_thread_is_lost() {
    const WAKES: usize = 10_000;
    let bell = Arc::new(Bell::default());
    let executor = bell.executor();
    let (_, waker) = spy(&executor);
    executor.run_ready();
    let waker = waker.borrow().clone().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let seen = Rc::new(Cell::new(0));
    executor.spawn({
        let (sent, seen) = (sent.clone(), seen.clone());
        poll_fn(move |cx| {
            if seen.get() == 0 {
                // The other thread starts with this task's waker.
                let (waker, sent) = (cx.waker().clone(), sent.clone());
                thread::spawn(move || {
                    for _ in 0..WAKES {
                        sent.fetch_add(1, Ordering::Release);
                        waker.wake_by_ref();
                    }
                });
            }
            seen.set(sent.load(Ordering::Acquire).max(1));
            if seen.get() == WAKES { Poll::Ready(()) } else { Poll::Pending }
        })
    });
    executor.run_ready();
    while executor.tasks() > 1 {
        bell.wait();
        executor.take_inbox();
        executor.run_ready();
    }
    assert_eq!(seen.get(), WAKES);
    drop(waker);
}

#[test]
fn a_waker_that_outlived_its_task_wakes_nobody() {
    let executor = Arc::new(Bell::default()).executor();
    let stale = Rc::new(RefCell::new(None));
    let out = stale.clone();
    executor.spawn(poll_fn(move |cx| {
        *out.borrow_mut() = Some(cx.waker().clone());
        Poll::Ready(())
    }));
    executor.run_ready();
    // The next task takes the same place.
    let (polls, _) = spy(&executor);
    executor.run_ready();
    stale.borrow().as_ref().unwrap().wake_by_ref();
    assert!(!executor.has_ready());
    assert_eq!(polls.get(), 1);
}

#[test]
fn a_waker_that_outlived_its_executor_is_harmless() {
    let executor = Arc::new(Bell::default()).executor();
    let (_, waker) = spy(&executor);
    executor.run_ready();
    let waker = waker.borrow().clone().unwrap();
    drop(executor);
    waker.wake_by_ref();
    thread::spawn(move || waker.wake()).join().unwrap();
    let executor = Arc::new(Bell::default()).executor();
    assert_eq!(executor.run_ready(), 0);
}

/// Runs a closure when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn clear_drops_every_task_and_what_their_drops_spawn() {
    let executor = Arc::new(Bell::default()).executor();
    let dropped = Rc::new(Cell::new(0));
    for spawns in [true, false, true] {
        let (executor_in, dropped) = (Rc::downgrade(&executor), dropped.clone());
        let guard = OnDrop(move || {
            dropped.set(dropped.get() + 1);
            if spawns && let Some(executor) = executor_in.upgrade() {
                let dropped = dropped.clone();
                let guard = OnDrop(move || dropped.set(dropped.get() + 1));
                executor.spawn(async move {
                    let _guard = guard;
                    std::future::pending::<()>().await;
                });
            }
        });
        executor.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
    }
    executor.run_ready();
    executor.clear();
    assert_eq!((dropped.get(), executor.tasks(), executor.has_ready()), (5, 0, false));
}
