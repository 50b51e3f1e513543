//! What is to be ordered when: wanted certificates against stored ones and failed orders. Clock and chance are arguments.
//!
//! A stored certificate that nobody wants any more is served until it ends and not renewed: its names may belong to others by
//! now, and a failing order counts against the limits of the CA.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::certificate::Validity;
use super::storage::Stored;
use crate::limits::{
    FAILED_ORDERS_PERIOD, MAX_FAILED_ORDERS, ORDER_ALONE_BEFORE, ORDER_BACKOFF_MAX, ORDER_BACKOFF_MIN,
};

/// Where failed orders stand in the storage file, beside the fields of Traefik: so they count after a restart and for every
/// proxy that shares the file.
const FAILED: &str = "PancakeFailedOrders";

/// How orders that fail are tried again.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// First pause; doubles each time.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
    /// Failed orders of one set of names in `period`.
    pub most: usize,
    /// The time in which they count.
    pub period: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            first: ORDER_BACKOFF_MIN,
            longest: ORDER_BACKOFF_MAX,
            most: MAX_FAILED_ORDERS,
            period: FAILED_ORDERS_PERIOD,
        }
    }
}

/// Orders for a set of names that failed, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Failed {
    /// The names, sorted.
    pub names: Vec<String>,
    /// How many since the last success.
    pub count: u32,
    /// When the last ones failed, in Unix seconds.
    pub times: Vec<u64>,
    /// When the next try is allowed, in Unix seconds.
    pub next_try: u64,
    /// Why the last one failed.
    pub error: String,
}

impl Failed {
    /// One more, at `now`. The CA may ask for a longer pause. `chance` from 0 to 1 makes the pause up to a half shorter.
    pub fn add(
        &mut self,
        error: String,
        retry_after: Option<Duration>,
        now: SystemTime,
        pace: &Pace,
        chance: f64,
    ) {
        self.count = self.count.saturating_add(1);
        self.error = error;
        self.times.push(seconds(now));
        let first = self.times.len().saturating_sub(pace.most);
        self.times.drain(..first);
        let doubled = pace.first.saturating_mul(1 << (self.count - 1).min(20)).min(pace.longest);
        let pause = doubled.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0).max(retry_after.unwrap_or_default());
        self.next_try = seconds(now).saturating_add(pause.as_secs().max(1));
        if let (true, Some(oldest)) = (self.times.len() >= pace.most, self.times.first()) {
            self.next_try = self.next_try.max(oldest.saturating_add(pace.period.as_secs()));
        }
    }
}

/// Failed orders of a resolver; what is malformed is as good as forgotten.
pub fn failed_in(stored: &Stored) -> Vec<Failed> {
    stored.rest.get(FAILED).and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default()
}

/// Changes the failed orders for these names; none: they succeeded. Those for names that nobody wants are forgotten after
/// their pause.
pub fn set_failed(stored: &mut Stored, names: &[String], failed: Option<Failed>, now: SystemTime) {
    let mut all = failed_in(stored);
    let names = key(names);
    all.retain(|one| {
        one.names != names && one.next_try.saturating_add(ORDER_BACKOFF_MAX.as_secs()) > seconds(now)
    });
    all.extend(failed.map(|failed| Failed { names, ..failed }));
    match serde_json::to_value(&all) {
        Ok(value) if !all.is_empty() => {
            stored.rest.insert(FAILED.into(), value);
        }
        _ => {
            stored.rest.remove(FAILED);
        }
    }
}

/// A certificate that is wanted, and what happens with it next.
#[derive(Clone, Debug, PartialEq)]
pub struct Next {
    /// The names to order: of the stored certificate that is to be renewed, or the wanted ones.
    pub names: Vec<String>,
    /// Until when a stored certificate with these names is good; none: there is none.
    pub not_after: Option<SystemTime>,
    /// When to order.
    pub at: SystemTime,
    /// A certificate with these names ends within [`ORDER_ALONE_BEFORE`], or has ended: it is ordered without those with whom
    /// it is shared.
    pub ends_soon: bool,
    /// Failed orders until now.
    pub failed: Failed,
}

/// What happens next with each wanted certificate, those with wildcards first: names that one of them covers are not ordered
/// on their own. `jitter`: names to a number from 0 to 1.
pub fn plan(
    wanted: &[Vec<String>],
    stored: &Stored,
    now: SystemTime,
    jitter: impl Fn(&[String]) -> f64,
) -> Vec<Next> {
    let failed = failed_in(stored);
    let known: Vec<(Vec<String>, Validity)> = stored
        .certificates
        .iter()
        .filter_map(|one| Some((one.domain.names(), Validity::of(&one.certificate.0).ok()?)))
        .collect();
    let mut sorted: Vec<&Vec<String>> = wanted.iter().collect();
    sorted.sort_by_key(|names| !names.iter().any(|name| name.starts_with("*.")));
    let mut all: Vec<Next> = Vec::new();
    for names in sorted {
        let best =
            known.iter().filter(|(_, validity)| validity.covers(names)).max_by_key(|(_, v)| v.not_after);
        let ends_soon = best.is_some_and(|(_, validity)| validity.not_after <= now + ORDER_ALONE_BEFORE);
        let best = best.filter(|(_, validity)| validity.not_after > now);
        let (names, not_after, due) = match best {
            Some((names, validity)) => {
                (names.clone(), Some(validity.not_after), validity.renew_at(jitter(names)))
            }
            None if all.iter().any(|other| covers(&other.names, names)) => continue,
            None => (names.clone(), None, now),
        };
        // Two wants that one certificate covers are one renewal.
        if all.iter().any(|other| key(&other.names) == key(&names)) {
            continue;
        }
        let key = key(&names);
        let failed = failed.iter().find(|one| one.names == key).cloned().unwrap_or_default();
        let at = due.max(UNIX_EPOCH + Duration::from_secs(failed.next_try));
        all.push(Next { names, not_after, at, ends_soon, failed });
    }
    all
}

