//! Tables, JSON, text that cannot upset a terminal.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// Text from elsewhere without control characters: what a backend answers must not move the cursor.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Prints rows under headings. A cell may have several lines.
pub fn table(headings: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().map(|h| h.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell)));
    }
    for line in table.to_string().lines() {
        let line = line.strip_prefix(' ').unwrap_or(line);
        say(line.trim_end())?;
    }
    Ok(())
}

/// Prints a line or several.
pub fn say(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{}", plain(text))?;
    Ok(())
}

/// Prints a value on many lines.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    say(&serde_json::to_string_pretty(value)?)
}

/// Prints a value on one line, at once.
pub fn json_line(value: &impl Serialize) -> anyhow::Result<()> {
    say(&serde_json::to_string(value)?)?;
    io::stdout().flush()?;
    Ok(())
}

/// Whether nobody reads the output any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// `3s`, `2m`, `5h`, `4d`.
pub fn ago(now_unix_ms: u64, then_unix_ms: u64) -> String {
    match now_unix_ms.saturating_sub(then_unix_ms) / 1000 {
        s @ 0..120 => format!("{s}s"),
        s @ 120..7200 => format!("{}m", s / 60),
        s @ 7200..172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// Now, for [`ago`].
pub fn now_unix_ms() -> u64 {
    let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(unix.as_millis()).unwrap_or(u64::MAX)
}

/// The first line, with a mark if there are more.
pub fn first_line(text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    if lines.next().is_some() { first + " …" } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_backend_says_cannot_move_the_cursor() {
        assert_eq!(plain("\x1b[2Jx\r\n"), "\u{fffd}[2Jx\u{fffd}\n");
    }

    #[test]
    fn times_are_short() {
        assert_eq!([ago(5000, 0), ago(600_000, 0), ago(7_200_000, 0), ago(0, 9)], ["5s", "10m", "2h", "0s"]);
    }
}
