//! A timer wheel: three levels of 256 slots, every operation O(1), no allocation once warm.
//!
//! An owner adds a timer once, then arms it as often as it likes; a timer that fires stays allocated, unarmed, until
//! its owner removes it. The wheel knows nothing of clocks: time is an argument.

use slab::Slab;

use crate::seam::{TIMER_GRAIN, Time};

/// One tick. Half the promised grain, so that a late turn of the event loop still keeps the promise.
const TICK_NANOS: u64 = TIMER_GRAIN.as_nanos() as u64 / 2;
const SLOT_BITS: u32 = 8;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 3;
/// The farthest a timer is placed, in ticks (37 hours); one beyond is looked at again when that passes.
const HORIZON: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - 1;
/// The list of timers that were armed for a time already passed.
const DUE: u16 = (LEVELS * SLOTS) as u16;
const UNARMED: u16 = DUE + 1;
const NIL: u32 = u32::MAX;

/// A timer of a [`Wheel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u32);

struct Timer<T> {
    item: T,
    tick: u64,
    previous: u32,
    next: u32,
    /// Which list the timer is on: level * [`SLOTS`] + slot, [`DUE`] or [`UNARMED`].
    list: u16,
}

/// Timers that carry a `T` each.
pub struct Wheel<T> {
    timers: Slab<Timer<T>>,
    /// The last tick whose timers were handed out, or are being.
    current: u64,
    heads: [u32; DUE as usize + 1],
    occupied: [[u64; SLOTS / 64]; LEVELS],
}

impl<T> Wheel<T> {
    /// An empty wheel that starts at `now`.
    pub fn new(now: Time) -> Wheel<T> {
        Wheel {
            timers: Slab::new(),
            current: now.0 / TICK_NANOS,
            heads: [NIL; DUE as usize + 1],
            occupied: [[0; SLOTS / 64]; LEVELS],
        }
    }

    /// Adds a timer, unarmed.
    pub fn add(&mut self, item: T) -> Key {
        let timer = Timer { item, tick: 0, previous: NIL, next: NIL, list: UNARMED };
        Key(u32::try_from(self.timers.insert(timer)).expect("fewer than 2^32 timers"))
    }

    /// Removes a timer, armed or not.
    ///
    /// # Panics
    /// If there is no such timer, here and below.
    pub fn remove(&mut self, key: Key) -> T {
        self.disarm(key);
        self.timers.remove(key.0 as usize).item
    }

    /// What the timer carries.
    pub fn item(&mut self, key: Key) -> &mut T {
        &mut self.timers[key.0 as usize].item
    }

    /// Arms the timer for `at`, whatever it was armed for before. [`Time::NEVER`] disarms it.
    pub fn arm(&mut self, key: Key, at: Time) {
        self.disarm(key);
        if at != Time::NEVER {
            self.timers[key.0 as usize].tick = at.0.div_ceil(TICK_NANOS);
            self.place(key.0);
        }
    }

    /// Arms the timer for `at` unless it is armed for that or an earlier time.
    pub fn arm_by(&mut self, key: Key, at: Time) {
        let timer = &self.timers[key.0 as usize];
        if timer.list == UNARMED || timer.tick > at.0.div_ceil(TICK_NANOS) {
            self.arm(key, at);
        }
    }

    /// Disarms the timer, if it is armed.
    pub fn disarm(&mut self, key: Key) {
        let timer = &mut self.timers[key.0 as usize];
        let (list, previous, next) = (timer.list, timer.previous, timer.next);
        if list == UNARMED {
            return;
        }
        timer.list = UNARMED;
        if next != NIL {
            self.timers[next as usize].previous = previous;
        }
        if previous != NIL {
            self.timers[previous as usize].next = next;
        } else {
            self.heads[list as usize] = next;
            if next == NIL && list < DUE {
                let (level, slot) = (list as usize / SLOTS, list as usize % SLOTS);
                self.occupied[level][slot / 64] &= !(1 << (slot % 64));
            }
        }
    }

