//! Whether io_uring works here with all that the `ring` engine needs, and if not, why.

use std::io;

use crate::options::Options;
use crate::ring;

/// The first kernel that has deferred task work, multishot receive and buffer rings together.
const FIRST_KERNEL: (u32, u32) = (6, 1);
const DISABLED_SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";

/// Why `ring` cannot run here; `epoll` can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `ENOSYS`: the kernel was built without io_uring, or a sandbox hides it.
    #[error("io_uring does not exist here: the kernel was built without it, or a sandbox hides it (ENOSYS)")]
    Missing,
    /// The administrator switched io_uring off; the value of the setting.
    #[error("io_uring is switched off: kernel.io_uring_disabled is {0}; 0 allows it")]
    SwitchedOff(u8),
    /// `EPERM` without that setting: a seccomp filter, as container runtimes install.
    #[error("io_uring is forbidden, most likely by the container runtime's seccomp profile (EPERM)")]
    Forbidden,
    /// The kernel's release.
    #[error("the kernel is {0}; the ring engine needs 6.1 or later")]
    KernelTooOld(String),
    /// A ring could not be set up for another cause.
    #[error("io_uring could not be set up: {0}")]
    Other(String),
}

/// Sets up a small ring as the engine would, and tears it down.
///
/// # Errors
/// Says why `ring` would fail.
pub fn probe() -> Result<(), Refusal> {
    ring::try_setup(&Options { small_slots: 8, bulk_slots: 8, ring_entries: 8, ..Options::default() })
        .map_err(|e| {
            let disabled = std::fs::read_to_string(DISABLED_SYSCTL).ok();
            let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
            explain(&e, disabled.as_deref(), release.trim())
        })
}

/// Puts the error of a set-up into words.
fn explain(error: &io::Error, disabled: Option<&str>, release: &str) -> Refusal {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => Refusal::Missing,
        Some(libc::EPERM | libc::EACCES) => match disabled.map(|d| d.trim().parse()) {
            Some(Ok(value)) if value > 0 => Refusal::SwitchedOff(value),
            _ => Refusal::Forbidden,
        },
        Some(libc::EINVAL) if kernel(release).is_some_and(|kernel| kernel < FIRST_KERNEL) => {
            Refusal::KernelTooOld(release.to_owned())
        }
        _ => Refusal::Other(error.to_string()),
    }
}

/// Major and minor number of a kernel release such as `6.1.0-18-amd64`.
fn kernel(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(code: i32, disabled: Option<&str>, release: &str) -> Refusal {
        explain(&io::Error::from_raw_os_error(code), disabled, release)
    }

    #[test]
    fn names_the_cause_of_a_refusal() {
        assert_eq!(why(libc::ENOSYS, None, "6.1.0"), Refusal::Missing);
        assert_eq!(why(libc::EPERM, Some("2\n"), "6.6.0"), Refusal::SwitchedOff(2));
        assert_eq!(why(libc::EPERM, Some("0\n"), "6.6.0"), Refusal::Forbidden);
        assert_eq!(why(libc::EPERM, None, "5.10.0-28-amd64"), Refusal::Forbidden);
        assert_eq!(
            why(libc::EINVAL, None, "5.10.0-28-amd64"),
            Refusal::KernelTooOld("5.10.0-28-amd64".into())
        );
        assert!(matches!(why(libc::EINVAL, None, "6.12.3"), Refusal::Other(_)));
        assert!(matches!(why(libc::ENOMEM, None, "6.12.3"), Refusal::Other(_)));
    }

    #[test]
    fn works_or_says_why() {
        if let Err(refusal) = probe() {
            assert!(!refusal.to_string().is_empty());
        }
    }
}
