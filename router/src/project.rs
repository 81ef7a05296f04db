//! The configuration of a project: its entry, routes, permissions and options, read from its files.

mod diagnostic;
mod document;
mod files;
mod functions;
mod include;
mod installed;
mod keys;
mod lifecycle;
mod routes;
mod settings;
mod share;
mod site;
mod tasks;
mod worker;

use std::path::Path;

use switchyard_contract::admin::Setting;
use switchyard_contract::event::Diagnostic;
use switchyard_contract::platform::Platform;
use switchyard_contract::project::ProjectName;
pub(crate) use switchyard_detect::entry::CONFIG_FILES;
use switchyard_detect::entry::{Entry, PACKAGE_FILE};
use switchyard_detect::site::Served;
use switchyard_detect::wrangler::Worker;
use switchyard_protocol::assets::Assets;
use switchyard_tasks::declared::Declared;

pub(crate) use self::diagnostic::diagnostic;
use self::document::Document;
pub(crate) use self::files::open_file;
pub(crate) use self::functions::{FolderRole, SupabaseFunction};
pub(crate) use self::include::{Include, IncludeList, is_beside};
pub(crate) use self::installed::{
    InstallProgress, InstalledPackages, MAX_PACKAGES, NODE_MODULES, has_packages, is_of_packages, is_store,
};
pub(crate) use self::lifecycle::{Healthcheck, LifecycleOptions};
pub(crate) use self::routes::{ClaimedRoutes, PrefixHandling};
pub(crate) use self::settings::with_defaults;
pub(crate) use self::share::check_shared;
pub(crate) use self::site::choose_fallback;
use crate::policy::PermissionRequest;
use crate::root::Place;

/// The most nested folders of a project, counting symbolic links. A walk holds a kilobyte of stack, or a descriptor, for
/// each level.
pub(crate) const MAX_DEPTH: usize = 128;

/// The configuration of a project, from its files.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    /// `None`: the project has tasks, and nothing that answers requests.
    pub(crate) entry: Option<Entry>,
    pub(crate) routes: ClaimedRoutes,
    pub(crate) prefix: PrefixHandling,
    pub(crate) requested: PermissionRequest,
    pub(crate) include: Vec<Include>,
    pub(crate) lifecycle: LifecycleOptions,
    /// The platform that the configuration names, or that the files show.
    pub(crate) platform: Platform,
    /// The settings of the function in a folder of Supabase's functions; `None` for other projects.
    pub(crate) function: Option<SupabaseFunction>,
    /// The import map, relative to the project, if no deno.json names one.
    pub(crate) import_map: Option<String>,
    /// The port of the server that is served, of several.
    pub(crate) port: Option<u16>,
    /// `true`: its responses are compressed for clients that accept it.
    pub(crate) compress: bool,
    /// The configuration of a Cloudflare Worker; `None` for other projects.
    pub(crate) worker: Option<Worker>,
    /// The files that are served without the project's code. A static site ([`Platform::Static`]) has no code.
    pub(crate) assets: Option<Assets>,
    /// Its tasks and pipelines.
    pub(crate) tasks: Declared,
    /// The keys of `"switchyard"`, as they are shown.
    pub(crate) settings: Vec<Setting>,
}

