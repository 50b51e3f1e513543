//! Traefik's file provider: one file or a directory, watched.
//!
//! Watching is by looking: what `stat` says about each file (device, inode, size, times) is compared twice a second.
//! That sees editors that rename, Kubernetes' swaps of symbolic links, bind mounts and network file systems alike,
//! where inotify misses some of them or loses its watch. A file that is being written is waited for a moment. Names
//! that start with `..` are passed over: Kubernetes keeps copies of mounted files there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pancake_config::traefik::dynamic;
use pancake_config::traefik::static_config::{FileProvider, FileSource};
use pancake_config::tree::{File, Format};

use crate::change::{Handle, Outcome, Problem, Provider, Update};
use crate::limits::{
    FILE_POLL_PERIOD, MAX_DIRECTORY_DEPTH, MAX_DIRECTORY_ENTRIES, MAX_FILE_BYTES, MAX_FILES,
};

/// A file that changed less than this ago may still be written to.
const SETTLE_TIME: Duration = Duration::from_millis(50);
/// How often such a file is waited for; then it is read as it is.
const SETTLE_TRIES: usize = 4;
/// Looking may take at most one part in this many of the time.
const SCAN_SHARE: u32 = 50;

/// The files that a configuration names.
mod pems;

/// The files of a source and what `stat` says about them; or why they cannot be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    files: Result<BTreeMap<PathBuf, Stamp>, String>,
    /// Files that the configuration names; none for one that is not there.
    named: BTreeMap<PathBuf, Option<Stamp>>,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Seen {
    /// Looks at the source; blocks on the file system.
    pub fn look(source: &FileSource, named: &BTreeSet<PathBuf>) -> Seen {
        let mut files = BTreeMap::new();
        let found = match source {
            FileSource::Filename(path) => stamp(path).map(|stamp| {
                files.insert(path.clone(), stamp);
            }),
            FileSource::Directory(path) => walk(path, 0, &mut 0, &mut files),
        };
        let of = |path: &PathBuf| std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
        Seen {
            files: found.map(|()| files),
            named: named.iter().map(|path| (path.clone(), of(path))).collect(),
        }
    }
}

/// A description of the failure that starts with the path.
fn at(path: &Path) -> impl Fn(io::Error) -> String + '_ {
    move |error| format!("{}: {error}", path.display())
}

fn stamp(path: &Path) -> Result<Stamp, String> {
    let metadata = std::fs::metadata(path).map_err(at(path))?;
    if metadata.is_dir() {
        return Err(format!("{}: is a directory; expected a file", path.display()));
    }
    Ok(Stamp::of(&metadata))
}

fn walk(
    directory: &Path,
    depth: usize,
    entries: &mut usize,
    files: &mut BTreeMap<PathBuf, Stamp>,
) -> Result<(), String> {
    for entry in std::fs::read_dir(directory).map_err(at(directory))? {
        let entry = entry.map_err(at(directory))?;
        *entries += 1;
        if *entries > MAX_DIRECTORY_ENTRIES {
            return Err(format!("{}: more than {MAX_DIRECTORY_ENTRIES} entries", directory.display()));
        }
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("..") {
            continue;
        }
        let path = entry.path();
        let kind = entry.file_type().map_err(at(&path))?;
        if kind.is_dir() {
            if depth + 1 >= MAX_DIRECTORY_DEPTH {
                return Err(format!("{}: deeper than {MAX_DIRECTORY_DEPTH} directories", path.display()));
            }
            walk(&path, depth + 1, entries, files)?;
        } else if Format::of(&name).is_some() {
            let Ok(metadata) = std::fs::metadata(&path) else {
                return Err(format!(
                    "{}: cannot be read: a dangling link, or gone this moment",
                    path.display()
                ));
            };
            if metadata.is_file() {
                files.insert(path, Stamp::of(&metadata));
            }
            if files.len() > MAX_FILES {
                return Err(format!("{}: more than {MAX_FILES} files", directory.display()));
            }
        }
    }
    Ok(())
}

