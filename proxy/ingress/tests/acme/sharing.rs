use crate::rig::{Place, Rig, http, json};

#[test]
fn one_of_two_proxies_orders_and_both_answer_and_serve() {
    // The CA's questions go to each proxy in turn.
    let Some(place) = Place::with(2, &[]) else { return };
    let wanted: &[&[&str]] = &[&["a.example", "b.example"], &["c.example"]];
    let start =
        |n: usize| Rig::start(place.resolver(http()), wanted, place.tokens[n].clone(), Default::default());
    let (one, two) = (start(0), start(1));
    for names in wanted {
        let served = one.certificate(names);
        assert!(two.certificate(names) == served);
    }
    one.settled(2);
    two.settled(2);
    let file = json(&place.storage());
    assert_eq!(file["le"]["Certificates"].as_array().unwrap().len(), 2);
    let log = place.pebble.log();
    assert_eq!(log.matches("There are now 1 accounts in memory").count(), 1, "{log}");
    assert_eq!(log.matches("Issued certificate serial").count(), 2, "{log}");
}
