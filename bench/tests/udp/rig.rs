//! A proxy with an entry point `dgram` for UDP and `raw` for TCP, and the programs around it.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pancake_bench::process::{Process, free_addr};
use pancake_bench::stack::Proxy;

const SOON: Duration = Duration::from_secs(20);
/// After this a datagram counts as lost, and is sent again.
const LOST: Duration = Duration::from_secs(2);

pub struct Rig {
    pub proxy: Proxy,
    pub udp: SocketAddr,
    pub raw: SocketAddr,
    dir: tempfile::TempDir,
}

impl Rig {
    /// Sends all datagrams to these servers.
    pub fn start(servers: &[SocketAddr], arguments: &[&str]) -> Rig {
        Rig::start_on("127.0.0.1", servers, arguments)
    }

    /// The same, listening on this address.
    pub fn start_on(host: &str, servers: &[SocketAddr], arguments: &[&str]) -> Rig {
        Rig::start_with(host, &dynamic(servers), arguments)
    }

    /// Sends all connections of `raw` to this server. `transport` goes into the service's server list.
    pub fn start_tcp(server: SocketAddr, transport: &str, arguments: &[&str]) -> Rig {
        let dynamic = format!(
            "tcp:
  routers: {{r: {{rule: 'HostSNI(`*`)', service: s, entryPoints: [raw]}}}}
  services: {{s: {{loadBalancer: {{{transport} servers: [{{address: '{server}'}}]}}}}}}
  serversTransports: {{v1: {{proxyProtocol: {{version: 1}}}}}}
"
        );
        Rig::start_with("127.0.0.1", &dynamic, arguments)
    }

    fn start_with(host: &str, dynamic: &str, arguments: &[&str]) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let (udp, raw) = (free_udp(), free_addr().unwrap());
        let file = dir.path().join("dynamic.yml");
        fs::write(&file, dynamic).unwrap();
        let dgram = format!("--entryPoints.dgram.address={host}:{}/udp", udp.port());
        let tcp = format!("--entryPoints.raw.address={raw}");
        let mut all = vec![dgram.as_str(), &tcp];
        all.extend(arguments);
        let proxy = Proxy::start_with(dir.path(), &file, &all).unwrap();
        let rig = Rig { proxy, udp, raw, dir };
        // It answers when all workers listen; until then the kernel may move a client to another one.
        rig.until("metrics", || rig.proxy.admin("/metrics").contains("pancake_workers").then_some(()));
        rig
    }

    /// Other servers from now on.
    pub fn serve(&self, servers: &[SocketAddr]) {
        fs::write(self.dir.path().join("dynamic.yml"), dynamic(servers)).unwrap();
    }

    /// A client, connected to the entry point.
    pub fn client(&self) -> UdpSocket {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(self.udp).unwrap();
        client.set_read_timeout(Some(LOST)).unwrap();
        client
    }

    /// The answer to one datagram, sent again if it is lost.
    pub fn ask(&self, client: &UdpSocket, bytes: &[u8]) -> Option<String> {
        (0..3).find_map(|_| self.ask_once(client, bytes, LOST))
    }

    /// The answer to one datagram.
    pub fn ask_once(&self, client: &UdpSocket, bytes: &[u8], patience: Duration) -> Option<String> {
        client.set_read_timeout(Some(patience)).unwrap();
        client.send(bytes).unwrap();
        let mut into = vec![0; 65_536];
        let len = client.recv(&mut into).ok()?;
        Some(String::from_utf8_lossy(&into[..len]).into_owned())
    }

    /// What `dig` says about a name, asked through the proxy.
    pub fn dig(&self, question: &[&str]) -> String {
        let (at, port) = (format!("@{}", self.udp.ip()), self.udp.port().to_string());
        let out = Command::new("dig").args([&at, "-p", &port, "+tries=1", "+time=2"]).args(question).output();
        String::from_utf8_lossy(&out.expect("dig is installed").stdout).into_owned()
    }

    /// Waits until `found` finds something.
    pub fn until<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + SOON;
        loop {
            if let Some(found) = found() {
                return found;
            }
            assert!(Instant::now() < end, "no {what}\n{}", self.proxy.process.output());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn dynamic(servers: &[SocketAddr]) -> String {
    let servers: Vec<_> = servers.iter().map(|addr| format!("{{address: '{addr}'}}")).collect();
    format!(
        "udp:
  routers: {{r: {{service: s, entryPoints: [dgram]}}}}
  services: {{s: {{loadBalancer: {{servers: [{}]}}}}}}
",
        servers.join(", ")
    )
}

/// An address at which nobody listens.
pub fn free_udp() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A server that answers with its name and what it got.
pub struct Echo {
    pub addr: SocketAddr,
    peers: Arc<Mutex<HashSet<SocketAddr>>>,
}

impl Echo {
    pub fn start(name: &'static str) -> Echo {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let peers = Arc::new(Mutex::new(HashSet::new()));
        let seen = peers.clone();
        std::thread::spawn(move || {
            let mut into = vec![0; 65_536];
            while let Ok((len, peer)) = socket.recv_from(&mut into) {
                seen.lock().unwrap().insert(peer);
                let answer = [name.as_bytes(), b" ", &into[..len]].concat();
                let _ = socket.send_to(&answer, peer);
            }
        });
        Echo { addr, peers }
    }

    /// How many peers it has heard.
    pub fn peers(&self) -> usize {
        self.peers.lock().unwrap().len()
    }
}

/// What `socat` prints, given this input.
pub fn socat(arguments: &[&str], input: &[u8]) -> String {
    let mut command = Command::new("socat");
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("socat is installed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
}

/// A `socat` that serves; waited for if it listens for connections.
pub fn socat_server(dir: &Path, arguments: &[&str], listens: Option<SocketAddr>) -> Process {
    let mut command = Command::new("socat");
    command.args(arguments);
    let mut process = Process::start(command, &dir.join("socat.log")).expect("socat is installed");
    if let Some(addr) = listens {
        process.wait_listening(addr, SOON).unwrap();
    }
    process
}

/// A running BIND with the zone `pancake.test`.
pub struct Named {
    pub addr: SocketAddr,
    _process: Process,
    _dir: tempfile::TempDir,
}

/// None, and said loudly, where BIND or dig are not installed.
pub fn named() -> Option<Named> {
    let missing = |program: &str, flag: &str| Command::new(program).arg(flag).output().is_err();
    if missing("named", "-v") || missing("dig", "-v") {
        eprintln!("SKIPPED: named (bind9) and dig (bind9-dnsutils) are not installed");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let addr = free_udp();
    let (path, port) = (dir.path().display(), addr.port());
    let config = format!(
        "options {{ directory \"{path}\"; pid-file none; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  recursion no; dnssec-validation no; }};
controls {{ }};
zone \"pancake.test\" {{ type master; file \"{path}/zone\"; }};
"
    );
    let long = "x".repeat(200);
    let zone = format!(
        "$TTL 60
@ IN SOA ns hostmaster 1 60 60 60 60
@ IN NS ns
ns IN A 127.0.0.1
www IN A 192.0.2.7
long IN TXT \"{long}\" \"{long}\" \"{long}\" \"{long}\"
"
    );
    let file = dir.path().join("named.conf");
    fs::write(&file, config).unwrap();
    fs::write(dir.path().join("zone"), zone).unwrap();
    let mut command = Command::new("named");
    command.arg("-g").arg("-c").arg(file);
    let process = Process::start(command, &dir.path().join("named.log")).unwrap();
    Some(Named { addr, _process: process, _dir: dir })
}
