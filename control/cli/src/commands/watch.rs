//! `watch`.

use pancake_api::control as api;
use pancake_api::control::event::Kind;
use pancake_api::json::state_name;

use crate::args::{Format, Watch};
use crate::connect::{Client, refusal};
use crate::output::{first_line, json_line, say};

/// Prints changes until the control plane goes or Ctrl-C comes.
pub async fn watch(mut client: Client, format: Format, args: Watch) -> anyhow::Result<()> {
    let request = api::WatchRequest { initial: args.initial, service: args.service.unwrap_or_default() };
    let mut events = client.watch(request).await.map_err(|s| refusal(&s))?.into_inner();
    while let Some(event) = events.message().await.map_err(|s| refusal(&s))? {
        match format {
            Format::Json => json_line(&event)?,
            Format::Table => say(&format!("{} {}", clock(event.at_unix_ms), line(&event)))?,
        }
    }
    anyhow::bail!("the control plane ended the answer")
}

/// Time of day, UTC.
fn clock(unix_ms: u64) -> String {
    let s = unix_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}.{:03}Z", s / 3600, s / 60 % 60, s % 60, unix_ms % 1000)
}

fn line(event: &api::Event) -> String {
    match &event.kind {
        Some(Kind::Instance(changed)) => {
            let instance = changed.instance.clone().unwrap_or_default();
            let now = if instance.drained { "drained".into() } else { state_name(instance.state) };
            let before = changed.previous.map_or_else(|| "new".to_owned(), state_name);
            let why = if instance.reason.is_empty() {
                String::new()
            } else {
                format!(" ({})", first_line(&instance.reason))
            };
            format!("instance {} of {}: {before} → {now}{why}", instance.id, instance.service)
        }
        Some(Kind::Router(changed)) => {
            let router = changed.router.clone().unwrap_or_default();
            match changed.deleted {
                true => format!("router {} removed", router.name),
                false => format!("router {}: {} → {}", router.name, router.rule, router.service),
            }
        }
        Some(Kind::Published(p)) => {
            format!(
                "published v{}: {} routers, {} services, {} servers",
                p.version, p.routers, p.services, p.servers
            )
        }
        Some(Kind::Proxy(changed)) => {
            let proxy = changed.proxy.clone().unwrap_or_default();
            match (&proxy.connected, proxy.nacked_version) {
                (false, _) => format!("proxy {} is away", proxy.id),
                (true, 0) => format!("proxy {} serves v{}", proxy.id, proxy.serving_version),
                (true, refused) => {
                    format!("proxy {} refuses v{refused}: {}", proxy.id, proxy.nack_reasons.join("; "))
                }
            }
        }
        Some(Kind::Alarm(changed)) => {
            let alarm = changed.alarm.clone().unwrap_or_default();
            let what = if changed.cleared { "over" } else { "ALARM" };
            format!("{what}: {}: {}", alarm.subject, first_line(&alarm.message))
        }
        Some(Kind::Lagged(lagged)) => {
            format!("{} events were missed: this reader is too slow", lagged.missed)
        }
        None => "an event that this version does not know".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_changes_in_a_line() {
        let instance =
            api::Instance { id: "a".into(), service: "web".into(), state: 2, ..Default::default() };
        let changed = api::InstanceChanged { instance: Some(instance), previous: Some(0) };
        let event = api::Event { kind: Some(Kind::Instance(changed)), ..Default::default() };
        assert_eq!(line(&event), "instance a of web: alive → unhealthy");
        assert_eq!(clock(3_723_004), "01:02:03.004Z");
    }
}
