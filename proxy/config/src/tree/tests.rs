use super::*;

fn yaml(text: &str) -> Result<Node, Vec<Problem>> {
    parse(File { name: "a.yml", text, format: Format::Yaml })
}

fn toml(text: &str) -> Result<Node, Vec<Problem>> {
    parse(File { name: "a.toml", text, format: Format::Toml })
}

fn printed(result: Result<Node, Vec<Problem>>) -> String {
    let problems = result.expect_err("should be refused");
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// `a.b[0]` style look-up.
fn at<'n>(node: &'n Node, path: &[&str]) -> &'n Node {
    path.iter().fold(node, |node, key| match &node.value {
        Value::Map(entries) => &entries.iter().find(|entry| entry.key == *key).unwrap().value,
        Value::List(items) => &items[key.parse::<usize>().unwrap()],
        _ => panic!("{key} is under a scalar"),
    })
}

fn text(node: &Node) -> &str {
    let Value::Scalar(scalar) = &node.value else { panic!("not a scalar: {node:?}") };
    &scalar.text
}

const RULE: &str = "Host(`example.org`)";

#[test]
fn yaml_and_toml_give_the_same_values_with_their_places() {
    let from_yaml =
        yaml("http:\n  routers:\n    web:\n      rule: \"Host(`example.org`)\"\n      priority: 5\n");
    let from_yaml = from_yaml.unwrap();
    let from_toml = toml("[http.routers.web]\n  rule = \"Host(`example.org`)\"\n  priority = 5\n").unwrap();
    let rule = ["http", "routers", "web", "rule"];
    assert_eq!(text(at(&from_yaml, &rule)), RULE);
    assert_eq!(text(at(&from_toml, &rule)), RULE);
    assert_eq!(at(&from_yaml, &rule).span.to_string(), "a.yml:4:13");
    assert_eq!(at(&from_toml, &rule).span.to_string(), "a.toml:2:10");
    assert_eq!(text(at(&from_yaml, &["http", "routers", "web", "priority"])), "5");
    assert_eq!(text(at(&from_toml, &["http", "routers", "web", "priority"])), "5");
    // The backtick inside of the quotes.
    assert_eq!(at(&from_yaml, &rule).place_in_text(5).to_string(), "a.yml:4:19");
    assert_eq!(at(&from_toml, &rule).place_in_text(5).to_string(), "a.toml:2:16");
}

#[test]
fn a_place_inside_of_folded_text_is_its_start() {
    let root = yaml("rule: >-\n  Host(`a`)\n  && Path(`/`)\n").unwrap();
    let rule = at(&root, &["rule"]);
    assert_eq!(text(rule), "Host(`a`) && Path(`/`)");
    assert_eq!(rule.place_in_text(10), rule.span);
}

#[test]
fn nothing_is_null_and_an_empty_file_is_an_empty_mapping() {
    let root = yaml("ping:\napi: ~\nlog: 'null'\n").unwrap();
    assert_eq!(at(&root, &["ping"]).value, Value::Null);
    assert_eq!(at(&root, &["api"]).value, Value::Null);
    assert_eq!(text(at(&root, &["log"])), "null");
    for empty in ["", "\n", "# nothing\n", "---\n"] {
        assert_eq!(yaml(empty).unwrap().value, Value::Map(vec![]), "{empty:?}");
    }
    assert_eq!(toml("").unwrap().value, Value::Map(vec![]));
}

#[test]
fn aliases_are_copied_and_merge_keys_give_way() {
    let root = yaml("base: &b {a: 1, b: 2}\nx:\n  <<: *b\n  b: 3\ny: *b\n").unwrap();
    assert_eq!(text(at(&root, &["x", "a"])), "1");
    assert_eq!(text(at(&root, &["x", "b"])), "3");
    assert_eq!(text(at(&root, &["y", "b"])), "2");
}

#[test]
fn syntax_errors_have_a_place() {
    assert!(printed(yaml("a:\n  - b\n c: d\n")).starts_with("a.yml:3:"));
    let problems = toml("a = \nb = 1\nc = ]\n").unwrap_err();
    assert_eq!(problems.len(), 2, "all syntax errors of a TOML file at once: {problems:?}");
    assert!(problems[0].to_string().starts_with("a.toml:1:"), "{}", problems[0]);
    assert!(problems[1].to_string().starts_with("a.toml:3:"), "{}", problems[1]);
}

