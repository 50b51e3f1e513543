//! The services file: what it says replaces what it said.

use std::collections::BTreeSet;

use pancake_discovery::sources::static_file::form::Problem;
use pancake_discovery::sources::static_file::keeper::View;
use pancake_model::instance::{Instance, Origin};
use pancake_model::name::InstanceId;
use pancake_model::state::State;
use pancake_store::Write;

use super::{At, World};

impl World {
    /// Whether the view says anything new.
    pub fn file_differs(&self, view: &View) -> bool {
        view.entries != self.entries || view.problems != self.file_problems
    }

    /// What to store before the view is applied.
    pub fn plan_file(&self, view: &View) -> Vec<Write> {
        let mut writes = Vec::new();
        for (name, entry) in &view.entries {
            if self.entries.get(name) != Some(entry) {
                writes.push(Write::PutEntry(Box::new(entry.clone())));
            }
        }
        for name in self.entries.keys().filter(|name| !view.entries.contains_key(*name)) {
            writes.push(Write::DeleteEntry(name.clone()));
        }
        let gone = self.leavers(view);
        writes.extend(gone.into_iter().filter(|id| self.drains.contains_key(id)).map(Write::DeleteDrain));
        writes
    }

    /// The view is stored.
    pub fn apply_file(&mut self, view: View, at: At) {
        for id in self.leavers(&view) {
            if view.allow_empty {
                self.purposes.instances.insert(id.clone());
            }
            self.retire(&id, "no longer in the services file", at);
        }
        let before = self.all_used();
        let old = std::mem::replace(&mut self.entries, view.entries);
        self.note_routers(&before, &self.all_used());
        if view.allow_empty {
            let now: BTreeSet<_> = self.entries.values().flat_map(|e| &e.routers).map(|r| &r.name).collect();
            let old = old.values().flat_map(|e| &e.routers).map(|r| &r.name);
            self.purposes.routers.extend(old.filter(|name| !now.contains(name)).cloned());
        }
        self.file_problems = view.problems;
        let instances: Vec<Instance> = self.entries.values().flat_map(|e| e.instances.clone()).collect();
        for instance in instances {
            self.announce_from_file(instance, at);
        }
        self.alarm_about_file(at);
    }

    fn announce_from_file(&mut self, instance: Instance, at: At) {
        let (id, service) = (instance.id.clone(), instance.service.to_string());
        let refused = if self.registrations.contains_key(&id) {
            Some(format!("instance {id} is registered over the API; that one is used"))
        } else {
            let first = if instance.check.is_some() { State::Unknown } else { State::Alive };
            self.announce(instance, first, at).err().map(|e| format!("instance {id}: {e}"))
        };
        let problem = refused.map(|message| Problem { service: Some(service), line: None, message });
        self.file_problems.extend(problem);
    }

    fn alarm_about_file(&mut self, at: At) {
        let line = |p: &Problem| {
            let place = p.line.map(|l| format!("line {l}: ")).unwrap_or_default();
            match &p.service {
                Some(service) => format!("{place}{service}: {}", p.message),
                None => format!("{place}{}", p.message),
            }
        };
        let all: Vec<String> = self.file_problems.iter().map(line).collect();
        self.set_alarm("services-file", (!all.is_empty()).then(|| all.join("\n")), at);
    }

    /// Instances of the file that the view no longer has.
    fn leavers(&self, view: &View) -> Vec<InstanceId> {
        let stay: BTreeSet<&InstanceId> =
            view.entries.values().flat_map(|e| &e.instances).map(|i| &i.id).collect();
        let own = self.catalog.records_of(self.catalog.local().id.as_str());
        own.filter(|r| r.instance.origin == Origin::File && r.state != State::Tombstone)
            .map(|r| &r.instance.id)
            .filter(|id| !stay.contains(id))
            .cloned()
            .collect()
    }
}
