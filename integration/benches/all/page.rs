//! The page with the results: writes the tables into docs/benchmarks.md and draws its charts.
//!
//! The page says where: `<!-- bench: NAME -->` … `<!-- end -->` holds the table of that name, and
//! `<!-- bench: machine -->` the machines. A table that was never measured stays as it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::chart::Chart;
use crate::report::{Results, Table, is_quick, root};
use crate::say;

const BEGIN: &str = "<!-- bench: ";
const END: &str = "<!-- end -->";

/// The columns of a line.
const WIDTH: usize = 100;

const CHARTS: [Chart; 5] = [
    Chart {
        name: "throughput-64",
        table: "data-path",
        title: "Hello world, 64 connections: requests per second (more is better)",
        only: &[("requests", "hello world"), ("connections", "64")],
        label: "server",
        value: "requests/s",
    },
    Chart {
        name: "throughput-8",
        table: "data-path",
        title: "Hello world, 8 connections: requests per second (more is better)",
        only: &[("requests", "hello world"), ("connections", "8")],
        label: "server",
        value: "requests/s",
    },
    Chart {
        name: "latency-8",
        table: "data-path",
        title: "Hello world, 8 connections, fixed rate: p99 in ms (less is better)",
        only: &[("requests", "hello world"), ("connections", "8")],
        label: "server",
        value: "p99 at a fixed rate",
    },
    Chart {
        name: "processor-time",
        table: "data-path",
        title: "Hello world, 64 connections: processor time per request in µs (less is better)",
        only: &[("requests", "hello world"), ("connections", "64")],
        label: "server",
        value: "CPU",
    },
    Chart {
        name: "streams",
        table: "streams",
        title: "100 MB to the client: MB per second (more is better)",
        only: &[("stream", "to the client")],
        label: "server",
        value: "rate",
    },
];

/// Writes the page and the charts. A quick run's go into target/bench, for a look at them.
pub(crate) fn write() -> Result<()> {
    let results = Results::read()?;
    ensure!(!results.tables.is_empty(), "there are no results yet: run `make bench` first");
    let docs = root().join("docs");
    let into = if is_quick() { root().join("target/bench/docs") } else { docs.clone() };
    fs::create_dir_all(into.join("charts")).context("make the folder of the charts")?;
    for chart in &CHARTS {
        let drawn = find(&results, chart.table).and_then(|table| chart.draw(table));
        if let Some(svg) = drawn {
            put(&into.join("charts").join(format!("{}.svg", chart.name)), &svg)?;
        }
    }
    let page = fs::read_to_string(docs.join("benchmarks.md")).context("read docs/benchmarks.md")?;
    put(&into.join("benchmarks.md"), &filled(&page, &results)?)
}

fn put(path: &Path, text: &str) -> Result<()> {
    say(format!("writes {}", path.display()));
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn find<'a>(results: &'a Results, name: &str) -> Option<&'a Table> {
    results.tables.iter().find(|table| table.name == name)
}

/// The page with new text between its marks.
fn filled(page: &str, results: &Results) -> Result<String> {
    let (mut filled, mut rest) = (String::new(), page);
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (name, after) = after.split_once(" -->").context("a mark in docs/benchmarks.md has no end")?;
        let (earlier, after) =
            after.split_once(END).with_context(|| format!("{BEGIN}{name} --> needs {END} below it"))?;
        let text = match (name, find(results, name)) {
            ("machine", _) => format!("\n{}\n", machines(page, results)),
            (_, Some(table)) => format!("\n{}\n", section(table)),
            (_, None) => {
                say(format!("{name} was not measured: its section stays as it is"));
                earlier.to_owned()
            }
        };
        filled += &format!("{before}{BEGIN}{name} -->{text}{END}");
        rest = after;
    }
    Ok(filled + rest)
}

/// The machines and commits of the tables that are on the page.
fn machines(page: &str, results: &Results) -> String {
    let shown = |table: &&Table| page.contains(&format!("{BEGIN}{} -->", table.name));
    let machine = |table: &Table| {
        let on = &table.on;
        format!("{} cores ({}, Linux {}), commit {}", on.cores, on.processor, on.kernel, on.commit)
    };
    let all: BTreeSet<_> = results.tables.iter().filter(shown).map(machine).collect();
    wrapped(&format!("Measured on {}.", all.into_iter().collect::<Vec<_>>().join("; ")))
}

fn section(table: &Table) -> String {
    let charts = CHARTS.iter().filter(|chart| chart.table == table.name && chart.draw(table).is_some());
    let images = charts.map(|chart| format!("![{}](charts/{}.svg)", chart.title, chart.name));
    let parts = [format!("## {}", table.title), wrapped(&table.about)]
        .into_iter()
        .chain(images)
        .chain([table.markdown().join("\n")])
        .chain(table.notes.iter().map(|note| wrapped(note)));
    parts.collect::<Vec<_>>().join("\n\n")
}

/// Breaks lines between words.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= WIDTH {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}
