//! `pancake.control.v1.Control`.

use std::pin::Pin;
use std::sync::Arc;

use pancake_api::control as api;
use pancake_api::control::control_server::Control;
use pancake_model::event::Event;
use pancake_model::name::RouterName;
use pancake_model::registration::Registration;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::explain;
use crate::plane::{Plane, stopped};
use crate::settings::DRAIN_POLL;
use crate::view;
use crate::world::OpError;

/// Messages that wait in a stream for a slow reader.
const STREAM_BUFFER: usize = 64;

/// The service.
pub struct ControlService {
    plane: Arc<Plane>,
    stop: watch::Receiver<bool>,
}

impl ControlService {
    /// Streams end when `stop` is set.
    pub fn new(plane: Arc<Plane>, stop: watch::Receiver<bool>) -> ControlService {
        ControlService { plane, stop }
    }
}

impl From<OpError> for Status {
    fn from(e: OpError) -> Status {
        let message = e.to_string();
        match e {
            OpError::NotFound(_) => Status::not_found(message),
            OpError::Invalid(_) => Status::invalid_argument(message),
            OpError::Precondition(_) => Status::failed_precondition(message),
            OpError::Full(_) => Status::resource_exhausted(message),
            OpError::Store(_) => Status::unavailable(message),
        }
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Control for ControlService {
    type DrainStream = Messages<api::DrainProgress>;
    type WatchStream = Messages<api::Event>;

    async fn register(&self, request: Request<api::RegisterRequest>) -> Answer<api::RegisterResponse> {
        let (instance, routers) =
            view::incoming::registration(request.into_inner(), &self.plane.settings().node)?;
        let registered = self.plane.update_quietly(|world, _| world.stamp());
        let registration = Registration { instance, routers, registered };
        let plan = registration.clone();
        let (record, created) = self
            .plane
            .commit(move |w| w.plan_register(&plan), move |w, at| w.register(registration, at))
            .await??;
        tracing::info!(id = %record.instance.id, service = %record.instance.service, created, "registered");
        Ok(Response::new(api::RegisterResponse {
            instance_id: record.instance.id.to_string(),
            state: view::state(record.state).into(),
            node: record.instance.node.to_string(),
            created,
        }))
    }

    async fn deregister(&self, request: Request<api::DeregisterRequest>) -> Answer<api::DeregisterResponse> {
        let id = request.into_inner().instance_id;
        let plan = id.clone();
        let apply = id.clone();
        let before = self
            .plane
            .commit(
                move |w| w.plan_deregister(&plan),
                move |w, at| w.deregister(&apply, "deregistered", true, at),
            )
            .await?;
        tracing::info!(id, "deregistered");
        let before = before.ok_or_else(|| Status::not_found(format!("no instance {id} is registered")))?;
        Ok(Response::new(api::DeregisterResponse { state: view::state(before).into() }))
    }

    async fn renew(&self, request: Request<api::RenewRequest>) -> Answer<api::RenewResponse> {
        let id = request.into_inner().instance_id;
        let before = self.plane.read(|w| w.catalog.own(&id).map(|r| r.state));
        let (state, ttl) = self.plane.update_quietly(|w, at| w.renew(&id, at))?;
        if before != Some(state) {
            self.plane.wake();
        }
        let ttl_ms = ttl.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX));
        Ok(Response::new(api::RenewResponse { state: view::state(state).into(), ttl_ms }))
    }

