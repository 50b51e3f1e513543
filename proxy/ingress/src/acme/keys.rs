//! Keys: of accounts, to sign requests (RFC 7515), and of certificates, to ask for them.
//!
//! Accounts made here have RSA keys of 4096 bits in PKCS#1, because that is all that Traefik reads. An account with a P-256 key
//! in SEC1 is used as it is.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, RsaKeySize};
use serde_json::{Value, json};

use super::error::Error;
use super::settings::KeyType;

/// The key of an account.
pub struct AccountKey {
    der: Vec<u8>,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
}

impl AccountKey {
    /// A new one, as Traefik makes it. Takes up to seconds of CPU: not for the service thread itself.
    ///
    /// # Errors
    /// If the crypto library fails.
    pub fn generate() -> Result<AccountKey, Error> {
        let failed = |_| Error::Key("making an account key failed".into());
        let pair = RsaKeyPair::generate(KeySize::Rsa4096).map_err(failed)?;
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
        let pkcs1 =
            pkcs1_of(pkcs8.as_ref()).ok_or_else(|| Error::Key("an RSA key without PKCS#1 part".into()))?;
        Ok(AccountKey { der: pkcs1.to_vec(), pair: Pair::Rsa(Box::new(pair)) })
    }

    /// From PKCS#1 (RSA) or SEC1 (P-256) DER.
    ///
    /// # Errors
    /// If it is neither.
    pub fn from_der(der: &[u8]) -> Result<AccountKey, Error> {
        let pair = RsaKeyPair::from_der(der).map(|pair| Pair::Rsa(Box::new(pair))).or_else(|_| {
            EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Pair::P256)
        });
        let pair = pair.map_err(|_| {
            Error::Key(
                "the stored account key cannot be read; expected an RSA key in PKCS#1 or a P-256 key in SEC1"
                    .into(),
            )
        })?;
        Ok(AccountKey { der: der.to_vec(), pair })
    }

    /// PKCS#1 or SEC1, for the storage file.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// `alg` of its signatures (RFC 7518).
    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
        }
    }

    /// The public key (RFC 7517), with the members that a thumbprint needs and no other.
    pub fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                json!({
                    "e": encode(public.exponent().big_endian_without_leading_zero()),
                    "kty": "RSA",
                    "n": encode(public.modulus().big_endian_without_leading_zero()),
                })
            }
            Pair::P256(pair) => {
                // An uncompressed point: 4, then both coordinates.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y)})
            }
        }
    }

    /// What proves a token to be ours (RFC 8555 section 8.1): the token and the key's thumbprint (RFC 7638).
    pub fn key_authorization(&self, token: &str) -> String {
        // The members of a JSON object stand in the order of their names, as a thumbprint needs them.
        let thumbprint = digest::digest(&digest::SHA256, self.jwk().to_string().as_bytes());
        format!("{token}.{}", encode(thumbprint.as_ref()))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let failed = |_| Error::Key("signing with the account key failed".into());
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Pair::P256(pair) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
        }
    }

    /// A signed request (RFC 8555 section 6.2). Without `kid` it carries the public key. `payload`: none for POST-as-GET.
    ///
    /// # Errors
    /// If the crypto library fails.
    pub fn signed(
        &self,
        url: &str,
        nonce: &str,
        kid: Option<&str>,
        payload: Option<&Value>,
    ) -> Result<Value, Error> {
        let mut header = json!({"alg": self.algorithm(), "nonce": nonce, "url": url});
        match kid {
            Some(kid) => header["kid"] = kid.into(),
            None => header["jwk"] = self.jwk(),
        }
        let header = encode(header.to_string().as_bytes());
        let payload = payload.map_or(String::new(), |payload| encode(payload.to_string().as_bytes()));
        let signature = self.sign(format!("{header}.{payload}").as_bytes())?;
        Ok(json!({"protected": header, "payload": payload, "signature": encode(&signature)}))
    }

    /// The external account binding of a request for an account (RFC 8555 section 7.3.4).
    ///
    /// # Errors
    /// If the HMAC key is not base64url.
    pub fn bound(&self, url: &str, kid: &str, hmac_encoded: &str) -> Result<Value, Error> {
        let secret = BASE64_URL_SAFE_NO_PAD.decode(hmac_encoded.trim_end_matches('='));
        let secret = secret.map_err(|_| Error::Key("eab.hmacEncoded: expected base64url".into()))?;
        let header = encode(json!({"alg": "HS256", "kid": kid, "url": url}).to_string().as_bytes());
        let payload = encode(self.jwk().to_string().as_bytes());
        let tag =
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), format!("{header}.{payload}").as_bytes());
        Ok(json!({"protected": header, "payload": payload, "signature": encode(tag.as_ref())}))
    }
}

