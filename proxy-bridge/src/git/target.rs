//! The ref, tag or commit that a source follows.

use std::cmp::Ordering;
use std::fmt;

use semver::Version;

use super::ObjectId;

const MAX_LEN: usize = 255;

/// The part of a repository that a source follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefTarget {
    /// The newest commit of a branch.
    Branch(String),
    /// A tag, or the newest of several.
    Tag(TagPattern),
    /// One commit, for ever.
    Commit(ObjectId),
    /// A ref by its full name, or `HEAD`.
    Ref(String),
}

/// A name of a ref, or a pattern, that git does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRef(String);

impl RefTarget {
    /// Returns the branch `name`, which is given without `refs/heads/`.
    ///
    /// # Errors
    /// The name is none that git allows.
    pub fn branch(name: &str) -> Result<Self, InvalidRef> {
        if let Some(short) = name.strip_prefix("refs/heads/") {
            return Err(InvalidRef(format!("a branch is given without refs/heads/: {short:?}")));
        }
        check_name(name)?;
        Ok(Self::Branch(name.to_owned()))
    }

    /// Returns the tag, or the newest tag, that `pattern` names.
    ///
    /// # Errors
    /// See [`TagPattern::parse`].
    pub fn tag(pattern: &str) -> Result<Self, InvalidRef> {
        TagPattern::parse(pattern).map(Self::Tag)
    }

    /// Returns the ref with the full name `name`, e.g. `refs/pull/7/head` or `HEAD`.
    ///
    /// # Errors
    /// The name is none that git allows, or is not a full one.
    pub fn full_ref(name: &str) -> Result<Self, InvalidRef> {
        check_name(name)?;
        if name != "HEAD" && !name.starts_with("refs/") {
            return Err(InvalidRef(format!(
                "a ref is given in full: HEAD, or a name that begins with refs/, as refs/heads/{name}"
            )));
        }
        Ok(Self::Ref(name.to_owned()))
    }

    /// The full name to ask a server for, with `*` at its end for several tags. A commit has none.
    pub fn ref_name(&self) -> Option<String> {
        match self {
            Self::Branch(name) => Some(format!("refs/heads/{name}")),
            Self::Tag(pattern) => Some(format!("refs/tags/{pattern}")),
            Self::Commit(_) => None,
            Self::Ref(name) => Some(name.clone()),
        }
    }
}

impl fmt::Display for RefTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(name) => write!(f, "branch {name}"),
            Self::Tag(pattern) => write!(f, "tag {pattern}"),
            Self::Commit(id) => write!(f, "commit {id}"),
            Self::Ref(name) => write!(f, "ref {name}"),
        }
    }
}

/// A tag's name, or the beginning of one before `*`: the newest by semantic version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPattern {
    beginning: String,
    /// Whether tags that only begin with it match too.
    open: bool,
}

impl TagPattern {
    /// Reads `v1.2.3` or `v1.*`.
    ///
    /// # Errors
    /// The text is no name of a tag, or has a `*` elsewhere than at its end.
    pub fn parse(text: &str) -> Result<Self, InvalidRef> {
        let (beginning, open) = match text.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (text, false),
        };
        if beginning.contains('*') {
            return Err(InvalidRef(format!("tag {text:?} may have one *, at its end, as in v1.*")));
        }
        // A digit takes the place of what follows, so that "v1." is judged as "v1.0".
        check_name(&if open { format!("{beginning}0") } else { beginning.to_owned() })?;
        Ok(Self { beginning: beginning.to_owned(), open })
    }

    /// Returns the tag to follow, of those in `names`: the one of exactly that name, or the newest by
    /// semantic version. Prereleases count only where the pattern names one (`v2.0.0-rc.*`). Tags
    /// that are no versions are passed over.
    pub fn newest<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        if !self.open {
            return names.into_iter().find(|name| *name == self.beginning);
        }
        let start = version_start(&self.beginning);
        let prereleases = self.beginning.get(start..).is_some_and(|version| version.contains('-'));
        names
            .into_iter()
            .filter(|name| name.starts_with(&self.beginning))
            .filter_map(|name| Some((version(name.get(start..)?)?, name)))
            .filter(|(version, _)| prereleases || version.pre.is_empty())
            .max_by(|(a, a_name), (b, b_name)| match a.cmp_precedence(b) {
                Ordering::Equal => a_name.cmp(b_name),
                order => order,
            })
            .map(|(_, name)| name)
    }

    /// Returns true if several tags can match.
    pub fn is_open(&self) -> bool {
        self.open
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.beginning, if self.open { "*" } else { "" })
    }
}

