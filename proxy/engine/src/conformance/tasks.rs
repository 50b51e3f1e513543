//! Timers, tasks and wakes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use super::*;
use crate::seam::TIMER_GRAIN;
use crate::sim::Rng;

/// Sleeps end in the order of their times when these are apart by more than the grain, and none ends early.
pub async fn sleeps_end_in_order_and_not_early<E: Subject>(engine: E, seed: u64) {
    const SLEEPS: u64 = 12;
    let mut rng = Rng::new(seed);
    let mut order: Vec<u64> = (1..=SLEEPS).collect();
    for n in (1..order.len()).rev() {
        order.swap(n, rng.within(0..=n));
    }
    let woken = Rc::new(RefCell::new(Vec::new()));
    let start = engine.now();
    for n in order {
        let (inner, woken) = (engine.clone(), woken.clone());
        engine.spawn(async move {
            let at = start.after(TIMER_GRAIN * 2 * n as u32);
            inner.sleep_until(at).await;
            assert!(inner.now() >= at, "sleep {n} ended early");
            woken.borrow_mut().push(n);
        });
    }
    let deadline = patience(&engine);
    while woken.borrow().len() < SLEEPS as usize {
        assert!(engine.now() < deadline, "woken: {:?}", woken.borrow());
        pause(&engine, 20).await;
    }
    assert_eq!(*woken.borrow(), (1..=SLEEPS).collect::<Vec<_>>());
}

/// A time that passed ends at once, [`Time::NEVER`] never, and a sleep that is dropped wakes nobody.
pub async fn sleeps_at_the_edges<E: Subject>(engine: E, _seed: u64) {
    engine.sleep_until(Time(0)).await;
    engine.sleep_until(engine.now()).await;
    let until = engine.now().after(Duration::from_millis(30));
    let never = give_up_at(&engine, until, engine.sleep_until(Time::NEVER)).await;
    assert!(never.is_none());
    assert!(engine.now() >= until);
    for _ in 0..100 {
        let _ = poll_once(engine.sleep_until(engine.now().after(Duration::from_millis(5)))).await;
    }
    pause(&engine, 40).await;
    let (before, wall) = (engine.now(), engine.unix_time());
    pause(&engine, 20).await;
    assert!(engine.now() > before);
    assert!(engine.unix_time() > wall, "the wall clock goes on");
}

/// Short and long sleeps, far more than one turn of any wheel apart.
pub async fn sleeps_of_all_lengths<E: Subject>(engine: E, seed: u64) {
    let mut rng = Rng::new(seed);
    // Far deadlines that are given up must not disturb near ones.
    for _ in 0..200 {
        let far = Duration::from_millis(rng.within(1000..=100_000_000) as u64);
        let _ = poll_once(engine.sleep_until(engine.now().after(far))).await;
    }
    for _ in 0..10 {
        let at = engine.now().after(Duration::from_micros(rng.within(0..=40_000) as u64));
        engine.sleep_until(at).await;
        assert!(engine.now() >= at);
    }
}

/// Tasks start tasks, and all of them run.
pub async fn spawned_tasks_run<E: Subject>(engine: E, _seed: u64) {
    fn start<E: Engine>(engine: &E, depth: u32, ran: &Rc<Cell<u32>>) {
        let (inner, ran) = (engine.clone(), ran.clone());
        engine.spawn(async move {
            ran.set(ran.get() + 1);
            if depth > 0 {
                start(&inner, depth - 1, &ran);
                start(&inner, depth - 1, &ran);
            }
        });
    }
    let ran = Rc::new(Cell::new(0));
    start(&engine, 6, &ran);
    let deadline = patience(&engine);
    while ran.get() < 127 {
        assert!(engine.now() < deadline, "{} of 127 tasks ran", ran.get());
        pause(&engine, 1).await;
    }
}

/// `wake_all` polls every task once, also those that nothing else would wake.
pub async fn wake_all_polls_every_task<E: Subject>(engine: E, _seed: u64) {
    let flag = Rc::new(Cell::new(false));
    let saw = Rc::new(Cell::new(0));
    for _ in 0..5 {
        let (flag, saw) = (flag.clone(), saw.clone());
        engine.spawn(async move {
            poll_fn(|_| if flag.get() { Poll::Ready(()) } else { Poll::Pending }).await;
            saw.set(saw.get() + 1);
        });
    }
    pause(&engine, 5).await;
    assert_eq!(saw.get(), 0);
    flag.set(true);
    engine.wake_all();
    pause(&engine, 20).await;
    assert_eq!(saw.get(), 5);
}

/// A task on this engine is woken by another thread, while the engine has nothing else to do.
pub async fn another_thread_wakes_a_task<E: Subject>(engine: E, _seed: u64) {
    for _ in 0..50 {
        let flag = Arc::new(AtomicBool::new(false));
        let (to_thread, wakers) = std::sync::mpsc::channel::<Waker>();
        let thread = std::thread::spawn({
            let flag = flag.clone();
            move || {
                let waker = wakers.recv().expect("a waker comes");
                flag.store(true, Ordering::Release);
                waker.wake();
            }
        });
        let mut handed = false;
        poll_fn(|cx| {
            if flag.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            if !handed {
                handed = true;
                to_thread.send(cx.waker().clone()).expect("the thread waits");
            }
            Poll::Pending
        })
        .await;
        thread.join().expect("the thread ends");
    }
    drop(engine);
}

/// Leaves a task behind that waits for ever; the engine drops it when it stops, which sets `dropped`.
pub async fn leaves_a_task_behind<E: Subject>(engine: E, dropped: Arc<AtomicBool>) {
    struct OnDrop(Arc<AtomicBool>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let (client, server) = pair(&engine).await;
    let mark = OnDrop(dropped.clone());
    engine.spawn(async move {
        let _mark = mark;
        let _ = server.recv(Want::Some, Time::NEVER).await;
        std::future::pending::<()>().await;
    });
    pause(&engine, 5).await;
    assert!(!dropped.load(Ordering::Acquire));
    drop(client);
}
