//! Sessions that are resumed, across tables and processes.

use std::sync::Arc;

use pancake_table::snapshot::tls::{ClientAuth, ClientAuthMode, TlsOptions, TlsVersion};
use rustls::{ClientConfig, HandshakeKind};

use super::fixture::*;
use crate::{SharedKey, TICKET_KEY_PERIOD_SECS, TICKET_KEYS_KEPT, TicketError, Tickets, TlsTable};

fn versions() -> [TlsOptions; 2] {
    [TlsVersion::Tls12, TlsVersion::Tls13]
        .map(|version| TlsOptions { max_version: version, ..TlsOptions::default() })
}

fn kind(table: &TlsTable, config: &Arc<ClientConfig>) -> HandshakeKind {
    let ends = connect(table, config, "a.test").expect("a handshake");
    ends.server.handshake_kind().expect("done")
}

#[test]
fn sessions_resume_across_tables_that_share_tickets() {
    let ca = Authority::new("ca");
    for options in versions() {
        let process = Process::new();
        let section = tls(vec![ca.ecdsa(&["a.test"])], vec![options]);
        let (first, second) = (process.table(&section), process.table(&section));
        let config = Arc::new(client(&ca));
        assert_eq!(kind(&first, &config), HandshakeKind::Full);
        assert_eq!(kind(&second, &config), HandshakeKind::Resumed);
        assert_eq!(kind(&first, &config), HandshakeKind::Resumed);
    }
}

#[test]
fn sessions_resume_across_proxies_with_the_same_keys_and_not_with_others() {
    let ca = Authority::new("ca");
    let keys = |first: u8| [vec![first; 48], vec![2; 80]];
    for options in versions() {
        let section = tls(vec![ca.ecdsa(&["a.test"])], vec![options]);
        let table = |keys: &[Vec<u8>]| Process::with(Tickets::with_keys(keys).expect("keys")).table(&section);
        let config = Arc::new(client(&ca));
        assert_eq!(kind(&table(&keys(1)), &config), HandshakeKind::Full);
        assert_eq!(kind(&table(&keys(1)), &config), HandshakeKind::Resumed);
        // A proxy that already encrypts with the next key, but still has this one.
        let ahead = [vec![9; 48], vec![1; 48]];
        assert_eq!(kind(&table(&ahead), &config), HandshakeKind::Resumed);
        assert_eq!(kind(&table(&[vec![7; 48]]), &config), HandshakeKind::Full);
    }
}

#[test]
fn tickets_of_rotated_keys_resume_until_the_key_is_forgotten() {
    let ca = Authority::new("ca");
    for options in versions() {
        let process = Process::new();
        let table = process.table(&tls(vec![ca.ecdsa(&["a.test"])], vec![options]));
        let (config, late) = (Arc::new(client(&ca)), Arc::new(client(&ca)));
        assert_eq!((kind(&table, &config), kind(&table, &late)), (HandshakeKind::Full, HandshakeKind::Full));
        assert_eq!(process.tickets.rotate(NOW + TICKET_KEY_PERIOD_SECS - 1), Ok(false));
        for round in 1..TICKET_KEYS_KEPT as u64 {
            assert_eq!(process.tickets.rotate(NOW + round * TICKET_KEY_PERIOD_SECS), Ok(true));
        }
        assert_eq!(kind(&table, &config), HandshakeKind::Resumed);
        let once_more = NOW + TICKET_KEYS_KEPT as u64 * TICKET_KEY_PERIOD_SECS;
        assert_eq!(process.tickets.rotate(once_more), Ok(true));
        assert_eq!(kind(&table, &late), HandshakeKind::Full, "its key is gone");
        assert_eq!(kind(&table, &config), HandshakeKind::Resumed, "it got a new ticket when it came back");
    }
}

#[test]
fn keys_that_were_set_are_not_rotated() {
    let tickets = Tickets::new(NOW).expect("randomness");
    tickets.set_keys(&[[1; 48]]).expect("a key");
    assert_eq!(tickets.rotate(NOW + 10 * TICKET_KEY_PERIOD_SECS), Ok(false));
}

#[test]
fn refuses_keys_of_wrong_number_or_length() {
    let set = |keys: &[Vec<u8>]| Tickets::with_keys(keys).err();
    assert_eq!(set(&[]), Some(TicketError::None));
    assert_eq!(set(&vec![vec![0; 48]; 17]), Some(TicketError::TooMany(17)));
    assert_eq!(set(&[vec![0; 48], vec![0; 32]]), Some(TicketError::Length { index: 1, length: 32 }));
}

