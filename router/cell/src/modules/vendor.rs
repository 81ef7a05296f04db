//! Remote modules in a project's own `vendor` folder (`"vendor": true` in deno.json), in Deno's
//! layout.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deno_cache_dir::file_fetcher::{File, LoadedFrom};
use deno_cache_dir::{GlobalHttpCache, GlobalToLocalCopy, LocalHttpCache};
use deno_core::url::Url;
use deno_error::JsErrorBox;
use deno_graph::packages::{JsrPackageInfo, JsrPackageVersionInfo};
use deno_semver::Version;
use deno_semver::jsr::{JsrDepPackageReq, JsrPackageReqReference};
use deno_semver::package::PackageReq;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sys_traits::impls::RealSys;

use super::remote::{CachedFiles, MAX_REDIRECTS, files};

/// The name of the folder in the project.
const FOLDER: &str = "vendor";

/// The JSR registry, unless `JSR_URL` names another one.
const REGISTRY: &str = "https://jsr.io/";

/// Versions of a package that are tried, each of which is a lookup of a file.
const MAX_VERSIONS: usize = 1000;

/// The vendored modules of one project.
pub(crate) struct Vendor {
    folder: PathBuf,
    files: CachedFiles,
    registry: Url,
    /// The version in deno.lock for each `jsr:` requirement.
    locked: HashMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
struct LockFile {
    #[serde(default)]
    specifiers: HashMap<String, String>,
}

impl Vendor {
    /// Opens the folder of the project in `checkout`. `no_cache`: a path for Deno's cache that
    /// never exists.
    pub(crate) fn open(checkout: &Path, no_cache: &str) -> Self {
        let registry = std::env::var("JSR_URL").ok().and_then(|url| Url::parse(&url).ok());
        let registry = registry.unwrap_or_else(|| Url::parse(REGISTRY).expect("a constant URL is valid"));
        let cache = Arc::new(GlobalHttpCache::new(RealSys, no_cache.into()));
        let folder = checkout.join(FOLDER);
        let vendored =
            LocalHttpCache::new(folder.clone(), cache, GlobalToLocalCopy::Disallow, registry.clone());
        let lock = fs::read(checkout.join("deno.lock")).ok();
        let lock = lock.and_then(|lock| serde_json::from_slice::<LockFile>(&lock).ok());
        Self {
            folder,
            files: files(Arc::new(vendored)),
            registry,
            locked: lock.unwrap_or_default().specifiers,
        }
    }

    /// Returns a module with its URL behind redirects, or `None` if the folder does not have it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn load(&self, specifier: &Url) -> Result<Option<File>, JsErrorBox> {
        let url = match specifier.scheme() {
            "jsr" => self.url_of(specifier),
            _ => Some(specifier.clone()),
        };
        let Some(url) = url else { return Ok(None) };
        match self.files.fetch_cached(&url, MAX_REDIRECTS).map_err(JsErrorBox::from_err)? {
            Some(file) => Ok(Some(file)),
            None => self.load_by_earlier_name(&url).map_err(JsErrorBox::from_err),
        }
    }

