//! `target`: the bridges that client commands talk to, in the user's `switchyard.toml`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command, Subcommand};
use serde_json::json;
use switchyard_contract::visible;

use crate::client::{bridge_text, fail};
use crate::config_file::{self, ConfigFile, DEFAULT_TARGET};

/// The commands below `target`.
#[derive(Debug, Subcommand)]
pub(crate) enum TargetCommand {
    /// Add a bridge under a name
    Add(AddArgs),
    /// Make a target the one that is used where none is named
    Use(NameArgs),
    /// Take a target out of the file
    Remove(NameArgs),
    /// List the targets
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Name of the target
    #[arg(value_name = "NAME", value_parser = target_name)]
    name: String,

    /// URL of the bridge
    #[arg(value_name = "URL", value_parser = bridge_text)]
    url: String,

    /// File with the token for it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// Name of the target
    #[arg(value_name = "NAME", value_parser = target_name)]
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print the targets as JSON
    #[arg(long)]
    json: bool,
}

/// A name that no target can have.
#[derive(Debug, Clone, thiserror::Error)]
#[error("invalid name {0:?}: expected letters, digits, - and _")]
struct InvalidTargetName(String);

fn target_name(text: &str) -> Result<String, InvalidTargetName> {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let valid = !text.is_empty() && text.bytes().all(is_valid);
    if valid { Ok(text.to_owned()) } else { Err(InvalidTargetName(text.to_owned())) }
}

/// Runs a command below `target`. `commands` is the definition of all commands, whose flags the file may
/// have.
pub(crate) fn run(command: TargetCommand, commands: &Command) -> ExitCode {
    let done = match command {
        TargetCommand::Add(args) => add(args, commands),
        TargetCommand::Use(args) => choose(&args, commands),
        TargetCommand::Remove(args) => remove(&args, commands),
        TargetCommand::List(args) => list(args.json, commands),
    };
    match done {
        Ok(text) => {
            let _ = writeln!(io::stdout(), "{}", visible::block(&text));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn env(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The file that is written to, and its text so far.
fn open() -> Result<(PathBuf, String), String> {
    let words: Vec<_> = std::env::args_os().collect();
    let path = config_file::named(&words, &env).or_else(|| config_file::of_user(&env));
    let path = path.ok_or("neither XDG_CONFIG_HOME nor HOME names a folder: name a file with --config")?;
    match fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((path, String::new())),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// Reads the targets of the file that is named, or of all files.
fn targets(commands: &Command) -> Result<ConfigFile, String> {
    let words: Vec<_> = std::env::args_os().collect();
    ConfigFile::read(&words, &env, commands)
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// Replaces the file as a whole.
fn write(path: &Path, text: &str) -> Result<(), String> {
    let cannot = |error: io::Error| format!("cannot write {}: {error}", path.display());
    fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(cannot)?;
    let beside = path.with_extension("toml.new");
    fs::write(&beside, text).and_then(|()| fs::rename(&beside, path)).map_err(cannot)
}

fn add(args: AddArgs, commands: &Command) -> Result<String, String> {
    let AddArgs { name, url, token_file } = args;
    let (path, mut text) = open()?;
    if path.exists() && targets(commands)?.targets.contains_key(&name) {
        return Err(format!(
            "{name} is in {} already: change it there, or take it out first with switchyard target remove {name}",
            path.display()
        ));
    }
    let token_file = token_file.map(|file| fs::canonicalize(&file).map_err(|error| (file, error)));
    let token_file = token_file
        .transpose()
        .map_err(|(file, error)| format!("--token-file: cannot read {}: {error}", file.display()))?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("\n[target.{name}]\nurl = {}\n", quoted(&url)));
    if let Some(file) = token_file {
        text.push_str(&format!("token_file = {}\n", quoted(&file.to_string_lossy())));
    }
    write(&path, text.trim_start())?;
    Ok(format!("{name} is {url}; switchyard target use {name} makes it the default"))
}

fn choose(args: &NameArgs, commands: &Command) -> Result<String, String> {
    targets(commands)?.of_target(Some(&args.name)).map_err(|problem| problem.message)?;
    let (path, text) = open()?;
    let is_key = |line: &&str| line.split_once('=').is_some_and(|(key, _)| key.trim() == DEFAULT_TARGET);
    // The key stands before all tables.
    let rest: Vec<_> = text.lines().filter(|line| !is_key(line)).collect();
    let line = format!("{DEFAULT_TARGET} = {}", quoted(&args.name));
    write(&path, &format!("{line}\n{}\n", rest.join("\n")))?;
    Ok(format!("{} is used where no target is named", args.name))
}

fn remove(args: &NameArgs, commands: &Command) -> Result<String, String> {
    let name = &args.name;
    targets(commands)?.of_target(Some(name)).map_err(|problem| problem.message)?;
    let (path, text) = open()?;
    let (text, is_there) = without(&text, name);
    if !is_there {
        return Err(format!(
            "{name} has no table [target.{name}] of its own in {}: remove it where it is",
            path.display()
        ));
    }
    write(&path, &text)?;
    Ok(format!("{name} is removed from {}", path.display()))
}

/// Returns the text of the file without a target, and true if it had the target. The default is taken
/// out too if it is this one.
fn without(text: &str, name: &str) -> (String, bool) {
    let heading = |line: &str| line.trim().starts_with('[');
    let is_own = |line: &str| {
        let inner = line.split('#').next().unwrap_or_default().trim();
        [format!("[target.{name}]"), format!("[target.{}]", quoted(name))].iter().any(|own| own == inner)
    };
    let is_default = |line: &str| {
        line.split_once('=').is_some_and(|(key, value)| {
            key.trim() == DEFAULT_TARGET && value.trim().trim_matches(['"', '\'']) == name
        })
    };
    let (mut kept, mut is_inside, mut is_there) = (Vec::new(), false, false);
    for line in text.lines() {
        if heading(line) {
            is_inside = is_own(line);
            is_there |= is_inside;
        }
        if !is_inside && !is_default(line) {
            kept.push(line);
        }
    }
    while kept.last().is_some_and(|line| line.trim().is_empty()) {
        kept.pop();
    }
    (kept.iter().map(|line| format!("{line}\n")).collect(), is_there)
}

fn list(json: bool, commands: &Command) -> Result<String, String> {
    let file = targets(commands)?;
    if json {
        let targets = file.targets.iter().map(|(name, target)| {
            let is_default = file.default_target.as_ref() == Some(name);
            json!({ "name": name, "url": target.url.values.join(" "), "default": is_default })
        });
        return Ok(json!({ "targets": targets.collect::<Vec<_>>() }).to_string());
    }
    if file.targets.is_empty() {
        return Ok("no targets: switchyard target add NAME URL makes one".to_owned());
    }
    let width = file.targets.keys().map(String::len).max().unwrap_or_default();
    let lines = file.targets.iter().map(|(name, target)| {
        let sign = if file.default_target.as_ref() == Some(name) { "*" } else { " " };
        format!("{sign} {name:<width$}  {}", target.url.values.join(" "))
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_removed_with_its_table_and_as_the_default() {
        let text = "default_target = \"a\"\n\n[target.a]\nurl = \"x\"\n# of a\n\n[target.b]\nurl = \"y\"\n";
        assert_eq!(without(text, "a"), ("\n[target.b]\nurl = \"y\"\n".to_owned(), true));
        let (rest, is_there) = without(text, "b");
        assert!(is_there && rest.ends_with("# of a\n") && rest.contains("default_target"), "{rest}");
        assert_eq!(without(text, "c"), (text.to_owned(), false));
    }
}
