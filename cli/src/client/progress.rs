//! Progress of a deploy: a bar on a terminal, otherwise a line per step.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use super::Console;
use super::pack::Flow;
use switchyard_contract::deploy::{Action, DeployPhase, DeployStep};
use switchyard_contract::visible;
use switchyard_edge::sse::SseEvent;

/// Interval of the spinner.
const TICK: Duration = Duration::from_millis(100);

const UPLOADING: &str = "{spinner} uploading {bytes} of {total_bytes} [{bar:30}]";
const WAITING: &str = "{spinner} {msg}";

/// The display of progress.
pub(super) struct Progress<'a> {
    err: &'a mut dyn Write,
    show: Show,
    steps: Steps,
}

enum Show {
    Nothing,
    Lines,
    Bar(ProgressBar),
}

impl<'a> Progress<'a> {
    pub(super) fn new(console: &'a mut Console<'_>, json: bool) -> Self {
        let show = match (json, console.terminal) {
            (true, _) => Show::Nothing,
            (false, true) => Show::Bar(bar()),
            (false, false) => Show::Lines,
        };
        Self { err: &mut *console.err, show, steps: Steps::new(Action::Deploy) }
    }

    /// Describes the steps of this action from now on.
    pub(super) fn expect(&mut self, action: Action) {
        self.steps = Steps::new(action);
    }

    /// Prints a line that stays on the terminal.
    pub(super) fn line(&mut self, text: &str) {
        let text = visible::block(text);
        match &self.show {
            Show::Nothing => {}
            // The deploy continues even if standard error is closed.
            Show::Lines => drop(writeln!(self.err, "{text}")),
            Show::Bar(bar) => bar.suspend(|| drop(writeln!(self.err, "{text}"))),
        }
    }

    /// `bytes` are about to be read and sent.
    pub(super) fn begin(&mut self, bytes: u64) {
        self.steps = Steps::new(self.steps.action);
        if let Show::Bar(bar) = &self.show {
            bar.set_style(style(UPLOADING));
            bar.set_length(bytes);
            bar.set_position(0);
        }
    }

    pub(super) fn flow(&mut self, flow: Flow) {
        if let Show::Bar(bar) = &self.show {
            bar.set_position(flow.read);
        }
    }

    /// An event `phase`. One that is not understood is not shown.
    pub(super) fn phase(&mut self, event: &SseEvent) {
        let Ok(step) = serde_json::from_str(&event.data) else { return };
        let Some(text) = self.steps.describe(&step) else { return };
        match &self.show {
            Show::Bar(bar) => {
                bar.set_style(style(WAITING));
                bar.set_message(text);
            }
            Show::Nothing | Show::Lines => self.line(&text),
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0).with_style(style(WAITING)).with_message("waiting for the bridge");
    let bar = bar.with_finish(ProgressFinish::AndClear);
    bar.enable_steady_tick(TICK);
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates are written here")
}

/// The steps of a deploy so far.
#[derive(Debug)]
struct Steps {
    /// What is done, which decides about the words.
    action: Action,
    routers: BTreeSet<String>,
    phase: Option<DeployPhase>,
    /// Routers that have completed the current phase.
    through: BTreeSet<String>,
}

impl Steps {
    fn new(action: Action) -> Self {
        Self { action, routers: BTreeSet::new(), phase: None, through: BTreeSet::new() }
    }

    /// Returns the line for a step, if it deserves one.
    fn describe(&mut self, step: &DeployStep) -> Option<String> {
        if self.phase != Some(step.phase) {
            self.phase = Some(step.phase);
            self.through.clear();
        }
        let Some(router) = &step.router else {
            return match (step.phase, self.action) {
                (DeployPhase::Store, Action::Rollback) => Some("the files are there".to_owned()),
                (DeployPhase::Store, Action::Deploy) => Some("received".to_owned()),
                (DeployPhase::Hold, Action::Deploy) => Some("stored".to_owned()),
                _ => None,
            };
        };
        self.routers.insert(router.clone());
        let outcome = step.outcome.as_deref().unwrap_or_default();
        if !["held", "built", "live", "unchanged", "removed"].contains(&outcome) {
            return Some(format!("{}: {}", visible::word(router), visible::word(outcome)));
        }
        self.through.insert(router.clone());
        let done = match step.phase {
            DeployPhase::Build if self.action == Action::Delete => return None,
            DeployPhase::Publish if self.action == Action::Delete => "removed from",
            DeployPhase::Build => "built on",
            DeployPhase::Publish => "published on",
            _ => return None,
        };
        Some(format!("{done} {} of {} routers", self.through.len(), self.routers.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(steps: &[(&str, Option<&str>, Option<&str>)]) -> Vec<String> {
        lines_for(Action::Deploy, steps)
    }

    fn lines_for(action: Action, steps: &[(&str, Option<&str>, Option<&str>)]) -> Vec<String> {
        let mut known = Steps::new(action);
        let steps = steps.iter().map(|(phase, router, outcome)| {
            let step =
                serde_json::json!({"deploy": "d1", "phase": phase, "router": router, "outcome": outcome});
            serde_json::from_value(step).unwrap()
        });
        steps.filter_map(|step| known.describe(&step)).collect()
    }

    #[test]
    fn phases_are_printed_as_completed_steps() {
        let printed = lines_of(&[
            ("store", None, None),
            ("hold", None, None),
            ("hold", Some("r1"), Some("held")),
            ("hold", Some("r2"), Some("held")),
            ("build", None, None),
            ("build", Some("r2"), Some("built")),
            ("build", Some("r1"), Some("unchanged")),
            ("publish", Some("r1"), Some("live")),
        ]);
        let expected = [
            "received",
            "stored",
            "built on 1 of 2 routers",
            "built on 2 of 2 routers",
            "published on 1 of 2 routers",
        ];
        assert_eq!(printed, expected);
    }

    #[test]
    fn each_action_has_its_own_words() {
        let steps = [
            ("store", None, None),
            ("hold", None, None),
            ("build", Some("r1"), Some("built")),
            ("publish", Some("r1"), Some("removed")),
        ];
        assert_eq!(lines_for(Action::Delete, &steps), ["removed from 1 of 1 routers"]);
        let back = ["the files are there", "built on 1 of 1 routers", "published on 1 of 1 routers"];
        assert_eq!(lines_for(Action::Rollback, &steps), back);
    }

    #[test]
    fn names_that_a_bar_would_obey_are_shown() {
        let printed = lines_of(&[("build", None, None), ("build", Some("r\x1b[2J\n"), Some("no\r\u{9b}"))]);
        assert_eq!(printed, [r"r␛[2J␊: no␍\u{9b}"]);
    }

    #[test]
    fn a_router_that_fails_is_named() {
        let printed =
            lines_of(&[("build", None, None), ("build", Some("r1"), Some("failed")), ("undo", None, None)]);
        assert_eq!(printed, ["r1: failed"]);
    }
}
