//! What this proxy shares with others through the control plane (`pancake.sharing`): certificates and who orders them, answers to
//! challenges, keys of session tickets. The contract is `pancake.certificates.v1`.
//!
//! Each resolver's storage file stays as it is without sharing: a whole copy of what is shared, from which this proxy serves while
//! the control plane is away. [`plane::Plane`] is the seam [`crate::acme::shared::Shared`] over it. What it does not do: order
//! (`crate::acme`), or decide who orders (the control plane).

/// Calls to the control plane.
mod client;
/// The stream of changes.
mod follow;
/// What a message holds that can be used, and what is wrong with the rest.
mod incoming;
/// Two states of one resolver as one.
mod merge;
/// What is shared, as ACME sees it.
pub mod plane;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use pancake_config::traefik::static_config::Settings;
use pancake_table::certificates::TOKEN_BYTES;
use pancake_tls::Tickets;
use tokio::task::spawn_local;

use client::Client;
use plane::Plane;

/// Begins to share, if the configuration says so. The tasks end with the runtime.
///
/// # Errors
/// If the token cannot be read, or the endpoint is none.
pub fn start(
    settings: &Settings,
    proxy_id: &str,
    tickets: Arc<Tickets>,
) -> Result<Option<Rc<Plane>>, String> {
    let (Some(sharing), Some(control)) = (&settings.pancake.sharing, &settings.providers.pancake) else {
        return Ok(None);
    };
    let client = Client::new(&control.endpoint, &token(&sharing.token_file)?)?;
    let copies = settings.certificates_resolvers.iter();
    let copies = copies.map(|one| (one.name.clone(), PathBuf::from(&one.storage)));
    let plane = Rc::new(Plane::new(client, proxy_id, copies));
    spawn_local(follow::run(plane.clone(), tickets));
    spawn_local(plane.clone().upload());
    Ok(Some(plane))
}

/// What is wrong with the settings, as far as this machine knows.
pub fn problem(settings: &Settings) -> Option<String> {
    token(&settings.pancake.sharing.as_ref()?.token_file).err()
}

/// Reads the token; its rules are those of the control plane.
fn token(path: &Path) -> Result<String, String> {
    use std::os::unix::fs::PermissionsExt as _;

    let at = |what: String| format!("pancake.sharing.tokenFile: {}: {what}", path.display());
    let meta = std::fs::metadata(path).map_err(|error| at(error.to_string()))?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(at(format!("permissions {mode:o} are too open, expected 600")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| at(error.to_string()))?;
    let text = text.trim();
    if !TOKEN_BYTES.contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let (least, most) = (TOKEN_BYTES.start(), TOKEN_BYTES.end());
        return Err(at(format!("expected {least} to {most} printable characters on one line")));
    }
    Ok(text.to_owned())
}
