//! Services made of services: every part must exist, and none may lead back to itself.

use super::{Report, Subject, cut};
use crate::limits::{MAX_NAME_BYTES, MAX_SERVICE_DEPTH, MAX_SERVICE_PARTS, MAX_WEIGHT};
use crate::map::{Map, map_with_room};
use crate::snapshot::tcp::WeightedService;

/// A service as this module sees it.
pub(super) struct Node<'a> {
    /// Whom problems are about.
    pub(super) of: Subject<'a>,
    /// Services that it is made of; none for one with servers.
    pub(super) parts: &'a [WeightedService],
    /// Whether something else is wrong with it, which is reported already.
    pub(super) faulty: bool,
}

/// Services that can be built.
pub(super) struct Buildable<'a> {
    /// By name: whether it can be built.
    pub(super) names: Map<&'a str, bool>,
    /// Places of those that can, parts before what they are parts of.
    pub(super) order: Vec<u32>,
}

/// What is known about a service so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Some of its parts are not decided.
    Open,
    /// It can be built; weighted services inside each other, itself included.
    Good(usize),
    /// It cannot.
    Faulty,
}

/// Checks names and parts of all services of one kind. Takes time by the number of services and parts.
pub(super) fn buildable<'a>(mut nodes: Vec<Node<'a>>, report: &mut Report) -> Buildable<'a> {
    let mut places: Map<&str, u32> = map_with_room(nodes.len());
    for (place, node) in (0..).zip(&mut nodes) {
        let twice = places.contains_key(node.of.name);
        node.faulty |= !node.of.check_name(twice, report);
        if !twice {
            places.insert(node.of.name, place);
        }
    }
    for node in &mut nodes {
        node.faulty |= !check_parts(node, &places, report);
    }
    let (states, order) = decide(&nodes, &places, report);
    for (node, _) in nodes.iter().zip(&states).filter(|(_, state)| **state == State::Open) {
        let message = "leads back to itself, or to a service that does: expected no circle";
        node.of.error("weighted.services", message, report);
    }
    let good = |place: u32| matches!(states[place as usize], State::Good(_));
    let names = places.into_iter().map(|(name, place)| (name, good(place))).collect();
    Buildable { names, order }
}

/// Whether the list of parts is sound, each for itself.
fn check_parts(node: &Node<'_>, places: &Map<&str, u32>, report: &mut Report) -> bool {
    let before = report.errors;
    if node.parts.len() > MAX_SERVICE_PARTS {
        let message = format!("{} services, at most {MAX_SERVICE_PARTS} are allowed", node.parts.len());
        node.of.error("weighted.services", message, report);
        return false;
    }
    for (at, part) in node.parts.iter().enumerate() {
        if !places.contains_key(&*part.name) {
            let message = format!("the service {:?} does not exist", cut(&part.name, MAX_NAME_BYTES));
            node.of.error(format!("weighted.services[{at}].name"), message, report);
        }
        if part.weight > MAX_WEIGHT {
            let message = format!("{} is too much, at most {MAX_WEIGHT} is allowed", part.weight);
            node.of.error(format!("weighted.services[{at}].weight"), message, report);
        }
    }
    report.errors == before
}

/// Decides about services whose parts are decided, until there are no more. Also: those that can be built, parts first.
fn decide(nodes: &[Node<'_>], places: &Map<&str, u32>, report: &mut Report) -> (Vec<State>, Vec<u32>) {
    let mut states = vec![State::Open; nodes.len()];
    let mut part_of: Vec<Vec<u32>> = vec![Vec::new(); nodes.len()];
    let mut undecided = vec![0_usize; nodes.len()];
    let mut ready = Vec::new();
    let mut order = Vec::new();
    for (place, node) in (0..).zip(nodes) {
        // What is faulty in itself need not wait for its parts.
        let parts: &[WeightedService] = if node.faulty { &[] } else { node.parts };
        undecided[place as usize] = parts.len();
        for part in parts.iter().filter_map(|part| places.get(&*part.name)) {
            part_of[*part as usize].push(place);
        }
        if parts.is_empty() {
            ready.push(place);
        }
    }
    while let Some(place) = ready.pop() {
        let state = state_of(&nodes[place as usize], places, &states, report);
        states[place as usize] = state;
        if state != State::Faulty {
            order.push(place);
        }
        for whole in std::mem::take(&mut part_of[place as usize]) {
            let left = &mut undecided[whole as usize];
            *left -= 1;
            if *left == 0 {
                ready.push(whole);
            }
        }
    }
    (states, order)
}

/// The state of a service all of whose parts are decided.
fn state_of(node: &Node<'_>, places: &Map<&str, u32>, states: &[State], report: &mut Report) -> State {
    if node.faulty {
        return State::Faulty;
    }
    let mut depth = 0;
    for (at, part) in node.parts.iter().enumerate() {
        match places.get(&*part.name).map(|place| states[*place as usize]) {
            Some(State::Good(inside)) => depth = depth.max(inside + 1),
            _ => {
                let name = cut(&part.name, MAX_NAME_BYTES);
                let message = format!("the service {name:?} has errors of its own");
                node.of.error(format!("weighted.services[{at}].name"), message, report);
                return State::Faulty;
            }
        }
    }
    if depth > MAX_SERVICE_DEPTH {
        let message =
            format!("{depth} weighted services inside each other, at most {MAX_SERVICE_DEPTH} may be");
        node.of.error("weighted.services", message, report);
        return State::Faulty;
    }
    State::Good(depth)
}
