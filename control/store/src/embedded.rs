//! The store in one file, by redb.
//!
//! Values are JSON, so that a person can read them and a field can be added without a new schema. Opening verifies
//! the checksum of every page; a file that fails is refused and left alone. There are private keys in it: only its owner may
//! read it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pancake_model::name::NameError;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition, TableError,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::contents::{Contents, Publication, Write};
use crate::{Error, Store};

/// The layout of the tables below.
pub const SCHEMA: u64 = 1;
/// Bytes of memory for cached pages.
pub const CACHE_BYTES: usize = 8 << 20;
/// Name of the file in the data directory.
pub const FILE_NAME: &str = "control.redb";

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const REGISTRATIONS: TableDefinition<&str, &[u8]> = TableDefinition::new("registrations");
const ENTRIES: TableDefinition<&str, &[u8]> = TableDefinition::new("entries");
const ROUTERS: TableDefinition<&str, &[u8]> = TableDefinition::new("routers");
const DRAINS: TableDefinition<&str, &[u8]> = TableDefinition::new("drains");
const PROXIES: TableDefinition<&str, &[u8]> = TableDefinition::new("proxies");
const SNAPSHOTS: TableDefinition<&str, &[u8]> = TableDefinition::new("snapshots");

const SHARED: TableDefinition<&str, &[u8]> = TableDefinition::new("shared");
const LEASES: TableDefinition<&str, &[u8]> = TableDefinition::new("leases");
const TICKET_KEYS: TableDefinition<&str, &[u8]> = TableDefinition::new("ticket_keys");

const KEY_SCHEMA: &str = "schema";
const KEY_INCARNATION: &str = "incarnation";
const KEY_VERSION: &str = "version";
const KEY_LAST: &str = "last";
const KEY_ALL: &str = "all";

/// Permissions of the file.
const MODE: u32 = 0o600;

/// The store in one file. One process at a time.
pub struct Embedded {
    database: Database,
    path: PathBuf,
}

