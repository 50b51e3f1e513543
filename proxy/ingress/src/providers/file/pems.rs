//! The files that a dynamic configuration names: certificates, keys, authorities, revocation lists.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use pancake_table::snapshot::Snapshot;
use pancake_table::snapshot::tls::{Certificate, Pem, ServersTls, TlsOptions};

use crate::change::{Problem, Provider, Severity};
use crate::limits::{MAX_OCSP_BYTES, MAX_PEM_BYTES};

/// Reads every file that `snapshot` names into it. What cannot be read is a problem: a certificate stays without text,
/// another object that needs the file is left out. Returns the paths, so that they can be watched.
pub fn read(snapshot: &mut Snapshot, problems: &mut Vec<Problem>) -> BTreeSet<PathBuf> {
    let mut reader = Reader { problems, paths: BTreeSet::new() };
    let defaults = snapshot.tls.stores.iter_mut().filter_map(|store| store.default_certificate.as_mut());
    for certificate in snapshot.tls.certificates.iter_mut().chain(defaults) {
        // One that cannot be read stays without text: what its file held before serves on.
        reader.certificate(certificate);
    }
    snapshot.tls.options.retain_mut(|options| reader.options(options));
    snapshot.servers_transports.retain_mut(|transport| {
        reader.servers_tls(&format!("serversTransport {}", transport.name), &mut transport.tls)
    });
    snapshot.tcp.servers_transports.retain_mut(|transport| {
        reader.servers_tls(&format!("tcp serversTransport {}", transport.name), &mut transport.tls)
    });
    reader.paths
}

struct Reader<'a> {
    problems: &'a mut Vec<Problem>,
    paths: BTreeSet<PathBuf>,
}

impl Reader<'_> {
    /// Whether all of it could be read.
    fn certificate(&mut self, certificate: &mut Certificate) -> bool {
        let name = match certificate.name.starts_with("tls.certificates") {
            true => format!("certificate {}", certificate.name),
            false => certificate.name.clone(),
        };
        let cert = self.pem(&name, "certFile", &mut certificate.cert);
        let key = self.pem(&name, "keyFile", &mut certificate.key);
        if !certificate.cert.path.is_empty() {
            // As HAProxy: a staple stands beside its certificate.
            let staple = PathBuf::from(format!("{}.ocsp", certificate.cert.path));
            if staple.exists() {
                match bounded(&staple, MAX_OCSP_BYTES) {
                    Ok(bytes) => certificate.ocsp = bytes,
                    Err(why) => self.problem(&name, "ocsp", Severity::Warning, why),
                }
                self.paths.insert(staple);
            }
        }
        cert && key
    }

    /// Without an authority the options would let in whom they must not: they go with it.
    fn options(&mut self, options: &mut TlsOptions) -> bool {
        let name = format!("tls options {}", options.name);
        let Some(auth) = &mut options.client_auth else { return true };
        let mut good = true;
        for pem in &mut auth.authorities {
            good &= self.pem(&name, "clientAuth.caFiles", pem);
        }
        for pem in &mut auth.crls {
            good &= self.pem(&name, "clientAuth.pancake.crlFiles", pem);
        }
        good
    }

    fn servers_tls(&mut self, name: &str, tls: &mut ServersTls) -> bool {
        let mut good = true;
        for pem in &mut tls.root_cas {
            good &= self.pem(name, "rootCAs", pem);
        }
        for certificate in &mut tls.certificates {
            name.clone_into(&mut certificate.name);
            good &= self.certificate(certificate);
        }
        good
    }

    fn pem(&mut self, object: &str, field: &str, pem: &mut Pem) -> bool {
        if pem.path.is_empty() {
            return true;
        }
        let path = PathBuf::from(&pem.path);
        let read = bounded(&path, MAX_PEM_BYTES);
        self.paths.insert(path);
        match read
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| format!("{}: is no PEM text", pem.path)))
        {
            Ok(text) => {
                pem.text = text;
                true
            }
            Err(why) => {
                self.problem(object, field, Severity::Error, why);
                false
            }
        }
    }

    fn problem(&mut self, object: &str, field: &str, severity: Severity, why: String) {
        self.problems.push(Problem {
            object: object.into(),
            field: field.into(),
            severity,
            ..Problem::of_provider(Provider::File, why)
        });
    }
}

/// The content of a file that has at most `limit` bytes.
fn bounded(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let at = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(at)?.take(limit + 1).read_to_end(&mut bytes).map_err(at)?;
    if bytes.len() as u64 > limit {
        return Err(format!("{}: more than {limit} bytes", path.display()));
    }
    Ok(bytes)
}
