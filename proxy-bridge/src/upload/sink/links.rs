//! Links in an archive: followed while they stay inside, as the client does with those in a folder.
//! The volume gets a link only for a symbolic link among packages, from there to a target in the
//! same project: package managers resolve packages by the real paths of links.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::symlink;

use super::super::UploadError;
use super::super::paths::clean;
use super::{Sink, UploadShape, is_stored};

/// The links that Linux follows in one path.
const MAX_FOLLOWED: usize = 40;

/// Names on the way to a link's target, over all links that are followed for it: twice as many as
/// the deepest tree has, up and down. Without the limit a megabyte of links would take a minute.
const MAX_STEPS: usize = 256;

/// Bytes of a file that are copied at once.
const BUFFER: usize = 64 * 1024;

/// The links of an archive, by path.
#[derive(Debug, Default)]
pub(super) struct Links(BTreeMap<String, LinkTarget>);

/// The target of a link, as it was written.
#[derive(Debug)]
pub(in super::super) enum LinkTarget {
    /// A symbolic link's: seen from its folder.
    FromFolder(String),
    /// A hard link's: seen from the top of the archive.
    FromTop(String),
}

/// The location of the projects in an upload.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProjectFolders<'a> {
    /// The folder that contains everything, with a trailing `/`; empty without one.
    pub(super) wrapper: &'a str,
    pub(super) shape: &'a UploadShape,
}

impl ProjectFolders<'_> {
    /// Returns `true` when both paths lie in one project.
    fn has_both(&self, one: &str, other: &str) -> bool {
        let length = match (self.shape, one.strip_prefix(self.wrapper)) {
            (_, None) => return false,
            (UploadShape::One(_), Some(_)) => 0,
            (UploadShape::Many, Some(below)) => below.find('/').map_or(0, |slash| slash + 1),
        };
        let project = &one[..self.wrapper.len() + length];
        format!("{other}/").starts_with(project)
    }
}

impl Sink {
    /// Adds a link. It is followed by [`Self::follow_links`].
    ///
    /// # Errors
    /// Its name is not safe, comes twice, or there are too many.
    pub(in super::super) fn link(&mut self, given: &str, target: LinkTarget) -> Result<(), UploadError> {
        let path = clean(given, &self.limits)?;
        if !is_stored(path) || is_for_shells(path, &target) {
            self.left_out += 1;
            return Ok(());
        }
        if self.names.len() + self.links.0.len() >= self.limits.files {
            return Err(self.too_many());
        }
        match self.links.0.insert(path.to_owned(), target) {
            None => Ok(()),
            Some(_) => Err(twice(path)),
        }
    }

    /// Puts the target of each link in its place. Called when all of the archive was read.
    ///
    /// # Errors
    /// A link leads out of the archive, to nothing or to a folder that contains it, or its files
    /// exceed a limit.
    pub(super) fn follow_links(&mut self, projects: &ProjectFolders<'_>) -> Result<(), UploadError> {
        let links = std::mem::take(&mut self.links);
        let files = self.files.keys().cloned().collect();
        let following = LinkWalk { links: &links, files, projects };
        for path in links.0.keys() {
            if self.names.has(path) {
                return Err(twice(path));
            }
            self.follow(&following, path, &mut vec![path.as_str()])?;
        }
        Ok(())
    }

    /// Follows one link. `through` are the links on the way, each within the target of the one
    /// before.
    fn follow<'l>(
        &mut self,
        following: &LinkWalk<'l>,
        at: &str,
        through: &mut Vec<&'l str>,
    ) -> Result<(), UploadError> {
        let link = *through.last().expect("a link is followed");
        let real = following.links.resolve(link)?;
        let is_kept = following.links.is_among_packages(link, at) && following.projects.has_both(at, &real);
        if is_kept && following.has(self, &real) {
            return self.keep(&real, at);
        }
        if following.files.contains(&real) {
            return self.copy(&real, at);
        }
        let prefix = format!("{real}/");
        if real.is_empty() || through.iter().any(|link| link.starts_with(&prefix)) {
            return Err(bad(link, "points to a folder that it is in: leave it out"));
        }
        let inside = following.links.below(&prefix);
        if !self.names.is_folder(&real) && inside.is_empty() {
            return Err(bad(link, "points to nothing that came with it: fix it, or leave it out"));
        }
        self.add(at, true)?;
        let below = |path: &&String| path.starts_with(&prefix);
        for file in following.files.range(prefix.clone()..).take_while(below) {
            self.copy(file, &format!("{at}/{}", &file[prefix.len()..]))?;
        }
        for nested in inside {
            through.push(nested);
            self.follow(following, &format!("{at}/{}", &nested[prefix.len()..]), through)?;
            through.pop();
        }
        Ok(())
    }

    /// Makes a symbolic link at `at` to `real`, a path without links on its way.
    fn keep(&mut self, real: &str, at: &str) -> Result<(), UploadError> {
        self.add(at, false)?;
        let link = self.dir.join(at);
        let folder = link.parent().unwrap_or(&self.dir);
        let made = std::fs::create_dir_all(folder).and_then(|()| symlink(relative(at, real), &link));
        made.map_err(|error| UploadError::volume("make a link", error).part(at))
    }

    fn copy(&mut self, from: &str, to: &str) -> Result<(), UploadError> {
        let failed = |error| UploadError::volume("follow a link", error).part(to);
        let mut file = File::open(self.dir.join(from)).map_err(failed)?;
        let mut buffer = vec![0; BUFFER];
        self.open(to)?;
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => self.write(&buffer[..length]).map_err(|refused| refused.part(to))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        self.close();
        Ok(())
    }
}

