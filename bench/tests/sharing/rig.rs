//! A CA, a control plane, proxies that share through it, and a relay that decides which proxy the CA finds.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use pancake_bench::process::{Process, free_addr, wait_until};
use pancake_bench::stack::{Proxy, START, control_command, program};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

pub const SOON: Duration = Duration::from_secs(60);
/// Seconds; nothing is renewed in a test.
pub const YEAR: u64 = 365 * 86_400;

/// Everything but the proxies.
pub struct Rig {
    pub dir: tempfile::TempDir,
    pub ca: Option<Ca>,
    control: Option<Process>,
    pub control_addr: SocketAddr,
    arguments: Vec<String>,
}

/// Pebble, its DNS server, and what stands where it looks for answers.
pub struct Ca {
    _pebble: Process,
    _dns: Process,
    directory: String,
    pub relay: Relay,
    log: PathBuf,
    root: PathBuf,
}

impl Rig {
    /// With a CA whose certificates are good for so many seconds. None: there is no CA on this machine, which is said aloud.
    pub fn start(validity: Option<u64>, arguments: &[&str]) -> Option<Rig> {
        let dir = tempfile::tempdir().unwrap();
        let ca = match validity {
            Some(validity) => Some(Ca::start(dir.path(), validity)?),
            None => None,
        };
        write_secret(&dir.path().join("token"), &"t".repeat(32));
        let control_addr = free_addr().unwrap();
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut rig = Rig { dir, ca, control: None, control_addr, arguments };
        rig.start_control();
        Some(rig)
    }

    pub fn start_control(&mut self) {
        let (dir, data) = (self.dir.path(), self.dir.path().join("data"));
        let mut command = control_command(self.control_addr, &dir.join("services.yml"), &data).unwrap();
        command.arg("--sharing-token-file").arg(dir.join("token")).args(&self.arguments);
        let mut process = Process::start(command, &dir.join("control.log")).unwrap();
        process.wait_listening(self.control_addr, START).unwrap();
        self.control = Some(process);
    }

    /// `kill -9`.
    pub fn kill_control(&mut self) {
        let mut process = self.control.take().expect("it runs");
        process.signal("KILL").unwrap();
        process.wait_exit(SOON).unwrap();
    }

    /// A proxy that shares; `router` is its router's `tls`.
    pub fn proxy(&self, name: &str, challenge: &str, tls: &str) -> Proxy {
        let dir = self.dir.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        let dynamic = dir.join("dynamic.yml");
        fs::write(&dynamic, routes(tls)).unwrap();
        let mut all = vec![
            format!("--providers.pancake.endpoint=http://{}", self.control_addr),
            format!("--pancake.sharing.tokenFile={}", self.dir.path().join("token").display()),
            format!("--pancake.stateDir={}", dir.join("state").display()),
        ];
        if let Some(ca) = &self.ca {
            all.extend([
                format!("--certificatesResolvers.le.acme.caServer={}", ca.directory),
                "--certificatesResolvers.le.acme.email=a@example.com".into(),
                format!("--certificatesResolvers.le.acme.storage={}", dir.join("acme.json").display()),
                format!("--certificatesResolvers.le.acme.caCertificates={}", ca.root.display()),
                format!("--certificatesResolvers.le.acme.{challenge}"),
                "--certificatesResolvers.le.acme.keyType=EC256".into(),
            ]);
        }
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        Proxy::start_with(&dir, &dynamic, &all).unwrap()
    }

    /// Gives the router of a proxy another `tls`.
    pub fn reroute(&self, name: &str, tls: &str) {
        fs::write(self.dir.path().join(name).join("dynamic.yml"), routes(tls)).unwrap();
    }

    pub fn control_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("control.log")).unwrap()
    }

    /// What `pancake certificates` says, as JSON.
    pub fn certificates(&self) -> serde_json::Value {
        let mut command = Command::new(program("pancake").unwrap());
        command.args([
            "--endpoint",
            &format!("http://{}", self.control_addr),
            "--output",
            "json",
            "certificates",
        ]);
        let out = command.output().unwrap();
        serde_json::from_slice(&out.stdout).unwrap_or_default()
    }

    /// How many certificates the control plane has.
    pub fn shared(&self) -> usize {
        let all = self.certificates();
        all["resolvers"][0]["certificates"]
            .as_array()
            .map_or(0, |all| all.iter().filter(|c| c["notAfter"] != 0).count())
    }

    /// Waits until so many proxies have everything.
    pub fn until_current(&self, proxies: usize) {
        self.until("all proxies share", || {
            let all = self.certificates();
            let current = |all: &Vec<serde_json::Value>| all.iter().filter(|f| f["current"] == true).count();
            all["followers"].as_array().map_or(0, current) == proxies
        });
    }

    pub fn until(&self, what: &str, holds: impl FnMut() -> bool) {
        wait_until(what, SOON, holds)
            .unwrap_or_else(|error| panic!("{error:#}\n{}\n{:#}", self.control_log(), self.certificates()));
    }
}

