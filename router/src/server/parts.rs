//! Construction of the router's parts: nothing of a project runs yet, and no request is accepted.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use switchyard_contract::publisher::Publisher;
use switchyard_edge::gate::Gate;
use switchyard_edge::socket::Listener;
use switchyard_program::descriptors;
use switchyard_telemetry::Tracing;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::crons::ProjectCrons;
use super::files::SettingsFiles;
use super::prepare::Ready;
use super::sandbox::Sandbox;
use crate::access_log::AccessLog;
use crate::admin::{self, Admin, Tokens};
use crate::cells::{Caches, CellSettings, Cells, DataFolders, Groups, SpanRelay};
use crate::checkout::Store;
use crate::config::{Debounce, RouterConfig};
use crate::crons::{BridgeMark, CronClock};
use crate::folder::Trash;
use crate::http;
use crate::live::{Command, Commands, CronRuns, Crons, Events, LiveTable, LogBuffer, StatusBoard, commands};
use crate::metrics::Metrics;
use crate::packages::{self, Authorities, Packages};
use crate::pickup::Pickups;
use crate::reload::{Control, ControlSettings, Parts};
use crate::root::{Overrides, Root};
use crate::runs::{MarkedLines, RunSettings, Runs};
use crate::user::Users;
use crate::watch;

/// All parts of a router, built and connected.
pub(super) struct RouterParts {
    pub(super) config: RouterConfig,
    pub(super) projects: Root,
    pub(super) listener: Listener,
    pub(super) admin_listeners: Vec<Listener>,
    pub(super) metrics: Metrics,
    pub(super) live: Arc<LiveTable>,
    pub(super) board: Arc<StatusBoard>,
    pub(super) logs: Arc<LogBuffer>,
    pub(super) cells: Arc<Cells>,
    pub(super) cron_clock: CronClock,
    pub(super) control: Control,
    pub(super) commands: Commands,
    pub(super) command_queue: mpsc::Receiver<Command>,
    pub(super) admin: Admin,
    pub(super) runs: Runs,
    pub(super) pickups: Pickups,
    pub(super) files: SettingsFiles,
    pub(super) publisher: Option<(Publisher, JoinHandle<()>)>,
    pub(super) access_log: Option<Arc<AccessLog>>,
    pub(super) tracing: Option<Tracing>,
    /// Limits of the largest project that the policy allows: folders and files.
    pub(super) largest_project: [u64; 2],
    pub(super) lock: File,
}

impl RouterParts {
    /// Builds everything from checked settings.
    ///
    /// # Errors
    /// A folder of the state folder cannot be created or read.
    pub(super) fn build(ready: Ready) -> Result<Self> {
        let Ready { config, projects, cell, sandbox, listener, admin, tokens, policy, events, .. } = ready;
        descriptors::raise_limit(Some(config.connections.max_connections));
        projects.persist_in(&config.state);
        if let Some(folders) = &ready.overrides {
            Overrides::record(folders, &config.state);
        }
        projects.overrides().open(ready.allowed, &config.state);
        let authorities = Authorities::new(ready.authorities);
        let publisher = events.map(Publisher::start).transpose()?;
        let metrics = Metrics::default();
        let access_log = ready
            .access_log
            .map(|output| AccessLog::start(output, &config.access_log, metrics.clone()))
            .transpose()
            .context("start the thread of the access log")?;
        let live = Arc::new(LiveTable::new());
        let Sandbox { users, groups, layers, missing, gaps } = sandbox;
        missing.into_iter().for_each(|missing| gaps.add(missing));
        let board = Arc::new(StatusBoard::default());
        board.set_sandbox(layers, gaps);
        let users = Arc::new(users);
        let events = Arc::new(Events::new(publisher.as_ref().map(|(publisher, _)| publisher.clone())));
        let logs = LogBuffer::in_folder(config.state.join("logs")).context("open the folder for logs")?;
        let logs = Arc::new(logs);
        let store = Arc::new(Store::open(&config.state)?);
        let install = installer_settings(&config, &cell, &users, &authorities);
        let packages = Arc::new(Packages::open(&config.state, install)?);
        let lines = Arc::new(MarkedLines::new(logs.clone()));
        let crons = Arc::new(Crons::open(&config.state, live.clone())?);
        let tracing = ready.tracing;
        let sinks = (lines.clone(), crons.clone(), tracing.clone().map(SpanRelay::new));
        let cells = Cells::new(cell_settings(&config, cell, users, groups, sinks)?)?;
        let (commands, command_queue) = commands();
        let runs =
            Runs::open(run_settings(&config, &events, &tracing), cells.clone(), commands.clone(), lines)
                .context("open the folder for ends of runs")?;
        let pickups = Pickups::open(config.state.join("files"), cells.clone())
            .context("open the folder for files that start tasks")?;
        let most = policy.most_read();
        let parts = Parts {
            store,
            packages,
            cells: cells.clone(),
            live: live.clone(),
            board: board.clone(),
            events,
            logs: logs.clone(),
            crons: crons.clone(),
            metrics: metrics.clone(),
            policy: Arc::new(policy),
        };
        let overrides = projects.overrides().clone();
        let mark = BridgeMark::open(&config.state);
        let cron_runs = CronRuns::new(live.clone(), commands.clone());
        runs.start_crons_with(Arc::new(ProjectCrons {
            live: live.clone(),
            crons: crons.clone(),
            runs: cron_runs.clone(),
        }));
        let cron_clock = CronClock { live: live.clone(), crons, runs: cron_runs, mark: mark.clone() };
        let called = CalledParts { overrides, mark, runs: runs.clone(), pickups: pickups.clone() };
        let admin_part = admin_part(&config, &parts, tokens.clone(), commands.clone(), called);
        let control = Control::new(control_settings(&config, &projects), parts)?;
        let files = SettingsFiles {
            config: config.clone(),
            tokens,
            publisher: publisher.as_ref().map(|(publisher, _)| publisher.clone()),
            authorities,
            certificates: [&listener, &admin]
                .into_iter()
                .filter_map(|listener| listener.tls().cloned())
                .collect(),
            access_log: access_log.clone(),
            commands: commands.clone(),
        };
        Ok(Self {
            config,
            projects,
            listener,
            admin_listeners: [Some(admin), ready.own_admin].into_iter().flatten().collect(),
            metrics,
            live,
            board,
            logs,
            cells,
            cron_clock,
            control,
            commands,
            command_queue,
            admin: admin_part,
            runs,
            pickups,
            files,
            publisher,
            access_log,
            tracing,
            largest_project: [most.folders, most.files],
            lock: ready.lock,
        })
    }