/// base64url without padding, as JOSE has it.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// A certificate's key, and the request for the certificate.
pub struct Request {
    /// PKCS#8 PEM.
    pub key_pem: String,
    /// PKCS#10 DER (RFC 2986).
    pub csr: Vec<u8>,
}

/// A new key and the request for these names; the first is the common name too, as in Traefik, unless it is too long for one.
/// An RSA key takes up to seconds of CPU: not for the service thread itself.
///
/// # Errors
/// If a name is none, or the crypto library fails.
pub fn request(names: &[String], key_type: KeyType) -> Result<Request, Error> {
    let failed = |error: rcgen::Error| Error::Key(format!("{}: making a key: {error}", names.join(", ")));
    let key = match key_type {
        KeyType::Ec256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyType::Ec384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyType::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyType::Rsa4096 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096),
    };
    let key = key.map_err(failed)?;
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    // RFC 5280, ub-common-name.
    if let Some(main) = names.first().filter(|main| main.len() <= 64) {
        params.distinguished_name.push(DnType::CommonName, main.clone());
    }
    let csr = params.serialize_request(&key).map_err(failed)?;
    Ok(Request { key_pem: key.serialize_pem(), csr: csr.der().to_vec() })
}

/// The PKCS#1 key within a PKCS#8 one (RFC 5958): the third element, an octet string.
fn pkcs1_of(pkcs8: &[u8]) -> Option<&[u8]> {
    let (sequence, _) = element(pkcs8, 0x30)?;
    let (_version, rest) = element(sequence, 0x02)?;
    let (_algorithm, rest) = element(rest, 0x30)?;
    Some(element(rest, 0x04)?.0)
}

/// The contents of the DER element at the start, which must have this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], mut rest) = der.split_first_chunk::<2>()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (length, rest) = (
            bytes.iter().try_fold(0usize, |sum, byte| sum.checked_mul(256)?.checked_add((*byte).into()))?,
            after,
        );
    }
    if found != tag {
        return None;
    }
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_key_reads_back_as_it_was_stored() {
        let key = AccountKey::generate().unwrap();
        let again = AccountKey::from_der(key.der()).unwrap();
        assert_eq!(again.jwk(), key.jwk());
        assert_eq!(again.algorithm(), "RS256");
        assert!(AccountKey::from_der(b"no key").is_err());
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638() {
        // The example of RFC 7638 section 3.1: a JSON value of the same members prints in the same order.
        let jwk = json!({"kty": "RSA", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw", "e": "AQAB"});
        assert_eq!(encode(sha256(jwk.to_string().as_bytes())), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn a_request_names_what_was_asked_for() {
        let names = ["a.example".to_owned(), "*.b.example".to_owned()];
        for (_, key_type) in KeyType::ALL {
            if key_type == KeyType::Rsa4096 {
                continue;
            }
            let request = request(&names, key_type).unwrap();
            assert!(request.key_pem.contains("BEGIN PRIVATE KEY"));
            let csr = String::from_utf8_lossy(&request.csr).into_owned();
            assert!(csr.contains("a.example") && csr.contains("*.b.example"));
        }
    }
}
