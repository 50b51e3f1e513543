//! Tests of the wheel: against a plain list of deadlines, and at the seams between levels.

use super::*;

const MILLI: u64 = 1_000_000;

/// A cheap deterministic number.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

fn expired(wheel: &mut Wheel<u32>, now: Time) -> Vec<u32> {
    let mut items = Vec::new();
    while let Some(key) = wheel.pop_expired(now) {
        items.push(*wheel.item(key));
    }
    items
}

#[test]
fn fires_never_early_and_within_the_grain() {
    for start in [0, 5 * MILLI, 2_047 * MILLI, (1 << 24) * TICK_NANOS - 3] {
        let mut state = start ^ 42;
        let mut wheel = Wheel::new(Time(start));
        let mut now = start;
        let mut open: Vec<(u64, Key)> = Vec::new();
        for _ in 0..20_000 {
            match next(&mut state) % 4 {
                0 | 1 => {
                    // From milliseconds to hours ahead, at any scale.
                    let ahead = (next(&mut state) % 1_000) << (next(&mut state) % 36);
                    let key = wheel.add(0);
                    wheel.arm(key, Time(now + ahead));
                    open.push((now + ahead, key));
                }
                2 if !open.is_empty() => {
                    let index = next(&mut state) as usize % open.len();
                    if next(&mut state).is_multiple_of(2) {
                        wheel.remove(open.swap_remove(index).1);
                    } else {
                        open[index].0 = now + (next(&mut state) % 1_000) * MILLI;
                        wheel.arm(open[index].1, Time(open[index].0));
                    }
                }
                _ => {
                    now += (next(&mut state) % 1_000) << (next(&mut state) % 32);
                    while let Some(key) = wheel.pop_expired(Time(now)) {
                        let index = open.iter().position(|(_, k)| *k == key).expect("armed");
                        assert!(open.swap_remove(index).0 <= now, "early");
                        wheel.remove(key);
                    }
                    let late = open.iter().find(|(at, _)| at + TICK_NANOS <= now);
                    assert!(late.is_none(), "late: {late:?} at {now}");
                }
            }
        }
        assert_eq!(wheel.len(), open.len());
    }
}

#[test]
fn says_when_to_look_next_and_never_later_than_a_timer() {
    let mut state = 7;
    for _ in 0..2_000 {
        let start = next(&mut state) << (next(&mut state) % 24);
        let at = start + (next(&mut state) << (next(&mut state) % 24));
        let mut wheel = Wheel::new(Time(start));
        assert_eq!(wheel.next(), None);
        let key = wheel.add(1);
        wheel.arm(key, Time(at));
        let mut looks = 0;
        let mut now = Time(start);
        loop {
            let look = wheel.next().expect("armed").max(now);
            assert!(look.0 < at + TICK_NANOS, "looks too late");
            now = look;
            if wheel.pop_expired(now) == Some(key) {
                break;
            }
            looks += 1;
            assert!(
                looks <= LEVELS + (at - start) as usize / (HORIZON * TICK_NANOS) as usize,
                "looks too often"
            );
        }
        assert!(now.0 >= at);
        assert_eq!(wheel.next(), None);
    }
}

#[test]
fn a_timer_armed_for_the_past_fires_at_once() {
    let mut wheel = Wheel::new(Time(10_000 * MILLI));
    let key = wheel.add(3);
    wheel.arm(key, Time(1));
    assert_eq!(wheel.next(), Some(Time(0)));
    assert_eq!(expired(&mut wheel, Time(10_000 * MILLI)), [3]);
}

#[test]
fn arming_again_moves_a_timer_and_never_disarms() {
    let mut wheel = Wheel::new(Time(0));
    let key = wheel.add(1);
    wheel.arm(key, Time(100 * MILLI));
    wheel.arm(key, Time(300 * MILLI));
    assert_eq!(expired(&mut wheel, Time(200 * MILLI)), []);
    wheel.arm_by(key, Time(400 * MILLI));
    assert_eq!(expired(&mut wheel, Time(308 * MILLI)), [1], "arm_by only moves forward");
    wheel.arm(key, Time(500 * MILLI));
    wheel.arm(key, Time::NEVER);
    assert_eq!(wheel.next(), None);
    assert_eq!(expired(&mut wheel, Time(9_000 * MILLI)), []);
    assert_eq!(wheel.remove(key), 1);
}

#[test]
fn a_timer_beyond_the_horizon_fires_on_its_day() {
    let mut wheel = Wheel::new(Time(0));
    let key = wheel.add(1);
    let at = HORIZON * TICK_NANOS * 5;
    wheel.arm(key, Time(at));
    assert_eq!(expired(&mut wheel, Time(at - TICK_NANOS)), []);
    assert_eq!(expired(&mut wheel, Time(at + TICK_NANOS)), [1]);
}

#[test]
fn timers_of_one_slot_leave_independently() {
    let mut wheel = Wheel::new(Time(0));
    let keys: Vec<Key> = (0..5).map(|i| wheel.add(i)).collect();
    keys.iter().for_each(|key| wheel.arm(*key, Time(40 * MILLI)));
    // Head, middle and tail of the list.
    for gone in [4, 2, 0] {
        wheel.remove(keys[gone]);
    }
    let mut left = expired(&mut wheel, Time(48 * MILLI));
    left.sort_unstable();
    assert_eq!(left, [1, 3]);
    assert_eq!(wheel.next(), None);
}
