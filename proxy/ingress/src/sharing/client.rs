//! Calls to the control plane. The connection is made when it is first needed, and again when it is lost.

use http::uri::PathAndQuery;
use pancake_table::certificates as wire;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::Streaming;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::limits::{CONTROL_CONNECT_TIMEOUT, SHARING_CALL_TIMEOUT};
use crate::providers::control;

/// Why a call did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Nobody answered in time.
    Away(String),
    /// The control plane said no.
    Refused(String),
}

impl From<Status> for Failed {
    fn from(status: Status) -> Failed {
        let told = control::told(&status);
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown => {
                Failed::Away(told)
            }
            _ => Failed::Refused(told),
        }
    }
}

/// The control plane. Clones share the connection.
#[derive(Clone)]
pub(super) struct Client {
    grpc: Grpc<Channel>,
    authorization: MetadataValue<Ascii>,
}

impl Client {
    /// # Errors
    /// If the endpoint or the token is none.
    pub(super) fn new(endpoint: &str, token: &str) -> Result<Client, String> {
        let mut authorization: MetadataValue<Ascii> =
            format!("Bearer {token}").parse().map_err(|_| "the token has characters that no header has")?;
        // It appears in no log.
        authorization.set_sensitive(true);
        let grpc = Grpc::new(control::endpoint(endpoint)?.connect_lazy())
            .max_decoding_message_size(wire::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(wire::MAX_MESSAGE_BYTES);
        Ok(Client { grpc, authorization })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }

    async fn call<Q, A>(&self, method: &'static str, message: Q) -> Result<A, Failed>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.grpc.clone();
        let call = async {
            grpc.ready().await.map_err(|error| Failed::Away(control::chain(&error)))?;
            let answer: Result<tonic::Response<A>, Status> = grpc
                .unary(self.request(message), PathAndQuery::from_static(method), ProstCodec::default())
                .await;
            Ok(answer?.into_inner())
        };
        let limit = SHARING_CALL_TIMEOUT;
        let slow = |_| Failed::Away(format!("no answer within {limit:?}"));
        tokio::time::timeout(limit, call).await.map_err(slow)?
    }

    pub(super) async fn lease(&self, asked: wire::LeaseRequest) -> Result<wire::LeaseResponse, Failed> {
        self.call("/pancake.certificates.v1.Certificates/Lease", asked).await
    }

    pub(super) async fn release(&self, asked: wire::ReleaseRequest) -> Result<wire::ReleaseResponse, Failed> {
        self.call("/pancake.certificates.v1.Certificates/Release", asked).await
    }

    pub(super) async fn put(&self, asked: wire::PutRequest) -> Result<wire::PutResponse, Failed> {
        self.call("/pancake.certificates.v1.Certificates/Put", asked).await
    }

    pub(super) async fn publish(&self, asked: wire::PublishRequest) -> Result<wire::PublishResponse, Failed> {
        self.call("/pancake.certificates.v1.Certificates/Publish", asked).await
    }

    pub(super) async fn withdraw(
        &self,
        asked: wire::WithdrawRequest,
    ) -> Result<wire::WithdrawResponse, Failed> {
        self.call("/pancake.certificates.v1.Certificates/Withdraw", asked).await
    }

    pub(super) async fn spread(&self, asked: wire::SpreadRequest) -> Result<wire::SpreadResponse, Failed> {
        self.call("/pancake.certificates.v1.Certificates/Spread", asked).await
    }

    /// Opens the stream of changes.
    pub(super) async fn follow(
        &self,
        messages: mpsc::Receiver<wire::FollowRequest>,
    ) -> Result<Streaming<wire::Update>, Failed> {
        let mut grpc = self.grpc.clone();
        let open = async {
            grpc.ready().await.map_err(|error| Failed::Away(control::chain(&error)))?;
            let path = PathAndQuery::from_static("/pancake.certificates.v1.Certificates/Follow");
            let request = self.request(ReceiverStream::new(messages));
            let answer: Result<tonic::Response<Streaming<wire::Update>>, Status> =
                grpc.streaming(request, path, ProstCodec::default()).await;
            Ok(answer?.into_inner())
        };
        let limit = CONTROL_CONNECT_TIMEOUT;
        let slow = |_| Failed::Away(format!("no answer within {limit:?}"));
        tokio::time::timeout(limit, open).await.map_err(slow)?
    }
}
