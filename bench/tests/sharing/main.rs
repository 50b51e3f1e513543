//! Proxies share certificates, challenges and ticket keys through a control plane: real programs, and a real CA (Pebble).

/// A CA, a control plane, and proxies that share through it.
mod rig;

use std::fs;

use pancake_bench::stack::Proxy;
use rig::{Rig, YEAR, resumes, s_client, served, session};

const ORDERS: &str = "{certResolver: le}";

/// The CA finds proxy `a` only, and `b` orders.
fn one_orders_and_the_other_answers(challenge: &str) -> Option<(Rig, Proxy, Proxy)> {
    let rig = Rig::start(Some(YEAR), &[])?;
    let a = rig.proxy("a", challenge, "{}");
    let ca = rig.ca.as_ref().unwrap();
    ca.relay.lead_to(Some(a.web));
    rig.until_current(1);
    let b = rig.proxy("b", challenge, ORDERS);
    rig.until("both serve it", || served(&b).is_some() && served(&a) == served(&b));
    assert!(ca.relay.seen() > 0);
    assert_eq!(ca.counts(), (1, 1));
    Some((rig, a, b))
}

#[test]
fn tls_alpn_01_is_answered_by_a_proxy_that_does_not_order() {
    one_orders_and_the_other_answers("tlsChallenge=true");
}

#[test]
fn one_order_serves_all_whatever_happens_to_the_control_plane() {
    let Some((mut rig, a, b)) = one_orders_and_the_other_answers("httpChallenge.entryPoint=web") else {
        return;
    };
    let certificate = served(&a).unwrap();
    rig.until("the control plane has it", || rig.shared() == 1);
    assert_eq!(
        rig.certificates()["resolvers"][0]["certificates"][0]["domains"],
        serde_json::json!(["a.example"])
    );
    // Whoever wants it later finds it.
    rig.reroute("a", ORDERS);
    let c = rig.proxy("c", "httpChallenge.entryPoint=web", ORDERS);
    rig.until("the third serves it", || served(&c).as_deref() == Some(&certificate));
    rig.until_current(3);
    let sessions: Vec<_> =
        ["-tls1_2", "-tls1_3"].map(|version| (version, rig.dir.path().join(version))).into();
    for (version, file) in &sessions {
        session(&a, version, file);
        assert!(resumes(&b, version, file), "{version}: {}", rig.control_log());
    }

    rig.kill_control();
    for (version, file) in &sessions {
        session(&b, version, file);
        assert!(resumes(&c, version, file), "{version}");
        assert!([&a, &b, &c].iter().all(|proxy| served(proxy).as_deref() == Some(&certificate)));
    }
    // Proxies come back without it too.
    drop(c);
    let c = rig.proxy("c", "httpChallenge.entryPoint=web", ORDERS);
    rig.until("it serves from disk", || served(&c).as_deref() == Some(&certificate));

    rig.start_control();
    rig.until_current(3);
    assert_eq!(rig.shared(), 1);
    // A control plane that lost everything is told again.
    rig.kill_control();
    fs::remove_dir_all(rig.dir.path().join("data")).unwrap();
    rig.start_control();
    rig.until("the proxies told it", || rig.shared() == 1);
    rig.until_current(3);
    for (version, file) in &sessions {
        session(&a, version, file);
        assert!(resumes(&c, version, file), "{version}: new keys");
    }
    assert!([&a, &b, &c].iter().all(|proxy| served(proxy).as_deref() == Some(&certificate)));
    assert_eq!(rig.ca.as_ref().unwrap().counts(), (1, 1), "nothing was ordered again");
}

