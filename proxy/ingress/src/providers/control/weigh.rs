//! What a message would cost, before it is decoded.
//!
//! Two bytes of protobuf can become hundreds of bytes of memory (an empty router), so a size limit alone does not bound
//! what a hostile message takes. This walks over the encoded message, allocates nothing, and counts.

use pancake_table::check::Problem;
use pancake_table::limits::{
    MAX_CERTIFICATES, MAX_ROUTERS, MAX_SERVERS, MAX_SERVICES, MAX_TLS_OPTIONS, MAX_TLS_STORES, MAX_TRANSPORTS,
};
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};

use crate::limits::MAX_CONTROL_FIELDS;

/// What was found without decoding.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// `nonce` of the message.
    pub(super) nonce: u64,
    /// `version` of the snapshot.
    pub(super) version: u64,
    /// What is too much.
    pub(super) excess: Vec<Problem>,
}

/// Messages that hold messages.
#[derive(Clone, Copy)]
enum Kind {
    ControlMessage,
    Snapshot,
    Router,
    RouterTls,
    Service,
    LoadBalancer,
    HealthCheck,
    Transport,
    ServersTls,
    Tls,
    TlsOptions,
    TlsStore,
    GeneratedCertificate,
    Tcp,
    TcpService,
    TcpLoadBalancer,
    TcpTransport,
    Weighted,
    Udp,
    UdpService,
    UdpLoadBalancer,
    Leaf,
}

#[derive(Default)]
struct Counts {
    nonce: u64,
    version: u64,
    fields: usize,
    routers: usize,
    services: usize,
    servers: usize,
    transports: usize,
    certificates: usize,
    tls_options: usize,
    tls_stores: usize,
    tcp_routers: usize,
    tcp_services: usize,
    tcp_transports: usize,
    udp_routers: usize,
    udp_services: usize,
}

/// # Errors
/// If this is no protobuf message.
pub(super) fn weigh(message: &[u8]) -> Result<Weight, String> {
    weigh_as(message, Kind::ControlMessage)
}

/// As [`weigh`], of a snapshot alone.
pub(super) fn weigh_snapshot(message: &[u8]) -> Result<Weight, String> {
    weigh_as(message, Kind::Snapshot)
}

fn weigh_as(message: &[u8], kind: Kind) -> Result<Weight, String> {
    let mut counts = Counts::default();
    walk(message, kind, &mut counts)?;
    let limits = [
        ("fields", counts.fields, MAX_CONTROL_FIELDS),
        ("routers", counts.routers, MAX_ROUTERS),
        ("services", counts.services, MAX_SERVICES),
        ("servers", counts.servers, MAX_SERVERS),
        ("serversTransports", counts.transports, MAX_TRANSPORTS),
        ("tls.certificates", counts.certificates, MAX_CERTIFICATES),
        ("tls.options", counts.tls_options, MAX_TLS_OPTIONS),
        ("tls.stores", counts.tls_stores, MAX_TLS_STORES),
        ("tcp.routers", counts.tcp_routers, MAX_ROUTERS),
        ("tcp.services", counts.tcp_services, MAX_SERVICES),
        ("tcp.serversTransports", counts.tcp_transports, MAX_TRANSPORTS),
        ("udp.routers", counts.udp_routers, MAX_ROUTERS),
        ("udp.services", counts.udp_services, MAX_SERVICES),
    ];
    let excess = limits.into_iter().filter(|(_, found, limit)| found > limit).map(|(what, found, limit)| {
        Problem::error("snapshot", what, format!("{found} {what}, at most {limit} are allowed"))
    });
    Ok(Weight { nonce: counts.nonce, version: counts.version, excess: excess.collect() })
}

fn walk(mut message: &[u8], kind: Kind, counts: &mut Counts) -> Result<(), String> {
    while message.has_remaining() {
        let (tag, wire) = decode_key(&mut message).map_err(|error| error.to_string())?;
        counts.fields += 1;
        match wire {
            WireType::Varint => {
                let value = decode_varint(&mut message).map_err(|error| error.to_string())?;
                match (kind, tag) {
                    (Kind::ControlMessage, 1) => counts.nonce = value,
                    (Kind::Snapshot, 1) => counts.version = value,
                    _ => {}
                }
            }
            WireType::SixtyFourBit => skip(&mut message, 8)?,
            WireType::ThirtyTwoBit => skip(&mut message, 4)?,
            WireType::LengthDelimited => {
                let length = decode_varint(&mut message).map_err(|error| error.to_string())?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let inner = message.get(..length).ok_or("a field is longer than the message")?;
                message.advance(length);
                if let Some(kind) = child(kind, tag, counts) {
                    walk(inner, kind, counts)?;
                }
            }
            WireType::StartGroup | WireType::EndGroup => return Err("groups are not used here".into()),
        }
    }
    Ok(())
}

