//! Paths as a project names them, mapped before Deno checks permissions: `/tmp` is the folder that
//! `TMPDIR` names, and the first use of a path that the project cannot see is logged.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use deno_path_util::normalize_path;
use deno_runtime::deno_permissions::{
    AllowRunDescriptorParseResult, DenyRunDescriptor, EnvDescriptor, EnvDescriptorParseError, FfiDescriptor,
    ImportDescriptor, NetDescriptor, NetDescriptorParseError, PathQueryDescriptor, PathResolveError,
    PermissionDescriptorParser, ReadDescriptor, RunDescriptorParseError, RunQueryDescriptor,
    RuntimePermissionDescriptorParser, SpecialFilePathQueryDescriptor, SysDescriptor,
    SysDescriptorParseError, WriteDescriptor,
};
use switchyard_protocol::Start;
use sys_traits::impls::RealSys;

/// The folder for temporary files that most programs name.
const TMP: &str = "/tmp";

/// Paths that one version logs. Packages seldom look for more above the project and in the system,
/// and a project must not fill the log.
const MAX_REPORTED: usize = 32;

/// Bytes of a path in the log: longer ones are cut.
const MAX_PATH: usize = 256;

/// Deno's error for a path that it does not look up.
const NOT_FOUND: &str = "No such file or directory (os error 2)";

/// The paths that were logged, in the order of their first use: a process has one version.
static REPORTED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Returns advice for an error about a path outside of the project. Errors of Deno's own functions
/// do not name the path: then the last one is meant.
pub(crate) fn hint(message: &str) -> Option<String> {
    let reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_named = |path: &&PathBuf| message.contains(&format!("'{}'", path.display()));
    let last = || reported.last().filter(|_| message.ends_with(NOT_FOUND));
    let path = shorten(reported.iter().find(is_named).or_else(last)?);
    Some(format!(
        "{path:?} is outside of the project, so it is not found here: a project reads its own files, and writes \
         below process.env.DATA_DIR and process.env.TMPDIR. \"read\" and \"write\" in the router's policy \
         open other paths"
    ))
}

/// Remembers a path. Returns the number of remembered paths, or `None` if the path is known or the
/// list is full.
fn remember(path: &Path) -> Option<usize> {
    let mut reported = REPORTED.lock().unwrap_or_else(PoisonError::into_inner);
    if reported.len() >= MAX_REPORTED || reported.iter().any(|known| known == path) {
        return None;
    }
    reported.push(path.to_owned());
    Some(reported.len())
}

/// Maps a path below `/tmp` into the folder `tmp`.
pub(super) fn map_tmp(path: &Path, tmp: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix(TMP).ok()?;
    // `join` would append a slash for an empty path.
    Some(if rest.as_os_str().is_empty() { tmp.to_owned() } else { tmp.join(rest) })
}

/// The parser of paths of one version, shared by its isolates.
#[derive(Debug)]
pub(crate) struct ProjectPaths {
    parser: RuntimePermissionDescriptorParser<RealSys>,
    /// The folder that replaces `/tmp`.
    tmp: PathBuf,
    /// Files and folders that the version may read or write, with everything below them.
    visible: Vec<PathBuf>,
}

impl ProjectPaths {
    /// Returns the parser of a version that sees these files and folders.
    pub(crate) fn new(start: &Start, visible: Vec<PathBuf>) -> Self {
        Self { parser: RuntimePermissionDescriptorParser::new(RealSys), tmp: start.tmp.clone(), visible }
    }

