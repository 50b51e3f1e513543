//! Runs the conformance suite on every engine.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use pancake_engine as engine;
use pancake_engine::Options;
use pancake_engine::conformance::{bytes, connections, datagrams, endings, paths, splices, tasks};
use pancake_engine::epoll::Epoll;
use pancake_engine::ring::Ring;
use pancake_engine::sim::{Faults, Sim};

/// Seeds per behaviour and weather on `sim`.
const SIM_SEEDS: u64 = 12;
/// Seeds per behaviour and size on the kernel engines.
const KERNEL_SEEDS: u64 = 2;
/// Set where the ring engine must work, so that a skip is a failure.
const REQUIRE_RING: &str = "PANCAKE_REQUIRE_RING";
/// Real time after which a behaviour on a kernel engine counts as hung.
const HUNG: Duration = Duration::from_secs(60);

/// Runs a behaviour on `sim` in calm and in rough weather, each with several seeds. Like its siblings it says
/// whether the engine runs here.
fn on_sim<F: Future<Output = ()> + 'static>(behaviour: impl Fn(Sim, u64) -> F) -> bool {
    for seed in 0..SIM_SEEDS {
        for faults in [Faults::none(), Faults::rough()] {
            engine::sim::run(seed, faults, |sim| behaviour(sim, seed)).unwrap();
        }
    }
    true
}

/// Enough slots for everything, and so few that streams wait for each other's.
fn sizes() -> [Options; 2] {
    let roomy = Options { small_slots: 1024, bulk_slots: 64, ..Options::default() };
    let scarce = Options { small_slots: 16, bulk_slots: 2, ring_entries: 64, ..Options::default() };
    [roomy, scarce]
}

/// Lets this process open as many descriptors as it may: the usual soft limit is too low for many connections in
/// several tests at once.
fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a live `rlimit` and keep nothing of it.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Runs `job` on a thread of its own and fails instead of hanging with it.
fn within_time(job: impl FnOnce() + Send + 'static) {
    raise_descriptor_limit();
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        job();
        let _ = done.send(());
    });
    if ended.recv_timeout(HUNG) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("hung: not done after {HUNG:?}");
    }
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn on_epoll<F: Future<Output = ()> + 'static>(behaviour: impl Fn(Epoll, u64) -> F + Send + 'static) -> bool {
    within_time(move || {
        for (options, seed) in sizes().iter().flat_map(|o| (0..KERNEL_SEEDS).map(move |seed| (o, seed))) {
            engine::epoll::run(options, |engine| behaviour(engine, seed)).expect("epoll works everywhere");
        }
    });
    true
}

/// Where the kernel refuses the ring this says so past the capture of the test runner, and fails if
/// `PANCAKE_REQUIRE_RING` is set.
fn on_ring<F: Future<Output = ()> + 'static>(behaviour: impl Fn(Ring, u64) -> F + Send + 'static) -> bool {
    if let Err(refusal) = engine::choose::probe() {
        assert!(std::env::var_os(REQUIRE_RING).is_none(), "{REQUIRE_RING} is set, but {refusal}");
        let _ = writeln!(std::io::stderr(), "SKIPPED on the ring engine: {refusal}");
        return false;
    }
    within_time(move || {
        for (options, seed) in sizes().iter().flat_map(|o| (0..KERNEL_SEEDS).map(move |seed| (o, seed))) {
            engine::ring::run(options, |engine| behaviour(engine, seed))
                .expect("the probe said that it works");
        }
    });
    true
}

/// One test per behaviour and engine.
macro_rules! suite {
    ($engine:ident, $run:path) => {
        suite! { $engine, $run,
            connections: accepts_what_connects, refuses_where_nobody_listens, shares_an_address_only_when_asked,
                accepts_what_waited, serves_many_connections, a_dropped_accept_loses_no_connection,
                a_dropped_connect_leaves_nothing, gives_up_a_connect_at_its_deadline;
            bytes: carries_bytes_in_any_split, passes_received_bytes_on, holds_a_fast_sender_back,
                answers_pipelined_messages, mixes_small_and_large_receives, idle_streams_hold_no_buffer,
                waiting_sends_leave_slots_to_others, unread_bytes_leave_slots_to_others,
                takes_what_fits_at_once, decrypts_in_place;
            endings: half_closes, delivers_what_was_sent_before_the_drop, resets_on_drop,
                fails_sends_to_a_closed_peer, a_dropped_recv_loses_no_bytes, a_dropped_send_delivers_a_prefix,
                a_stream_dropped_in_recv_closes, times_out_a_recv_and_goes_on, times_out_a_send,
                tells_whether_it_is_quiet, delivers_a_last_word_tried_before_the_drop,
                keeps_working_whatever_its_keepalive;
            paths: carries_bytes_to_a_path, says_why_a_path_cannot_be_reached, waits_for_a_full_queue_until_its_deadline;
            splices: splices_bytes_in_any_split, splices_what_had_come_before_first, stops_at_its_limit_and_goes_on,
                reports_how_a_splice_broke, ends_a_splice_when_both_directions_stand_still,
                times_out_a_splice_whose_sink_is_full, a_dropped_splice_delivers_a_prefix, splices_many_tunnels_at_once;
            datagrams: carries_datagrams_of_every_size, tells_many_peers_apart, sends_batches_of_any_sizes,
                hears_only_the_peer_it_is_connected_to, answers_from_the_address_that_was_asked,
                a_dropped_receive_takes_nothing, refuses_a_datagram_that_is_too_long,
                tells_a_connected_socket_that_nobody_listens,
                shares_a_udp_address_only_when_asked;
            tasks: sleeps_end_in_order_and_not_early, sleeps_at_the_edges, sleeps_of_all_lengths,
                spawned_tasks_run, wake_all_polls_every_task, another_thread_wakes_a_task;
        }
    };
    ($engine:ident, $run:path, $($file:ident: $($name:ident),*;)*) => {
        mod $engine {
            use super::*;
            $($(
                #[test]
                fn $name() {
                    $run($file::$name);
                }
            )*)*
            #[test]
            fn drops_the_tasks_left_when_it_stops() {
                let dropped = Arc::new(AtomicBool::new(false));
                let flag = dropped.clone();
                let ran = $run(move |engine, _| tasks::leaves_a_task_behind(engine, {
                    flag.store(false, Ordering::Release);
                    flag.clone()
                }));
                assert_eq!(dropped.load(Ordering::Acquire), ran);
            }
        }
    };
}

suite!(sim, on_sim);
suite!(epoll, on_epoll);
suite!(ring, on_ring);