    pub(super) fn watch_settings(&self) -> watch::WatchSettings {
        watch::WatchSettings {
            root: self.projects.clone(),
            debounce: self.config.reload.debounce.quiet_time(),
            settles_early: self.config.reload.debounce == Debounce::Auto,
            poll: self.config.reload.poll,
            compare: self.config.reload.compare,
            max_folders: self.largest_project[0],
            max_files: self.largest_project[1],
        }
    }

    pub(super) fn http_settings(&self) -> http::HttpSettings {
        let connections = &self.config.connections;
        http::HttpSettings {
            dev: self.config.reload.dev,
            overlay: !self.config.reload.no_overlay,
            awaits_first: self.config.listen.is_inherited(),
            spans: self.tracing.clone().map(|tracing| http::RequestSpans {
                tracing,
                ignores_clients: self.config.traces.ignore_traceparent,
            }),
            trusted_proxies: connections.trusted_proxy.clone().unwrap_or_default(),
            limits: connections.limits(),
            access_log: self.access_log.clone(),
        }
    }
}

/// The settings of the installer of packages; `None` without `--allow-install`.
fn installer_settings(
    config: &RouterConfig,
    cell: &Path,
    users: &Arc<Users>,
    authorities: &Authorities,
) -> Option<packages::InstallerSettings> {
    config.cells.allow_install.then(|| packages::InstallerSettings {
        binary: cell.to_owned(),
        timeout: config.cells.install_timeout,
        users: users.clone(),
        registries: registries(),
        authorities: authorities.clone(),
    })
}

fn cell_settings(
    config: &RouterConfig,
    binary: PathBuf,
    users: Arc<Users>,
    groups: Option<Groups>,
    (sink, crons, spans): (Arc<MarkedLines>, Arc<Crons>, Option<Arc<SpanRelay>>),
) -> Result<CellSettings> {
    Ok(CellSettings {
        binary,
        run_dir: config.state.join("run"),
        data: DataFolders::new(config.state.join("data")),
        caches: Caches::new(config.state.join("cache"), config.cells.module_cache),
        spares: config.cells.spares,
        users,
        groups,
        max_cells: config.cells.max_cells,
        inspect: config.cells.inspectable(),
        sink,
        crons,
        spans,
        log_limit: config.cells.project_log,
        trash: Trash::open(&config.state.join("trash")).context("create the trash folder")?,
        dev: config.reload.dev,
    })
}

/// Parts that the admin listener calls.
struct CalledParts {
    overrides: Overrides,
    mark: BridgeMark,
    runs: Runs,
    pickups: Pickups,
}

fn admin_part(
    config: &RouterConfig,
    parts: &Parts,
    tokens: Option<Arc<Tokens>>,
    commands: Commands,
    CalledParts { overrides, mark, runs, pickups }: CalledParts,
) -> Admin {
    Admin {
        board: parts.board.clone(),
        live: parts.live.clone(),
        events: parts.events.clone(),
        logs: parts.logs.clone(),
        store: parts.store.clone(),
        cells: parts.cells.clone(),
        metrics: parts.metrics.clone(),
        commands,
        overrides,
        runs,
        pickups,
        bridge: mark,
        gate: Arc::new(Gate::new(config.admin.public_host.clone())),
        tokens,
        sends: admin::sends(),
        inspect: config.cells.inspectable(),
        installs: config.cells.allow_install,
    }
}

fn run_settings(config: &RouterConfig, events: &Events, tracing: &Option<Tracing>) -> RunSettings {
    RunSettings {
        dir: config.state.join("runs"),
        most: config.cells.runs(),
        load_time: config.reload.build_timeout,
        router: events.router().to_owned(),
        tracing: tracing.clone(),
    }
}

fn control_settings(config: &RouterConfig, projects: &Root) -> ControlSettings {
    ControlSettings {
        root: projects.clone(),
        state: config.state.clone(),
        grace: config.grace,
        build_timeout: config.reload.build_timeout,
        keep: config.reload.keep,
    }
}

/// Registries that packages come from, by the variables that Deno and npm read.
fn registries() -> Vec<(String, String)> {
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let named = |name: &str| Some((name.to_owned(), value(name)?));
    ["NPM_CONFIG_REGISTRY", "JSR_URL"].into_iter().filter_map(named).collect()
}
