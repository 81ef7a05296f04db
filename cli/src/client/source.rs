//! `source`: the git sources of a bridge.

use http::Method;
use serde::de::DeserializeOwned;

use super::Console;
use super::args::SourceCommand;
use super::bridge::{Answer, Bridge, CallError};
use super::failure::Failure;
use super::progress::Progress;
use super::requests::{self, ApiRequest};
use switchyard_contract::visible;

mod dev;
mod explain;
mod freeze;
mod list;
mod outcome;
mod show;
mod sync;

/// The number of times that a sync may take as long as another answer: the longest fetches take
/// minutes.
const PATIENCE: u32 = 10;

/// Runs a verb. Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn run(
    bridge: &Bridge,
    command: SourceCommand,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    match command {
        SourceCommand::List(_) => list::list(bridge, json, console).await,
        SourceCommand::Show(args) => show::show(bridge, &args.source, json, console).await,
        SourceCommand::Sync(args) => sync::sync(bridge, &args, json, console).await,
        SourceCommand::Publish(args) => {
            let query = args.commit.as_deref().map(|commit| ("commit", commit));
            let request = post(vec!["sources", &args.source, "publish"], query.into_iter().collect());
            sync::finish(&ask(bridge, &request, json, console).await?, json, console)
        }
        SourceCommand::Approve(args) => {
            let request = post(vec!["sources", &args.source, "approve"], Vec::new());
            sync::finish(&ask(bridge, &request, json, console).await?, json, console)
        }
        SourceCommand::Freeze(args) => freeze::freeze(bridge, &args, json, console).await,
        SourceCommand::Dev(args) => dev::dev(bridge, args, json, console).await,
        SourceCommand::Explain(args) => explain::explain(bridge, &args, json, console).await,
    }
}

fn post<'a>(path: Vec<&'a str>, query: Vec<(&'a str, &'a str)>) -> ApiRequest<'a> {
    ApiRequest { method: Method::POST, path, query, upload: None, wait: true }
}

/// Sends a request that ends with a sync, and waits for its outcome.
async fn ask(
    bridge: &Bridge,
    request: &ApiRequest<'_>,
    json: bool,
    console: &mut Console<'_>,
) -> Result<Answer, Failure> {
    let bridge = bridge.patient(if request.wait { PATIENCE } else { 1 });
    requests::ask(&bridge, request, &mut Progress::new(console, json)).await
}

/// Reads the body of an answer that says what was asked for.
fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, CallError> {
    serde_json::from_str(&answer.body).map_err(|error| CallError::Strange(error.to_string()))
}

/// The first 12 digits of a commit's or a tree's id.
fn short(id: &str) -> String {
    visible::word(id).chars().take(12).collect()
}