impl Ca {
    fn start(dir: &Path, validity: u64) -> Option<Ca> {
        for name in ["/usr/bin/pebble", "/usr/bin/pebble-challtestsrv"] {
            if !Path::new(name).is_file() {
                assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{name} is missing: install pebble");
                println!("NOT CHECKED: {name} is not installed (ops/test installs pebble)");
                return None;
            }
        }
        let relay = Relay::start();
        let (dns, management) = (free_addr().unwrap(), free_addr().unwrap());
        let mut command = Command::new("pebble-challtestsrv");
        command.args([
            "-defaultIPv4",
            "127.0.0.1",
            "-defaultIPv6",
            "",
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
        ]);
        command.args(["-dns01", &dns.to_string(), "-management", &management.to_string()]);
        let mut dns_process = Process::start(command, &dir.join("dns.log")).unwrap();
        dns_process.wait_listening(dns, START).unwrap();
        https_files(dir);
        let (listen, management) = (free_addr().unwrap(), free_addr().unwrap());
        let settings = serde_json::json!({ "pebble": {
            "listenAddress": listen, "managementListenAddress": management,
            "certificate": dir.join("leaf.pem"), "privateKey": dir.join("leaf.key"),
            "httpPort": relay.port, "tlsPort": relay.port,
            "certificateValidityPeriod": validity, "ocspResponderURL": "", "externalAccountBindingRequired": false,
        }});
        let config = dir.join("pebble.json");
        fs::write(&config, settings.to_string()).unwrap();
        let mut command = Command::new("pebble");
        command.arg("-config").arg(&config).arg("-dnsserver").arg(dns.to_string());
        command.envs([("PEBBLE_VA_NOSLEEP", "1"), ("PEBBLE_AUTHZREUSE", "0")]);
        let log = dir.join("pebble.log");
        let mut pebble = Process::start(command, &log).unwrap();
        pebble.wait_listening(listen, START).unwrap();
        Some(Ca {
            _pebble: pebble,
            _dns: dns_process,
            directory: format!("https://{listen}/dir"),
            relay,
            log,
            root: dir.join("root.pem"),
        })
    }

    /// How many accounts it was asked for and how many certificates it issued.
    pub fn counts(&self) -> (usize, usize) {
        let log = fs::read_to_string(&self.log).unwrap();
        (log.matches("accounts in memory").count(), log.matches("Issued certificate serial").count())
    }
}

/// Connections to `port` go to one proxy, or are held.
pub struct Relay {
    pub port: u16,
    target: Arc<Mutex<Option<SocketAddr>>>,
    seen: Arc<AtomicUsize>,
}

impl Relay {
    fn start() -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (target, seen): (Arc<Mutex<Option<SocketAddr>>>, Arc<AtomicUsize>) = Default::default();
        let (to, count) = (target.clone(), seen.clone());
        thread::spawn(move || {
            let mut held = Vec::new();
            for client in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                let to = *to.lock().unwrap();
                match to.map(TcpStream::connect) {
                    Some(Ok(server)) => relay(client, server),
                    Some(Err(_)) => {}
                    None => held.push(client),
                }
            }
        });
        Relay { port, target, seen }
    }

    /// Where the CA finds the names; none: nobody answers.
    pub fn lead_to(&self, target: Option<SocketAddr>) {
        *self.target.lock().unwrap() = target;
    }

    /// Connections until now.
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

fn relay(client: TcpStream, server: TcpStream) {
    let pairs = [(client.try_clone(), server.try_clone()), (Ok(server), Ok(client))];
    for (from, to) in pairs {
        let (mut from, mut to) = (from.unwrap(), to.unwrap());
        thread::spawn(move || {
            // Either end closes as it likes.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
    }
}

fn routes(tls: &str) -> String {
    format!(
        "http:\n  routers:\n    a: {{rule: 'Host(`a.example`)', service: s, tls: {tls}}}\n  services:\n    \
         s: {{loadBalancer: {{servers: [{{url: 'http://127.0.0.1:1'}}]}}}}\n"
    )
}

pub fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Writes an authority and a certificate of it for 127.0.0.1.
fn https_files(dir: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority of a test");
    let key = KeyPair::generate().unwrap();
    fs::write(dir.join("root.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf =
        CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&leaf_key, &issuer).unwrap();
    fs::write(dir.join("leaf.pem"), leaf.pem()).unwrap();
    fs::write(dir.join("leaf.key"), leaf_key.serialize_pem()).unwrap();
}

/// What `openssl s_client` says of a proxy, for `a.example`.
pub fn s_client(proxy: &Proxy, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &proxy.web.to_string(), "-servername", "a.example"]);
    // Tickets come after the handshake: the answer to a request is waited for.
    command
        .args(["-ign_eof"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl is installed");
    let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
    io::Write::write_all(&mut child.stdin.take().unwrap(), request).unwrap();
    let out = child.wait_with_output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// The certificate that a proxy serves, if it is one of the CA.
pub fn served(proxy: &Proxy) -> Option<String> {
    let said = s_client(proxy, &[]);
    let from_ca = said.lines().any(|line| line.starts_with("issuer=") && line.contains("Pebble"));
    let (start, end) = (said.find("-----BEGIN CERTIFICATE")?, said.find("-----END CERTIFICATE")?);
    from_ca.then(|| said[start..end].to_owned())
}

/// Gets a session from one proxy.
pub fn session(proxy: &Proxy, version: &str, file: &Path) {
    let said = s_client(proxy, &[version, "-sess_out", &file.display().to_string()]);
    assert!(file.is_file(), "no session: {said}");
}

/// Whether a proxy resumes it.
pub fn resumes(proxy: &Proxy, version: &str, file: &Path) -> bool {
    s_client(proxy, &[version, "-sess_in", &file.display().to_string()]).contains("Reused, TLS")
}
