//! Keys of session tickets, and answers that have ended: what changes because time passes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use pancake_model::sharing::TICKET_KEY_BYTES;
use pancake_store::Write;
use tokio::sync::watch;

use crate::plane::{Plane, stopped};
use crate::sharing::tickets;

/// Looks until `stop` is set.
pub async fn run(plane: Arc<Plane>, mut stop: watch::Receiver<bool>) {
    let pause = plane.settings().sweep.min(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopped(&mut stop) => return,
        }
        look(&plane).await;
    }
}

/// One look.
pub async fn look(plane: &Arc<Plane>) {
    let Some(settings) = &plane.settings().sharing else { return };
    let now = plane.now();
    if plane.update_quietly(|world, at| world.sharing.drop_answers(at.mono)) {
        plane.share(|_, _| ());
    }
    let period = settings.ticket_key_period.as_secs().max(1);
    // Most looks find nothing to do: no randomness is drawn then.
    let due = |keys: &[_]| {
        let none = || Ok::<_, Infallible>([0; TICKET_KEY_BYTES]);
        matches!(tickets::renew(keys, now.unix_ms / 1000, period, none), Ok(Some(_)))
    };
    if !plane.read(|world| due(world.sharing.tickets())) {
        return;
    }
    let made = plane.commit_sharing(
        move |sharing, at| {
            let keys = tickets::renew(sharing.tickets(), at.unix_ms / 1000, period, random);
            let keys =
                keys.map_err(|e| crate::world::OpError::Precondition(e.to_owned()))?.unwrap_or_default();
            Ok((vec![Write::PutTicketKeys(keys.clone())], keys))
        },
        |sharing, keys, _| sharing.set_tickets(keys),
    );
    match made.await {
        Ok(()) => tracing::info!("new keys for session tickets"),
        Err(e) => tracing::error!("no new key for session tickets: {e}"),
    }
}

fn random() -> Result<[u8; TICKET_KEY_BYTES], &'static str> {
    let mut bytes = [0; TICKET_KEY_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system has no randomness")?;
    Ok(bytes)
}
