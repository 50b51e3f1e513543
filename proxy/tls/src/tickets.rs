//! Session tickets (RFC 5077, RFC 8446 section 4.6.1) whose keys rotate and can be shared by several proxies.
//!
//! A ticket is `name of the key (16) | nonce (12) | AES-256-GCM-SIV of the session | tag (16)`. GCM-SIV (RFC 8452), because
//! proxies that share a key draw nonces without knowing of each other. Keys and nonces are random, unless they are set.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;

use crate::fingerprint::Digest;
use crate::limits::{MAX_SHARED_TICKET_KEYS, MAX_TICKET_BYTES, TICKET_KEY_PERIOD_SECS, TICKET_KEYS_KEPT};

const NAME_LEN: usize = 16;
/// Lengths of keys that can be set: as nginx and HAProxy have them, so that existing files serve.
const KEY_LENGTHS: [usize; 2] = [48, 80];

/// Why ticket keys are not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// The system gave no randomness.
    #[error("no randomness for a ticket key")]
    Randomness,
    /// No key was given.
    #[error("no ticket key, expected 1 to {MAX_SHARED_TICKET_KEYS}")]
    None,
    /// Too many keys were given.
    #[error("{0} ticket keys, at most {MAX_SHARED_TICKET_KEYS} are allowed")]
    TooMany(usize),
    /// A key has a wrong length.
    #[error("ticket key {index} has {length} bytes, expected 48 or 80")]
    Length {
        /// Its place in the list, from 0.
        index: usize,
        /// What it has.
        length: usize,
    },
}

struct Key {
    name: [u8; NAME_LEN],
    aead: LessSafeKey,
}

impl Key {
    /// The first 16 bytes are the name, the rest is the secret.
    fn of(bytes: &[u8]) -> Key {
        let (head, secret) = bytes.split_at(NAME_LEN);
        let mut name = [0; NAME_LEN];
        name.copy_from_slice(head);
        let secret = Salt::new(HKDF_SHA256, b"pancake session ticket 1").extract(secret);
        let okm = secret
            .expand(&[b"aes-256-gcm-siv"], &AES_256_GCM_SIV)
            .expect("32 bytes are not too many for HKDF");
        Key { name, aead: LessSafeKey::new(UnboundKey::from(okm)) }
    }

    fn random() -> Result<Key, TicketError> {
        let mut bytes = [0; KEY_LENGTHS[0]];
        rand::fill(&mut bytes).map_err(|_| TicketError::Randomness)?;
        Ok(Key::of(&bytes))
    }
}

/// A key that several proxies have, with its times in seconds since 1970. It is there before it encrypts.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedKey {
    /// 48 or 80 bytes.
    pub key: Vec<u8>,
    /// Encrypts from then on.
    pub encrypts_from: u64,
    /// Until then.
    pub encrypts_until: u64,
    /// Decrypts until then, and from when it is known.
    pub decrypts_until: u64,
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedKey").field("encrypts_from", &self.encrypts_from).finish_non_exhaustive()
    }
}

/// A [`SharedKey`] that is ready.
#[derive(Clone)]
struct Timed {
    key: Arc<Key>,
    from: u64,
    until: u64,
    ends: u64,
}

/// A random key, and when it was made.
type Own = (Arc<Key>, u64);

struct Keys {
    /// The first encrypts, all decrypt.
    newest_first: Vec<Arc<Key>>,
    /// When there is something to change, in seconds since 1970; none if whoever set the keys changes them.
    next: Option<u64>,
    /// Newest first.
    own: Vec<Own>,
    shared: Vec<Timed>,
}

impl Keys {
    /// Those that are good at `now`. A shared key encrypts: the newest that has begun, or, if the clock is behind, the first that
    /// will. When the last one has ended, a random key does, and the shared ones decrypt until their end.
    fn arranged(own: &[Own], shared: &[Timed], now: u64) -> Result<Keys, TicketError> {
        let kept = TICKET_KEY_PERIOD_SECS * TICKET_KEYS_KEPT as u64;
        let mut own: Vec<Own> = own.iter().filter(|(_, made)| now < made + kept).cloned().collect();
        let shared: Vec<Timed> = shared.iter().filter(|one| now < one.ends).cloned().collect();
        let begun = shared.iter().filter(|one| one.from <= now && now < one.until).max_by_key(|one| one.from);
        let to_come = || shared.iter().filter(|one| now < one.from).min_by_key(|one| one.from);
        let current = begun.or_else(to_come).map(|one| one.key.clone());
        if current.is_none() && own.first().is_none_or(|(_, made)| made + TICKET_KEY_PERIOD_SECS <= now) {
            own.insert(0, (Arc::new(Key::random()?), now));
            own.truncate(TICKET_KEYS_KEPT);
        }
        let of_own = || own.iter().map(|(key, _)| key.clone());
        let mut newest_first: Vec<Arc<Key>> = match &current {
            Some(key) => vec![key.clone()],
            None => of_own().take(1).collect(),
        };
        for key in shared.iter().rev().map(|one| one.key.clone()).chain(of_own()) {
            if newest_first.iter().all(|there| !Arc::ptr_eq(there, &key)) {
                newest_first.push(key);
            }
        }
        let times = shared.iter().flat_map(|one| [one.from, one.until, one.ends]).filter(|time| *time > now);
        let renewed =
            own.first().filter(|_| current.is_none()).map(|(_, made)| made + TICKET_KEY_PERIOD_SECS);
        let next = times.chain(renewed).min();
        Ok(Keys { newest_first, next, own, shared })
    }
}