/// The content of the archive, while its links are followed.
struct LinkWalk<'l> {
    links: &'l Links,
    files: BTreeSet<String>,
    projects: &'l ProjectFolders<'l>,
}

impl LinkWalk<'_> {
    /// Returns `true` if the archive has a file or folder at the path `real`, or if `real` is its
    /// root.
    fn has(&self, sink: &Sink, real: &str) -> bool {
        real.is_empty()
            || self.files.contains(real)
            || sink.names.is_folder(real)
            || !self.links.below(&format!("{real}/")).is_empty()
    }
}

impl Links {
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns `true` when `link` is a symbolic one, and `at` in a folder of packages, not one
    /// itself: routers refuse links in their place.
    fn is_among_packages(&self, link: &str, at: &str) -> bool {
        let is_symbolic = matches!(self.0.get(link), Some(LinkTarget::FromFolder(_)));
        is_symbolic && at.rsplit('/').skip(1).any(|name| name == "node_modules")
    }

    /// The path without links on its way that `link` leads to; empty for the top of the archive.
    fn resolve(&self, link: &str) -> Result<String, UploadError> {
        let mut left: Vec<String> = parts(link);
        let (mut real, mut followed, mut steps) = (Vec::new(), 0, left.len());
        while let Some(name) = left.pop() {
            if name == ".." {
                real.pop().ok_or_else(|| leaves(link))?;
                continue;
            }
            real.push(name);
            let Some(target) = self.0.get(&real.join("/")) else { continue };
            followed += 1;
            if followed > MAX_FOLLOWED {
                return Err(bad(link, "is in a circle of links: leave it out"));
            }
            let target = match target {
                LinkTarget::FromFolder(target) if target.starts_with('/') => return Err(leaves(link)),
                LinkTarget::FromFolder(target) => {
                    real.pop();
                    target
                }
                LinkTarget::FromTop(target) => {
                    real.clear();
                    target
                }
            };
            let names = parts(target);
            steps += names.len();
            if steps > MAX_STEPS {
                return Err(bad(link, "takes more than 256 steps to follow: let it point there directly"));
            }
            left.extend(names);
        }
        Ok(real.join("/"))
    }

    /// The links below a folder, which is given with `/` behind.
    fn below(&self, prefix: &str) -> Vec<&str> {
        let from = self.0.range(prefix.to_owned()..).map(|(path, _)| path.as_str());
        from.take_while(|path| path.starts_with(prefix)).collect()
    }
}

/// The names in a path, the last one first.
fn parts(path: &str) -> Vec<String> {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    parts.rev().map(str::to_owned).collect()
}

/// The path from the folder that `at` is in to `real`.
fn relative(at: &str, real: &str) -> String {
    let folder: Vec<_> = at.split('/').rev().skip(1).collect();
    let folder: Vec<_> = folder.into_iter().rev().collect();
    let names: Vec<_> = real.split('/').filter(|name| !name.is_empty()).collect();
    let common = folder.iter().zip(&names).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n("..", folder.len() - common);
    let path: Vec<_> = up.chain(names[common..].iter().copied()).collect();
    if path.is_empty() { ".".to_owned() } else { path.join("/") }
}

/// Returns true for the links in `node_modules/.bin`, which package managers make for shells. The
/// client leaves them out, too.
fn is_for_shells(path: &str, target: &LinkTarget) -> bool {
    let mut up = path.rsplit('/').skip(1);
    matches!(target, LinkTarget::FromFolder(_))
        && up.next() == Some(".bin")
        && up.next() == Some("node_modules")
}

fn leaves(link: &str) -> UploadError {
    bad(
        link,
        "leads out of the files that it came with: replace it with its target (tar -h), or leave it out",
    )
}

fn twice(path: &str) -> UploadError {
    UploadError::bad("filename", format!("{path:?} is in the upload twice: send it once")).part(path)
}

fn bad(link: &str, why: &str) -> UploadError {
    UploadError::bad("type", format!("the link {link:?} {why}")).part(link)
}
