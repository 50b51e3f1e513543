//! What is in force when the file changes, breaks or vanishes.
//!
//! Pure. The last good state of each entry stays in force until a good one replaces it, or a good file leaves it out.

use std::collections::BTreeMap;

use pancake_model::name::{NodeId, ServiceName};
use pancake_model::registration::ServiceEntry;

use super::form::{self, Judge, Problem, Syntax};

/// Entries in force, and what is wrong with the file.
#[derive(Debug)]
pub struct Keeper {
    node: NodeId,
    syntax: Syntax,
    judge: Judge,
    good: BTreeMap<ServiceName, ServiceEntry>,
    partial: BTreeMap<ServiceName, ServiceEntry>,
}

/// What follows from one look at the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// In force now.
    pub entries: BTreeMap<ServiceName, ServiceEntry>,
    /// What is wrong; empty: nothing.
    pub problems: Vec<Problem>,
    /// The file says that it may be empty: what it leaves out, it leaves out on purpose.
    pub allow_empty: bool,
}

impl Keeper {
    /// With the entries that were in force before a restart.
    pub fn new(
        node: NodeId,
        syntax: Syntax,
        judge: Judge,
        last_good: BTreeMap<ServiceName, ServiceEntry>,
    ) -> Keeper {
        Keeper { node, syntax, judge, good: last_good, partial: BTreeMap::new() }
    }

    /// Takes the text of the file, or why it could not be read.
    pub fn observe(&mut self, text: Result<&str, String>) -> View {
        let text = match text {
            Ok(text) => text,
            Err(why) => return self.keep(None, format!("cannot be read: {why}")),
        };
        let form = match form::read(text, self.syntax, &self.node, self.judge) {
            Ok(form) => form,
            Err(problem) => return self.keep(problem.line, problem.message),
        };
        let nothing = form.good.is_empty() && form.bad.is_empty();
        if nothing && !form.allow_empty && !self.in_force().is_empty() {
            let message = "names no service; set `allowEmpty: true` if that is meant".to_owned();
            return self.keep(None, message);
        }
        let mut problems = form.problems;
        // An entry that turned bad stays as it was; one that was never good serves with what is usable of it.
        self.good.retain(|name, _| form.bad.contains(name.as_str()));
        for problem in &mut problems {
            if problem.service.as_ref().is_some_and(|s| self.good.contains_key(s.as_str())) {
                problem.message.push_str("; its last good state stays in force");
            }
        }
        self.partial = form.partial;
        self.partial.retain(|name, _| !self.good.contains_key(name));
        self.good.extend(form.good);
        View { entries: self.in_force(), problems, allow_empty: form.allow_empty }
    }

    fn in_force(&self) -> BTreeMap<ServiceName, ServiceEntry> {
        self.good.iter().chain(&self.partial).map(|(n, e)| (n.clone(), e.clone())).collect()
    }

    fn keep(&self, line: Option<u64>, what: String) -> View {
        let entries = self.in_force();
        let stay = match entries.len() {
            0 => "; no services from it".to_owned(),
            n => format!("; the {n} services of its last good state stay in force"),
        };
        let problem = Problem { service: None, line, message: what + &stay };
        View { entries, problems: vec![problem], allow_empty: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(router: &pancake_model::router::Router) -> Vec<String> {
        if router.rule == "bad" { vec!["no such matcher".into()] } else { vec![] }
    }

    fn keeper() -> Keeper {
        Keeper::new(NodeId::new("n1").unwrap(), Syntax::Yaml, judge, BTreeMap::new())
    }

    fn names(view: &View) -> Vec<&str> {
        view.entries.keys().map(ServiceName::as_str).collect()
    }

    const TWO: &str = "services: {a: {instances: ['h:1']}, b: {instances: ['h:2']}}";

    #[test]
    fn a_vanished_or_broken_file_changes_nothing_and_is_reported() {
        let mut keeper = keeper();
        let good = keeper.observe(Ok(TWO));
        assert_eq!((names(&good), good.problems.len()), (vec!["a", "b"], 0));
        for bad in [Err("no such file".to_owned()), Ok("services: ["), Ok(""), Ok("services: {}")] {
            let view = keeper.observe(bad);
            assert_eq!(view.entries, good.entries);
            assert_eq!(view.problems.len(), 1);
        }
        assert_eq!(keeper.observe(Ok(TWO)), good);
    }

    #[test]
    fn an_entry_that_turns_bad_stays_as_it_was() {
        let mut keeper = keeper();
        keeper.observe(Ok(TWO));
        let view = keeper.observe(Ok("services: {a: {instances: ['h:0', 'h:7']}, b: {instances: ['h:3']}}"));
        assert_eq!(view.entries["a"].instances[0].port, 1);
        assert_eq!(view.entries["b"].instances[0].port, 3);
        assert!(view.problems[0].message.contains("stays in force"));
    }

    #[test]
    fn a_rule_that_turns_bad_stays_as_it_was() {
        let mut keeper = keeper();
        keeper.observe(Ok("services: {a: {rule: good}}"));
        let view = keeper.observe(Ok("services: {a: {rule: bad}}"));
        assert_eq!(view.entries["a"].routers[0].rule, "good");
        assert!(view.problems[0].message.contains("no such matcher"), "{:?}", view.problems);
    }

    #[test]
    fn an_entry_that_was_never_good_serves_with_its_good_instances() {
        let mut keeper = keeper();
        let view = keeper.observe(Ok("services: {a: {instances: ['h:0', 'h:7']}}"));
        assert_eq!(view.entries["a"].instances.len(), 1);
        let view = keeper.observe(Ok("services: {a: {instances: ['h:1', 'h:7']}}"));
        assert_eq!((view.entries["a"].instances.len(), view.problems.len()), (2, 0));
    }

    #[test]
    fn a_good_file_takes_entries_away() {
        let mut keeper = keeper();
        keeper.observe(Ok(TWO));
        assert_eq!(names(&keeper.observe(Ok("services: {b: {instances: ['h:2']}}"))), ["b"]);
        assert_eq!(names(&keeper.observe(Ok("allowEmpty: true"))), [] as [&str; 0]);
    }

    #[test]
    fn a_start_without_the_file_serves_what_was_kept() {
        let mut before = keeper();
        let kept = before.observe(Ok(TWO)).entries;
        let mut after = Keeper::new(NodeId::new("n1").unwrap(), Syntax::Yaml, judge, kept.clone());
        assert_eq!(after.observe(Err("gone".into())).entries, kept);
    }
}
