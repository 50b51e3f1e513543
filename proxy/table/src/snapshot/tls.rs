//! Certificates and how TLS is spoken: Traefik's `tls` section and the `tls` of routers and transports.

use std::fmt;

/// A PEM text, or where it is to be read from. What it holds is never shown.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Pem {
    /// The path that the configuration names; empty if it holds the text itself. For messages.
    pub path: String,
    /// The text; empty until whoever may read files has read `path`.
    pub text: String,
}

impl Pem {
    /// A text that stands in the configuration itself.
    pub fn inline(text: impl Into<String>) -> Pem {
        Pem { path: String::new(), text: text.into() }
    }

    /// A file that is still to be read.
    pub fn file(path: impl Into<String>) -> Pem {
        Pem { path: path.into(), text: String::new() }
    }

    /// As Traefik's `FileOrContent`: a value that holds a PEM block is a text, anything else a path.
    pub fn of(value: &str) -> Pem {
        if value.contains("-----BEGIN ") { Pem::inline(value) } else { Pem::file(value) }
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pem({:?}, {} bytes)", self.path, self.text.len())
    }
}

/// The `tls` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// In the order in which they were written.
    pub certificates: Vec<Certificate>,
    /// How clients are talked to, by name; routers name them.
    pub options: Vec<TlsOptions>,
    /// Default certificates. Only the store `default` is used, as in Traefik.
    pub stores: Vec<Store>,
}

impl Tls {
    /// Whether nothing is configured.
    pub fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.options.is_empty() && self.stores.is_empty()
    }
}

/// A certificate with its chain and key. It serves the names that it holds (RFC 6125 section 6.4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// For messages: `tls.certificates[0]@file`, or the name of the resolver that ordered it.
    pub name: String,
    /// `certFile`: the certificate and then its intermediates.
    pub cert: Pem,
    /// `keyFile`: PKCS #8, PKCS #1 or SEC 1.
    pub key: Pem,
    /// A DER OCSP response that is sent along (RFC 6066 section 8); empty means none.
    pub ocsp: Vec<u8>,
}

/// A version of TLS that can be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// RFC 5246. Traefik's default minimum.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// `tls.options.NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    /// Qualified name; `default` (not qualified) applies where routers name none.
    pub name: String,
    /// Default TLS 1.2.
    pub min_version: TlsVersion,
    /// Default TLS 1.3.
    pub max_version: TlsVersion,
    /// IANA names of TLS 1.2 suites, best first; empty means all that are safe. TLS 1.3 has its own, always on.
    pub cipher_suites: Vec<String>,
    /// Groups as Go names them (`X25519`, `CurveP256`, `X25519MLKEM768`), best first; empty means all.
    pub curves: Vec<String>,
    /// Default `h2`, `http/1.1`, `acme-tls/1`.
    pub alpn: Vec<String>,
    /// Refuses a handshake for a name that no certificate has, or without a name.
    pub sni_strict: bool,
    /// Whether and how clients show a certificate.
    pub client_auth: Option<ClientAuth>,
    /// No resumption by tickets.
    pub disable_session_tickets: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        TlsOptions {
            name: "default".into(),
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
            cipher_suites: Vec::new(),
            curves: Vec::new(),
            alpn: ["h2", "http/1.1", "acme-tls/1"].map(String::from).to_vec(),
            sni_strict: false,
            client_auth: None,
            disable_session_tickets: false,
        }
    }
}

/// `clientAuth`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientAuth {
    /// `caFiles`.
    pub authorities: Vec<Pem>,
    /// `clientAuthType`.
    pub mode: ClientAuthMode,
    /// Revocation lists (RFC 5280); ours, Traefik has none.
    pub crls: Vec<Pem>,
}

/// `clientAuthType`, with Go's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientAuthMode {
    /// `NoClientCert`
    #[default]
    None,
    /// `RequestClientCert`: asked for, not looked at.
    Request,
    /// `RequireAnyClientCert`: must be there, whoever signed it.
    RequireAny,
    /// `VerifyClientCertIfGiven`
    VerifyIfGiven,
    /// `RequireAndVerifyClientCert`
    RequireAndVerify,
}

/// `tls.stores.NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// Only `default` is used.
    pub name: String,
    /// For names that no certificate has.
    pub default_certificate: Option<Certificate>,
    /// `defaultGeneratedCert`: ordered from a resolver.
    pub default_generated: Option<GeneratedCertificate>,
}

/// `defaultGeneratedCert`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GeneratedCertificate {
    /// Name of the certificate resolver.
    pub resolver: String,
    /// What it is for.
    pub domain: Domain,
}

/// Names of one certificate to order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Domain {
    /// The first.
    pub main: String,
    /// Further ones.
    pub sans: Vec<String>,
}

/// `routers.NAME.tls`: the router takes requests that come over TLS, and no others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RouterTls {
    /// Name of [`TlsOptions`] for the hosts of the rule; qualified, or `default`; none means `default`.
    pub options: Option<String>,
    /// `certResolver`: certificates for the hosts of the rule (or `domains`) are ordered there.
    pub cert_resolver: Option<String>,
    /// Instead of the hosts of the rule.
    pub domains: Vec<Domain>,
    /// TCP routers only: the connection goes to the server as it is, its TLS untouched.
    pub passthrough: bool,
}

/// How TLS to servers is spoken: the TLS half of `serversTransports.NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServersTls {
    /// `serverName`: asked for and verified instead of the server's host.
    pub server_name: Option<String>,
    /// Nothing about the server's certificate is verified.
    pub insecure_skip_verify: bool,
    /// `rootCAs`; empty means those of the system.
    pub root_cas: Vec<Pem>,
    /// `certificates`: shown to servers that ask.
    pub certificates: Vec<Certificate>,
    /// `cipherSuites`, as in [`TlsOptions::cipher_suites`].
    pub cipher_suites: Vec<String>,
    /// None means TLS 1.2.
    pub min_version: Option<TlsVersion>,
    /// None means TLS 1.3.
    pub max_version: Option<TlsVersion>,
    /// `peerCertURI`: a URI that the server's certificate must hold (RFC 5280 section 4.2.1.6).
    pub peer_cert_uri: Option<String>,
}
