//! Rules that lead to services.
//!
//! What this module does not do: parse rules; `pancake-table` does, in the server.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::{NameError, RouterName, ServiceName};

/// Bytes of one rule.
pub const MAX_RULE: usize = 16 << 10;
/// Entry points, and middlewares, of one router.
pub const MAX_REFERENCES: usize = 64;

/// Which requests go to a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Router {
    /// Unique in this control plane.
    pub name: RouterName,
    /// Traefik v3 rule language.
    pub rule: String,
    /// Where its requests go.
    pub service: ServiceName,
    /// Empty: every default entry point.
    pub entry_points: Vec<String>,
    /// Higher wins; 0: the length of the rule in bytes.
    pub priority: i64,
    /// Applied in order.
    pub middlewares: Vec<String>,
}

/// Why a router cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouterError {
    /// Name of router or service.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No rule.
    #[error("router {0}: the rule is empty")]
    EmptyRule(RouterName),
    /// Too long.
    #[error("router {0}: the rule has {1} bytes; at most {MAX_RULE} are allowed")]
    LongRule(RouterName, usize),
    /// Too many or empty names.
    #[error("router {0}: {1} must be at most {MAX_REFERENCES} names of 1 to 128 bytes")]
    References(RouterName, &'static str),
}

impl Router {
    /// Whether every field is within its limits. The rule itself is not parsed here.
    pub fn validate(&self) -> Result<(), RouterError> {
        if self.rule.trim().is_empty() {
            return Err(RouterError::EmptyRule(self.name.clone()));
        }
        if self.rule.len() > MAX_RULE {
            return Err(RouterError::LongRule(self.name.clone(), self.rule.len()));
        }
        for (field, names) in [("entryPoints", &self.entry_points), ("middlewares", &self.middlewares)] {
            if names.len() > MAX_REFERENCES || names.iter().any(|n| !(1..=128).contains(&n.len())) {
                return Err(RouterError::References(self.name.clone(), field));
            }
        }
        Ok(())
    }

    /// The priority in effect.
    pub fn effective_priority(&self) -> i64 {
        if self.priority == 0 { i64::try_from(self.rule.len()).unwrap_or(i64::MAX) } else { self.priority }
    }
}

/// Who said that a router exists. Where two say the same name, the greater one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouterOrigin {
    /// It came with a registration and goes with the last one.
    Register,
    /// The services file.
    File,
    /// Put by name over the API.
    Api,
}

impl fmt::Display for RouterOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            RouterOrigin::Register => "register",
            RouterOrigin::File => "file",
            RouterOrigin::Api => "api",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_route() {
        let good = Router {
            name: RouterName::new("web").unwrap(),
            rule: "Host(`a`)".into(),
            service: ServiceName::new("web").unwrap(),
            entry_points: vec![],
            priority: 0,
            middlewares: vec![],
        };
        assert_eq!(good.validate(), Ok(()));
        assert_eq!(good.effective_priority(), 9);
        assert!(Router { rule: " ".into(), ..good.clone() }.validate().is_err());
        assert!(Router { rule: "x".repeat(MAX_RULE + 1), ..good.clone() }.validate().is_err());
        assert!(Router { entry_points: vec![String::new()], ..good.clone() }.validate().is_err());
        assert!(Router { middlewares: vec!["x".into(); 65], ..good }.validate().is_err());
    }
}
