//! States of an instance and how news changes them.
//!
//! The five states, their codes and the draining rule are Sidecar's. What this module does not do: decide which of
//! two records is newer (that is `crate::stamp`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is known of an instance. The numbers are Sidecar's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Takes traffic.
    Alive = 0,
    /// Gone; the record stays for a while so that older news does not bring it back.
    Tombstone = 1,
    /// Its check fails.
    Unhealthy = 2,
    /// Not checked yet, or its heartbeat is overdue.
    Unknown = 3,
    /// Takes no new requests; the ones in flight go on.
    Draining = 4,
}

impl State {
    /// The state after news that says `incoming`. Draining survives an incoming Alive; everything else replaces it.
    pub fn after(self, incoming: State) -> State {
        match (self, incoming) {
            (State::Draining, State::Alive) => State::Draining,
            (_, incoming) => incoming,
        }
    }

    /// Sidecar's code.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The state with this code.
    pub fn from_code(code: u8) -> Option<State> {
        [State::Alive, State::Tombstone, State::Unhealthy, State::Unknown, State::Draining]
            .into_iter()
            .find(|s| s.code() == code)
    }

    /// Whether a snapshot names it: proxies must know a draining server to finish its requests and confirm.
    pub fn is_published(self) -> bool {
        matches!(self, State::Alive | State::Draining)
    }

    /// Whether those who act on events act on this change: to Alive, Tombstone and Draining always, to Unknown and
    /// Unhealthy only from Alive.
    pub fn is_significant(previous: Option<State>, now: State) -> bool {
        if previous == Some(now) {
            return false;
        }
        match now {
            State::Alive | State::Tombstone | State::Draining => true,
            State::Unhealthy | State::Unknown => previous == Some(State::Alive),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Alive => "alive",
            State::Tombstone => "tombstone",
            State::Unhealthy => "unhealthy",
            State::Unknown => "unknown",
            State::Draining => "draining",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_state() -> impl Strategy<Value = State> {
        (0u8..5).prop_map(|code| State::from_code(code).unwrap())
    }

    proptest! {
        #[test]
        fn only_draining_resists_and_only_alive(a in any_state(), b in any_state()) {
            let expected = if a == State::Draining && b == State::Alive { State::Draining } else { b };
            prop_assert_eq!(a.after(b), expected);
        }

        #[test]
        fn news_heard_twice_changes_nothing_more(a in any_state(), b in any_state()) {
            prop_assert_eq!(a.after(b).after(b), a.after(b));
        }

        #[test]
        fn codes_round_trip(a in any_state()) {
            prop_assert_eq!(State::from_code(a.code()), Some(a));
        }

        #[test]
        fn the_same_state_again_is_never_significant(a in any_state()) {
            prop_assert!(!State::is_significant(Some(a), a));
        }
    }

    #[test]
    fn a_drain_ends_only_by_leaving() {
        assert_eq!(State::Draining.after(State::Alive), State::Draining);
        assert_eq!(State::Draining.after(State::Tombstone), State::Tombstone);
        assert_eq!(State::Tombstone.after(State::Alive), State::Alive);
    }

    #[test]
    fn a_check_that_fails_matters_only_from_alive() {
        assert!(State::is_significant(Some(State::Alive), State::Unhealthy));
        assert!(!State::is_significant(Some(State::Unknown), State::Unhealthy));
        assert!(!State::is_significant(None, State::Unknown));
        assert!(State::is_significant(None, State::Alive));
    }
}
