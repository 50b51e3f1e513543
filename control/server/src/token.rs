//! What a caller must know to be given keys: a text that both ends read from a file of their own.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use pancake_table::certificates::TOKEN_BYTES;

/// The text. It does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Reads it; white space around it does not count.
    ///
    /// # Errors
    /// If the file cannot be read, others may read it, or the text is too short or not printable.
    pub fn read(path: &Path) -> anyhow::Result<Token> {
        let at = || path.display().to_string();
        let mode = std::fs::metadata(path).with_context(at)?.permissions().mode() & 0o777;
        ensure!(mode & 0o077 == 0, "{}: permissions {mode:o} are too open, expected 600", path.display());
        Token::of(&std::fs::read_to_string(path).with_context(at)?).with_context(at)
    }

    /// # Errors
    /// If it is too short, too long or not printable.
    pub fn of(text: &str) -> anyhow::Result<Token> {
        let text = text.trim();
        ensure!(
            TOKEN_BYTES.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()),
            "expected {} to {} printable characters on one line, such as `openssl rand -hex 32` makes",
            TOKEN_BYTES.start(),
            TOKEN_BYTES.end()
        );
        Ok(Token(text.to_owned()))
    }

    /// Whether this is `Bearer` and the token. Takes as long for a wrong one as for the right one.
    pub fn is_in(&self, authorization: &str) -> bool {
        let given = authorization.strip_prefix("Bearer ").unwrap_or_default();
        verify_slices_are_equal(given.as_bytes(), self.0.as_bytes()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_right() {
        let token = Token::of(&format!(" {}\n", "a".repeat(32))).unwrap();
        assert!(token.is_in(&format!("Bearer {}", "a".repeat(32))));
        for wrong in [&format!("Bearer {}", "a".repeat(31)), "Bearer ", "", &"a".repeat(32)] {
            assert!(!token.is_in(wrong), "{wrong}");
        }
        assert!(!format!("{token:?}").contains('a'));
    }

    #[test]
    fn refuses_a_short_token_and_a_file_that_others_can_read() {
        assert!(Token::of("short").unwrap_err().to_string().contains("32 to"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a".repeat(32)).unwrap();
        assert!(Token::read(file.path()).is_ok());
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Token::read(file.path()).unwrap_err().to_string().contains("too open"));
    }
}
