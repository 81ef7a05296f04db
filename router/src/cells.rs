//! Cell processes: spares are kept warm, turned into the process of a version, and their end is
//! reported. Knows processes and sockets, but neither the states of projects nor requests.

mod answers;
mod budget;
mod caches;
mod cgroup;
mod control;
mod crons;
mod data;
mod exit;
mod lines;
mod monitor;
mod output;
mod pool;
mod probe;
mod process;
mod recount;
mod spans;
mod spares;
mod throttle;
mod usage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use switchyard_contract::event::Diagnostic;
use switchyard_detect::entry::{Entry, arguments};
use switchyard_protocol::{Identity, Job, ModuleCache, PlatformApi, Start};

pub(crate) use budget::{Budget, CellCount};
pub(crate) use caches::Caches;
pub(crate) use cgroup::Groups;
pub(crate) use crons::{CronRefusal, CronSink};
pub(crate) use data::DataFolders;
pub(crate) use exit::Exit;
#[cfg(test)]
pub(crate) use exit::ExitReason;
pub(crate) use output::{OutputLine, OutputSink};
pub(crate) use pool::Cells;
pub(crate) use process::{Cell, Inspector};
pub(crate) use spans::SpanRelay;
pub(crate) use throttle::LogVolume;

use crate::checkout::{Checkout, NodeModules};
use crate::folder::Trash;
use crate::inspect::Inspectable;
use crate::policy::Grant;
use crate::project::{Include, diagnostic};
use crate::user::{ExternalPaths, UserError, Users};
use crate::version::Version;

/// The default of `PORT` for projects that listen on it: Deno's own default. No port is opened,
/// whichever one a project names.
const PORT: &str = "8000";

/// The settings of cells.
#[derive(Debug)]
pub(crate) struct CellSettings {
    /// The path of `switchyard-cell`.
    pub(crate) binary: PathBuf,
    /// A directory of the router's own. Each cell has its sockets in a directory of its own below
    /// it.
    pub(crate) run_dir: PathBuf,
    pub(crate) data: DataFolders,
    pub(crate) caches: Caches,
    /// The number of warmed processes without a version.
    pub(crate) spares: usize,
    /// The number of cells that may run at once: beyond it, idle ones end.
    pub(crate) max_cells: usize,
    /// The users that cells run as.
    pub(crate) users: Arc<Users>,
    pub(crate) groups: Option<Groups>,
    pub(crate) inspect: Inspectable,
    /// Receives every line that a version prints, besides the log.
    pub(crate) sink: Arc<dyn OutputSink>,
    /// Receives what versions register with `Deno.cron`.
    pub(crate) crons: Arc<dyn CronSink>,
    /// Takes the spans of cells. `None`: they have no telemetry.
    pub(crate) spans: Option<Arc<SpanRelay>>,
    /// The bytes that a project may print into the log in a minute.
    pub(crate) log_limit: u64,
    /// Removes the folders of cells that have ended.
    pub(crate) trash: Trash,
    /// `true`: projects are being developed here, which they find in `NODE_ENV`.
    pub(crate) dev: bool,
}

impl CellSettings {
    /// The default of `NODE_ENV`. Libraries show the internals of errors to clients and log more
    /// where it is not `production`, which is why hosts set it.
    fn node_env(&self) -> &'static str {
        if self.dev { "development" } else { "production" }
    }
}

/// Everything that is needed to start a version in a cell.
#[derive(Debug, Clone)]
pub(crate) struct LaunchSpec {
    pub(crate) version: Version,
    pub(crate) checkout: Checkout,
    /// With an empty path where the version has tasks alone, and the job has its own modules.
    pub(crate) entry: Entry,
    /// The files of the checkout that lie beside the project.
    pub(crate) include: Vec<Include>,
    pub(crate) grant: Arc<Grant>,
    pub(crate) api: PlatformApi,
    /// The port of the server that gets the requests, where the project has several.
    pub(crate) port: Option<u16>,
    /// `true`: its responses are compressed for clients that accept it.
    pub(crate) compress: bool,
    /// The path of the import map, relative to the project, if no deno.json names one.
    pub(crate) import_map: Option<String>,
    /// The modules of its tasks, relative to the project.
    pub(crate) modules: Arc<[String]>,
    /// Work that the cell does instead of serving.
    pub(crate) job: Option<Job>,
    /// Receives every line that the cell prints, besides the project's log.
    pub(crate) output: Option<Arc<dyn OutputSink>>,
}

/// The priority of a cell's process on busy processors, from its start to its end: raising it again
/// would need privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    Normal,
    /// For runs, whose users do not wait for each millisecond.
    Low,
}

