//! `/projects/{name}/checkouts`: the versions whose files the router still has, and those files as a
//! tar; and the files of versions that a bridge has made again.

mod receive;
mod tar;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use switchyard_contract::admin::{CheckoutInfo, Checkouts, DIGEST, OWN_DIGEST, VERSION};
use switchyard_contract::digest::Digest;
use switchyard_contract::incarnation::Incarnation;
use switchyard_contract::project::ProjectName;
use switchyard_edge::api::answer::{json, no_content};
use switchyard_edge::api::path::Path;
use switchyard_edge::api::query::{FromQuery, Query, QueryPairs};
use switchyard_edge::problem::Problem;
use tokio::task::spawn_blocking;
use utoipa::IntoParams;

use super::{Admin, AdminState, unknown_project};
use crate::checkout::ReceiveError;
use crate::live::Command;
use crate::version::{Tenant, Version};

/// The checkouts that are sent or received at once: each holds a thread.
pub(super) const MAX_SENDS: usize = 8;

/// The parameters of both endpoints.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CheckoutQuery {
    /// The incarnation that the checkouts are of. Default: the current one.
    #[param(value_type = Option<String>)]
    incarnation: Option<Incarnation>,
}

impl FromQuery for CheckoutQuery {
    const KEYS: &'static [&'static str] = &["incarnation"];

    fn from_query(pairs: &QueryPairs) -> Result<Self, Problem> {
        let incarnation = pairs.value("incarnation", "\"first\" or 16 hex digits")?;
        Ok(Self { incarnation })
    }
}

/// The checkouts of a project, the newest first
#[utoipa::path(get, path = "/projects/{name}/checkouts", tag = "checkouts",
    params(("name" = String, Path, description = "The project"), CheckoutQuery),
    responses(
        (status = 200, description = "The checkouts", body = Checkouts),
        (status = 404, description = "unknown-project"),
    ),
)]
pub(super) async fn checkouts(
    State(admin): AdminState,
    Path(name): Path<String>,
    Query(query): Query<CheckoutQuery>,
) -> Result<Response, Problem> {
    let tenant = admin.tenant(&name, &query)?;
    let (store, listed) = (admin.store.clone(), tenant.clone());
    let listed = spawn_blocking(move || store.list(&listed)).await.map_err(|error| {
        let detail = format!("the checkouts cannot be listed: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "checkouts", detail)
    })?;
    if listed.is_empty() && admin.board.one(&name).is_none() {
        return Err(unknown_project(&name));
    }
    let table = admin.live.load();
    let live = table.get(&name).and_then(|entry| entry.live.as_ref()).map(|live| &live.version);
    let live = live.filter(|live| live.incarnation == tenant.incarnation);
    let (live, project) = (live.map(|live| live.digest.short()), tenant.project);
    let checkouts = listed.into_iter().map(|(short, made)| CheckoutInfo {
        version: format!("{project}@{short}"),
        at: Timestamp::try_from(made).unwrap_or_default(),
        live: live.as_ref() == Some(&short),
        short,
    });
    Ok(json(StatusCode::OK, &Checkouts { checkouts: checkouts.collect() }))
}

/// The files of a checkout, as a tar
///
/// The connection breaks off if not all files can be read.
#[utoipa::path(get, path = "/projects/{name}/checkouts/{short}", tag = "checkouts",
    params(
        ("name" = String, Path, description = "The project"),
        ("short" = String, Path, description = "The first 12 digits of the digest"),
        CheckoutQuery,
    ),
    responses(
        (status = 200, description = "The own files", body = [u8], content_type = "application/x-tar",
            headers(
                ("x-switchyard-version" = String, description = "The version"),
                ("x-switchyard-digest" = String, description = "The version's digest"),
                ("x-switchyard-own-digest" = String, description = "The digest of the files, if it is another"),
            )),
        (status = 404, description = "unknown-project or unknown-checkout"),
    ),
)]
pub(super) async fn checkout(
    State(admin): AdminState,
    Path((name, short)): Path<(String, String)>,
    Query(query): Query<CheckoutQuery>,
) -> Result<Response, Problem> {
    let tenant = admin.tenant(&name, &query)?;
    let Ok(permit) = admin.sends.clone().try_acquire_owned() else {
        let detail = format!("{MAX_SENDS} checkouts are being sent: try again later");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail));
    };
    let (store, digits) = (admin.store.clone(), short.clone());
    let kept = spawn_blocking(move || store.find_by_digits(&tenant, &digits)).await;
    let Ok(Some(kept)) = kept else {
        if admin.board.one(&name).is_none() {
            return Err(unknown_project(&name));
        }
        let detail = format!("unknown checkout {short:?} of {name}: it may have been removed");
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown-checkout", detail));
    };
    let (digest, version) = (header(&kept.version.digest), header(&kept.version));
    let own = kept.own_digest().map(|own| header(&own));
    let mut answer = tar::send(kept, permit);
    answer.headers_mut().insert(DIGEST, digest);
    answer.headers_mut().insert(VERSION, version);
    answer.headers_mut().extend(own.map(|own| (OWN_DIGEST, own)));
    Ok(answer)
}