/// Ticket keys, shared by all tables of a process.
pub struct Tickets {
    keys: ArcSwap<Keys>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets({} keys)", self.keys.load().newest_first.len())
    }
}

impl Tickets {
    /// With a random key. `now` in seconds since 1970.
    pub fn new(now_unix: u64) -> Result<Tickets, TicketError> {
        Ok(Tickets { keys: ArcSwap::from_pointee(Keys::arranged(&[], &[], now_unix)?) })
    }

    /// With keys that others have too, newest first, of 48 or 80 bytes each.
    pub fn with_keys(newest_first: &[impl AsRef<[u8]>]) -> Result<Tickets, TicketError> {
        Ok(Tickets { keys: ArcSwap::from_pointee(fixed(newest_first)?) })
    }

    /// Takes these keys, newest first, of 48 or 80 bytes each, instead of those that are there. From now on
    /// [`Tickets::rotate`] does nothing: whoever shares keys also rotates them.
    pub fn set_keys(&self, newest_first: &[impl AsRef<[u8]>]) -> Result<(), TicketError> {
        self.keys.store(Arc::new(fixed(newest_first)?));
        Ok(())
    }

    /// Takes these keys of all proxies instead of the last ones, each used in its time. Random keys go on decrypting what they
    /// encrypted. `now` in seconds since 1970.
    ///
    /// # Errors
    /// If there is no key, or too many, or one of a wrong length: then nothing is changed.
    pub fn share(&self, keys: &[SharedKey], now_unix: u64) -> Result<(), TicketError> {
        let made = loaded(&keys.iter().map(|one| &one.key).collect::<Vec<_>>())?;
        let timed = keys.iter().zip(made).map(|(of, key)| Timed {
            key,
            from: of.encrypts_from,
            until: of.encrypts_until,
            ends: of.decrypts_until,
        });
        let mut timed: Vec<Timed> = timed.collect();
        timed.sort_by_key(|one| one.from);
        let new = Keys::arranged(&self.keys.load().own, &timed, now_unix)?;
        self.keys.store(Arc::new(new));
        Ok(())
    }

    /// Puts another key in front when its time has come, a shared one if there is one, or a random one, and forgets the oldest
    /// beyond [`TICKET_KEYS_KEPT`]. Says whether it did. `now` in seconds since 1970. One thread calls this.
    pub fn rotate(&self, now_unix: u64) -> Result<bool, TicketError> {
        let old = self.keys.load();
        if old.next.is_none_or(|next| now_unix < next) {
            return Ok(false);
        }
        let new = Arc::new(Keys::arranged(&old.own, &old.shared, now_unix)?);
        // Keys that were set meanwhile stay.
        let before = self.keys.compare_and_swap(&*old, new);
        Ok(Arc::ptr_eq(&before, &old))
    }

    fn encrypt(&self, context: &Digest, session: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.load();
        let key = keys.newest_first.first()?;
        let total = NAME_LEN + NONCE_LEN + session.len() + AES_256_GCM_SIV.tag_len();
        if total > MAX_TICKET_BYTES {
            return None;
        }
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(total);
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(session);
        let (_, body) = ticket.split_at_mut(NAME_LEN + NONCE_LEN);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.aead.seal_in_place_separate_tag(nonce, aad(&key.name, context), body).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, context: &Digest, ticket: &[u8]) -> Option<Vec<u8>> {
        if ticket.len() > MAX_TICKET_BYTES {
            return None;
        }
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys.load();
        let key = keys.newest_first.iter().find(|key| key.name == *name)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.aead.open_in_place(nonce, aad(name, context), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

fn fixed(newest_first: &[impl AsRef<[u8]>]) -> Result<Keys, TicketError> {
    Ok(Keys { newest_first: loaded(newest_first)?, next: None, own: Vec::new(), shared: Vec::new() })
}

fn loaded(keys: &[impl AsRef<[u8]>]) -> Result<Vec<Arc<Key>>, TicketError> {
    match keys.len() {
        0 => return Err(TicketError::None),
        1..=MAX_SHARED_TICKET_KEYS => {}
        more => return Err(TicketError::TooMany(more)),
    }
    let keys = keys.iter().enumerate().map(|(index, bytes)| {
        let bytes = bytes.as_ref();
        match KEY_LENGTHS.contains(&bytes.len()) {
            true => Ok(Arc::new(Key::of(bytes))),
            false => Err(TicketError::Length { index, length: bytes.len() }),
        }
    });
    keys.collect()
}

fn aad(name: &[u8; NAME_LEN], context: &Digest) -> Aad<[u8; NAME_LEN + 32]> {
    let mut bytes = [0; NAME_LEN + 32];
    bytes[..NAME_LEN].copy_from_slice(name);
    bytes[NAME_LEN..].copy_from_slice(context);
    Aad::from(bytes)
}

/// Tickets of one set of options. A resumed session skips the client's certificate, so a ticket is worth something only
/// where clients have to show the same: `context` is a digest of that, the same in every proxy.
#[derive(Debug)]
pub(crate) struct BoundTickets {
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) context: Digest,
}

impl ProducesTickets for BoundTickets {
    fn enabled(&self) -> bool {
        true
    }

    /// In seconds: as long as the key that is replaced next decrypts.
    fn lifetime(&self) -> u32 {
        const LIFETIME_SECS: u64 = TICKET_KEY_PERIOD_SECS * (TICKET_KEYS_KEPT as u64 - 1);
        LIFETIME_SECS as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.encrypt(&self.context, plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.tickets.decrypt(&self.context, cipher)
    }
}
