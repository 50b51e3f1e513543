//! Whose turn it is: smooth weighted round robin, as nginx and Traefik do it.
//!
//! With equal weights a pick costs one step from the last place. With different weights each pick looks at all
//! servers, which spreads the heavy ones evenly instead of in bursts.

/// Turns that a seed skips at most where weights differ, as each costs a look at all servers.
const MAX_START_TURNS: u64 = 64;

/// Weighted round robin over places `0..len`. State of one worker; picks allocate nothing.
#[derive(Clone, Debug)]
pub struct WeightedRoundRobin {
    turn: Turn,
}

#[derive(Clone, Debug)]
enum Turn {
    /// All have the same weight, which is not 0.
    Equal { len: usize, next: usize },
    /// Weights differ.
    Weighted(Vec<Share>),
}

#[derive(Clone, Copy, Debug)]
struct Share {
    weight: i64,
    /// Grows by the weight with each pick that the place could have had, falls by the sum of weights with each pick
    /// that it got. Stays within the sum of all weights, either way.
    credit: i64,
}

impl WeightedRoundRobin {
    /// Places with these weights; 0 is never picked. The first place has the first turn.
    pub fn new(weights: &[u32]) -> WeightedRoundRobin {
        WeightedRoundRobin::with_start(weights, 0)
    }

    /// As [`WeightedRoundRobin::new`], some turns ahead that depend on `seed`, so that workers with different seeds
    /// do not all send their first requests to the same server.
    pub fn with_start(weights: &[u32], seed: u64) -> WeightedRoundRobin {
        let equal = weights.first().is_some_and(|first| *first > 0 && weights.iter().all(|w| w == first));
        if equal {
            let len = weights.len();
            let next = usize::try_from(mix(seed) % (len as u64)).unwrap_or(0);
            return WeightedRoundRobin { turn: Turn::Equal { len, next } };
        }
        let shares = weights.iter().map(|w| Share { weight: i64::from(*w), credit: 0 }).collect();
        let mut picker = WeightedRoundRobin { turn: Turn::Weighted(shares) };
        let turns = mix(seed) % (weights.len() as u64).clamp(1, MAX_START_TURNS);
        for _ in 0..turns {
            picker.pick(|_| true);
        }
        picker
    }

    /// How many places there are.
    pub fn len(&self) -> usize {
        match &self.turn {
            Turn::Equal { len, .. } => *len,
            Turn::Weighted(shares) => shares.len(),
        }
    }

    /// Whether there are no places.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The place whose turn it is among those that are `usable`; none if there is none. Each place is asked about
    /// at most once.
    #[inline]
    pub fn pick(&mut self, usable: impl Fn(usize) -> bool) -> Option<usize> {
        match &mut self.turn {
            Turn::Equal { len, next } => pick_equal(*len, next, usable),
            Turn::Weighted(shares) => pick_weighted(shares, usable),
        }
    }
}

#[inline]
fn pick_equal(len: usize, next: &mut usize, usable: impl Fn(usize) -> bool) -> Option<usize> {
    let start = *next;
    let mut place = start;
    loop {
        let after = if place + 1 == len { 0 } else { place + 1 };
        if usable(place) {
            *next = after;
            return Some(place);
        }
        place = after;
        if place == start {
            return None;
        }
    }
}

fn pick_weighted(shares: &mut [Share], usable: impl Fn(usize) -> bool) -> Option<usize> {
    let mut total = 0;
    let mut best: Option<(usize, i64)> = None;
    for (place, share) in shares.iter_mut().enumerate() {
        // Who is away collects no credit: no burst on return.
        if share.weight == 0 || !usable(place) {
            continue;
        }
        total += share.weight;
        share.credit += share.weight;
        if best.is_none_or(|(_, credit)| share.credit > credit) {
            best = Some((place, share.credit));
        }
    }
    let (place, _) = best?;
    shares[place].credit -= total;
    Some(place)
}

/// Neighbouring seeds give unrelated numbers (SplitMix64); 0 gives 0.
fn mix(seed: u64) -> u64 {
    let mut x = seed;
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn picks(picker: &mut WeightedRoundRobin, n: usize) -> Vec<usize> {
        (0..n).filter_map(|_| picker.pick(|_| true)).collect()
    }

    #[test]
    fn equal_weights_take_turns() {
        assert_eq!(picks(&mut WeightedRoundRobin::new(&[7, 7, 7]), 7), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn heavy_servers_are_spread_evenly() {
        assert_eq!(picks(&mut WeightedRoundRobin::new(&[5, 1, 1]), 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn nothing_is_picked_from_nothing() {
        for weights in [&[][..], &[0], &[0, 0]] {
            let mut picker = WeightedRoundRobin::with_start(weights, 9);
            assert_eq!(picker.pick(|_| true), None);
            assert_eq!(picker.len(), weights.len());
        }
        assert_eq!(WeightedRoundRobin::new(&[1, 2]).pick(|_| false), None);
        assert_eq!(WeightedRoundRobin::new(&[1, 1]).pick(|_| false), None);
    }

    #[test]
    fn workers_start_at_different_places() {
        for weights in [&[1u32; 8][..], &[1, 2, 1, 2, 1, 2, 1, 2]] {
            let firsts: std::collections::HashSet<_> =
                (1..=16).map(|seed| WeightedRoundRobin::with_start(weights, seed).pick(|_| true)).collect();
            assert!(firsts.len() >= 4, "{firsts:?}");
        }
    }

    #[test]
    fn who_was_away_gets_no_burst() {
        let mut picker = WeightedRoundRobin::new(&[2, 1]);
        for _ in 0..1_000 {
            assert_eq!(picker.pick(|place| place == 1), Some(1));
        }
        let after = picks(&mut picker, 6);
        assert_eq!(after.iter().filter(|place| **place == 0).count(), 4);
    }

    proptest! {
        #[test]
        fn shares_follow_weights_within_one(weights in proptest::collection::vec(0u32..20, 1..8), seed: u64, n in 1usize..400) {
            let total: u32 = weights.iter().sum();
            prop_assume!(total > 0);
            // From any turn on, not only from the first.
            let mut picker = WeightedRoundRobin::with_start(&weights, seed);
            let mut counts = vec![0u32; weights.len()];
            for _ in 0..n * total as usize {
                counts[picker.pick(|_| true).unwrap()] += 1;
            }
            for (count, weight) in counts.iter().zip(&weights) {
                prop_assert!(count.abs_diff(u32::try_from(n).unwrap() * weight) <= 1);
            }
        }

        #[test]
        fn never_picks_what_is_not_usable(weights in proptest::collection::vec(0u32..4, 0..8), masks in proptest::collection::vec(any::<u8>(), 1..60)) {
            let mut picker = WeightedRoundRobin::new(&weights);
            for mask in masks {
                let usable = |place: usize| mask >> place & 1 == 1;
                let possible = (0..weights.len()).any(|place| weights[place] > 0 && usable(place));
                match picker.pick(usable) {
                    Some(place) => prop_assert!(usable(place) && weights[place] > 0),
                    None => prop_assert!(!possible),
                }
            }
        }
    }
}
