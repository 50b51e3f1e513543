//! `pancake.sharing`: certificates, challenges and ticket keys that proxies share through the control plane. Traefik has no such
//! keys. The token itself is not read here.

use std::net::IpAddr;
use std::path::PathBuf;

use super::PancakeProvider;
use crate::decode::Fields;
use crate::problem::Problem;

/// `pancake.sharing`; none means that this proxy shares nothing through the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// `tokenFile`: the file with the text that the control plane asks for.
    pub token_file: PathBuf,
    /// `allowPlaintext`: private keys may travel to a control plane on another machine, though nothing encrypts them.
    pub allow_plaintext: bool,
}

/// Reads it, and reports what cannot be with this control plane.
pub(super) fn sharing(section: &Fields<'_, '_>, control: Option<&PancakeProvider>) -> Option<Sharing> {
    let token_file = section.string("tokenFile").filter(|file| !file.is_empty());
    let allow_plaintext = section.boolean("allowPlaintext").unwrap_or_default();
    let Some(token_file) = token_file else {
        section.missing("tokenFile", "the file with the token of the control plane's --sharing-token-file");
        return None;
    };
    let wrong = |message: &str, expected: &str| {
        let message = format!("{} {message}", section.path());
        section.sink().push(Problem::new(section.span().clone(), message).expected(expected));
    };
    match control {
        None => wrong("needs a control plane", "providers.pancake.endpoint"),
        Some(control) if !allow_plaintext && !is_loopback(&control.endpoint) => wrong(
            &format!("would send private keys to {} in plaintext", control.endpoint),
            "a control plane on a loopback address, or allowPlaintext: true if the network is trusted",
        ),
        Some(_) => {}
    }
    Some(Sharing { token_file: token_file.into(), allow_plaintext })
}

/// Whether an `http://host:port` stays on this machine. Of names only `localhost` is known to.
fn is_loopback(endpoint: &str) -> bool {
    let authority = endpoint.strip_prefix("http://").unwrap_or(endpoint);
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for near in
            ["http://127.0.0.1:7700", "http://[::1]:7700", "http://localhost:7700", "http://127.1.2.3"]
        {
            assert!(is_loopback(near), "{near}");
        }
        for far in [
            "http://10.0.0.5:7700",
            "http://[fe80::1]:7700",
            "http://127.0.0.1.example:7700",
            "http://control",
        ] {
            assert!(!is_loopback(far), "{far}");
        }
    }
}