impl LaunchSpec {
    /// The priority of the work.
    fn priority(&self) -> Priority {
        match self.job {
            Some(Job::Call(_) | Job::Registry { .. }) => Priority::Low,
            // A save waits for it.
            Some(Job::Link { .. }) | None => Priority::Normal,
        }
    }

    fn start(&self, settings: &CellSettings, folders: CellPaths, identity: Option<Identity>) -> Start {
        let CellPaths { socket, transport, probe, inspect, tmp, data, cache } = folders;
        let version = self.version.to_string();
        let own = [
            ("SWITCHYARD_PROJECT", self.version.project.to_string()),
            ("SWITCHYARD_VERSION", version.clone()),
            ("TMPDIR", tmp.to_string_lossy().into_owned()),
            ("DATA_DIR", data.to_string_lossy().into_owned()),
        ];
        let defaults = [("PORT", PORT), ("NODE_ENV", settings.node_env())];
        let mut env = BTreeMap::from(defaults.map(|(name, value)| (name.to_owned(), value.to_owned())));
        // The router's own environment is not passed on.
        env.extend(self.entry.env.clone());
        env.extend(self.grant.env.clone());
        env.extend(own.map(|(name, value)| (name.to_owned(), value)));
        let NodeModules { own, others } = self.checkout.node_modules();
        Start {
            project: self.version.project.to_string(),
            version,
            checkout: self.checkout.dir.clone(),
            root: self.root().to_owned(),
            node_modules: own
                .or_else(|| self.checkout.fetched_node_modules())
                .or_else(|| self.checkout.linked_node_modules()),
            other_node_modules: others,
            packages: self.checkout.packages(),
            entry: self.entry.path.clone(),
            args: arguments(&self.entry.args, &env),
            preload: self.entry.preload.clone(),
            port: self.port,
            compress: self.compress,
            import_map: self.import_map.clone(),
            api: self.api.clone(),
            socket,
            transport,
            probe,
            inspect,
            env,
            tmp,
            data,
            cache,
            permissions: self.grant.permissions.clone(),
            limits: self.grant.limits,
            identity,
            job: self.job.clone(),
        }
    }

    /// Returns the specification of a cell that links the modules of the tasks and runs none of the
    /// version's code. `None`: there are none.
    pub(crate) fn linking(&self) -> Option<Self> {
        // Imports are found as in TypeScript if one of the modules is.
        let main = self.modules.iter().find(|module| is_typescript(module)).or(self.modules.first())?;
        let entry = Entry { path: main.clone(), env: self.entry.env.clone(), ..Entry::default() };
        let job = Job::Link { modules: self.modules.to_vec() };
        Some(Self { entry, port: None, job: Some(job), ..self.clone() })
    }

    /// The folder of the checkout, which holds everything of the version.
    fn folder(&self) -> &Path {
        self.checkout.dir.parent().unwrap_or(&self.checkout.dir)
    }

    /// The root of the version's files in the checkout.
    pub(crate) fn root(&self) -> &Path {
        let dir = &self.checkout.dir;
        dir.parent().filter(|_| !self.include.is_empty()).unwrap_or(dir)
    }
}

fn is_typescript(module: &str) -> bool {
    [".ts", ".tsx", ".mts", ".cts"].iter().any(|extension| module.ends_with(extension))
}

/// The paths of one cell.
struct CellPaths {
    socket: PathBuf,
    transport: PathBuf,
    probe: PathBuf,
    inspect: Option<PathBuf>,
    tmp: PathBuf,
    data: PathBuf,
    cache: Option<ModuleCache>,
}

/// The paths outside the state folder that a start names.
fn outside(start: &Start) -> ExternalPaths<'_> {
    let packages = || start.node_modules.iter().chain(start.other_node_modules.values());
    let read = packages().chain(&start.permissions.read).map(PathBuf::as_path);
    let write = start.permissions.write.iter().map(PathBuf::as_path);
    ExternalPaths { read: read.collect(), write: write.collect() }
}

/// The reason why a version has no cell.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The version cannot be served.
    Failed(Diagnostic),
    /// The version cannot be served because something is missing that could be fetched.
    Missing(Diagnostic),
    /// The router could not make a process. The version is not to blame.
    NoProcess(anyhow::Error),
    /// The cell neither served nor failed in time, and was ended.
    TimedOut(Duration),
}

impl From<UserError> for StartError {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Refused(message) => Self::Failed(diagnostic(message)),
            UserError::Failed(error) => Self::NoProcess(error),
        }
    }
}
