//! Sharing by files, for proxies on one host: the storage file and, beside it, the directory `acme.json.shared`.
//!
//! - `order-RESOLVER.lock`: `flock`, held while a proxy orders. The kernel gives it back when the proxy ends, however it ends.
//! - `store.lock`: `flock`, held for one read, change and write of the storage file. Locks are not on the storage file itself:
//!   it is replaced, and a lock would stay on the old one.
//! - `answers/…`: one file per challenge, with the permissions of the storage file, because tls-alpn-01 has a key in it.
//!
//! Traefik takes no lock: it and Pancake must not order with one file at the same time. What changed is looked for each
//! [`ACME_SHARE_PERIOD`].

use std::cell::RefCell;
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::time::sleep;

use super::super::error::StorageError;
use super::super::keys::{encode, sha256};
use super::super::storage::{self, Stored};
use super::{Answer, Change, Later, Lease, Shared};
use crate::limits::{ACME_SHARE_PERIOD, MAX_SHARED_ANSWERS, SHARED_ANSWER_AGE};

/// Proxies on one host with one storage file.
pub struct Files {
    storage: PathBuf,
    beside: PathBuf,
    /// What [`Shared::changed`] saw last.
    seen: RefCell<Option<Look>>,
}

/// Enough of files to see that they changed: names or inodes with their times.
#[derive(PartialEq, Eq)]
struct Look {
    storage: Option<(u64, u64, i64, i64)>,
    answers: HashSet<std::ffi::OsString>,
}

impl Files {
    /// Around this storage file. The directory beside it is made when it is first needed.
    pub fn new(storage: &Path) -> Files {
        let mut beside = storage.as_os_str().to_owned();
        beside.push(".shared");
        Files { storage: storage.into(), beside: beside.into(), seen: RefCell::default() }
    }

    fn answers_dir(&self) -> PathBuf {
        self.beside.join("answers")
    }

    fn file_of(&self, answer: &Answer) -> PathBuf {
        let (kind, name) = answer.key();
        // Names come from a CA and from rules: a digest is a file name in any case.
        self.answers_dir().join(format!("{kind}-{}.json", encode(sha256(name.as_bytes()))))
    }

    fn make_directories(&self) -> Result<(), StorageError> {
        for dir in [&self.beside, &self.answers_dir()] {
            match DirBuilder::new().mode(0o700).create(dir) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(dir, error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn lock_file(&self, name: &str) -> Result<(File, PathBuf), StorageError> {
        self.make_directories()?;
        let path = self.beside.join(name);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        Ok((file.map_err(|error| failed(&path, error))?, path))
    }

    fn try_lease(&self, resolver: &str) -> Result<Option<Lease>, StorageError> {
        let name = format!("order-{}.lock", encode(sha256(resolver.as_bytes())));
        let (file, path) = self.lock_file(&name)?;
        match file.try_lock() {
            Ok(()) => {
                self.put_old_answers_away();
                Ok(Some(Lease::new(file)))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(&path, error)),
        }
    }

    fn change(&self, resolver: &str, change: Change<'_>) -> Result<(), StorageError> {
        let (file, path) = self.lock_file("store.lock")?;
        // Held for one read and one write: it is waited for.
        file.lock().map_err(|error| failed(&path, error))?;
        let mut contents = storage::read(&self.storage)?;
        change(contents.entry(resolver.to_owned()).or_default());
        storage::write(&self.storage, &contents)
    }

    fn write_answer(&self, answer: &Answer) -> Result<(), StorageError> {
        self.make_directories()?;
        let path = self.file_of(answer);
        let new = path.with_extension("new");
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec(answer)?)?;
            // No sync: an answer does not outlive the machine.
            fs::rename(&new, &path)
        };
        write().map_err(|error| failed(&path, error))
    }

    fn answer_files(&self) -> Result<Vec<PathBuf>, StorageError> {
        let dir = self.answers_dir();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&dir, error)),
        };
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        Ok(paths
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .take(MAX_SHARED_ANSWERS)
            .collect())
    }

    fn read_answers(&self) -> Result<Vec<Answer>, StorageError> {
        let mut answers = Vec::new();
        for path in self.answer_files()? {
            match fs::read(&path) {
                Ok(text) => match serde_json::from_slice(&text) {
                    Ok(answer) => answers.push(answer),
                    Err(error) => {
                        tracing::warn!(path = %path.display(), %error, "not an answer to a challenge")
                    }
                },
                // Its challenge ended between the two looks.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&path, error)),
            }
        }
        Ok(answers)
    }

    fn put_old_answers_away(&self) {
        let old = |path: &PathBuf| {
            let written = fs::metadata(path).and_then(|meta| meta.modified()).ok();
            let age = written.and_then(|written| SystemTime::now().duration_since(written).ok());
            age.is_some_and(|age| age > SHARED_ANSWER_AGE)
        };
        for path in self.answer_files().unwrap_or_default().iter().filter(|path| old(path)) {
            if let Err(error) = fs::remove_file(path) {
                tracing::warn!(path = %path.display(), %error, "an old answer to a challenge cannot be put away");
            }
        }
    }

    fn look(&self) -> Look {
        let storage = fs::metadata(&self.storage).ok();
        let names = self.answer_files().unwrap_or_default();
        Look {
            storage: storage.map(|meta| (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec())),
            answers: names.iter().filter_map(|path| path.file_name().map(Into::into)).collect(),
        }
    }
}

