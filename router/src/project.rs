//! What a project's own configuration says of its entry and routes, and what it asks for.

mod functions;
mod include;
mod installed;
mod keys;
mod site;
mod upkeep;
mod worker;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde_json::Value;
use switchyard_contract::event::Diagnostic;
use switchyard_contract::platform::{Platform, UnknownPlatform};
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::{InvalidRoute, MAX_ROUTES, Route};
use switchyard_detect::entry::{self, Config, Entry, MAX_CONFIG, PACKAGE_FILE};
use switchyard_detect::site::Served;
use switchyard_detect::wrangler::Worker;
use switchyard_protocol::assets::Assets;

pub(crate) use self::functions::{Function, Role};
pub(crate) use self::include::{Include, Included, is_beside};
pub(crate) use self::installed::{
    Installed, MAX_PACKAGES, NODE_MODULES, Progress, has_packages, is_of_packages, is_store,
};
pub(crate) use self::site::settle;
pub(crate) use self::upkeep::{Healthcheck, Upkeep};
use crate::policy::{Asked, Wrong};

/// A project's folders may lie so deep in one another, counting symbolic links: whoever walks them holds a kilobyte of
/// its stack, or a descriptor, for each level.
pub(crate) const MAX_DEPTH: usize = 128;
pub(crate) use switchyard_detect::entry::CONFIG_FILES;

/// What the project's files say of how it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) entry: Entry,
    pub(crate) routes: ClaimedRoutes,
    pub(crate) prefix: Prefix,
    pub(crate) asked: Asked,
    pub(crate) include: Vec<Include>,
    pub(crate) upkeep: Upkeep,
    /// The platform that its configuration names, or its files show.
    pub(crate) platform: Platform,
    /// What a folder of Supabase's functions says of it, where it is one of those.
    pub(crate) function: Option<Function>,
    /// The import map, relative to the project, where no deno.json names it.
    pub(crate) import_map: Option<String>,
    /// The port whose server is served.
    pub(crate) port: Option<u16>,
    /// The Worker of Cloudflare's that it is, if it is one.
    pub(crate) worker: Option<Worker>,
    /// The files that are served without its code. A static site ([`Platform::Static`]) has no code.
    pub(crate) assets: Option<Assets>,
}

/// The treatment of a path prefix that led to the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Prefix {
    /// It is taken off: `/blog/x` and `/shop/x` are `/x`.
    #[default]
    Strip,
    /// It stays.
    Keep,
    /// Its last segment stays, as Supabase's gateway has it: `/functions/v1/hello/x` is `/hello/x`.
    KeepName,
}

impl Prefix {
    /// How much of `prefix` is taken off a path, in bytes.
    pub(crate) fn stripped(self, prefix: &str) -> usize {
        match self {
            Self::Strip => prefix.len(),
            Self::Keep => 0,
            Self::KeepName => prefix.rfind('/').unwrap_or(0),
        }
    }
}

