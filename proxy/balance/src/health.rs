//! From results of checks to a verdict: up or down, with thresholds against flapping.

/// How many results in a row change a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Good results in a row until a server that is down is up. 0 counts as 1.
    pub rise: u32,
    /// Bad results in a row until a server that is up is down. 0 counts as 1.
    pub fall: u32,
}

impl Thresholds {
    /// Traefik's active check: each result decides.
    pub const TRAEFIK: Thresholds = Thresholds { rise: 1, fall: 1 };
}

/// The verdict on one server. Starts as up: a server serves until a check says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    thresholds: Thresholds,
    up: bool,
    /// Results in a row that speak against the verdict.
    against: u32,
}

impl Verdict {
    /// Up, nothing against it.
    pub fn new(thresholds: Thresholds) -> Verdict {
        Verdict { thresholds, up: true, against: 0 }
    }

    /// As [`Verdict::new`], for a server that is known to be up or down already.
    pub fn resume(thresholds: Thresholds, up: bool) -> Verdict {
        Verdict { thresholds, up, against: 0 }
    }

    /// The verdict.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Takes the result of a check; returns the new verdict if it changed.
    pub fn record(&mut self, good: bool) -> Option<bool> {
        if good == self.up {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if self.up { self.thresholds.fall } else { self.thresholds.rise };
        if self.against < needed {
            return None;
        }
        self.up = good;
        self.against = 0;
        Some(good)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_result_decides_as_in_traefik() {
        let mut verdict = Verdict::new(Thresholds::TRAEFIK);
        assert_eq!(verdict.record(true), None);
        assert_eq!(verdict.record(false), Some(false));
        assert_eq!(verdict.record(false), None);
        assert_eq!(verdict.record(true), Some(true));
    }

    #[test]
    fn results_must_come_in_a_row() {
        let mut verdict = Verdict::new(Thresholds { rise: 2, fall: 3 });
        for good in [false, false, true, false, false] {
            assert_eq!(verdict.record(good), None);
        }
        assert_eq!(verdict.record(false), Some(false));
        assert_eq!(verdict.record(true), None);
        assert_eq!(verdict.record(false), None);
        assert_eq!(verdict.record(true), None);
        assert_eq!(verdict.record(true), Some(true));
        assert!(verdict.is_up());
    }

    #[test]
    fn zero_counts_as_one() {
        assert_eq!(Verdict::new(Thresholds { rise: 0, fall: 0 }).record(false), Some(false));
    }

    proptest! {
        #[test]
        fn a_verdict_changes_only_after_enough_results_in_a_row(rise in 1u32..5, fall in 1u32..5, results in proptest::collection::vec(any::<bool>(), 0..100)) {
            let mut verdict = Verdict::new(Thresholds { rise, fall });
            for end in 1..=results.len() {
                if let Some(up) = verdict.record(results[end - 1]) {
                    let needed = if up { rise } else { fall } as usize;
                    prop_assert!(end >= needed && results[end - needed..end].iter().all(|r| *r == up));
                }
                prop_assert_eq!(verdict.is_up(), verdict.up);
            }
        }
    }
}
