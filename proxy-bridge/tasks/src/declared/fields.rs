//! Fields of a map: unknown keys are refused, values of a wrong type are reported.

use std::time::Duration;

use switchyard_contract::suggest::did_you_mean;
use switchyard_program::units::{PlainNumber, Span};

use super::{Kind, Node, Pair, Place, Report};

/// The fields of one map, and the path that leads to it.
#[derive(Clone)]
pub(super) struct Fields<'n> {
    node: &'n Node,
    path: String,
}

/// The least and the most milliseconds of a time.
#[derive(Clone, Copy)]
pub(super) struct TimeBounds {
    pub(super) least: u64,
    pub(super) most: u64,
}

impl<'n> Fields<'n> {
    /// Opens a map whose keys are all among `known`. `path` leads to it: `switchyard.tasks.digest`.
    pub(super) fn open(
        node: &'n Node,
        path: impl Into<String>,
        known: &[&str],
        report: &mut Report,
    ) -> Option<Self> {
        let fields = Self::any(node, path, report)?;
        for pair in fields.pairs().filter(|pair| !known.contains(&pair.key.as_str())) {
            let fix =
                format!("is unknown: expected one of {}{}", known.join(", "), did_you_mean(&pair.key, known));
            report.wrong(&pair.place, &fields.path_of(&pair.key), fix);
        }
        Some(fields)
    }

    /// Opens a map whose keys are names.
    pub(super) fn any(node: &'n Node, path: impl Into<String>, report: &mut Report) -> Option<Self> {
        let path = path.into();
        if node.map().is_none() {
            report.wrong(&node.place, &path, "must be an object: names and values");
            return None;
        }
        Some(Self { node, path })
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = &'n Pair> + use<'n> {
        self.node.map().unwrap_or_default().iter()
    }

    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.node.get(key)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn place(&self) -> &'n Place {
        &self.node.place
    }

    /// The place of a key, or else of the map.
    pub(super) fn place_of(&self, key: &str) -> &'n Place {
        self.node.pair(key).map_or(&self.node.place, |pair| &pair.place)
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Refuses a field.
    pub(super) fn wrong(&self, key: &str, fix: impl AsRef<str>, report: &mut Report) {
        report.wrong(self.place_of(key), &self.path_of(key), fix);
    }

    /// Remarks on a field.
    pub(super) fn remark(&self, key: &str, fix: impl AsRef<str>, report: &mut Report) {
        report.remark(self.place_of(key), &self.path_of(key), fix);
    }

    /// A text that is not empty.
    pub(super) fn text(&self, key: &str, report: &mut Report) -> Option<&'n str> {
        let text = self.get(key)?.text().filter(|text| !text.is_empty());
        if text.is_none() {
            self.wrong(key, "must be text in quotes, and not empty", report);
        }
        text
    }

    pub(super) fn flag(&self, key: &str, report: &mut Report) -> Option<bool> {
        let flag = self.get(key)?.flag();
        if flag.is_none() {
            self.wrong(key, "must be true or false", report);
        }
        flag
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(&self, key: &str, words: &[(&str, T)], report: &mut Report) -> Option<T> {
        let node = self.get(key)?;
        let text = node.text().unwrap_or_default();
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let fix = format!("must be one of {}{}", words.join(", "), did_you_mean(text, &words));
            self.wrong(key, fix, report);
        }
        found
    }

    /// A time, in milliseconds. A number is in seconds.
    pub(super) fn time(&self, key: &str, bounds: TimeBounds, report: &mut Report) -> Option<u64> {
        let span = match &self.get(key)?.kind {
            Kind::Text(text) => Span::parse(text, PlainNumber::Seconds).ok(),
            Kind::Number(number) => {
                number.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).map(Span)
            }
            _ => None,
        };
        let millis = span.and_then(|span| u64::try_from(span.0.as_millis()).ok());
        let within = millis.filter(|millis| (bounds.least..=bounds.most).contains(millis));
        if within.is_none() {
            let shown = |millis| Span(Duration::from_millis(millis));
            let fix = format!(
                "must be a time from {} to {}, such as \"30s\" or \"5m\"",
                shown(bounds.least),
                shown(bounds.most)
            );
            self.wrong(key, fix, report);
        }
        within
    }

    /// A whole number.
    pub(super) fn count(&self, key: &str, least: u32, most: u32, report: &mut Report) -> Option<u32> {
        let number = match &self.get(key)?.kind {
            Kind::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            _ => None,
        };
        let within = number.filter(|number| (least..=most).contains(number));
        if within.is_none() {
            self.wrong(key, format!("must be a whole number from {least} to {most}"), report);
        }
        within
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str, report: &mut Report) -> Option<Vec<String>> {
        let node = self.get(key)?;
        let texts: Option<Vec<_>> =
            node.list().and_then(|list| list.iter().map(|node| node.text().map(str::to_owned)).collect());
        if texts.is_none() {
            self.wrong(key, "must be a list of texts ([\"a\", \"b\"])", report);
        }
        texts
    }
}