/// Names as they are ordered: lower case, no dot at the end, each once.
pub fn clean(names: &[String]) -> Vec<String> {
    let mut clean: Vec<String> = Vec::new();
    for name in names {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if !clean.contains(&name) {
            clean.push(name);
        }
    }
    clean
}

fn covers(own: &[String], names: &[String]) -> bool {
    Validity { names: own.to_vec(), not_before: UNIX_EPOCH, not_after: UNIX_EPOCH }.covers(names)
}

/// A set of names, in one order.
fn key(names: &[String]) -> Vec<String> {
    let mut key = names.to_vec();
    key.sort();
    key
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::super::storage::{Bytes, Domain, StoredCertificate};
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn stored(of: &[&str], year: i32) -> Stored {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(names(of)).unwrap();
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(year, 1, 1), rcgen::date_time_ymd(year, 4, 1));
        let pem = params.self_signed(&key).unwrap().pem();
        let certificate = StoredCertificate {
            domain: Domain::of(&names(of)),
            certificate: Bytes(pem.into_bytes()),
            key: Bytes::default(),
            store: "default".into(),
            rest: Default::default(),
        };
        Stored { certificates: vec![certificate], ..Stored::default() }
    }

    /// 2030-02-01.
    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_896_134_400)
    }

    fn no_jitter(_: &[String]) -> f64 {
        0.0
    }

    #[test]
    fn what_a_stored_certificate_covers_is_only_renewed() {
        let plan = plan(
            &[names(&["b.example"]), names(&["a.example"])],
            &stored(&["a.example", "b.example"], 2030),
            now(),
            no_jitter,
        );
        assert_eq!(plan.len(), 1);
        assert_eq!(plan[0].names, ["a.example", "b.example"]);
        assert!(plan[0].at > now() && plan[0].not_after.unwrap() > plan[0].at);
    }

    #[test]
    fn an_expired_certificate_is_ordered_again() {
        let plan = plan(&[names(&["a.example"])], &stored(&["a.example"], 2029), now(), no_jitter);
        assert_eq!((plan[0].not_after, plan[0].at), (None, now()));
    }

    #[test]
    fn only_what_ends_within_a_day_or_has_ended_is_ordered_alone() {
        let soon = |year: i32, now: SystemTime, of: &str| {
            plan(&[names(&[of])], &stored(&["a.example"], year), now, no_jitter)[0].ends_soon
        };
        // It ends on 2030-04-01.
        let end = now() + Duration::from_secs(59 * 86_400);
        assert!(!soon(2030, end - Duration::from_secs(86_401), "a.example"));
        assert!(soon(2030, end - Duration::from_secs(86_400), "a.example"));
        assert!(soon(2029, now(), "a.example"));
        assert!(!soon(2030, end, "new.example"), "there never was one");
    }

    #[test]
    fn a_name_under_a_wanted_wildcard_is_not_ordered_on_its_own() {
        let wanted = [names(&["a.example.com"]), names(&["*.example.com"]), names(&["example.com"])];
        let plan = plan(&wanted, &Stored::default(), now(), no_jitter);
        let ordered: Vec<_> = plan.iter().map(|next| next.names.join(",")).collect();
        assert_eq!(ordered, ["*.example.com", "example.com"]);
    }

    #[test]
    fn failed_orders_wait_longer_each_time_and_have_a_limit_per_hour() {
        let pace = Pace::default();
        let mut failed = Failed::default();
        let mut time = now();
        let mut pauses = Vec::new();
        for _ in 0..5 {
            failed.add("no".into(), None, time, &pace, 0.0);
            let next = UNIX_EPOCH + Duration::from_secs(failed.next_try);
            pauses.push(next.duration_since(time).unwrap().as_secs());
            time = next;
        }
        assert_eq!(pauses[..3], [60, 120, 240]);
        // The fourth in the hour: the next is allowed an hour after the first.
        assert_eq!(pauses[3], 3600 - 60 - 120 - 240);
        failed.add("busy".into(), Some(Duration::from_secs(90_000)), time, &pace, 1.0);
        assert_eq!(failed.next_try, seconds(time) + 90_000);
    }

    #[test]
    fn failed_orders_are_stored_and_forgotten_on_success() {
        let mut stored = Stored::default();
        let wanted = names(&["b.example", "a.example"]);
        let mut failed = Failed::default();
        failed.add("no".into(), None, now(), &Pace::default(), 0.0);
        set_failed(&mut stored, &wanted, Some(failed), now());
        let next = &plan(std::slice::from_ref(&wanted), &stored, now(), no_jitter)[0];
        assert_eq!((next.failed.error.as_str(), next.at), ("no", now() + Duration::from_secs(60)));
        set_failed(&mut stored, &wanted, None, now());
        assert!(stored.rest.is_empty());
    }
}
