//! The part of a source that it follows, and when: ref, previews, windows.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::{Field, Reader, Table};
use super::{Previews, SourceName, WindowSettings};
use crate::git::RefTarget;
use crate::sources::pattern::Pattern;
use crate::sources::preview_names::with_branch;
use crate::sources::windows::{InvalidWindow, Window};
use switchyard_program::units::Span;

const TARGETS: [&str; 4] = ["branch", "tag", "commit", "ref"];

const DAY: u64 = 24 * 60 * 60;

/// The default age of a preview.
const KEEP: Span = Span(Duration::from_secs(7 * DAY));

/// The fixes of keys that are missing.
const BRANCHES: &str = "name the branches, as in branches = [\"feature/*\"]";
const DENY: &str = "give the time, as in deny = \"Fri 16:00 - Mon 06:00\"";

/// The bounds of the number of previews, and its default: each is a set of projects.
const MOST: RangeInclusive<usize> = 1..=500;
const DEFAULT_MOST: usize = 20;

impl Reader<'_> {
    /// Reads the ref, and whether a tag may move. The default is the server's `HEAD`.
    pub(super) fn target(&mut self, table: &Table<'_>) -> (Option<RefTarget>, bool) {
        let given: Vec<_> = TARGETS.iter().filter_map(|key| table.get(key)).collect();
        let target = match given.as_slice() {
            [] => Some(RefTarget::Ref("HEAD".to_owned())),
            [field] => self.one_target(field),
            [first, second, ..] => {
                let what = format!("excludes {}: give one of {}", first.key, TARGETS.join(", "));
                self.wrong(second, what);
                None
            }
        };
        let moving = table.get("moving_tags");
        if let (Some(field), Some(RefTarget::Branch(_) | RefTarget::Commit(_) | RefTarget::Ref(_))) =
            (&moving, &target)
        {
            self.wrong(field, "is for a source with tag: take it out");
        }
        (target, self.flag(moving))
    }

    fn one_target(&mut self, field: &Field<'_>) -> Option<RefTarget> {
        match field.key.as_str() {
            "branch" => self.parsed(field, RefTarget::branch),
            "tag" => self.parsed(field, RefTarget::tag),
            "ref" => self.parsed(field, RefTarget::full_ref),
            _ => self.parsed(field, str::parse).map(RefTarget::Commit),
        }
    }

    pub(super) fn previews(&mut self, table: &Table<'_>, source: Option<&SourceName>) -> Option<Previews> {
        let field = table.get("previews")?;
        if source.is_some_and(|source| with_branch(source.as_str(), "x").is_none()) {
            self.wrong(&field, "needs a source whose name has at most 53 characters: shorten it");
        }
        let table = self.table(
            &field,
            &["branches", "keep", "most"],
            "a table, as in { branches = [\"feature/*\"] }",
        )?;
        let mut branches = Vec::new();
        if let Some(listed) = self.required(&table, "branches", BRANCHES, |reader, field| {
            Some(reader.list(field, "a list of patterns, as in [\"feature/*\"]"))
        }) {
            for field in listed {
                branches.extend(self.parsed(&field, Pattern::parse));
            }
        }
        let keep = self.span(table.get("keep"), KEEP, (60..=365 * DAY, "1m to 365d"));
        let most = self.number(table.get("most"), DEFAULT_MOST, MOST);
        Some(Previews { branches, keep, most })
    }

    pub(super) fn windows(&mut self, table: &Table<'_>) -> Vec<WindowSettings> {
        const SHAPE: &str =
            "a list of tables, as in [{ deny = \"Fri 16:00 - Mon 06:00\", zone = \"Europe/Berlin\" }]";
        let Some(field) = table.get("windows") else { return Vec::new() };
        let mut windows = Vec::new();
        for field in self.list(&field, SHAPE) {
            let Some(table) = self.table(&field, &["deny", "zone"], SHAPE) else { continue };
            let deny =
                self.required(&table, "deny", DENY, |reader, field| reader.string(field).map(str::to_owned));
            let zone = match table.get("zone") {
                Some(field) => self.string(&field).map(str::to_owned),
                None => Some("UTC".to_owned()),
            };
            let (Some(deny), Some(zone)) = (deny, zone) else { continue };
            match Window::parse(&deny, &zone) {
                Ok(_) => windows.push(WindowSettings { deny, zone }),
                Err(error @ InvalidWindow::Zone(_)) => {
                    table.get("zone").iter().for_each(|field| self.wrong(field, &error));
                }
                Err(error) => table.get("deny").iter().for_each(|field| self.wrong(field, &error)),
            }
        }
        windows
    }
}
