//! Bytes to a snapshot. Pure; to be called off the service thread, since a large message takes a while.

use bytes::Bytes;
use pancake_table::check::Problem;
use pancake_table::proto as pb;
use pancake_table::snapshot::Snapshot;
use prost::Message;

use super::weigh::weigh;

/// A message that can be answered.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) nonce: u64,
    pub(super) version: u64,
    pub(super) allow_empty: bool,
    pub(super) snapshot: Result<Snapshot, Vec<Problem>>,
}

/// # Errors
/// If this is no message at all: there is nothing to answer.
pub(super) fn read(bytes: Bytes) -> Result<Incoming, String> {
    let weight = weigh(&bytes)?;
    let refused = |problems| Incoming {
        nonce: weight.nonce,
        version: weight.version,
        allow_empty: false,
        snapshot: Err(problems),
    };
    if !weight.excess.is_empty() {
        return Ok(refused(weight.excess.clone()));
    }
    let message = pb::ControlMessage::decode(bytes).map_err(|error| error.to_string())?;
    let Some(snapshot) = message.snapshot else {
        return Ok(refused(vec![Problem::error("snapshot", "", "the message has no snapshot")]));
    };
    let allow_empty = snapshot.allow_empty;
    Ok(Incoming {
        nonce: message.nonce,
        version: snapshot.version,
        allow_empty,
        snapshot: Snapshot::try_from(snapshot),
    })
}
