//! A backend: answers what the plan says, checks what it gets, and misbehaves where the plan says so.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use pancake_engine::sim::{Rng, Sim, SimStream};
use pancake_engine::{Engine, ListenOptions, Listener, Stream};

use crate::journal::{STRAY_ID, id_of};
use crate::message::{Failed, Head, Reader, framed, framing_fields, send};
use crate::plan::{Body, GARBAGE, Mischief, Plan, Whose, body_of, sum_of};
use crate::run::Setup;
use crate::scenario::Sabotage;

/// How long a backend keeps a connection on which nothing comes. Longer than the proxy does.
const IDLE_TIME: Duration = Duration::from_secs(120);
/// How long a backend that says nothing keeps the connection.
const MUTE_TIME: Duration = Duration::from_secs(60);

/// Which backend.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    /// Its service.
    pub service: usize,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// Serves for ever; a flaky one stops listening now and then.
pub async fn run(sim: Sim, setup: Rc<Setup>, who: Who, mut rng: Rng) {
    loop {
        let Ok(listener) = sim.listen(who.addr, &ListenOptions::default()) else { return };
        let (inner, inner_setup) = (sim.clone(), setup.clone());
        let mut inner_rng = Rng::new(rng.bits());
        let accepting = async move {
            loop {
                let Ok(stream) = listener.accept().await else { continue };
                let rng = Rng::new(inner_rng.bits());
                let conversation = Conversation { sim: inner.clone(), setup: inner_setup.clone(), who, rng };
                inner.spawn(conversation.serve(stream));
            }
        };
        if !setup.scenario.flaky {
            return accepting.await;
        }
        let up = sim.now().after(rng.between(Duration::from_millis(50), Duration::from_secs(2)));
        crate::run::until(&sim, up, accepting).await;
        sim.sleep_until(sim.now().after(rng.between(Duration::ZERO, Duration::from_secs(1)))).await;
    }
}

struct Conversation {
    sim: Sim,
    setup: Rc<Setup>,
    who: Who,
    rng: Rng,
}

impl Conversation {
    async fn serve(mut self, stream: SimStream) {
        let until = self.sim.now().after(IDLE_TIME);
        let mut reader = Reader::new(&stream, until, Rng::new(self.rng.bits()));
        loop {
            reader.until = self.sim.now().after(IDLE_TIME);
            let head = match reader.head().await {
                Ok(head) => head,
                Err(failed) => return self.not_whole(&failed),
            };
            let plan = match self.understand(&head) {
                Ok(plan) => plan,
                Err(what) => return self.setup.violation(what),
            };
            if self.exchange(&stream, &mut reader, &head, &plan).await.is_none() {
                return;
            }
        }
    }

    fn not_whole(&self, failed: &Failed) {
        if let Failed::Malformed(how) = failed {
            self.setup.violation(format!("backend {}: malformed request: {how}", self.who.addr));
        }
    }

    /// Checks a request's head and finds its plan.
    fn understand(&self, head: &Head) -> Result<Plan, String> {
        let wrong = |what: &str| format!("backend {}: {what}: {head:?}", self.who.addr);
        let mut words = head.first.split(' ');
        let (method, target, version) = (words.next(), words.next(), words.next());
        let id = target.and_then(id_of).ok_or_else(|| wrong("no number in the target"))?;
        let plan = Plan::of(&self.setup.scenario, id);
        self.setup.journal.borrow_mut().asked(id);
        let one = |name| head.one(name).ok().flatten();
        let host = format!("s{}.sim", plan.service);
        if method != Some(plan.ask.method) || version != Some("HTTP/1.1") {
            return Err(wrong("wrong method or version"));
        }
        if one("x-sim-id") != Some(id.to_string().as_str()) {
            return Err(wrong("X-Sim-Id is not the number of the target"));
        }
        if plan.service != self.who.service || one("host") != Some(host.as_str()) {
            return Err(wrong("sent to the wrong service"));
        }
        if one("x-forwarded-for") != Some(self.setup.client_ip(id).to_string().as_str()) {
            return Err(wrong("X-Forwarded-For is not the client's address"));
        }
        if head.fields.iter().any(|(name, _)| name == "x-sim-hop" || name == "keep-alive") {
            return Err(wrong("a hop-by-hop field was passed on"));
        }
        Ok(plan)
    }

