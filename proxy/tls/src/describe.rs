//! What the admin API and the metrics tell of certificates. Nothing of keys but their kind.

use std::sync::Arc;

use crate::facts::KeyKind;
use crate::table::TlsTable;

/// One certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Where it comes from: `tls.certificates[0]@file`, or the name of its resolver.
    pub name: String,
    /// All DNS names in it.
    pub names: Vec<String>,
    /// The names for which it is the first choice; a client that cannot verify its kind of key gets another.
    pub serves: Vec<String>,
    /// Whether it serves names that no certificate has.
    pub is_default: bool,
    /// Valid from, in seconds since 1970.
    pub not_before: i64,
    /// Valid until, in seconds since 1970: the metric `traefik_tls_certs_not_after`.
    pub not_after: i64,
    /// Kind of its key.
    pub key: KeyKind,
    /// Hexadecimal with colons.
    pub serial: String,
    /// Distinguished name of the holder.
    pub subject: String,
    /// Distinguished name of the signer.
    pub issuer: String,
}

impl TlsTable {
    /// Every certificate that is loaded, in order, and last the default one if it is not among them.
    pub fn describe(&self) -> Vec<Described> {
        let (listed, default) = (self.certificates(), self.default_certificate());
        let is_default = |loaded| default.is_some_and(|default| Arc::ptr_eq(default, loaded));
        let extra = default.filter(|default| !listed.iter().any(|(_, loaded)| Arc::ptr_eq(loaded, default)));
        let all = listed.iter().map(|(name, loaded)| (name.as_str(), loaded));
        all.chain(extra.map(|default| ("default", default)))
            .map(|(name, loaded)| {
                let first =
                    |host: &&String| self.first_choice(host).is_some_and(|first| Arc::ptr_eq(first, loaded));
                let facts = &loaded.facts;
                Described {
                    name: name.to_owned(),
                    names: facts.names.clone(),
                    serves: facts.names.iter().filter(first).cloned().collect(),
                    is_default: is_default(loaded),
                    not_before: facts.not_before,
                    not_after: facts.not_after,
                    key: facts.key,
                    serial: facts.serial.clone(),
                    subject: facts.subject.clone(),
                    issuer: facts.issuer.clone(),
                }
            })
            .collect()
    }
}
