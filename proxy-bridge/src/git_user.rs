//! The user that git runs as, as an operator names it.

use std::fmt::{self, Display};
use std::str::FromStr;

use switchyard_program::settings::InvalidSetting;

/// A user of this machine: `NAME`, or `UID` with or without `:GID`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitUser {
    /// By its name.
    Name(String),
    /// By its id, with a group or with its own.
    Id(u32, Option<u32>),
}

/// A text that names no user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid user {0:?}: expected a name, or ids such as 64000 or 64000:64000")]
pub struct InvalidUser(String);

impl FromStr for GitUser {
    type Err = InvalidUser;

    fn from_str(text: &str) -> Result<Self, InvalidUser> {
        let invalid = || InvalidUser(text.to_owned());
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
            return Err(invalid());
        }
        if !text.starts_with(|c: char| c.is_ascii_digit()) {
            return if text.contains(':') { Err(invalid()) } else { Ok(Self::Name(text.to_owned())) };
        }
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        // The highest number stands for "no user" in system calls.
        let id = |text: &str| text.parse().ok().filter(|id| *id != u32::MAX).ok_or_else(invalid);
        Ok(Self::Id(id(user)?, group.map(id).transpose()?))
    }
}

impl Display for GitUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Id(user, None) => write!(f, "{user}"),
            Self::Id(user, Some(group)) => write!(f, "{user}:{group}"),
        }
    }
}

impl GitUser {
    /// Returns the ids of the user and of the group.
    ///
    /// # Errors
    /// This process is not root's, the machine does not know the user, or it is root.
    pub fn find(&self) -> Result<(u32, u32), InvalidSetting> {
        let wrong = |what: String| Err(InvalidSetting(what));
        if !rustix::process::geteuid().is_root() {
            return wrong("only a bridge that runs as root can choose the user of git".to_owned());
        }
        let found = match self {
            Self::Name(name) => uzers::get_user_by_name(name),
            Self::Id(user, _) => uzers::get_user_by_uid(*user),
        };
        let (user, group) = match (self, found) {
            (Self::Id(user, Some(group)), _) => (*user, *group),
            (_, Some(found)) => (found.uid(), found.primary_group_id()),
            (Self::Id(user, None), None) => {
                return wrong(format!("no user has the id {user}: give a group too, as {user}:{user}"));
            }
            (Self::Name(name), None) => {
                return wrong(format!("unknown user {name:?}: create it, or name another one"));
            }
        };
        if user == 0 || group == 0 {
            return wrong("git must not run as root, or in its group: name another user".to_owned());
        }
        Ok((user, group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_name_or_ids() {
        for (text, user) in [
            ("nobody", GitUser::Name("nobody".to_owned())),
            ("64000", GitUser::Id(64_000, None)),
            ("64000:64001", GitUser::Id(64_000, Some(64_001))),
        ] {
            assert_eq!(text.parse(), Ok(user.clone()));
            assert_eq!(user.to_string(), text);
        }
        for text in
            ["", "a b", "git:git", "64000:", "64000:git", ":1", "64000x", "4294967295", "1:2:3", "a/b"]
        {
            assert!(text.parse::<GitUser>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_root_chooses_and_never_itself() {
        let find = |text: &str| text.parse::<GitUser>().unwrap().find();
        if !rustix::process::geteuid().is_root() {
            assert!(find("64000:64001").unwrap_err().0.contains("runs as root"));
            return;
        }
        assert_eq!(find("64000:64001"), Ok((64_000, 64_001)));
        for (text, says) in [
            ("root", "must not run as root"),
            ("0:5", "must not run as root"),
            ("5:0", "or in its group"),
            ("no-such-user", "unknown user"),
            ("4000000000", "give a group too"),
        ] {
            let error = find(text).unwrap_err().0;
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
