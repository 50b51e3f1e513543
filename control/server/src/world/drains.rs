//! Drains: asked for, confirmed, taken back.

use std::time::Duration;

use pancake_model::event::Event;
use pancake_model::name::InstanceId;
use pancake_model::registration::Drain;
use pancake_model::state::State;
use pancake_store::Write;

use super::{At, OpError, World};
use crate::proxies::DrainView;
use crate::settings::MAX_DRAINS;

impl World {
    /// Whether the instance can be drained, and what to store then.
    pub fn plan_drain(&self, id: &str) -> Result<Vec<Write>, OpError> {
        let record = self.catalog.own(id).filter(|r| r.state != State::Tombstone);
        let Some(record) = record else {
            return Err(OpError::NotFound(format!("no instance {id} is known")));
        };
        if self.drains.contains_key(id) {
            return Ok(Vec::new());
        }
        if self.drains.len() >= MAX_DRAINS {
            return Err(OpError::Full(format!("{MAX_DRAINS} instances are draining already")));
        }
        Ok(vec![Write::PutDrain(record.instance.id.clone(), Drain::default())])
    }

    /// The drain is stored.
    pub fn drain(&mut self, id: &str, at: At) {
        let Some(id) = self.catalog.own(id).map(|r| r.instance.id.clone()) else { return };
        self.drains.entry(id.clone()).or_default();
        self.purposes.instances.insert(id.clone());
        self.proxies.set_drains(self.drains.keys());
        self.settle(&id, at);
    }

    /// Whether there is a drain to take back, and what to store then.
    pub fn plan_undrain(&self, id: &str) -> Result<Vec<Write>, OpError> {
        match self.drains.get_key_value(id) {
            Some((id, _)) => Ok(vec![Write::DeleteDrain(id.clone())]),
            None => Err(OpError::Precondition(format!("{id} is not draining"))),
        }
    }

    /// The end of the drain is stored: a new life begins, in the state that the last checks say.
    pub fn undrain(&mut self, id: &str, at: At) {
        let Some(record) = self.catalog.own(id).cloned() else { return };
        self.drains.remove(id);
        self.purposes.instances.remove(id);
        self.proxies.set_drains(self.drains.keys());
        let gone = self.catalog.set_state(id, State::Tombstone, "drain taken back", at.mono);
        self.note(gone);
        let checked = self.checks.get(id).map(|c| c.report.verdict);
        let first = match (&record.instance.check, checked) {
            (None, _) => State::Alive,
            (Some(_), Some(verdict)) => verdict,
            (Some(_), None) => State::Unknown,
        };
        if let Err(e) = self.announce(record.instance, first, at) {
            tracing::error!(id, "not announced again: {e}");
        }
    }

    /// Drains that every proxy has confirmed and that are not marked so.
    pub fn complete_drains(&self, grace: Duration, at: At) -> Vec<InstanceId> {
        let open = self.drains.iter().filter(|(_, d)| !d.drained);
        let complete = |id: &InstanceId| {
            self.proxies.drain(id.as_str(), grace, at.mono).is_some_and(|view| view.complete)
        };
        open.map(|(id, _)| id).filter(|id| complete(id)).cloned().collect()
    }

    /// The completion is stored.
    pub fn drained(&mut self, id: &InstanceId, at: At) {
        let Some(drain) = self.drains.get_mut(id) else { return };
        drain.drained = true;
        self.settle(id, at);
        if let Some(record) = self.catalog.own(id.as_str()) {
            let record = Box::new(record.clone());
            self.outbox.push(Event::Instance { record, previous: Some(State::Draining) });
        }
    }

    /// Whether the instance is draining, and whether that is complete.
    pub fn drain_of(&self, id: &str) -> Option<Drain> {
        self.drains.get(id).copied()
    }

    /// Where the drain of an instance stands. One that was complete stays so, whoever connects later.
    pub fn drain_view(&self, id: &str, grace: Duration, at: At) -> Option<DrainView> {
        let drain = self.drains.get(id)?;
        let mut view = self.proxies.drain(id, grace, at.mono)?;
        if drain.drained {
            view.complete = true;
            view.message = "drained: no request is in flight".into();
        } else {
            view.complete = false;
            if let Some(held) = &self.held {
                view.message = format!("the guard holds the snapshot back: {held}");
            }
            if let Some(service) = self.last_of(id) {
                view.message.push_str(&format!("; no other instance of {service} takes requests"));
            }
        }
        Some(view)
    }

    /// The service of an instance, if no other instance of it is alive.
    fn last_of(&self, id: &str) -> Option<&str> {
        let service = &self.catalog.own(id)?.instance.service;
        let alive =
            |r: &pancake_model::instance::Record| r.state == State::Alive && r.instance.service == *service;
        let any = self.catalog.records().any(alive);
        (!any).then(|| service.as_str())
    }
}
