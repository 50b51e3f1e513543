//! House rules as a test: sizes, names, places, what pure crates do not touch.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest Rust file, in lines.
const MAX_LINES: usize = 600;
/// Deepest directory of a source file below `proxy/` or `control/`.
const MAX_DEPTH: usize = 5;

/// What may stand visibly at the top level.
const TOP_LEVEL: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "bench",
    "control",
    "fuzz",
    "ops",
    "proxy",
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "manager"];

/// What a pure crate does not say outside its tests: clocks, files, sockets, threads, randomness are arguments.
const IMPURE_WORDS: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "std::fs",
    "std::thread",
    "thread::spawn",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "RandomState::new",
];
/// `proxy/tls` makes keys and so is not pure, but does without all of these too.
const PURE_CRATES: &[&str] = &[
    "proxy/wire/src/",
    "proxy/table/src/",
    "proxy/tls/src/",
    "proxy/config/src/",
    "proxy/balance/src/",
    "control/model/src/",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("bench is in the workspace").to_owned()
}

/// Tracked and new files, as paths from the root; what `.gitignore` names is left out.
fn files() -> Vec<String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let out = git.output().expect("git runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut all: Vec<String> = String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect();
    all.retain(|file| root().join(file).is_file());
    all.sort();
    all.dedup();
    assert!(all.len() > 20, "only {} files found", all.len());
    all
}

fn rust() -> Vec<(String, String)> {
    let all = files().into_iter().filter(|file| file.ends_with(".rs"));
    all.map(|file| (fs::read_to_string(root().join(&file)).expect("source is text"), file))
        .map(|(t, f)| (f, t))
        .collect()
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The code of a file without its trailing test module and without comments.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
    lines.map(|(n, line)| (n + 1, line.split("//").next().unwrap_or("")))
}

#[test]
fn files_stay_short() {
    let long = |(file, text): (String, String)| {
        let lines = text.lines().count();
        (lines > MAX_LINES).then(|| format!("{file}: {lines} lines, at most {MAX_LINES}: look for the seam"))
    };
    assert_none(&rust().into_iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn names_say_what_is_inside() {
    let mut wrong = Vec::new();
    for (file, text) in rust() {
        let path = Path::new(&file);
        let parts = path.iter().filter_map(|part| part.to_str()).map(|part| part.trim_end_matches(".rs"));
        wrong.extend(
            parts.filter(|part| EMPTY_NAMES.contains(part)).map(|part| format!("{file}: named {part}")),
        );
        for (n, line) in code(&text) {
            let name = line.trim().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            let name = name.strip_prefix("mod ").map(|rest| rest.trim_end_matches([';', '{', ' ']));
            if let Some(name) = name.filter(|name| EMPTY_NAMES.contains(name)) {
                wrong.push(format!("{file}:{n}: mod {name}"));
            }
        }
        if path.iter().count() > MAX_DEPTH + 1 && !file.contains("/tests/") {
            wrong.push(format!("{file}: deeper than {MAX_DEPTH} directories"));
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_file_says_what_it_is() {
    let silent = |(file, text): (String, String)| {
        // What a `tests.rs` or a part of a test is, its name says.
        if file.ends_with("/tests.rs") || file.split("/tests/").nth(1).is_some_and(|rest| rest.contains('/'))
        {
            return None;
        }
        let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
        (!first.unwrap_or("").starts_with("//!")).then(|| format!("{file}: begins without a //! line"))
    };
    assert_none(&rust().into_iter().filter_map(silent).collect::<Vec<_>>());
}

#[test]
fn public_modules_have_a_line_of_explanation() {
    let mut wrong = Vec::new();
    for (file, text) in rust().into_iter().filter(|(file, _)| file.ends_with("src/lib.rs")) {
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("pub mod ")) {
            let above = lines[..i].iter().rev().find(|l| !l.starts_with("#["));
            if !above.is_some_and(|l| l.starts_with("///") || l.starts_with("//")) {
                wrong.push(format!("{file}:{}: {line} without a line above it", i + 1));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn unsafe_lives_in_the_engine() {
    let mut wrong = Vec::new();
    for (file, text) in rust() {
        if file.starts_with("proxy/engine/")
            || file.starts_with("fuzz/targets/")
            || file.ends_with("tests/tidy.rs")
        {
            continue;
        }
        for (n, line) in text.lines().enumerate() {
            let line = line.split("//").next().unwrap_or("");
            let unsafe_code = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "allow(unsafe_code"];
            if unsafe_code.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{file}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn pure_crates_touch_no_clock_file_socket_or_thread() {
    let mut wrong = Vec::new();
    for (file, text) in
        rust().into_iter().filter(|(file, _)| PURE_CRATES.iter().any(|dir| file.starts_with(dir)))
    {
        // A file that is a test module as a whole may do what tests do.
        if file.ends_with("/tests.rs") || file.contains("/tests/") {
            continue;
        }
        for (n, line) in code(&text) {
            wrong.extend(
                IMPURE_WORDS.iter().filter(|w| line.contains(**w)).map(|w| format!("{file}:{n}: {w}")),
            );
        }
    }
    assert_none(&wrong);
}

#[test]
fn nothing_unexpected_stands_at_the_top() {
    let tops: std::collections::BTreeSet<String> =
        files().iter().filter_map(|file| file.split('/').next().map(str::to_owned)).collect();
    let odd = tops.iter().filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str()));
    assert_none(
        &odd.map(|name| format!("{name} is not in the layout of ARCHITECTURE.md")).collect::<Vec<_>>(),
    );
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    let root = root();
    let parent = root.parent().and_then(Path::to_str).unwrap_or("/");
    let mut places = vec![root.display().to_string()];
    // Directories that a text may name wherever the checkout stands.
    if !["/", "/tmp", "/opt", "/srv", "/home", "/root", "/usr/src", "/var/lib"].contains(&parent) {
        places.push(format!("{parent}/"));
    }
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| !file.ends_with("Cargo.lock")) {
        let Ok(text) = fs::read_to_string(root.join(file)) else { continue };
        for (n, line) in text.lines().enumerate() {
            wrong.extend(
                places.iter().filter(|p| line.contains(*p)).map(|p| format!("{file}:{}: {p}", n + 1)),
            );
        }
    }
    assert_none(&wrong);
}

#[test]
fn tests_wait_for_conditions_instead_of_sleeping() {
    let mut wrong = Vec::new();
    for (file, text) in rust() {
        // A harness or a rig is where the waiting itself is.
        if !file.contains("/tests/")
            || file == "bench/tests/tidy.rs"
            || file.ends_with("/harness.rs")
            || file.ends_with("/rig.rs")
        {
            continue;
        }
        for (n, line) in text.lines().enumerate() {
            if line.contains("thread::sleep(") || line.contains("time::sleep(") {
                wrong.push(format!("{file}:{}: {}", n + 1, line.trim()));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.ends_with(".md")) {
        let text = fs::read_to_string(root().join(file)).expect("a page is text");
        let dir = Path::new(file).parent().expect("a file has a directory").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or("");
            if !target.is_empty() && !target.contains("://") && !root().join(&dir).join(target).exists() {
                wrong.push(format!("{file}: {link} does not exist"));
            }
        }
    }
    assert_none(&wrong);
}
