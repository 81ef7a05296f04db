//! `target`: the bridges that client commands talk to, in the user's `switchyard.toml`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command, Subcommand};
use switchyard_contract::visible;

use crate::client::{bridge_text, fail};
use crate::config_file::{self, ConfigFile, DEFAULT_TARGET};

/// The commands below `target`.
#[derive(Debug, Subcommand)]
pub(crate) enum TargetCommand {
    /// Add a bridge under a name
    Add(AddArgs),
    /// Make a target the one that is used where none is named
    Use(UseArgs),
    /// List the targets
    List,
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
pub(crate) struct UseArgs {
    /// Name of the target
    #[arg(value_name = "NAME", value_parser = target_name)]
    name: String,
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
        TargetCommand::List => list(commands),
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
        return Err(format!("{name} is in {} already: edit it there", path.display()));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&format!("\n[target.{name}]\nurl = {}\n", quoted(&url)));
    if let Some(file) = token_file {
        let file = std::path::absolute(&file).unwrap_or(file);
        text.push_str(&format!("token_file = {}\n", quoted(&file.to_string_lossy())));
    }
    write(&path, text.trim_start())?;
    Ok(format!("{name} is {url}; switchyard target use {name} makes it the default"))
}

fn choose(args: &UseArgs, commands: &Command) -> Result<String, String> {
    targets(commands)?.of_target(Some(&args.name)).map_err(|problem| problem.message)?;
    let (path, text) = open()?;
    let is_key = |line: &&str| line.split_once('=').is_some_and(|(key, _)| key.trim() == DEFAULT_TARGET);
    // The key stands before all tables.
    let rest: Vec<_> = text.lines().filter(|line| !is_key(line)).collect();
    let line = format!("{DEFAULT_TARGET} = {}", quoted(&args.name));
    write(&path, &format!("{line}\n{}\n", rest.join("\n")))?;
    Ok(format!("{} is used where no target is named", args.name))
}

fn list(commands: &Command) -> Result<String, String> {
    let file = targets(commands)?;
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
