//! Envoy's configuration.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Front, Job};

/// One listener and one cluster.
pub(super) fn config(job: &Job) -> String {
    let filter = match job.front {
        Front::Tcp => json!({"name": "tcp", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "tcp", "cluster": "web"}}),
        Front::Http | Front::Https => json!({"name": "http", "typed_config": manager(job)}),
    };
    let mut chain = json!({"filters": [filter]});
    if job.front == Front::Https {
        chain["transport_socket"] = json!({"name": "tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
                "tls_certificates": [{
                    "certificate_chain": {"filename": job.certificate.chain},
                    "private_key": {"filename": job.certificate.key}}]}}});
    }
    let most = job.max_connections();
    let limit = json!([{"max_connections": most, "max_pending_requests": most, "max_requests": most}]);
    json!({"static_resources": {
        "listeners": [{"name": "web", "address": socket(job.listen), "filter_chains": [chain]}],
        "clusters": [{"name": "web", "type": "STATIC", "circuit_breakers": {"thresholds": limit},
            "load_assignment": {"cluster_name": "web", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": socket(job.backend)}}]}]}}]
    }})
    .to_string()
}

fn manager(job: &Job) -> Value {
    let add = |name: &str, value: &str| json!({"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"});
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "web", "use_remote_address": true, "generate_request_id": false,
        "route_config": {"virtual_hosts": [{"name": "web", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "web"}}],
            "request_headers_to_add": [add("X-Forwarded-Host", "%REQ(:AUTHORITY)%"), add("X-Forwarded-Server", "bench"),
                add("X-Forwarded-Port", &job.listen.port().to_string()),
                add("X-Real-Ip", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")]}]},
        "http_filters": [{"name": "router", "typed_config":
            {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]
    })
}

fn socket(addr: SocketAddr) -> Value {
    json!({"socket_address": {"address": addr.ip().to_string(), "port_value": addr.port()}})
}
