//! `versions` and `diff`: what a project was, and what has changed.

use http::Method;
use jiff::Timestamp;
use switchyard_program::color::Style;

use super::super::Console;
use super::super::bridge::Bridge;
use super::super::failure::{DONE, Failure};
use super::super::report;
use super::super::table::aligned;
use super::super::times::age;
use super::parse;
use switchyard_contract::overview::{ProjectVersions, VersionInfo};
use switchyard_contract::versions::{FileChange, FileDiff, VersionDiff};
use switchyard_contract::visible;

/// A comparison fetches two versions from a router.
const SLOW: u32 = 4;

/// Prints a table of versions. Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(in super::super) async fn versions(
    bridge: &Bridge,
    project: &str,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let answer = bridge.get(&["projects", project, "versions"]).await?;
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    let listed: ProjectVersions = parse(&answer)?;
    console.print_table(&table(&listed.versions, Timestamp::now()))?;
    if listed.versions.iter().any(|version| version.rolled_back.is_some()) {
        console.complain(&format!(
            "switchyard rollback {project} skips the versions that were rolled back from, unless one is named"
        ))?;
    }
    if let Some(removed) = &listed.removed {
        let until = report::day(removed.until);
        console.complain(&format!(
            "{project} is removed; switchyard rollback {project} restores it until {until}"
        ))?;
    }
    Ok(DONE)
}

fn table(versions: &[VersionInfo], now: Timestamp) -> String {
    let mut rows =
        vec![["VERSION", "STATE", "WHEN", "BY", "FILES", "CHANGED", "COMMIT", "MESSAGE"].map(str::to_owned)];
    rows.extend(versions.iter().map(|version| row(version, now)));
    for column in 0..rows[0].len() {
        if rows[1..].iter().all(|row| row[column].is_empty()) {
            rows[0][column].clear();
        }
    }
    aligned(&rows)
}

fn row(version: &VersionInfo, now: Timestamp) -> [String; 8] {
    let shown = |text: &Option<String>| visible::word(text.as_deref().unwrap_or_default()).into_owned();
    let state = match (version.live.is_empty(), version.kept.is_empty()) {
        (false, _) => "live",
        (true, false) if version.rolled_back.is_some() => "rolled back",
        (true, false) => "kept",
        (true, true) => "gone",
    };
    let why_back = version.rolled_back.as_ref().and_then(|rollback| rollback.message.as_deref());
    let why_back = why_back.map(|why| format!("(rolled back: {})", visible::word(why)));
    let message = [Some(shown(&version.message)), why_back].into_iter().flatten();
    let message = message.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    [
        visible::word(&version.version).into_owned(),
        state.to_owned(),
        version.at.map(|at| age(at, now)).unwrap_or_default(),
        shown(&version.by),
        version.files.map(|files| files.to_string()).unwrap_or_default(),
        version
            .changed
            .as_ref()
            .map(|files| visible::word(&files.to_string()).into_owned())
            .unwrap_or_default(),
        version.commit.as_ref().map(|commit| visible::word(commit.short()).into_owned()).unwrap_or_default(),
        message,
    ]
}

/// Prints the files in which two versions differ. Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(in super::super) async fn diff(
    bridge: &Bridge,
    project: &str,
    query: &[(&str, &str)],
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let bridge = bridge.patient(SLOW);
    let answer = bridge.call(bridge.request(Method::GET, &["projects", project, "diff"], query)).await?;
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    let diff: VersionDiff = parse(&answer)?;
    let (from, to) = (visible::word(&diff.from).into_owned(), visible::word(&diff.to).into_owned());
    console.print(&format!("{from} -> {to}"))?;
    if let Some(removed) = &diff.removed {
        let until = report::day(removed.until);
        console.complain(&format!("{project} is removed; a rollback restores it until {until}"))?;
    }
    if diff.files.is_empty() {
        console.print("no file differs")?;
    }
    for file in &diff.files {
        print_file(file, console)?;
    }
    if diff.truncated {
        console.complain("more files differ than are listed")?;
    }
    Ok(DONE)
}

fn print_file(file: &FileDiff, console: &mut Console<'_>) -> Result<(), Failure> {
    let has_color = console.look.has_color;
    let (sign, style) = match file.change {
        FileChange::Added => ("A", Style::Good),
        FileChange::Removed => ("D", Style::Bad),
        FileChange::Changed => ("M", Style::Warning),
    };
    let size = |size: Option<u64>| {
        size.map_or_else(|| "-".to_owned(), |bytes| indicatif::HumanBytes(bytes).to_string())
    };
    let sizes = match &file.diff {
        Some(_) => String::new(),
        None => format!("  {} -> {}", size(file.before), size(file.after)),
    };
    writeln!(console.out, "{} {}{sizes}", style.on(has_color, sign), visible::word(&file.path))?;
    for line in file.diff.as_deref().unwrap_or_default().lines() {
        let style = match line.as_bytes().first() {
            Some(b'+') => Some(Style::Good),
            Some(b'-') => Some(Style::Bad),
            Some(b'@') => Some(Style::Name),
            _ => None,
        };
        let line = visible::line(line);
        match style {
            Some(style) => writeln!(console.out, "  {}", style.on(has_color, line))?,
            None => writeln!(console.out, "  {line}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_live_kept_or_gone_and_empty_columns_are_left_out() {
        let versions: Vec<VersionInfo> = serde_json::from_value(json!([
            {"version": "blog@3", "at": "2026-03-01T12:00:00Z", "files": 3, "live": ["r1"], "kept": ["r1"],
                "message": "by\u{1b} hand"},
            {"version": "blog@2", "at": "2026-03-01T11:00:00Z", "kept": ["r1"], "message": "two",
                "changed": {"first": "a.ts", "count": 3},
                "rolled_back": {"at": "2026-03-01T11:30:00Z", "message": "bad"}},
            {"version": "blog@1"},
        ]))
        .unwrap();
        let shown = table(&versions, "2026-03-01T12:00:30Z".parse().unwrap());
        let expected = [
            "VERSION  STATE        WHEN     FILES  CHANGED          MESSAGE",
            "blog@3   live         30s ago  3                       by␛ hand",
            "blog@2   rolled back  1h ago          a.ts and 2 more  two (rolled back: bad)",
            "blog@1   gone",
        ];
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
    }
}
