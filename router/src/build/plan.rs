//! The plan of a version: its launch specification and all else that is needed to serve it.

use std::sync::Arc;

use switchyard_contract::event::Diagnostic;
use switchyard_contract::platform::Platform;
use switchyard_protocol::PlatformApi;
use switchyard_protocol::assets::{self, Assets};

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
    /// `true`: the version consists of files alone and has no cell.
    pub(crate) is_static: bool,
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
        let grant = Arc::new(policy.grant(&version.project, &manifest.requested));
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
            worker,
            assets,
        } = manifest;
        let before = config.of_live.and_then(|function| function.verify_jwt);
        let verifies = function.map(|function| function.verify_jwt);
        let verifier =
            verifies.map(|verifies| TokenVerifier::of(&version.project, verifies, before, &grant.env));
        let verifier = verifier.transpose()?.flatten().map(Arc::new);
        let is_static = platform == Platform::Static;
        let site = assets.map(|assets| Arc::new(site(assets, is_static, &checkout, store)));
        let api = match worker.filter(|_| platform == Platform::Workers) {
            Some(worker) => PlatformApi::Workers(Box::new(worker)),
            None => platform.into(),
        };
        let launch = LaunchSpec { version, checkout, entry, include, grant, api, port, import_map };
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
            is_static,
        })
    }

    pub(crate) fn version(&self) -> &Version {
        &self.launch.version
    }

    /// The number of cells that it runs in; 0 for a static site.
    pub(crate) fn cells(&self) -> usize {
        if self.is_static { 0 } else { self.launch.grant.cells }
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
        let grant = policy.grant(&self.version().project, &self.requested);
        let differs = grant != *self.launch.grant;
        if differs {
            Arc::make_mut(&mut self.launch).grant = Arc::new(grant);
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
    choose_fallback(&mut assets, &checkout.dir, contents.keys().map(String::as_str));
    LiveSite::new(assets, is_all, contents, checkout.clone())
}
