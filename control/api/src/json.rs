//! How the JSON forms of the messages show enums: by their names in lower case.

use serde::Serializer;

use crate::control::{InstanceState, ProxyMode};

/// `alive`, `tombstone`, `unhealthy`, `unknown`, `draining`; a code of a newer program is `state-<code>`.
pub fn state_name(code: i32) -> String {
    InstanceState::try_from(code)
        .map_or_else(|_| format!("state-{code}"), |state| state.as_str_name().to_ascii_lowercase())
}

/// `http`, `tcp`, `ws`; a code of a newer program is `mode-<code>`.
pub fn mode_name(code: i32) -> String {
    ProxyMode::try_from(code)
        .map_or_else(|_| format!("mode-{code}"), |mode| mode.as_str_name().to_ascii_lowercase())
}

pub(crate) fn state<S: Serializer>(code: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&state_name(*code))
}

pub(crate) fn maybe_state<S: Serializer>(code: &Option<i32>, serializer: S) -> Result<S::Ok, S::Error> {
    match code {
        Some(code) => serializer.serialize_str(&state_name(*code)),
        None => serializer.serialize_none(),
    }
}

pub(crate) fn mode<S: Serializer>(code: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&mode_name(*code))
}
