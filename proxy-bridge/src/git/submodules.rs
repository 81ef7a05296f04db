//! The submodules that a commit names in its `.gitmodules`. They are only read: git does nothing with them.

use std::collections::BTreeMap;

use super::command::Call;
use super::tree::{damaged, entry};
use super::{GitError, GitUrl, Mirror, ObjectId, Scheme, TreeMode};

const FILE: &str = ".gitmodules";
/// Bound of the file, in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// A folder of a commit that is a commit of another repository. Which one, a
/// [`TreeEntry`](super::TreeEntry) of the kind [`Gitlink`](TreeMode::Gitlink) says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submodule {
    /// From the root of the repository, with `/` between its parts.
    pub path: String,
    /// The URL of the other repository, as the file has it: by whoever wrote the commit. A relative one
    /// is resolved. To be opened only after [`git_url`](Self::git_url).
    pub url: String,
}

impl Submodule {
    /// Checks the URL. `parent` is that of the repository that names it; `insecure` allows http and git.
    /// The parent's credential is for the parent's host only.
    ///
    /// # Errors
    /// [`GitError::Refused`] for what is no URL of a repository, and for one of this machine that a
    /// repository of another one names.
    pub fn git_url(&self, parent: &GitUrl, insecure: bool) -> Result<GitUrl, GitError> {
        let refused = |what: &str| GitError::Refused(format!("{FILE}: the URL of {:?} {what}", self.path));
        let url = GitUrl::parse(&self.url, insecure).map_err(|error| refused(&error.to_string()))?;
        if url.scheme() == Scheme::File && parent.scheme() != Scheme::File {
            return Err(refused("leads to a folder of this machine"));
        }
        Ok(url)
    }
}

impl Mirror {
    /// Returns the commits of the submodules at `paths`, by path. Paths where `commit` has something
    /// else, or nothing, are left out.
    ///
    /// # Errors
    /// [`GitError::Damaged`] if the mirror lacks the commit or a folder of it; [`GitError::Refused`]
    /// for what is no path in a repository.
    pub async fn gitlinks(
        &self,
        commit: &ObjectId,
        paths: &[&str],
    ) -> Result<Vec<(String, ObjectId)>, GitError> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        paths.iter().try_for_each(|path| super::tree::check_path(path))?;
        let mut args = vec!["ls-tree", "-z", "-l", "--full-tree", commit.as_str(), "--"];
        args.extend(paths);
        let printed = self.git().output(Call::local(self.path(), &args)).await.map_err(damaged)?;
        let lines = printed.split(|c| *c == 0).filter(|line| line.starts_with(b"160000 "));
        lines.map(|line| entry(line).map(|entry| (entry.path, entry.id))).collect()
    }

    /// Returns the submodules that `commit` names, in the order of their paths. The caller decides which
    /// of them are wanted, and from where they may come.
    ///
    /// # Errors
    /// [`GitError::Refused`] for a `.gitmodules` that is no plain file, is malformed, or has paths that
    /// lead astray; [`GitError::TooLarge`]; [`GitError::Damaged`].
    pub async fn submodules(&self, commit: &ObjectId) -> Result<Vec<Submodule>, GitError> {
        let args = ["ls-tree", "-z", "-l", "--full-tree", commit.as_str(), "--", FILE];
        let printed = self.git().output(Call::local(self.path(), &args)).await.map_err(damaged)?;
        let Some(line) = printed.split(|c| *c == 0).find(|line| !line.is_empty()) else {
            return Ok(Vec::new());
        };
        if line.starts_with(b"040000 ") {
            return Err(GitError::Refused(format!("{FILE} is a folder")));
        }
        let file = entry(line)?;
        if !matches!(file.mode, TreeMode::File | TreeMode::Executable) {
            return Err(GitError::Refused(format!("{FILE} is no plain file")));
        }
        if file.size > MAX_FILE {
            return Err(GitError::TooLarge { bytes: file.size, budget: MAX_FILE });
        }
        // Without --no-includes the file could name files of this machine to be read.
        let args = ["config", "--no-includes", "--blob", file.id.as_str(), "--list", "-z"];
        let printed =
            self.git().output(Call::local(self.path(), &args)).await.map_err(|error| match error {
                GitError::Other(text) | GitError::Damaged(text) => {
                    GitError::Refused(format!("{FILE}: {text}"))
                }
                other => other,
            })?;
        parse(&printed, self.remote().url.as_str())
    }
}

