//! Heartbeats, drains, old tombstones and proxies: what changes because time passes.

use std::sync::Arc;

use pancake_model::registration::Drain;
use pancake_store::Write;
use tokio::sync::watch;

use crate::plane::{Plane, stopped};

/// Sweeps until `stop` is set.
pub async fn run(plane: Arc<Plane>, mut stop: watch::Receiver<bool>) {
    let pause = plane.settings().sweep;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopped(&mut stop) => return,
        }
        sweep(&plane).await;
    }
}

async fn sweep(plane: &Arc<Plane>) {
    let grace = plane.settings().proxy_grace;
    let ((forget, changed), proxies) =
        plane.update_quietly(|world, at| (world.sweep(at), world.proxies.forget(at.mono)));
    if changed {
        plane.wake();
    }
    for (id, why) in forget {
        let plan = id.clone();
        let done = plane
            .commit(
                move |world| world.plan_deregister(plan.as_str()),
                move |world, at| world.deregister(id.as_str(), why, false, at),
            )
            .await;
        report(done.map(|_| ()), "forget an instance");
    }
    let now = plane.now();
    for id in plane.read(|world| world.complete_drains(grace, now)) {
        let plan = vec![Write::PutDrain(id.clone(), Drain { drained: true })];
        let done = plane.commit(|_| Ok(plan), move |world, at| world.drained(&id, at)).await;
        report(done, "note a complete drain");
    }
    if !proxies.is_empty() {
        let writes = proxies.into_iter().map(Write::DeleteProxy).collect();
        report(plane.store(writes).await.map_err(Into::into), "forget a proxy");
    }
}

fn report(result: Result<(), crate::world::OpError>, what: &str) {
    if let Err(e) = result {
        tracing::error!("could not {what}: {e}");
    }
}
