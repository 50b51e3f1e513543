//! Servers that may speak HTTP/2: which connection carries the next exchange, and when there is another one.
//!
//! One connection carries many streams; another is made when the server allows no more of them. Of several exchanges that
//! need one, one connects and the others wait for it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use pancake_engine::{Engine, Time};
use pancake_table::compiled::{Scheme, Transport};
use slab::Slab;

use super::{Chosen, ConnectError, Connection};
use crate::http2::by;
use crate::http2::upstream::{Link, Patience};
use crate::limits::{H2_SERVER_CONNECTIONS, H2_SERVER_WAITING};
use crate::stream::Conn;

/// A worker's HTTP/2 connections to one server.
pub(crate) struct Multiplex<E: Engine> {
    links: RefCell<Vec<Rc<Link<E>>>>,
    /// Somebody connects.
    connecting: Cell<bool>,
    /// Connects so far.
    tries: Cell<u64>,
    /// The last that failed, by its number, and why.
    failed: RefCell<Option<(u64, Rc<ConnectError>)>>,
    /// The server has chosen HTTP/1.1 last: then nobody waits for another's connection.
    speaks_http1: Cell<bool>,
    waiting: Rc<Waiting>,
}

impl<E: Engine> Multiplex<E> {
    /// None: nothing but HTTP/1.1 is ever spoken to such a server.
    pub(super) fn new(scheme: Scheme, transport: &Transport) -> Option<Box<Multiplex<E>>> {
        let may = match scheme {
            Scheme::H2c => true,
            Scheme::Https => !transport.disable_http2,
            Scheme::Http => false,
        };
        may.then(|| {
            Box::new(Multiplex {
                links: RefCell::default(),
                connecting: Cell::new(false),
                tries: Cell::new(0),
                failed: RefCell::default(),
                speaks_http1: Cell::new(false),
                waiting: Rc::default(),
            })
        })
    }

    /// A stream on a connection that is there.
    pub(super) fn open(&self) -> Option<Connection<Conn<E>>> {
        let mut links = self.links.borrow_mut();
        links.retain(|link| !link.is_retired());
        let stream = links.iter().find_map(Link::open)?;
        Some(Connection { stream: Conn::ServerH2(Box::new(stream)), reused: true })
    }

    /// Lets no connection take another stream.
    pub(super) fn retire(&self) {
        for link in std::mem::take(&mut *self.links.borrow_mut()) {
            link.retire();
        }
    }

    async fn add(&self, engine: &E, conn: Conn<E>, transport: &Transport) -> Result<(), ConnectError> {
        let waiting = self.waiting.clone();
        let patience = Patience {
            idle: transport.idle_conn_timeout,
            silent: transport.read_idle_timeout,
            ping: transport.ping_timeout,
        };
        let link = Link::start(engine, conn, patience, Box::new(move || waiting.wake())).await;
        let link = link.map_err(|error| ConnectError::Io(io::Error::other(error)))?;
        let mut links = self.links.borrow_mut();
        links.retain(|link| !link.is_retired());
        links.push(link);
        Ok(())
    }
}

impl<E: Engine> Multiplex<E> {
    /// Has those fail too who wait for the connect of this number.
    fn note_failure(&self, number: u64, error: ConnectError) -> ConnectError {
        let error = Rc::new(error);
        self.failed.replace(Some((number, error.clone())));
        ConnectError::Shared(error)
    }

    /// Fails if the connect of this number did.
    fn share_failure(&self, number: u64) -> Result<(), ConnectError> {
        match &*self.failed.borrow() {
            Some((failed, error)) if *failed == number => Err(ConnectError::Shared(error.clone())),
            _ => Ok(()),
        }
    }
}

impl<E: Engine> Drop for Multiplex<E> {
    fn drop(&mut self) {
        self.retire();
    }
}

/// A stream of an HTTP/2 connection, or a fresh HTTP/1.1 connection if that is what the server chooses.
pub(super) async fn connect<E: Engine>(
    chosen: &Chosen<E>,
    multiplex: &Multiplex<E>,
    engine: &E,
) -> Result<Connection<Conn<E>>, ConnectError> {
    let until = chosen.dial_until(engine);
    loop {
        if let Some(connection) = multiplex.open() {
            return Ok(connection);
        }
        let full = multiplex.links.borrow().len() >= H2_SERVER_CONNECTIONS;
        if full {
            multiplex.waiting.wait(engine, until).await?.ok_or(ConnectError::Busy)?;
            continue;
        }
        if multiplex.connecting.get() && !multiplex.speaks_http1.get() {
            let tried = multiplex.tries.get();
            let in_time = multiplex.waiting.wait(engine, until).await?;
            in_time.ok_or_else(|| ConnectError::Io(io::ErrorKind::TimedOut.into()))?;
            multiplex.share_failure(tried)?;
            continue;
        }
        let connecting = Connecting::start(multiplex);
        let number = multiplex.tries.get();
        let dialed = chosen.dial(engine, true, until).await;
        let (conn, http2) = dialed.map_err(|error| multiplex.note_failure(number, error))?;
        multiplex.speaks_http1.set(!http2);
        if !http2 {
            return Ok(Connection { stream: conn, reused: false });
        }
        multiplex.add(engine, conn, &chosen.server.transport).await?;
        chosen.local.meter.connects.add(1);
        drop(connecting);
    }
}

/// Somebody connects, until this drops.
struct Connecting<'a, E: Engine>(&'a Multiplex<E>);

impl<'a, E: Engine> Connecting<'a, E> {
    fn start(multiplex: &'a Multiplex<E>) -> Connecting<'a, E> {
        multiplex.connecting.set(true);
        multiplex.tries.set(multiplex.tries.get() + 1);
        Connecting(multiplex)
    }
}

impl<E: Engine> Drop for Connecting<'_, E> {
    fn drop(&mut self) {
        self.0.connecting.set(false);
        self.0.waiting.wake();
    }
}

/// Exchanges that wait for a stream. All are woken when there may be one: who comes too late waits again.
#[derive(Default)]
struct Waiting {
    wakers: RefCell<Slab<Waker>>,
    /// Times that they were woken.
    rounds: Cell<u64>,
}

impl Waiting {
    /// Ends when there may be a stream, with none when `until` passes first. Fails if too many wait already.
    async fn wait<E: Engine>(&self, engine: &E, until: Time) -> Result<Option<()>, ConnectError> {
        if self.wakers.borrow().len() >= H2_SERVER_WAITING {
            return Err(ConnectError::Busy);
        }
        let round = self.rounds.get();
        let mut place = Place { waiting: self, key: None };
        let woken = poll_fn(|cx| {
            if self.rounds.get() != round {
                return Poll::Ready(());
            }
            let mut wakers = self.wakers.borrow_mut();
            match place.key {
                Some(key) => wakers[key].clone_from(cx.waker()),
                None => place.key = Some(wakers.insert(cx.waker().clone())),
            }
            Poll::Pending
        });
        Ok(by(engine, until, woken).await)
    }

    fn wake(&self) {
        self.rounds.set(self.rounds.get() + 1);
        self.wakers.borrow().iter().for_each(|(_, waker)| waker.wake_by_ref());
    }
}

/// One that waits; it leaves no waker behind.
struct Place<'a> {
    waiting: &'a Waiting,
    key: Option<usize>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.waiting.wakers.borrow_mut().remove(key);
        }
    }
}
