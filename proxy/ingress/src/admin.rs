//! The admin entry point: Traefik's `traefik` entry point with ping, metrics, API and Pancake's own additions.
//!
//! What is served follows the static configuration as in Traefik: `ping`, `metrics.prometheus`, `api.insecure`. Only
//! reading: nothing here changes anything. Answers are made off the service thread, from immutable values.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use pancake_config::traefik::static_config::{INTERNAL_ENTRY_POINT, Settings};
use tokio::sync::watch;

use crate::access_log;
use crate::change::View;
use crate::host::Host;
use crate::meters::Meters;
use crate::providers::control;
use crate::workers::Life;

/// What is asked, and what is answered.
mod message;
/// Counters as Prometheus metrics.
mod metrics;
/// Routers and services as Traefik's API shows them.
mod objects;
/// Entry points, overview and version.
mod overview;
/// Pancake's own: status, problems, explanations.
mod own;
/// Lists by pages, with filters.
mod page;
/// Path to answer.
mod paths;
/// Connections and requests.
mod serve;

pub(crate) use overview::rfc3339;
pub use serve::serve;

/// Everything that answers are made from.
pub struct Context {
    /// The static configuration.
    pub settings: Arc<Settings>,
    /// What serves and what is wrong.
    pub view: Arc<ArcSwap<View>>,
    /// All counters.
    pub meters: Arc<Meters>,
    /// The stream of the control plane, if one is configured.
    pub control: Option<Arc<control::Status>>,
    /// Certificates from a CA, if there are resolvers.
    pub acme: Option<Arc<crate::acme::status::Status>>,
    /// What the access log has lost, if there is one.
    pub access_log: Option<Arc<access_log::Counts>>,
    /// The engine of the workers.
    pub engine: EngineChoice,
    /// Where each entry point listens.
    pub listening: Vec<(String, SocketAddr)>,
    /// The runtime of the service thread.
    pub host: Host,
    /// Where the process is in its life.
    pub life: watch::Receiver<Life>,
    /// When the process started.
    pub started: SystemTime,
}

/// Which engine the workers run on, and why.
#[derive(Clone, Debug)]
pub struct EngineChoice {
    /// `ring` or `epoll`.
    pub name: &'static str,
    /// Why not another one.
    pub why: String,
}

/// What of the admin entry point the static configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// `ping`.
    pub ping: bool,
    /// `metrics.prometheus`.
    pub metrics: bool,
    /// `api.insecure`.
    pub api: bool,
}

impl Served {
    /// What `settings` ask for.
    pub fn of(settings: &Settings) -> Served {
        Served {
            ping: settings.ping.is_some(),
            metrics: settings.prometheus.is_some(),
            api: settings.api.as_ref().is_some_and(|api| api.insecure),
        }
    }

    /// Whether there is anything.
    pub fn any(self) -> bool {
        self.ping || self.metrics || self.api
    }
}

/// The address of the admin entry point; none if nothing is to be served there.
///
/// # Errors
/// If ping or metrics are asked for on another entry point: those belong to the workers.
pub fn address(settings: &Settings) -> Result<Option<Vec<SocketAddr>>, String> {
    let named = [
        ("ping", settings.ping.as_ref().map(|ping| &ping.entry_point)),
        ("metrics.prometheus", settings.prometheus.as_ref().map(|prometheus| &prometheus.entry_point)),
    ];
    for (what, name) in named {
        if let Some(name) = name.filter(|name| *name != INTERNAL_ENTRY_POINT) {
            return Err(format!(
                "not supported yet: {what}.entryPoint {name:?}; expected {INTERNAL_ENTRY_POINT:?}, whose address can \
                 be set by entryPoints.{INTERNAL_ENTRY_POINT}.address"
            ));
        }
    }
    if !Served::of(settings).any() {
        return Ok(None);
    }
    let admin = settings.entry_points.iter().find(|entry_point| entry_point.name == INTERNAL_ENTRY_POINT);
    Ok(admin.map(|entry_point| entry_point.listen.addresses()))
}
