//! The output of `dev`: a banner, a line for each project and each change of one, and what projects
//! print.

use std::collections::BTreeSet;
use std::io::{self, Write as _};

use switchyard_contract::event::{Diagnostic, Event, EventType};
use switchyard_contract::overview::RouterLogLine;
use switchyard_contract::visible;
use switchyard_program::color::{Style, Styled};

use crate::client;

/// The widest column of names. Longer names move the rest of their line to the right.
const WIDEST: usize = 24;

/// Standard output, as `dev` uses it.
#[derive(Debug)]
pub(crate) struct Screen {
    has_color: bool,
    shows_logs: bool,
    /// Characters of the column of names.
    width: usize,
    /// The projects that were live once.
    seen: BTreeSet<String>,
}

impl Screen {
    pub(crate) fn new(has_color: bool, shows_logs: bool) -> Self {
        Self { has_color, shows_logs, width: 0, seen: BTreeSet::new() }
    }

    /// Shows what projects print, or does not show it any more.
    pub(crate) fn toggle_logs(&mut self) {
        self.shows_logs = !self.shows_logs;
        let state = if self.shows_logs { "shown" } else { "hidden" };
        self.note(&format!("what projects print is {state}"));
    }

    /// Makes room for these names.
    pub(crate) fn fit<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) {
        let longest = names.into_iter().map(str::len).max().unwrap_or_default();
        self.width = self.width.max(longest.min(WIDEST));
    }

    /// Prints what is served where, and which keys there are.
    pub(crate) fn banner(&self, title: &str, links: &[(&str, String)], keys: &str) {
        let name = Style::Bold.on(self.has_color, concat!("switchyard ", env!("CARGO_PKG_VERSION")));
        let mut text = format!("\n  {name}  {}\n\n", visible::word(title));
        for (what, link) in links {
            let what = Style::Dim.on(self.has_color, *what);
            text.push_str(&format!("  {what:<9}{}\n", Style::Name.on(self.has_color, visible::word(link))));
        }
        if !keys.is_empty() {
            text.push_str(&format!("\n  {}\n", Style::Dim.on(self.has_color, keys)));
        }
        text.push('\n');
        print(&text);
    }

    /// Prints an event, unless it is of no interest to a developer. `link`: where the project answers.
    pub(crate) fn event(&mut self, event: &Event, link: &str) {
        let (data, name) = (&event.data, event.data.project.as_str());
        match event.kind {
            EventType::ReloadLive => {
                let took =
                    data.timings_ms.total.map(|ms| format!("{:.2} s", ms / 1000.0)).unwrap_or_default();
                let is_first = self.seen.insert(name.to_owned());
                let link = is_first.then(|| Style::Name.on(self.has_color, visible::word(link)).to_string());
                let link = link.unwrap_or_default();
                self.line(Style::Good.on(self.has_color, "✓"), name, &format!("{took:<8}{link}"));
            }
            EventType::ReloadFailed => match &data.error {
                Some(error) => self.failure(name, error),
                None => self.line(self.cross(), name, "does not build"),
            },
            EventType::CellDied => {
                let message =
                    data.death.as_ref().map(|death| visible::line(&death.message)).unwrap_or_default();
                self.line(self.cross(), name, &format!("its process ended: {message}"));
            }
            EventType::RouteConflict => {
                let message = data.conflict.as_ref().map(|conflict| visible::line(&conflict.message));
                let sign = Style::Warning.on(self.has_color, "!");
                self.line(sign, name, &message.unwrap_or_default());
            }
            EventType::ProjectRemoved => {
                self.seen.remove(name);
                self.line(Style::Dim.on(self.has_color, "-"), name, "removed");
            }
            EventType::VersionRetired | EventType::OverrideSet | EventType::OverrideEnded => {}
        }
    }

    /// `✗ blog  main.ts:2:5 message`, and the lines around the place.
    fn failure(&self, name: &str, error: &Diagnostic) {
        let mut message = error.message.lines().map(visible::line);
        let first = message.next().unwrap_or_default();
        let place = Style::Bad.on(self.has_color, client::place(error));
        self.line(self.cross(), name, format!("{place} {first}").trim_start());
        let mut below: Vec<_> = message.map(std::borrow::Cow::into_owned).collect();
        if let Some(frame) = &error.frame {
            below.extend(frame.trim_end().lines().map(|line| self.frame_line(line)));
        }
        if !below.is_empty() {
            print(&below.iter().map(|line| format!("    {line}\n")).collect::<String>());
        }
    }

    /// A line of a code frame: the one with the error stands out.
    fn frame_line(&self, line: &str) -> String {
        let shown = visible::line(line);
        let style = if line.starts_with('>') { Style::Bold } else { Style::Dim };
        style.on(self.has_color, shown).to_string()
    }

    /// Prints a line that a project printed, if they are shown.
    pub(crate) fn log(&self, project: &str, line: &RouterLogLine) {
        if !self.shows_logs {
            return;
        }
        let width = self.width;
        let style = if line.line.stream == "stderr" { Style::Warning } else { Style::Dim };
        let bar = style.on(self.has_color, "│");
        print(&format!("  {bar} {:<width$}  {}\n", visible::word(project), visible::line(&line.line.line)));
    }

    /// Prints a line about a project.
    pub(crate) fn line(&self, sign: Styled<&str>, name: &str, text: &str) {
        let width = self.width;
        print(format!("  {sign} {:<width$}  {text}", visible::word(name)).trim_end());
        print("\n");
    }

    /// Prints that a project has neither built nor failed.
    pub(crate) fn late(&self, name: &str) {
        self.line(self.cross(), name, "did not build in time");
    }

    /// Prints a line about a folder that is no project.
    pub(crate) fn misnamed(&self, name: &str) {
        self.line(
            self.cross(),
            name,
            "is no project: its name must be 1 to 63 characters of A-Z, a-z, 0-9, - and _, and it must not lead out of \
             the folder",
        );
    }

    /// Prints a line of `dev` itself.
    pub(crate) fn note(&self, text: &str) {
        print(&format!("  {}\n", Style::Dim.on(self.has_color, visible::line(text))));
    }

    fn cross(&self) -> Styled<&'static str> {
        Style::Bad.on(self.has_color, "✗")
    }
}

/// A reader that has closed standard output has read enough; the projects are served all the same.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