impl Embedded {
    /// Opens the store in the directory, which is made if needed. A store that is there is never replaced.
    pub fn open(directory: &Path) -> Result<Embedded, Error> {
        let path = directory.join(FILE_NAME);
        let io_error = |e: io::Error| Error::Io { path: path.clone(), reason: e.to_string() };
        fs::create_dir_all(directory).map_err(io_error)?;
        match fs::metadata(&path) {
            Ok(found) if !found.is_file() => {
                return Err(Error::Corrupt { path: path.clone(), reason: "it is not a file".into() });
            }
            // redb takes an empty file for a new store. Ours is born under another name and never empty.
            Ok(found) if found.len() == 0 => {
                return Err(Error::Corrupt { path: path.clone(), reason: "the file is empty".into() });
            }
            // Made by a version that kept no keys in it.
            Ok(found) if found.permissions().mode() & 0o077 != 0 => only_owner(&path).map_err(io_error)?,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => create(directory, &path)?,
            Err(e) => return Err(io_error(e)),
        }
        let database = builder().open(&path).map_err(|e| opening(&path, e))?;
        let store = Embedded { database, path };
        store.verify_schema()?;
        // Damage inside a value shows now, not at the first change.
        store.load()?;
        Ok(store)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn verify_schema(&self) -> Result<(), Error> {
        let read = self.database.begin_read().map_err(|e| self.failed(e))?;
        let meta = match read.open_table(META) {
            Ok(meta) => meta,
            Err(TableError::TableDoesNotExist(_)) => {
                return Err(self.corrupt("it is a redb file of some other program".into()));
            }
            Err(e) => return Err(self.failed(e)),
        };
        match meta.get(KEY_SCHEMA).map_err(|e| self.failed(e))?.map(|v| v.value()) {
            Some(SCHEMA) => Ok(()),
            Some(found) => Err(Error::Schema { path: self.path.clone(), found, known: SCHEMA }),
            None => Err(self.corrupt("it has no schema number".into())),
        }
    }

    fn corrupt(&self, reason: String) -> Error {
        Error::Corrupt { path: self.path.clone(), reason }
    }

    fn failed(&self, error: impl Into<redb::Error>) -> Error {
        match error.into() {
            redb::Error::Corrupted(reason) => self.corrupt(reason),
            other => Error::Io { path: self.path.clone(), reason: other.to_string() },
        }
    }

    fn decode<T: DeserializeOwned>(&self, table: &str, key: &str, value: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(value).map_err(|e| self.corrupt(format!("{table} {key}: {e}")))
    }

    /// Every row of a table, in the order of its keys; none if the table was never written.
    fn rows<K, V>(
        &self,
        read: &redb::ReadTransaction,
        table: TableDefinition<&'static str, &'static [u8]>,
        key: impl Fn(String) -> Result<K, NameError>,
    ) -> Result<Vec<(K, V)>, Error>
    where
        V: DeserializeOwned,
    {
        let opened = match read.open_table(table) {
            Ok(opened) => opened,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(e) => return Err(self.failed(e)),
        };
        let mut rows = Vec::new();
        for row in opened.iter().map_err(|e| self.failed(e))? {
            let (k, v) = row.map_err(|e| self.failed(e))?;
            let name =
                key(k.value().to_owned()).map_err(|e| self.corrupt(format!("key {}: {e}", k.value())))?;
            rows.push((name, self.decode(redb::TableHandle::name(&table), k.value(), v.value())?));
        }
        Ok(rows)
    }
}

fn only_owner(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Makes a store with a schema number under a temporary name, then gives it its name: whoever finds the name finds a
/// whole store.
fn create(directory: &Path, path: &Path) -> Result<(), Error> {
    let io_error = |e: io::Error| Error::Io { path: path.to_path_buf(), reason: e.to_string() };
    let born = directory.join(format!("{FILE_NAME}.new-{}", std::process::id()));
    match fs::remove_file(&born) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error(e)),
        _ => {}
    }
    let made = (|| -> Result<(), redb::Error> {
        let database = builder().create(&born)?;
        let write = database.begin_write()?;
        write.open_table(META)?.insert(KEY_SCHEMA, SCHEMA)?;
        write.commit()?;
        Ok(())
    })();
    made.map_err(|e| Error::Io { path: path.to_path_buf(), reason: e.to_string() })?;
    // Nothing is in it yet.
    only_owner(&born).map_err(io_error)?;
    // A link, unlike a rename, fails if another process was faster; that one's store is used then.
    let linked = fs::hard_link(&born, path);
    fs::remove_file(&born).map_err(io_error)?;
    match linked {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(io_error(e)),
        _ => {}
    }
    fs::File::open(directory).and_then(|d| d.sync_all()).map_err(io_error)
}

fn opening(path: &Path, error: DatabaseError) -> Error {
    let path = path.to_path_buf();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => Error::InUse { path },
        DatabaseError::Storage(StorageError::Corrupted(reason)) => Error::Corrupt { path, reason },
        // redb reports a wrong magic number and a truncated file as I/O errors of these kinds.
        DatabaseError::Storage(StorageError::Io(e))
            if matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            Error::Corrupt { path, reason: e.to_string() }
        }
        DatabaseError::UpgradeRequired(version) => {
            Error::Corrupt { path, reason: format!("redb file format {version} is not supported") }
        }
        DatabaseError::RepairAborted => Error::Corrupt { path, reason: "the repair was aborted".into() },
        other => Error::Io { path, reason: other.to_string() },
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data with text keys always encodes")
}

