//! The plan of a version: its launch specification and all else that is needed to serve it.

use std::collections::BTreeMap;
use std::sync::Arc;

use switchyard_contract::admin::Setting;
use switchyard_contract::event::Diagnostic;
use switchyard_contract::platform::Platform;
use switchyard_detect::entry::{self, Entry};
use switchyard_protocol::PlatformApi;
use switchyard_protocol::assets::{self, Assets};
use switchyard_tasks::declared::Declared;

use crate::cells::LaunchSpec;
use crate::checkout::{Checkout, Store};
use crate::live::LiveSite;
use crate::policy::{PermissionRequest, Policy};
use crate::project::{
    ClaimedRoutes, Healthcheck, InstalledPackages, LifecycleOptions, Manifest, PrefixHandling,
    SupabaseFunction, choose_fallback,
};
use crate::token::TokenVerifier;
use crate::version::Version;

/// A version that is to be built: its plan, or the reason why it cannot be built.
pub(crate) type Candidate = Result<Plan, Diagnostic>;

/// Everything that is needed to serve a version.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) launch: Arc<LaunchSpec>,
    pub(crate) routes: ClaimedRoutes,
    pub(crate) prefix: PrefixHandling,
    /// Verifies the tokens of its requests.
    pub(crate) verifier: Option<Arc<TokenVerifier>>,
    /// The configuration of the Supabase functions folder that the project lies in.
    pub(crate) function: Option<SupabaseFunction>,
    pub(crate) lifecycle: LifecycleOptions,
    pub(crate) requested: Arc<PermissionRequest>,
    /// The packages on the volume that it was made with. `None`: it was made by an earlier run.
    pub(crate) installed: Option<InstalledPackages>,
    /// The files that are served without a cell.
    pub(crate) site: Option<Arc<LiveSite>>,
    pub(crate) served_by: ServedBy,
    pub(crate) tasks: Arc<Declared>,
    /// The keys of its own configuration, as they are shown.
    pub(crate) settings: Arc<[Setting]>,
}

/// The part of a version that answers its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServedBy {
    /// Its code.
    Cells,
    /// Its files alone: it has no cell.
    Files,
    /// None: it has tasks, and no cell while none of them runs.
    Nothing,
}

/// The configuration that a Supabase functions folder has for a project.
#[derive(Debug, Default)]
pub(super) struct FunctionConfig {
    pub(super) current: Option<SupabaseFunction>,
    /// The configuration of the live version.
    pub(super) of_live: Option<SupabaseFunction>,
}

/// The last good version of an earlier run.
#[derive(Debug)]
pub(crate) struct RecordedVersion {
    pub(crate) version: Version,
    /// The configuration of its functions folder at that time.
    pub(crate) function: Option<SupabaseFunction>,
}

impl Plan {
    /// # Errors
    /// The version's requests need tokens, and the policy names no secret to verify them with.
    pub(super) fn new(
        version: Version,
        checkout: Checkout,
        manifest: Manifest,
        config: FunctionConfig,
        policy: &Policy,
        store: &Store,
    ) -> Result<Self, Diagnostic> {
        let grant = policy.shared_grant(&version.project, &manifest.requested);
        let Manifest {
            entry,
            routes,
            prefix,
            requested,
            include,
            lifecycle,
            platform,
            function,
            import_map,
            port,
            compress,
            worker,
            assets,
            tasks,
            settings,
        } = manifest;
        let before = config.of_live.and_then(|function| function.verify_jwt);
        let verifies = function.map(|function| function.verify_jwt);
        let verifier =
            verifies.map(|verifies| TokenVerifier::of(&version.project, verifies, before, &grant.env));
        let verifier = verifier.transpose()?.flatten().map(Arc::new);
        let served_by = match &entry {
            None => ServedBy::Nothing,
            Some(_) if platform == Platform::Static => ServedBy::Files,
            Some(_) => ServedBy::Cells,
        };
        let is_all = served_by == ServedBy::Files;
        let site = assets.map(|assets| Arc::new(site(assets, is_all, &checkout, store)));
        let api = match worker.filter(|_| platform == Platform::Workers) {
            Some(worker) => PlatformApi::Workers(Box::new(worker)),
            None => platform.into(),
        };
        let mut entry = entry.unwrap_or_default();
        if policy.reads_env_files() {
            // The start command's own variables win, and the policy's over both.
            let mut variables: BTreeMap<_, _> = entry::env_file(&checkout.dir).into_iter().collect();
            variables.append(&mut entry.env);
            entry.env = variables;
        }
        let launch = LaunchSpec {
            version,
            checkout,
            entry,
            include,
            grant,
            api,
            port,
            compress,
            import_map,
            modules: tasks.modules.as_slice().into(),
            job: None,
            output: None,
        };
        Ok(Self {
            launch: Arc::new(launch),
            routes,
            prefix,
            verifier,
            function: config.current,
            lifecycle,
            requested: Arc::new(requested),
            installed: None,
            site,
            served_by,
            tasks: Arc::new(tasks),
            settings: settings.into(),
        })
    }

    pub(crate) fn version(&self) -> &Version {
        &self.launch.version
    }