impl Manifest {
    /// Reads what the project `name` in `dir` says of itself. `function`: what the folder that it lies in says of it.
    ///
    /// # Errors
    /// A configuration that does not parse, a field of a wrong type, an entry that is not there.
    pub(crate) fn read(
        dir: &Path,
        name: &ProjectName,
        function: Option<Function>,
    ) -> Result<Self, Diagnostic> {
        let config = Document::config(dir)?;
        let package = dir.join(PACKAGE_FILE).is_file();
        let package = package.then(|| Document::read(dir, PACKAGE_FILE)).transpose()?;
        config.as_ref().map(Document::check).transpose()?;
        package.as_ref().map(Document::check_package).transpose()?;
        let mut routes = config.as_ref().map(Document::routes).transpose()?.unwrap_or_default();
        if function.is_some() {
            routes.keep_gateway(name)?;
        }
        let named = config.as_ref().map_or(Ok(None), Document::platform)?;
        let recognized = function.as_ref().map_or(Platform::Plain, |_| Platform::Supabase);
        let platform = named.unwrap_or(recognized);
        let function = (platform == Platform::Supabase).then(|| function.unwrap_or_default());
        let strip = config.as_ref().map_or(Ok(None), Document::strip_prefix)?;
        let prefix = match strip {
            Some(true) => Prefix::Strip,
            Some(false) => Prefix::Keep,
            None if function.is_some() => Prefix::KeepName,
            None => Prefix::Strip,
        };
        let asked = config.as_ref().map(Document::asked).transpose()?.unwrap_or_default();
        let mut include = config.as_ref().map(Document::included).transpose()?.unwrap_or_default();
        if let Some(root) = dir.parent().filter(|_| function.is_some()) {
            include.imply(&functions::beside(root, dir));
        }
        // Who includes it reads that; here it has to be right.
        config.as_ref().map(Document::share).transpose()?;
        let [config_file, package_file] =
            [&config, &package].map(|file| file.as_ref().map(Document::as_config));
        let worker = match named {
            None | Some(Platform::Workers) => worker::read(dir, config.as_ref())?,
            Some(_) => None,
        };
        let own = config.as_ref().is_some_and(|config| config.own("entry").is_some());
        let configured = function.as_ref().and_then(|function| function.entry.clone());
        let configured = configured.filter(|path| dir.join(path).is_file());
        let of_worker = worker.as_ref().map(|worker| worker::served(worker, dir, own)).transpose()?.flatten();
        let (entry, platform, assets) = match (configured, of_worker) {
            (Some(path), _) => {
                let reason = "entrypoint in config.toml".to_owned();
                (Entry { path, reason, ..Entry::default() }, platform, None)
            }
            (None, Some(served)) => served,
            (None, None) => {
                let platform = if worker.is_some() { Platform::Workers } else { platform };
                let served = switchyard_detect::site::find(dir, config_file, package_file);
                let served = served.map_err(|error| worker::without_main(worker.as_ref(), error))?;
                let entry = served.entry();
                match served {
                    Served::Code(_) => (entry, platform, None),
                    Served::Both(_, site) => (entry, platform, Some(site.into())),
                    Served::Files(site) => (entry, Platform::Static, Some(site.into())),
                }
            }
        };
        let import_map = function
            .as_ref()
            .and_then(|function| function.import_map.clone().or_else(|| functions::import_map(dir)));
        let upkeep = config.as_ref().map(Document::upkeep).transpose()?.unwrap_or_default();
        let port = config.as_ref().map_or(Ok(None), Document::port)?;
        if function.is_some() {
            routes.imply(name);
        }
        let include = include.entries;
        Ok(Self {
            entry,
            routes,
            prefix,
            asked,
            include,
            upkeep,
            platform,
            function,
            import_map,
            port,
            worker,
            assets,
        })
    }
}

/// What the project in `dir` includes from beside itself. Nothing while its configuration does not parse: that is for
/// [`Manifest::read`] to tell.
///
/// # Errors
/// The field is not as it has to be.
pub(crate) fn included(dir: &Path) -> Result<Included, Diagnostic> {
    let config = Document::config(dir).unwrap_or_default();
    let named = config.as_ref().and_then(|config| config.platform().ok().flatten());
    let mut included = config.as_ref().map(Document::included).transpose()?.unwrap_or_default();
    let Some(root) = dir.parent() else { return Ok(included) };
    let is_function = match named {
        None => functions::is_functions_folder(root),
        Some(platform) => platform == Platform::Supabase,
    };
    if is_function {
        included.imply(&functions::beside(root, dir));
    }
    Ok(included)
}

/// Returns `true` if the configuration of the project in `dir` names its platform. Not while it is wrong.
fn names_platform(dir: &Path) -> bool {
    let config = Document::config(dir).ok().flatten();
    config.is_some_and(|config| config.platform().is_ok_and(|named| named.is_some()))
}

