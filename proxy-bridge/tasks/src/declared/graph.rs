//! Circles in what waits for what.

use std::collections::{BTreeMap, BTreeSet};

/// Returns the nodes of a circle in their order, if there is one. `edges` lead from a node to those
/// after it.
pub(super) fn circle<'n>(edges: &BTreeMap<&'n str, Vec<&'n str>>) -> Option<Vec<&'n str>> {
    let mut before: BTreeMap<&str, usize> = BTreeMap::new();
    for (from, to) in edges {
        before.entry(from).or_default();
        for to in to {
            *before.entry(to).or_default() += 1;
        }
    }
    let mut free: Vec<&str> =
        before.iter().filter(|(_, count)| **count == 0).map(|(node, _)| *node).collect();
    while let Some(node) = free.pop() {
        before.remove(node);
        for to in edges.get(node).into_iter().flatten() {
            if let Some(count) = before.get_mut(to) {
                *count -= 1;
                if *count == 0 {
                    free.push(to);
                }
            }
        }
    }
    // Each node that is left has one before it that is left too: walk back until one comes again.
    let mut backwards: BTreeMap<&str, &str> = BTreeMap::new();
    for (from, to) in edges.iter().filter(|(from, _)| before.contains_key(*from)) {
        for to in to {
            backwards.insert(to, from);
        }
    }
    let mut node = *before.keys().next()?;
    let (mut walked, mut seen) = (Vec::new(), BTreeSet::new());
    while seen.insert(node) {
        walked.push(node);
        node = backwards.get(node)?;
    }
    let start = walked.iter().position(|walked| *walked == node)?;
    let mut circle = walked.split_off(start);
    circle.reverse();
    Some(circle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_found_behind_and_before_other_nodes() {
        let graph = |edges: &[(&'static str, &'static str)]| {
            let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for (from, to) in edges {
                all.entry(from).or_default().push(to);
            }
            circle(&all)
        };
        assert_eq!(graph(&[("a", "b"), ("b", "c"), ("a", "c")]), None);
        assert_eq!(graph(&[("a", "a")]), Some(vec!["a"]));
        let found = graph(&[("x", "a"), ("a", "b"), ("b", "c"), ("c", "a"), ("c", "z")]).unwrap();
        assert_eq!(found.len(), 3, "{found:?}");
        let next = |node| found[(found.iter().position(|found| *found == node).unwrap() + 1) % 3];
        assert_eq!((next("a"), next("b"), next("c")), ("b", "c", "a"));
    }
}