/// Reads the files that were seen; blocks on the file system.
///
/// # Errors
/// Why there is nothing to take over.
pub fn read(seen: &Seen) -> Result<Update, Vec<Problem>> {
    let failed = |reason: String| vec![Problem::of_provider(Provider::File, reason)];
    let files = seen.files.as_ref().map_err(|reason| failed(reason.clone()))?;
    let bytes: u64 = files.values().map(|stamp| stamp.size).sum();
    if bytes > MAX_FILE_BYTES {
        return Err(failed(format!("the files have {bytes} bytes, at most {MAX_FILE_BYTES} are allowed")));
    }
    let mut texts = Vec::new();
    let mut problems = Vec::new();
    for path in files.keys() {
        let name = path.display().to_string();
        let Some(format) = Format::of(&name) else {
            problems.push(format!("{name}: unknown kind of file; expected .yml, .yaml or .toml"));
            continue;
        };
        match std::fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => texts.push((name, text, format)),
            Ok(Err(error)) => {
                let line =
                    error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n');
                problems.push(format!("{name}:{}:1: is not UTF-8 text", line.count() + 1));
            }
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    if !problems.is_empty() {
        return Err(problems.into_iter().map(|text| Problem::of_provider(Provider::File, text)).collect());
    }
    let files = texts.iter().map(|(name, text, format)| File { name, text, format: *format });
    let loaded = dynamic::read(&files.collect::<Vec<_>>());
    let usable = loaded.is_usable();
    let mut update = Update::from_files(loaded);
    if !usable {
        return Err(update.problems);
    }
    update.files = pems::read(&mut update.snapshot, &mut update.problems);
    Ok(update)
}

/// Follows the source for as long as the service thread runs. The first change is taken over at once, what follows
/// within `throttle` together.
pub async fn watch(
    provider: FileProvider,
    throttle: Duration,
    (mut seen, mut named): (Seen, BTreeSet<PathBuf>),
    changes: Handle,
) {
    let mut taken: Option<Instant> = None;
    let mut period = FILE_POLL_PERIOD;
    loop {
        tokio::time::sleep(period).await;
        let started = Instant::now();
        let Some(newer) = look_off_thread(&provider.source, &named).await else { return };
        period = FILE_POLL_PERIOD.max(started.elapsed() * SCAN_SHARE);
        if newer == seen {
            continue;
        }
        if let Some(pause) = taken.and_then(|at| throttle.checked_sub(at.elapsed())) {
            tokio::time::sleep(pause).await;
        }
        let Some(settled) = settle(&provider.source, &named, newer).await else { return };
        let of = settled.clone();
        let Some(result) = changes.prepare(move || read(&of)).await else { return };
        seen = settled;
        taken = Some(Instant::now());
        let outcome = match result {
            Ok(update) => {
                if named != update.files {
                    named.clone_from(&update.files);
                    let Some(with_named) = look_off_thread(&provider.source, &named).await else { return };
                    // What changed since it was read is seen the next time.
                    seen = Seen { named: with_named.named, ..seen };
                }
                changes.submit(Provider::File, update).await
            }
            Err(problems) => changes.fail(Provider::File, problems).await,
        };
        match outcome {
            Outcome::Applied => tracing::info!("the dynamic configuration in files has changed and serves"),
            Outcome::Unchanged => tracing::debug!("files have changed, the configuration in them has not"),
            Outcome::Refused(_) => {
                tracing::error!("the files have changed and cannot be used: what served before goes on")
            }
        }
    }
}

/// None if the runtime is going down.
async fn look_off_thread(source: &FileSource, named: &BTreeSet<PathBuf>) -> Option<Seen> {
    let (source, named) = (source.clone(), named.clone());
    tokio::task::spawn_blocking(move || Seen::look(&source, &named)).await.ok()
}

/// Waits while files still change.
async fn settle(source: &FileSource, named: &BTreeSet<PathBuf>, mut seen: Seen) -> Option<Seen> {
    for _ in 0..SETTLE_TRIES {
        tokio::time::sleep(SETTLE_TIME).await;
        let again = look_off_thread(source, named).await?;
        if again == seen {
            break;
        }
        seen = again;
    }
    Some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ONE: &str = "http: {services: {s: {loadBalancer: {servers: [{url: 'http://127.0.0.1:1'}]}}}}";

    #[test]
    fn reads_a_directory_below_and_passes_over_other_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("below")).unwrap();
        fs::create_dir_all(dir.path().join("..data")).unwrap();
        fs::write(dir.path().join("below/one.yml"), ONE).unwrap();
        fs::write(dir.path().join("..data/one.yml"), ONE).unwrap();
        fs::write(dir.path().join("two.toml"), "").unwrap();
        fs::write(dir.path().join("note.txt"), "not: [yaml").unwrap();
        let seen = Seen::look(&FileSource::Directory(dir.path().into()), &BTreeSet::new());
        assert_eq!(seen.files.as_ref().unwrap().len(), 2);
        let update = read(&seen).unwrap();
        assert_eq!(update.snapshot.services[0].name, "s@file");
    }

    #[test]
    fn a_file_that_is_gone_or_no_text_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.yml");
        let source = FileSource::Filename(path.clone());
        let gone = read(&Seen::look(&source, &BTreeSet::new())).unwrap_err();
        assert!(gone[0].message.contains("d.yml: No such file"), "{gone:?}");
        fs::write(&path, b"a: 1\n\xff").unwrap();
        let binary = read(&Seen::look(&source, &BTreeSet::new())).unwrap_err();
        assert!(binary[0].message.contains("d.yml:2:1: is not UTF-8"), "{binary:?}");
    }

    #[test]
    fn a_file_replaced_by_one_of_the_same_size_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.yml");
        let source = FileSource::Filename(path.clone());
        fs::write(&path, "a: 1").unwrap();
        let before = Seen::look(&source, &BTreeSet::new());
        fs::write(dir.path().join("new"), "a: 2").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert_ne!(before, Seen::look(&source, &BTreeSet::new()));
    }

    #[test]
    fn a_swapped_symbolic_link_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        for (version, text) in [("v1", "a: 1"), ("v2", "a: 2")] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("d.yml"), text).unwrap();
        }
        let link = dir.path().join("current");
        std::os::unix::fs::symlink("v1", &link).unwrap();
        let source = FileSource::Filename(link.join("d.yml"));
        let before = Seen::look(&source, &BTreeSet::new());
        std::os::unix::fs::symlink("v2", dir.path().join("next")).unwrap();
        fs::rename(dir.path().join("next"), &link).unwrap();
        assert_ne!(before, Seen::look(&source, &BTreeSet::new()));
    }
}