/// Reads what `git config --list -z` prints.
fn parse(printed: &[u8], parent: &str) -> Result<Vec<Submodule>, GitError> {
    let refused = |what: String| GitError::Refused(format!("{FILE}: {what}"));
    let mut named = BTreeMap::<&str, (Option<&str>, Option<&str>)>::new();
    for setting in printed.split(|c| *c == 0).filter(|setting| !setting.is_empty()) {
        let setting = std::str::from_utf8(setting).map_err(|_| refused("it is not UTF-8".to_owned()))?;
        let (key, value) = setting.split_once('\n').unwrap_or((setting, ""));
        let Some((name, key)) = key.strip_prefix("submodule.").and_then(|key| key.rsplit_once('.')) else {
            continue;
        };
        let (path, url) = named.entry(name).or_default();
        let place = match key {
            "path" => path,
            "url" => url,
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(refused(format!("the submodule {name:?} has {key} twice")));
        }
    }
    let mut found = BTreeMap::new();
    for (name, (path, url)) in named {
        let Some(path) = path else {
            continue;
        };
        check_path(path).map_err(|what| refused(format!("the path {path:?} of {name:?} {what}")))?;
        let url = url.ok_or_else(|| refused(format!("the submodule {name:?} has no url")))?;
        let url = resolve(parent, url).map_err(|what| refused(format!("the URL of {path:?} {what}")))?;
        if found.insert(path, url).is_some() {
            return Err(refused(format!("two submodules have the path {path:?}")));
        }
    }
    Ok(found.into_iter().map(|(path, url)| Submodule { path: path.to_owned(), url }).collect())
}

fn check_path(path: &str) -> Result<(), &'static str> {
    let odd = |part: &str| matches!(part, "" | "." | "..") || part.eq_ignore_ascii_case(".git");
    if path.starts_with('-') {
        Err("begins with -")
    } else if path.chars().any(|c| c.is_control() || c == '\\') {
        Err("has control characters or \\")
    } else if path.split('/').any(odd) {
        Err("is no path in a repository")
    } else {
        Ok(())
    }
}

