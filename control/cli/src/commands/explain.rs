//! `explain`: a proxy is asked first, since it also knows routers from its own files and how it finds servers; the
//! control plane is asked if there is none.

use anyhow::{anyhow, bail};
use pancake_api::control as api;
use serde_json::{Value, json as object};

use crate::args::{Explain, Format};
use crate::connect::{connect, refusal};
use crate::output::{json, say, table};
use crate::proxy::{self, Answered};

/// Explains a request.
pub async fn explain(endpoint: &str, format: Format, asked: Explain) -> anyhow::Result<()> {
    let (from, answer) = match of_proxy(&asked).await {
        Ok(answer) => (format!("proxy {}", asked.proxy), answer),
        // The proxy is there and cannot make sense of the question: so could nobody else.
        Err(e) if e.downcast_ref::<Answered>().is_some_and(|a| a.status == 400) => {
            bail!("{}", e.downcast_ref::<Answered>().map(|a| a.why.clone()).unwrap_or_default())
        }
        Err(why) => {
            let answer = of_control(endpoint, &asked).await.map_err(|e| {
                anyhow!(
                    "nobody can explain\nthe proxy at {} (--proxy, PANCAKE_PROXY): {why:#}\n{e:#}",
                    asked.proxy
                )
            })?;
            eprintln!(
                "note: the proxy at {} cannot be asked ({why:#}). The control plane answers; it does not know routers \
                 from the proxy's own files, nor what the proxy's health checks find. --proxy says where a proxy is.",
                asked.proxy
            );
            (format!("control plane {endpoint}"), answer)
        }
    };
    match format {
        Format::Json => {
            let mut answer = answer;
            answer["source"] = Value::String(from);
            json(&answer)
        }
        Format::Table => show(&from, &answer),
    }
}

async fn of_proxy(asked: &Explain) -> anyhow::Result<Value> {
    let headers: Vec<String> = asked.header.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let client = asked.client_ip.map(|ip| ip.to_string());
    let mut query = vec![("url", asked.url.as_str()), ("method", asked.method.as_str())];
    query.extend(headers.iter().map(|h| ("header", h.as_str())));
    query.extend(asked.entry_point.iter().map(|e| ("entryPoint", e.as_str())));
    query.extend(client.iter().map(|c| ("client", c.as_str())));
    let answer = proxy::get(&asked.proxy, "/api/pancake/explain", &query).await?;
    if answer.get("outcome").is_none() {
        bail!("its answer is no explanation");
    }
    Ok(answer)
}

async fn of_control(endpoint: &str, asked: &Explain) -> anyhow::Result<Value> {
    let header = |(name, value): &(String, String)| api::Header { name: name.clone(), value: value.clone() };
    let request = api::ExplainRequest {
        method: asked.method.clone(),
        url: asked.url.clone(),
        headers: asked.header.iter().map(header).collect(),
        entry_point: asked.entry_point.clone().unwrap_or_default(),
        client_ip: asked.client_ip.map(|ip| ip.to_string()).unwrap_or_default(),
    };
    let mut client = connect(endpoint).await?;
    let told = client.explain(request).await.map_err(|s| refusal(&s))?.into_inner();
    Ok(as_of_proxy(&told))
}

/// In the names that proxies use, so that programs read one form.
fn as_of_proxy(told: &api::ExplainResponse) -> Value {
    let request = told.request.clone().unwrap_or_default();
    let candidate = |c: &api::ExplainedRouter| {
        let failed: Vec<Value> =
            c.failed.iter().map(|f| object!({"part": f.part, "offset": f.offset, "why": f.why})).collect();
        object!({
            "router": c.router, "rule": c.rule, "priority": c.priority, "matched": c.matched, "failed": failed,
        })
    };
    let chosen = |c: &api::ExplainedChoice| {
        let server = |s: &api::ExplainedServer| object!({"url": s.url, "id": s.id, "weight": s.weight, "draining": s.draining, "state": s.state});
        object!({
            "router": c.router, "service": c.service, "middlewares": c.middlewares, "usable": c.usable,
            "servers": c.servers.iter().map(server).collect::<Vec<_>>(),
        })
    };
    object!({
        "version": told.version,
        "entry_point": told.entry_point,
        "request": {
            "method": request.method, "host": request.host, "path": request.path, "query": request.query,
            "client_ip": request.client_ip,
        },
        "routers": told.routers,
        "ruled_out": told.ruled_out,
        "candidates": told.candidates.iter().map(candidate).collect::<Vec<_>>(),
        "chosen": told.chosen.as_ref().map(chosen),
        "outcome": told.outcome,
    })
}

fn show(from: &str, answer: &Value) -> anyhow::Result<()> {
    let text = |value: &Value, key: &str| match &value[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let request = &answer["request"];
    let query = match text(request, "query") {
        query if query.is_empty() => query,
        query => format!("?{query}"),
    };
    let entry_point = match text(answer, "entry_point") {
        name if name.is_empty() => text(answer, "entryPoint"),
        name => name,
    };
    say(&format!(
        "{} {}{}{query} by entry point {entry_point}, as {from} sees it",
        text(request, "method"),
        text(request, "host"),
        text(request, "path"),
    ))?;
    say(&format!("→ {}", text(answer, "outcome")))?;

    let chosen = &answer["chosen"];
    if !chosen.is_null() {
        let middlewares: Vec<String> =
            list(chosen, "middlewares").iter().filter_map(|m| m.as_str().map(str::to_owned)).collect();
        say("")?;
        say(&format!("router       {}", text(chosen, "router")))?;
        say(&format!(
            "middlewares  {}",
            if middlewares.is_empty() { "none".into() } else { middlewares.join(", ") }
        ))?;
        say(&format!("service      {}, {} servers usable", text(chosen, "service"), text(chosen, "usable")))?;
        let row = |s: &Value| vec![text(s, "id"), text(s, "url"), text(s, "weight"), text(s, "state")];
        let rows: Vec<_> = list(chosen, "servers").iter().map(row).collect();
        if !rows.is_empty() {
            say("")?;
            table(&["server", "url", "weight", "state"], rows)?;
        }
    }

    let candidates = list(answer, "candidates");
    let all = text(answer, "routers");
    say("")?;
    match (candidates.len(), text(answer, "ruled_out").as_str()) {
        (0, _) => {
            say(&format!("why: {all} routers on this entry point, and all demand another host or path"))?
        }
        (_, "0") => say(&format!("why: {all} routers on this entry point, asked by priority:"))?,
        (_, out) => say(&format!(
            "why: {all} routers on this entry point, {out} of them demand another host or path; asked by priority:"
        ))?,
    }
    for candidate in &candidates {
        let verdict = if candidate["matched"] == true { "matches" } else { "no" };
        say(&format!(
            "  {verdict:<8}{} (priority {})  {}",
            text(candidate, "router"),
            text(candidate, "priority"),
            text(candidate, "rule")
        ))?;
        for failure in list(candidate, "failed") {
            say(&format!("            {}: {}", text(&failure, "part"), text(&failure, "why")))?;
        }
    }
    Ok(())
}