    /// Maps an absolute path without `.` and `..`: a path below `/tmp` leads to the version's own
    /// folder, unless the policy opens the machine's.
    pub(crate) fn resolve<'a>(&self, path: Cow<'a, Path>) -> Cow<'a, Path> {
        if self.is_visible(&path) {
            return path;
        }
        map_tmp(&path, &self.tmp).map_or(path, Cow::Owned)
    }

    fn is_visible(&self, path: &Path) -> bool {
        self.visible.iter().any(|visible| path.starts_with(visible))
    }

    fn query<'a>(&self, path: Cow<'a, Path>) -> Result<PathQueryDescriptor<'a>, PathResolveError> {
        if path.as_os_str().is_empty() {
            return Err(PathResolveError::EmptyPath);
        }
        let named = path.clone();
        let absolute = if path.is_absolute() {
            normalize_path(path)
        } else {
            let cwd = std::env::current_dir().map_err(PathResolveError::CwdResolve)?;
            normalize_path(Cow::Owned(cwd.join(path)))
        };
        let mapped = self.resolve(absolute);
        self.report_unless_visible(&mapped);
        let is_renamed = mapped != named;
        let query = PathQueryDescriptor::new_known_absolute(mapped);
        // Errors name a path as the project does.
        Ok(if is_renamed { query.with_requested(named.to_string_lossy().into_owned()) } else { query })
    }

    /// Logs a path outside of the project, which is not found, or refused if it would be written:
    /// the sandbox is not the first place to look for a missing file.
    fn report_unless_visible(&self, path: &Path) {
        if self.is_visible(path) {
            return;
        }
        let Some(count) = remember(path) else { return };
        let shown = shorten(path);
        log::warn!(
            "not found: {shown:?} is outside of the project (\"read\" and \"write\" of the policy open paths)"
        );
        if count == MAX_REPORTED {
            log::warn!("further paths outside of the project are not logged");
        }
    }
}

fn shorten(path: &Path) -> String {
    let mut text = path.to_string_lossy().into_owned();
    if text.len() > MAX_PATH {
        text.truncate(text.floor_char_boundary(MAX_PATH));
        text.push('…');
    }
    text
}

impl PermissionDescriptorParser for ProjectPaths {
    fn parse_read_descriptor(&self, text: &str) -> Result<ReadDescriptor, PathResolveError> {
        Ok(self.query(Path::new(text).into())?.into_descriptor().into_read())
    }

    fn parse_write_descriptor(&self, text: &str) -> Result<WriteDescriptor, PathResolveError> {
        Ok(self.query(Path::new(text).into())?.into_descriptor().into_write())
    }

    fn parse_net_descriptor(&self, text: &str) -> Result<NetDescriptor, NetDescriptorParseError> {
        self.parser.parse_net_descriptor(text)
    }

    fn parse_import_descriptor(&self, text: &str) -> Result<ImportDescriptor, NetDescriptorParseError> {
        self.parser.parse_import_descriptor(text)
    }

    fn parse_env_descriptor(&self, text: &str) -> Result<EnvDescriptor, EnvDescriptorParseError> {
        self.parser.parse_env_descriptor(text)
    }

    fn parse_sys_descriptor(&self, text: &str) -> Result<SysDescriptor, SysDescriptorParseError> {
        self.parser.parse_sys_descriptor(text)
    }

    fn parse_allow_run_descriptor(
        &self,
        text: &str,
    ) -> Result<AllowRunDescriptorParseResult, RunDescriptorParseError> {
        self.parser.parse_allow_run_descriptor(text)
    }

    fn parse_deny_run_descriptor(&self, text: &str) -> Result<DenyRunDescriptor, PathResolveError> {
        self.parser.parse_deny_run_descriptor(text)
    }

    fn parse_ffi_descriptor(&self, text: &str) -> Result<FfiDescriptor, PathResolveError> {
        self.parser.parse_ffi_descriptor(text)
    }

