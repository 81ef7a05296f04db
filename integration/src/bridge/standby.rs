//! A bridge that waits for the volume of another one.

use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use super::addresses::reserve;
use super::{Bridge, Builder};
use crate::client::Client;
use crate::log::Log;
use crate::process::{self, Process, ServerExit};
use crate::within;

/// A bridge that waits. Dropping it kills it.
#[derive(Debug)]
pub struct Standby {
    /// A client of its API.
    pub client: Client,
    /// The address at which it will pass requests on.
    pub forward: SocketAddr,
    pub log: Log,
    projects: PathBuf,
    process: Process,
}

impl Builder {
    /// Starts it at addresses of its own, and returns when it waits.
    ///
    /// # Panics
    /// It ends, or does not wait.
    pub async fn start_standby(self) -> Standby {
        let forward = reserve();
        let builder = self.flag("listen", reserve()).flag("forward", forward);
        let (process, log) = builder.spawn();
        let waits = log.wait_for(|record| message(record).starts_with("standby: "));
        let Some(record) = within("a bridge says that it waits", waits).await else {
            panic!("a bridge ended instead of waiting:\n{}", log.text());
        };
        let client = Client::new(process::address(&record, "listen"));
        Standby { client, forward, log, projects: builder.projects.clone(), process }
    }
}

impl Standby {
    /// Returns true once it has the volume.
    pub fn has_taken_over(&self) -> bool {
        self.log.records().iter().any(|record| message(record) == "listening")
    }

    /// Waits until it serves, and knows every router to be ready.
    pub async fn taken_over(self) -> Bridge {
        let bridge = Bridge::listening(self.process, self.log, self.projects).await;
        bridge.ready().await;
        bridge.asks_all().await;
        bridge
    }

    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for the end, and for the last line of the log.
    pub async fn ended(mut self) -> ServerExit {
        self.process.ended(self.log.clone()).await
    }
}

fn message(record: &Value) -> &str {
    record["message"].as_str().unwrap_or_default()
}
