//! The process that fetches packages: `switchyard-cell --install`, for one version, then it ends.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result};
use switchyard_bridge::event::Diagnostic;
use switchyard_bridge::project::ProjectName;
use switchyard_protocol::{Install, Installed};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::Settings;
use crate::project::diagnostic;

/// Bytes that are kept of what it says.
const MOST_SAID: u64 = 64 << 10;

/// Runs it to its end. Dropped, it is killed.
pub(super) async fn run(
    settings: &Settings,
    project: &ProjectName,
    install: &Install,
) -> Result<(), Diagnostic> {
    let began = Instant::now();
    tracing::info!(project.name = %project, "the packages of {project} are fetched");
    let result = match timeout(settings.patience, ask(settings, project, install)).await {
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
        Installed::Done { requests } => {
            let install_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(project.name = %project, requests, install_ms, "the packages of {project} are there");
            Ok(())
        }
        Installed::Failed(diagnostic) => Err(diagnostic),
    }
}

async fn ask(settings: &Settings, project: &ProjectName, install: &Install) -> Result<Installed> {
    let mut child = Command::new(&settings.binary)
        .arg("--install")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir("/")
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {}", settings.binary.display()))?;
    let mut line = serde_json::to_vec(install).context("write a request")?;
    line.push(b'\n');
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut stdin, stdout, stderr) = (
        stdin.context("it has an input")?,
        stdout.context("it has an output")?,
        stderr.context("it has an output")?,
    );
    // One that ends before it has read it is told by its end.
    let asking = async { drop(stdin.write_all(&line).await) };
    let ((), answer, said, ended) = tokio::join!(asking, heard(stdout), heard(stderr), child.wait());
    let said = String::from_utf8_lossy(&said);
    for line in said.lines().filter(|line| !line.trim().is_empty()) {
        tracing::warn!(project.name = %project, "while packages were fetched: {line}");
    }
    serde_json::from_slice(&answer).with_context(|| match ended {
        Ok(status) => format!("what fetches them ended with {status}: {}", said.trim()),
        Err(error) => format!("what fetches them is lost: {error}"),
    })
}

/// The first of what it says; the rest is let go.
async fn heard(mut output: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut kept = Vec::new();
    let _ = (&mut output).take(MOST_SAID).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
    kept
}
