//! `services`, `routes`, `nodes`, `status`.

use pancake_api::control as api;
use pancake_api::json::{mode_name, state_name};

use crate::args::{Format, Services};
use crate::connect::{Client, refusal};
use crate::output::{ago, first_line, json, now_unix_ms, say, table};

/// Lists services and their instances.
pub async fn services(mut client: Client, format: Format, args: Services) -> anyhow::Result<()> {
    let service = args.service.unwrap_or_default();
    let request = api::ListServicesRequest { service: service.clone(), include_tombstones: args.all };
    let answer = client.list_services(request).await.map_err(|s| refusal(&s))?.into_inner();
    if format == Format::Json {
        return json(&answer);
    }
    if answer.services.is_empty() {
        return match service.as_str() {
            "" => say("no services yet; `pancake register --help` says how to add one"),
            name => anyhow::bail!("there is no service {name}; `pancake services` lists all"),
        };
    }
    let mut rows = Vec::new();
    for service in &answer.services {
        for instance in &service.instances {
            rows.push(row(service, instance));
        }
        if service.instances.is_empty() {
            let none = "no instance: requests are answered 503";
            rows.push([&*service.name, "-", "-", "-", "-", "-", none].map(str::to_owned).to_vec());
        }
    }
    table(&["service", "instance", "address", "mode", "state", "from", "about"], rows)
}

fn row(service: &api::Service, instance: &api::Instance) -> Vec<String> {
    let mut state = state_name(instance.state);
    if instance.drained {
        state = "drained".into();
    }
    let mut about = match (&instance.check, instance.reason.as_str()) {
        (Some(check), _) if check.at_unix_ms > 0 => first_line(&check.output),
        (_, reason) => reason.to_owned(),
    };
    if instance.ttl_ms > 0 {
        about = format!("heartbeat due in {}s; {about}", instance.ttl_left_ms.div_ceil(1000));
    }
    if !instance.published && instance.state() != api::InstanceState::Tombstone {
        about = format!("not published; {about}");
    }
    let host = if instance.address.contains(':') {
        format!("[{}]", instance.address)
    } else {
        instance.address.clone()
    };
    vec![
        service.name.clone(),
        instance.id.clone(),
        format!("{host}:{}", instance.port),
        mode_name(instance.mode),
        state,
        instance.origin.clone(),
        about.trim_end_matches([';', ' ']).chars().take(100).collect(),
    ]
}

/// Lists routers.
pub async fn routes(mut client: Client, format: Format) -> anyhow::Result<()> {
    let answer = client.list_routes(api::ListRoutesRequest {}).await.map_err(|s| refusal(&s))?.into_inner();
    if format == Format::Json {
        return json(&answer);
    }
    if answer.routes.is_empty() {
        return say("no routes yet; `pancake register --rule` and `pancake router put` add some");
    }
    let row = |route: &api::Route| {
        let router = route.router.clone().unwrap_or_default();
        let status = match (route.published, route.problems.is_empty()) {
            (true, _) => "published".to_owned(),
            (false, true) => "not published yet".to_owned(),
            (false, false) => format!("not published: {}", route.problems.join("\n")),
        };
        vec![
            router.name,
            router.rule,
            format!("{} ({} active)", router.service, route.active_servers),
            if router.entry_points.is_empty() { "default".into() } else { router.entry_points.join(",") },
            route.effective_priority.to_string(),
            route.origin.clone(),
            status,
        ]
    };
    let rows = answer.routes.iter().map(row).collect();
    table(&["router", "rule", "service", "entry points", "priority", "from", "status"], rows)
}

/// Lists nodes.
pub async fn nodes(mut client: Client, format: Format) -> anyhow::Result<()> {
    let answer = client.list_nodes(api::ListNodesRequest {}).await.map_err(|s| refusal(&s))?.into_inner();
    if format == Format::Json {
        return json(&answer);
    }
    let row = |node: &api::Node| {
        let local = if node.local { "answers here" } else { "" };
        vec![
            node.id.clone(),
            node.address.clone(),
            node.incarnation.to_string(),
            node.instances.to_string(),
            local.to_owned(),
        ]
    };
    table(&["node", "address", "incarnation", "instances", ""], answer.nodes.iter().map(row).collect())
}

/// Shows what is published and what proxies serve.
pub async fn status(mut client: Client, format: Format) -> anyhow::Result<()> {
    let status = client.get_status(api::GetStatusRequest {}).await.map_err(|s| refusal(&s))?.into_inner();
    if format == Format::Json {
        return json(&status);
    }
    let now = now_unix_ms();
    say(&format!(
        "node {} {}, snapshot v{}: {} routers, {} services, {} servers",
        status.node,
        status.program_version,
        status.published_version,
        status.routers,
        status.services,
        status.servers
    ))?;
    for alarm in &status.alarms {
        say(&format!("ALARM {} for {}:", alarm.subject, ago(now, alarm.since_unix_ms)))?;
        for line in alarm.message.lines() {
            say(&format!("  {line}"))?;
        }
    }
    if status.proxies.is_empty() {
        return say("no proxy has connected");
    }
    let row = |proxy: &api::Proxy| {
        let state = match proxy {
            p if !p.connected => "away",
            p if p.nacked_version > p.serving_version => "refuses",
            p if p.serving_version == status.published_version => "current",
            _ => "behind",
        };
        let refused = match proxy.nacked_version {
            0 => String::new(),
            version => format!("v{version} refused: {}", proxy.nack_reasons.join("\n")),
        };
        vec![
            proxy.id.clone(),
            proxy.address.clone(),
            state.to_owned(),
            ago(now, proxy.since_unix_ms),
            format!("v{}", proxy.serving_version),
            refused,
        ]
    };
    let rows = status.proxies.iter().map(row).collect();
    table(&["proxy", "address", "state", "for", "serves", ""], rows)
}
