//! The folders of links in a checkout. Links to members of the project's workspace, and to
//! dependencies that are folders of the project, lead into the checkout itself, all others to the
//! fetched packages.

use std::fs::{self, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use switchyard_protocol::{LinkTarget, PackageLink, fetched};

use crate::checkout::node_modules::{NodeModules, clear};
use crate::project::NODE_MODULES;

/// Maximum size of the list in bytes: some ten thousand links. The project's manifests determine
/// its size.
const MAX_LIST: u64 = 8 << 20;

/// Mode of the folders: the users of all cells may read them.
const MODE: u32 = 0o755;

/// Name of a `node_modules` that is not complete yet, beside the project's directory.
const UNFINISHED: &str = ".new-links";

/// Reads the list of links that the installer has left in `folder`. Empty if there is no list.
///
/// # Errors
/// The list cannot be read or parsed.
pub(super) fn read(folder: &Path) -> io::Result<Vec<PackageLink>> {
    let mut text = Vec::new();
    match fs::File::open(folder.join(fetched::LINKS)) {
        Ok(file) => file.take(MAX_LIST).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(serde_json::from_slice(&text)?)
}

/// Makes the folders of links of the project in `dir`, replacing earlier ones. Folders that are
/// `of_volume` stay.
///
/// # Errors
/// A folder or link cannot be made or removed.
pub(super) fn create(
    dir: &Path,
    folder: &Path,
    links: &[PackageLink],
    of_volume: &NodeModules,
) -> io::Result<()> {
    let unfinished = dir.with_file_name(UNFINISHED);
    clear(&unfinished)?;
    make(&unfinished)?;
    link_all(&unfinished, &folder.join(NODE_MODULES))?;
    let mut cleared = Vec::new();
    let is_of_volume = |owner: &Path, node_modules: &Path| {
        let path = owner.join(NODE_MODULES);
        node_modules.is_symlink() || path.to_str().is_some_and(|path| of_volume.others.contains_key(path))
    };
    for link in links {
        let Some(LinkLocation { owner, name }) = LinkLocation::parse(&link.at) else { continue };
        let Some(target) = target(dir, folder, &link.to) else { continue };
        let node_modules = if owner.as_os_str().is_empty() {
            unfinished.clone()
        } else {
            let Some(folder) = within(dir, owner) else { continue };
            let node_modules = folder.join(NODE_MODULES);
            if is_of_volume(owner, &node_modules) {
                continue;
            }
            if !cleared.contains(&node_modules) {
                clear(&node_modules)?;
                make(&node_modules)?;
                cleared.push(node_modules.clone());
            }
            node_modules
        };
        link_to(&target, &node_modules, name)?;
    }
    let node_modules = dir.join(NODE_MODULES);
    clear(&node_modules)?;
    fs::rename(unfinished, node_modules)
}

/// Links all packages at the top of the `fetched` folder into `node_modules`.
fn link_all(node_modules: &Path, fetched: &Path) -> io::Result<()> {
    for entry in fs::read_dir(fetched)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with('@') {
            symlink(entry.path(), node_modules.join(name))?;
            continue;
        }
        make(&node_modules.join(&name))?;
        for package in fs::read_dir(entry.path())? {
            let package = package?;
            symlink(package.path(), node_modules.join(&name).join(package.file_name()))?;
        }
    }
    Ok(())
}

/// Makes the link `name` in `node_modules`, and its scope.
fn link_to(target: &Path, node_modules: &Path, name: &Path) -> io::Result<()> {
    let link = node_modules.join(name);
    if let Some(scope) = link.parent().filter(|scope| *scope != node_modules)
        && !is_folder(scope)
    {
        make(scope)?;
    }
    clear(&link)?;
    symlink(target, link)
}

/// Returns the folder that a link leads to, or `None` if it may not lead there.
fn target(dir: &Path, folder: &Path, to: &LinkTarget) -> Option<PathBuf> {
    match to {
        LinkTarget::Fetched(path) => is_plain(Path::new(path)).then(|| folder.join(path)),
        LinkTarget::Project(path) => within(dir, Path::new(path)),
    }
}

/// The location of a link.
struct LinkLocation<'a> {
    /// The parent of the `node_modules` that has the link.
    owner: &'a Path,
    /// The name of the package, with its scope.
    name: &'a Path,
}

