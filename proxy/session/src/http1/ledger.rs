//! What is known of an exchange while it runs; becomes its access record, exactly once, when it drops.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use pancake_engine::{Engine, Time};

use super::Client;
use super::request::Job;
use super::response::Progress;
use crate::meter::{Method, Sample};
use crate::record::{Failure, Phase, Record, Text};
use crate::settings::EntryPoint;
use crate::stream::Conn;
use crate::upstream::LocalRoute;
use crate::worker::Worker;

/// Status recorded when the client left before an answer could be sent, as nginx and Traefik do.
const CLIENT_LEFT: u16 = 499;

pub(crate) struct Ledger<E: Engine> {
    worker: Rc<Worker<E>>,
    entry: Rc<EntryPoint>,
    route: Option<Rc<LocalRoute<E>>>,
    text: Option<Box<Text>>,
    peer: SocketAddr,
    method: Method,
    started: Time,
    started_unix: Duration,
    origin_start: Time,
    origin_end: Time,
    retries: u32,
    origin_status: u16,
    /// Status sent to the client; 0 until then.
    pub(crate) status: u16,
    pub(crate) server: Option<Arc<str>>,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) failure: Option<Failure>,
}

impl<E: Engine> Ledger<E> {
    pub(crate) fn open(worker: &Rc<Worker<E>>, client: &Client<Conn<E>>, job: &mut Job<E>) -> Ledger<E> {
        worker.meter.in_flight.add(1);
        Ledger {
            worker: worker.clone(),
            entry: client.entry.clone(),
            route: job.route.clone(),
            text: job.text.take(),
            peer: client.peer,
            method: job.method,
            started: job.started,
            started_unix: job.started_unix,
            origin_start: job.started,
            origin_end: job.started,
            retries: 0,
            origin_status: 0,
            status: 0,
            server: None,
            request_bytes: 0,
            response_bytes: 0,
            failure: None,
        }
    }

    /// The request is sent again.
    pub(crate) fn retry(&mut self) {
        self.retries += 1;
        self.worker.meter.retries.add(1);
    }

    /// The server's work starts.
    pub(crate) fn origin_from(&mut self, now: Time) {
        self.origin_start = now;
        self.origin_end = now;
    }

    /// The server's work is over.
    pub(crate) fn origin_until(&mut self, now: Time) {
        self.origin_end = now;
    }

    /// Takes over how far the answer came.
    pub(crate) fn heard(&mut self, progress: &Progress) {
        self.origin_status = progress.status.get();
        self.response_bytes = progress.moved.bytes.get();
        if progress.moved.begun.get() {
            self.status = self.origin_status;
        }
    }

    /// The client left or stopped reading.
    pub(crate) fn client_left(&mut self, reason: &'static str) {
        self.failure = Some(Failure::new(Phase::Forward, reason, CLIENT_LEFT));
    }
}

impl<E: Engine> Drop for Ledger<E> {
    fn drop(&mut self) {
        let worker = &self.worker;
        let duration = worker.engine.now().since(self.started);
        worker.meter.in_flight.sub(1);
        let failure = match self.failure {
            // Dropped in the middle: the worker stopped before the exchange was over.
            None if self.status == 0 => Some(Failure::new(Phase::Forward, "worker-stopped", CLIENT_LEFT)),
            failure => failure,
        };
        let status = if self.status == 0 { CLIENT_LEFT } else { self.status };
        let sample = Sample {
            status,
            method: self.method,
            duration,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
        };
        worker.meter.entry_points[usize::from(self.entry.id.0)].add(&sample);
        if let Some(route) = &self.route {
            route.meter.add(&sample);
            route.service.meter.add(&sample);
        }
        worker.sink.record(&Record {
            start: self.started_unix,
            duration,
            origin_duration: self.origin_end.since(self.origin_start),
            entry_point: &self.entry.name,
            peer: self.peer,
            text: self.text.as_deref(),
            method: self.method,
            status,
            origin_status: self.origin_status,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            router: self.route.as_ref().map(|route| &*route.route.name),
            service: self.route.as_ref().map(|route| &*route.service.service.name),
            server: self.server.as_deref(),
            retries: self.retries,
            failure,
        });
    }
}
