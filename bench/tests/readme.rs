//! The files that the README tells a new user to write are what the proxy takes.

use std::fs;
use std::path::Path;
use std::process::Command;

use pancake_bench::stack::program;

/// The text between `cat > NAME <<'EOF'` and `EOF`.
fn written<'a>(page: &'a str, name: &str) -> &'a str {
    let start = page.split(&format!("cat > {name} <<'EOF'\n")).nth(1).unwrap_or_else(|| panic!("no {name}"));
    start.split("EOF\n").next().unwrap_or_default()
}

#[test]
fn the_files_of_the_readme_pass_check() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("README.md");
    let page = fs::read_to_string(page).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for name in ["routes.yml", "traefik.yml"] {
        fs::write(dir.path().join(name), written(&page, name)).unwrap();
    }
    let mut check = Command::new(program("pancake-proxy").unwrap());
    let out = check.args(["--check", "--configFile=traefik.yml"]).current_dir(dir.path()).output().unwrap();
    assert!(
        out.status.success(),
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}