/// Resolves a relative URL against the parent's, as git does: each `../` takes the last part, after
/// `/` or, where there is none, after `:`. Unlike git, it never leaves the parent's host.
fn resolve(parent: &str, url: &str) -> Result<String, &'static str> {
    if !(url.starts_with("./") || url.starts_with("../")) {
        return Ok(url.to_owned());
    }
    let outside = "leads out of the server of the repository";
    let (mut base, mut rest, mut between) = (parent.trim_end_matches('/'), url, "/");
    // The scheme and the host: what no step takes.
    let host = base.find("://").map(|at| {
        let from = at + 3;
        base.get(from..).and_then(|after| after.find('/')).map_or(base.len(), |slash| from + slash)
    });
    loop {
        if let Some(after) = rest.strip_prefix("../") {
            rest = after;
            let slash = base.rfind('/').filter(|slash| host.is_none_or(|host| *slash >= host));
            let colon = base.rfind(':').filter(|_| host.is_none());
            let (cut, then) = slash.map(|at| (at, "/")).or(colon.map(|at| (at, ":"))).ok_or(outside)?;
            // After the colon of git@host:path there is nothing left to take.
            if between == ":" {
                return Err(outside);
            }
            (base, between) = (base.get(..cut).unwrap_or_default(), then);
        } else if let Some(after) = rest.strip_prefix("./") {
            rest = after;
        } else {
            break;
        }
    }
    Ok(format!("{base}{between}{}", rest.strip_suffix('/').unwrap_or(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_url_is_resolved_as_git_does() {
        for (parent, url, resolved) in [
            ("https://h/acme/shop.git", "../other.git", "https://h/acme/other.git"),
            ("https://h/acme/shop.git/", "../../b/other/", "https://h/b/other"),
            ("https://h/acme/shop", "./sub", "https://h/acme/shop/sub"),
            ("https://h/acme/shop", ".././../x", "https://h/x"),
            ("git@h:acme/shop.git", "../other.git", "git@h:acme/other.git"),
            ("git@h:acme/shop.git", "../../other.git", "git@h:other.git"),
            ("ssh://git@h:22/a/b", "../c", "ssh://git@h:22/a/c"),
            ("file:///srv/a.git", "../b.git", "file:///srv/b.git"),
            ("https://h/a", "https://other/x", "https://other/x"),
            ("https://h/a", "/abs", "/abs"),
        ] {
            assert_eq!(resolve(parent, url).as_deref(), Ok(resolved), "{parent} {url}");
        }
        for (parent, url) in [
            ("https://h/acme/shop", "../../../evil/x"),
            ("https://h/acme/shop", "../../../../evil/x"),
            ("git@h:shop", "../../x"),
            ("host:shop", "../../../x"),
            ("file:///a", "../../x"),
        ] {
            assert!(resolve(parent, url).unwrap_err().contains("out of the server"), "{parent} {url}");
        }
    }

    #[test]
    fn what_is_not_asked_for_is_ignored_and_tricks_are_refused() {
        let list = "submodule.a.b.path\na/b\0submodule.a.b.url\n../x\0submodule.a.b.update\n!touch x\0\
                    core.fsmonitor\ntouch\0submodule.gone.url\nx\0submodule.x\0";
        let found = parse(list.as_bytes(), "https://h/acme/shop").unwrap();
        assert_eq!(found, [Submodule { path: "a/b".to_owned(), url: "https://h/acme/x".to_owned() }]);
        let of = |path: &str, url: &str| {
            let list = format!("submodule.s.path\n{path}\0submodule.s.url\n{url}\0");
            parse(list.as_bytes(), "https://h/acme/shop")
        };
        for path in ["-u", "../x", "a/../b", "/a", "a//b", "", ".git", "a/.GIT/hooks", "a\nb", "a\r", "a\\b"]
        {
            assert!(matches!(of(path, "https://h/x"), Err(GitError::Refused(_))), "{path:?}");
        }
        let twice = "submodule.s.path\na\0submodule.s.path\nb\0submodule.s.url\nx\0";
        assert!(parse(twice.as_bytes(), "x").unwrap_err().to_string().contains("path twice"));
        let same = "submodule.s.path\na\0submodule.s.url\nx\0submodule.t.path\na\0submodule.t.url\ny\0";
        assert!(parse(same.as_bytes(), "x").unwrap_err().to_string().contains("two submodules"));
    }

    #[test]
    fn a_url_that_could_run_something_or_read_this_machine_is_not_opened() {
        let parent = GitUrl::parse("https://h/acme/shop", false).unwrap();
        for (url, says) in [
            ("ext::sh -c x", "spaces"),
            ("ext::sh", "must begin"),
            ("-u", "git@host:path"),
            ("--upload-pack=x", "must begin"),
            ("ssh://-oProxyCommand=x/y", "begin with -"),
            ("https://h/x\ny", "control"),
            ("https://u:hunter2@h/x", "credential"),
            ("/srv/x.git", "file:///"),
            ("file:///srv/x.git", "of this machine"),
            ("http://h/x", "insecure"),
        ] {
            let submodule = Submodule { path: "s".to_owned(), url: url.to_owned() };
            let error = submodule.git_url(&parent, false).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("hunter2"), "{url}: {error}");
        }
        let submodule = Submodule { path: "s".to_owned(), url: "https://h/x".to_owned() };
        assert_eq!(submodule.git_url(&parent, false).unwrap().as_str(), "https://h/x");
    }
}