#[test]
fn session_without_client_certificate_does_not_resume_where_one_is_required() {
    let ca = Authority::new("ca");
    let process = Process::new();
    let certificates = vec![ca.ecdsa(&["a.test"])];
    for options in versions() {
        let open = process.table(&tls(certificates.clone(), vec![options.clone()]));
        let auth = ClientAuth { authorities: vec![], mode: ClientAuthMode::RequireAny, crls: vec![] };
        let closed = TlsOptions { client_auth: Some(auth), ..options };
        let closed = process.table(&tls(certificates.clone(), vec![closed]));
        let config = Arc::new(client(&ca));
        assert_eq!(kind(&open, &config), HandshakeKind::Full);
        assert!(connect(&closed, &config, "a.test").is_err());
    }
}

#[test]
fn disabled_tickets_mean_no_resumption() {
    let ca = Authority::new("ca");
    for options in versions() {
        let options = TlsOptions { disable_session_tickets: true, ..options };
        let table = Process::new().table(&tls(vec![ca.ecdsa(&["a.test"])], vec![options]));
        let config = Arc::new(client(&ca));
        assert_eq!(kind(&table, &config), HandshakeKind::Full);
        assert_eq!(kind(&table, &config), HandshakeKind::Full);
    }
}

/// Encrypts for 100 s, decrypts for 200 s more.
fn timed(byte: u8, from: u64) -> SharedKey {
    SharedKey {
        key: vec![byte; 48],
        encrypts_from: from,
        encrypts_until: from + 100,
        decrypts_until: from + 300,
    }
}

#[test]
fn proxies_that_share_keys_resume_each_others_sessions_through_a_rotation() {
    let ca = Authority::new("ca");
    let section = tls(vec![ca.ecdsa(&["a.test"])], vec![TlsOptions::default()]);
    let (one, two) = (Process::new(), Process::new());
    let (at_one, at_two) = (one.table(&section), two.table(&section));
    let keys = [timed(1, NOW), timed(2, NOW + 100)];
    let (own, config) = (Arc::new(client(&ca)), Arc::new(client(&ca)));
    assert_eq!(kind(&at_two, &own), HandshakeKind::Full);
    for process in [&one, &two] {
        process.tickets.share(&keys, NOW).expect("keys");
    }
    assert_eq!(kind(&at_two, &own), HandshakeKind::Resumed, "what the random key encrypted");
    assert_eq!(kind(&at_one, &config), HandshakeKind::Full);
    assert_eq!(kind(&at_two, &config), HandshakeKind::Resumed);
    // One looks later than the other.
    assert_eq!(one.tickets.rotate(NOW + 100), Ok(true));
    for (table, why) in
        [(&at_one, "by the old key"), (&at_two, "by the next key"), (&at_one, "by the old key")]
    {
        assert_eq!(kind(table, &config), HandshakeKind::Resumed, "{why}");
    }
    assert_eq!(two.tickets.rotate(NOW + 100), Ok(true));
    assert_eq!(kind(&at_one, &config), HandshakeKind::Resumed);
}

#[test]
fn when_no_new_keys_come_the_last_ones_are_used_up_and_then_random_ones() {
    let ca = Authority::new("ca");
    let section = tls(vec![ca.ecdsa(&["a.test"])], vec![TlsOptions::default()]);
    let (one, two) = (Process::new(), Process::new());
    let (at_one, at_two) = (one.table(&section), two.table(&section));
    for process in [&one, &two] {
        process.tickets.share(&[timed(1, NOW), timed(2, NOW + 100)], NOW).expect("keys");
    }
    let (last, fresh) = (Arc::new(client(&ca)), Arc::new(client(&ca)));
    for process in [&one, &two] {
        assert_eq!(process.tickets.rotate(NOW + 100), Ok(true));
    }
    assert_eq!(kind(&at_one, &last), HandshakeKind::Full);
    for process in [&one, &two] {
        assert_eq!(process.tickets.rotate(NOW + 200), Ok(true));
    }
    assert_eq!(kind(&at_one, &fresh), HandshakeKind::Full);
    assert_eq!(kind(&at_two, &last), HandshakeKind::Resumed, "shared keys decrypt until their end");
    assert_eq!(kind(&at_two, &fresh), HandshakeKind::Full, "a random key is nobody else's");
    assert_eq!(one.tickets.rotate(NOW + 400), Ok(true));
    assert_eq!(kind(&at_one, &last), HandshakeKind::Full, "the last shared key has ended");
}

#[test]
fn shared_keys_of_wrong_length_leave_those_that_are_there() {
    let tickets = Tickets::new(NOW).expect("randomness");
    tickets.share(&[timed(1, NOW)], NOW).expect("keys");
    let short = SharedKey { key: vec![0; 32], ..timed(1, NOW) };
    assert_eq!(tickets.share(&[short], NOW), Err(TicketError::Length { index: 0, length: 32 }));
    assert_eq!(tickets.share(&[], NOW), Err(TicketError::None));
    assert_eq!(tickets.rotate(NOW + 99), Ok(false));
    assert_eq!(tickets.rotate(NOW + 100), Ok(true));
}
