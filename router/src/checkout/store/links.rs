//! The folders of links that a checkout gets when its project has members, or dependencies that are
//! folders of it: their links lead into the version's own checkout, all others to what was fetched.

use std::fs::{self, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use switchyard_protocol::{LinkTarget, PackageLink, fetched};

use super::{NODE_MODULES, NodeModules};
use crate::folder::remove;

/// Bytes of the list, which the project's manifests make: some ten thousand links.
const MAX_LIST: u64 = 8 << 20;

/// Each user of a cell may read links.
const MODE: u32 = 0o755;

/// Where a checkout's `node_modules` is made, beside the project's directory.
const UNFINISHED: &str = ".new-links";

/// The links that what is in `folder` asks for.
pub(super) fn read(folder: &Path) -> io::Result<Vec<PackageLink>> {
    let mut text = Vec::new();
    match fs::File::open(folder.join(fetched::LINKS)) {
        Ok(file) => file.take(MAX_LIST).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(serde_json::from_slice(&text)?)
}

/// Makes the folders of links of the project in `dir`, in place of those that it had. Those that are `of_volume` stay.
pub(super) fn lay_out(
    dir: &Path,
    folder: &Path,
    links: &[PackageLink],
    of_volume: &NodeModules,
) -> io::Result<()> {
    let unfinished = dir.with_file_name(UNFINISHED);
    clear(&unfinished)?;
    make(&unfinished)?;
    top(&unfinished, &folder.join(NODE_MODULES))?;
    let mut cleared = Vec::new();
    let is_of_volume = |owner: &Path, node_modules: &Path| {
        let path = owner.join(NODE_MODULES);
        node_modules.is_symlink() || path.to_str().is_some_and(|path| of_volume.others.contains_key(path))
    };
    for link in links {
        let Some(Place { owner, name }) = Place::of(&link.at) else { continue };
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

/// Links to all packages that are at the top of what was fetched.
fn top(node_modules: &Path, fetched: &Path) -> io::Result<()> {
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

/// The folder that a link leads to, when it is where it may lead to.
fn target(dir: &Path, folder: &Path, to: &LinkTarget) -> Option<PathBuf> {
    match to {
        LinkTarget::Fetched(path) => is_plain(Path::new(path)).then(|| folder.join(path)),
        LinkTarget::Project(path) => within(dir, Path::new(path)),
    }
}

/// Where a link is: in the `node_modules` of which folder of the project, and under which name.
struct Place<'a> {
    owner: &'a Path,
    name: &'a Path,
}

impl<'a> Place<'a> {
    fn of(at: &'a str) -> Option<Self> {
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

fn is_plain(path: &Path) -> bool {
    let mut components = path.components().peekable();
    components.peek().is_some() && components.all(|component| matches!(component, Component::Normal(_)))
}

/// Returns whether a path relative to the project is one of a folder beside it, which the project
/// includes (`../_say`), and the rest of the path; `None` when it leads elsewhere.
fn in_checkout(path: &Path) -> Option<(bool, &Path)> {
    let Ok(beside) = path.strip_prefix("..") else { return is_plain(path).then_some((false, path)) };
    // The router's own folders in a checkout begin with a dot.
    let is_hidden = beside.to_str().is_none_or(|beside| beside.starts_with('.'));
    (is_plain(beside) && !is_hidden).then_some((true, beside))
}

/// Returns a folder of the project, or one beside it in the checkout, that is there, and not by a
/// link on the way.
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

pub(super) fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|status| status.is_dir())
}

/// Removes a link, or a folder of links.
pub(super) fn clear(path: &Path) -> io::Result<()> {
    if is_folder(path) {
        remove(path);
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn make(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(MODE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_lead_into_the_checkout_and_packages_to_what_was_fetched() {
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
        // Twice: a second installation takes the place of the first one.
        for _ in 0..2 {
            lay_out(&dir, &folder, &links, &NodeModules::default()).unwrap();
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
