//! The service thread with real files and sockets, without workers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use pancake_config::traefik::static_config::{self, Settings};
use pancake_config::tree::{File, Format};
use pancake_proxy::access_log::{self, LineSink};
use pancake_proxy::admin::EngineChoice;
use pancake_proxy::service::{self, Parts};
use pancake_proxy::workers::Life;
use pancake_session::meter::{Opened, WorkerMeter};
use pancake_table::compiled::Table;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::watch;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running service thread.
pub struct Rig {
    pub table: Arc<ArcSwap<Table>>,
    pub meter: Arc<WorkerMeter>,
    pub opened: UnboundedSender<Opened>,
    pub sinks: Vec<LineSink>,
    pub life: watch::Sender<Life>,
    pub admin: Option<SocketAddr>,
    thread: Option<JoinHandle<()>>,
}

/// Static settings of this YAML.
pub fn settings(text: &str) -> Settings {
    static_config::read(Some(File { name: "static.yml", text, format: Format::Yaml }), &Default::default())
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

impl Rig {
    /// With these static settings, beside two entry points on ports of the kernel's choice.
    pub fn start(more: &str) -> Rig {
        let entry_points =
            "entryPoints:\n  web: {address: '127.0.0.1:0'}\n  traefik: {address: '127.0.0.1:0'}\n";
        let settings = Arc::new(settings(&format!("{entry_points}{more}")));
        let first = service::load_first(&settings).unwrap();
        let admin = service::listen_admin(&settings).unwrap();
        let (opened, receiver) = unbounded_channel();
        let (life, lives) = watch::channel(Life::Serve);
        let log = settings.access_log.as_ref().map(|log| access_log::open(log, 1).unwrap());
        let (writer, sinks) = log.map_or((None, vec![]), |(writer, sinks)| (Some(writer), sinks));
        let meter = Arc::new(WorkerMeter::new(settings.entry_points.len()));
        let rig = Rig {
            table: first.table(),
            meter: meter.clone(),
            opened,
            sinks,
            life,
            admin: admin.as_ref().map(|listener| listener.local_addr().unwrap()),
            thread: None,
        };
        let parts = Parts {
            settings,
            first,
            admin,
            workers: vec![meter],
            opened: receiver,
            access_log: writer,
            engine: EngineChoice { name: "epoll", why: "a test".into() },
            listening: vec![],
            life: lives,
        };
        let thread = std::thread::spawn(move || service::run(parts).unwrap());
        Rig { thread: Some(thread), ..rig }
    }

    /// The answer to `GET target` on the admin entry point: head and body.
    pub fn get(&self, target: &str) -> (String, String) {
        self.send(&format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
    }

    /// The answer to these bytes.
    pub fn send(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.admin.expect("there is an admin entry point")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        (head.to_lowercase(), body.to_owned())
    }

    /// The JSON at `target`, which must be there.
    pub fn json(&self, target: &str) -> serde_json::Value {
        let (head, body) = self.get(target);
        assert!(head.starts_with("http/1.1 200"), "{target}: {head}\n{body}");
        assert!(head.contains("content-type: application/json"), "{head}");
        serde_json::from_str(&body).unwrap()
    }

    /// Names of the routers that serve.
    pub fn routes(&self) -> Vec<String> {
        self.table.load().routes.iter().map(|route| route.name.to_string()).collect()
    }

    /// Ends the service thread.
    pub fn stop(mut self) {
        self.life.send_replace(Life::Stop);
        self.sinks.clear();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Waits for `condition`.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// As editors do it: a new file under the old name.
pub fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}
