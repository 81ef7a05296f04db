//! The tables of the report: printed as Markdown while they are measured, and kept as JSON
//! (`target/bench/results.json`) for the page and its charts.
//!
//! A table that is measured again replaces the one of its name; all others stay.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::say;

/// Returns true if the bench was started with `quick`: few and short rounds, to see that it works,
/// or to compare before and after a change. The results are then kept apart (`quick.json`).
pub(crate) fn is_quick() -> bool {
    std::env::args().any(|arg| arg == "quick")
}

/// The usual value, or the one of a quick run.
pub(crate) fn pick<T>(usual: T, quick: T) -> T {
    if is_quick() { quick } else { usual }
}

/// The results so far.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) tables: Vec<Table>,
}

/// One table of the report.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Unique: by it the page and the charts find the table.
    pub(crate) name: String,
    pub(crate) title: String,
    /// The way of measuring and the meaning, in Markdown.
    pub(crate) about: String,
    pub(crate) columns: Vec<Column>,
    /// A cell for each column.
    pub(crate) rows: Vec<Vec<Cell>>,
    /// Remarks below the table; Markdown.
    pub(crate) notes: Vec<String>,
    /// The machine and the sources that it was measured on.
    pub(crate) on: Machine,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Empty for text, and for numbers without a unit.
    pub(crate) unit: String,
    /// Digits behind the point in Markdown; `None` for a column of text.
    pub(crate) digits: Option<usize>,
}

/// A value in its column's unit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Cell {
    Number(f64),
    Text(String),
    /// Was not measured, or has no meaning in this row.
    Missing,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) commit: String,
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) kernel: String,
}

/// A column of text.
pub(crate) fn text(name: &str) -> Column {
    Column { name: name.to_owned(), unit: String::new(), digits: None }
}

/// A column of numbers, shown with this many digits behind the point.
pub(crate) fn number(name: &str, unit: &str, digits: usize) -> Column {
    Column { name: name.to_owned(), unit: unit.to_owned(), digits: Some(digits) }
}

impl Table {
    /// Prints the title, the text and the head of the table.
    pub(crate) fn begin(
        name: &str,
        title: &str,
        about: impl Into<String>,
        columns: impl Into<Vec<Column>>,
    ) -> Self {
        let table = Self {
            name: name.to_owned(),
            title: title.to_owned(),
            about: about.into(),
            columns: columns.into(),
            rows: Vec::new(),
            notes: Vec::new(),
            on: Machine::here(),
        };
        say(format!("## {}\n", table.title));
        say(format!("{}\n", table.about));
        table.head().iter().for_each(say);
        table
    }

    /// Prints and keeps a row.
    ///
    /// # Panics
    /// The row does not have a cell for each column.
    pub(crate) fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        let cells = cells.into();
        assert_eq!(cells.len(), self.columns.len(), "{}: a cell for each column", self.name);
        say(self.line(&cells));
        self.rows.push(cells);
    }

    /// Adds a remark below the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        say(format!("\n{note}"));
        self.notes.push(note);
    }

    /// Keeps the table with the results of earlier runs.
    pub(crate) fn end(self) -> Result<()> {
        say("");
        let mut results = Results::read()?;
        match results.tables.iter_mut().find(|table| table.name == self.name) {
            Some(earlier) => *earlier = self,
            None => results.tables.push(self),
        }
        results.write()
    }

    /// The table without title and text, line by line.
    pub(crate) fn markdown(&self) -> Vec<String> {
        let rows = self.rows.iter().map(|cells| self.line(cells));
        self.head().into_iter().chain(rows).collect()
    }

    fn head(&self) -> [String; 2] {
        let titles: Vec<_> = self.columns.iter().map(Column::title).collect();
        let rules: Vec<_> =
            self.columns.iter().map(|column| if column.digits.is_some() { "---:" } else { "---" }).collect();
        [format!("| {} |", titles.join(" | ")), format!("|{}|", rules.join("|"))]
    }

    fn line(&self, cells: &[Cell]) -> String {
        let shown: Vec<_> = self.columns.iter().zip(cells).map(|(column, cell)| column.show(cell)).collect();
        format!("| {} |", shown.join(" | "))
    }
}

impl Column {
    /// The name with its unit: `p99 ms`.
    pub(crate) fn title(&self) -> String {
        let both = [self.name.as_str(), self.unit.as_str()];
        both.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn show(&self, cell: &Cell) -> String {
        match cell {
            Cell::Number(number) => format!("{number:.*}", self.digits.unwrap_or_default()),
            Cell::Text(text) => text.clone(),
            Cell::Missing => String::new(),
        }
    }
}

impl Results {
    /// The results of earlier runs; none before the first.
    pub(crate) fn read() -> Result<Self> {
        let path = path();
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not what a bench has written: remove it", path.display()))
    }

    fn write(&self) -> Result<()> {
        let path = path();
        fs::create_dir_all(path.with_file_name("")).context("make the folder of the results")?;
        let text = serde_json::to_string_pretty(self).context("encode the results")?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let integration = Path::new(env!("CARGO_MANIFEST_DIR"));
    integration.parent().expect("the crate's folder is in the repository").to_owned()
}

fn path() -> PathBuf {
    root().join("target/bench").join(pick("results.json", "quick.json"))
}

impl Machine {
    /// This machine; a fact that cannot be found is empty.
    fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let git =
            Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(root()).output().ok();
        Self {
            commit: git.map(|git| String::from_utf8_lossy(&git.stdout).trim().to_owned()).unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor: model.map(|(_, model)| model.to_owned()).unwrap_or_default(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::Number(number as f64)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}