/// Whether the project in `dir` lets `other` include what is in its folder. Not while its configuration is wrong: that is
/// for [`Manifest::read`] to tell.
fn shares(dir: &Path, other: &str) -> bool {
    let config = Document::config(dir).ok().flatten();
    match config.and_then(|config| config.share().ok()) {
        Some(Share::WithAll) => true,
        Some(Share::With(names)) => names.iter().any(|name| name.as_str() == other),
        None => false,
    }
}

/// Who else may include what is in a project's folder.
enum Share {
    WithAll,
    With(Vec<ProjectName>),
}

/// Opens what must be a plain file: anything else on the volume could keep who reads it for ever.
///
/// # Errors
/// Also when it is none.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let nonblocking = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::open(path, nonblocking, Mode::empty())?);
    // Files of /proc say that they are plain, and wait for what is to be read.
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

struct Document {
    file: &'static str,
    text: String,
    value: Value,
}

impl Document {
    /// The project's deno.json or deno.jsonc, if it has one.
    fn config(dir: &Path) -> Result<Option<Self>, Diagnostic> {
        let file = CONFIG_FILES.into_iter().find(|file| dir.join(file).is_file());
        file.map(|file| Self::read(dir, file)).transpose()
    }

    fn read(dir: &Path, file: &'static str) -> Result<Self, Diagnostic> {
        let mut text = String::new();
        open_file(&dir.join(file))
            .and_then(|opened| opened.take(MAX_CONFIG + 1).read_to_string(&mut text))
            .map_err(|error| in_file(file, format!("{file} cannot be read: {error}")))?;
        if text.len() as u64 > MAX_CONFIG {
            return Err(in_file(file, format!("{file} is too large: {MAX_CONFIG} bytes are the most")));
        }
        let value = entry::parse(file, &text)?;
        Ok(Self { file, text, value })
    }

