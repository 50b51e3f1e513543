//! The examples of `ops/manual/traefik.md` and `ops/manual/protocols.md` do what the manual says.

use pancake_config::args::{self, Invocation};
use pancake_config::problem::{Problem, Scope};
use pancake_config::traefik::{dynamic, static_config};
use pancake_config::tree::overlay::Overlay;
use pancake_config::tree::{File, Format};
use pancake_table::check::check;

const TRAEFIK: &str = include_str!("../../../ops/manual/traefik.md");
const PROTOCOLS: &str = include_str!("../../../ops/manual/protocols.md");

/// A fenced block: what stands behind the fence, and the text.
fn blocks(manual: &'static str) -> Vec<(&'static str, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in manual.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => open = Some((info, String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

fn file<'t>(stem: &str, info: &str, text: &'t str) -> File<'t> {
    match (stem, info.starts_with("toml")) {
        (_, true) => File { name: "example.toml", text, format: Format::Toml },
        ("static", false) => File { name: "traefik.yml", text, format: Format::Yaml },
        (_, false) => File { name: "dynamic.yml", text, format: Format::Yaml },
    }
}

fn printed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

#[test]
fn static_examples_are_accepted() {
    let mut seen = 0;
    for (info, text) in blocks(TRAEFIK).iter().filter(|(info, _)| info.ends_with(" static")) {
        static_config::read(Some(file("static", info, text)), &Overlay::default())
            .unwrap_or_else(|problems| panic!("{}{text}", printed(&problems)));
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn dynamic_examples_serve() {
    let mut seen = 0;
    let all = [blocks(TRAEFIK), blocks(PROTOCOLS)].concat();
    for (info, text) in all.iter().filter(|(info, _)| info.ends_with(" dynamic")) {
        let loaded = dynamic::read(&[file("dynamic", info, text)]);
        assert_eq!(printed(&loaded.problems), "", "{text}");
        let report = check(&loaded.snapshot, &["web", "dns", "smtp"].map(str::to_string));
        assert!(!report.has_errors(), "{:?}", report.problems());
        assert!(!loaded.snapshot.routers.is_empty() || !loaded.snapshot.tcp.routers.is_empty());
        seen += 1;
    }
    assert_eq!(seen, 8);
}

#[test]
fn refused_examples_print_what_the_manual_says() {
    let blocks = blocks(TRAEFIK);
    let mut seen = 0;
    for pair in blocks.windows(2).filter(|pair| pair[0].0.ends_with(" refused")) {
        let (info, text) = &pair[0];
        let (answer, expected) = &pair[1];
        assert_eq!(*answer, "text");
        let problems = if info.contains("static") {
            static_config::read(Some(file("static", info, text)), &Overlay::default()).unwrap_err()
        } else {
            let loaded = dynamic::read(&[file("dynamic", info, text)]);
            assert!(loaded.is_usable());
            loaded.problems
        };
        assert!(problems.iter().all(|problem| problem.scope != Scope::Note));
        assert_eq!(&printed(&problems), expected);
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn commands_are_accepted() {
    let mut seen = 0;
    for (_, text) in blocks(TRAEFIK).iter().filter(|(info, _)| *info == "sh") {
        for line in text.lines() {
            let mut words = line.split_whitespace().map(str::to_string);
            assert_eq!(words.next().as_deref(), Some("pancake-proxy"));
            let words: Vec<String> = words.collect();
            let Ok(Invocation::Run(run)) = args::parse(&words, &[]) else { panic!("{line}") };
            static_config::read(None, &run.overlay)
                .unwrap_or_else(|problems| panic!("{}", printed(&problems)));
            seen += 1;
        }
    }
    assert_eq!(seen, 4);
}

/// Every flag that `--help` shows with a value is one.
#[test]
fn the_help_text_shows_flags_that_exist() {
    let mut seen = 0;
    for word in args::HELP.split_whitespace().filter(|word| word.starts_with("--") && word.contains('=')) {
        let word = word
            .trim_end_matches(';')
            .replace("CIDR,…", "10.0.0.0/8")
            .replace("HOST:PORT", "127.0.0.1:7700")
            .replace("common|json", "json")
            .replace("=N", "=2");
        let Ok(Invocation::Run(run)) = args::parse(std::slice::from_ref(&word), &[]) else {
            panic!("{word}")
        };
        let problems = static_config::read(None, &run.overlay).err().unwrap_or_default();
        let unknown: Vec<_> = problems.iter().filter(|p| !p.message.contains("is missing")).collect();
        assert!(unknown.is_empty(), "{word}: {unknown:?}");
        seen += 1;
    }
    assert!(seen > 15, "{seen}");
}
