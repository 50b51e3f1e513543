//! Instances: registered, renewed, checked, gone.

use pancake_discovery::health::schedule::{Report, Target};
use pancake_model::instance::{Instance, Origin, Record};
use pancake_model::name::InstanceId;
use pancake_model::registration::Registration;
use pancake_model::stamp::Stamp;
use pancake_model::state::State;
use pancake_store::Write;

use super::{At, Checked, OpError, World};
use crate::settings::{FORGET_DRAINED, FORGET_SILENT, MAX_REGISTRATIONS};

impl World {
    /// Whether `instance` can be registered, and what to store then.
    pub fn plan_register(&self, registration: &Registration) -> Result<Vec<Write>, OpError> {
        let instance = &registration.instance;
        instance.validate().map_err(|e| OpError::Invalid(e.to_string()))?;
        if let Some(service) = self.of_file(instance.id.as_str()) {
            return Err(OpError::Precondition(format!(
                "{} is an instance of {service} in the services file; choose another id or change the file",
                instance.id
            )));
        }
        if let Some(other) = self.registrations.get(&instance.id)
            && other.instance.service != instance.service
        {
            return Err(OpError::Precondition(format!(
                "{} is registered as an instance of {}; deregister it first",
                instance.id, other.instance.service
            )));
        }
        let new = !self.registrations.contains_key(&instance.id);
        if new && self.registrations.len() >= MAX_REGISTRATIONS {
            return Err(OpError::Full(format!("{MAX_REGISTRATIONS} instances are registered already")));
        }
        if self.catalog.own(instance.id.as_str()).is_none() && !self.catalog.has_room() {
            return Err(OpError::Full("this node has as many instances as it can hold".into()));
        }
        for router in &registration.routers {
            self.plan_new_router(&router.name, new)?;
        }
        Ok(vec![Write::PutRegistration(Box::new(registration.clone()))])
    }

    /// The registration is stored. Returns the record, and whether the instance is new.
    pub fn register(&mut self, registration: Registration, at: At) -> Result<(Record, bool), OpError> {
        let instance = registration.instance.clone();
        let old = self.registrations.get(&instance.id).map(|r| r.routers.clone()).unwrap_or_default();
        let touched: Vec<_> = old.iter().chain(&registration.routers).cloned().collect();
        let before = self.used(&touched);
        let created = self.registrations.insert(instance.id.clone(), registration).is_none();
        self.note_routers(&before, &self.used(&touched));
        match instance.ttl {
            Some(ttl) => self.deadlines.insert(instance.id.clone(), at.mono + ttl),
            None => self.deadlines.remove(&instance.id),
        };
        self.purposes.instances.remove(&instance.id);
        self.announce(instance.clone(), first_state(&instance), at)?;
        let record = self.catalog.own(instance.id.as_str()).cloned();
        let record = record.ok_or_else(|| OpError::NotFound(format!("{} vanished", instance.id)))?;
        Ok((record, created))
    }

    /// Whether the instance can be deregistered, and what to store then.
    pub fn plan_deregister(&self, id: &str) -> Result<Vec<Write>, OpError> {
        if let Some(registration) = self.registrations.get(id) {
            let id = &registration.instance.id;
            return Ok(vec![Write::DeleteRegistration(id.clone()), Write::DeleteDrain(id.clone())]);
        }
        Err(match self.of_file(id) {
            Some(service) => OpError::Precondition(format!(
                "{id} comes from the services file; remove it from {service} there, or drain it"
            )),
            None => OpError::NotFound(format!("no instance {id} is registered")),
        })
    }

    /// The deregistration is stored. Returns the state before.
    pub fn deregister(&mut self, id: &str, reason: &str, on_purpose: bool, at: At) -> Option<State> {
        let state = self.catalog.own(id)?.state;
        let touched = self.registrations.get(id)?.routers.clone();
        let before = self.used(&touched);
        let registration = self.registrations.remove(id)?;
        let id = registration.instance.id.clone();
        if on_purpose {
            self.purposes.instances.insert(id.clone());
            self.purposes.routers.extend(registration.routers.iter().map(|r| r.name.clone()));
        }
        self.note_routers(&before, &self.used(&touched));
        self.retire(&id, reason, at);
        Some(state)
    }

    /// The heartbeat of an instance.
    pub fn renew(&mut self, id: &str, at: At) -> Result<(State, Option<std::time::Duration>), OpError> {
        let Some(registration) = self.registrations.get(id) else {
            return Err(OpError::NotFound(format!("no instance {id} is registered; register it again")));
        };
        let (id, ttl) = (registration.instance.id.clone(), registration.instance.ttl);
        if let Some(ttl) = ttl {
            self.deadlines.insert(id.clone(), at.mono + ttl);
            self.settle(&id, at);
        }
        let state = self.catalog.own(id.as_str()).map_or(State::Unknown, |r| r.state);
        Ok((state, ttl))
    }

    /// A check ended. True if the instance's state changed.
    pub fn checked(&mut self, report: Report, at: At) -> bool {
        let current = self.catalog.own(report.target.id.as_str());
        if current.and_then(target).as_ref() != Some(&report.target) {
            return false;
        }
        let id = report.target.id.clone();
        self.checks.insert(id.clone(), Checked { report, at_unix_ms: at.unix_ms });
        self.settle(&id, at)
    }

    /// What is to be checked.
    pub fn targets(&self) -> Vec<Target> {
        let own = self.catalog.records_of(self.catalog.local().id.as_str());
        own.filter(|r| r.state != State::Tombstone).filter_map(target).collect()
    }

