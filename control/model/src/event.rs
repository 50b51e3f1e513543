//! What changed, for those who watch.
//!
//! Events are news, not state: a reader that missed some reads the lists again.

use crate::instance::Record;
use crate::router::{Router, RouterOrigin};
use crate::state::State;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An instance appeared or its state changed.
    Instance {
        /// After the change.
        record: Box<Record>,
        /// Before; none if it was not known.
        previous: Option<State>,
    },
    /// A router appeared, changed or went.
    Router {
        /// After the change, or the one that went.
        router: Box<Router>,
        /// Who said so.
        origin: RouterOrigin,
        /// It went.
        deleted: bool,
    },
    /// A snapshot was published.
    Published {
        /// Its version.
        version: u64,
        /// Routers in it.
        routers: u32,
        /// Services in it.
        services: u32,
        /// Servers in it, draining ones included.
        servers: u32,
    },
    /// A proxy connected, left, acknowledged or refused.
    Proxy {
        /// Its name.
        id: String,
    },
    /// Something needs a person, or no longer does.
    Alarm {
        /// What it is about.
        subject: String,
        /// In words.
        message: String,
        /// It is over.
        cleared: bool,
    },
}
