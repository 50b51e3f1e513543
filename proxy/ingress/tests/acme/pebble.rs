//! A Pebble of its own for each test.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::harness::{Program, eventually, free, installed};

/// A CA.
pub struct Pebble {
    _program: Program,
    /// URL of its directory.
    pub directory: String,
    /// Who signed its HTTPS certificate, PEM.
    pub root: String,
    /// Its files.
    pub dir: tempfile::TempDir,
    management: SocketAddr,
}

/// The ports at which the CA looks for answers.
#[derive(Clone, Copy)]
pub struct Ports {
    pub http: u16,
    pub tls: u16,
}

impl Pebble {
    /// Asks this DNS server, and these ports for answers. `more` is added to its settings.
    pub fn start(dns: SocketAddr, ports: Ports, more: &[(&str, serde_json::Value)]) -> Option<Pebble> {
        let program = installed("pebble", "pebble")?;
        let dir = tempfile::tempdir().unwrap();
        let root = https_files(dir.path());
        let (listen, management) = (free(), free());
        let mut settings = serde_json::json!({
            "listenAddress": listen, "managementListenAddress": management,
            "certificate": dir.path().join("leaf.pem"), "privateKey": dir.path().join("leaf.key"),
            "httpPort": ports.http, "tlsPort": ports.tls,
            "ocspResponderURL": "", "externalAccountBindingRequired": false,
        });
        for (name, value) in more {
            settings[*name] = value.clone();
        }
        let config = dir.path().join("pebble.json");
        fs::write(&config, serde_json::json!({ "pebble": settings }).to_string()).unwrap();
        let mut command = Command::new(program);
        command.arg("-config").arg(&config).arg("-dnsserver").arg(dns.to_string());
        // Each challenge is looked at and at once; some good nonces are refused, as the CA may.
        command.envs([
            ("PEBBLE_VA_NOSLEEP", "1"),
            ("PEBBLE_AUTHZREUSE", "0"),
            ("PEBBLE_WFE_NONCEREJECT", "20"),
            ("PEBBLE_ALTERNATE_ROOTS", "1"),
        ]);
        let program = Program::start(&mut command, &dir.path().join("pebble.log"));
        eventually("Pebble listens", || TcpStream::connect(listen).is_ok());
        Some(Pebble { _program: program, directory: format!("https://{listen}/dir"), root, dir, management })
    }

    /// The file with [`Pebble::root`].
    pub fn root_file(&self) -> PathBuf {
        self.dir.path().join("root.pem")
    }

    /// PEM of the root of the `n`th chain that it offers.
    pub fn issuing_root(&self, n: usize) -> Vec<u8> {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--cacert"])
            .arg(self.root_file())
            .arg(format!("https://{}/roots/{n}", self.management));
        let output = curl.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("pebble.log")).unwrap()
    }
}

/// Writes an authority and a certificate of it for 127.0.0.1; gives the authority.
fn https_files(dir: &Path) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority of a test");
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf =
        CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&leaf_key, &issuer).unwrap();
    fs::write(dir.join("root.pem"), &root).unwrap();
    fs::write(dir.join("leaf.pem"), leaf.pem()).unwrap();
    fs::write(dir.join("leaf.key"), leaf_key.serialize_pem()).unwrap();
    root
}
