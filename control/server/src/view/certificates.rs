//! What proxies share, without keys.

use pancake_api::control as api;
use pancake_model::sharing::SharedResolver;

use crate::sharing::Sharing;
use crate::world::At;

/// Resolvers with their certificates, and who follows.
pub fn certificates(sharing: &Sharing, shared: bool, at: At) -> api::ListCertificatesResponse {
    let resolver = |(name, stored): (&str, &SharedResolver)| api::SharedResolver {
        name: name.to_owned(),
        orders: sharing.leases.holder(name, at.mono).map(proxy_of).unwrap_or_default(),
        stored_by: proxy_of(&stored.stored_by),
        stored_at_unix_ms: stored.stored_at_unix_ms,
        certificates: stored
            .summaries
            .iter()
            .map(|one| api::SharedCertificate {
                domains: one.domains.clone(),
                not_after: one.not_after,
                last_error: one.last_error.clone(),
            })
            .collect(),
    };
    let followers = sharing.followers.iter().map(|(proxy, one)| api::CertificateFollower {
        proxy: proxy.to_owned(),
        current: one.acknowledged >= sharing.revision(),
        refused: one.refused.clone(),
    });
    api::ListCertificatesResponse {
        shared,
        resolvers: sharing.resolvers().map(resolver).collect(),
        followers: followers.collect(),
    }
}

/// A holder is `proxy/process`.
fn proxy_of(holder: &str) -> String {
    holder.rsplit_once('/').map_or(holder, |(proxy, _)| proxy).to_owned()
}
