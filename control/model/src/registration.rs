//! What can be registered, and what is kept of it across restarts.

use serde::{Deserialize, Serialize};

use crate::instance::Instance;
use crate::name::ServiceName;
use crate::router::Router;
use crate::stamp::Stamp;

/// Routers in one registration or one service entry.
pub const MAX_ROUTERS_EACH: usize = 64;

/// An instance registered over the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// As given.
    pub instance: Instance,
    /// Routers that came with it. Where registrations disagree about a name, the newest wins.
    pub routers: Vec<Router>,
    /// When, in the node's own order.
    pub registered: Stamp,
}

/// One service of the services file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEntry {
    /// Its name.
    pub service: ServiceName,
    /// From `rule`.
    pub routers: Vec<Router>,
    /// Its instances.
    pub instances: Vec<Instance>,
}

/// A drain that was asked for. It ends when the instance leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Every proxy confirmed it.
    pub drained: bool,
}