impl Manifest {
    /// Reads the configuration of the project `name` in `dir`. `function` is set for a function of Supabase's.
    ///
    /// # Errors
    /// A configuration does not parse, a field has a wrong type, or the entry does not exist. A
    /// project without tasks needs an entry.
    pub(crate) fn read(
        dir: &Path,
        name: &ProjectName,
        function: Option<SupabaseFunction>,
    ) -> Result<Self, Diagnostic> {
        let Documents { config, package } = Documents::read(dir)?;
        let mut routes = config.as_ref().map(Document::routes).transpose()?.unwrap_or_default();
        if function.is_some() {
            routes.keep_gateway(name)?;
        }
        let named = config.as_ref().map_or(Ok(None), Document::platform)?;
        let recognized = function.as_ref().map_or(Platform::Plain, |_| Platform::Supabase);
        let platform = named.unwrap_or(recognized);
        let function = (platform == Platform::Supabase).then(|| function.unwrap_or_default());
        let strips = config.as_ref().map_or(Ok(None), Document::strip_prefix)?;
        let prefix = PrefixHandling::choose(strips, function.is_some());
        let requested = config.as_ref().map(Document::requested).transpose()?.unwrap_or_default();
        let mut include = config.as_ref().map(Document::included).transpose()?.unwrap_or_default();
        if let Some(root) = dir.parent().filter(|_| function.is_some()) {
            include.imply(&functions::shared_names(root, dir));
        }
        // Only projects that include this one use the value. It is checked here.
        config.as_ref().map(Document::share).transpose()?;
        let worker = match named {
            None | Some(Platform::Workers) => worker::read(dir, config.as_ref())?,
            Some(_) => None,
        };
        let own_entry = config.as_ref().is_some_and(|config| config.own("entry").is_some());
        let of_worker = worker.as_ref().map(|worker| worker::served(worker, dir, own_entry)).transpose()?;
        let tasks = tasks::read(dir)?;
        let configured = function.as_ref().and_then(|function| function.entry.as_deref());
        let served = match configured.filter(|path| dir.join(path).is_file()) {
            Some(path) => ServedContent::of_function(path, platform),
            None => match of_worker.flatten() {
                Some(served) => served,
                None => {
                    let documents = [&config, &package];
                    ServedContent::find(dir, documents, worker.as_ref(), platform, &tasks)?
                }
            },
        };
        let import_map = function
            .as_ref()
            .and_then(|function| function.import_map.clone().or_else(|| functions::import_map(dir)));
        let lifecycle = config.as_ref().map(Document::lifecycle).transpose()?.unwrap_or_default();
        let port = config.as_ref().map_or(Ok(None), Document::port)?;
        let compress = config.as_ref().map_or(Ok(false), Document::compress)?;
        let settings = config.as_ref().map(Document::settings).unwrap_or_default();
        if function.is_some() {
            routes.imply(name);
        }
        let ServedContent { entry, platform, assets } = served;
        Ok(Self {
            entry,
            routes,
            prefix,
            requested,
            include: include.entries,
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
        })
    }
}

/// The configuration files of one project.
struct Documents {
    /// deno.json or deno.jsonc.
    config: Option<Document>,
    /// package.json.
    package: Option<Document>,
}

impl Documents {
    /// Reads the files, and checks their keys.
    fn read(dir: &Path) -> Result<Self, Diagnostic> {
        let config = Document::config(dir)?;
        let package = dir.join(PACKAGE_FILE).is_file();
        let package = package.then(|| Document::read(dir, PACKAGE_FILE)).transpose()?;
        config.as_ref().map(Document::check).transpose()?;
        package.as_ref().map(Document::check_package).transpose()?;
        Ok(Self { config, package })
    }
}

/// The program and the files that a project serves.
struct ServedContent {
    /// `None`: the project has tasks alone.
    entry: Option<Entry>,
    platform: Platform,
    /// Files that are served without the program.
    assets: Option<Assets>,
}

impl ServedContent {
    /// Returns the entry that config.toml names for a function of Supabase's.
    fn of_function(path: &str, platform: Platform) -> Self {
        let (path, reason) = (path.to_owned(), "entrypoint in config.toml".to_owned());
        Self { entry: Some(Entry { path, reason, ..Entry::default() }), platform, assets: None }
    }

    /// Searches for the entry or the static site of the project in `dir`. There need be none if its
    /// `tasks` do without.
    fn find(
        dir: &Path,
        documents: [&Option<Document>; 2],
        worker: Option<&Worker>,
        platform: Platform,
        tasks: &Declared,
    ) -> Result<Self, Diagnostic> {
        let [config, package] = documents.map(|file| file.as_ref().map(Document::as_config));
        let platform = if worker.is_some() { Platform::Workers } else { platform };
        let served = if tasks::suffice(&tasks.set) {
            switchyard_detect::site::find_any(dir, config, package)
        } else {
            switchyard_detect::site::find(dir, config, package).map(Some)
        };
        let Some(served) = served.map_err(|error| worker::without_main(worker, error))? else {
            return Ok(Self { entry: None, platform, assets: None });
        };
        let entry = Some(served.entry());
        Ok(match served {
            Served::Code(_) => Self { entry, platform, assets: None },
            Served::Both(_, site) => Self { entry, platform, assets: Some(site.into()) },
            Served::Files(site) => Self { entry, platform: Platform::Static, assets: Some(site.into()) },
        })
    }
}