    /// One exchange. `None`: the connection ends.
    async fn exchange(
        &mut self,
        stream: &SimStream,
        reader: &mut Reader<'_>,
        head: &Head,
        plan: &Plan,
    ) -> Option<()> {
        match plan.reply.mischief {
            Some(Mischief::Mute) => {
                self.sim.sleep_until(self.sim.now().after(MUTE_TIME)).await;
                return None;
            }
            Some(Mischief::Garbage(which)) => {
                send(stream, GARBAGE[which], reader.until, &mut self.rng).await.ok()?;
                return None;
            }
            Some(Mischief::Early) => {
                self.reply(stream, plan).await?;
                return None;
            }
            _ => {}
        }
        self.read_body(stream, reader, head, plan).await?;
        if plan.reply.mischief == Some(Mischief::Closes) {
            return None;
        }
        self.sim.sleep_until(self.sim.now().after(plan.reply.delay)).await;
        self.reply(stream, plan).await
    }

    async fn read_body(
        &mut self,
        stream: &SimStream,
        reader: &mut Reader<'_>,
        head: &Head,
        plan: &Plan,
    ) -> Option<()> {
        let framing = match head.framing() {
            Ok(Body::UntilClose(_)) => Body::Empty,
            Ok(framing) => framing,
            Err(failed) => {
                self.not_whole(&failed);
                return None;
            }
        };
        if head.one("expect").ok().flatten().is_some() && self.rng.happens(7000) {
            send(stream, b"HTTP/1.1 100 Continue\r\n\r\n", reader.until, &mut self.rng).await.ok()?;
        }
        let body = match reader.body(framing).await {
            Ok(body) => body,
            Err(failed) => {
                self.not_whole(&failed);
                return None;
            }
        };
        if body.bytes != body_of(plan.id, Whose::Ask, plan.ask.body.len()) {
            let what = format!("{} bytes, planned {:?}", body.bytes.len(), plan.ask.body);
            self.setup.violation(format!("exchange {}: wrong body in a whole request ({what})", plan.id));
        }
        let trailer = matches!(plan.ask.body, Body::Chunked { trailer: true, .. });
        if trailer && body.sum != Some(sum_of(&body.bytes)) {
            self.setup.violation(format!("exchange {}: the request's trailer is lost: {body:?}", plan.id));
        }
        Some(())
    }

    /// Sends the answer, as much of it as the plan says. `None`: the connection ends.
    async fn reply(&mut self, stream: &SimStream, plan: &Plan) -> Option<()> {
        let until = self.sim.now().after(IDLE_TIME);
        let mut wire = self.wire(plan);
        let until_close = plan.reply_has_body() && matches!(plan.reply.body, Body::UntilClose(_));
        if let Some(Mischief::Cuts { percent, hard }) = plan.reply.mischief {
            wire.truncate(wire.len() * percent / 100);
            let _ = send(stream, &wire, until, &mut self.rng).await;
            if hard || until_close {
                stream.reset_on_drop();
            }
            return None;
        }
        let stray = plan.reply.mischief == Some(Mischief::Stray);
        if stray && !until_close {
            let stray = "Content-Length: 5\r\n\r\nstray";
            wire.extend_from_slice(format!("HTTP/1.1 200 OK\r\nX-Sim-Id: {STRAY_ID}\r\n{stray}").as_bytes());
        }
        send(stream, &wire, until, &mut self.rng).await.ok()?;
        if plan.reply.stale && self.rng.happens(5000) {
            let late = self.rng.between(Duration::ZERO, Duration::from_millis(50));
            self.sim.sleep_until(self.sim.now().after(late)).await;
        }
        (!until_close && !stray && !plan.reply.close && !plan.reply.stale).then_some(())
    }

    /// The bytes of the whole answer.
    fn wire(&mut self, plan: &Plan) -> Vec<u8> {
        let id = plan.id;
        let reply = &plan.reply;
        let mut text = String::new();
        for _ in 0..reply.interim {
            text += &format!("HTTP/1.1 103 Early Hints\r\nX-Sim-Id: {id}\r\n\r\n");
        }
        let (body, bytes) = match self.setup.scenario.sabotage {
            Some(Sabotage::SwapsBodies) => (reply.body, body_of(id ^ 1, Whose::Reply, reply.body.len())),
            Some(Sabotage::ShortensABody) => {
                let less = reply.body.len().saturating_sub(1);
                let body = if let Body::Length(_) = reply.body { Body::Length(less) } else { reply.body };
                (body, body_of(id, Whose::Reply, less))
            }
            _ => (reply.body, body_of(id, Whose::Reply, reply.body.len())),
        };
        let http =
            if self.rng.happens(500) && reply.close && matches!(body, Body::Length(_)) { 0 } else { 1 };
        text += &format!("HTTP/1.{http} {} Planned\r\nX-Sim-Id: {id}\r\n", reply.status);
        text += &framing_fields(body);
        if reply.close {
            text += "Connection: close, X-Sim-Hop\r\nX-Sim-Hop: 1\r\n";
        }
        text += "\r\n";
        let mut wire = text.into_bytes();
        if plan.reply_has_body() {
            wire.extend_from_slice(&framed(body, &bytes, &mut self.rng));
        }
        wire
    }
}
