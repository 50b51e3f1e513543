//! Connection ids that lead to the worker (RFC 9000 section 5.1): the first byte modulo the number of workers is its number.
//!
//! The program that the kernel steers by is the engine's (`UdpOptions::steer_by_connection_id`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;
use quinn_proto::{ConnectionId, ConnectionIdGenerator};

/// Bytes of an id: enough that none is guessed.
const ID_BYTES: usize = 8;

/// Makes ids: a keyed hash of a counter, so that they say nothing but whose they are.
pub(super) struct Ids {
    pub(super) key: Arc<hmac::Key>,
    pub(super) next: Arc<AtomicU64>,
    pub(super) worker: u8,
    pub(super) workers: u8,
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let counter = self.next.fetch_add(1, Ordering::Relaxed);
        let mut input = [0; 9];
        input[..8].copy_from_slice(&counter.to_be_bytes());
        input[8] = self.worker;
        let tag = hmac::sign(&self.key, &input);
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&tag.as_ref()[..ID_BYTES]);
        id[0] = steered(id[0], self.worker, self.workers);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The byte nearest below `byte` (or above, at the ends) that leads to the worker.
fn steered(byte: u8, worker: u8, workers: u8) -> u8 {
    let base = byte - byte % workers;
    base.checked_add(worker).unwrap_or_else(|| base - workers + worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_leads_to_the_worker() {
        for workers in [1u8, 2, 3, 7, 64, 200, 255] {
            for worker in [0, workers / 2, workers - 1] {
                for byte in 0..=255 {
                    assert_eq!(steered(byte, worker, workers) % workers, worker, "{byte} {worker}/{workers}");
                }
            }
        }
    }

    #[test]
    fn ids_differ() {
        let key = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]));
        let mut ids = Ids { key, next: Arc::default(), worker: 1, workers: 2 };
        let made: std::collections::HashSet<Vec<u8>> =
            (0..1000).map(|_| ids.generate_cid().to_vec()).collect();
        assert_eq!(made.len(), 1000);
        assert!(made.iter().all(|id| id.len() == ID_BYTES && id[0] % 2 == 1));
    }
}
