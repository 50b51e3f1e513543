//! The rule language of routers.
/// A parsed rule.
#[derive(Debug)]
pub struct Rule {
    text: Box<str>,
}
impl Rule {
    /// The text that it was parsed from.
    pub fn text(&self) -> &str {
        &self.text
    }
}
