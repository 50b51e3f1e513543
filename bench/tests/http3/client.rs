//! Runs `client.py` with the Python that has aioquic (`ops/test` installs it).

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::rig::Rig;

/// How the client is to be run.
pub struct Client {
    arguments: Vec<String>,
}

/// A client under way.
pub struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Client {
    /// A client of the entry point `web` that verifies the rig's certificate.
    pub fn of(rig: &Rig) -> Client {
        let ca = rig.dir.path().join("cert.pem").display().to_string();
        Client {
            arguments: ["--port", &rig.proxy.web.port().to_string(), "--ca", &ca].map(str::to_owned).into(),
        }
    }

    /// With these arguments in place of the authority.
    pub fn with(&self, more: &[&str]) -> Client {
        let arguments = self.arguments[..2].iter().cloned().chain(more.iter().map(ToString::to_string));
        Client { arguments: arguments.collect() }
    }

    /// Starts it.
    pub fn start(&self, command: &str, asked: &[&str]) -> Running {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http3/client.py");
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut python = Command::new(python());
        python.arg(script).arg(command).args(&self.arguments).args(asked);
        python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.reopen().unwrap());
        let mut child = python.spawn().expect("Python starts");
        let out = BufReader::new(child.stdout.take().unwrap());
        Running { child, out, log: log.into_temp_path().keep().unwrap() }
    }

    /// Runs it to its end; what it says.
    pub fn run(&self, command: &str, asked: &[&str]) -> Value {
        self.start(command, asked).json()
    }
}

impl Running {
    /// Reads a line that is expected.
    pub fn line(&mut self, expected: &str) {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), expected, "{}", self.errors());
    }

    /// What it says at its end.
    pub fn json(mut self) -> Value {
        let mut text = String::new();
        self.out.read_to_string(&mut text).unwrap();
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "the client failed: {text}{}", self.errors());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{}", self.errors()))
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.log);
    }
}

/// The one of `ops/setup.sh`, else any that has aioquic.
fn python() -> PathBuf {
    let cache = std::env::var_os("PANCAKE_CACHE").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/pancake"));
    let known = cache.or_else(home).map(|cache| cache.join("venv/bin/python"));
    let has = |python: &Path| {
        let mut import = Command::new(python);
        import.args(["-c", "import aioquic"]).stderr(Stdio::null());
        import.status().is_ok_and(|status| status.success())
    };
    let found = known.into_iter().chain([PathBuf::from("python3")]).find(|python| has(python));
    found.expect("a Python with aioquic (ops/test installs it: need_python aioquic)")
}
