use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pancake_proxy::acme::settings::{Challenge, DnsChallenge, DnsProvider, Rfc2136, Tsig};

use crate::harness::{Program, eventually, free, installed};
use crate::pebble::{Pebble, Ports};
use crate::rig::{Place, Rig, names_in};

const SECRET: &str = "c2VjcmV0LW9mLWEtdGVzdC0xMjM0NTY3ODkwMTIzNDU=";

fn challenge(provider: DnsProvider, resolver: SocketAddr) -> Challenge {
    Challenge::Dns(DnsChallenge {
        provider,
        delay_before_check: Duration::ZERO,
        resolvers: vec![resolver.to_string()],
        disable_propagation_check: false,
    })
}

#[test]
fn dns_01_by_a_hook_proves_a_wildcard_and_its_parent_at_once() {
    let Some(place) = Place::new() else { return };
    let hook = place.dir.path().join("hook");
    let script = format!(
        "#!/bin/sh\ncd '{}' || exit 1\ncase $1 in\npresent) echo \"$3\" >>\"$2\" ;;\n\
         cleanup) grep -vxF -e \"$3\" \"$2\" >\"$2.new\"; mv \"$2.new\" \"$2\" ;;\n*) exit 1 ;;\nesac\n",
        place.texts.display()
    );
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let provider = DnsProvider::Exec { program: hook };
    let rig = place.start(place.resolver(challenge(provider, place.dns)), &[&["a.example", "*.a.example"]]);
    let served = rig.certificate(&["a.example", "*.a.example"]);
    assert!(names_in(&served).contains(&"*.a.example".to_owned()));
    assert_eq!(fs::read_to_string(place.texts.join("_acme-challenge.a.example.")).unwrap(), "");
}

#[test]
fn what_a_hook_complains_of_is_told() {
    let Some(place) = Place::new() else { return };
    let hook = place.dir.path().join("hook");
    fs::write(&hook, "#!/bin/sh\necho no credentials >&2\nexit 3\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let provider = DnsProvider::Exec { program: hook };
    let rig = place.start(place.resolver(challenge(provider, place.dns)), &[&["a.example"]]);
    let error = rig.problem().last_error.unwrap();
    assert!(error.contains("present _acme-challenge.a.example.: exit status: 3: no credentials"), "{error}");
}

/// BIND with the zone `pancake.test`, which takes updates signed by the key.
fn bind(dir: &Path) -> Option<(Program, SocketAddr)> {
    let named = installed("named", "bind9")?;
    let address = free();
    let zone = dir.join("zone");
    fs::write(
        &zone,
        "$TTL 1\n@ SOA ns.pancake.test. root.pancake.test. 1 60 60 60 1\n@ NS ns\n* A 127.0.0.1\nns A 127.0.0.1\n\
         _acme-challenge.alias CNAME elsewhere.pancake.test.\n",
    )
    .unwrap();
    let config = dir.join("named.conf");
    fs::write(
        &config,
        format!(
            "options {{ directory \"{dir}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n\
             recursion no; pid-file none; session-keyfile none; dnssec-validation no; }};\ncontrols {{ }};\n\
             key acme {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n\
             zone pancake.test {{ type master; file \"{zone}\"; allow-update {{ key acme; }}; }};\n",
            dir = dir.display(),
            port = address.port(),
            zone = zone.display(),
        ),
    )
    .unwrap();
    let program = Program::start(Command::new(named).arg("-g").arg("-c").arg(config), &dir.join("named.log"));
    eventually("BIND listens", || TcpStream::connect(address).is_ok());
    Some((program, address))
}

/// A CA that asks BIND, and a proxy that updates it with this secret.
fn with_bind(secret: &str, wanted: &[&str], check: impl FnOnce(&Rig)) {
    let dir = tempfile::tempdir().unwrap();
    let Some((_named, address)) = bind(dir.path()) else { return };
    let Some(mut place) = Place::new() else { return };
    let Some(pebble) = Pebble::start(address, Ports { http: 1, tls: 1 }, &[]) else { return };
    place.pebble = pebble;
    let tsig = Tsig { name: "acme".into(), algorithm: "hmac-sha256.".into(), secret: secret.into() };
    let provider = DnsProvider::Rfc2136(Rfc2136 {
        nameserver: address.to_string(),
        tsig: Some(tsig),
        ttl: Duration::from_secs(1),
    });
    check(&place.start(place.resolver(challenge(provider, address)), &[wanted]));
}

#[test]
fn dns_01_by_signed_updates_proves_names_and_follows_an_alias() {
    let wanted = ["a.pancake.test", "*.a.pancake.test", "alias.pancake.test"];
    with_bind(SECRET, &wanted, |rig| {
        assert_eq!(names_in(&rig.certificate(&wanted)).len(), 3);
    });
}

#[test]
fn an_update_signed_by_another_key_is_refused_and_told() {
    with_bind("b3RoZXItc2VjcmV0LW9mLWEtdGVzdC0xMjM0NTY3ODk=", &["a.pancake.test"], |rig| {
        let error = rig.problem().last_error.unwrap();
        assert!(error.contains("the server refused"), "{error}");
    });
}
