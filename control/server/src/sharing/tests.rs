use super::leases::LEASE;
use super::*;

const START: Duration = Duration::from_secs(100);

fn ask(holder: &str) -> wire::LeaseRequest {
    wire::LeaseRequest { resolver: "le".into(), holder: holder.into(), token: 0 }
}

fn take(sharing: &mut Sharing, holder: &str, now: Duration) -> u64 {
    match sharing.plan_lease(&ask(holder), now).unwrap().0 {
        Grant::Yours { token, .. } => {
            sharing.lease(&ask(holder), token, now);
            token
        }
        held => panic!("{held:?}"),
    }
}

fn put(
    sharing: &mut Sharing,
    token: u64,
    version: u64,
    document: &str,
    now: Duration,
) -> Result<u64, String> {
    let resolver = wire::Resolver { name: "le".into(), version, document: document.into() };
    let request = wire::PutRequest { resolver: Some(resolver), token, summaries: vec![] };
    let stored = sharing.plan_put(&request, now, 1).map_err(|e| e.to_string())?;
    Ok(sharing.put("le", stored))
}

fn publish(sharing: &mut Sharing, token: u64, of: &str, now: Duration) -> Result<u64, String> {
    let http = wire::Http { token: of.into(), key_authorization: "x".into() };
    let answer = Some(wire::Answer { kind: Some(wire::answer::Kind::Http(http)) });
    let request = wire::PublishRequest { resolver: "le".into(), token, answer };
    sharing.publish(request, now).map_err(|e| e.to_string())
}

#[test]
fn one_that_was_stopped_for_longer_than_its_lease_changes_nothing() {
    let mut sharing = Sharing::restore(&mut Contents::default(), START);
    let first = take(&mut sharing, "a", START);
    assert_eq!(put(&mut sharing, first, 0, "{}", START), Ok(1));
    let late = START + LEASE;
    assert!(put(&mut sharing, first, 1, "{}", late).unwrap_err().contains("ended"));
    let second = take(&mut sharing, "b", late);
    assert!(put(&mut sharing, first, 1, "{}", late).unwrap_err().contains("followed by lease 2"));
    assert!(publish(&mut sharing, first, "t", late).unwrap_err().contains("followed"));
    assert_eq!(put(&mut sharing, second, 1, "{\"a\":1}", late), Ok(2));
    assert_eq!(sharing.resolver("le").document, b"{\"a\":1}");
}

#[test]
fn what_replaces_another_version_than_the_newest_is_refused() {
    let mut sharing = Sharing::restore(&mut Contents::default(), START);
    let token = take(&mut sharing, "a", START);
    assert_eq!(put(&mut sharing, token, 0, "{}", START), Ok(1));
    assert!(put(&mut sharing, token, 0, "{}", START).unwrap_err().contains("the newest is 1"));
    assert!(put(&mut sharing, token, 1, "{", START).unwrap_err().contains("not JSON"));
    let large = format!("\"{}\"", "x".repeat(wire::MAX_DOCUMENT_BYTES));
    assert!(put(&mut sharing, token, 1, &large, START).unwrap_err().contains("at most"));
}

#[test]
fn a_follower_is_sent_everything_and_then_what_changed() {
    let mut sharing = Sharing::restore(&mut Contents::default(), START);
    let first = sharing.update(0).unwrap();
    assert!(first.resolvers.is_empty() && first.answers.is_some() && first.ticket_keys.is_some());
    assert_eq!(sharing.update(first.revision), None);
    let token = take(&mut sharing, "a", START);
    let revision = publish(&mut sharing, token, "t", START).unwrap();
    let second = sharing.update(first.revision).unwrap();
    assert_eq!((second.revision, second.answers.unwrap().answers.len()), (revision, 1));
    assert!(second.ticket_keys.is_none());
    put(&mut sharing, token, 0, "{}", START).unwrap();
    let third = sharing.update(second.revision).unwrap();
    assert_eq!((third.resolvers.len(), third.answers), (1, None));
}

#[test]
fn answers_end_with_their_lease() {
    let mut sharing = Sharing::restore(&mut Contents::default(), START);
    let answers = |sharing: &Sharing| sharing.update(0).unwrap().answers.unwrap().answers.len();
    let token = take(&mut sharing, "a", START);
    publish(&mut sharing, token, "t", START).unwrap();
    assert!(!sharing.drop_answers(START) && answers(&sharing) == 1);
    assert!(sharing.drop_answers(START + LEASE) && answers(&sharing) == 0);
    let token = take(&mut sharing, "b", START + LEASE);
    publish(&mut sharing, token, "t", START + LEASE).unwrap();
    sharing.release("le", token, START + LEASE);
    assert_eq!(answers(&sharing), 0);
}

#[test]
fn who_follows_is_waited_for_until_it_acknowledges_or_leaves() {
    let mut followers = Followers::default();
    let (a, b) = (followers.hello("a").unwrap(), followers.hello("b").unwrap());
    assert_eq!(followers.behind(1), ["a", "b"]);
    assert!(followers.acknowledge("a", a, 1, &[]));
    followers.gone("b", b);
    assert!(followers.behind(1).is_empty());
    let again = followers.hello("a").unwrap();
    assert!(!followers.acknowledge("a", a, 9, &[]), "the old connection is over");
    followers.gone("a", a);
    assert!(followers.acknowledge("a", again, 2, &["no".into()]));
    assert_eq!(followers.refusing(), ["a"]);
}
