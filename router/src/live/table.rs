//! The live table: which version of each project gets new requests. One writer, many readers; a
//! reader takes one pointer and holds no lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use switchyard_bridge::event::Diagnostic;
use tokio::sync::watch;

use crate::cells::Cell;
use crate::drain::InFlight;
use crate::metrics::Requests;
use crate::project::{ProjectName, Route};
use crate::version::Version;

/// The table and its news.
#[derive(Debug)]
pub(crate) struct Live {
    table: ArcSwap<Table>,
    changed: watch::Sender<()>,
}

/// All projects that are known, at one moment.
#[derive(Debug, Default, Clone)]
pub(crate) struct Table {
    projects: HashMap<ProjectName, Arc<Entry>>,
    hosts: HashMap<String, ProjectName>,
    /// The longest first.
    prefixes: Vec<(String, ProjectName)>,
}

/// One project, as requests see it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) project: ProjectName,
    pub(crate) live: Option<LiveVersion>,
    /// The newest version, when it failed.
    pub(crate) failed: Option<Failure>,
    pub(crate) routes: Vec<Route>,
    pub(crate) requests: Arc<Requests>,
}

/// A version that new requests go to.
#[derive(Debug, Clone)]
pub(crate) struct LiveVersion {
    pub(crate) version: Version,
    /// The version as the value of `x-switchyard-version`.
    pub(crate) header: http::HeaderValue,
    /// `None` while it is stopped: the next request has it started.
    pub(crate) running: Option<Arc<Running>>,
}

/// A version that cannot be served.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// `None` when its files could not even be read.
    pub(crate) version: Option<Version>,
    /// The version (or else the project's name) as the value of `x-switchyard-stale`.
    pub(crate) header: http::HeaderValue,
    pub(crate) error: Diagnostic,
    pub(crate) at: Instant,
}

/// A version's cell and the requests that are in it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) cell: Arc<Cell>,
    pub(crate) in_flight: Arc<InFlight>,
    /// In milliseconds since `epoch`.
    last_used: AtomicU64,
    epoch: Instant,
}

impl LiveVersion {
    pub(crate) fn new(version: Version, running: Option<Arc<Running>>) -> Self {
        let header = header(&version.to_string());
        Self { version, header, running }
    }
}

impl Failure {
    pub(crate) fn new(project: &ProjectName, version: Option<Version>, error: Diagnostic) -> Self {
        let shown = version.as_ref().map_or_else(|| project.to_string(), ToString::to_string);
        Self { version, header: header(&shown), error, at: Instant::now() }
    }
}

fn header(text: &str) -> http::HeaderValue {
    http::HeaderValue::from_str(text).expect("project names and digests are visible ASCII")
}

impl Running {
    pub(crate) fn new(cell: Arc<Cell>) -> Self {
        let running =
            Self { cell, in_flight: Arc::default(), last_used: AtomicU64::new(0), epoch: Instant::now() };
        running.touch();
        running
    }

    /// Notes that a request came.
    pub(crate) fn touch(&self) {
        let millis = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_used.store(millis, Ordering::Relaxed);
    }

    pub(crate) fn last_used(&self) -> Instant {
        self.epoch + Duration::from_millis(self.last_used.load(Ordering::Relaxed))
    }
}

impl Entry {
    pub(crate) fn running(&self) -> Option<&Arc<Running>> {
        self.live.as_ref()?.running.as_ref()
    }
}

impl Live {
    pub(crate) fn new() -> Self {
        Self { table: ArcSwap::default(), changed: watch::Sender::new(()) }
    }

    /// The table of this moment.
    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    /// Tells of every swap from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Puts `entry` in the place of what the table has of its project. One swap: whoever loads the
    /// table sees it all or not at all. For the one writer.
    pub(crate) fn put(&self, entry: Entry) {
        self.swap(|projects| {
            projects.insert(entry.project.clone(), Arc::new(entry));
        });
    }

    /// Takes a project out. For the one writer.
    pub(crate) fn remove(&self, project: &ProjectName) {
        self.swap(|projects| {
            projects.remove(project);
        });
    }

    fn swap(&self, change: impl FnOnce(&mut HashMap<ProjectName, Arc<Entry>>)) {
        let mut projects = self.table.load().projects.clone();
        change(&mut projects);
        self.table.store(Arc::new(Table::new(projects)));
        self.changed.send_replace(());
    }
}

