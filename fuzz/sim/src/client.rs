//! A client: asks what the plan says, pipelined or one after the other, and checks every answer.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use pancake_engine::sim::{Rng, Sim, SimStream};
use pancake_engine::{Engine, Stream};

use crate::journal::Fate;
use crate::message::{Failed, Reader, framed, framing_fields, send};
use crate::plan::{Abort, AbortPoint, Body, Plan, Whose, body_of};
use crate::run::Setup;
use crate::scenario::Sabotage;

/// How long a client waits for an answer. Longer than anything that the proxy waits for.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long it waits for a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long it waits for `100 Continue` before it sends the body anyway.
const CONTINUE_PATIENCE: Duration = Duration::from_millis(1500);
/// How long it listens for bytes that nobody asked for after its last answer.
const AFTERMATH: Duration = Duration::from_millis(100);
/// Requests on one connection.
const MAX_PER_CONNECTION: usize = 6;
/// Connections in a row that get nowhere before a client gives up.
const MAX_USELESS_CONNECTIONS: usize = 5;

/// Asks everything that this client is to ask.
pub async fn run(sim: Sim, setup: Rc<Setup>, ids: std::ops::Range<u32>, mut rng: Rng) {
    let mut left: Vec<Plan> = ids.map(|id| Plan::of(&setup.scenario, id)).rev().collect();
    let mut useless = 0;
    if setup.scenario.sabotage == Some(Sabotage::NeverAsks) {
        std::future::pending::<()>().await;
    }
    while !left.is_empty() && useless < MAX_USELESS_CONNECTIONS {
        sim.sleep_until(sim.now().after(rng.between(Duration::ZERO, Duration::from_millis(300)))).await;
        let group = next_group(&mut left, &mut rng);
        let until = sim.now().after(CONNECT_PATIENCE);
        let begun = match sim.connect(setup.proxy, until).await {
            Ok(stream) => {
                let visit = Visit::new(&sim, &setup, &group, Rng::new(rng.bits()));
                visit.run(stream).await
            }
            Err(e) if setup.scenario.is_honest() => {
                return setup.violation(format!("nothing may fail, but a connect did: {e}"));
            }
            Err(_) => 0,
        };
        useless = if begun == 0 { useless + 1 } else { 0 };
        left.extend(group.into_iter().skip(begun).rev());
    }
}

/// The exchanges of the next connection: nothing comes after one that ends the connection.
fn next_group(left: &mut Vec<Plan>, rng: &mut Rng) -> Vec<Plan> {
    let most = rng.within(1..=MAX_PER_CONNECTION);
    let mut group = Vec::new();
    while group.len() < most
        && let Some(plan) = left.pop()
    {
        let last = plan.ask.close || plan.ask.http10 || plan.ask.abort.is_some();
        group.push(plan);
        if last {
            break;
        }
    }
    group
}

/// One connection and the exchanges on it.
struct Visit<'a> {
    sim: &'a Sim,
    setup: &'a Setup,
    group: &'a [Plan],
    rng: Rng,
    /// Requests are sent without waiting for answers.
    pipelined: bool,
    /// Requests of which at least a byte was sent.
    begun: Cell<usize>,
    /// Requests that were answered whole.
    answered: Cell<usize>,
    /// Requests whose body was asked for.
    continued: Cell<usize>,
}