/// Keeps a version that no router has any more, for runs
///
/// The tar has the project's files below its name, and what it includes beside that folder. Packages are
/// those that the project has on the volume.
#[utoipa::path(put, path = "/projects/{name}/checkouts/{short}", tag = "checkouts",
    request_body(content = [u8], content_type = "application/x-tar"),
    params(
        ("name" = String, Path, description = "The project"),
        ("short" = String, Path, description = "The first 12 digits of the digest"),
        ("x-switchyard-digest" = String, Header, description = "The version's digest"),
        CheckoutQuery,
    ),
    responses(
        (status = 204, description = "The version is kept"),
        (status = 400, description = "bad-request: no digest, or another one than in the path"),
        (status = 404, description = "unknown-project"),
        (status = 422, description = "other-files: not those of the version; invalid-checkout"),
    ),
)]
pub(super) async fn keep(
    State(admin): AdminState,
    Path((name, short)): Path<(String, String)>,
    Query(query): Query<CheckoutQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let tenant = admin.tenant(&name, &query)?;
    if admin.board.one(&name).is_none() {
        return Err(unknown_project(&name));
    }
    let digest = headers.get(DIGEST).and_then(|digest| digest.to_str().ok()?.parse::<Digest>().ok());
    let digest = digest.filter(|digest| digest.short() == short).ok_or_else(|| {
        let detail = format!("{DIGEST} must be the version's digest, 64 hex digits that begin with {short}");
        Problem::bad_request(detail)
    })?;
    let Ok(permit) = admin.sends.clone().try_acquire_owned() else {
        let detail = format!("{MAX_SENDS} checkouts are being sent: try again later");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail));
    };
    let received = receive::unpack(admin.store.clone(), tenant.project.clone(), body).await?;
    let version = Version::new(&tenant, digest);
    admin.command(|answer| Command::KeepVersion { version, received, answer }).await??;
    drop(permit);
    Ok(no_content())
}

impl From<ReceiveError> for Problem {
    fn from(error: ReceiveError) -> Self {
        let (status, slug) = match &error {
            ReceiveError::OtherFiles(_) => (StatusCode::UNPROCESSABLE_ENTITY, "other-files"),
            ReceiveError::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "checkout"),
            ReceiveError::Interrupted => (StatusCode::SERVICE_UNAVAILABLE, "slow"),
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-checkout"),
        };
        Self::new(status, slug, error.to_string())
    }
}

impl Admin {
    /// Returns the owner of the checkouts: the incarnation in `query`, or else the current one.
    fn tenant(&self, name: &str, query: &CheckoutQuery) -> Result<Tenant, Problem> {
        let current = || self.board.one(name).map(|status| status.incarnation).unwrap_or_default();
        let incarnation = query.incarnation.unwrap_or_else(current);
        let project = ProjectName::parse(name).map_err(|_| unknown_project(name))?;
        Ok(Tenant::new(&project, incarnation))
    }
}

fn header(value: &impl ToString) -> HeaderValue {
    HeaderValue::from_str(&value.to_string()).expect("project names and digests are visible ASCII")
}
