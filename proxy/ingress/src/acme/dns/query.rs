//! One question, one answer: over UDP, and over TCP when the answer is too large for it (RFC 7766).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use super::super::error::Error;
use crate::limits::{DNS_TIMEOUT, MAX_DNS_TRIES};

const DNS_PORT: u16 = 53;
/// Bytes of one UDP answer: no more is asked for (RFC 1035 section 4.2.1).
const MAX_UDP_ANSWER: usize = 4096;

/// Addresses of a server written as `host`, `host:port`, or an address with or without a port.
pub async fn addresses(server: &str) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(address) = server.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, DNS_PORT)]);
    }
    let has_port = server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let target = if has_port { server.to_owned() } else { format!("{server}:{DNS_PORT}") };
    let found = timeout(DNS_TIMEOUT, lookup_host(target)).await;
    let found =
        found.map_err(|_| Error::Dns(format!("{server}: no address in {} s", DNS_TIMEOUT.as_secs())))?;
    Ok(found.map_err(|error| Error::Dns(format!("{server}: {error}")))?.collect())
}

/// Asks one server.
pub async fn ask(server: SocketAddr, name: &Name, kind: RecordType) -> Result<Message, Error> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    let mut query = Query::new();
    query.set_name(name.clone()).set_query_type(kind);
    message.add_query(query);
    let bytes = message.to_vec().map_err(|error| Error::Dns(format!("{name}: {error}")))?;
    let answer = exchange(server, &bytes).await?;
    parse(server, message.id, &answer)
}

/// Asks servers until one answers.
pub async fn ask_any(servers: &[SocketAddr], name: &Name, kind: RecordType) -> Result<Message, Error> {
    let mut last = Error::Dns("no DNS server to ask".into());
    for server in servers {
        match ask(*server, name, kind).await {
            Ok(answer) if matches!(answer.response_code, ResponseCode::NoError | ResponseCode::NXDomain) => {
                return Ok(answer);
            }
            Ok(answer) => last = Error::Dns(format!("{server}: {name}: {}", answer.response_code)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The closest zone around a name: the first ancestor with an SOA record of its own.
pub async fn zone_of(servers: &[SocketAddr], name: &Name) -> Result<Name, Error> {
    let mut zone = name.clone();
    while !zone.is_root() {
        let answer = ask_any(servers, &zone, RecordType::SOA).await?;
        if answer.answers.iter().any(|record| record.name == zone && matches!(record.data, RData::SOA(_))) {
            return Ok(zone);
        }
        zone = zone.base_name();
    }
    Err(Error::Dns(format!("{name}: no zone was found around it")))
}

/// Where a name is an alias to.
pub fn alias_of(answer: &Message, name: &Name) -> Option<Name> {
    answer.answers.iter().filter(|record| record.name == *name).find_map(|record| match &record.data {
        RData::CNAME(target) => Some(target.0.clone()),
        _ => None,
    })
}

/// Whether a TXT record with this value is in the answer.
pub fn has_text(answer: &Message, value: &str) -> bool {
    answer.answers.iter().any(|record| match &record.data {
        RData::TXT(text) => text.txt_data.concat() == value.as_bytes(),
        _ => false,
    })
}

/// Host names of the servers in an answer.
pub fn servers_in(answer: &Message) -> Vec<String> {
    let hosts = answer.answers.iter().filter_map(|record| match &record.data {
        RData::NS(host) => Some(host.0.to_ascii()),
        _ => None,
    });
    hosts.map(|host| host.trim_end_matches('.').to_owned()).collect()
}

/// The answer to a message with this identifier.
pub fn parse(server: SocketAddr, id: u16, bytes: &[u8]) -> Result<Message, Error> {
    let answer = Message::from_vec(bytes)
        .map_err(|error| Error::Dns(format!("{server}: not a DNS answer: {error}")))?;
    if answer.id != id {
        return Err(Error::Dns(format!("{server}: an answer to another question")));
    }
    Ok(answer)
}

/// Sends a message and gives the answer's bytes.
pub async fn exchange(server: SocketAddr, message: &[u8]) -> Result<Vec<u8>, Error> {
    let mut last = String::new();
    for _ in 0..MAX_DNS_TRIES {
        match timeout(DNS_TIMEOUT, over_udp(server, message)).await {
            // Third byte, second bit: cut short (RFC 1035 section 4.1.1).
            Ok(Ok(answer)) if answer.get(2).is_some_and(|flags| flags & 2 != 0) => {
                match timeout(DNS_TIMEOUT, over_tcp(server, message)).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(error)) => last = error.to_string(),
                    Err(_) => last = no_answer(),
                }
            }
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = no_answer(),
        }
    }
    Err(Error::Dns(format!("{server}: {last}")))
}

fn no_answer() -> String {
    format!("no answer in {} s", DNS_TIMEOUT.as_secs())
}

async fn over_udp(server: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected: answers of others are not received.
    socket.connect(server).await?;
    socket.send(message).await?;
    let mut answer = vec![0; MAX_UDP_ANSWER];
    loop {
        let length = socket.recv(&mut answer).await?;
        // A late answer to an earlier try has the same identifier and is as good; anything else is skipped.
        if length > 2 && answer[..2] == message[..2] {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn servers_are_written_with_and_without_a_port() {
        for (text, address) in [
            ("127.0.0.1", "127.0.0.1:53"),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("::1", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ] {
            assert_eq!(addresses(text).await.unwrap(), [address.parse().unwrap()], "{text}");
        }
    }
}
