//! DNS update (RFC 2136), signed with a shared key (TSIG, RFC 8945).

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hickory_proto::op::{Message, ResponseCode, update_message};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::TsigAlgorithm;
use hickory_proto::rr::{Name, RData, Record, RecordSet, TSigner};

use super::super::error::Error;
use super::super::settings::{Rfc2136, Tsig};
use super::{Proof, name, query};

/// Seconds by which the clocks of both sides may differ; what RFC 8945 section 10 recommends.
const FUDGE: u16 = 300;

/// What happens to the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is added to those that are there.
    Add,
    /// It is taken away, the others stay.
    Remove,
}

/// Sends the update to the server, which also says in which of its zones the name is.
pub async fn send(settings: &Rfc2136, proof: &Proof, what: What) -> Result<(), Error> {
    let fqdn = name(&proof.fqdn)?;
    let server = *query::addresses(&settings.nameserver)
        .await?
        .first()
        .ok_or_else(|| Error::Dns(format!("{}: no address", settings.nameserver)))?;
    let zone = query::zone_of(&[server], &fqdn).await?;
    let mut message = message(&fqdn, &zone, settings, &proof.value, what);
    let failed = |what: String| Error::Dns(format!("{server}: update of {fqdn}: {what}"));
    let verifier = match &settings.tsig {
        Some(tsig) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            message.finalize(&signer(tsig)?, now).map_err(|error| failed(error.to_string()))?
        }
        None => None,
    };
    let bytes = message.to_vec().map_err(|error| failed(error.to_string()))?;
    let answer = query::exchange(server, &bytes).await?;
    let parsed = query::parse(server, message.id, &answer)?;
    // A refusal is often not signed: what it says is told, and trusted no further.
    if parsed.response_code != ResponseCode::NoError {
        return Err(failed(format!("the server refused: {}", parsed.response_code)));
    }
    if let Some(mut verifier) = verifier {
        verifier
            .verify(&answer)
            .map_err(|error| failed(format!("the answer is not signed by the key: {error}")))?;
    }
    Ok(())
}

fn message(fqdn: &Name, zone: &Name, settings: &Rfc2136, value: &str, what: What) -> Message {
    let ttl = u32::try_from(settings.ttl.as_secs()).unwrap_or(u32::MAX);
    let record = Record::from_rdata(fqdn.clone(), ttl, RData::TXT(TXT::new(vec![value.to_owned()])));
    let records = RecordSet::from(record);
    match what {
        What::Add => update_message::append(records, zone.clone(), false, false),
        What::Remove => update_message::delete_by_rdata(records, zone.clone(), false),
    }
}

fn signer(tsig: &Tsig) -> Result<TSigner, Error> {
    let wrong = |what: String| Error::Dns(format!("TSIG key {}: {what}", tsig.name));
    let secret =
        BASE64_STANDARD.decode(&tsig.secret).map_err(|_| wrong("expected a secret in base64".into()))?;
    let algorithm = match tsig.algorithm.trim_end_matches('.').to_ascii_lowercase().as_str() {
        "hmac-sha256" => TsigAlgorithm::HmacSha256,
        "hmac-sha384" => TsigAlgorithm::HmacSha384,
        "hmac-sha512" => TsigAlgorithm::HmacSha512,
        other => {
            return Err(wrong(format!(
                "algorithm {other}: expected hmac-sha256, hmac-sha384 or hmac-sha512"
            )));
        }
    };
    TSigner::new(secret, algorithm, name(&tsig.name)?, FUDGE).map_err(|error| wrong(error.to_string()))
}