    async fn drain(&self, request: Request<api::DrainRequest>) -> Answer<Self::DrainStream> {
        let api::DrainRequest { instance_id: id, wait, cancel } = request.into_inner();
        let (plan, apply) = (id.clone(), id.clone());
        if cancel {
            self.plane.commit(move |w| w.plan_undrain(&plan), move |w, at| w.undrain(&apply, at)).await?;
            tracing::info!(id, "drain taken back");
            let message = "the drain is taken back".to_owned();
            let last = api::DrainProgress { instance_id: id, message, ..api::DrainProgress::default() };
            return Ok(Response::new(Box::pin(tokio_stream::once(Ok(last)))));
        }
        self.plane.commit(move |w| w.plan_drain(&plan), move |w, at| w.drain(&apply, at)).await?;
        tracing::info!(id, "draining");
        let (sender, receiver) = mpsc::channel(STREAM_BUFFER);
        tokio::spawn(follow_drain(self.plane.clone(), self.stop.clone(), id, wait, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list_services(
        &self,
        request: Request<api::ListServicesRequest>,
    ) -> Answer<api::ListServicesResponse> {
        let request = request.into_inner();
        self.plane.settled().await;
        let at = self.plane.now();
        let list = |w: &_| view::services(w, &request.service, request.include_tombstones, at);
        Ok(Response::new(api::ListServicesResponse { services: self.plane.read(list) }))
    }

    async fn list_nodes(&self, _: Request<api::ListNodesRequest>) -> Answer<api::ListNodesResponse> {
        Ok(Response::new(api::ListNodesResponse { nodes: self.plane.read(view::nodes) }))
    }

    async fn list_certificates(
        &self,
        _: Request<api::ListCertificatesRequest>,
    ) -> Answer<api::ListCertificatesResponse> {
        let shared = self.plane.settings().sharing.is_some();
        let now = self.plane.now();
        Ok(Response::new(self.plane.read(|w| view::certificates(&w.sharing, shared, now))))
    }

    async fn list_routes(&self, _: Request<api::ListRoutesRequest>) -> Answer<api::ListRoutesResponse> {
        let list = |w: &crate::world::World| api::ListRoutesResponse {
            version: w.published().version,
            routes: view::routes(w),
        };
        self.plane.settled().await;
        Ok(Response::new(self.plane.read(list)))
    }

    async fn explain(&self, request: Request<api::ExplainRequest>) -> Answer<api::ExplainResponse> {
        self.plane.settled().await;
        let published = self.plane.read(|w| w.published().clone());
        Ok(Response::new(explain::explain(&published, request.into_inner())?))
    }

    async fn watch(&self, request: Request<api::WatchRequest>) -> Answer<Self::WatchStream> {
        let (sender, receiver) = mpsc::channel(STREAM_BUFFER);
        let request = request.into_inner();
        tokio::spawn(follow_events(self.plane.clone(), self.stop.clone(), request, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_status(&self, _: Request<api::GetStatusRequest>) -> Answer<api::Status> {
        self.plane.settled().await;
        let at = self.plane.now();
        Ok(Response::new(self.plane.read(|w| view::status(w, at))))
    }

    async fn release_hold(&self, _: Request<api::ReleaseHoldRequest>) -> Answer<api::ReleaseHoldResponse> {
        let released = self.plane.update(|w, _| w.release());
        tracing::info!(released, "a person released what the guard held back");
        Ok(Response::new(api::ReleaseHoldResponse { released }))
    }

    async fn put_router(&self, request: Request<api::PutRouterRequest>) -> Answer<api::PutRouterResponse> {
        let router =
            request.into_inner().router.ok_or_else(|| Status::invalid_argument("no router given"))?;
        let router = view::incoming::router(router)?;
        let plan = router.clone();
        let created =
            self.plane.commit(move |w| w.plan_put_router(&plan), move |w, _| w.put_router(router)).await?;
        Ok(Response::new(api::PutRouterResponse { created }))
    }

    async fn delete_router(
        &self,
        request: Request<api::DeleteRouterRequest>,
    ) -> Answer<api::DeleteRouterResponse> {
        let name = RouterName::new(request.into_inner().name)
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        let plan = name.clone();
        self.plane.commit(move |w| w.plan_delete_router(&plan), move |w, _| w.delete_router(&name)).await?;
        Ok(Response::new(api::DeleteRouterResponse {}))
    }
}

/// Reports each change of a drain until it is complete, taken back, or nobody listens.
async fn follow_drain(
    plane: Arc<Plane>,
    mut stop: watch::Receiver<bool>,
    id: String,
    wait: bool,
    sender: mpsc::Sender<Result<api::DrainProgress, Status>>,
) {
    let grace = plane.settings().proxy_grace;
    let mut last = None;
    plane.settled().await;
    loop {
        let at = plane.now();
        let Some(drain) = plane.read(|w| w.drain_view(&id, grace, at)) else {
            let gone =
                Status::aborted(format!("{id} is no longer draining: it left, or the drain was taken back"));
            let _ = sender.send(Err(gone)).await;
            return;
        };
        let progress = view::drain(&id, drain);
        let over = progress.drained || !wait;
        if last.as_ref() != Some(&progress) {
            last = Some(progress.clone());
            if sender.send(Ok(progress)).await.is_err() {
                return;
            }
        }
        if over {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(DRAIN_POLL) => {}
            () = sender.closed() => return,
            () = stopped(&mut stop) => {
                let _ = sender.send(Err(Status::unavailable("the control plane stops; the drain goes on"))).await;
                return;
            }
        }
    }
}

/// Sends events until nobody listens.
async fn follow_events(
    plane: Arc<Plane>,
    mut stop: watch::Receiver<bool>,
    request: api::WatchRequest,
    sender: mpsc::Sender<Result<api::Event, Status>>,
) {
    // First subscribed, then listed: what changes in between is told twice rather than not at all.
    let mut events = plane.events();
    if request.initial {
        let at = plane.now();
        let services = plane.read(|w| view::services(w, &request.service, false, at));
        for instance in services.into_iter().flat_map(|s| s.instances) {
            let changed = api::InstanceChanged { instance: Some(instance), previous: None };
            let kind = Some(api::event::Kind::Instance(changed));
            let event = api::Event { sequence: 0, at_unix_ms: at.unix_ms, kind };
            if sender.send(Ok(event)).await.is_err() {
                return;
            }
        }
    }
    loop {
        let received = tokio::select! {
            received = events.recv() => received,
            () = sender.closed() => return,
            () = stopped(&mut stop) => {
                let _ = sender.send(Err(Status::unavailable("the control plane stops"))).await;
                return;
            }
        };
        let event = match received {
            Ok(numbered) if is_about(&numbered.event, &request.service) => {
                let at = plane.now();
                plane.read(|w| view::event(w, &numbered, at))
            }
            Ok(_) => continue,
            Err(broadcast::error::RecvError::Lagged(missed)) => {
                let kind = Some(api::event::Kind::Lagged(api::Lagged { missed }));
                api::Event { sequence: 0, at_unix_ms: plane.now().unix_ms, kind }
            }
            Err(broadcast::error::RecvError::Closed) => return,
        };
        if sender.send(Ok(event)).await.is_err() {
            return;
        }
    }
}

fn is_about(event: &Event, service: &str) -> bool {
    service.is_empty()
        || match event {
            Event::Instance { record, .. } => record.instance.service.as_str() == service,
            Event::Router { router, .. } => router.service.as_str() == service,
            Event::Published { .. } | Event::Proxy { .. } | Event::Alarm { .. } => false,
        }
}
