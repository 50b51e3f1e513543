//! What a fresh connection speaks: TLS, HTTP or bytes for a TCP router, all on one port, in Traefik's order.
//!
//! In: a connection just accepted. Out: the session that serves it to its end. What this module does not do: read
//! requests, or move bytes.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use pancake_engine::{Engine, Stream, Time, Want};
use pancake_table::compiled::TcpRoute;
use pancake_table::lookup::TcpConnection;
use pancake_tls::{ACME_ALPN, Refusal};
use pancake_wire::client_hello::{self, Peek};
use pancake_wire::proxy_protocol::{self, Signature};

use crate::http1::{self, Arrival, Input};
use crate::http2;
use crate::meter::Slow;
use crate::settings::EntryPoint;
use crate::stream::Conn;
use crate::tcp;
use crate::tls::handshake::{self, Failed};
use crate::worker::{SessionGuard, Worker};

/// First byte of a TLS record with a handshake message (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// So much of HTTP/2's preface (RFC 9113 section 3.4) tells it from a request: none has the method `PRI` for `*`.
const PREFACE_START: &[u8] = b"PRI * HTTP/2.0\r\n";

/// What is known of a connection that came over TLS.
#[derive(Clone, Debug)]
pub(crate) struct Secured {
    /// The name that the client asked for, lower case; empty if it named none.
    pub(crate) sni: Box<str>,
}

/// A connection whose use is not known yet.
struct Fresh<E: Engine> {
    stream: E::Stream,
    /// What it has said.
    input: Input,
    entry: Rc<EntryPoint>,
    /// Who it is, as far as is known.
    peer: SocketAddr,
    opened: Time,
}

impl<E: Engine> Fresh<E> {
    fn client_ip(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }

    /// As an HTTP connection without TLS.
    fn plain(self) -> Arrival<Conn<E>> {
        let Fresh { stream, input, entry, peer, opened } = self;
        Arrival { stream: Conn::Plain(stream), input, entry, peer, opened, secured: None, protocol: None }
    }