    fn as_config(&self) -> Config<'_> {
        Config { file: self.file, value: &self.value }
    }

    fn check(&self) -> Result<(), Diagnostic> {
        let checked = keys::check(&self.value).and_then(|()| keys::check_once(&self.text));
        checked.map_err(|wrong| self.wrong(&wrong))
    }

    /// Whoever has no deno.json may look for it in package.json.
    fn check_package(&self) -> Result<(), Diagnostic> {
        match self.value.get("switchyard") {
            None => Ok(()),
            Some(_) => Err(self.wrong(&Wrong::new("switchyard", "is not read: put it into deno.json"))),
        }
    }

    fn wrong(&self, wrong: &Wrong) -> Diagnostic {
        let Wrong { field, fix } = wrong;
        let (line, column) = keys::place(&self.text, field).unzip();
        let message = format!("\"{field}\" in {} {fix}", self.file);
        Diagnostic { line, column, ..in_file(self.file, message) }
    }

    /// The field of this name that is Switchyard's.
    fn own(&self, name: &str) -> Option<&Value> {
        debug_assert!(keys::OWN.contains(&name), "{name} is missing in the list of keys");
        self.value.get("switchyard")?.get(name)
    }

    fn asked(&self) -> Result<Asked, Diagnostic> {
        Asked::read(&self.value).map_err(|wrong| self.wrong(&wrong))
    }

    fn upkeep(&self) -> Result<Upkeep, Diagnostic> {
        let own = self.value.get("switchyard");
        own.map(|own| Upkeep::read(self.file, own)).transpose().map(Option::unwrap_or_default)
    }

    fn included(&self) -> Result<Included, Diagnostic> {
        let include = self.own("include").map(|include| Included::read(self.file, include));
        include.transpose().map(Option::unwrap_or_default)
    }

    fn share(&self) -> Result<Share, Diagnostic> {
        let names = |value: &Value| -> Option<Vec<_>> {
            let names = value.as_array()?.iter();
            names.map(|name| ProjectName::parse(name.as_str()?).ok()).collect()
        };
        match self.own("share") {
            None => Ok(Share::With(Vec::new())),
            Some(Value::Bool(true)) => Ok(Share::WithAll),
            Some(value) => names(value).map(Share::With).ok_or_else(|| {
                let mend = "must be true or a list of the projects that may include what is here ([\"web\"])";
                in_file(self.file, format!("\"switchyard.share\" in {} {mend}", self.file))
            }),
        }
    }

    fn strip_prefix(&self) -> Result<Option<bool>, Diagnostic> {
        let wrong = || {
            let fix = "must be true or false: false keeps \"/blog\" in the path of a request for /blog/x";
            in_file(self.file, format!("\"switchyard.stripPrefix\" in {} {fix}", self.file))
        };
        self.own("stripPrefix").map(|value| value.as_bool().ok_or_else(wrong)).transpose()
    }

    fn platform(&self) -> Result<Option<Platform>, Diagnostic> {
        let Some(value) = self.own("platform") else { return Ok(None) };
        let platform = value.as_str().ok_or(UnknownPlatform).and_then(str::parse);
        let platform = platform.map_err(|error| Wrong::new("switchyard.platform", error.to_string()));
        platform.map(Some).map_err(|wrong| self.wrong(&wrong))
    }

    fn port(&self) -> Result<Option<u16>, Diagnostic> {
        let Some(value) = self.own("port") else { return Ok(None) };
        let port = value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
        let fix = "must be the port that the server to be served names: a number from 1 to 65535";
        port.map(Some).ok_or_else(|| self.wrong(&Wrong::new("switchyard.port", fix)))
    }

    fn routes(&self) -> Result<ClaimedRoutes, Diagnostic> {
        let Some(value) = self.own("routes") else { return Ok(ClaimedRoutes::default()) };
        let shape = "must be a list of hosts (\"www.example.com\") and prefixes (\"/shop\")";
        let wrong = |fix: &str| self.wrong(&Wrong::new(ROUTES, fix));
        let texts = value.as_array().ok_or_else(|| wrong(shape))?;
        if texts.len() > MAX_ROUTES {
            return Err(wrong(&format!("has {} routes: {MAX_ROUTES} are the most", texts.len())));
        }
        let (line, column) = keys::place(&self.text, ROUTES).unzip();
        let mut claimed = ClaimedRoutes { file: self.file, line, column, ..ClaimedRoutes::default() };
        for (index, text) in texts.iter().enumerate() {
            let text = text.as_str().ok_or_else(|| wrong(shape))?;
            let route =
                text.parse().map_err(|error: InvalidRoute| claimed.refused(index, &error.to_string()));
            claimed.routes.push(route?);
        }
        Ok(claimed)
    }
}

/// The path of the key that claims routes.
const ROUTES: &str = "switchyard.routes";

/// The routes that a configuration claims, and the place in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClaimedRoutes {
    pub(crate) routes: Vec<Route>,
    /// So many at the end are claimed without being named. The project goes without those that it cannot have.
    implied: usize,
    file: &'static str,
    line: Option<u32>,
    column: Option<u32>,
}

impl ClaimedRoutes {
    /// Claims the prefix under which Supabase's gateway has the function of this name.
    fn imply(&mut self, name: &ProjectName) {
        let Ok(route) = format!("{}/{name}", functions::PREFIX).parse() else { return };
        if !self.routes.contains(&route) {
            self.routes.push(route);
            self.implied += 1;
        }
    }

    /// Checks that a project among functions claims nothing below the gateway's prefix but its own part.
    ///
    /// # Errors
    /// It names the route of another function, or one that holds those of all.
    fn keep_gateway(&self, name: &ProjectName) -> Result<(), Diagnostic> {
        let others =
            |route: &Route| matches!(route, Route::Prefix(prefix) if functions::is_of_others(prefix, name));
        let Some(index) = self.routes.iter().position(others) else { return Ok(()) };
        let gateway = functions::PREFIX;
        Err(self.refused(
            index,
            &format!("below {gateway} are Supabase's functions: {gateway}/{name} is {name}'s"),
        ))
    }

    /// The routes that its configuration names, which the project does not go without.
    pub(crate) fn named(&self) -> &[Route] {
        &self.routes[..self.routes.len() - self.implied]
    }

