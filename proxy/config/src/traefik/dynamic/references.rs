//! What an object names must be there.
//!
//! Only names of this provider are judged. An object whose name leads to one that was left out is left out too,
//! with the reason at the place of the name.

use super::{Kind, Objects, PROVIDER};
use crate::decode::Sink;
use crate::problem::{Problem, Scope, Span};
use crate::suggest::nearest;
use crate::tree::{Node, Value, quote};
use pancake_table::snapshot::ServiceKind;

/// Names that are looked for among all that are there, to say which was probably meant.
const MAX_SUGGESTIONS: usize = 20;

/// Marks as unsound what names something that is not there or not sound; transports, services, routers in turn.
pub(super) fn resolve(objects: &mut Objects, sink: &Sink) {
    let mut suggestions = MAX_SUGGESTIONS;
    for (name, service) in &mut objects.services {
        let ServiceKind::LoadBalancer(balancer) = &service.value.kind;
        let Some(transport) = &balancer.servers_transport else { continue };
        if let Some(message) = fault(transport, "servers transport", &objects.transports, &mut suggestions) {
            let span = find(&service.node, &["loadBalancer", "serversTransport"], None);
            push(sink, format!("service {name}"), span, message);
            service.sound = false;
        }
    }
    for (name, router) in &mut objects.routers {
        let mut report = |span: Span, message: Fault| {
            push(sink, format!("router {name}"), span, message);
            router.sound = false;
        };
        for (index, middleware) in router.value.middlewares.iter().enumerate() {
            let span = || find(&router.node, &["middlewares"], Some(index));
            let known = objects.middlewares.get(middleware).and_then(|middleware| middleware.value.kind);
            if let Some(kind) = known {
                let text = format!("not supported yet: the middleware {} is a {kind}", quote(middleware));
                report(span(), Fault { message: text, suggestion: None });
            } else if let Some(message) =
                fault(middleware, "middleware", &objects.middlewares, &mut suggestions)
            {
                report(span(), message);
            }
        }
        if router.value.service.is_empty() {
            continue;
        }
        if let Some(message) = fault(&router.value.service, "service", &objects.services, &mut suggestions) {
            report(find(&router.node, &["service"], None), message);
        }
    }
}

struct Fault {
    message: String,
    suggestion: Option<String>,
}

/// Why `name` cannot be used, if it cannot. `suggestions` counts down.
fn fault<T>(name: &str, kind: &str, known: &Kind<T>, suggestions: &mut usize) -> Option<Fault> {
    let own = name.strip_suffix(PROVIDER)?.strip_suffix('@')?;
    match known.get(name) {
        Some(object) if object.sound => None,
        Some(object) => {
            let message = format!("the {kind} {} is left out, see {}", quote(name), object.span);
            Some(Fault { message, suggestion: None })
        }
        None => {
            let strip = |name: &'_ str| name.len() - PROVIDER.len() - 1;
            let names = known.keys().map(|name| &name[..strip(name)]);
            let suggestion = if *suggestions > 0 { nearest(own, names).map(quote) } else { None };
            *suggestions = suggestions.saturating_sub(1);
            Some(Fault { message: format!("the {kind} {} does not exist", quote(name)), suggestion })
        }
    }
}

fn push(sink: &Sink, object: String, span: Span, fault: Fault) {
    sink.push(Problem::new(span, fault.message).suggest(fault.suggestion).scope(Scope::Object(object)));
}

/// Where the value under `keys` is, or the element at `index` of it; as near as there is one.
fn find(node: &Node, keys: &[&str], index: Option<usize>) -> Span {
    let mut at = node;
    for key in keys {
        let Value::Map(entries) = &at.value else { break };
        let Some(entry) = entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(key)) else { break };
        at = &entry.value;
    }
    match (&at.value, index) {
        (Value::List(items), Some(index)) => items.get(index).unwrap_or(at).span.clone(),
        _ => at.span.clone(),
    }
}
