//! What was seen by clients, backends and the proxy's record sink, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::message::{Failed, Head, Received};
use crate::plan::{Body, FIRST_HOG_ID, Plan, Whose, body_of, sum_of};
use crate::scenario::Scenario;

/// The number that answers which nobody asked for carry.
pub const STRAY_ID: u32 = u32::MAX;
/// What the proxy may answer by itself.
const OWN_STATUSES: [u16; 6] = [400, 408, 431, 502, 503, 504];
/// Violations kept; a broken run repeats itself.
const MAX_VIOLATIONS: usize = 20;

/// How an exchange ended for its client.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// With a whole answer.
    Whole {
        /// Its status.
        status: u16,
        /// Whether a backend made it.
        from_backend: bool,
        /// Body bytes.
        bytes: usize,
    },
    /// Without one.
    Broken(Failed),
    /// The client left on purpose.
    GaveUp,
}

/// What the proxy recorded of an exchange.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Status that the client got.
    pub status: u16,
    /// Response body bytes.
    pub response_bytes: u64,
    /// Times that the request was sent again.
    pub retries: u32,
    /// Why it failed.
    pub reason: Option<&'static str>,
}

/// Everything that was seen in a run.
#[derive(Debug, Default)]
pub struct Journal {
    /// What must not be.
    pub violations: Vec<String>,
    fates: BTreeMap<u32, Fate>,
    asked: BTreeMap<u32, usize>,
    records: BTreeMap<u32, Vec<Recorded>>,
    /// Exchanges by the reason that the proxy recorded for their failure, and `retried`.
    pub reasons: BTreeMap<&'static str, usize>,
    /// Records that name no exchange: the request was refused before its target was known.
    pub unnamed_records: usize,
    /// Exchanges whose answer was one that nobody asked for. It came just after a request was sent on a connection
    /// that was kept: no HTTP/1.1 client can tell.
    pub strays: BTreeSet<u32>,
}

impl Journal {
    /// Notes a violation.
    pub fn violation(&mut self, what: String) {
        if self.violations.len() < MAX_VIOLATIONS {
            self.violations.push(what);
        }
    }

    /// The client's side of an exchange is over.
    pub fn ended(&mut self, id: u32, fate: Fate) {
        if fate == Fate::Broken(Failed::TimedOut) {
            self.violation(format!("exchange {id}: the client hangs"));
        }
        if let Fate::Broken(Failed::Malformed(how)) = &fate {
            self.violation(format!("exchange {id}: malformed answer: {how}"));
        }
        if self.fates.insert(id, fate).is_some() {
            self.violation(format!("exchange {id}: ended twice (the simulation is wrong)"));
        }
    }

    /// A backend got the head of a request.
    pub fn asked(&mut self, id: u32) {
        *self.asked.entry(id).or_default() += 1;
    }

    /// The proxy recorded an exchange; `target` as the client sent it.
    pub fn recorded(&mut self, target: &str, record: Recorded) {
        for reason in record.reason.into_iter().chain((record.retries > 0).then_some("retried")) {
            *self.reasons.entry(reason).or_default() += 1;
        }
        match id_of(target) {
            Some(id) => self.records.entry(id).or_default().push(record),
            None => self.unnamed_records += 1,
        }
    }

    /// Records of all exchanges.
    pub fn records(&self) -> usize {
        self.unnamed_records + self.records.values().map(Vec::len).sum::<usize>()
    }

    /// Exchanges that ended with a whole answer from a backend, and others.
    pub fn tally(&self) -> (usize, usize) {
        let whole =
            self.fates.values().filter(|f| matches!(f, Fate::Whole { from_backend: true, .. })).count();
        (whole, self.fates.len() - whole)
    }

    /// Checks a whole answer against the plan.
    pub fn check_answer(&mut self, plan: &Plan, head: &Head, status: u16, body: &Received) -> Fate {
        let id = plan.id;
        let bytes = body.bytes.len();
        let named = head.fields.iter().find(|(name, _)| name == "x-sim-id").map(|(_, id)| id.as_str());
        let Some(named) = named else {
            if !OWN_STATUSES.contains(&status) {
                self.violation(format!("exchange {id}: status {status} that no backend made"));
            }
            return Fate::Whole { status, from_backend: false, bytes };
        };
        if named == STRAY_ID.to_string() {
            self.strays.insert(id);
            return Fate::Whole { status, from_backend: true, bytes };
        }
        if named != id.to_string() {
            self.violation(format!("exchange {id}: got the answer of exchange {named}"));
        } else if status != plan.reply.status {
            self.violation(format!("exchange {id}: status {status} instead of {}", plan.reply.status));
        } else {
            let expected = if plan.reply_has_body() { plan.reply.body.len() } else { 0 };
            if body.bytes != body_of(id, Whose::Reply, expected) {
                let what = format!("{bytes} bytes, planned {expected}");
                self.violation(format!("exchange {id}: wrong body in a whole answer ({what})"));
            }
            self.check_fields(plan, head, body);
        }
        Fate::Whole { status, from_backend: true, bytes }
    }

