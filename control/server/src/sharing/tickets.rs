//! Keys of session tickets: made here, each a whole period before it encrypts, so that no proxy meets a ticket whose key it does
//! not have. A key encrypts for one period and decrypts for two more.
//!
//! Pure: time (Unix seconds) and randomness are arguments.

use pancake_model::sharing::{TICKET_KEY_BYTES, TicketKey};

/// Periods that a key decrypts for after it has encrypted.
const KEPT_PERIODS: u64 = 2;

/// The keys to have at `now`, oldest first; none if they are there already. `random` gives fresh bytes.
///
/// # Errors
/// Those of `random`.
pub fn renew<E>(
    keys: &[TicketKey],
    now: u64,
    period: u64,
    mut random: impl FnMut() -> Result<[u8; TICKET_KEY_BYTES], E>,
) -> Result<Option<Vec<TicketKey>>, E> {
    let mut new: Vec<TicketKey> = keys.iter().filter(|key| now < key.decrypts_until).cloned().collect();
    // One that begins much later than the next period was made by a clock that was wrong.
    new.retain(|key| key.encrypts_from <= now + 2 * period);
    // At most twice: one that encrypts now, one that comes next.
    while new.last().is_none_or(|newest| newest.encrypts_from <= now) {
        let from = new.last().map_or(now, |newest| newest.encrypts_until.max(now));
        new.push(TicketKey {
            key: random()?.to_vec(),
            encrypts_from: from,
            encrypts_until: from + period,
            decrypts_until: from + (1 + KEPT_PERIODS) * period,
        });
    }
    Ok((new != keys).then_some(new))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const P: u64 = 100;

    fn at(keys: &[TicketKey], now: u64, seed: &mut u8) -> Option<Vec<TicketKey>> {
        let random = || -> Result<_, Infallible> {
            *seed += 1;
            Ok([*seed; TICKET_KEY_BYTES])
        };
        renew(keys, now, P, random).unwrap()
    }

    fn times(keys: &[TicketKey]) -> Vec<(u8, u64)> {
        keys.iter().map(|key| (key.key[0], key.encrypts_from)).collect()
    }

    #[test]
    fn the_next_key_is_there_a_period_before_it_encrypts() {
        let seed = &mut 0;
        let keys = at(&[], 1_000, seed).unwrap();
        assert_eq!(times(&keys), [(1, 1_000), (2, 1_100)]);
        assert_eq!(at(&keys, 1_099, seed), None);
        let keys = at(&keys, 1_100, seed).unwrap();
        assert_eq!(times(&keys), [(1, 1_000), (2, 1_100), (3, 1_200)]);
    }

    #[test]
    fn old_keys_decrypt_two_periods_longer() {
        let seed = &mut 0;
        let mut keys = at(&[], 1_000, seed).unwrap();
        for now in [1_100, 1_200, 1_299] {
            keys = at(&keys, now, seed).unwrap_or(keys);
        }
        assert_eq!(times(&keys)[0], (1, 1_000));
        let keys = at(&keys, 1_300, seed).unwrap();
        assert_eq!(times(&keys), [(2, 1_100), (3, 1_200), (4, 1_300), (5, 1_400)]);
    }

    #[test]
    fn after_a_long_stop_there_are_new_ones_at_once() {
        let seed = &mut 0;
        let keys = at(&[], 1_000, seed).unwrap();
        assert_eq!(times(&at(&keys, 9_000, seed).unwrap()), [(3, 9_000), (4, 9_100)]);
        // And when the clock goes back.
        assert_eq!(times(&at(&keys, 500, seed).unwrap()), [(5, 500), (6, 600)]);
    }
}