    /// The number of cells that it runs in; 0 for a static site, and without a handler.
    pub(crate) fn cells(&self) -> usize {
        if self.served_by == ServedBy::Cells { self.launch.grant.cells } else { 0 }
    }

    /// The entry. `None`: it has none.
    pub(crate) fn entry(&self) -> Option<&Entry> {
        (self.served_by != ServedBy::Nothing).then_some(&self.launch.entry)
    }

    /// The health check that its cells have to pass. A check that a file answers is left out: it
    /// proves nothing about a cell.
    pub(super) fn healthcheck(&self) -> Option<&Healthcheck> {
        let healthcheck = self.lifecycle.healthcheck.as_ref()?;
        let found = self.site.as_ref().map(|site| site.find(healthcheck.path.path()));
        (!matches!(found, Some(assets::AssetMatch::File(_)))).then_some(healthcheck)
    }

    /// Replaces its grant with the one of `policy`. Returns true if that is another grant.
    pub(crate) fn renew(&mut self, policy: &Policy) -> bool {
        let grant = policy.shared_grant(&self.version().project, &self.requested);
        let differs = grant != self.launch.grant;
        if differs {
            Arc::make_mut(&mut self.launch).grant = grant;
        }
        differs
    }

    /// Returns true if the grant of `policy` differs from its own in a way that a cell can observe.
    pub(crate) fn is_outdated(&self, policy: &Policy) -> bool {
        !policy.grant(&self.version().project, &self.requested).is_equivalent(&self.launch.grant)
    }
}

fn site(mut assets: Assets, is_all: bool, checkout: &Checkout, store: &Store) -> LiveSite {
    let contents = store.contents(checkout);
    choose_fallback(&mut assets, &checkout.dir, contents.keys());
    LiveSite::new(assets, is_all, contents, checkout.clone())
}

#[cfg(test)]
mod tests {
    use switchyard_contract::project::ProjectName;
    use switchyard_protocol::Job;

    use super::*;
    use crate::checkout::{HashCache, ReadBounds};
    use crate::policy::{ReadLimits, RequestLimits};
    use crate::root::Place;
    use crate::version::Tenant;

    /// The plan of a project with these files and task modules; without an entry if there is none.
    fn plan(files: &[(&str, &str)], modules: &[&str]) -> Plan {
        let dir = tempfile::tempdir().unwrap();
        let (state, folder) = (dir.path().join("state"), dir.path().join("blog"));
        std::fs::create_dir(&folder).unwrap();
        for (name, text) in files.iter().copied().chain(modules.iter().map(|module| (*module, ""))) {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let store = Store::open(&state).unwrap();
        let name = ProjectName::parse("blog").unwrap();
        let bounds = ReadBounds { limits: ReadLimits::default(), pace: &|_| Ok(()) };
        let place = Place::on_volume(folder);
        let snapshot = store.snapshot(&name, &place, bounds, &mut HashCache::default()).unwrap();
        let version = Version::new(&Tenant::first(&name), snapshot.digest);
        let checkout = store.make(&version, &snapshot, None, &|_| Ok(())).unwrap();
        let manifest = match Manifest::read(&checkout.dir, &name, None) {
            Ok(manifest) => manifest,
            Err(_) => {
                let entry = checkout.dir.join("main.ts");
                std::fs::write(&entry, "").unwrap();
                Manifest { entry: None, ..Manifest::read(&checkout.dir, &name, None).unwrap() }
            }
        };
        let modules = modules.iter().map(ToString::to_string).collect();
        let manifest = Manifest { tasks: Declared { modules, ..Declared::default() }, ..manifest };
        let policy = Policy::new(RequestLimits::default(), ReadLimits::default());
        Plan::new(version, checkout, manifest, FunctionConfig::default(), &policy, &store).unwrap()
    }

    #[test]
    fn the_modules_of_tasks_are_linked_in_a_cell_that_does_not_serve() {
        let plan = plan(&[("main.ts", "")], &["a.js", "b.ts"]);
        assert_eq!((plan.served_by, plan.cells()), (ServedBy::Cells, 1));
        assert_eq!(plan.launch.job, None);
        let linking = plan.launch.linking().unwrap();
        assert_eq!(linking.entry.path, "b.ts");
        let modules = vec!["a.js".to_owned(), "b.ts".to_owned()];
        assert_eq!(linking.job, Some(Job::Link { modules }));
    }

    #[test]
    fn a_version_with_tasks_alone_has_no_cells_and_no_entry() {
        let plan = plan(&[], &["a.ts"]);
        assert_eq!((plan.served_by, plan.cells()), (ServedBy::Nothing, 0));
        assert_eq!(plan.entry(), None);
        assert!(plan.launch.linking().is_some() && plan.site.is_none());
    }

    #[test]
    fn a_version_without_tasks_links_nothing() {
        let page = plan(&[("index.html", "<p>x")], &[]);
        assert_eq!((page.served_by, page.cells()), (ServedBy::Files, 0));
        let code = plan(&[("main.ts", "")], &[]);
        assert!(page.launch.linking().is_none() && code.launch.linking().is_none());
    }
}