    /// Reads a module from the folder that Deno up to 2.9.6 used for a host with a port:
    /// `http_127.0.0.1_8080`, and not `http_127.0.0.1_port_8080`.
    fn load_by_earlier_name(&self, url: &Url) -> io::Result<Option<File>> {
        let (Some(host), Some(port), None) = (url.host_str(), url.port(), url.query()) else {
            return Ok(None);
        };
        let scheme = if url.scheme() == "http" { "http_" } else { "" };
        let folder = self.folder.join(format!("{scheme}{host}_{port}"));
        match fs::read(folder.join(url.path().trim_start_matches('/'))) {
            Ok(source) => Ok(Some(File {
                url: url.clone(),
                mtime: None,
                maybe_headers: None,
                source: source.into(),
                loaded_from: LoadedFrom::Cache,
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the URL of a `jsr:` specifier: of the locked version, else of the newest one that
    /// exists.
    fn url_of(&self, specifier: &Url) -> Option<Url> {
        let reference = JsrPackageReqReference::from_specifier(specifier).ok()?;
        let requirement = reference.req();
        let versions = self.locked(requirement).map_or_else(|| self.versions(requirement), |one| vec![one]);
        versions.iter().find_map(|version| self.export(requirement, version, &reference.export_name()))
    }

    fn locked(&self, requirement: &PackageReq) -> Option<Version> {
        let name = JsrDepPackageReq::jsr(requirement.clone()).to_string_normalized();
        Version::parse_standard(self.locked.get(name.as_str())?).ok()
    }

    /// Returns the versions that satisfy the requirement, the newest first.
    fn versions(&self, requirement: &PackageReq) -> Vec<Version> {
        let url = self.registry.join(&format!("{}/meta.json", requirement.name));
        let package: Option<JsrPackageInfo> = url.ok().and_then(|url| self.json(&url));
        let versions = package.map(|package| package.versions).unwrap_or_default();
        let mut fitting: Vec<_> = versions
            .into_iter()
            .filter(|(version, info)| !info.yanked && requirement.version_req.matches(version))
            .map(|(version, _)| version)
            .collect();
        fitting.sort_unstable_by(|one, other| other.cmp(one));
        fitting.truncate(MAX_VERSIONS);
        fitting
    }

    fn export(&self, requirement: &PackageReq, version: &Version, name: &str) -> Option<Url> {
        let package = self.registry.join(&format!("{}/", requirement.name)).ok()?;
        let info: JsrPackageVersionInfo = self.json(&package.join(&format!("{version}_meta.json")).ok()?)?;
        package.join(&format!("{version}/")).ok()?.join(info.export(name)?).ok()
    }

    fn json<T: DeserializeOwned>(&self, url: &Url) -> Option<T> {
        let file = self.files.fetch_cached(url, MAX_REDIRECTS).ok().flatten()?;
        serde_json::from_slice(&file.source).ok()
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const INFO: &str = r#"{"exports": {".": "./mod.ts", "./sub": "./lib/sub.ts"}, "manifest": {}}"#;

    /// A project with these files.
    fn project(files: &[(&str, &str)]) -> TempDir {
        let project = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = project.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        project
    }

    /// The URL and the source of a specifier's module.
    fn load(project: &TempDir, specifier: &str) -> Option<(String, String)> {
        let vendor = Vendor::open(project.path(), "/dev/null/deno");
        let file = vendor.load(&Url::parse(specifier).unwrap()).unwrap()?;
        Some((file.url.to_string(), String::from_utf8_lossy(&file.source).into_owned()))
    }

    #[test]
    fn modules_are_where_deno_puts_them() {
        let manifest = r#"{"modules": {"https://a.test/old": {"headers": {"location": "/new.ts"}}}}"#;
        let project = project(&[
            ("vendor/a.test/new.ts", "new"),
            ("vendor/http_127.0.0.1_port_4/mod.ts", "mod"),
            ("vendor/http_127.0.0.1_5/lib/mod.ts", "earlier"),
            ("vendor/manifest.json", manifest),
        ]);
        let new = Some(("https://a.test/new.ts".to_owned(), "new".to_owned()));
        assert_eq!(load(&project, "https://a.test/new.ts"), new);
        assert_eq!(load(&project, "https://a.test/old"), new);
        let local = ("http://127.0.0.1:4/mod.ts".to_owned(), "mod".to_owned());
        assert_eq!(load(&project, "http://127.0.0.1:4/mod.ts"), Some(local));
        let earlier = ("http://127.0.0.1:5/lib/mod.ts".to_owned(), "earlier".to_owned());
        assert_eq!(load(&project, "http://127.0.0.1:5/lib/mod.ts"), Some(earlier));
        assert_eq!(load(&project, "http://127.0.0.1:5/../vendor/http_127.0.0.1_5/mod.ts"), None);
        assert_eq!(load(&project, "https://a.test/other.ts"), None);
        assert_eq!(load(&project, "npm:chalk"), None);
    }

    #[test]
    fn a_package_of_jsr_has_the_locked_version_or_else_the_newest_that_is_there() {
        let versions = r#"{"versions": {"1.0.0": {}, "1.2.0": {}, "1.3.0": {}, "1.4.0": {"yanked": true}, "2.0.0": {}}}"#;
        let mut files = vec![
            ("vendor/jsr.io/@a/b/meta.json", versions),
            ("vendor/jsr.io/@a/b/1.0.0_meta.json", INFO),
            ("vendor/jsr.io/@a/b/1.2.0_meta.json", INFO),
            ("vendor/jsr.io/@a/b/1.4.0_meta.json", INFO),
            ("vendor/jsr.io/@a/b/1.0.0/mod.ts", "old"),
            ("vendor/jsr.io/@a/b/1.2.0/mod.ts", "new"),
            ("vendor/jsr.io/@a/b/1.2.0/lib/sub.ts", "sub"),
        ];
        let unlocked = project(&files);
        let text = |project, specifier| load(project, specifier).map(|(_, text)| text);
        assert_eq!(text(&unlocked, "jsr:@a/b@1").as_deref(), Some("new"));
        assert_eq!(text(&unlocked, "jsr:@a/b@^1.0.0/sub").as_deref(), Some("sub"));
        assert_eq!(text(&unlocked, "jsr:/@a/b@1/sub").as_deref(), Some("sub"));
        for missing in ["jsr:@a/b@2", "jsr:@a/b@1/none", "jsr:@a/c@1"] {
            assert_eq!(text(&unlocked, missing), None, "{missing}");
        }
        files.push(("deno.lock", r#"{"version": "5", "specifiers": {"jsr:@a/b@1": "1.0.0"}}"#));
        assert_eq!(text(&project(&files), "jsr:@a/b@1").as_deref(), Some("old"));
    }
}
