//! Routers: which of those with one name is used.
//!
//! Over the API by name beats the services file, which beats registrations; among registrations the newest wins.

use std::collections::BTreeMap;

use pancake_model::event::Event;
use pancake_model::name::RouterName;
use pancake_model::registration::Registration;
use pancake_model::router::{Router, RouterOrigin};
use pancake_store::Write;

use super::{OpError, World};
use crate::settings::MAX_ROUTERS;

/// A router that somebody named.
#[derive(Clone, Debug)]
pub struct Effective<'a> {
    /// As given.
    pub router: &'a Router,
    /// By whom.
    pub origin: RouterOrigin,
    /// Another one with this name is used instead, from there.
    pub shadowed_by: Option<RouterOrigin>,
}

/// What a name means: a router and who gave it.
pub(super) type Used = BTreeMap<RouterName, Option<(Router, RouterOrigin)>>;

impl World {
    /// All routers, by name; the one that is used comes first of its name.
    pub fn routers(&self) -> Vec<Effective<'_>> {
        let api = self.routers.values().map(|r| (r, RouterOrigin::Api));
        let file = self.entries.values().flat_map(|e| &e.routers).map(|r| (r, RouterOrigin::File));
        let mut newest_first: Vec<&Registration> =
            self.registrations.values().filter(|r| !r.routers.is_empty()).collect();
        newest_first.sort_by_key(|r| std::cmp::Reverse(r.registered));
        let registered =
            newest_first.into_iter().flat_map(|r| &r.routers).map(|r| (r, RouterOrigin::Register));
        let mut by_name: BTreeMap<&RouterName, Vec<Effective<'_>>> = BTreeMap::new();
        for (router, origin) in api.chain(file).chain(registered) {
            let of_name = by_name.entry(&router.name).or_default();
            // The same router with each instance of a service is one router.
            if of_name.iter().any(|e| e.router == router && e.origin == origin) {
                continue;
            }
            let shadowed_by = of_name.first().map(|winner| winner.origin);
            of_name.push(Effective { router, origin, shadowed_by });
        }
        by_name.into_values().flatten().collect()
    }

    /// The router that is used under this name.
    pub fn router(&self, name: &RouterName) -> Option<(Router, RouterOrigin)> {
        if let Some(router) = self.routers.get(name) {
            return Some((router.clone(), RouterOrigin::Api));
        }
        let file = self.entries.values().flat_map(|e| &e.routers).find(|r| r.name == *name);
        if let Some(router) = file {
            return Some((router.clone(), RouterOrigin::File));
        }
        let having = self.registrations.values().filter_map(|registration| {
            let router = registration.routers.iter().find(|r| r.name == *name)?;
            Some((registration.registered, router))
        });
        having.max_by_key(|(stamp, _)| *stamp).map(|(_, r)| (r.clone(), RouterOrigin::Register))
    }

    /// What to store to put a router.
    pub fn plan_put_router(&self, router: &Router) -> Result<Vec<Write>, OpError> {
        self.plan_new_router(&router.name, !self.routers.contains_key(&router.name))?;
        Ok(vec![Write::PutRouter(Box::new(router.clone()))])
    }

    pub(super) fn plan_new_router(&self, name: &RouterName, new: bool) -> Result<(), OpError> {
        let from_registrations: usize = self.registrations.values().map(|r| r.routers.len()).sum();
        if new && self.routers.len() + from_registrations >= MAX_ROUTERS {
            return Err(OpError::Full(format!("router {name}: {MAX_ROUTERS} routers are there already")));
        }
        Ok(())
    }

    /// The router is stored. True if there was none of this name over the API.
    pub fn put_router(&mut self, router: Router) -> bool {
        let before = self.used([&router]);
        self.purposes.routers.remove(&router.name);
        let created = self.routers.insert(router.name.clone(), router.clone()).is_none();
        self.note_routers(&before, &self.used([&router]));
        created
    }

    /// What to store to delete a router.
    pub fn plan_delete_router(&self, name: &RouterName) -> Result<Vec<Write>, OpError> {
        if self.routers.contains_key(name) {
            return Ok(vec![Write::DeleteRouter(name.clone())]);
        }
        Err(match self.router(name) {
            Some((_, origin)) => OpError::Precondition(format!(
                "router {name} was not put over the API; it comes from origin `{origin}` and goes with it"
            )),
            None => OpError::NotFound(format!("there is no router {name}")),
        })
    }

    /// The deletion is stored.
    pub fn delete_router(&mut self, name: &RouterName) {
        if let Some(router) = self.routers.get(name).cloned() {
            let before = self.used([&router]);
            self.routers.remove(name);
            self.purposes.routers.insert(name.clone());
            self.note_routers(&before, &self.used([&router]));
        }
    }

    /// What is used under the names of these routers now.
    pub(super) fn used<'a>(&self, routers: impl IntoIterator<Item = &'a Router>) -> Used {
        routers.into_iter().map(|r| (r.name.clone(), self.router(&r.name))).collect()
    }

    /// What is used under every name.
    pub(super) fn all_used(&self) -> Used {
        let used = self.routers().into_iter().filter(|e| e.shadowed_by.is_none());
        used.map(|e| (e.router.name.clone(), Some((e.router.clone(), e.origin)))).collect()
    }

    /// Tells of names that no longer mean what they meant.
    pub(super) fn note_routers(&mut self, before: &Used, after: &Used) {
        let none = None;
        for name in before.keys().chain(after.keys().filter(|n| !before.contains_key(*n))) {
            let (was, is) = (before.get(name).unwrap_or(&none), after.get(name).unwrap_or(&none));
            let (deleted, now) = match (was, is) {
                (was, is) if was == is => continue,
                (_, Some(now)) => (false, now),
                (Some(was), None) => (true, was),
                (None, None) => continue,
            };
            let (router, origin) = now.clone();
            self.outbox.push(Event::Router { router: Box::new(router), origin, deleted });
        }
    }
}
