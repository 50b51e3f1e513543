//! Where dynamic configuration comes from: `providers.*`.

use std::path::PathBuf;
use std::time::Duration;

use crate::decode::Fields;
use crate::problem::Problem;

/// Where dynamic configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Providers {
    /// `providersThrottleDuration`: changes within this time are applied as one. Default 2 s.
    pub throttle: Duration,
    /// `file`; none means off.
    pub file: Option<FileProvider>,
    /// `pancake`; none means off.
    pub pancake: Option<PancakeProvider>,
}

/// Dynamic configuration in files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProvider {
    /// One file, or all `.yml`, `.yaml` and `.toml` files below a directory.
    pub source: FileSource,
    /// Whether changes are picked up. Default true.
    pub watch: bool,
}

/// Which files are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSource {
    /// This one.
    Filename(PathBuf),
    /// All below this directory.
    Directory(PathBuf),
}

/// Dynamic configuration streamed by a control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PancakeProvider {
    /// `http://host:port` of the control plane's API.
    pub endpoint: String,
}

/// Traefik's providers that are not built.
const NOT_SUPPORTED: [&str; 16] = [
    "docker",
    "swarm",
    "kubernetesIngress",
    "kubernetesIngressNGINX",
    "kubernetesCRD",
    "kubernetesGateway",
    "knative",
    "rest",
    "consulCatalog",
    "nomad",
    "ecs",
    "consul",
    "etcd",
    "zooKeeper",
    "redis",
    "http",
];

pub(super) fn read(root: &Fields<'_, '_>) -> Providers {
    let default = Providers { throttle: Duration::from_secs(2), file: None, pancake: None };
    let providers = root.section("providers", |section| {
        section.not_supported(&NOT_SUPPORTED);
        section.not_supported(&["plugin"]);
        section.ignored(&["precedence"], "routers of all providers are ordered by priority alone");
        Providers {
            throttle: section.duration("providersThrottleDuration").unwrap_or(default.throttle),
            file: section.section("file", file).flatten(),
            pancake: section.section("pancake", pancake).flatten(),
        }
    });
    providers.unwrap_or(default)
}

fn file(section: &Fields<'_, '_>) -> Option<FileProvider> {
    let watch = section.boolean("watch").unwrap_or(true);
    section.ignored(&["debugLogGeneratedTemplate"], "templates are not supported yet");
    let path = |key| section.scalar(key).filter(|(text, _)| !text.is_empty());
    let source = match (path("directory"), path("filename")) {
        (Some((directory, _)), None) => FileSource::Directory(directory.into()),
        (None, Some((filename, _))) => FileSource::Filename(filename.into()),
        (Some(_), Some((_, node))) => {
            let problem = Problem::new(node.span.clone(), "providers.file has both filename and directory");
            section.sink().push(problem.expected("one of them"));
            return None;
        }
        (None, None) => {
            section.missing("filename", "filename or directory");
            return None;
        }
    };
    Some(FileProvider { source, watch })
}

fn pancake(section: &Fields<'_, '_>) -> Option<PancakeProvider> {
    const EXPECTED: &str = "the address of a control plane, such as http://127.0.0.1:7700";
    if section.get("endpoint").is_none() {
        section.missing("endpoint", EXPECTED);
        return None;
    }
    let endpoint = section.parsed("endpoint", EXPECTED, |text| {
        let authority = text.strip_prefix("http://")?.trim_end_matches('/');
        let printable = authority.bytes().all(|byte| byte.is_ascii_graphic());
        let plain = printable && !authority.is_empty() && !authority.contains(['/', '?', '#', '@']);
        plain.then(|| format!("http://{authority}"))
    })?;
    Some(PancakeProvider { endpoint })
}
