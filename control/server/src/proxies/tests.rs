use super::*;

const GRACE: Duration = Duration::from_secs(15);
const T: fn(u64) -> Duration = Duration::from_secs;

fn hello(id: &str) -> proto::Hello {
    proto::Hello { proxy_id: id.into(), entry_points: vec!["web".into()], ..proto::Hello::default() }
}

fn connect(proxies: &mut Proxies, id: &str, at: u64) -> u64 {
    proxies.hello(&hello(id), String::new(), T(at), 0).unwrap().0
}

fn drain(proxies: &mut Proxies, id: &str) -> InstanceId {
    let id = InstanceId::new(id).unwrap();
    proxies.set_drains([&id]);
    id
}

#[test]
fn a_drain_completes_when_every_proxy_confirmed() {
    let mut proxies = Proxies::default();
    let (a, b) = (connect(&mut proxies, "a", 0), connect(&mut proxies, "b", 0));
    let id = drain(&mut proxies, "i");
    assert!(!proxies.drained("a", a, "i"), "an older confirmation does not count");
    proxies.published(5, &BTreeSet::from([id]));
    assert!(!proxies.drained("a", a, "i"), "it was not sent the drain yet");
    proxies.sent("a", a, 5);
    proxies.sent("b", b, 6);
    assert!(proxies.drained("a", a, "i"));
    let view = proxies.drain("i", GRACE, T(1)).unwrap();
    assert!(!view.complete && view.message.contains("b has not taken"), "{}", view.message);
    proxies.ack("b", b, 6);
    let view = proxies.drain("i", GRACE, T(1)).unwrap();
    assert!(view.message.contains("b has requests in flight"), "{}", view.message);
    proxies.drained("b", b, "i");
    assert!(proxies.drain("i", GRACE, T(1)).unwrap().complete);
}

#[test]
fn a_proxy_that_is_away_is_waited_for_only_for_the_grace() {
    let mut proxies = Proxies::default();
    proxies.restore(["a".to_owned()], T(0), 0);
    let id = drain(&mut proxies, "i");
    proxies.published(5, &BTreeSet::from([id]));
    assert!(!proxies.drain("i", GRACE, T(14)).unwrap().complete);
    assert!(proxies.drain("i", GRACE, T(15)).unwrap().complete);
    let a = connect(&mut proxies, "a", 16);
    assert!(!proxies.drain("i", GRACE, T(16)).unwrap().complete, "it is back with requests, perhaps");
    proxies.sent("a", a, 5);
    proxies.drained("a", a, "i");
    proxies.gone("a", a, T(17), 0);
    assert!(proxies.drain("i", GRACE, T(17)).unwrap().complete, "what it confirmed stays confirmed");
}

#[test]
fn without_proxies_a_published_drain_is_complete() {
    let mut proxies = Proxies::default();
    let id = drain(&mut proxies, "i");
    assert!(!proxies.drain("i", GRACE, T(0)).unwrap().complete);
    proxies.published(1, &BTreeSet::from([id]));
    assert!(proxies.drain("i", GRACE, T(0)).unwrap().complete);
}

#[test]
fn a_new_drain_of_the_same_instance_starts_afresh() {
    let mut proxies = Proxies::default();
    let a = connect(&mut proxies, "a", 0);
    let id = drain(&mut proxies, "i");
    proxies.published(1, &BTreeSet::from([id.clone()]));
    proxies.sent("a", a, 1);
    proxies.drained("a", a, "i");
    proxies.set_drains([]);
    proxies.set_drains([&id]);
    proxies.published(3, &BTreeSet::from([id]));
    assert!(!proxies.drain("i", GRACE, T(1)).unwrap().complete);
    assert!(!proxies.drained("a", a, "i"), "the proxy still answers about the drain before");
}

#[test]
fn an_old_connection_says_nothing_more() {
    let mut proxies = Proxies::default();
    let old = connect(&mut proxies, "a", 0);
    let new = connect(&mut proxies, "a", 1);
    proxies.ack("a", old, 9);
    assert_eq!(proxies.get("a").unwrap().serving, 0);
    assert!(!proxies.gone("a", old, T(2), 0));
    assert!(proxies.is_current("a", new));
}

#[test]
fn a_refusal_shows_until_a_later_version_is_taken() {
    let mut proxies = Proxies::default();
    let a = connect(&mut proxies, "a", 0);
    let problem =
        proto::Problem { object: "router x@pancake".into(), field: "rule".into(), message: "bad\n".into() };
    proxies.nack("a", a, &proto::Nack { version: 4, nonce: 1, problems: vec![problem; 60] });
    let (version, reasons) = proxies.get("a").unwrap().nacked.clone().unwrap();
    assert_eq!((version, reasons.len()), (4, MAX_NACK_REASONS + 1));
    assert_eq!(reasons[0], "router x@pancake: rule: bad");
    proxies.ack("a", a, 3);
    assert!(proxies.get("a").unwrap().nacked.is_some());
    proxies.ack("a", a, 5);
    assert!(proxies.get("a").unwrap().nacked.is_none());
}

#[test]
fn a_hello_out_of_bounds_is_refused() {
    let mut proxies = Proxies::default();
    let mut refuse = |hello: proto::Hello| assert!(proxies.hello(&hello, String::new(), T(0), 0).is_err());
    refuse(hello(""));
    refuse(hello(&"x".repeat(MAX_PROXY_TEXT + 1)));
    refuse(hello("a\nb"));
    refuse(proto::Hello { entry_points: vec!["e".into(); MAX_PROXY_ENTRY_POINTS + 1], ..hello("a") });
}

#[test]
fn one_that_is_away_long_enough_is_forgotten() {
    let mut proxies = Proxies::default();
    let a = connect(&mut proxies, "a", 0);
    connect(&mut proxies, "b", 0);
    proxies.gone("a", a, T(10), 0);
    assert!(proxies.forget(T(100)).is_empty());
    assert_eq!(proxies.forget(T(10) + FORGET_PROXY), ["a"]);
    assert_eq!(proxies.iter().count(), 1);
}