/// Returns the files and folders beside the project at `place` that it includes. None while its configuration does not
/// parse, which [`Manifest::read`] reports.
///
/// # Errors
/// The field `switchyard.include` is invalid.
pub(crate) fn included(place: &Place) -> Result<IncludeList, Diagnostic> {
    let dir = &place.dir;
    let config = Document::config(dir).unwrap_or_default();
    let named = config.as_ref().and_then(|config| config.platform().ok().flatten());
    let mut included = config.as_ref().map(Document::included).transpose()?.unwrap_or_default();
    let Some(root) = functions::root_of(place) else { return Ok(included) };
    let is_function = match named {
        None => functions::is_functions_folder(root),
        Some(platform) => platform == Platform::Supabase,
    };
    if is_function {
        included.imply(&functions::shared_names(root, dir));
    }
    Ok(included)
}

/// Returns true if the configuration of the project in `dir` names its platform. False while it is invalid.
fn names_platform(dir: &Path) -> bool {
    let config = Document::config(dir).ok().flatten();
    config.is_some_and(|config| config.platform().is_ok_and(|named| named.is_some()))
}

#[cfg(test)]
mod tests {
    use switchyard_contract::route::{MAX_ROUTES, Route};

    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<Manifest, Diagnostic> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        Manifest::read(dir.path(), &ProjectName::parse("a").unwrap(), None)
    }

    #[test]
    fn the_entry_is_what_is_named_most_closely() {
        let deno = ("deno.json", r#"{"exports": "./mod.ts"}"#);
        let package = ("package.json", r#"{"main": "index.js"}"#);
        let own = ("deno.json", r#"{"switchyard": {"entry": "./app.ts"}, "exports": "./mod.ts"} // why"#);
        let files = [("app.ts", ""), ("mod.ts", ""), ("index.js", ""), ("main.ts", "")];
        let entry = |config: &[(&str, &str)]| {
            let all: Vec<_> = config.iter().chain(&files).copied().collect();
            read(&all).unwrap().entry.unwrap().path
        };
        assert_eq!(entry(&[own, package]), "app.ts");
        assert_eq!(entry(&[deno, package]), "mod.ts");
        assert_eq!(entry(&[package]), "index.js");
        assert_eq!(entry(&[]), "main.ts");
    }

    #[test]
    fn a_project_with_tasks_alone_needs_no_entry() {
        let dir = tempfile::tempdir().unwrap();
        let find = |tasks: &str| {
            let set = serde_json::from_str(tasks).unwrap();
            let tasks = Declared { set, ..Declared::default() };
            ServedContent::find(dir.path(), [&None, &None], None, Platform::Plain, &tasks)
        };
        let task = |code: &str| {
            format!(
                r#"{{"tasks": [{{"name": "a", "declared_in": "deno.json", "code": {{"kind": {code}}}}}]}}"#
            )
        };
        let of_module = task(r#""module", "path": "a.ts""#);
        assert_eq!(find(&of_module).unwrap().entry, None);
        assert!(find(&task(r#""scheduled""#)).is_err_and(|error| error.message.starts_with("no entry")));
        assert!(find(r#"{"tasks": []}"#).is_err());
        std::fs::write(dir.path().join("main.ts"), "").unwrap();
        assert_eq!(find(&of_module).unwrap().entry.unwrap().path, "main.ts");
    }

    #[test]
    fn the_prefix_is_taken_off_unless_the_project_wants_to_keep_it() {
        let read = |own: &str| {
            let config = format!("{{\"switchyard\": {{{own}}}}}");
            read(&[("deno.json", &config), ("main.ts", "")]).map(|manifest| manifest.prefix)
        };
        assert_eq!(read("").unwrap(), PrefixHandling::Strip);
        assert_eq!(read("\"stripPrefix\": true").unwrap(), PrefixHandling::Strip);
        assert_eq!(read("\"stripPrefix\": false").unwrap(), PrefixHandling::Keep);
        let error = read("\"stripPrefix\": \"no\"").unwrap_err();
        assert_eq!(error.file.as_deref(), Some("deno.json"));
        assert!(error.message.contains("switchyard.stripPrefix"), "{}", error.message);
    }

    #[test]
    fn platform_and_port_are_read_and_checked() {
        let read = |own: &str| {
            let config = format!("{{\"switchyard\": {{{own}}}}}");
            read(&[("deno.json", &config), ("main.ts", "")])
        };
        let manifest = read("\"platform\": \"workers\", \"port\": 3000").unwrap();
        assert_eq!((manifest.platform, manifest.port), (Platform::Workers, Some(3000)));
        for (own, field) in [
            ("\"platform\": \"heroku\"", "switchyard.platform"),
            ("\"port\": 0", "switchyard.port"),
            ("\"port\": 65536", "switchyard.port"),
            ("\"port\": \"3000\"", "switchyard.port"),
        ] {
            let error = read(own).unwrap_err();
            assert_eq!((error.file.as_deref(), error.line), (Some("deno.json"), Some(1)));
            assert!(
                error.message.starts_with(&format!("\"{field}\" in deno.json must be")),
                "{}",
                error.message
            );
        }
    }

    #[test]
    fn an_entry_that_is_missing_is_named_with_its_field() {
        let error = read(&[("package.json", r#"{"main": "gone.js"}"#)]).unwrap_err();
        assert_eq!(error.file.as_deref(), Some("package.json"));
        assert!(
            error.message.contains("main in package.json names gone.js, which does not exist"),
            "{}",
            error.message
        );
        assert!(read(&[]).unwrap_err().message.starts_with("no entry"));
    }

    #[test]
    fn a_configuration_that_does_not_parse_is_reported_with_its_position() {
        let error = read(&[("main.ts", ""), ("deno.json", "{\n  \"imports\": }")]).unwrap_err();
        assert_eq!((error.file.as_deref(), error.line), (Some("deno.json"), Some(2)));
    }

    #[test]
    fn a_malformed_request_is_reported_with_file_and_field() {
        let asking = |text| read(&[("main.ts", ""), ("deno.json", text)]);
        assert_eq!(asking("{}").unwrap().requested, PermissionRequest::default());
        assert_ne!(
            asking(r#"{"permissions": {"default": {}}}"#).unwrap().requested,
            PermissionRequest::default()
        );
        let error = asking(r#"{"permissions": {"default": {"net": 1}}}"#).unwrap_err();
        assert_eq!(error.file.as_deref(), Some("deno.json"));
        assert!(
            error.message.starts_with("\"permissions.default.net\" in deno.json must be true"),
            "{}",
            error.message
        );
    }

    #[test]
    fn a_misspelt_key_is_reported_with_its_position_and_the_right_key() {
        for (file, text, place, says) in [
            ("deno.json", "{\n  \"permisions\": {}\n}", (2, 3), "did you mean \"permissions\"?"),
            ("deno.jsonc", "{\"switchyard\": {\n\"entyr\": \"x\"}}", (2, 1), "did you mean \"entry\"?"),
            (
                "deno.json",
                "{\"permissions\": {\"default\": {\"ne\": false}}}",
                (1, 30),
                "did you mean \"net\"?",
            ),
            ("package.json", "{\n\"switchyard\": {}}", (2, 1), "move it to deno.json"),
        ] {
            let error = read(&[("main.ts", ""), (file, text)]).unwrap_err();
            assert_eq!(error.file.as_deref(), Some(file));
            assert_eq!(error.line.zip(error.column), Some(place), "{text}");
            assert!(error.message.contains(says), "{}", error.message);
        }
    }

    #[test]
    fn a_missing_configuration_is_not_parsed() {
        let deep = "[".repeat(100_000);
        assert!(read(&[("main.ts", ""), ("deno.json", &deep)]).is_err());
        let large = format!("{{\"x\": \"{}\"}}", "x".repeat(1 << 20));
        assert!(read(&[("main.ts", ""), ("deno.json", &large)]).unwrap_err().message.contains("too large"));
    }

    #[test]
    fn routes_are_hosts_and_prefixes() {
        let manifest = read(&[
            ("main.ts", ""),
            ("deno.json", r#"{"switchyard": {"routes": ["WWW.Example.com", "/shop/"]}}"#),
        ]);
        let routes = manifest.unwrap().routes.routes;
        assert_eq!(routes, [Route::Host("www.example.com".into()), Route::Prefix("/shop".into())]);
        let error = |routes: &str| {
            let config = format!("{{\"switchyard\": {{\n\"routes\": {routes}}}}}");
            let error = read(&[("main.ts", ""), ("deno.json", &config)]).unwrap_err();
            assert_eq!((error.file.as_deref(), error.line), (Some("deno.json"), Some(2)), "{error:?}");
            error.message
        };
        assert!(
            error("[\"/a\", \"/\"]")
                .starts_with("\"switchyard.routes[1]\" in deno.json: invalid route \"/\"")
        );
        assert!(error("[1]").starts_with("\"switchyard.routes\" in deno.json must be a list"));
        let many: Vec<_> = (0..=MAX_ROUTES).map(|n| format!("/{n}")).collect();
        assert!(error(&format!("{many:?}")).contains("has 101 routes: at most 100 are possible"));
        let long = error(&format!("[\"{}\"]", "x".repeat(10_000)));
        assert!(long.len() < 400, "{long}");
    }
}