    /// The last check of an instance.
    pub fn check_of(&self, id: &str) -> Option<&Checked> {
        self.checks.get(id)
    }

    /// How long until the heartbeat of an instance is overdue; none without ttl.
    pub fn ttl_left(&self, id: &str, at: At) -> Option<std::time::Duration> {
        self.deadlines.get(id).map(|d| d.saturating_sub(at.mono))
    }

    /// Notes overdue heartbeats and forgets old tombstones. Returns registrations to forget (silent for long, or
    /// drained for long), and whether a state changed.
    pub fn sweep(&mut self, at: At) -> (Vec<(InstanceId, &'static str)>, bool) {
        let overdue = self.deadlines.iter().filter(|(_, d)| **d <= at.mono).map(|(id, _)| id.clone());
        let mut changed = false;
        for id in overdue.collect::<Vec<_>>() {
            changed |= self.settle(&id, at);
        }
        self.catalog.purge(at.mono);
        let silent = self.deadlines.iter().filter(|(_, d)| at.mono.saturating_sub(**d) >= FORGET_SILENT);
        let mut forget: Vec<_> = silent.map(|(id, _)| (id.clone(), "no heartbeat for long")).collect();
        for (id, drain) in &self.drains {
            let since = self.catalog.since(id.as_str()).unwrap_or_default();
            let long = drain.drained && at.mono.saturating_sub(since) >= FORGET_DRAINED;
            if long && self.registrations.contains_key(id) {
                forget.push((id.clone(), "drained long ago"));
            }
        }
        (forget, changed)
    }

    pub(super) fn restore_instance(&mut self, instance: Instance, at: At) {
        let id = instance.id.clone();
        if let Some(ttl) = instance.ttl {
            // No heartbeat could arrive while the process was down.
            self.deadlines.insert(id.clone(), at.mono + ttl);
        }
        let presumed = self.published.active.contains(&id);
        let state = if presumed { State::Alive } else { first_state(&instance) };
        if let Err(e) = self.announce(instance, state, at) {
            tracing::error!(%id, "not restored: {e}");
        }
    }

    pub(super) fn announce(&mut self, instance: Instance, state: State, at: At) -> Result<(), OpError> {
        let id = instance.id.clone();
        if self.checks.get(&id).is_some_and(|c| Some(&c.report.target) != target_of(&instance).as_ref()) {
            self.checks.remove(&id);
        }
        let change =
            self.catalog.announce(instance, state, at.mono).map_err(|e| OpError::Full(e.to_string()))?;
        self.note(change);
        self.settle(&id, at);
        Ok(())
    }

    /// The instance is gone, and what was kept about it with it.
    pub(super) fn retire(&mut self, id: &InstanceId, reason: &str, at: At) {
        self.deadlines.remove(id);
        self.checks.remove(id);
        self.drains.remove(id);
        self.proxies.set_drains(self.drains.keys());
        let change = self.catalog.set_state(id.as_str(), State::Tombstone, reason, at.mono);
        self.note(change);
    }

    /// Brings the record of an instance in line with what is known of it. True if its state changed.
    pub(super) fn settle(&mut self, id: &InstanceId, at: At) -> bool {
        let Some(record) = self.catalog.own(id.as_str()) else { return false };
        let (state, reason) = self.verdict(record, at);
        let change = self.catalog.set_state(id.as_str(), state, &reason, at.mono);
        let changed = change.is_some();
        self.note(change);
        changed
    }

    fn verdict(&self, record: &Record, at: At) -> (State, String) {
        let id = &record.instance.id;
        if let Some(drain) = self.drains.get(id) {
            let reason = if drain.drained { "drained" } else { "waiting for proxies" };
            return (State::Draining, reason.into());
        }
        if let (Some(deadline), Some(ttl)) = (self.deadlines.get(id), record.instance.ttl)
            && *deadline <= at.mono
        {
            return (State::Unknown, format!("no heartbeat within its ttl of {ttl:?}"));
        }
        if record.instance.check.is_none() {
            return (State::Alive, String::new());
        }
        match self.checks.get(id).map(|c| &c.report) {
            Some(report) if report.verdict == State::Alive => (State::Alive, String::new()),
            Some(report) if report.verdict == State::Unhealthy => {
                (State::Unhealthy, format!("{}: {}", report.target.describe(), report.outcome.output))
            }
            // Nothing is said yet: one that is taken for alive stays so.
            _ if record.state == State::Alive => (State::Alive, "not checked yet".into()),
            _ => (State::Unknown, "not checked yet".into()),
        }
    }

    /// The service of the services file that has this instance.
    fn of_file(&self, id: &str) -> Option<&str> {
        let record = self.catalog.own(id)?;
        let from_file = record.instance.origin == Origin::File && record.state != State::Tombstone;
        from_file.then(|| record.instance.service.as_str())
    }

    /// Registered instances and what came with them.
    pub fn registrations(&self) -> impl Iterator<Item = &Registration> {
        self.registrations.values()
    }

    /// The stamp for a registration made now.
    pub fn stamp(&mut self) -> Stamp {
        self.catalog.stamp()
    }
}

fn first_state(instance: &Instance) -> State {
    if instance.check.is_some() { State::Unknown } else { State::Alive }
}

fn target(record: &Record) -> Option<Target> {
    target_of(&record.instance)
}

fn target_of(instance: &Instance) -> Option<Target> {
    let check = instance.check.clone()?;
    Some(Target { id: instance.id.clone(), address: instance.address.clone(), port: instance.port, check })
}
