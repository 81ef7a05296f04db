//! Charts of bars as SVG, from tables of the report. Readable on light and on dark pages.

use std::fmt::Write as _;

use crate::report::{Cell, Column, Table};

/// A chart with a bar for each row that it selects.
#[derive(Debug)]
pub(crate) struct Chart {
    /// The file's name without `.svg`.
    pub(crate) name: &'static str,
    pub(crate) table: &'static str,
    pub(crate) title: &'static str,
    /// Columns, and the values that they have in the rows of the chart.
    pub(crate) only: &'static [(&'static str, &'static str)],
    /// The column with the names of the bars.
    pub(crate) label: &'static str,
    /// The column with their lengths.
    pub(crate) value: &'static str,
}

/// Pixels.
const WIDTH: f64 = 720.0;
const LABELS: f64 = 260.0;
const VALUES: f64 = 90.0;
const TOP: f64 = 44.0;
const ROW: f64 = 30.0;
const BAR: f64 = 20.0;

const STYLE: &str = "text { font: 14px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600 } \
     rect { fill: #8c959f } .ours { fill: #0969da } \
     @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } rect { fill: #6e7681 } .ours { fill: #4493f8 } }";

impl Chart {
    /// Draws the chart; `None` if no row of the table is in it.
    ///
    /// # Panics
    /// The table has no column of a name.
    pub(crate) fn draw(&self, table: &Table) -> Option<String> {
        let bars = self.bars(table);
        let longest = bars.iter().map(|(_, length, _)| *length).fold(0.0, f64::max);
        if longest <= 0.0 {
            return None;
        }
        let height = TOP + ROW * bars.len() as f64;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n<text class=\"title\" x=\"0\" y=\"20\">{title}</text>\n",
            title = escaped(self.title),
        );
        for (index, (label, length, shown)) in bars.iter().enumerate() {
            let top = TOP + ROW * index as f64;
            let (base, width) = (top + BAR * 0.75, (WIDTH - LABELS - VALUES) * length / longest);
            let class = if label.contains("switchyard") { " class=\"ours\"" } else { "" };
            let label = escaped(&label.replace('`', ""));
            let _ = writeln!(
                svg,
                "<text x=\"{:.0}\" y=\"{base:.0}\" text-anchor=\"end\">{label}</text>\
                 <rect{class} x=\"{LABELS:.0}\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"{BAR:.0}\" rx=\"2\"/>\
                 <text x=\"{:.1}\" y=\"{base:.0}\">{shown}</text>",
                LABELS - 10.0,
                LABELS + width + 8.0,
            );
        }
        svg.push_str("</svg>\n");
        Some(svg)
    }

    /// Label, length and shown length of each bar.
    fn bars(&self, table: &Table) -> Vec<(String, f64, String)> {
        let (label, value) = (column(table, self.label), column(table, self.value));
        let is_selected = |row: &&Vec<Cell>| {
            self.only.iter().all(|(name, wanted)| {
                let (index, column) = column(table, name);
                column.show(&row[index]) == *wanted
            })
        };
        let bar = |row: &Vec<Cell>| match row[value.0] {
            Cell::Number(length) => Some((label.1.show(&row[label.0]), length, value.1.show(&row[value.0]))),
            Cell::Text(_) | Cell::Missing => None,
        };
        table.rows.iter().filter(is_selected).filter_map(bar).collect()
    }
}

fn column<'a>(table: &'a Table, name: &str) -> (usize, &'a Column) {
    let found = table.columns.iter().enumerate().find(|(_, column)| column.name == name);
    found.unwrap_or_else(|| panic!("the table {} has no column {name:?}", table.name))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
