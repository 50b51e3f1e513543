//! Text to entries; every problem at once.
//!
//! Pure. What it does not do: parse rules; the caller brings a `Judge` that does.

use std::collections::{BTreeMap, BTreeSet};

use pancake_model::check::{Check, CheckKind};
use pancake_model::instance::{Instance, Origin, ProxyMode};
use pancake_model::name::{InstanceId, NodeId, RouterName, ServiceName};
use pancake_model::registration::ServiceEntry;
use pancake_model::router::Router;
use serde::Deserialize;
use serde_json::Value;

use crate::sources::duration;

/// Bytes of a services file.
pub const MAX_FILE: usize = 16 << 20;
/// Services in a file.
pub const MAX_SERVICES: usize = 10_000;
/// Instances of one service.
pub const MAX_INSTANCES: usize = 10_000;
/// Problems reported; the rest is counted.
pub const MAX_PROBLEMS: usize = 100;

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// YAML; most JSON is YAML too.
    Yaml,
    /// JSON, for names that end in `.json`.
    Json,
}

/// Something wrong in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The service it is about; none: the file as a whole.
    pub service: Option<String>,
    /// Line, from 1, where known.
    pub line: Option<u64>,
    /// What is wrong and what was expected.
    pub message: String,
}

/// A read file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Entries without a problem.
    pub good: BTreeMap<ServiceName, ServiceEntry>,
    /// What is usable of entries with a problem.
    pub partial: BTreeMap<ServiceName, ServiceEntry>,
    /// Names of all entries with a problem, usable or not.
    pub bad: BTreeSet<String>,
    /// The file says that it may be empty.
    pub allow_empty: bool,
    /// What is wrong with entries.
    pub problems: Vec<Problem>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Top<V> {
    #[serde(default = "BTreeMap::new")]
    services: BTreeMap<String, V>,
    #[serde(default)]
    allow_empty: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct EntryForm {
    rule: Option<String>,
    #[serde(default)]
    entry_points: Vec<String>,
    #[serde(default)]
    priority: i64,
    #[serde(default)]
    middlewares: Vec<String>,
    #[serde(default)]
    mode: ProxyMode,
    check: Option<CheckForm>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    instances: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct InstanceForm {
    id: Option<String>,
    address: String,
    port: u16,
    weight: Option<u32>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CheckForm {
    #[serde(rename = "type")]
    kind: CheckType,
    path: Option<String>,
    port: Option<u16>,
    host: Option<String>,
    status: Option<u16>,
    interval: Option<Value>,
    timeout: Option<Value>,
    rise: Option<u32>,
    fall: Option<u32>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum CheckType {
    Http,
    Tcp,
}

/// Says everything that is wrong with a router and that this crate cannot know.
pub type Judge = fn(&Router) -> Vec<String>;

/// Reads the text. An error is about the file as a whole; nothing of it can be used then.
pub fn read(text: &str, syntax: Syntax, node: &NodeId, judge: Judge) -> Result<Form, Problem> {
    let whole = |line, message| Problem { service: None, line, message };
    if text.len() > MAX_FILE {
        return Err(whole(None, format!("the file has {} bytes; at most {MAX_FILE} are read", text.len())));
    }
    let (entries, allow_empty): (Vec<(String, Option<u64>, Value)>, bool) = match syntax {
        Syntax::Json => {
            let top: Top<Value> = serde_json::from_str(text)
                .map_err(|e| whole(u64::try_from(e.line()).ok().filter(|l| *l > 0), e.to_string()))?;
            (top.services.into_iter().map(|(n, v)| (n, None, v)).collect(), top.allow_empty)
        }
        // An empty document is no mapping; it means what `services: {}` means.
        Syntax::Yaml if text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#')) => {
            (vec![], false)
        }
        Syntax::Yaml => {
            let top: Top<serde_saphyr::Spanned<Value>> = serde_saphyr::from_str(text)
                .map_err(|e| whole(e.location().map(|l| l.line()), first_line(&e.to_string())))?;
            let entry = |(name, value): (String, serde_saphyr::Spanned<Value>)| {
                (name, Some(value.referenced.line()).filter(|l| *l > 0), value.value)
            };
            (top.services.into_iter().map(entry).collect(), top.allow_empty)
        }
    };
    if entries.len() > MAX_SERVICES {
        return Err(whole(None, format!("{} services; at most {MAX_SERVICES} are read", entries.len())));
    }
    let mut form = Form { allow_empty, ..Form::default() };
    let mut ids = BTreeSet::new();
    for (name, line, value) in entries {
        let mut messages = Vec::new();
        let entry = read_entry(&name, value, node, &mut ids, &mut messages);
        let routers = entry.iter().flat_map(|e| &e.routers);
        messages.extend(routers.flat_map(judge).map(|why| format!("rule: {why}")));
        match entry {
            Some(entry) if messages.is_empty() => {
                form.good.insert(entry.service.clone(), entry);
            }
            entry => {
                form.bad.insert(name.clone());
                form.partial.extend(entry.map(|e| (e.service.clone(), e)));
            }
        }
        let problem = |message| Problem { service: Some(name.clone()), line, message };
        form.problems.extend(messages.into_iter().map(problem));
    }
    if form.problems.len() > MAX_PROBLEMS {
        let more = form.problems.len() - MAX_PROBLEMS;
        form.problems.truncate(MAX_PROBLEMS);
        form.problems.push(whole(None, format!("and {more} more problems")));
    }
    Ok(form)
}

fn read_entry(
    name: &str,
    value: Value,
    node: &NodeId,
    ids: &mut BTreeSet<InstanceId>,
    problems: &mut Vec<String>,
) -> Option<ServiceEntry> {
    let service = match ServiceName::new(name) {
        Ok(service) => service,
        Err(e) => {
            problems.push(e.to_string());
            return None;
        }
    };
    let form: EntryForm = match serde_json::from_value(value) {
        Ok(form) => form,
        Err(e) => {
            problems.push(e.to_string());
            return None;
        }
    };
    let router = form.rule.map(|rule| Router {
        name: RouterName::new(name).expect("service and router names share one alphabet"),
        rule,
        service: service.clone(),
        entry_points: form.entry_points,
        priority: form.priority,
        middlewares: form.middlewares,
    });
    if let Some(Err(e)) = router.as_ref().map(Router::validate) {
        problems.push(e.to_string());
        return None;
    }
    let check = match form.check.map(read_check).transpose() {
        Ok(check) => check,
        Err(e) => {
            problems.push(e);
            return None;
        }
    };
    if form.instances.len() > MAX_INSTANCES {
        problems.push(format!("{} instances; at most {MAX_INSTANCES} are read", form.instances.len()));
        return None;
    }
    let mut instances = Vec::with_capacity(form.instances.len());
    for (i, value) in form.instances.into_iter().enumerate() {
        let shared = (&service, node, form.mode, &form.labels, check.as_ref());
        match read_instance(value, shared) {
            Ok(instance) if !ids.insert(instance.id.clone()) => {
                problems.push(format!("instances[{i}]: the id {} is there twice", instance.id));
            }
            Ok(instance) => instances.push(instance),
            Err(e) => problems.push(format!("instances[{i}]: {e}")),
        }
    }
    Some(ServiceEntry { service, routers: router.into_iter().collect(), instances })
}

type Shared<'a> = (&'a ServiceName, &'a NodeId, ProxyMode, &'a BTreeMap<String, String>, Option<&'a Check>);

fn read_instance(value: Value, (service, node, mode, labels, check): Shared<'_>) -> Result<Instance, String> {
    let form = match value {
        Value::String(text) => short_instance(&text)?,
        value => serde_json::from_value(value).map_err(|e| e.to_string())?,
    };
    let id = match form.id {
        Some(id) => InstanceId::new(id),
        None => InstanceId::derived(service, &form.address, form.port),
    };
    let mut labels = labels.clone();
    labels.extend(form.labels);
    let instance = Instance {
        id: id.map_err(|e| e.to_string())?,
        service: service.clone(),
        node: node.clone(),
        address: form.address,
        port: form.port,
        mode,
        weight: form.weight.unwrap_or(1),
        labels,
        check: check.cloned(),
        ttl: None,
        origin: Origin::File,
    };
    instance.validate().map_err(|e| e.to_string())?;
    Ok(instance)
}

/// `host:port`, `[v6]:port`.
fn short_instance(text: &str) -> Result<InstanceForm, String> {
    let bad = || format!("{text:?} is not `address:port`; expected for example 127.0.0.1:9001");
    let (address, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let address = match address.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(bad)?,
        None if address.contains(':') => return Err(bad()),
        None => address,
    };
    let port = port.parse().map_err(|_| bad())?;
    Ok(InstanceForm { id: None, address: address.into(), port, weight: None, labels: BTreeMap::new() })
}

fn read_check(form: CheckForm) -> Result<Check, String> {
    let defaults = Check::default();
    let time = |field: &str, value: Option<Value>| match value {
        None => Ok(None),
        Some(Value::String(text)) => {
            duration::parse(&text).map(Some).map_err(|e| format!("check.{field}: {e}"))
        }
        Some(Value::Number(n)) => {
            duration::parse(&n.to_string()).map(Some).map_err(|e| format!("check.{field}: {e}"))
        }
        Some(other) => Err(format!("check.{field}: {other} is not a length of time")),
    };
    let kind = match form.kind {
        CheckType::Http => CheckKind::Http {
            path: form.path.unwrap_or_else(|| "/".into()),
            port: form.port,
            host: form.host,
            status: form.status,
        },
        CheckType::Tcp if form.path.is_some() || form.host.is_some() || form.status.is_some() => {
            return Err("check: path, host and status are for type http".into());
        }
        CheckType::Tcp => CheckKind::Tcp { port: form.port },
    };
    let interval = time("interval", form.interval)?.unwrap_or(defaults.interval);
    let check = Check {
        kind,
        interval,
        // The default must fit a short interval that was given alone.
        timeout: time("timeout", form.timeout)?.unwrap_or(defaults.timeout.min(interval)),
        rise: form.rise.unwrap_or(defaults.rise),
        fall: form.fall.unwrap_or(defaults.fall),
    };
    check.validate().map_err(|e| e.to_string())?;
    Ok(check)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn yaml(text: &str) -> Form {
        read(text, Syntax::Yaml, &NodeId::new("n1").unwrap(), |_| vec![]).unwrap()
    }

    const GOOD: &str = "
services:
  web:
    rule: Host(`web.localhost`)
    check: {type: http, path: /health, interval: 500ms}
    labels: {team: a}
    instances:
      - 127.0.0.1:9001
      - \"[::1]:9002\"
      - {id: third, address: web.local, port: 9003, weight: 5, labels: {zone: z1}}
  db:
    mode: tcp
    check: {type: tcp}
    instances: [\"10.0.0.1:5432\"]
";

    #[test]
    fn reads_services_with_rules_checks_and_instances() {
        let form = yaml(GOOD);
        assert_eq!(form.problems, []);
        let web = &form.good["web"];
        assert_eq!(web.routers[0].rule, "Host(`web.localhost`)");
        let ids: Vec<_> = web.instances.iter().map(|i| i.id.as_str()).collect();
        assert_eq!(ids, ["web-127.0.0.1-9001", "web-__1-9002", "third"]);
        let check = web.instances[0].check.as_ref().unwrap();
        assert_eq!((check.interval, check.timeout), (Duration::from_millis(500), Duration::from_millis(500)));
        assert_eq!(web.instances[2].labels.len(), 2);
        assert_eq!(form.good["db"].instances[0].mode, ProxyMode::Tcp);
    }

    #[test]
    fn json_means_the_same() {
        let text = r#"{"services":{"web":{"rule":"Host(`a`)","instances":["127.0.0.1:1"]}}}"#;
        let form = read(text, Syntax::Json, &NodeId::new("n1").unwrap(), |_| vec![]).unwrap();
        assert_eq!(form, yaml("services: {web: {rule: 'Host(`a`)', instances: ['127.0.0.1:1']}}"));
    }

    #[test]
    fn a_bad_entry_is_reported_with_its_line_and_hides_no_other() {
        let form = yaml(
            "services:\n  a:\n    instances: ['127.0.0.1:1']\n  b:\n    instance: []\n  c:\n    instances: ['127.0.0.1:0', '127.0.0.1:2', nonsense, 7]\n",
        );
        assert_eq!(form.good.keys().map(ServiceName::as_str).collect::<Vec<_>>(), ["a"]);
        assert_eq!(form.bad.iter().map(String::as_str).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(form.partial["c"].instances.len(), 1);
        let of = |name: &str| form.problems.iter().filter(|p| p.service.as_deref() == Some(name)).count();
        assert_eq!((of("b"), of("c")), (1, 3));
        assert!(form.problems[0].line.is_some_and(|l| (4..=5).contains(&l)), "{:?}", form.problems[0]);
        assert!(form.problems[0].message.contains("instances"), "names what was expected");
    }

    #[test]
    fn refuses_an_id_that_is_there_twice() {
        let form = yaml("services: {a: {instances: ['h:1', 'h:1']}}");
        assert_eq!(form.problems.len(), 1);
        assert!(form.problems[0].message.contains("twice"));
    }

    #[test]
    fn a_file_that_is_no_file_of_services_is_one_problem() {
        let read = |text: &str| read(text, Syntax::Yaml, &NodeId::new("n1").unwrap(), |_| vec![]);
        assert!(read("services: [").is_err());
        assert!(read("servces: {}").is_err());
        assert!(read("just words").is_err());
        let mut deep = "[".repeat(100_000);
        deep.push_str(&"]".repeat(100_000));
        assert!(read(&format!("services: {{a: {deep}}}")).is_err());
        assert!(read("").unwrap().good.is_empty());
        assert!(read("services: {}\nallowEmpty: true").unwrap().allow_empty);
    }
}