    fn check_fields(&mut self, plan: &Plan, head: &Head, body: &Received) {
        let id = plan.id;
        let field = |name: &str| head.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let chunked = field("transfer-encoding").is_some();
        if plan.reply_has_body()
            && chunked
            && matches!(plan.reply.body, Body::Chunked { trailer: true, .. })
            && body.sum.as_deref() != Some(sum_of(&body.bytes).as_str())
        {
            self.violation(format!("exchange {id}: the trailer is lost or wrong: {:?}", body.sum));
        }
        if let (Some(length), Body::Length(planned)) = (field("content-length"), plan.reply.body)
            && length != planned.to_string()
        {
            self.violation(format!("exchange {id}: Content-Length {length} instead of {planned}"));
        }
        if chunked && plan.ask.http10 {
            self.violation(format!("exchange {id}: chunks for an HTTP/1.0 client"));
        }
        for hop in ["keep-alive", "proxy-connection", "x-sim-hop"] {
            if field(hop).is_some() {
                self.violation(format!("exchange {id}: hop-by-hop field {hop} was passed on"));
            }
        }
    }

    /// Checks everything against everything once the run is over.
    pub fn audit(&mut self, scenario: &Scenario) {
        let ids: BTreeSet<u32> = self
            .fates
            .keys()
            .chain(self.asked.keys())
            .chain(self.records.keys())
            .copied()
            .filter(|id| *id < FIRST_HOG_ID)
            .collect();
        for id in ids {
            let plan = Plan::of(scenario, id);
            let found = self.audit_one(scenario, &plan);
            found.into_iter().for_each(|what| self.violation(format!("exchange {id}: {what}")));
        }
    }

    fn audit_one(&self, scenario: &Scenario, plan: &Plan) -> Vec<String> {
        let mut found = Vec::new();
        let asked = self.asked.get(&plan.id).copied().unwrap_or(0);
        let records = self.records.get(&plan.id).map_or(&[][..], Vec::as_slice);
        let Some(fate) = self.fates.get(&plan.id) else {
            found.push(format!(
                "{asked} times at a backend, {} records, but no client sent it",
                records.len()
            ));
            return found;
        };
        if records.len() > 1 {
            found.push(format!("{} records: {records:?}", records.len()));
        }
        let whole = matches!(fate, Fate::Whole { .. });
        if records.is_empty() && (whole || asked > 0) {
            // A head that came too late is refused before its target is read.
            let refused = matches!(fate, Fate::Whole { status: 408, .. }) && asked == 0;
            if !refused || self.unnamed_records == 0 {
                found.push(format!("no record, though it was {fate:?} and {asked} times at a backend"));
            }
        }
        // Each proxy on the way may do so.
        let most = match (plan.may_be_sent_twice(), scenario.relay) {
            (true, true) => 4,
            (true, false) => 2,
            (false, _) => 1,
        };
        if asked > most {
            found.push(format!("{} was sent to backends {asked} times", plan.ask.method));
        }
        if let (Fate::Whole { status, from_backend, bytes }, [record]) = (fate, records) {
            if record.status != *status {
                found.push(format!("recorded {record:?}, the client got {status}"));
            }
            if *from_backend && record.response_bytes != *bytes as u64 {
                found.push(format!("recorded {record:?}, the client got {bytes} bytes"));
            }
            // The proxy behind may have answered: that is an answer like any other.
            let relayed = scenario.relay && record.reason.is_none();
            if record.reason.is_some() == *from_backend && !relayed {
                found.push(format!("recorded {record:?}, but it was {fate:?}"));
            }
            if *from_backend && asked == 0 && !self.strays.contains(&plan.id) {
                found.push("answered by a backend that never got it".into());
            }
        }
        if scenario.is_honest() && !is_right(scenario, plan, fate) {
            found.push(format!("nothing may fail, but it was {fate:?}, recorded {records:?}"));
        }
        found
    }
}

/// Whether an exchange in an honest world ended as it must.
fn is_right(scenario: &Scenario, plan: &Plan, fate: &Fate) -> bool {
    match fate {
        Fate::Whole { from_backend: true, .. } => true,
        // A connection that the backend closes just then: what may have had an effect is not sent twice.
        Fate::Whole { status: 502, .. } => scenario.stale > 0 && !plan.may_be_sent_twice(),
        // It was pipelined behind one of those, whose answer ended the connection.
        Fate::Broken(Failed::Nothing) => scenario.stale > 0,
        _ => false,
    }
}

/// The number in a target.
pub fn id_of(target: &str) -> Option<u32> {
    target.strip_prefix("/r/")?.split('?').next()?.parse().ok()
}