    /// Disarms and returns one timer whose time has come. To be called until it returns none.
    pub fn pop_expired(&mut self, now: Time) -> Option<Key> {
        let target = now.0 / TICK_NANOS;
        loop {
            let slot = self.heads[self.current as usize % SLOTS];
            for head in [self.heads[DUE as usize], slot] {
                if head != NIL {
                    self.disarm(Key(head));
                    return Some(Key(head));
                }
            }
            if self.current >= target {
                return None;
            }
            match self.next_tick() {
                Some(tick) if tick <= target => {
                    self.current = tick;
                    self.cascade();
                }
                _ => self.current = target,
            }
        }
    }

    /// When `pop_expired` should be called next. May be earlier than the next timer, never later.
    pub fn next(&self) -> Option<Time> {
        if self.heads[DUE as usize] != NIL || self.heads[self.current as usize % SLOTS] != NIL {
            return Some(Time(0));
        }
        self.next_tick().map(|tick| Time(tick.saturating_mul(TICK_NANOS)))
    }

    /// Timers that exist, armed or not.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether no timer exists.
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// The first tick after the current one at which a slot fires or has to be spread over the level below.
    fn next_tick(&self) -> Option<u64> {
        (0..LEVELS)
            .filter_map(|level| {
                let shift = SLOT_BITS * level as u32;
                let from = (self.current >> shift) + 1;
                let steps = steps_to_set(&self.occupied[level], from as usize % SLOTS)?;
                Some((from + steps as u64) << shift)
            })
            .min()
    }

    /// At the start of a block of ticks: spreads the timers of the block over the lower level, the coarsest first.
    fn cascade(&mut self) {
        for level in (1..LEVELS).rev() {
            let shift = SLOT_BITS * level as u32;
            if self.current & ((1 << shift) - 1) != 0 {
                continue;
            }
            let list = level * SLOTS + (self.current >> shift) as usize % SLOTS;
            // The list is taken whole: a timer beyond the horizon may come back to the very same slot.
            let mut index = std::mem::replace(&mut self.heads[list], NIL);
            let slot = list % SLOTS;
            self.occupied[level][slot / 64] &= !(1 << (slot % 64));
            while index != NIL {
                let next = self.timers[index as usize].next;
                self.place(index);
                index = next;
            }
        }
    }

    fn place(&mut self, index: u32) {
        let tick = self.timers[index as usize].tick;
        let list = if tick < self.current {
            DUE as usize
        } else {
            let ahead = (tick - self.current).min(HORIZON);
            let level =
                (0..LEVELS).find(|l| ahead >> (SLOT_BITS * (*l as u32 + 1)) == 0).unwrap_or(LEVELS - 1);
            let slot = ((self.current + ahead) >> (SLOT_BITS * level as u32)) as usize % SLOTS;
            self.occupied[level][slot / 64] |= 1 << (slot % 64);
            level * SLOTS + slot
        };
        let next = std::mem::replace(&mut self.heads[list], index);
        if next != NIL {
            self.timers[next as usize].previous = index;
        }
        let timer = &mut self.timers[index as usize];
        (timer.list, timer.previous, timer.next) = (list as u16, NIL, next);
    }
}

/// How many steps from slot `from`, around the circle, to the first occupied one.
fn steps_to_set(bits: &[u64; SLOTS / 64], from: usize) -> Option<usize> {
    const WORDS: usize = SLOTS / 64;
    let first = bits[from / 64] >> (from % 64);
    if first != 0 {
        return Some(first.trailing_zeros() as usize);
    }
    // The first word comes round again last, for its bits below `from`.
    (1..=WORDS).find_map(|ahead| {
        let word = bits[(from / 64 + ahead) % WORDS];
        (word != 0).then(|| ahead * 64 - from % 64 + word.trailing_zeros() as usize)
    })
}

#[cfg(test)]
mod tests;
