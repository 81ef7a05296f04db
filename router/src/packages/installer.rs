//! The process that fetches packages: `switchyard-cell --install`, for one version, then it ends.

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

use super::Settings;
use crate::project::diagnostic;

/// Runs it to its end. Dropped, it is killed.
pub(super) async fn run(
    settings: &Settings,
    project: &ProjectName,
    mut install: InstallRequest,
) -> Result<(), Diagnostic> {
    let began = Instant::now();
    let secrets = Secrets(install.env.clone());
    let given = settings.registries.iter().filter(|(name, _)| !secrets.0.contains_key(name));
    install.env.extend(given.cloned());
    install.authorities = settings.authorities.get();
    tracing::info!(project.name = %project, "the packages of {project} are fetched");
    let result = match timeout(settings.patience, ask(settings, project, install, &secrets)).await {
        Ok(Ok(installed)) => installed,
        Ok(Err(error)) => {
            return Err(diagnostic(format!("no packages could be fetched: {error:#}")));
        }
        Err(_) => {
            return Err(diagnostic(format!(
                "the packages were not fetched within {} ms (--install-timeout)",
                settings.patience.as_millis()
            )));
        }
    };
    match result {
        InstallOutcome::Done { requests } => {
            let install_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(project.name = %project, requests, install_ms, "the packages of {project} are there");
            Ok(())
        }
        InstallOutcome::Failed(diagnostic) => {
            let frame = diagnostic.frame.map(|frame| secrets.hidden(&frame));
            Err(Diagnostic { message: secrets.hidden(&diagnostic.message), frame, ..diagnostic })
        }
    }
}

/// What .npmrc may have put into an URL, and what is in no log, event or answer.
struct Secrets(BTreeMap<String, String>);

impl Secrets {
    /// With a variable's name for its value. What is shorter is no secret, and may be part of any word.
    fn hidden(&self, text: &str) -> String {
        let secrets = self.0.iter().filter(|(_, value)| value.len() >= 6);
        secrets.fold(text.to_owned(), |text, (name, value)| text.replace(value, &format!("${{{name}}}")))
    }
}

/// Where the registries are that the operator names, public or not.
async fn reach(registries: &[(String, String)]) -> Vec<NetTarget> {
    let mut found = Vec::new();
    for (_, url) in registries {
        let Ok(url) = Url::parse(url) else { continue };
        let Some(host) = url.host_str().zip(url.port_or_known_default()) else { continue };
        // One that is not found is told when it is asked for something.
        let addresses = lookup_host((host.0.trim_matches(['[', ']']), host.1)).await.into_iter().flatten();
        found.extend(addresses.map(|at| NetTarget { net: at.ip().into(), port: Some(at.port()) }));
    }
    found
}

async fn ask(
    settings: &Settings,
    project: &ProjectName,
    mut install: InstallRequest,
    secrets: &Secrets,
) -> Result<InstallOutcome> {
    install.private_net.extend(reach(&settings.registries).await);
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
        stdin.context("it has an input")?,
        stdout.context("it has an output")?,
        stderr.context("it has an output")?,
    );
    // One that ends before it has read it is told by its end.
    let asking = async { drop(stdin.write_all(&line).await) };
    let (answer, said) =
        (heard(stdout, bounds::CONTROL_LINE as u64), heard(stderr, bounds::INSTALLER_OUTPUT));
    let ((), answer, said, ended) = tokio::join!(asking, answer, said, child.wait());
    let said = secrets.hidden(&String::from_utf8_lossy(&said));
    for line in shown(&said) {
        tracing::warn!(project.name = %project, "while packages were fetched: {line}");
    }
    understood(&answer).with_context(|| match ended {
        Ok(status) => format!("what fetches them ended with {status}: {}", shown(&said).join("\n")),
        Err(error) => format!("what fetches them is lost: {error}"),
    })
}

/// The answer, whose diagnostic is bounded.
fn understood(answer: &[u8]) -> Result<InstallOutcome> {
    // The error repeats parts of what was said.
    let quoted = |error: serde_json::Error| anyhow::anyhow!(cut(error.to_string(), bounds::QUOTED));
    serde_json::from_slice(answer).map_err(quoted)
}

/// The lines of its output that are logged.
fn shown(said: &str) -> Vec<String> {
    let mut lines = said.lines().filter(|line| !line.trim().is_empty());
    let shown = lines.by_ref().take(bounds::INSTALLER_LINES);
    let mut shown: Vec<_> = shown.map(|line| cut(line.to_owned(), bounds::INSTALLER_LINE)).collect();
    match lines.count() {
        0 => {}
        more => shown.push(format!("({more} more lines)")),
    }
    shown
}

/// The first `most` bytes of its output; the rest is let go.
async fn heard(mut output: impl AsyncRead + Unpin, most: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    let _ = (&mut output).take(most).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngSeed};

    use super::*;

    #[test]
    fn values_of_the_environment_are_not_told() {
        let env = [("TOKEN", "a-secret"), ("MODE", "test")].map(|(name, value)| (name.into(), value.into()));
        let text = Secrets(env.into()).hidden("https://a-secret@test/ answered 401");
        assert_eq!(text, "https://${TOKEN}@test/ answered 401");
    }

    #[tokio::test]
    async fn a_registry_is_reached_at_its_port_alone() {
        let registries = [("R".to_owned(), "http://127.0.0.1:4873/npm/".to_owned())];
        assert_eq!(reach(&registries).await, ["127.0.0.1:4873".parse().unwrap()]);
        assert_eq!(reach(&[("R".to_owned(), "no URL".to_owned())]).await, []);
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
            let most = bounds::CONTROL_LINE;
            let heard = runtime.block_on(heard(printed.as_slice(), most as u64));
            prop_assert!(heard.len() == printed.len().min(most));
            match understood(&heard) {
                Ok(InstallOutcome::Failed(read)) => prop_assert_eq!(read, diagnostic.bounded()),
                Ok(InstallOutcome::Done { .. }) => prop_assert!(!is_answer),
                Err(error) => {
                    prop_assert!(error.to_string().len() <= bounds::QUOTED);
                    prop_assert!(!is_answer || printed.len() > most);
                }
            }
            let shown = shown(&String::from_utf8_lossy(&heard));
            prop_assert!(shown.len() <= bounds::INSTALLER_LINES + 1);
            prop_assert!(shown.iter().all(|line| line.len() <= bounds::INSTALLER_LINE && !line.contains('\n')));
        }
    }
}
