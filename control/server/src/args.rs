//! The command line of `pancake-control`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use pancake_control::settings::{Settings, SharingSettings};
use pancake_control::token::Token;
use pancake_model::name::NodeId;

/// The control plane of Pancake: discovers services and tells proxies where requests go.
#[derive(Debug, Parser)]
#[command(version, about, arg_required_else_help = true)]
pub struct Cli {
    /// What to run.
    #[command(subcommand)]
    pub command: Command,
}

/// What to run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One node on this machine: gRPC API, status page, services file, health checks, embedded store.
    Dev(Dev),
}

/// Settings of `dev`.
#[derive(Debug, Args)]
pub struct Dev {
    /// Where gRPC and the status page listen. Port 0 takes a free one and prints it.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7700", env = "PANCAKE_LISTEN")]
    pub listen: SocketAddr,
    /// YAML or JSON file of services; read again when it changes. It need not exist yet.
    #[arg(long, value_name = "FILE", env = "PANCAKE_SERVICES")]
    pub services: Option<PathBuf>,
    /// Where registrations, routers and the last published snapshot are kept.
    #[arg(long, value_name = "DIR", default_value = "pancake-data", env = "PANCAKE_DATA_DIR")]
    pub data_dir: PathBuf,
    /// Name of this node, unique in the cluster.
    #[arg(long, value_name = "NAME", default_value = "dev", env = "PANCAKE_NODE")]
    pub node: String,
    /// Listen on an address other than loopback. There is no authentication yet: who reaches it can change routes.
    #[arg(long)]
    pub allow_remote: bool,
    /// Lets proxies share certificates, challenges and ticket keys: those that know the text in this file. Private keys are
    /// then kept in the data directory.
    #[arg(long, value_name = "FILE", env = "PANCAKE_SHARING_TOKEN_FILE")]
    pub sharing_token_file: Option<PathBuf>,
    /// Send private keys to proxies on other machines, though the connection is not encrypted.
    #[arg(long, requires = "sharing_token_file")]
    pub sharing_allow_plaintext: bool,
    /// How long a key of session tickets encrypts. It decrypts for twice as long after that.
    #[arg(long, value_name = "SECONDS", default_value_t = 21_600, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub ticket_key_period: u64,
    /// What to log, as `level` or `target=level,…`.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "PANCAKE_LOG")]
    pub log: String,
    /// How to log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Dev {
    /// Checks what the types cannot.
    pub fn settings(&self) -> anyhow::Result<Settings> {
        let ip = self.listen.ip();
        if !ip.is_loopback() && !self.allow_remote {
            bail!(
                "--listen {} is reachable from other machines and there is no authentication yet. \
                 Add --allow-remote if the network is trusted",
                self.listen
            );
        }
        let node = NodeId::new(self.node.as_str()).context("--node")?;
        let mut settings = Settings::new(node, self.listen, self.data_dir.clone());
        settings.services = self.services.clone();
        settings.sharing = match &self.sharing_token_file {
            None => None,
            Some(path) => Some(SharingSettings {
                token: Token::read(path).context("--sharing-token-file")?,
                allow_plaintext: self.sharing_allow_plaintext,
                ticket_key_period: Duration::from_secs(self.ticket_key_period),
            }),
        };
        Ok(settings)
    }
}
