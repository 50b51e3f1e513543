//! Looks at the file again and again.
//!
//! It polls, once a second: that needs no kernel facility, follows a file that is replaced by rename, and works on
//! network file systems. What it does not do: interpret the file (that is `super::keeper`).

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::form::{MAX_FILE, Syntax};

/// Between two looks.
pub const POLL: Duration = Duration::from_secs(1);

/// A file that is looked at.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    last: Option<Seen>,
}

#[derive(Debug, PartialEq)]
enum Seen {
    File { inode: u64, bytes: u64, modified: (i64, i64), changed: (i64, i64) },
    Unreadable(io::ErrorKind),
}

impl Watched {
    /// A file that was not looked at yet.
    pub fn new(path: PathBuf) -> Watched {
        Watched { path, last: None }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// By the ending of its name.
    pub fn syntax(&self) -> Syntax {
        match self.path.extension() {
            Some(ending) if ending.eq_ignore_ascii_case("json") => Syntax::Json,
            _ => Syntax::Yaml,
        }
    }

    /// None if nothing changed since the last look; otherwise the text, or why it cannot be read. Blocks on the disk.
    pub fn look(&mut self) -> Option<Result<String, String>> {
        let seen = match fs::metadata(&self.path) {
            Ok(m) => Seen::File {
                inode: m.ino(),
                bytes: m.size(),
                modified: (m.mtime(), m.mtime_nsec()),
                changed: (m.ctime(), m.ctime_nsec()),
            },
            Err(e) => Seen::Unreadable(e.kind()),
        };
        if self.last.as_ref() == Some(&seen) {
            return None;
        }
        self.last = Some(seen);
        Some(read(&self.path).map_err(|e| {
            // What could not be read may be readable at the next look, with the same metadata.
            self.last = None;
            e.to_string()
        }))
    }
}

fn read(path: &Path) -> io::Result<String> {
    let limit = MAX_FILE as u64 + 1;
    let mut text = String::new();
    fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_edits_replacement_and_absence_once_each() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("services.yml");
        let mut watched = Watched::new(path.clone());
        assert!(watched.look().unwrap().is_err(), "not there yet");
        fs::write(&path, "one").unwrap();
        assert_eq!(watched.look(), Some(Ok("one".into())));
        assert_eq!(watched.look(), None);
        let other = directory.path().join("other");
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(watched.look(), Some(Ok("two".into())));
        fs::write(&path, b"\xff\xfe").unwrap();
        assert!(watched.look().unwrap().is_err(), "not UTF-8");
    }

    #[test]
    fn takes_json_by_its_name() {
        assert_eq!(Watched::new("a.JSON".into()).syntax(), Syntax::Json);
        assert_eq!(Watched::new("a.yaml".into()).syntax(), Syntax::Yaml);
    }
}
