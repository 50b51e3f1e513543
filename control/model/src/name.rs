//! Checked names: nodes, instances, services, routers.
//!
//! All share one alphabet, so that a name can stand in a URL path, a file name and before `@pancake` without
//! quoting. What this module does not do: say which names exist.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes in a name.
pub const MAX_NAME: usize = 128;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing given.
    #[error("the {what} is empty")]
    Empty {
        /// `service name`, `instance id`, …
        what: &'static str,
    },
    /// More than [`MAX_NAME`] bytes.
    #[error("the {what} has {length} bytes; at most {MAX_NAME} are allowed")]
    TooLong {
        /// `service name`, `instance id`, …
        what: &'static str,
        /// Bytes given.
        length: usize,
    },
    /// Outside the alphabet.
    #[error(
        "the {what} `{text}` contains {character:?}; allowed are letters, digits, `.`, `_`, `-`, `:`, starting with a letter or digit"
    )]
    Character {
        /// `service name`, `instance id`, …
        what: &'static str,
        /// The text given.
        text: String,
        /// The first character that is not allowed.
        character: char,
    },
}

fn validate(what: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > MAX_NAME {
        return Err(NameError::TooLong { what, length: text.len() });
    }
    let allowed =
        |(i, c): &(usize, char)| c.is_ascii_alphanumeric() || (*i > 0 && matches!(c, '.' | '_' | '-' | ':'));
    match text.char_indices().find(|at| !allowed(at)) {
        Some((_, character)) => Err(NameError::Character { what, text: text.into(), character }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` against the alphabet and [`MAX_NAME`].
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                validate($what, &text)?;
                Ok(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A control plane node: one process that owns records. Unique in a cluster.
    NodeId,
    "node id"
);
name!(
    /// One running copy of a service. Unique in a cluster.
    InstanceId,
    "instance id"
);
name!(
    /// A service, without provider: `web`, not `web@pancake`.
    ServiceName,
    "service name"
);
name!(
    /// A router, without provider.
    RouterName,
    "router name"
);

impl InstanceId {
    /// The id of an instance that was given none: the same service, address and port make the same id again.
    pub fn derived(service: &ServiceName, address: &str, port: u16) -> Result<InstanceId, NameError> {
        let address: String =
            address.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' }).collect();
        InstanceId::new(format!("{service}-{address}-{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_stand_before_a_provider() {
        for bad in ["", "web@pancake", "a b", "-x", ".x", "a/b", "é", "a\n"] {
            assert!(ServiceName::new(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(ServiceName::new("x".repeat(MAX_NAME + 1)).is_err());
        for good in ["web", "web-1.2_3", "9", "a:b"] {
            assert!(ServiceName::new(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn derives_the_same_id_again_even_from_ipv6() {
        let service = ServiceName::new("web").unwrap();
        let id = InstanceId::derived(&service, "fe80::1", 80).unwrap();
        assert_eq!(id.as_str(), "web-fe80__1-80");
        assert_eq!(id, InstanceId::derived(&service, "fe80::1", 80).unwrap());
    }

    #[test]
    fn a_bad_name_is_refused_when_read_back() {
        assert!(serde_json::from_str::<ServiceName>("\"a b\"").is_err());
    }
}
