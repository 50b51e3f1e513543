//! The last good snapshot on disk: for a start without the control plane.
//!
//! A file is written beside the old one, synced, and renamed over it, so that a crash leaves one or the other. What is
//! read is checked: a file that is cut short, changed or of another format is reported and not used. Form: [`MAGIC`],
//! CRC-32 of the rest (4 bytes, big endian), the snapshot as protobuf.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use pancake_table::proto as pb;
use pancake_table::snapshot::Snapshot;
use prost::Message;
use thiserror::Error;
use tokio::sync::watch;

use super::weigh::weigh_snapshot;
use crate::change::{Provider, View};
use crate::limits::{MAX_SAVED_SNAPSHOT_BYTES, SAVE_PERIOD};

/// Starts the file; the digit is the version of its form.
const MAGIC: &[u8] = b"pancake snapshot 1\n";
const FILE: &str = "snapshot.pancake";
const ID_FILE: &str = "proxy-id";

/// Why the saved snapshot is not used.
#[derive(Debug, Error)]
pub enum Unusable {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The file is not what was written.
    #[error("{0} is damaged: {1}; it is not used")]
    Damaged(PathBuf, String),
}

/// Reads the saved snapshot; none if there is none.
///
/// # Errors
/// Why there is one that cannot be used.
pub fn load(state_dir: &Path) -> Result<Option<Snapshot>, Unusable> {
    let path = state_dir.join(FILE);
    let io = |error| Unusable::Io(path.clone(), error);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_SAVED_SNAPSHOT_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    decode(&bytes).map(Some).map_err(|reason| Unusable::Damaged(path, reason))
}

fn decode(bytes: &[u8]) -> Result<Snapshot, String> {
    if bytes.len() as u64 > MAX_SAVED_SNAPSHOT_BYTES {
        return Err(format!("it has more than {MAX_SAVED_SNAPSHOT_BYTES} bytes"));
    }
    let rest = bytes.strip_prefix(MAGIC).ok_or("it does not start as a saved snapshot does")?;
    let (sum, message) = rest.split_first_chunk().ok_or("it is cut short")?;
    if crc32fast::hash(message) != u32::from_be_bytes(*sum) {
        return Err("its checksum is wrong".into());
    }
    if let Some(problem) = weigh_snapshot(message)?.excess.first() {
        return Err(problem.to_string());
    }
    let message = pb::Snapshot::decode(message).map_err(|error| error.to_string())?;
    Snapshot::try_from(message).map_err(|problems| match problems.first() {
        Some(problem) => problem.to_string(),
        None => "it is no snapshot".into(),
    })
}

/// Writes `snapshot`; blocks on the disk.
///
/// # Errors
/// If it cannot be written; the old one is then still there.
pub fn save(state_dir: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let message = pb::Snapshot::from(snapshot).encode_to_vec();
    write_whole(state_dir, FILE, &[MAGIC, &crc32fast::hash(&message).to_be_bytes(), &message])
}

fn write_whole(directory: &Path, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let beside = directory.join(format!("{name}.new"));
    let mut file = File::create(&beside)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()?;
    fs::rename(&beside, directory.join(name))?;
    File::open(directory)?.sync_all()
}

/// The name of this proxy in the cluster: the host's, and a number that is kept in the state directory so that two
/// proxies of one host differ. Without a state directory the number is the process's.
pub fn proxy_id(state_dir: Option<&Path>, host: &str) -> String {
    let Some(directory) = state_dir else { return format!("{host}-{}", std::process::id()) };
    if let Ok(id) = fs::read_to_string(directory.join(ID_FILE))
        && (1..=256).contains(&id.trim().len())
        && id.trim().bytes().all(|byte| byte.is_ascii_graphic())
    {
        return id.trim().to_owned();
    }
    let id = format!("{host}-{:08x}", RandomState::new().hash_one(0) >> 32);
    if let Err(error) = write_whole(directory, ID_FILE, &[id.as_bytes()]) {
        tracing::error!(directory = %directory.display(), %error, "the name of this proxy cannot be kept");
    }
    id
}

/// Keeps the snapshot that serves on disk, at most every [`SAVE_PERIOD`], until the end of the runtime.
pub async fn keep(state_dir: PathBuf, view: Arc<ArcSwap<View>>, mut changed: watch::Receiver<u64>) {
    let mut kept = current(&view);
    let mut failing = false;
    while changed.changed().await.is_ok() {
        let snapshot = current(&view);
        if Arc::ptr_eq(&kept, &snapshot) {
            continue;
        }
        kept = snapshot.clone();
        let directory = state_dir.clone();
        let saved = tokio::task::spawn_blocking(move || save(&directory, &snapshot)).await;
        match saved {
            Ok(Ok(())) => failing = false,
            Ok(Err(error)) if !failing => {
                failing = true;
                let directory = state_dir.display();
                tracing::error!(%directory, %error, "the snapshot that serves cannot be kept on disk");
            }
            Ok(Err(_)) | Err(_) => {}
        }
        tokio::time::sleep(SAVE_PERIOD).await;
    }
}

fn current(view: &ArcSwap<View>) -> Arc<Snapshot> {
    view.load().provider(Provider::Pancake).snapshot.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::tests::snapshot;

    #[test]
    fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert!(load(&state).unwrap().is_none());
        for objects in [3, 5] {
            let of = Snapshot { version: 8, ..snapshot(Provider::Pancake, objects) };
            save(&state, &of).unwrap();
            assert_eq!(load(&state).unwrap(), Some(of));
        }
    }

    #[test]
    fn what_is_damaged_anywhere_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &snapshot(Provider::Pancake, 1)).unwrap();
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(matches!(load(dir.path()), Err(Unusable::Damaged(..))), "cut at {cut}");
            let mut changed = whole.clone();
            changed[cut] ^= 0x10;
            fs::write(&path, &changed).unwrap();
            assert!(matches!(load(dir.path()), Err(Unusable::Damaged(..))), "changed at {cut}");
        }
    }

    #[test]
    fn a_proxy_keeps_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let id = proxy_id(Some(dir.path()), "host");
        assert!(id.starts_with("host-"), "{id}");
        assert_eq!(proxy_id(Some(dir.path()), "host"), id);
        assert_ne!(proxy_id(None, "host"), id);
    }
}
