//! API, ping, metrics and logs.

use std::path::PathBuf;

use super::INTERNAL_ENTRY_POINT;
use crate::decode::Fields;

/// Most buckets of the latency histograms.
const MAX_BUCKETS: usize = 64;

/// `api`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Serves the API on the entry point `traefik`, to everybody who reaches it.
    pub insecure: bool,
    /// Default true.
    pub dashboard: bool,
    /// Starts with `/`; no `/` at the end, so empty by default.
    pub base_path: String,
}

/// `ping`: `/ping` answers 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Default `traefik`.
    pub entry_point: String,
    /// Status while the process stops. Default 503.
    pub terminating_status_code: u16,
}

/// `metrics.prometheus`: `/metrics`.
#[derive(Clone, Debug, PartialEq)]
pub struct Prometheus {
    /// Upper bounds of the latency histograms in seconds, ascending. Default 0.1, 0.3, 1.2, 5.
    pub buckets: Vec<f64>,
    /// Metrics per entry point. Default true.
    pub add_entry_points_labels: bool,
    /// Metrics per router. Default false.
    pub add_routers_labels: bool,
    /// Metrics per service. Default true.
    pub add_services_labels: bool,
    /// Default `traefik`.
    pub entry_point: String,
}

/// `accessLog`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// None means standard output.
    pub file_path: Option<PathBuf>,
    /// Default common.
    pub format: AccessLogFormat,
}

/// How a line of the access log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AccessLogFormat {
    /// Common log format with Traefik's additions.
    #[default]
    Common,
    /// One JSON object.
    Json,
}

/// `log`: what the process tells about itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Log {
    /// Default error.
    pub level: LogLevel,
    /// Default common.
    pub format: LogFormat,
    /// No colours with `common`.
    pub no_color: bool,
}

/// The least level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// For debugging.
    Debug,
    /// What happens.
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    #[default]
    Error,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text.
    #[default]
    Common,
    /// One JSON object.
    Json,
}

pub(super) fn api(section: &Fields<'_, '_>) -> Api {
    section.not_supported(&["debug"]);
    section.ignored(&["disableDashboardAd", "dashboardName"], "there is no dashboard yet");
    let valid = |path: &str| {
        let of_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.:~-".contains(&byte);
        path.starts_with('/') && path.bytes().all(of_path)
    };
    let base_path = section.parsed("basePath", "a path such as /traefik", |text| {
        valid(text).then(|| text.trim_end_matches('/').to_string())
    });
    Api {
        insecure: section.boolean("insecure").unwrap_or_default(),
        dashboard: section.boolean("dashboard").unwrap_or(true),
        base_path: base_path.unwrap_or_default(),
    }
}

pub(super) fn ping(section: &Fields<'_, '_>) -> Ping {
    section.not_supported(&["manualRouting"]);
    let is_status = |status: &u16| (100..600).contains(status);
    let status = section.number("terminatingStatusCode", "a status from 100 to 599", is_status);
    Ping { entry_point: entry_point(section), terminating_status_code: status.unwrap_or(503) }
}

pub(super) fn metrics(section: &Fields<'_, '_>) -> Option<Prometheus> {
    section.not_supported(&["addInternals", "datadog", "statsD", "influxDB2", "otlp"]);
    section.section("prometheus", prometheus)
}

fn prometheus(section: &Fields<'_, '_>) -> Prometheus {
    section.not_supported(&["manualRouting", "headerLabels"]);
    let expected = "a number of seconds over 0";
    let mut buckets: Vec<f64> = section.parsed_list("buckets", expected);
    if let Some(node) = section.get("buckets") {
        let problem = |message: &str| crate::problem::Problem::new(node.span.clone(), message);
        if buckets.iter().any(|bound| !bound.is_finite() || *bound <= 0.0) {
            section.sink().push(problem("a bucket is not over 0").expected(expected));
        }
        if buckets.len() > MAX_BUCKETS {
            section.sink().push(problem("too many buckets").expected(format!("at most {MAX_BUCKETS}")));
        }
    }
    buckets.sort_by(f64::total_cmp);
    buckets.dedup();
    if buckets.is_empty() {
        buckets = vec![0.1, 0.3, 1.2, 5.0];
    }
    Prometheus {
        buckets,
        add_entry_points_labels: section.boolean("addEntryPointsLabels").unwrap_or(true),
        add_routers_labels: section.boolean("addRoutersLabels").unwrap_or(false),
        add_services_labels: section.boolean("addServicesLabels").unwrap_or(true),
        entry_point: entry_point(section),
    }
}

fn entry_point(section: &Fields<'_, '_>) -> String {
    section.string("entryPoint").unwrap_or(INTERNAL_ENTRY_POINT).to_string()
}

pub(super) fn access_log(section: &Fields<'_, '_>) -> AccessLog {
    section.not_supported(&["filters", "fields", "addInternals", "otlp"]);
    section.ignored(&["bufferingSize"], "lines are always written from a buffer, by a thread of its own");
    section.ignored(&["dualOutput"], "it belongs to accessLog.otlp, which is not supported yet");
    if let Some((text, node)) = section.scalar("format").filter(|(text, _)| *text == "genericCLF") {
        let what = format!("accessLog.format {text}");
        section.sink().push(crate::problem::Problem::not_supported(node.span.clone(), what));
        return AccessLog { file_path: None, format: AccessLogFormat::Common };
    }
    let formats = [("common", AccessLogFormat::Common), ("json", AccessLogFormat::Json)];
    AccessLog {
        file_path: section.string("filePath").filter(|path| !path.is_empty()).map(PathBuf::from),
        format: section.word("format", &formats).unwrap_or_default(),
    }
}

pub(super) fn log(section: &Fields<'_, '_>) -> Log {
    section.not_supported(&["otlp"]);
    let files = ["filePath", "maxSize", "maxAge", "maxBackups", "compress"];
    section.ignored(&files, "the log goes to standard error");
    let levels = [
        ("trace", LogLevel::Trace),
        ("debug", LogLevel::Debug),
        ("info", LogLevel::Info),
        ("warn", LogLevel::Warn),
        ("error", LogLevel::Error),
        ("fatal", LogLevel::Error),
        ("panic", LogLevel::Error),
    ];
    let formats = [("common", LogFormat::Common), ("json", LogFormat::Json)];
    Log {
        level: section.word("level", &levels).unwrap_or_default(),
        format: section.word("format", &formats).unwrap_or_default(),
        no_color: section.boolean("noColor").unwrap_or_default(),
    }
}
