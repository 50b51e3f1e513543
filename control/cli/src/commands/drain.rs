//! `drain`.

use std::time::Duration;

use pancake_api::control as api;

use crate::args::{Drain, Format};
use crate::connect::{Client, refusal};
use crate::output::{json_line, say};

/// Far enough away to mean no limit.
const NO_LIMIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Drains an instance, or takes a drain back.
pub async fn drain(mut client: Client, format: Format, args: Drain) -> anyhow::Result<()> {
    let request = api::DrainRequest { instance_id: args.id.clone(), wait: args.wait, cancel: args.cancel };
    let mut stream = client.drain(request).await.map_err(|s| refusal(&s))?.into_inner();
    let deadline = tokio::time::Instant::now() + args.timeout.unwrap_or(NO_LIMIT);
    let mut drained = false;
    loop {
        let next = tokio::time::timeout_at(deadline, stream.message()).await;
        let Ok(next) = next else {
            let limit = args.timeout.unwrap_or(NO_LIMIT);
            anyhow::bail!("{} is not drained after {limit:?}; the drain goes on", args.id);
        };
        let Some(progress) = next.map_err(|s| refusal(&s))? else { break };
        drained = progress.drained;
        match format {
            Format::Json => json_line(&progress)?,
            Format::Table => say(&format!("{}: {}", args.id, progress.message))?,
        }
    }
    if args.wait && !drained {
        anyhow::bail!("{} is not drained: the control plane ended the answer; the drain goes on", args.id);
    }
    if format == Format::Table && !args.wait && !args.cancel && !drained {
        say(&format!("`pancake drain {} --wait` waits until it is drained", args.id))?;
    }
    Ok(())
}
