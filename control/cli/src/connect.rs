//! The way to the control plane, and what to say when there is none.

use std::error::Error;
use std::time::Duration;

use anyhow::{Context, anyhow};
use pancake_api::control::control_client::ControlClient;
use pancake_api::{DEFAULT_ENDPOINT, MAX_CONTROL_RESPONSE};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// Of a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A control plane that does not answer pings within this is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A client of the control plane.
pub type Client = ControlClient<Channel>;

/// Connects, or says what was tried and what helps.
pub async fn connect(endpoint: &str) -> anyhow::Result<Client> {
    let url = if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
    let parsed = Endpoint::new(url.clone()).with_context(|| {
        format!("{endpoint:?} is not the address of a control plane; expected {DEFAULT_ENDPOINT}")
    })?;
    if parsed.uri().scheme_str() != Some("http") {
        return Err(anyhow!(
            "{endpoint:?}: only http is spoken so far; expected for example {DEFAULT_ENDPOINT}"
        ));
    }
    let channel = parsed
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .connect()
        .await
        .map_err(|e| absent(&url, &innermost(&e)))?;
    Ok(ControlClient::new(channel).max_decoding_message_size(MAX_CONTROL_RESPONSE))
}

fn absent(url: &str, why: &str) -> anyhow::Error {
    let listen = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    let start = if url == DEFAULT_ENDPOINT {
        "pancake-control dev".to_owned()
    } else {
        format!("pancake-control dev --listen {listen}")
    };
    anyhow!(
        "the control plane at {url} does not answer: {why}\n\
         \x20 start one here:      {start}\n\
         \x20 or say where one is: pancake --endpoint http://HOST:PORT …  (or PANCAKE_ENDPOINT)"
    )
}

/// What a refusal means to people.
pub fn refusal(status: &Status) -> anyhow::Error {
    match status.code() {
        // A server, but none that speaks this.
        Code::Unimplemented => {
            anyhow!("the control plane does not know this command; is it an older version?")
        }
        Code::Unknown | Code::Internal | Code::Cancelled => {
            let why = status.source().map(innermost).unwrap_or_default();
            let sep = if why.is_empty() { "" } else { ": " };
            anyhow!("the answer is not one of a control plane: {}{sep}{why}", status.message())
        }
        _ => anyhow!("{}", status.message()),
    }
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}