impl<'a> Visit<'a> {
    fn new(sim: &'a Sim, setup: &'a Setup, group: &'a [Plan], mut rng: Rng) -> Visit<'a> {
        let pipelined = rng.happens(4000);
        let (begun, answered, continued) = Default::default();
        Visit { sim, setup, group, rng, pipelined, begun, answered, continued }
    }

    /// Returns how many of the requests were begun; each of these has its fate in the journal.
    async fn run(self, stream: SimStream) -> usize {
        let gave_up = {
            let mut receive = pin!(self.receive(&stream));
            let mut ask = pin!(self.ask(&stream));
            let mut asking = true;
            // The answers first: what they change lets the requests go on.
            poll_fn(|cx| {
                if let Poll::Ready(gave_up) = receive.as_mut().poll(cx) {
                    return Poll::Ready(gave_up);
                }
                if asking && let Poll::Ready(gave_up) = ask.as_mut().poll(cx) {
                    asking = false;
                    if gave_up.is_some() {
                        return Poll::Ready(gave_up);
                    }
                }
                Poll::Pending
            })
            .await
        };
        let mut journal = self.setup.journal.borrow_mut();
        for plan in &self.group[self.answered.get()..self.begun.get()] {
            match gave_up {
                Some(_) => journal.ended(plan.id, Fate::GaveUp),
                // The one that broke was noted when it did; these come after it.
                None => journal.ended(plan.id, Fate::Broken(Failed::Nothing)),
            }
        }
        if gave_up.is_some_and(|abort| abort.hard) {
            stream.reset_on_drop();
        }
        self.begun.get()
    }

    /// Sends the requests. `Some`: gave up on purpose.
    async fn ask(&self, stream: &SimStream) -> Option<Abort> {
        let mut rng = self.rng.clone();
        for (index, plan) in self.group.iter().enumerate() {
            if !self.pipelined {
                self.when(|| self.answered.get() >= index).await;
            }
            self.begun.set(index + 1);
            let until = self.sim.now().after(PATIENCE);
            let head = head(plan);
            let body = framed(plan.ask.body, &body_of(plan.id, Whose::Ask, plan.ask.body.len()), &mut rng);
            if let Some(abort) = plan.ask.abort
                && let AbortPoint::Request(percent) = abort.point
            {
                let mut wire = [head, body].concat();
                wire.truncate(wire.len() * percent / 100);
                let _ = send(stream, &wire, until, &mut rng).await;
                let wait = rng.between(Duration::ZERO, Duration::from_millis(50));
                self.sim.sleep_until(self.sim.now().after(wait)).await;
                return Some(abort);
            }
            // A failed send is no end: an answer may be there.
            send(stream, &head, until, &mut rng).await.ok()?;
            if plan.ask.expect {
                let until = self.sim.now().after(CONTINUE_PATIENCE);
                let asked = self.when(|| self.continued.get() > index || self.answered.get() > index);
                crate::run::until(self.sim, until, asked).await;
            }
            send(stream, &body, until, &mut rng).await.ok()?;
        }
        None
    }

    /// Ends when `condition` holds. Looked at whenever this client does anything.
    async fn when(&self, condition: impl Fn() -> bool) {
        poll_fn(|_| if condition() { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// Receives the answers. `Some`: gave up on purpose.
    async fn receive(&self, stream: &SimStream) -> Option<Abort> {
        let mut rng = Rng::new(self.rng.clone().bits());
        let mut reader = Reader::new(stream, self.sim.now(), Rng::new(rng.bits()));
        for (index, plan) in self.group.iter().enumerate() {
            if rng.happens(1000) {
                let pause = rng.between(Duration::ZERO, Duration::from_secs(2));
                self.sim.sleep_until(self.sim.now().after(pause)).await;
            }
            reader.until = self.sim.now().after(PATIENCE);
            if let Some(Abort { point: AbortPoint::Answer(bytes), .. }) = plan.ask.abort {
                reader.enough = reader.total + bytes;
            }
            let (fate, closes) = match self.answer(&mut reader, plan, index).await {
                Ok(answer) => answer,
                Err(Failed::Enough) => return plan.ask.abort,
                Err(_) if self.begun.get() <= index => return None,
                Err(failed) => (Fate::Broken(failed), true),
            };
            if self.begun.get() <= index {
                let what = format!("exchange {}: an answer to what was not asked: {fate:?}", plan.id);
                self.setup.violation(what);
                return None;
            }
            self.answered.set(index + 1);
            self.setup.journal.borrow_mut().ended(plan.id, fate);
            if closes {
                return None;
            }
        }
        reader.until = self.sim.now().after(AFTERMATH);
        reader.enough = usize::MAX;
        if let Ok(head) = reader.head().await {
            self.setup.violation(format!("an answer that nobody asked for: {head:?}"));
        } else if !reader.rest().is_empty() {
            self.setup.violation(format!("bytes after the last answer: {:?}", reader.rest()));
        }
        None
    }

    /// Receives the answer to one request, and whether it ends the connection.
    async fn answer(
        &self,
        reader: &mut Reader<'_>,
        plan: &Plan,
        index: usize,
    ) -> Result<(Fate, bool), Failed> {
        let mut head = reader.head().await?;
        let mut status = head.status()?;
        while status < 200 {
            if !matches!(status, 100 | 103) || plan.ask.http10 {
                return Err(Failed::Malformed(format!("status {status}")));
            }
            self.continued.set(self.continued.get().max(index + 1));
            head = reader.head().await?;
            status = head.status()?;
        }
        let without = plan.ask.method == "HEAD" || matches!(status, 204 | 304);
        let framing = if without { Body::Empty } else { head.framing()? };
        let body = reader.body(framing).await?;
        let closes = head.one("connection")? == Some("close") || matches!(framing, Body::UntilClose(_));
        let fate = self.setup.journal.borrow_mut().check_answer(plan, &head, status, &body);
        Ok((fate, closes))
    }
}

/// The head of a request.
pub fn head(plan: &Plan) -> Vec<u8> {
    let Plan { id, service, ask, .. } = plan;
    let version = if ask.http10 { "1.0" } else { "1.1" };
    let mut text = format!("{} /r/{id}?n={id} HTTP/{version}\r\n", ask.method);
    text += &format!("Host: s{service}.sim\r\nX-Sim-Id: {id}\r\nX-Forwarded-For: 6.6.6.6\r\n");
    text += &framing_fields(ask.body);
    if ask.expect {
        text += "Expect: 100-continue\r\n";
    }
    if ask.close {
        text += "Connection: close\r\n";
    } else if id % 5 == 0 {
        text += "Connection: X-Sim-Hop\r\nX-Sim-Hop: 1\r\n";
    }
    text += "\r\n";
    text.into_bytes()
}
