//! The cost of requests in system calls and in instructions. Unlike times, they do not depend on
//! the speed of the machine, or on what else runs there.

use rustix::process::Signal;
use rustix::thread::{CpuSet, sched_getaffinity};

pub use calls::{CallTrace, Calls};
pub use instructions::InstructionCounter;

use crate::client::Raw;
use crate::eventually;
use crate::router::Router;
use crate::usage::is_stopped;
use crate::volume::Volume;

mod calls;
mod instructions;

const BODY: &str = "hello world";

/// Cores that the router uses. It has a thread for each: on more of them, fewer requests meet on
/// one thread.
const CORES: usize = 2;

/// Returns a volume with one project, whose handler costs next to nothing.
pub fn volume() -> Volume {
    Volume::with("a", format!("export default {{ fetch: () => new Response('{BODY}') }};\n"))
}

/// Clients that send equal requests to the project of [`volume`].
#[derive(Debug)]
pub struct Load<'a> {
    router: &'a Router,
    connections: Vec<Raw>,
    request: String,
}

impl<'a> Load<'a> {
    /// Connects `clients`, whose requests have these header lines besides `Host`.
    pub async fn connect(router: &'a Router, clients: usize, headers: &str) -> Self {
        let mut connections = Vec::new();
        for _ in 0..clients {
            connections.push(router.public.open().await);
        }
        Self { router, connections, request: format!("GET /a/ HTTP/1.1\r\nhost: a\r\n{headers}\r\n") }
    }

    /// Sends `rounds` requests on each connection: all of the clients send one before the router
    /// reads any, and then they read the responses. Returns the number of requests.
    pub async fn send(&mut self, rounds: usize) -> usize {
        let pid = self.router.pid().as_raw_nonzero().get().unsigned_abs();
        let is_shared = self.connections.len() > 1;
        for _ in 0..rounds {
            if is_shared {
                self.router.signal(Signal::STOP);
                eventually("the router stops", || std::future::ready(is_stopped(pid))).await;
            }
            for connection in &mut self.connections {
                connection.send(&self.request).await;
            }
            if is_shared {
                self.router.signal(Signal::CONT);
            }
            for connection in &mut self.connections {
                connection.until(BODY).await;
            }
        }
        rounds * self.connections.len()
    }
}

/// Returns a command that runs another one, whose arguments follow, on few cores.
fn on_few_cores() -> Vec<String> {
    let set = sched_getaffinity(None).expect("the cores of this process are known");
    let cores: Vec<_> = (0..CpuSet::MAX_CPU)
        .filter(|core| set.is_set(*core))
        .take(CORES)
        .map(|core| core.to_string())
        .collect();
    ["taskset", "--cpu-list", &cores.join(",")].map(str::to_owned).to_vec()
}
