//! What ACME is told: resolvers, and the certificates that routers want.
//!
//! Plain data: reading `certificatesResolvers` is the work of `pancake-config`.

use std::path::PathBuf;
use std::time::Duration;

/// Let's Encrypt, the CA unless the configuration names another.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// One entry of `certificatesResolvers`: a CA, an account there, and how names are proven.
#[derive(Clone, Debug)]
pub struct Resolver {
    /// Its name in the configuration and in the storage file.
    pub name: String,
    /// Contact of the account; empty: none.
    pub email: String,
    /// URL of the CA's directory (RFC 8555 section 7.1.1).
    pub ca_server: String,
    /// The storage file, in the form of Traefik's `acme.json`.
    pub storage: PathBuf,
    /// Kind of the certificates' keys.
    pub key_type: KeyType,
    /// External account binding, for CAs that ask for one.
    pub eab: Option<ExternalAccount>,
    /// How names are proven.
    pub challenge: Challenge,
    /// PEM texts of the only authorities that the CA's own HTTPS certificate may come from; empty: those of the system.
    pub ca_certificates: Vec<String>,
    /// Common name of an issuer: of the chains that the CA offers, the one with it is taken.
    pub preferred_chain: Option<String>,
}

impl Resolver {
    /// With the defaults of Traefik.
    pub fn new(name: impl Into<String>, challenge: Challenge) -> Resolver {
        Resolver {
            name: name.into(),
            email: String::new(),
            ca_server: LETS_ENCRYPT.into(),
            storage: "acme.json".into(),
            key_type: KeyType::default(),
            eab: None,
            challenge,
            ca_certificates: Vec::new(),
            preferred_chain: None,
        }
    }
}

/// Kind of a certificate's key, in Traefik's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyType {
    /// ECDSA on P-256.
    Ec256,
    /// ECDSA on P-384.
    Ec384,
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 4096 bits; Traefik's default.
    #[default]
    Rsa4096,
}

