//! `source freeze`: a stop to the deploys of a source, and its end.

use http::Method;

use super::super::Console;
use super::super::args::FreezeArgs;
use super::super::bridge::Bridge;
use super::super::failure::{DONE, Failure};
use super::super::report;
use super::read;
use switchyard_contract::source::SourceStatus;
use switchyard_contract::visible;

/// Freezes a source, or lifts the freeze. Returns the exit status.
///
/// # Errors
/// There is no answer, or it is not understood.
pub(super) async fn freeze(
    bridge: &Bridge,
    args: &FreezeArgs,
    json: bool,
    console: &mut Console<'_>,
) -> Result<u8, Failure> {
    let method = if args.lift { Method::DELETE } else { Method::POST };
    let query: Vec<_> = args.reason.as_deref().map(|reason| ("reason", reason)).into_iter().collect();
    let answer = bridge.call(bridge.request(method, &["sources", &args.source, "freeze"], &query)).await?;
    if json || !answer.status.is_success() {
        return report::print_answer(console, json, &answer);
    }
    let status: SourceStatus = read(&answer)?;
    let source = &args.source;
    let frozen = status.frozen.as_deref().map(visible::line);
    console.print(&match (args.lift, frozen) {
        (true, None) => format!("{source} is not frozen any more: its newest commit is deployed next"),
        (true, Some(reason)) => {
            format!("{source}: the freeze is lifted, and nothing is deployed still: {reason}")
        }
        (false, reason) => {
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            format!("{source} is frozen{reason}; switchyard source freeze {source} --lift ends it")
        }
    })?;
    Ok(DONE)
}