impl<'a> LinkLocation<'a> {
    fn parse(at: &'a str) -> Option<Self> {
        let (owner, name) = match at.rsplit_once("/node_modules/") {
            Some((owner, name)) => (owner, name),
            None => ("", at.strip_prefix("node_modules/")?),
        };
        let parts = if name.starts_with('@') { 2 } else { 1 };
        let is_name = name.split('/').count() == parts && !name.starts_with('.');
        let (owner, name) = (Path::new(owner), Path::new(name));
        let is_valid =
            is_name && is_plain(name) && (owner.as_os_str().is_empty() || in_checkout(owner).is_some());
        is_valid.then_some(Self { owner, name })
    }
}

/// Returns `true` for a relative path without `.` and `..`.
fn is_plain(path: &Path) -> bool {
    let mut components = path.components().peekable();
    components.peek().is_some() && components.all(|component| matches!(component, Component::Normal(_)))
}

/// Splits a path relative to the project: `true` and the rest for a folder beside it, which the
/// project includes (`../_say`), `false` and the path for one in it. Returns `None` if it leads
/// elsewhere.
fn in_checkout(path: &Path) -> Option<(bool, &Path)> {
    let Ok(beside) = path.strip_prefix("..") else { return is_plain(path).then_some((false, path)) };
    // The router's own folders in a checkout begin with a dot.
    let is_hidden = beside.to_str().is_none_or(|beside| beside.starts_with('.'));
    (is_plain(beside) && !is_hidden).then_some((true, beside))
}

/// Returns the path of a folder of the project, or of one beside it in the checkout, if it exists
/// and no component of the path is a link.
fn within(dir: &Path, path: &Path) -> Option<PathBuf> {
    let (is_beside, path) = in_checkout(path)?;
    let mut found = if is_beside { dir.parent()? } else { dir }.to_owned();
    for name in path.components() {
        found.push(name);
        if !is_folder(&found) {
            return None;
        }
    }
    Some(found)
}

/// Returns `true` for a folder that is not a symbolic link.
pub(super) fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|status| status.is_dir())
}

/// Makes a folder that the users of all cells may read.
fn make(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(MODE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_lead_into_the_checkout_and_packages_to_the_fetched_ones() {
        let state = tempfile::tempdir().unwrap();
        let (dir, folder) = (state.path().join("checkout/a"), state.path().join("fetched"));
        for path in
            [dir.join("packages/say"), folder.join("node_modules/@x/y"), folder.join("node_modules/z")]
                .into_iter()
                .chain([dir.join("../_lib"), dir.join("../.hidden")])
        {
            fs::create_dir_all(path).unwrap();
        }
        let project =
            |at: &str, to: &str| PackageLink { at: at.to_owned(), to: LinkTarget::Project(to.to_owned()) };
        let fetched =
            |at: &str, to: &str| PackageLink { at: at.to_owned(), to: LinkTarget::Fetched(to.to_owned()) };
        let links = [
            project("node_modules/@w/say", "packages/say"),
            fetched("packages/say/node_modules/z", "node_modules/z"),
            project("../b/node_modules/x", "packages/say"),
            project("node_modules/lib", "../_lib"),
            fetched("../_lib/node_modules/z", "node_modules/z"),
            project("node_modules/hidden", "../.hidden"),
            project("../.hidden/node_modules/x", "packages/say"),
            project("../../checkout/node_modules/x", "packages/say"),
            project("../node_modules/x", "packages/say"),
            project("node_modules/../x", "packages/say"),
            project("node_modules/up", "../.."),
            fetched("node_modules/up", "../checkout"),
            project("gone/node_modules/x", "packages/say"),
        ];
        // Twice, as a second installation replaces the first one.
        for _ in 0..2 {
            create(&dir, &folder, &links, &NodeModules::default()).unwrap();
            let reads = |at: &str| fs::read_link(dir.join(at)).unwrap();
            assert_eq!(reads("node_modules/@w/say"), dir.join("packages/say"));
            assert_eq!(reads("node_modules/@x/y"), folder.join("node_modules/@x/y"));
            assert_eq!(reads("node_modules/z"), folder.join("node_modules/z"));
            assert_eq!(reads("packages/say/node_modules/z"), folder.join("node_modules/z"));
            assert_eq!(fs::read_dir(dir.join("node_modules")).unwrap().count(), 4);
            assert_eq!(reads("node_modules/lib"), dir.with_file_name("_lib"));
            assert_eq!(reads("../_lib/node_modules/z"), folder.join("node_modules/z"));
            assert_eq!(fs::read_dir(dir.join("../.hidden")).unwrap().count(), 0);
            assert_eq!(fs::read_dir(dir.join("..")).unwrap().count(), 3);
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "nothing was made elsewhere");
        }
    }
}
