//! The storage file, in the form of Traefik's `acme.json`: reads what Traefik wrote, writes what Traefik reads.
//!
//! Resolver name -> account and certificates; byte fields are base64 of what Go holds: PKCS#1 DER of the account key, PEM of
//! chains and keys. Fields that are not known here are kept. A file that cannot be read is reported and never written.
//! Locking among proxies is the work of [`super::shared`].

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::error::StorageError;
use crate::limits::MAX_ACME_STORAGE_BYTES;

/// The store of certificates that Traefik serves unless told otherwise.
pub const DEFAULT_STORE: &str = "default";

/// The whole file: resolver name -> what it has.
pub type Contents = BTreeMap<String, Stored>;

/// What one resolver has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Stored {
    /// The account at the CA.
    pub account: Option<StoredAccount>,
    /// All certificates; `null` in a file of Traefik that has none.
    #[serde(deserialize_with = "null_is_default", default)]
    pub certificates: Vec<StoredCertificate>,
    /// What is not known here.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// An account at a CA.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StoredAccount {
    /// Its contact.
    #[serde(default)]
    pub email: String,
    /// What the CA said when it was made.
    pub registration: Option<Registration>,
    /// PKCS#1 DER, as Traefik writes it; SEC1 is read too.
    pub private_key: Bytes,
    /// Kind of key in lego's words, `4096`: older versions of Traefik want it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_type: Option<String>,
    /// What is not known here.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl std::fmt::Debug for StoredAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredAccount").field("registration", &self.registration).finish_non_exhaustive()
    }
}

/// The CA's view of an account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Registration {
    /// The account object (RFC 8555 section 7.1.2), as the CA sent it.
    pub body: Value,
    /// The account's URL, its `kid`.
    #[serde(default)]
    pub uri: String,
}

/// A certificate with its key.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredCertificate {
    /// The names it was ordered for.
    pub domain: Domain,
    /// PEM chain, leaf first.
    #[serde(default)]
    pub certificate: Bytes,
    /// PEM key.
    #[serde(default)]
    pub key: Bytes,
    /// The TLS store it belongs to.
    #[serde(rename = "Store", default)]
    pub store: String,
    /// What is not known here.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl std::fmt::Debug for StoredCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredCertificate").field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// The names of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// The first.
    pub main: String,
    /// The others.
    #[serde(deserialize_with = "null_is_default", default, skip_serializing_if = "Vec::is_empty")]
    pub sans: Vec<String>,
}

impl Domain {
    /// Of these names; the first is the main one.
    pub fn of(names: &[String]) -> Domain {
        let (main, sans) =
            names.split_first().map_or((String::new(), &[][..]), |(main, sans)| (main.clone(), sans));
        Domain { main, sans: sans.to_vec() }
    }

    /// All names, the main one first.
    pub fn names(&self) -> Vec<String> {
        std::iter::once(&self.main).chain(&self.sans).cloned().collect()
    }
}

/// Bytes that JSON holds as base64, as Go's `[]byte`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        BASE64_STANDARD
            .decode(text)
            .map(Bytes)
            .map_err(|error| serde::de::Error::custom(format!("base64: {error}")))
    }
}

/// Go writes an empty slice as `null`.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// Reads the file; one that is not there or empty has nothing.
///
/// # Errors
/// If it cannot be read, others may read it, or it is not in Traefik's form.
pub fn read(path: &Path) -> Result<Contents, StorageError> {
    let io = |cause| StorageError::Io { path: path.into(), cause };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contents::new()),
        Err(cause) => return Err(io(cause)),
    };
    let meta = file.metadata().map_err(io)?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(StorageError::TooOpen { path: path.into(), mode });
    }
    if meta.len() > MAX_ACME_STORAGE_BYTES {
        return Err(StorageError::TooLarge { path: path.into(), limit: MAX_ACME_STORAGE_BYTES });
    }
    let mut text = Vec::new();
    (&mut file).take(MAX_ACME_STORAGE_BYTES).read_to_end(&mut text).map_err(io)?;
    if text.is_empty() {
        return Ok(Contents::new());
    }
    // Traefik writes `null` for a resolver that it knows and has nothing of.
    let contents: Option<BTreeMap<String, Option<Stored>>> = serde_json::from_slice(&text)
        .map_err(|error| StorageError::Corrupt { path: path.into(), what: error.to_string() })?;
    let contents = contents.unwrap_or_default();
    Ok(contents.into_iter().map(|(name, stored)| (name, stored.unwrap_or_default())).collect())
}

/// Writes the file so that a crash leaves the old one or the new one, readable by its owner only.
///
/// A file that is a mount point of its own (a container's volume) cannot be replaced by a rename: that one is written in
/// place, as Traefik does.
///
/// # Errors
/// If that fails; then the old contents stand, except after a crash while writing in place.
pub fn write(path: &Path, contents: &Contents) -> Result<(), StorageError> {
    let failed = |cause| StorageError::Io { path: path.into(), cause };
    let mut text = serde_json::to_vec_pretty(contents).map_err(|error| failed(io::Error::other(error)))?;
    text.push(b'\n');
    let beside = beside(path);
    match replace(path, &beside, &text) {
        Ok(()) => Ok(()),
        Err(error) => {
            // It may not be there: then there is nothing to put away.
            let _ = std::fs::remove_file(&beside);
            let mounted = matches!(error.kind(), ErrorKind::ResourceBusy | ErrorKind::CrossesDevices);
            if !mounted {
                return Err(failed(error));
            }
            let mut file = OpenOptions::new().write(true).truncate(true).open(path).map_err(failed)?;
            file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)
        }
    }
}

fn replace(path: &Path, beside: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(beside)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(beside, path)?;
    File::open(directory(path))?.sync_all()
}

/// The directory that a file stands in.
pub(super) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;
