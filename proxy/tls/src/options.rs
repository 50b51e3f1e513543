//! `tls.options` to a [`ServerConfig`] without certificates.

use std::sync::Arc;

use pancake_table::snapshot::tls::{ClientAuth, ClientAuthMode, Pem, TlsOptions};
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::time_provider::TimeProvider;

use crate::client_auth;
use crate::fingerprint::{Digest, Fingerprint};
use crate::limits::TLS13_TICKETS;
use crate::names::{self, Found};
use crate::tickets::{BoundTickets, Tickets};

/// What configurations are made with.
pub(crate) struct Ground {
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) clock: Arc<dyn TimeProvider>,
}

/// The configuration, or none if something is wrong with the options, which is then in `found`.
pub(crate) fn server_config(
    options: &TlsOptions,
    ground: &Ground,
    resolver: Arc<dyn ResolvesServerCert>,
    found: &mut Found,
) -> Option<ServerConfig> {
    let provider = Arc::new(names::provider(&options.cipher_suites, &options.curves, found));
    let versions = names::versions(options.min_version, options.max_version, found);
    let verifier = client_auth::verifier(options.client_auth.as_ref(), &provider, found)?;
    if let Some(long) = options.alpn.iter().find(|name| name.is_empty() || name.len() > 255) {
        found.errors.push(("alpnProtocols", format!("{long:?} has {} bytes, expected 1 to 255", long.len())));
    }
    if !found.errors.is_empty() {
        return None;
    }
    let builder = ServerConfig::builder_with_details(provider, Arc::clone(&ground.clock));
    let mut config = match builder.with_protocol_versions(versions) {
        Ok(builder) => builder.with_client_cert_verifier(verifier).with_cert_resolver(resolver),
        Err(error) => {
            found.errors.push(("cipherSuites", format!("they fit no version that is spoken: {error}")));
            return None;
        }
    };
    config.enable_secret_extraction = true;
    config.alpn_protocols = options.alpn.iter().map(|name| name.clone().into_bytes()).collect();
    // A list that someone wrote is an order of preference.
    config.ignore_client_order = !options.cipher_suites.is_empty();
    // Sessions are in tickets only: a session cache would be a lock that workers share.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if options.disable_session_tickets {
        config.send_tls13_tickets = 0;
    } else {
        let context = resumption_context(options);
        config.ticketer = Arc::new(BoundTickets { tickets: Arc::clone(&ground.tickets), context });
        config.send_tls13_tickets = TLS13_TICKETS;
    }
    Some(config)
}

/// Equal settings, equal digest; the name does not matter.
pub(crate) fn digest(options: &TlsOptions) -> Digest {
    let mut print = Fingerprint::new("options");
    print.bytes(&resumption_context(options));
    for list in [&options.cipher_suites, &options.curves, &options.alpn] {
        print.texts(list.iter().map(String::as_str));
    }
    print.number(u64::from(options.sni_strict)).number(u64::from(options.disable_session_tickets));
    print.finish()
}

/// What a session must have been set up with to be resumed: versions and client authentication.
fn resumption_context(options: &TlsOptions) -> Digest {
    let texts = |pems: &[Pem], print: &mut Fingerprint| {
        print.texts(pems.iter().map(|pem| pem.text.as_str()));
    };
    let mut print = Fingerprint::new("resumption");
    print.number(options.min_version as u64).number(options.max_version as u64);
    match &options.client_auth {
        None | Some(ClientAuth { mode: ClientAuthMode::None, .. }) => {
            print.text("no client certificates");
        }
        Some(auth) => {
            print.text(match auth.mode {
                ClientAuthMode::None => "none",
                ClientAuthMode::Request => "request",
                ClientAuthMode::RequireAny => "require any",
                ClientAuthMode::VerifyIfGiven => "verify if given",
                ClientAuthMode::RequireAndVerify => "require and verify",
            });
            texts(&auth.authorities, &mut print);
            texts(&auth.crls, &mut print);
        }
    }
    print.finish()
}