#[test]
fn refuses_a_key_that_is_there_twice() {
    let expected = "a.yml:3:1: the key \"a\" is there twice, first at a.yml:1:1";
    assert_eq!(printed(yaml("a: 1\nb: 2\na: 3\n")), expected);
    assert!(printed(toml("a = 1\na = 2\n")).starts_with("a.toml:2:1: duplicate key"));
}

#[test]
fn refuses_what_is_no_mapping() {
    assert_eq!(printed(yaml("- a\n")), "a.yml:1:1: the file is not a mapping; expected keys such as `http:`");
    assert!(printed(yaml("a: 1\n---\nb: 2\n")).contains("a second document"));
    assert!(printed(yaml("? [a]\n: b\n")).contains("a key is a mapping or a sequence"));
}

#[test]
fn alias_bombs_end_at_the_limit_of_nodes() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert!(printed(yaml(&bomb)).contains("more than 2000000 values"));
    assert!(printed(yaml("a: &a [*a]\n")).contains("a.yml:1:"));
}

#[test]
fn refuses_deep_nesting_in_any_form() {
    assert!(printed(yaml(&"[".repeat(10_000))).contains("a.yml:1:"));
    assert!(printed(yaml(&format!("a: {}{}", "[".repeat(100), "]".repeat(100)))).contains("deeper than 64"));
    let block: String = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(printed(yaml(&block)).contains("deeper than 64"));
    let mut aliased = String::from("a0: &a0 [x]\n");
    for level in 1..100 {
        aliased.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(printed(yaml(&aliased)).contains("deeper than 64"));
    assert!(toml(&format!("a = {}{}", "[".repeat(70), "]".repeat(70))).is_err());
    assert!(toml(&format!("a = {}", "[".repeat(100_000))).is_err());
}

#[test]
fn refuses_a_file_that_is_too_large() {
    let text = "#".repeat(MAX_BYTES + 1);
    assert_eq!(printed(yaml(&text)), "a.yml: the file has 16777217 bytes, the limit is 16777216");
}

#[test]
fn overlay_matches_keys_without_case_and_keeps_the_rest() {
    let base =
        yaml("entryPoints:\n  Web:\n    address: ':80'\n    asDefault: true\nping: {entryPoint: web}\n");
    let mut overlay = overlay::Overlay::default();
    for (path, value) in [("entrypoints.web.address", ":81"), ("ping", "true"), ("a.b[1].c", "x")] {
        overlay.set(path, value, Span::whole(format!("--{path}"))).unwrap();
    }
    let root = overlay.over(base.unwrap());
    assert_eq!(text(at(&root, &["entryPoints", "Web", "address"])), ":81");
    assert_eq!(text(at(&root, &["entryPoints", "Web", "asDefault"])), "true");
    assert_eq!(text(at(&root, &["ping", "entryPoint"])), "web");
    assert_eq!(text(at(&root, &["a", "b", "[1]", "c"])), "x");
    assert_eq!(at(&root, &["a", "b", "[1]", "c"]).span.to_string(), "--a.b[1].c");
    assert!(overlay.set("a..b", "x", Span::whole("--a..b")).is_err());
}

proptest::proptest! {
    #[test]
    fn never_panics(text in "[ \\n\\t:a\\-\\[\\]{}&*!|>'\"#%@,?~<0.=\\\\é]{0,80}") {
        let _ = yaml(&text);
        let _ = toml(&text);
    }

    #[test]
    fn never_panics_on_any_text(text in "\\PC{0,60}") {
        let _ = yaml(&text);
        let _ = toml(&text);
    }
}

#[test]
fn columns_count_characters_in_long_lines() {
    let text = format!("a = [{}] # é\nbé = 1", "'é', ".repeat(2000));
    let problems = printed(toml(&text));
    assert!(problems.starts_with("a.toml:2:"), "{problems}");
    let root = toml(&text[..text.find('#').unwrap()]).unwrap();
    assert_eq!(at(&root, &["a", "1999"]).span.to_string(), format!("a.toml:1:{}", 6 + 1999 * 5));
}
