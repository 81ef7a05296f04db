//! The process that fetches the packages of one version: `switchyard-cell --install`.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result};
use switchyard_contract::bounds::{self, cut};
use switchyard_contract::event::Diagnostic;
use switchyard_contract::project::ProjectName;
use switchyard_contract::publisher::Url;
use switchyard_protocol::{InstallOutcome, InstallRequest, NetTarget};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::lookup_host;
use tokio::process::Command;
use tokio::time::timeout;

use super::InstallerSettings;
use crate::project::diagnostic;

/// Runs the process to its end. Dropping the future kills it.
///
/// # Errors
/// The packages could not be fetched, or not in time.
pub(super) async fn run(
    settings: &InstallerSettings,
    project: &ProjectName,
    mut install: InstallRequest,
) -> Result<(), Diagnostic> {
    let began = Instant::now();
    let secrets = Secrets(install.env.clone());
    let registries = settings.registries.iter().filter(|(name, _)| !secrets.0.contains_key(name));
    install.env.extend(registries.cloned());
    install.authorities = settings.authorities.get();
    tracing::info!(project.name = %project, "fetching the packages of {project}");
    let result = match timeout(settings.timeout, execute(settings, project, install, &secrets)).await {
        Ok(Ok(installed)) => installed,
        Ok(Err(error)) => {
            return Err(diagnostic(format!("no packages could be fetched: {error:#}")));
        }
        Err(_) => {
            return Err(diagnostic(format!(
                "the packages were not fetched within {} ms (--install-timeout)",
                settings.timeout.as_millis()
            )));
        }
    };
    match result {
        InstallOutcome::Done { requests } => {
            let install_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(project.name = %project, requests, install_ms, "fetched the packages of {project}");
            Ok(())
        }
        InstallOutcome::Failed(diagnostic) => {
            let frame = diagnostic.frame.map(|frame| secrets.redact(&frame));
            Err(Diagnostic { message: secrets.redact(&diagnostic.message), frame, ..diagnostic })
        }
    }
}

/// The values of the environment, which .npmrc may put into a URL. They must not appear in logs,
/// events or answers.
struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// Replaces each value with the name of its variable. Values below six bytes are not secrets,
    /// and may be part of any word.
    fn redact(&self, text: &str) -> String {
        let secrets = self.0.iter().filter(|(_, value)| value.len() >= 6);
        secrets.fold(text.to_owned(), |text, (name, value)| text.replace(value, &format!("${{{name}}}")))
    }
}

/// Returns the addresses of the registries that the operator names, public or not.
async fn addresses(registries: &[(String, String)]) -> Vec<NetTarget> {
    let mut found = Vec::new();
    for (_, url) in registries {
        let Ok(url) = Url::parse(url) else { continue };
        let Some(host) = url.host_str().zip(url.port_or_known_default()) else { continue };
        // A host that is not found is reported once the installer requests a package from it.
        let addresses = lookup_host((host.0.trim_matches(['[', ']']), host.1)).await.into_iter().flatten();
        found.extend(addresses.map(|at| NetTarget { net: at.ip().into(), port: Some(at.port()) }));
    }
    found
}

/// Starts the process, sends it the request, and returns its answer. Its output is logged.
async fn execute(
    settings: &InstallerSettings,
    project: &ProjectName,
    mut install: InstallRequest,
    secrets: &Secrets,
) -> Result<InstallOutcome> {
    install.private_net.extend(addresses(&settings.registries).await);
    let mut command = Command::new(&settings.binary);
    if let Some(user) = settings.users.at_start() {
        command.uid(user.uid).gid(user.gid);
    }
    let mut child = command
        .arg("--install")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir("/")
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", settings.binary.display()))?;
    let mut line = serde_json::to_vec(&install).context("write a request")?;
    line.push(b'\n');
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut stdin, stdout, stderr) = (
        stdin.context("the installer has no standard input")?,
        stdout.context("the installer has no standard output")?,
        stderr.context("the installer has no standard error")?,
    );
    // A process that ends before it has read the request is reported by its exit status.
    let sending = async { drop(stdin.write_all(&line).await) };
    let answer = read_bounded(stdout, bounds::CONTROL_LINE as u64);
    let output = read_bounded(stderr, bounds::INSTALLER_OUTPUT);
    let ((), answer, output, status) = tokio::join!(sending, answer, output, child.wait());
    let output = secrets.redact(&String::from_utf8_lossy(&output));
    for line in logged_lines(&output) {
        tracing::warn!(project.name = %project, "output of the installer: {line}");
    }
    parse_answer(&answer).with_context(|| match status {
        Ok(status) => format!("the installer ended with {status}: {}", logged_lines(&output).join("\n")),
        Err(error) => format!("cannot read the installer's exit status: {error}"),
    })
}