/// Returns the place in the beginning of a tag where its version starts: after the last `/`, at the
/// first digit that begins a word, or that `v` comes before.
fn version_start(beginning: &str) -> usize {
    let word = |place: usize| {
        let before = beginning[..place].strip_suffix(['v', 'V']).unwrap_or(&beginning[..place]);
        !before.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    let folder = beginning.rfind('/').map_or(0, |slash| slash + 1);
    beginning
        .char_indices()
        .find(|(place, c)| *place >= folder && c.is_ascii_digit() && word(*place))
        .map_or(beginning.len(), |(place, _)| place)
}

/// Reads a version as tags spell it: with or without `v`, of one to three numbers, zeros before them.
fn version(text: &str) -> Option<Version> {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(end);
    let mut numbers = [0_u64; 3];
    let mut places = numbers.iter_mut();
    for part in core.split('.') {
        if part.is_empty() || !part.bytes().all(|c| c.is_ascii_digit()) {
            return None;
        }
        *places.next()? = part.parse().ok()?;
    }
    let [major, minor, patch] = numbers;
    Version::parse(&format!("{major}.{minor}.{patch}{rest}")).ok()
}

/// Checks the rules of `git check-ref-format` for a name, or for a part of one.
pub(super) fn check_name(name: &str) -> Result<(), InvalidRef> {
    let wrong = |what: &str| Err(InvalidRef(format!("{name:?} is no name of a ref: {what}")));
    if name.is_empty() || name.len() > MAX_LEN {
        return wrong("it must have 1 to 255 characters");
    }
    if name.starts_with('-') || name == "@" {
        return wrong("it may not begin with - or be @");
    }
    if name.chars().any(|c| c.is_control() || " ~^:?*[\\".contains(c)) {
        return wrong("it may not hold spaces, control characters or ~^:?*[\\");
    }
    if name.contains("..") || name.contains("@{") || name.ends_with('.') {
        return wrong("it may not hold .. or @{ or end with a dot");
    }
    if name.split('/').any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock")) {
        return wrong("no part may be empty, begin with a dot or end with .lock");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_picked() {
        for (pattern, tags, picked) in [
            ("v1.*", &["v1.9.0", "v1.10.0", "v2.0.0", "v10.0.0", "v1.x"][..], Some("v1.10.0")),
            ("v1.*", &["v1.2", "v1.2.1-rc.1", "v1.1.9"], Some("v1.2")),
            ("v*", &["v1", "v2.1", "v3.0.0-beta", "vnext"], Some("v2.1")),
            ("*", &["v1.0.0", "2.0.0", "nightly"], Some("2.0.0")),
            ("api/v1.*", &["api/v1.2.0", "web/v1.3.0"], Some("api/v1.2.0")),
            ("release-*", &["release-1.0", "release-v1.1"], Some("release-v1.1")),
            ("2024.*", &["2024.01.05", "2024.11.02", "2025.01.01"], Some("2024.11.02")),
            ("v2.0.0-rc.*", &["v2.0.0-rc.2", "v2.0.0-rc.10", "v2.0.0"], Some("v2.0.0-rc.10")),
            ("v1.2.3", &["v1.2.30", "v1.2.3"], Some("v1.2.3")),
            ("api2/*", &["api2/1.0.0", "api2/v1.2.0"], Some("api2/v1.2.0")),
            ("v3.*", &["v3.0.0-rc.1", "v2.0.0"], None),
            ("v1.2.3", &["v1.2.4"], None),
        ] {
            let pattern = TagPattern::parse(pattern).unwrap();
            assert_eq!(pattern.newest(tags.iter().copied()), picked, "{pattern}");
        }
    }

    #[test]
    fn names_that_git_does_not_allow_are_refused() {
        for name in [
            "",
            "-x",
            "--upload-pack=x",
            "a..b",
            "a b",
            "a\nb",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a[",
            "a\\b",
            ".a",
            "a/.b",
            "a//b",
            "/a",
            "a/",
            "a.lock",
            "a.",
            "a@{1}",
            "@",
        ] {
            assert!(RefTarget::branch(name).is_err(), "{name:?}");
            assert!(RefTarget::full_ref(name).is_err(), "{name:?}");
            assert!(RefTarget::tag(name).is_err(), "{name:?}");
        }
        assert!(RefTarget::tag("v*.1").is_err() && RefTarget::tag("v**").is_err());
        assert!(RefTarget::branch("refs/heads/main").unwrap_err().to_string().contains("\"main\""));
        assert!(RefTarget::full_ref("main").unwrap_err().to_string().contains("refs/heads/main"));
    }

    #[test]
    fn a_target_asks_for_one_name() {
        for (target, name) in [
            (RefTarget::branch("feature/é").unwrap(), Some("refs/heads/feature/é")),
            (RefTarget::tag("v1.*").unwrap(), Some("refs/tags/v1.*")),
            (RefTarget::full_ref("HEAD").unwrap(), Some("HEAD")),
            (RefTarget::full_ref("refs/pull/7/head").unwrap(), Some("refs/pull/7/head")),
            (RefTarget::Commit("0a1b".repeat(10).parse().unwrap()), None),
        ] {
            assert_eq!(target.ref_name().as_deref(), name);
        }
    }
}
