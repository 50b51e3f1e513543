//! `certificates`.

use pancake_api::control as api;

use crate::args::Format;
use crate::connect::{Client, refusal};
use crate::output::{json, now_unix_ms, say, table};

/// Lists certificates that proxies share, and the proxies.
pub async fn certificates(mut client: Client, format: Format) -> anyhow::Result<()> {
    let request = api::ListCertificatesRequest {};
    let answer = client.list_certificates(request).await.map_err(|s| refusal(&s))?.into_inner();
    if format == Format::Json {
        return json(&answer);
    }
    if !answer.shared {
        say("proxies share no certificates: start pancake-control with --sharing-token-file to let them")?;
    }
    let now = now_unix_ms() / 1000;
    let mut rows = Vec::new();
    for resolver in &answer.resolvers {
        for certificate in &resolver.certificates {
            rows.push(vec![
                certificate.domains.join(" "),
                resolver.name.clone(),
                left(certificate.not_after, now),
                if resolver.orders.is_empty() { "-".into() } else { resolver.orders.clone() },
                resolver.stored_by.clone(),
                certificate.last_error.clone(),
            ]);
        }
    }
    if rows.is_empty() {
        say("no certificates yet")?;
    } else {
        table(&["names", "resolver", "good for", "orders now", "stored by", "last error"], rows)?;
    }
    let row = |follower: &api::CertificateFollower| {
        let state = match (follower.refused.is_empty(), follower.current) {
            (false, _) => "refuses",
            (true, true) => "current",
            (true, false) => "behind",
        };
        vec![follower.proxy.clone(), state.to_owned(), follower.refused.join("\n")]
    };
    if answer.followers.is_empty() {
        return say("no proxy shares certificates");
    }
    table(&["proxy", "state", ""], answer.followers.iter().map(row).collect())
}

/// What is left until then.
fn left(not_after: u64, now: u64) -> String {
    match not_after.saturating_sub(now) {
        _ if not_after == 0 => "none yet".into(),
        0 => "EXPIRED".into(),
        s @ 1..172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}
