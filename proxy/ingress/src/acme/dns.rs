//! dns-01 (RFC 8555 section 8.4): sets the record, waits until it is seen, takes it away.
//!
//! `_acme-challenge.NAME` may be an alias (CNAME) into a zone that takes updates: it is followed. Several values can stand at
//! one name (`example.com` and `*.example.com`), so values are added and taken away one by one.

/// Questions to DNS servers.
mod query;
/// Sets the record by DNS update.
mod update;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use hickory_proto::rr::{Name, RecordType};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::error::Error;
use super::settings::{DnsChallenge, DnsProvider};
use crate::limits::{
    DNS_HOOK_TIMEOUT, DNS_PROPAGATION_PERIOD, DNS_PROPAGATION_TIMEOUT, MAX_DNS_HOOK_COMPLAINT,
    MAX_ZONE_SERVERS,
};

/// Longest chain of aliases that is followed.
const MAX_ALIASES: usize = 8;

/// A record that proves a name.
#[derive(Clone, Debug)]
pub struct Proof {
    /// Where it stands: absolute, with the dot at its end.
    pub fqdn: String,
    /// The value of the TXT record.
    pub value: String,
}

/// The record for a name without `*.`, aliases followed.
///
/// # Errors
/// If the name is none.
pub async fn proof(challenge: &DnsChallenge, domain: &str, value: String) -> Result<Proof, Error> {
    let mut fqdn = name(&format!("_acme-challenge.{domain}."))?;
    // Without a server to ask, the name stands as it is.
    let servers = resolvers(challenge).await.unwrap_or_default();
    for _ in 0..MAX_ALIASES {
        let Ok(answer) = query::ask_any(&servers, &fqdn, RecordType::CNAME).await else { break };
        let Some(target) = query::alias_of(&answer, &fqdn) else { break };
        fqdn = target;
    }
    Ok(Proof { fqdn: fqdn.to_ascii(), value })
}

/// Sets the record.
///
/// # Errors
/// If the server or the hook refuses.
pub async fn present(challenge: &DnsChallenge, proof: &Proof) -> Result<(), Error> {
    match &challenge.provider {
        DnsProvider::Rfc2136(settings) => update::send(settings, proof, update::What::Add).await,
        DnsProvider::Exec { program } => hook(program, "present", proof).await,
    }
}

/// Takes the record away.
///
/// # Errors
/// If the server or the hook refuses.
pub async fn clean_up(challenge: &DnsChallenge, proof: &Proof) -> Result<(), Error> {
    match &challenge.provider {
        DnsProvider::Rfc2136(settings) => update::send(settings, proof, update::What::Remove).await,
        DnsProvider::Exec { program } => hook(program, "cleanup", proof).await,
    }
}

/// Waits until every server that counts answers with the record: those of `resolvers`, or else the zone's own.
///
/// # Errors
/// If they do not in [`DNS_PROPAGATION_TIMEOUT`].
pub async fn seen(challenge: &DnsChallenge, proof: &Proof) -> Result<(), Error> {
    sleep(challenge.delay_before_check).await;
    if challenge.disable_propagation_check {
        return Ok(());
    }
    let fqdn = name(&proof.fqdn)?;
    let servers = if challenge.resolvers.is_empty() {
        zone_servers(&resolvers(challenge).await?, &fqdn).await?
    } else {
        resolvers(challenge).await?
    };
    let end = Instant::now() + DNS_PROPAGATION_TIMEOUT;
    loop {
        let Some(missing) = first_without(&servers, &fqdn, &proof.value).await else { return Ok(()) };
        if Instant::now() + DNS_PROPAGATION_PERIOD > end {
            return Err(Error::Dns(format!(
                "{}: not seen in {} s: {missing}",
                proof.fqdn,
                DNS_PROPAGATION_TIMEOUT.as_secs()
            )));
        }
        sleep(DNS_PROPAGATION_PERIOD).await;
    }
}

/// The first server that does not answer with the record, and what it says.
async fn first_without(servers: &[SocketAddr], fqdn: &Name, value: &str) -> Option<String> {
    for server in servers {
        match query::ask(*server, fqdn, RecordType::TXT).await {
            Ok(answer) if query::has_text(&answer, value) => {}
            Ok(answer) => return Some(format!("{server} has no such record ({})", answer.response_code)),
            Err(error) => return Some(error.to_string()),
        }
    }
    None
}

/// The servers of the zone that a name is in.
async fn zone_servers(resolvers: &[SocketAddr], fqdn: &Name) -> Result<Vec<SocketAddr>, Error> {
    let zone = query::zone_of(resolvers, fqdn).await?;
    let answer = query::ask_any(resolvers, &zone, RecordType::NS).await?;
    let mut addresses = Vec::new();
    for host in query::servers_in(&answer).into_iter().take(MAX_ZONE_SERVERS) {
        // One that has no address is no server: the others are asked.
        if let Ok(found) = query::addresses(&host).await {
            addresses.extend(found.first());
        }
    }
    if addresses.is_empty() {
        return Err(Error::Dns(format!("{zone}: no server of the zone was found")));
    }
    Ok(addresses)
}

/// Those of the configuration, or those of `/etc/resolv.conf`.
async fn resolvers(challenge: &DnsChallenge) -> Result<Vec<SocketAddr>, Error> {
    let mut names = challenge.resolvers.clone();
    if names.is_empty() {
        let text = std::fs::read_to_string("/etc/resolv.conf").map_err(|error| {
            Error::Dns(format!("/etc/resolv.conf: {error}; expected dnsChallenge.resolvers"))
        })?;
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
        names.extend(lines.map(|rest| rest.trim().to_owned()));
    }
    let mut addresses = Vec::new();
    for name in &names {
        addresses.extend(query::addresses(name).await?.first());
    }
    if addresses.is_empty() {
        return Err(Error::Dns("no DNS server is known; expected dnsChallenge.resolvers".into()));
    }
    Ok(addresses)
}

/// Runs `PROGRAM present|cleanup FQDN VALUE`.
async fn hook(program: &Path, action: &str, proof: &Proof) -> Result<(), Error> {
    let failed = |what: String| Error::Dns(format!("{} {action} {}: {what}", program.display(), proof.fqdn));
    let mut command = Command::new(program);
    command.args([action, &proof.fqdn, &proof.value]).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(DNS_HOOK_TIMEOUT, command.output())
        .await
        .map_err(|_| failed(format!("ran longer than {} s", DNS_HOOK_TIMEOUT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint: String = complaint.trim().chars().take(MAX_DNS_HOOK_COMPLAINT).collect();
    Err(failed(format!("{}: {complaint}", output.status)))
}

fn name(text: &str) -> Result<Name, Error> {
    Name::from_ascii(text).map_err(|error| Error::Dns(format!("{text}: not a domain name: {error}")))
}
