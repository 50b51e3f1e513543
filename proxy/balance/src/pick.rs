//! Weighted round robin.

/// Smooth weighted round robin over the servers of one service: shares follow the weights, and a server with a large
/// weight is spread over the round instead of taking it in a row. State of one worker.
#[derive(Clone, Debug)]
pub struct WeightedRoundRobin {
    weights: Box<[u32]>,
    /// What each server has saved up; empty while all weights are equal, when a position is enough.
    credit: Box<[i64]>,
    /// Where the next search starts.
    position: usize,
}

impl WeightedRoundRobin {
    /// An order over servers with these weights; 0 takes nothing.
    pub fn new(weights: &[u32]) -> WeightedRoundRobin {
        let equal = weights.windows(2).all(|w| w[0] == w[1]);
        WeightedRoundRobin {
            weights: weights.into(),
            credit: if equal { Box::default() } else { vec![0; weights.len()].into() },
            position: 0,
        }
    }

    /// Starts at a place derived from `seed`, so that workers do not move in step.
    pub fn start_at(&mut self, seed: u64) {
        if !self.weights.is_empty() {
            self.position = (seed % self.weights.len() as u64) as usize;
        }
    }

    /// The next server for which `usable` holds and whose weight is not 0.
    pub fn pick(&mut self, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let picked = if self.credit.is_empty() { self.pick_equal(usable) } else { self.pick_weighted(usable) };
        if let Some(index) = picked {
            self.position = (index + 1) % self.weights.len();
        }
        picked
    }

    fn pick_equal(&self, usable: impl Fn(usize) -> bool) -> Option<usize> {
        if self.weights.first().is_none_or(|&weight| weight == 0) {
            return None;
        }
        let count = self.weights.len();
        (self.position..count).chain(0..self.position).find(|&index| usable(index))
    }

    fn pick_weighted(&mut self, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let count = self.weights.len();
        let (mut best, mut total) = (None, 0);
        for index in (self.position..count).chain(0..self.position) {
            let weight = i64::from(self.weights[index]);
            if weight == 0 || !usable(index) {
                continue;
            }
            total += weight;
            self.credit[index] += weight;
            if best.is_none_or(|best: usize| self.credit[index] > self.credit[best]) {
                best = Some(index);
            }
        }
        let best = best?;
        self.credit[best] -= total;
        Some(best)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_weights_take_turns() {
        let mut order = WeightedRoundRobin::new(&[1, 1, 1]);
        let picks: Vec<_> = (0..6).map(|_| order.pick(|_| true).unwrap()).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_heavy_server_is_spread_over_the_round() {
        let mut order = WeightedRoundRobin::new(&[2, 1, 1]);
        let picks: Vec<_> = (0..8).map(|_| order.pick(|_| true).unwrap()).collect();
        assert!(picks.windows(3).all(|w| !(w[0] == w[1] && w[1] == w[2])), "{picks:?}");
    }

    #[test]
    fn nothing_usable_is_none() {
        assert_eq!(WeightedRoundRobin::new(&[]).pick(|_| true), None);
        assert_eq!(WeightedRoundRobin::new(&[0, 0]).pick(|_| true), None);
        assert_eq!(WeightedRoundRobin::new(&[1, 2]).pick(|_| false), None);
    }

    proptest! {
        #[test]
        fn shares_follow_the_weights(weights in prop::collection::vec(0u32..20, 1..12), seed: u64) {
            let total: u32 = weights.iter().sum();
            prop_assume!(total > 0);
            let mut order = WeightedRoundRobin::new(&weights);
            order.start_at(seed);
            let mut counts = vec![0u32; weights.len()];
            for _ in 0..total {
                counts[order.pick(|_| true).unwrap()] += 1;
            }
            prop_assert_eq!(counts, weights);
        }

        #[test]
        fn never_picks_what_is_not_usable(weights in prop::collection::vec(0u32..5, 1..8), usable: u8) {
            let mut order = WeightedRoundRobin::new(&weights);
            for _ in 0..50 {
                if let Some(index) = order.pick(|i| usable >> i & 1 == 1) {
                    prop_assert!(usable >> index & 1 == 1 && weights[index] > 0);
                }
            }
        }
    }
}
