//! The health check of a new version: one request on its cell's socket, like a client's.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use switchyard_contract::bounds::HEALTH_HEAD;
use switchyard_contract::event::Diagnostic;
use switchyard_contract::project::ProjectName;
use switchyard_detect::config::in_file;
use switchyard_edge::forwarded::{Client, TrustedProxies, set_forwarded};
use switchyard_edge::target::set_form;
use switchyard_edge::upstream::{HeadBudget, ReadsOn};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::project::Healthcheck;

const AGENT: HeaderValue = HeaderValue::from_static("switchyard-healthcheck");

/// Checks the cell of `project` that listens on `socket`, with the whole URL in the request line if
/// it `takes_urls`.
///
/// # Errors
/// The cell does not answer 2xx within `time_left`. The diagnostic says what happened.
pub(crate) async fn check(
    socket: &Path,
    takes_urls: bool,
    project: &ProjectName,
    healthcheck: &Healthcheck,
    time_left: Duration,
) -> Result<(), Diagnostic> {
    let outcome = match timeout(time_left, send(socket, takes_urls, project, healthcheck)).await {
        Ok(Ok(status)) if status.is_success() => return Ok(()),
        Ok(Ok(status)) => format!("answered {status}"),
        Ok(Err(error)) => format!("was not answered: {error:#}"),
        Err(_) => {
            format!(
                "was not answered within the {} ms that were left of --build-timeout",
                time_left.as_millis()
            )
        }
    };
    let Healthcheck { file, path } = healthcheck;
    let message = format!(
        "the health check GET {path} {outcome}; a new version is published when it answers 2xx \
         (\"switchyard.healthcheck\" in {file})"
    );
    Err(in_file(file, message))
}

/// The failure of a static site that has no file at the path of its health check.
pub(crate) fn no_file(Healthcheck { file, path }: &Healthcheck) -> Diagnostic {
    let message = format!(
        "the health check GET {path} finds no file in the static site; a new version is published when one \
         answers it (\"switchyard.healthcheck\" in {file})"
    );
    in_file(file, message)
}

/// The failure of a project that has a health check, and nothing that answers requests.
pub(crate) fn no_handler(Healthcheck { file, path }: &Healthcheck) -> Diagnostic {
    let message = format!(
        "the health check GET {path} has nothing to answer it: the project has tasks and no handler; remove \
         \"switchyard.healthcheck\" in {file}, or name the file with the handler (\"switchyard.entry\")"
    );
    in_file(file, message)
}

/// Sends the request, and returns the status of the answer.
async fn send(
    socket: &Path,
    takes_urls: bool,
    project: &ProjectName,
    healthcheck: &Healthcheck,
) -> anyhow::Result<StatusCode> {
    let stream = ReadsOn::new(UnixStream::connect(socket).await?, HeadBudget::new(HEALTH_HEAD));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = healthcheck.path.clone().into();
    let host = HeaderValue::from_str(&format!("{}.localhost", project.label()))?;
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let itself = Client::new(local, local, false, &TrustedProxies::default());
    set_forwarded(request.headers_mut(), &itself, &host, "");
    request.headers_mut().insert(USER_AGENT, AGENT);
    set_form(&mut request, takes_urls);
    let mut answer = pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        // An answer that arrived before the end of the connection counts.
        _ = connection => answer.await,
    };
    Ok(answer?.status())
}