    /// Says that the route with this index is refused, and why.
    pub(crate) fn refused(&self, index: usize, why: &str) -> Diagnostic {
        let message = format!("\"{ROUTES}[{index}]\" in {}: {why}", self.file);
        Diagnostic { line: self.line, column: self.column, ..in_file(self.file, message) }
    }
}

/// A diagnostic without a place.
pub(crate) fn diagnostic(message: impl Into<String>) -> Diagnostic {
    Diagnostic { message: message.into(), ..Diagnostic::default() }
}

/// A diagnostic of a file, without a place in it.
pub(crate) fn in_file(file: &str, message: String) -> Diagnostic {
    Diagnostic { file: Some(file.to_owned()), ..diagnostic(message) }
}

#[cfg(test)]
mod tests {
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
            read(&all).unwrap().entry.path
        };
        assert_eq!(entry(&[own, package]), "app.ts");
        assert_eq!(entry(&[deno, package]), "mod.ts");
        assert_eq!(entry(&[package]), "index.js");
        assert_eq!(entry(&[]), "main.ts");
    }

    #[test]
    fn the_prefix_is_taken_off_unless_the_project_wants_to_keep_it() {
        let read = |own: &str| {
            let config = format!("{{\"switchyard\": {{{own}}}}}");
            read(&[("deno.json", &config), ("main.ts", "")]).map(|manifest| manifest.prefix)
        };
        assert_eq!(read("").unwrap(), Prefix::Strip);
        assert_eq!(read("\"stripPrefix\": true").unwrap(), Prefix::Strip);
        assert_eq!(read("\"stripPrefix\": false").unwrap(), Prefix::Keep);
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
            error.message.contains("main in package.json names gone.js, which is not there"),
            "{}",
            error.message
        );
        assert!(read(&[]).unwrap_err().message.starts_with("no entry"));
    }

    #[test]
    fn a_configuration_that_does_not_parse_is_named_with_its_place() {
        let error = read(&[("main.ts", ""), ("deno.json", "{\n  \"imports\": }")]).unwrap_err();
        assert_eq!((error.file.as_deref(), error.line), (Some("deno.json"), Some(2)));
    }

    #[test]
    fn what_it_asks_for_is_named_with_file_and_field_when_it_is_malformed() {
        let asking = |text| read(&[("main.ts", ""), ("deno.json", text)]);
        assert_eq!(asking("{}").unwrap().asked, Asked::default());
        assert_ne!(asking(r#"{"permissions": {"default": {}}}"#).unwrap().asked, Asked::default());
        let error = asking(r#"{"permissions": {"default": {"net": 1}}}"#).unwrap_err();
        assert_eq!(error.file.as_deref(), Some("deno.json"));
        assert!(
            error.message.starts_with("\"permissions.default.net\" in deno.json must be true"),
            "{}",
            error.message
        );
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_place_and_the_right_one() {
        for (file, text, place, says) in [
            ("deno.json", "{\n  \"permisions\": {}\n}", (2, 3), "did you mean \"permissions\"?"),
            ("deno.jsonc", "{\"switchyard\": {\n\"entyr\": \"x\"}}", (2, 1), "did you mean \"entry\"?"),
            (
                "deno.json",
                "{\"permissions\": {\"default\": {\"ne\": false}}}",
                (1, 30),
                "did you mean \"net\"?",
            ),
            ("package.json", "{\n\"switchyard\": {}}", (2, 1), "put it into deno.json"),
        ] {
            let error = read(&[("main.ts", ""), (file, text)]).unwrap_err();
            assert_eq!(error.file.as_deref(), Some(file));
            assert_eq!(error.line.zip(error.column), Some(place), "{text}");
            assert!(error.message.contains(says), "{}", error.message);
        }
    }

    #[test]
    fn a_configuration_that_nobody_wrote_is_not_parsed() {
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
        assert!(error(&format!("{many:?}")).contains("has 101 routes: 100 are the most"));
        let long = error(&format!("[\"{}\"]", "x".repeat(10_000)));
        assert!(long.len() < 400, "{long}");
    }
}