/// `b` orders and is sent the signal while the CA looks; `a` takes over when the lease of `b` has ended, which takes 15 s.
fn another_finishes_after(signal: &str) -> Option<(Rig, Proxy, Proxy)> {
    let rig = Rig::start(Some(YEAR), &[])?;
    let ca = rig.ca.as_ref().unwrap();
    let challenge = "httpChallenge.entryPoint=web";
    let b = rig.proxy("b", challenge, ORDERS);
    rig.until("the CA asks", || ca.relay.seen() > 0);
    let a = rig.proxy("a", challenge, ORDERS);
    rig.until_current(2);
    b.process.signal(signal).unwrap();
    ca.relay.lead_to(Some(a.web));
    rig.until("the other one serves", || served(&a).is_some());
    assert_eq!(ca.counts(), (1, 1));
    let log = rig.control_log();
    let orders: Vec<_> = log.lines().filter(|line| line.contains("may order")).collect();
    assert_eq!(orders.len(), 2, "{orders:?}");
    assert!(orders[0].contains("token=1") && orders[1].contains("token=2"), "{orders:?}");
    Some((rig, a, b))
}

#[test]
fn when_the_one_that_orders_is_killed_another_one_finishes() {
    another_finishes_after("KILL");
}

#[test]
fn one_that_slept_through_its_lease_changes_nothing_and_serves_what_the_other_ordered() {
    let Some((rig, a, b)) = another_finishes_after("STOP") else { return };
    let certificate = served(&a).unwrap();
    b.process.signal("CONT").unwrap();
    rig.until("it serves the other's", || served(&b).as_deref() == Some(&certificate));
    rig.until_current(2);
    assert!(served(&a).as_deref() == Some(&certificate));
    assert_eq!((rig.shared(), rig.ca.as_ref().unwrap().counts()), (1, (1, 1)));
}

/// Takes two lives of a certificate, which are as short as the clients allow.
#[test]
fn what_ends_soon_is_renewed_without_the_control_plane_which_is_told_later() {
    let Some(mut rig) = Rig::start(Some(15), &[]) else { return };
    let challenge = "httpChallenge.entryPoint=web";
    let (a, b) = (rig.proxy("a", challenge, "{}"), rig.proxy("b", challenge, "{}"));
    rig.ca.as_ref().unwrap().relay.lead_to(Some(b.web));
    rig.until_current(2);
    rig.reroute("b", ORDERS);
    rig.until("both serve it", || served(&b).is_some() && served(&a) == served(&b));
    rig.kill_control();
    let (first, issued) = (served(&a), rig.ca.as_ref().unwrap().counts().1);
    rig.until("it is renewed", || served(&b).is_some_and(|now| Some(now) != first));
    assert!(rig.ca.as_ref().unwrap().counts().1 > issued);
    assert!(b.process.output().contains("orders without the control plane"), "{}", b.process.output());
    rig.start_control();
    rig.until("the other one has a new one too", || served(&a).is_some_and(|now| Some(now) != first));
    assert_eq!(rig.ca.as_ref().unwrap().counts().0, 1, "with the same account");
}

#[test]
fn rotated_ticket_keys_still_resume_what_the_one_before_encrypted() {
    // Long enough for the clients to run, short enough to wait for.
    let rig = Rig::start(None, &["--ticket-key-period=4"]).unwrap();
    let (a, b) = (rig.proxy("a", "", "{}"), rig.proxy("b", "", "{}"));
    rig.until_current(2);
    let file = rig.dir.path().join("session");
    // A ticket begins with the name of its key.
    let key = |proxy: &Proxy| {
        let said = s_client(proxy, &["-tls1_3"]);
        let line = said.lines().find(|line| line.trim_start().starts_with("0000 - "));
        line.unwrap_or_else(|| panic!("no ticket: {said}")).to_owned()
    };
    let before = key(&b);
    session(&a, "-tls1_3", &file);
    rig.until("the keys are changed", || key(&b) != before);
    assert!(resumes(&b, "-tls1_3", &file));
    assert!(resumes(&a, "-tls1_3", &file));
}

#[test]
fn a_proxy_without_the_right_token_is_given_nothing_and_serves() {
    let rig = Rig::start(None, &[]).unwrap();
    let right = rig.dir.path().join("token");
    rig::write_secret(&right, &"x".repeat(32));
    let a = rig.proxy("a", "", "{}");
    rig.until("it says why", || {
        a.process.output().contains("the token is not the one of --sharing-token-file")
    });
    assert!(s_client(&a, &[]).contains("BEGIN CERTIFICATE"));
    assert_eq!(rig.certificates()["followers"], serde_json::json!([]));
    assert!(!a.process.output().contains(&"x".repeat(32)));
}
