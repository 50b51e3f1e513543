//! A proxy with certificates, a backend, and the clients that people use.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use pancake_bench::backend::Backend;
use pancake_bench::process::{free_addr, wait_until};
use pancake_bench::stack::Proxy;

pub const SOON: Duration = Duration::from_secs(20);

/// A proxy in front of one backend, `one`.
pub struct Rig {
    pub proxy: Proxy,
    _backend: Backend,
    /// A second entry point, `raw`.
    pub raw: SocketAddr,
    pub dir: tempfile::TempDir,
}

impl Rig {
    /// `dynamic` is given the directory of the certificates and the backend's address; it makes the dynamic file.
    pub fn start(dynamic: impl Fn(&Path, SocketAddr) -> String, arguments: &[&str]) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let backend = Backend::start("one", "127.0.0.1:0").unwrap();
        certificate(dir.path(), "cert", &["web.test", "*.web.test", "tcp.test"]);
        let file = dir.path().join("dynamic.yml");
        fs::write(&file, dynamic(dir.path(), backend.addr)).unwrap();
        let raw = free_addr().unwrap();
        let raw_flag = format!("--entryPoints.raw.address={raw}");
        let mut all = vec![raw_flag.as_str(), "--entryPoints.web.asDefault=true"];
        all.extend(arguments);
        let proxy = Proxy::start_with(dir.path(), &file, &all).unwrap();
        Rig { proxy, _backend: backend, raw, dir }
    }

    /// Runs curl with the rig's authority and names; fails if curl does.
    pub fn curl(&self, arguments: &[&str]) -> String {
        let out = self.try_curl(arguments);
        let (text, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success(), "curl {arguments:?}: {errors}{text}\n{}", self.proxy.process.output());
        text.into_owned()
    }

    pub fn try_curl(&self, arguments: &[&str]) -> Output {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "20", "--cacert"]).arg(self.dir.path().join("cert.pem"));
        for name in ["web.test", "a.web.test", "tcp.test", "other.test"] {
            for addr in [self.proxy.web, self.raw] {
                curl.args(["--resolve", &format!("{name}:{}:{}", addr.port(), addr.ip())]);
            }
        }
        curl.args(arguments).output().expect("curl is installed")
    }

    /// `scheme://host:port/path` of the entry point `web`.
    pub fn url(&self, scheme: &str, host: &str, path: &str) -> String {
        format!("{scheme}://{host}:{}{path}", self.proxy.web.port())
    }

    /// What `openssl s_client` says, with `input` as its input.
    pub fn s_client(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &self.proxy.web.to_string()]).args(arguments);
        let out = command.stdin(Stdio::null()).output().expect("openssl is installed");
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
    }

    /// Waits until `holds`.
    pub fn until(&self, what: &str, holds: impl FnMut() -> bool) {
        wait_until(what, SOON, holds)
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.proxy.process.output()));
    }
}

/// Makes `NAME.pem` and `NAME.key` in `dir`, self-signed, for these names. Returns the certificate's path.
pub fn certificate(dir: &Path, name: &str, names: &[&str]) -> PathBuf {
    let made = rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>())
        .unwrap();
    let path = dir.join(format!("{name}.pem"));
    fs::write(dir.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    fs::write(&path, made.cert.pem()).unwrap();
    path
}

/// The dynamic file of most tests: `web.test` over TLS and without.
pub fn web(dir: &Path, backend: SocketAddr) -> String {
    let dir = dir.display();
    format!(
        "http:
  routers:
    secure: {{rule: 'Host(`web.test`) || Host(`a.web.test`)', service: one, tls: {{}}}}
    plain: {{rule: 'Host(`web.test`)', service: one}}
  services:
    one: {{loadBalancer: {{servers: [{{url: 'http://{backend}'}}]}}}}
tls:
  certificates: [{{certFile: '{dir}/cert.pem', keyFile: '{dir}/cert.key'}}]
"
    )
}