    /// Receives more; none if the connection ends, takes too long (which is counted as `slow`), or the worker drains.
    async fn more(&mut self, worker: &Worker<E>, until: Time, slow: Slow) -> Option<()> {
        let mut recv = pin!(self.stream.recv(Want::Some, until));
        let received = poll_fn(|cx| match recv.as_mut().poll(cx) {
            Poll::Ready(received) => Poll::Ready(worker.unless_slow(received, slow).ok()),
            Poll::Pending if worker.is_draining() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        self.input.push(received.await.filter(|bytes| !bytes.is_empty())?);
        Some(())
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve<E: Engine>(mut session: SessionGuard<E>, stream: E::Stream, entry: Rc<EntryPoint>) {
    let worker = session.worker.clone();
    let (peer, opened) = (stream.peer_addr(), worker.engine.now());
    let mut fresh = Fresh::<E> { stream, input: Input::default(), entry, peer, opened };
    let until = fresh.entry.read_timeout.map_or(Time::NEVER, |limit| opened.after(limit));
    if fresh.entry.proxy_protocol.is_some()
        && Box::pin(proxy_header(&worker, &mut fresh, until)).await.is_none()
    {
        return;
    }
    if session.admit(fresh.peer.ip()).is_err() {
        return fresh.stream.reset_on_drop();
    }
    if worker.with_table(|table| table.tcp_needs_no_peek(fresh.entry.id))
        && let Some(route) = plain_route(&worker, &fresh)
    {
        return Box::pin(forward(session, fresh, route)).await;
    }
    if fresh.input.is_empty() && fresh.more(&worker, until, Slow::Head).await.is_none() {
        return;
    }
    if fresh.input.bytes()[0] == HANDSHAKE_RECORD {
        return Box::pin(secured(session, fresh)).await;
    }
    if worker.with_table(|table| table.has_tcp_routes(fresh.entry.id))
        && let Some(route) = plain_route(&worker, &fresh)
    {
        return Box::pin(forward(session, fresh, route)).await;
    }
    // What ends or takes too long before it shows is for HTTP/1.1 to deal with.
    while is_start_of(PREFACE_START, fresh.input.bytes())
        && fresh.more(&worker, until, Slow::Head).await.is_some()
    {}
    if fresh.input.bytes().starts_with(PREFACE_START) {
        return Box::pin(http2::serve(session, fresh.plain())).await;
    }
    http1::serve(worker, fresh.plain()).await;
}

/// Whether `bytes` are less than `whole`, but may become it.
fn is_start_of(whole: &[u8], bytes: &[u8]) -> bool {
    bytes.len() < whole.len() && whole.starts_with(bytes)
}

/// As it is, to a TCP server.
async fn forward<E: Engine>(session: SessionGuard<E>, fresh: Fresh<E>, route: Arc<TcpRoute>) {
    let Fresh { stream, input, peer, .. } = fresh;
    tcp::serve(session, Conn::Plain(stream), peer, input, route).await;
}

/// The TCP route of a connection without TLS.
fn plain_route<E: Engine>(worker: &Worker<E>, fresh: &Fresh<E>) -> Option<Arc<TcpRoute>> {
    let connection =
        TcpConnection { sni: None, alpn: [].into_iter(), client_ip: fresh.client_ip(), secure: false };
    worker.with_table(|table| table.tcp_route(fresh.entry.id, &connection).cloned())
}

/// Takes a PROXY header off the front, if there is one, and believes it if its sender is trusted. None: the connection
/// ended, or its header is malformed.
async fn proxy_header<E: Engine>(worker: &Worker<E>, fresh: &mut Fresh<E>, until: Time) -> Option<()> {
    loop {
        let bytes = fresh.input.bytes();
        match proxy_protocol::signature(bytes) {
            Signature::Absent => return Some(()),
            Signature::Undecided => {}
            Signature::V1 | Signature::V2 => match proxy_protocol::parse(bytes) {
                Ok(None) => {}
                Ok(Some((header, used))) => {
                    let trusted = fresh.entry.proxy_protocol.as_ref();
                    if trusted.is_some_and(|trusted| trusted.trusts(fresh.peer.ip()))
                        && let Some(source) = header.source
                    {
                        fresh.peer = source;
                    }
                    fresh.input.consume(used);
                    return Some(());
                }
                Err(_) => {
                    worker.meter.proxy_header_failures.add(1);
                    return None;
                }
            },
        }
        fresh.more(worker, until, Slow::Head).await?;
    }
}

/// Where a connection with TLS goes.
enum Way {
    /// To a server as it is.
    Through(Arc<TcpRoute>),
    /// TLS ends here, with this configuration; then to a TCP server, or to HTTP.
    Ended(Arc<rustls::ServerConfig>, Option<Arc<TcpRoute>>),
    /// Nowhere; the alert says why.
    Refused([u8; 7]),
}

async fn secured<E: Engine>(session: SessionGuard<E>, mut fresh: Fresh<E>) {
    let worker = session.worker.clone();
    let until = fresh.entry.tls_handshake_timeout.map_or(Time::NEVER, |limit| fresh.opened.after(limit));
    let sni = match read_hello(&worker, &mut fresh, until).await {
        Ok(sni) => sni,
        Err(failed) => return fail(&worker, &failed),
    };
    match way(&worker, &fresh, &sni) {
        Way::Through(route) => forward(session, fresh, route).await,
        Way::Refused(alert) => {
            worker.meter.tls_failures.add(1);
            let _ = fresh.stream.try_send(&alert);
        }
        Way::Ended(config, route) => {
            let Fresh { stream, input, entry, peer, opened } = fresh;
            let (stream, agreed) = match handshake::accept(stream, config, input, until).await {
                Ok(done) => done,
                Err(failed) => return fail(&worker, &failed),
            };
            worker.meter.tls_handshakes.add(1);
            if agreed.resumed {
                worker.meter.tls_resumed.add(1);
            }
            let (stream, input) = (Conn::Tls(Box::new(stream)), Input::default());
            if agreed.alpn == ACME_ALPN {
                return;
            }
            if let Some(route) = route {
                return tcp::serve(session, stream, peer, input, route).await;
            }
            let secured = Some(Secured { sni: sni.into() });
            let arrival = Arrival { stream, input, entry, peer, opened, secured, protocol: None };
            // In a box of its own: what the handshake needed is gone by then.
            if agreed.alpn == b"h2" {
                return Box::pin(http2::serve(session, arrival)).await;
            }
            Box::pin(http1::serve(worker, arrival)).await;
        }
    }
}

fn fail<E: Engine>(worker: &Worker<E>, failed: &Failed) {
    if matches!(failed, Failed::Io(error) if error.kind() == io::ErrorKind::TimedOut) {
        worker.meter.slow[Slow::Handshake as usize].add(1);
    }
    worker.meter.tls_failures.add(1);
    worker.sink.handshake_failed(failed.reason());
}

/// Receives until the whole ClientHello is there; returns the name in it.
async fn read_hello<E: Engine>(
    worker: &Worker<E>,
    fresh: &mut Fresh<E>,
    until: Time,
) -> Result<String, Failed> {
    let mut sni = String::new();
    loop {
        match client_hello::peek(fresh.input.bytes()) {
            Peek::Hello(hello) => {
                hello.server_name_for_routing(&mut sni);
                return Ok(sni);
            }
            Peek::Incomplete { .. } => {}
            Peek::NotTls | Peek::Malformed(_) => return Err(Failed::Hello),
        }
        let more = fresh.more(worker, until, Slow::Handshake).await;
        more.ok_or(Failed::Io(io::ErrorKind::UnexpectedEof.into()))?;
    }
}

/// Traefik's order: an HTTPS host, a TCP rule with a host, any HTTPS, any TCP.
fn way<E: Engine>(worker: &Worker<E>, fresh: &Fresh<E>, sni: &str) -> Way {
    let Peek::Hello(hello) = client_hello::peek(fresh.input.bytes()) else {
        return Way::Refused(Refusal::Options.record());
    };
    let entry = fresh.entry.id;
    let offered: Vec<&[u8]> = hello.alpn().collect();
    let name = Some(sni).filter(|sni| !sni.is_empty());
    let (alpn, client_ip) = (offered.iter().copied(), fresh.client_ip());
    let connection = TcpConnection { sni: name, alpn, client_ip, secure: true };
    let (route, options) = worker.with_table(|table| {
        let tcp = || table.tcp_route(entry, &connection).cloned();
        let route = match table.serves_tls_host(entry, sni) {
            true => None,
            false => tcp().filter(|route| !route.is_catch_all || !table.serves_any_tls_host(entry)),
        };
        let named =
            route.as_ref().and_then(|route| route.tls.as_ref()).and_then(|tls| tls.options.as_deref());
        let options = match &route {
            Some(_) => named.unwrap_or("default"),
            None => table.tls_options(entry, sni),
        };
        (route.clone(), options.to_owned())
    });
    // A challenge is for this proxy even where the host's TLS is passed through.
    let challenge = offered == [ACME_ALPN];
    match route {
        Some(route) if !challenge && route.tls.as_ref().is_some_and(|tls| tls.passthrough) => {
            Way::Through(route)
        }
        route => match worker.with_tls(|tls| tls.config_for(&options, name, challenge)) {
            Ok(config) => Way::Ended(config, route),
            Err(refusal) => Way::Refused(refusal.record()),
        },
    }
}