/// Everything is small and local: it is done at once, on the service thread.
impl Shared for Files {
    fn lease<'a>(&'a self, resolver: &'a str, _: bool) -> Later<'a, Result<Option<Lease>, StorageError>> {
        Box::pin(async move { self.try_lease(resolver) })
    }

    fn load<'a>(&'a self, resolver: &'a str) -> Later<'a, Result<Stored, StorageError>> {
        Box::pin(async move { Ok(storage::read(&self.storage)?.remove(resolver).unwrap_or_default()) })
    }

    fn store<'a>(&'a self, resolver: &'a str, change: Change<'a>) -> Later<'a, Result<(), StorageError>> {
        Box::pin(async move { self.change(resolver, change) })
    }

    fn publish<'a>(&'a self, _: &'a str, answer: &'a Answer) -> Later<'a, Result<(), StorageError>> {
        Box::pin(async move { self.write_answer(answer) })
    }

    fn withdraw<'a>(&'a self, _: &'a str, answer: &'a Answer) -> Later<'a, Result<(), StorageError>> {
        Box::pin(async move {
            let path = self.file_of(answer);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(&path, error)),
                _ => Ok(()),
            }
        })
    }

    fn spread(&self) -> Later<'_, ()> {
        // Whoever else there is has looked twice by then.
        Box::pin(sleep(ACME_SHARE_PERIOD * 2))
    }

    fn answers(&self) -> Later<'_, Result<Vec<Answer>, StorageError>> {
        Box::pin(async move { self.read_answers() })
    }

    fn changed(&self) -> Later<'_, ()> {
        Box::pin(async move {
            loop {
                let now = Some(self.look());
                if *self.seen.borrow() != now {
                    *self.seen.borrow_mut() = now;
                    return;
                }
                sleep(ACME_SHARE_PERIOD).await;
            }
        })
    }
}

fn failed(path: &Path, cause: io::Error) -> StorageError {
    StorageError::Io { path: path.into(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(token: &str) -> Answer {
        Answer::Http { token: token.into(), key_authorization: format!("{token}.thumb") }
    }

    #[test]
    fn one_orders_at_a_time_and_the_next_when_it_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) =
            (Files::new(&dir.path().join("acme.json")), Files::new(&dir.path().join("acme.json")));
        let lease = one.try_lease("le").unwrap().expect("nobody orders");
        assert!(two.try_lease("le").unwrap().is_none());
        assert!(two.try_lease("other").unwrap().is_some());
        drop(lease);
        assert!(two.try_lease("le").unwrap().is_some());
    }

    #[test]
    fn what_one_publishes_the_other_answers_until_it_is_withdrawn() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) =
            (Files::new(&dir.path().join("acme.json")), Files::new(&dir.path().join("acme.json")));
        assert!(two.read_answers().unwrap().is_empty());
        let before = two.look();
        one.write_answer(&answer("../a")).unwrap();
        assert!(two.look() != before);
        assert!(two.read_answers().unwrap() == [answer("../a")]);
        fs::remove_file(one.file_of(&answer("../a"))).unwrap();
        assert!(two.look() == before);
    }

    #[test]
    fn changes_of_both_are_kept_and_a_corrupt_file_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acme.json");
        let (one, two) = (Files::new(&path), Files::new(&path));
        let set = |key: &'static str| -> Change<'static> {
            Box::new(move |stored| {
                stored.rest.insert(key.into(), 1.into());
            })
        };
        one.change("le", set("a")).unwrap();
        two.change("le", set("b")).unwrap();
        assert_eq!(storage::read(&path).unwrap()["le"].rest.len(), 2);
        fs::write(&path, "{").unwrap();
        assert!(matches!(one.change("le", set("c")), Err(StorageError::Corrupt { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"{");
    }
}
