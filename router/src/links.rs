//! Symbolic links, followed in a bounded number of steps. One path may cost the kernel and the C
//! library a hundred thousand steps: 40 links, each of which names 2,000 folders and the next link.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

/// Maximum number of links on one path: the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Maximum number of steps in one walk over a project: fifty milliseconds. A link takes one step
/// for each component of its target, five or so.
const MAX_STEPS: usize = 20_000;

/// Follows the links of one walk, as long as the walk has steps left.
#[derive(Debug)]
pub(crate) struct LinkFollower {
    steps_left: usize,
}

impl Default for LinkFollower {
    fn default() -> Self {
        Self { steps_left: MAX_STEPS }
    }
}

impl LinkFollower {
    /// Follows the link at `link`. The path of its folder must not have links. Returns the real
    /// path of the target, and its metadata.
    ///
    /// # Errors
    /// The target does not exist or cannot be read, or the link takes more steps than are left. In
    /// that case no steps are left for other links.
    pub(crate) fn follow(&mut self, link: &Path) -> io::Result<(PathBuf, Metadata)> {
        let mut real = link.parent().unwrap_or(Path::new("/")).to_owned();
        let mut left: Vec<OsString> = link.file_name().map(OsString::from).into_iter().collect();
        let mut links = 0;
        while let Some(name) = left.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            real.push(name);
            let found = real.symlink_metadata()?;
            if found.is_symlink() {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = real.read_link()?;
                self.take(target.components().count())?;
                let is_absolute = target.is_absolute();
                real = if is_absolute { "/".into() } else { real.parent().unwrap_or(&real).to_owned() };
                let names = target.components().rev();
                let names = names.filter(|name| matches!(name, Component::Normal(_) | Component::ParentDir));
                left.extend(names.map(|name| name.as_os_str().to_owned()));
            } else if !found.is_dir() && !left.is_empty() {
                return Err(Errno::NOTDIR.into());
            }
        }
        let metadata = real.symlink_metadata()?;
        Ok((real, metadata))
    }

    fn take(&mut self, count: usize) -> io::Result<()> {
        let left = self.steps_left.checked_sub(count);
        self.steps_left = left.unwrap_or(0);
        left.map(|_| ()).ok_or_else(|| io::Error::other("the symbolic links take too many steps"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_leads_to_where_the_kernel_finds_it_to_lead() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::write(root.join("a/file"), "").unwrap();
        let absolute = root.join("a/b/../file");
        for (name, target) in [
            ("folder", "a/b"),
            ("file", "./a//file"),
            ("absolute", absolute.to_str().unwrap()),
            ("a/b/up", "../../file"),
            ("through", "folder/../b/up"),
            ("a/b/top", "../../a"),
            ("dots", "folder/top/b/c/.."),
            ("gone", "a/gone"),
            ("below-a-file", "file/x"),
            ("loop", "loop"),
            ("proc", "/proc/self/fd/0"),
            ("slash", "/"),
        ] {
            symlink(target, root.join(name)).unwrap();
            let found = LinkFollower::default().follow(&root.join(name)).map(|(real, _)| real).ok();
            let expected = root.join(name).canonicalize().ok();
            // The target of a descriptor need not have a path.
            assert!(found == expected || name == "proc", "{name}: {found:?}, {expected:?}");
        }
    }

    #[test]
    fn links_that_take_the_kernel_long_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("d")).unwrap();
        symlink("d", root.join("0")).unwrap();
        for link in 1..=30 {
            let target = format!("{}{}", "d/../".repeat(800), link - 1);
            symlink(target, root.join(link.to_string())).unwrap();
        }
        let mut links = LinkFollower::default();
        assert!(links.follow(&root.join("1")).is_ok());
        assert!(links.follow(&root.join("30")).is_err());
        assert!(links.follow(&root.join("0")).is_err(), "there are no steps left");
    }
}