impl KeyType {
    /// All, with their names in the configuration.
    pub const ALL: [(&'static str, KeyType); 4] = [
        ("EC256", KeyType::Ec256),
        ("EC384", KeyType::Ec384),
        ("RSA2048", KeyType::Rsa2048),
        ("RSA4096", KeyType::Rsa4096),
    ];

    /// By its name in the configuration.
    pub fn named(name: &str) -> Option<KeyType> {
        KeyType::ALL.iter().find(|(known, _)| *known == name).map(|(_, key_type)| *key_type)
    }
}

/// External account binding (RFC 8555 section 7.3.4).
#[derive(Clone)]
pub struct ExternalAccount {
    /// Key identifier from the CA.
    pub kid: String,
    /// The HMAC key in base64url, as CAs hand it out; padding is allowed.
    pub hmac_encoded: String,
}

impl std::fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret: it appears in no log.
        f.debug_struct("ExternalAccount").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// How names are proven to the CA.
#[derive(Clone, Debug)]
pub enum Challenge {
    /// http-01 (RFC 8555 section 8.3).
    Http {
        /// Between publishing the answer and telling the CA.
        delay: Duration,
    },
    /// tls-alpn-01 (RFC 8737).
    TlsAlpn {
        /// Between publishing the answer and telling the CA.
        delay: Duration,
    },
    /// dns-01 (RFC 8555 section 8.4): the only one for wildcards.
    Dns(DnsChallenge),
}

/// dns-01, in the words of Traefik's `dnsChallenge`.
#[derive(Clone, Debug)]
pub struct DnsChallenge {
    /// Who sets the record.
    pub provider: DnsProvider,
    /// Wait this long before the record is looked for.
    pub delay_before_check: Duration,
    /// DNS servers as `host:port` or `host`, asked for the zone and for the record; empty: those of the system find the
    /// zone, and the zone's own servers are asked for the record.
    pub resolvers: Vec<String>,
    /// Tell the CA without looking for the record.
    pub disable_propagation_check: bool,
}

/// Who sets the record of a dns-01 challenge.
#[derive(Clone, Debug)]
pub enum DnsProvider {
    /// A DNS update (RFC 2136), signed or not.
    Rfc2136(Rfc2136),
    /// A program: `PROGRAM present|cleanup FQDN VALUE`.
    Exec {
        /// Its path.
        program: PathBuf,
    },
}

/// A DNS server that takes updates (RFC 2136).
#[derive(Clone, Debug)]
pub struct Rfc2136 {
    /// `host:port` or `host`.
    pub nameserver: String,
    /// The key that signs updates (RFC 8945); none: they go unsigned.
    pub tsig: Option<Tsig>,
    /// Of the record.
    pub ttl: Duration,
}

/// A TSIG key.
#[derive(Clone)]
pub struct Tsig {
    /// Name of the key.
    pub name: String,
    /// `hmac-sha256`, `hmac-sha384` or `hmac-sha512`, with or without a dot at its end.
    pub algorithm: String,
    /// The secret in base64.
    pub secret: String,
}

impl std::fmt::Debug for Tsig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tsig")
            .field("name", &self.name)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl DnsProvider {
    /// The provider that Traefik calls `name`, with its settings from the environment variables that Traefik reads.
    ///
    /// # Errors
    /// If there is no such provider here, or a variable is missing or malformed.
    pub fn from_environment(
        name: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<DnsProvider, String> {
        let get = |key: &str| variable(key).filter(|value| !value.is_empty());
        match name {
            "exec" => {
                let program =
                    get("EXEC_PATH").ok_or("exec: EXEC_PATH is not set; expected a program's path")?;
                Ok(DnsProvider::Exec { program: program.into() })
            }
            "rfc2136" => {
                let nameserver = get("RFC2136_NAMESERVER")
                    .ok_or("rfc2136: RFC2136_NAMESERVER is not set; expected host:port or host")?;
                let tsig = match (get("RFC2136_TSIG_KEY"), get("RFC2136_TSIG_SECRET")) {
                    (Some(name), Some(secret)) => Some(Tsig {
                        name,
                        secret,
                        // lego's default, hmac-sha1, is refused: hickory signs with SHA-2 only.
                        algorithm: get("RFC2136_TSIG_ALGORITHM").unwrap_or_else(|| "hmac-sha256.".into()),
                    }),
                    (None, None) => None,
                    _ => {
                        return Err(
                            "rfc2136: expected both RFC2136_TSIG_KEY and RFC2136_TSIG_SECRET, or none".into(),
                        );
                    }
                };
                let ttl = get("RFC2136_TTL").unwrap_or_else(|| "120".into());
                let ttl = ttl
                    .parse()
                    .map_err(|_| format!("rfc2136: RFC2136_TTL is `{ttl}`; expected a number of seconds"))?;
                Ok(DnsProvider::Rfc2136(Rfc2136 { nameserver, tsig, ttl: Duration::from_secs(ttl) }))
            }
            other => Err(format!("DNS provider `{other}` is not built in; expected exec or rfc2136")),
        }
    }
}

/// A certificate that routers want.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// Name of the [`Resolver`].
    pub resolver: String,
    /// Main name and further names; `*.` at the start of one is a wildcard.
    pub domains: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_read_the_variables_of_traefik() {
        let variable = |key: &str| match key {
            "RFC2136_NAMESERVER" => Some("127.0.0.1:53".to_owned()),
            "RFC2136_TSIG_KEY" => Some("k".to_owned()),
            "RFC2136_TSIG_SECRET" => Some("c2VjcmV0".to_owned()),
            _ => None,
        };
        let Ok(DnsProvider::Rfc2136(provider)) = DnsProvider::from_environment("rfc2136", variable) else {
            panic!("rfc2136 is built in");
        };
        assert_eq!((provider.ttl, provider.tsig.unwrap().name), (Duration::from_secs(120), "k".into()));
        assert!(DnsProvider::from_environment("exec", variable).unwrap_err().contains("EXEC_PATH"));
        assert!(DnsProvider::from_environment("route53", variable).unwrap_err().contains("rfc2136"));
    }
}
