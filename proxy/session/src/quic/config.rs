//! What endpoints and connections are set up with.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use aws_lc_rs::{hkdf, hmac, rand};
use quinn_proto::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt};

use super::clock::WallClock;
use super::crypto::Chooser;
use super::endpoint::Place;
use super::ids::Ids;
use crate::limits::{
    QUIC_CONNECTION_WINDOW_BYTES, QUIC_REQUEST_STREAMS, QUIC_RETRY_TOKEN_LIFETIME, QUIC_SEND_WINDOW_BYTES,
    QUIC_STREAM_WINDOW_BYTES, QUIC_UNIDIRECTIONAL_STREAMS,
};
use crate::settings::EntryPoint;

/// What keys of QUIC are derived from, the same for all workers of a process: those of Retry tokens, of stateless resets and
/// of connection ids.
#[derive(Clone)]
pub struct Secrets {
    root: [u8; 32],
    /// None: endpoints take their own randomness from the system.
    seed: Option<[u8; 32]>,
}

impl Secrets {
    /// From the system's randomness; none if it has none.
    pub fn random() -> Option<Secrets> {
        let mut root = [0; 32];
        rand::fill(&mut root).ok()?;
        Some(Secrets { root, seed: None })
    }

    /// Always the same: for simulations.
    pub fn fixed(seed: u64) -> Secrets {
        let mut root = [7; 32];
        root[..8].copy_from_slice(&seed.to_be_bytes());
        Secrets { root, seed: Some(root) }
    }

    fn derive(&self, purpose: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.root), purpose)
    }

    fn key(&self, purpose: &[u8]) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.derive(purpose).as_ref())
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

/// The configuration of the endpoint of one worker.
pub(super) fn endpoint(place: &Place) -> EndpointConfig {
    let secrets = &place.secrets;
    let mut config = EndpointConfig::new(Arc::new(secrets.key(b"stateless reset")));
    let (key, next) = (Arc::new(secrets.key(b"connection ids")), Arc::new(AtomicU64::new(0)));
    let (worker, workers) = (place.number, place.workers);
    config.cid_generator(move || {
        Box::new(Ids { key: Arc::clone(&key), next: Arc::clone(&next), worker, workers })
    });
    // QUIC version 1 (RFC 9000) and nothing older.
    config.supported_versions(vec![1]);
    config.rng_seed(secrets.seed);
    config
}

/// The configuration of the connections of an entry point.
pub(super) fn server(
    place: &Place,
    entry: &EntryPoint,
    chooser: Chooser,
    wall: Arc<WallClock>,
) -> ServerConfig {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"pancake retry tokens");
    let token_key = salt.extract(place.secrets.derive(b"retry tokens").as_ref());
    let mut config = ServerConfig::new(Arc::new(chooser), Arc::new(token_key));
    config.transport_config(Arc::new(transport(entry)));
    config.retry_token_lifetime(QUIC_RETRY_TOKEN_LIFETIME);
    config.time_source(wall);
    config
}

fn transport(entry: &EntryPoint) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = entry.idle_timeout.and_then(|limit| IdleTimeout::try_from(limit).ok());
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(QUIC_REQUEST_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(QUIC_UNIDIRECTIONAL_STREAMS))
        .stream_receive_window(VarInt::from_u32(QUIC_STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(QUIC_CONNECTION_WINDOW_BYTES))
        .send_window(QUIC_SEND_WINDOW_BYTES)
        .max_idle_timeout(idle)
        // No use is made of them.
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(Some(MtuDiscoveryConfig::default()));
    transport
}
