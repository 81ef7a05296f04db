//! `GET /projects/{name}/logs`: what a project's cells print, as server-sent events.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use switchyard_contract::bounds::KEPT_LINES;
use tokio::time::{Instant, sleep_until, timeout};

use super::answer::{Answer, server_sent, streamed};
use super::deploys::bad_request;
use super::stream::{BEAT, HEARTBEAT};
use super::{Admin, unknown};
use crate::live::{LogBatch, LogReader};

/// New lines are sent together no more often than this: a project that prints without pause does not have the admin listener
/// send without pause.
const TOGETHER: Duration = Duration::from_millis(50);

/// As many as a screen or two have.
const LINES: usize = 100;

impl Admin {
    pub(super) fn logs(&self, name: &str, query: Option<&str>) -> Answer {
        let Query { lines, follow } = match Query::parse(query.unwrap_or_default()) {
            Ok(query) => query,
            Err(wrong) => return bad_request(&wrong),
        };
        let Some(mut reader) = self.logs.read(name, lines) else { return unknown(name) };
        let first = bytes_of(&reader.next_batch());
        let later = stream::unfold((reader, Instant::now()), next).take(if follow { usize::MAX } else { 0 });
        streamed("text/event-stream", stream::iter([first]).chain(later).map(Ok))
    }
}

/// `lines=100&follow=1`
struct Query {
    lines: usize,
    follow: bool,
}

impl Query {
    fn parse(text: &str) -> Result<Self, String> {
        let mut query = Self { lines: LINES, follow: false };
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (name, value) {
                ("lines", _) => {
                    let lines = value.parse().map_err(|_| format!("lines={value} is no whole number"))?;
                    query.lines = KEPT_LINES.min(lines);
                }
                ("follow", "1" | "true" | "") => query.follow = true,
                ("follow", "0" | "false") => query.follow = false,
                ("follow", _) => return Err(format!("follow={value} is neither 1 nor 0")),
                _ => return Err(format!("{name:?} is unknown: use lines=N and follow=1")),
            }
        }
        Ok(query)
    }
}

/// `due`: nothing is sent before.
async fn next((mut reader, due): (LogReader, Instant)) -> Option<(Bytes, (LogReader, Instant))> {
    match timeout(HEARTBEAT, reader.more()).await {
        Ok(true) => {
            sleep_until(due).await;
            Some((bytes_of(&reader.next_batch()), (reader, Instant::now() + TOGETHER)))
        }
        Ok(false) => None,
        Err(_) => Some((Bytes::from_static(BEAT), (reader, due))),
    }
}

fn bytes_of(batch: &LogBatch) -> Bytes {
    let mut text = String::new();
    if batch.lost > 0 {
        text.push_str(&server_sent("gap", &json!({ "lost": batch.lost })));
    }
    for line in &batch.lines {
        text.push_str(&server_sent("line", line));
    }
    Bytes::from(text)
}