fn apply(transaction: &redb::WriteTransaction, write: &Write) -> Result<(), redb::Error> {
    let put = |table, key: &str, value: Vec<u8>| -> Result<(), redb::Error> {
        transaction.open_table(table)?.insert(key, value.as_slice())?;
        Ok(())
    };
    let delete =
        |table: TableDefinition<&'static str, &'static [u8]>, key: &str| -> Result<(), redb::Error> {
            transaction.open_table(table)?.remove(key)?;
            Ok(())
        };
    match write {
        Write::PutRegistration(r) => put(REGISTRATIONS, r.instance.id.as_str(), json(r)),
        Write::DeleteRegistration(id) => delete(REGISTRATIONS, id.as_str()),
        Write::PutEntry(e) => put(ENTRIES, e.service.as_str(), json(e)),
        Write::DeleteEntry(name) => delete(ENTRIES, name.as_str()),
        Write::PutRouter(r) => put(ROUTERS, r.name.as_str(), json(r)),
        Write::DeleteRouter(name) => delete(ROUTERS, name.as_str()),
        Write::PutDrain(id, drain) => put(DRAINS, id.as_str(), json(drain)),
        Write::DeleteDrain(id) => delete(DRAINS, id.as_str()),
        Write::PutProxy(id) => put(PROXIES, id, json(&())),
        Write::DeleteProxy(id) => delete(PROXIES, id),
        Write::Publish(p) => {
            transaction.open_table(META)?.insert(KEY_VERSION, p.version)?;
            put(SNAPSHOTS, KEY_LAST, p.snapshot.clone())
        }
        Write::PutShared(name, resolver) => put(SHARED, name, json(resolver)),
        Write::PutLease(name, lease) => put(LEASES, name, json(lease)),
        Write::PutTicketKeys(keys) => put(TICKET_KEYS, KEY_ALL, json(keys)),
    }
}

impl Store for Embedded {
    fn load(&self) -> Result<Contents, Error> {
        use pancake_model::name::{InstanceId, RouterName, ServiceName};
        let read = self.database.begin_read().map_err(|e| self.failed(e))?;
        let version = match read.open_table(META) {
            Ok(meta) => meta.get(KEY_VERSION).map_err(|e| self.failed(e))?.map(|v| v.value()),
            Err(e) => return Err(self.failed(e)),
        };
        let snapshot = match read.open_table(SNAPSHOTS) {
            Ok(table) => table.get(KEY_LAST).map_err(|e| self.failed(e))?.map(|v| v.value().to_vec()),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(e) => return Err(self.failed(e)),
        };
        Ok(Contents {
            registrations: self.rows(&read, REGISTRATIONS, InstanceId::new)?.into_iter().collect(),
            entries: self.rows(&read, ENTRIES, ServiceName::new)?.into_iter().collect(),
            routers: self.rows(&read, ROUTERS, RouterName::new)?.into_iter().collect(),
            drains: self.rows(&read, DRAINS, InstanceId::new)?.into_iter().collect(),
            proxies: self.rows(&read, PROXIES, Ok)?.into_iter().map(|(id, ())| id).collect(),
            publication: version.zip(snapshot).map(|(version, snapshot)| Publication { version, snapshot }),
            shared: self.rows(&read, SHARED, Ok)?.into_iter().collect(),
            leases: self.rows(&read, LEASES, Ok)?.into_iter().collect(),
            ticket_keys: self
                .rows(&read, TICKET_KEYS, Ok)?
                .into_iter()
                .flat_map(|(_, keys): (String, Vec<_>)| keys)
                .collect(),
        })
    }

    fn commit(&self, writes: &[Write]) -> Result<(), Error> {
        if writes.is_empty() {
            return Ok(());
        }
        let transaction = self.database.begin_write().map_err(|e| self.failed(e))?;
        for write in writes {
            apply(&transaction, write).map_err(|e| self.failed(e))?;
        }
        transaction.commit().map_err(|e| self.failed(e))
    }

    fn begin_incarnation(&self) -> Result<u64, Error> {
        let next = (|| -> Result<u64, redb::Error> {
            let transaction = self.database.begin_write()?;
            let next = {
                let mut meta = transaction.open_table(META)?;
                let next = meta.get(KEY_INCARNATION)?.map_or(1, |v| v.value() + 1);
                meta.insert(KEY_INCARNATION, next)?;
                next
            };
            transaction.commit()?;
            Ok(next)
        })();
        next.map_err(|e| self.failed(e))
    }
}
