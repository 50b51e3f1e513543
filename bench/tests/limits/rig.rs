//! A proxy with tight limits, and hostile clients.

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use pancake_bench::backend::Backend;
use pancake_bench::load;
use pancake_bench::message::read_answer;
use pancake_bench::process::wait_until;
use pancake_bench::stack::Proxy;

pub const SOON: Duration = Duration::from_secs(20);

pub struct Rig {
    pub proxy: Proxy,
    _backend: Backend,
    _dir: tempfile::TempDir,
}

impl Rig {
    pub fn start(arguments: &[&str]) -> Rig {
        Rig::start_after(":", arguments)
    }

    /// After a shell command in the process that the proxy becomes.
    pub fn start_after(prelude: &str, arguments: &[&str]) -> Rig {
        Rig::start_whole(prelude, "http://127.0.0.1:1", arguments)
    }

    /// In a control group, with a server for `/stuck`.
    pub fn start_in(group: Option<&Group>, stuck: &str, arguments: &[&str]) -> Rig {
        let prelude = group.map_or_else(|| ":".to_owned(), Group::prelude);
        Rig::start_whole(&prelude, stuck, arguments)
    }

    fn start_whole(prelude: &str, stuck: &str, arguments: &[&str]) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let backend = Backend::start("one", "127.0.0.1:0").unwrap();
        let file = dir.path().join("dynamic.yml");
        let dynamic = format!(
            "http:
  routers:
    all: {{rule: 'PathPrefix(`/`)', service: one}}
    stuck: {{rule: 'PathPrefix(`/stuck`)', service: stuck}}
  services:
    one: {{loadBalancer: {{servers: [{{url: '{}'}}]}}}}
    stuck: {{loadBalancer: {{servers: [{{url: '{stuck}'}}]}}}}
",
            backend.url()
        );
        fs::write(&file, dynamic).unwrap();
        let mut all = vec!["--metrics.prometheus=true", "--accessLog=true"];
        all.extend(arguments);
        let proxy = Proxy::start_after(prelude, dir.path(), &file, &all).unwrap();
        Rig { proxy, _backend: backend, _dir: dir }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.proxy.web).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// The status of a request on a connection of its own.
    pub fn get(&self, path: &str) -> u16 {
        let answer = load::get(self.proxy.web, "x", path);
        answer.unwrap_or_else(|e| panic!("{e}\n{}", self.proxy.process.output())).head.status()
    }

    /// Whether such a request is served.
    pub fn serves(&self) -> bool {
        load::get(self.proxy.web, "x", "/name").is_ok_and(|answer| answer.head.status() == 200)
    }

    /// A request on a kept connection.
    pub fn ask(&self, stream: &mut TcpStream, path: &str) {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let answer = read_answer(&mut BufReader::new(stream), "GET").unwrap().expect("an answer");
        assert_eq!(answer.head.status(), 200);
    }

    /// Requests on a kept connection for so long, with pauses. Returns how many.
    pub fn ask_for(&self, stream: &mut TcpStream, path: &str, time: Duration) -> usize {
        let end = Instant::now() + time;
        let mut asked = 0;
        while Instant::now() < end {
            self.ask(stream, path);
            asked += 1;
            thread::sleep(Duration::from_millis(20));
        }
        asked
    }

    /// The value of a metric; its labels are part of the name.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.proxy.admin("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{text}"))
    }

    pub fn until_metric(&self, line: &str) {
        self.until(line, || self.proxy.admin("/metrics").lines().any(|one| one == line));
    }

    pub fn until(&self, what: &str, holds: impl FnMut() -> bool) {
        wait_until(what, SOON, holds).unwrap_or_else(|error| {
            panic!("{error:#}\n{}\n{}", self.proxy.admin("/metrics"), self.proxy.process.output())
        });
    }
}

/// Sends a piece every 100 ms, for 4 s at most.
pub fn drip(stream: &TcpStream, piece: &'static [u8]) {
    let mut stream = stream.try_clone().unwrap();
    thread::spawn(move || {
        for _ in 0..40 {
            thread::sleep(Duration::from_millis(100));
            if stream.write_all(piece).is_err() {
                return;
            }
        }
    });
}

/// Reads so many bytes every 30 ms, until the end or for 1000 times. Says how many that were.
pub fn sip(stream: &TcpStream, bytes: usize) -> thread::JoinHandle<usize> {
    let mut stream = stream.try_clone().unwrap();
    thread::spawn(move || {
        let mut into = vec![0; bytes];
        let mut sum = 0;
        for _ in 0..1000 {
            match stream.read(&mut into) {
                Ok(n) if n > 0 => sum += n,
                _ => break,
            }
            thread::sleep(Duration::from_millis(30));
        }
        sum
    })
}

/// What comes until the end, be it a reset.
pub fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How long a stream takes to end; what comes before is not looked at.
pub fn ended_after(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut into = [0; 4096];
    loop {
        match stream.read(&mut into) {
            Ok(0) => return began.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("it does not end"),
            Err(_) => return began.elapsed(),
        }
    }
}

/// A control group with a ceiling for memory; removed when dropped.
pub struct Group {
    path: PathBuf,
    v2: bool,
}

impl Group {
    /// None, and said loudly, where none can be made: then resident memory alone is looked at.
    pub fn new(bytes: u64) -> Option<Group> {
        let name = format!("pancake-test-{}-{:?}", std::process::id(), std::thread::current().id());
        let name = name.replace(['(', ')'], "");
        for (root, file, v2) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", false),
            ("/sys/fs/cgroup", "memory.max", true),
        ] {
            let path = Path::new(root).join(&name);
            if !Path::new(root).is_dir() || fs::create_dir_all(&path).is_err() {
                continue;
            }
            let group = Group { path, v2 };
            if group.path.join(file).exists() && fs::write(group.path.join(file), bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        eprintln!("SKIPPED: no control group with a memory limit can be made here");
        None
    }

    fn prelude(&self) -> String {
        format!("echo $$ > '{}'", self.path.join("cgroup.procs").display())
    }

    /// Processes in it that were killed for want of memory.
    pub fn kills(&self) -> u64 {
        let file = if self.v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.path.join(file)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It is busy until its processes are gone; what is left over is empty.
        let _ = wait_until("the end of a control group", SOON, || fs::remove_dir(&self.path).is_ok());
    }
}
