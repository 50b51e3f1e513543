//! One module per kind of command.

/// `certificates`.
mod certificates;
/// `register`, `renew`, `deregister`, `router`, `release`.
mod change;
/// `drain`.
mod drain;
/// `explain`.
mod explain;
/// `services`, `routes`, `nodes`, `status`.
mod list;
/// `watch`.
mod watch;

use crate::args::{Cli, Command};
use crate::connect::connect;

/// Does what was said.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let Cli { endpoint, output, command } = cli;
    if let Command::Explain(asked) = command {
        return explain::explain(&endpoint, output, asked).await;
    }
    let client = connect(&endpoint).await?;
    match command {
        Command::Services(args) => list::services(client, output, args).await,
        Command::Routes => list::routes(client, output).await,
        Command::Nodes => list::nodes(client, output).await,
        Command::Certificates => certificates::certificates(client, output).await,
        Command::Status => list::status(client, output).await,
        Command::Register(args) => change::register(client, output, *args).await,
        Command::Renew(args) => change::renew(client, output, args.id).await,
        Command::Deregister(args) => change::deregister(client, output, args.id).await,
        Command::Router(args) => change::router(client, output, args).await,
        Command::Release => change::release(client, output).await,
        Command::Drain(args) => drain::drain(client, output, args).await,
        Command::Watch(args) => watch::watch(client, output, args).await,
        Command::Explain(_) => unreachable!("answered above"),
    }
}