    fn parse_path_query<'a>(&self, path: Cow<'a, Path>) -> Result<PathQueryDescriptor<'a>, PathResolveError> {
        self.query(path)
    }

    fn parse_special_file_descriptor<'a>(
        &self,
        path: PathQueryDescriptor<'a>,
    ) -> Result<SpecialFilePathQueryDescriptor<'a>, PathResolveError> {
        self.parser.parse_special_file_descriptor(path)
    }

    fn parse_net_query(&self, text: &str) -> Result<NetDescriptor, NetDescriptorParseError> {
        self.parser.parse_net_query(text)
    }

    fn parse_run_query<'a>(
        &self,
        requested: &'a str,
    ) -> Result<RunQueryDescriptor<'a>, RunDescriptorParseError> {
        self.parser.parse_run_query(requested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(visible: &[&str]) -> ProjectPaths {
        ProjectPaths {
            parser: RuntimePermissionDescriptorParser::new(RealSys),
            tmp: "/state/run/7/tmp".into(),
            visible: visible.iter().map(PathBuf::from).collect(),
        }
    }

    fn mapped(paths: &ProjectPaths, path: &str) -> PathBuf {
        paths.resolve(Path::new(path).into()).into_owned()
    }

    #[test]
    fn the_machines_tmp_is_the_versions_own() {
        let paths = paths(&["/state/run/7/tmp", "/state/checkouts/blog"]);
        for (named, is) in [
            ("/tmp", "/state/run/7/tmp"),
            ("/tmp/a/b", "/state/run/7/tmp/a/b"),
            ("/tmpfile", "/tmpfile"),
            ("/var/tmp/x", "/var/tmp/x"),
            ("/state/run/7/tmp/x", "/state/run/7/tmp/x"),
        ] {
            assert_eq!(mapped(&paths, named), Path::new(is), "{named}");
        }
    }

    #[test]
    fn what_the_policy_opens_below_tmp_is_the_machines() {
        let paths = paths(&["/tmp/shared", "/tmp/state/checkouts/blog"]);
        for named in ["/tmp/shared", "/tmp/shared/x", "/tmp/state/checkouts/blog/main.ts"] {
            assert_eq!(mapped(&paths, named), Path::new(named));
        }
        assert_eq!(mapped(&paths, "/tmp/sharedx"), Path::new("/state/run/7/tmp/sharedx"));
        assert_eq!(mapped(&paths, "/tmp/state"), Path::new("/state/run/7/tmp/state"));
    }

    #[test]
    fn dots_lead_out_of_it_as_everywhere() {
        let paths = paths(&["/etc", "/state/run/7/tmp"]);
        let query = |path| paths.query(Path::new(path).into()).unwrap().into_descriptor().into_path_buf();
        assert_eq!(query("/tmp/../etc/passwd"), Path::new("/etc/passwd"));
        assert_eq!(query("/etc/../tmp/./x"), Path::new("/state/run/7/tmp/x"));
        assert!(paths.query(Path::new("").into()).is_err());
    }

    /// The only test that reads the logged paths, which belong to the process.
    #[test]
    fn a_bounded_number_of_paths_is_reported_and_each_once() {
        let paths = paths(&["/visible", "/state/run/7/tmp"]);
        let name = |path: &str| drop(paths.query(Path::new(path).into()).unwrap());
        let reported = || REPORTED.lock().unwrap().clone();
        for path in ["/visible/x", "/tmp/x", "/a", "/a"] {
            name(path);
        }
        assert_eq!(reported().iter().filter(|path| **path == Path::new("/a")).count(), 1);
        assert!(!reported().iter().any(|path| path.starts_with("/visible") || path.starts_with("/state")));
        let advice = hint("ENOENT: no such file or directory, open '/a'").unwrap();
        assert!(advice.starts_with("\"/a\" is outside of the project"), "{advice}");
        assert_eq!(hint("ENOENT: no such file or directory, open './a'"), None);
        name("/last");
        assert!(hint(NOT_FOUND).unwrap().starts_with("\"/last\""));
        (0..100).for_each(|n| name(&format!("/{n}")));
        assert_eq!(reported().len(), MAX_REPORTED);
        assert!(shorten(Path::new(&"ä".repeat(1000))).len() <= MAX_PATH + '…'.len_utf8());
    }
}
