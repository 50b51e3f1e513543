//! `udp.routers` and `udp.services`.

use pancake_table::snapshot::udp::{UdpRouter, UdpService, UdpServiceKind};

use super::qualified;
use super::tcp::{one_kind, weighted};
use crate::decode::Fields;

pub(super) fn router(name: String, fields: &Fields<'_, '_>) -> UdpRouter {
    if fields.get("service").is_none() {
        fields.missing("service", "the name of a service");
    }
    UdpRouter {
        name,
        entry_points: fields.list("entryPoints").into_iter().map(|(text, _)| text.to_string()).collect(),
        service: fields.string("service").map(qualified).unwrap_or_default(),
    }
}

pub(super) fn service(name: String, fields: &Fields<'_, '_>) -> UdpService {
    let kind = match one_kind(fields) {
        Some("weighted") => {
            UdpServiceKind::Weighted(fields.section("weighted", weighted).unwrap_or_default())
        }
        _ => UdpServiceKind::LoadBalancer(fields.section("loadBalancer", servers).unwrap_or_default()),
    };
    UdpService { name, kind }
}

fn servers(fields: &Fields<'_, '_>) -> Vec<String> {
    fields.sections("servers", |_, section| {
        if section.get("address").is_none() {
            section.missing("address", "an address such as 127.0.0.1:53");
        }
        section.string("address").unwrap_or_default().to_string()
    })
}
