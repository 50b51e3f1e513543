//! Clients that mean no good: each keeps what the proxy has for as long as it is allowed to, and comes back.

use std::rc::Rc;
use std::time::Duration;

use pancake_engine::Engine;
use pancake_engine::sim::{Rng, Sim};

use crate::client::head;
use crate::message::send;
use crate::plan::Plan;
use crate::run::Setup;
use crate::scenario::Hog;

/// How long a hog stays on a connection, unless the play is over.
const STAY: Duration = Duration::from_secs(600);
/// How often it looks whether the play is over.
const LOOK: Duration = Duration::from_millis(100);

/// Hogs until the other clients are done. `id` and the next are its exchanges.
pub async fn run(sim: Sim, setup: Rc<Setup>, hog: Hog, id: u32) {
    let mut rng = Rng::new(u64::from(id));
    let wire = wire(&setup, hog, id);
    let until = sim.now().after(STAY);
    let Ok(stream) = sim.connect(setup.proxy, until).await else { return };
    if send(&stream, &wire, until, &mut rng).await.is_err() {
        return;
    }
    while !setup.over.get() && sim.now() < until {
        sim.sleep_until(sim.now().after(LOOK)).await;
    }
}

fn wire(setup: &Setup, hog: Hog, id: u32) -> Vec<u8> {
    let mut first = head(&Plan::of(&setup.scenario, id));
    match hog {
        Hog::PartialHead => first.truncate(first.len() - 4),
        Hog::Pipelined => first.extend(head(&Plan::of(&setup.scenario, id + 1))),
        Hog::SlowBody => first.extend_from_slice(b"start"),
        Hog::SlowRead => {}
    }
    first
}
