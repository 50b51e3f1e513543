//! The stream of changes: hello, then one update at a time, each acknowledged once workers see it. When it ends it is opened
//! again after a pause, as the routing stream is.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use pancake_table::certificates as wire;
use pancake_tls::Tickets;
use tokio::sync::mpsc;
use tokio::time::sleep;
use wire::follow_request::Message;

use super::client::Failed;
use super::incoming;
use super::plane::Plane;
use crate::change::now_unix;
use crate::limits::{CONTROL_BACKOFF_MAX, CONTROL_BACKOFF_MIN, CONTROL_BACKOFF_RESET, CONTROL_SEND_QUEUE};
use crate::providers::control::jittered;

/// Follows until the end of the runtime.
pub(super) async fn run(plane: Rc<Plane>, tickets: Arc<Tickets>) {
    let mut pause = CONTROL_BACKOFF_MIN;
    let mut last = String::new();
    loop {
        let opened = Instant::now();
        let mut connected = false;
        let why = match follow(&plane, &tickets, &mut connected).await {
            Ok(()) => "the control plane ended the stream".to_owned(),
            Err(Failed::Away(why) | Failed::Refused(why)) => why,
        };
        // What is the same as last time is not logged again.
        if connected || why != last {
            tracing::warn!(why, "nothing is shared with other proxies: what is known serves on");
        }
        last = why;
        if opened.elapsed() >= CONTROL_BACKOFF_RESET {
            pause = CONTROL_BACKOFF_MIN;
        }
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(CONTROL_BACKOFF_MAX);
    }
}

async fn follow(plane: &Rc<Plane>, tickets: &Tickets, connected: &mut bool) -> Result<(), Failed> {
    let (outgoing, messages) = mpsc::channel(CONTROL_SEND_QUEUE);
    say(&outgoing, Message::Hello(wire::Hello { proxy_id: plane.proxy_id.clone() })).await?;
    let mut updates = plane.client.follow(messages).await?;
    let mut whole = true;
    while let Some(update) = updates.message().await? {
        let (revision, known) = (update.revision, plane.remote());
        let taken = tokio::task::spawn_blocking(move || incoming::read(update, &known)).await;
        let mut taken = taken.map_err(|error| Failed::Refused(format!("taking a message apart: {error}")))?;
        if let Some(keys) = taken.keys.take()
            && let Err(error) = tickets.share(&keys, now_unix())
        {
            taken.refused.push(format!("ticket keys: {error}"));
        }
        let refused = plane.take(taken, whole).await;
        if !refused.is_empty() {
            tracing::error!(refused = refused.join("; "), "the control plane sent what cannot be used");
        }
        plane.until_shown().await;
        say(&outgoing, Message::Ack(wire::Ack { revision, refused })).await?;
        if std::mem::take(&mut whole) {
            *connected = true;
            tracing::info!("certificates and ticket keys are shared through the control plane");
            plane.publish_again().await;
        }
    }
    Ok(())
}

async fn say(outgoing: &mpsc::Sender<wire::FollowRequest>, message: Message) -> Result<(), Failed> {
    let sent = outgoing.send(wire::FollowRequest { message: Some(message) }).await;
    sent.map_err(|_| Failed::Away("the stream is closed".into()))
}