/// Parses the answer. Its diagnostic is bounded.
///
/// # Errors
/// The answer is not valid. The error is bounded, too.
fn parse_answer(answer: &[u8]) -> Result<InstallOutcome> {
    // The error quotes parts of the answer.
    let quoted = |error: serde_json::Error| anyhow::anyhow!(cut(error.to_string(), bounds::QUOTED));
    serde_json::from_slice(answer).map_err(quoted)
}

/// Returns the lines of the installer's output that are logged.
fn logged_lines(output: &str) -> Vec<String> {
    let mut lines = output.lines().filter(|line| !line.trim().is_empty());
    let first = lines.by_ref().take(bounds::INSTALLER_LINES);
    let mut logged: Vec<_> = first.map(|line| cut(line.to_owned(), bounds::INSTALLER_LINE)).collect();
    match lines.count() {
        0 => {}
        more => logged.push(format!("({more} more lines)")),
    }
    logged
}

/// Reads an output to its end. Returns its first `max` bytes; the rest is discarded.
async fn read_bounded(mut output: impl AsyncRead + Unpin, max: u64) -> Vec<u8> {
    let mut first = Vec::new();
    let _ = (&mut output).take(max).read_to_end(&mut first).await;
    let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
    first
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngSeed};

    use super::*;

    #[test]
    fn values_of_the_environment_are_not_reported() {
        let env = [("TOKEN", "a-secret"), ("MODE", "test")].map(|(name, value)| (name.into(), value.into()));
        let text = Secrets(env.into()).redact("https://a-secret@test/ answered 401");
        assert_eq!(text, "https://${TOKEN}@test/ answered 401");
    }

    #[tokio::test]
    async fn a_registry_is_reached_at_its_port_alone() {
        let registries = [("R".to_owned(), "http://127.0.0.1:4873/npm/".to_owned())];
        assert_eq!(addresses(&registries).await, ["127.0.0.1:4873".parse().unwrap()]);
        assert_eq!(addresses(&[("R".to_owned(), "no URL".to_owned())]).await, []);
    }

    proptest! {
        #![proptest_config(Config {
            cases: 64,
            rng_seed: RngSeed::Fixed(11),
            failure_persistence: None,
            ..Config::default()
        })]

        #[test]
        fn whatever_the_installer_prints_is_bounded(
            text in "[a\n\u{0}\"\u{20ac}]{0,40}",
            times in 0..9_000_usize,
            is_answer: bool,
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let diagnostic = Diagnostic { message: text.repeat(times), ..Diagnostic::default() };
            let mut printed = serde_json::to_vec(&InstallOutcome::Failed(diagnostic.clone())).unwrap();
            if !is_answer {
                printed = [text.repeat(times).into_bytes(), noise].concat();
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let max = bounds::CONTROL_LINE;
            let read = runtime.block_on(read_bounded(printed.as_slice(), max as u64));
            prop_assert!(read.len() == printed.len().min(max));
            match parse_answer(&read) {
                Ok(InstallOutcome::Failed(parsed)) => prop_assert_eq!(parsed, diagnostic.bounded()),
                Ok(InstallOutcome::Done { .. }) => prop_assert!(!is_answer),
                Err(error) => {
                    prop_assert!(error.to_string().len() <= bounds::QUOTED);
                    prop_assert!(!is_answer || printed.len() > max);
                }
            }
            let logged = logged_lines(&String::from_utf8_lossy(&read));
            prop_assert!(logged.len() <= bounds::INSTALLER_LINES + 1);
            prop_assert!(logged.iter().all(|line| line.len() <= bounds::INSTALLER_LINE && !line.contains('\n')));
        }
    }
}