/// The kind of message in this field, if there is one; the depth is that of the schema.
fn child(kind: Kind, tag: u32, counts: &mut Counts) -> Option<Kind> {
    let counter = match (kind, tag) {
        (Kind::Snapshot, 2) => Some(&mut counts.routers),
        (Kind::Snapshot, 3) => Some(&mut counts.services),
        (Kind::Snapshot, 4) => Some(&mut counts.transports),
        (Kind::LoadBalancer | Kind::TcpLoadBalancer | Kind::UdpLoadBalancer | Kind::Weighted, 1) => {
            Some(&mut counts.servers)
        }
        (Kind::Tls, 1) => Some(&mut counts.certificates),
        (Kind::Tls, 2) => Some(&mut counts.tls_options),
        (Kind::Tls, 3) => Some(&mut counts.tls_stores),
        (Kind::Tcp, 1) => Some(&mut counts.tcp_routers),
        (Kind::Tcp, 2) => Some(&mut counts.tcp_services),
        (Kind::Tcp, 3) => Some(&mut counts.tcp_transports),
        (Kind::Udp, 1) => Some(&mut counts.udp_routers),
        (Kind::Udp, 2) => Some(&mut counts.udp_services),
        _ => None,
    };
    if let Some(counter) = counter {
        *counter += 1;
    }
    Some(match (kind, tag) {
        (Kind::ControlMessage, 2) => Kind::Snapshot,
        (Kind::Snapshot, 2) | (Kind::Tcp, 1) => Kind::Router,
        (Kind::Snapshot, 3) => Kind::Service,
        (Kind::Snapshot, 4) => Kind::Transport,
        (Kind::Snapshot, 6) => Kind::Tls,
        (Kind::Snapshot, 7) => Kind::Tcp,
        (Kind::Snapshot, 8) => Kind::Udp,
        (Kind::Router, 7) => Kind::RouterTls,
        (Kind::Service, 2) => Kind::LoadBalancer,
        (Kind::Transport, 9) | (Kind::TcpTransport, 6) => Kind::ServersTls,
        (Kind::Tls, 2) => Kind::TlsOptions,
        (Kind::Tls, 3) => Kind::TlsStore,
        (Kind::TlsStore, 3) => Kind::GeneratedCertificate,
        (Kind::Tcp, 2) => Kind::TcpService,
        (Kind::Tcp, 3) => Kind::TcpTransport,
        (Kind::TcpService, 2) => Kind::TcpLoadBalancer,
        (Kind::TcpService | Kind::UdpService, 3) => Kind::Weighted,
        (Kind::Udp, 2) => Kind::UdpService,
        (Kind::UdpService, 2) => Kind::UdpLoadBalancer,
        // Messages that hold texts and numbers only.
        (Kind::LoadBalancer | Kind::TcpLoadBalancer | Kind::Weighted | Kind::Tls | Kind::Udp, 1)
        | (Kind::RouterTls | Kind::TcpLoadBalancer, 3)
        | (Kind::ServersTls, 4)
        | (Kind::TlsOptions, 6 | 8)
        | (Kind::TlsStore | Kind::GeneratedCertificate, 2) => Kind::Leaf,
        (Kind::LoadBalancer, 3) => Kind::HealthCheck,
        (Kind::HealthCheck, 11) => Kind::Leaf,
        _ => return None,
    })
}

fn skip(message: &mut &[u8], bytes: usize) -> Result<(), String> {
    *message = message.get(bytes..).ok_or("a field is longer than the message")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use pancake_table::proto as pb;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::change::Provider;
    use crate::change::tests::snapshot;

    fn encoded(snapshot: pb::Snapshot) -> Vec<u8> {
        pb::ControlMessage { nonce: 7, snapshot: Some(snapshot) }.encode_to_vec()
    }

    #[test]
    fn finds_nonce_and_version_and_no_excess() {
        let of = pb::Snapshot { version: 9, ..pb::Snapshot::from(&snapshot(Provider::Pancake, 3)) };
        assert_eq!(weigh(&encoded(of)), Ok(Weight { nonce: 7, version: 9, excess: vec![] }));
    }

    #[test]
    fn a_million_empty_routers_are_too_many() {
        let routers = vec![pb::Router::default(); 1_000_000];
        let weight =
            weigh(&encoded(pb::Snapshot { routers, version: 1, ..pb::Snapshot::default() })).unwrap();
        assert_eq!((weight.nonce, weight.version, weight.excess.len()), (7, 1, 1));
        assert_eq!(weight.excess[0].field, "routers");
    }

    #[test]
    fn a_million_empty_certificates_and_tcp_servers_are_too_many() {
        let tls = pb::Tls { certificates: vec![pb::Certificate::default(); 1_000_000], ..pb::Tls::default() };
        let servers = vec![pb::TcpServer::default(); 1_000_000];
        let balancer = pb::TcpLoadBalancer { servers, ..pb::TcpLoadBalancer::default() };
        let kind = Some(pb::tcp_service::Kind::LoadBalancer(balancer));
        let tcp = pb::Tcp {
            services: vec![pb::TcpService { kind, ..pb::TcpService::default() }],
            ..pb::Tcp::default()
        };
        let message = pb::Snapshot { tls: Some(tls), tcp: Some(tcp), ..pb::Snapshot::default() };
        let weight = weigh(&encoded(message)).unwrap();
        let fields: Vec<&str> = weight.excess.iter().map(|problem| &*problem.field).collect();
        assert_eq!(fields, ["servers", "tls.certificates"]);
    }

    #[test]
    fn lengths_beyond_the_message_are_no_message() {
        for bytes in
            [&[0x12, 0x05, 0x01][..], &[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f], &[0x0b], &[0xff; 11], &[0x09, 1]]
        {
            assert!(weigh(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_decodes_is_weighed(
            objects in 0_usize..20,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut bytes = encoded(pb::Snapshot::from(&snapshot(Provider::Pancake, objects)));
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            let weight = weigh(&bytes);
            if let Ok(message) = pb::ControlMessage::decode(&*bytes) {
                match weight {
                    Ok(weight) => prop_assert_eq!(weight.nonce, message.nonce),
                    // The decoder skips groups in unknown fields; nobody who speaks this contract sends one.
                    Err(reason) => prop_assert_eq!(reason, "groups are not used here"),
                }
            }
        }

        #[test]
        fn any_bytes_are_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = weigh(&bytes);
            let _ = super::super::incoming::read(bytes.into());
        }
    }
}