impl Table {
    fn new(projects: HashMap<ProjectName, Arc<Entry>>) -> Self {
        let mut routed: Vec<_> = projects.values().filter(|entry| !entry.routes.is_empty()).collect();
        // Of two projects that claim the same route, the first by name has it.
        routed.sort_by(|a, b| b.project.cmp(&a.project));
        let mut hosts = HashMap::new();
        let mut prefixes = HashMap::new();
        for entry in routed {
            for route in &entry.routes {
                match route {
                    Route::Host(host) => hosts.insert(host.clone(), entry.project.clone()),
                    Route::Prefix(prefix) => prefixes.insert(prefix.clone(), entry.project.clone()),
                };
            }
        }
        let mut prefixes: Vec<_> = prefixes.into_iter().collect();
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { projects, hosts, prefixes }
    }

    pub(crate) fn project(&self, name: &str) -> Option<&Arc<Entry>> {
        self.projects.get(name)
    }

    pub(crate) fn projects(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.projects.values()
    }

    /// The project that a request is for, and the path prefix that is taken off before it is
    /// handed on (empty when the host named the project). `host` is lower case and has no port.
    pub(crate) fn route<'p>(&self, host: &str, path: &'p str) -> Option<(&Arc<Entry>, &'p str)> {
        let by_host = || {
            let label = host.split('.').next().unwrap_or(host);
            let name = self.hosts.get(host).map_or(label, ProjectName::as_str);
            Some((self.projects.get(name)?, ""))
        };
        let by_prefix = || {
            let (prefix, name) = self.prefixes.iter().find(|(prefix, _)| is_below(path, prefix))?;
            Some((self.projects.get(name)?, &path[..prefix.len()]))
        };
        let by_segment = || {
            let name = path.strip_prefix('/')?.split('/').next()?;
            Some((self.projects.get(name)?, &path[..=name.len()]))
        };
        by_host().or_else(by_prefix).or_else(by_segment)
    }
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, routes: Vec<Route>) -> Entry {
        let project = ProjectName::parse(name).unwrap();
        Entry { project, live: None, failed: None, routes, requests: Arc::default() }
    }

    fn table() -> Arc<Table> {
        let live = Live::new();
        live.put(entry("blog", vec![Route::Host("www.example.com".into())]));
        live.put(entry("shop", vec![Route::Prefix("/store".into()), Route::Prefix("/store/old".into())]));
        live.put(entry("zoo", vec![Route::Prefix("/store".into())]));
        live.load().clone()
    }

    #[test]
    fn the_first_label_of_the_host_names_the_project() {
        let table = table();
        let (found, prefix) = table.route("blog.localhost", "/shop/x").unwrap();
        assert_eq!((found.project.as_str(), prefix), ("blog", ""));
    }

    #[test]
    fn else_the_first_path_segment_does() {
        let table = table();
        for (path, prefix) in [("/shop", "/shop"), ("/shop/", "/shop"), ("/shop/a?b", "/shop")] {
            let path = path.split('?').next().unwrap();
            let (found, cut) = table.route("localhost", path).unwrap();
            assert_eq!((found.project.as_str(), cut), ("shop", prefix));
        }
        assert!(table.route("localhost", "/shopping").is_none());
        assert!(table.route("localhost", "/").is_none());
    }

    #[test]
    fn a_project_can_claim_hosts_and_prefixes_and_the_first_by_name_wins() {
        let table = table();
        let name = |host: &str, path: &'static str| {
            let (found, prefix) = table.route(host, path).unwrap();
            (found.project.to_string(), prefix)
        };
        assert_eq!(name("www.example.com", "/"), ("blog".to_owned(), ""));
        assert_eq!(name("localhost", "/store/x"), ("shop".to_owned(), "/store"));
        assert_eq!(name("localhost", "/store/old/x"), ("shop".to_owned(), "/store/old"));
    }

    #[test]
    fn a_reader_keeps_the_table_that_it_loaded() {
        let live = Live::new();
        live.put(entry("blog", vec![]));
        let before = live.load();
        live.remove(&ProjectName::parse("blog").unwrap());
        assert!(before.project("blog").is_some());
        assert!(live.load().project("blog").is_none());
    }
}
