//! Whom the processes that a router makes run as.

mod access;
mod busy;
mod range;
mod table;

use std::fmt;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use switchyard_protocol::{FileRights, Identity};

use self::access::{Closed, Wanted, closed};
use self::busy::Busy;
pub use self::range::UserRange;
pub(crate) use self::table::Table;
use crate::folder;
use crate::gaps::Gaps;
use crate::version::Tenant;

/// A user and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl User {
    /// The user that this process is.
    pub(crate) fn own() -> Self {
        Self { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }

    /// Makes `path` this user's.
    ///
    /// # Errors
    /// It cannot be given away.
    pub(crate) fn give(self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }
}

/// The users that the processes of projects run as.
#[derive(Debug)]
pub(crate) struct Users {
    kind: Kind,
    /// The folders that are being given to another user.
    busy: Busy,
}

#[derive(Debug)]
enum Kind {
    /// The router's own user for all projects.
    Own,
    /// One user for all projects, as which their processes are started.
    One(User),
    /// A user for each tenant, which its processes become when they are assigned.
    Each(Each),
}

/// A user for each tenant.
#[derive(Debug)]
pub(crate) struct Each {
    pub(crate) table: Table,
    /// The rights that every process keeps, as its user cannot enter the folders above the state folder.
    pub(crate) rights: FileRights,
    /// Processes may keep rights of the router's where their user has none: not with `--require-sandbox`, nor where the router
    /// has none either.
    pub(crate) may_keep_rights: bool,
    /// Takes what weakens the separation.
    pub(crate) gaps: Gaps,
}

/// The reason why a project has no process of its user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    /// The operator has to change something for this project.
    #[error("{0}")]
    Refused(String),
    /// The router could not do it.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// The paths outside of the state folder that a process is to use.
#[derive(Debug, Default)]
pub(crate) struct Outside<'a> {
    pub(crate) read: Vec<&'a Path>,
    pub(crate) write: Vec<&'a Path>,
}

impl Users {
    pub(crate) fn own() -> Self {
        Self { kind: Kind::Own, busy: Busy::default() }
    }

    pub(crate) fn one(user: User) -> Self {
        Self { kind: Kind::One(user), busy: Busy::default() }
    }

    pub(crate) fn each(each: Each) -> Self {
        Self { kind: Kind::Each(each), busy: Busy::default() }
    }

    /// Whether processes run as another user than the router.
    pub(crate) fn are_others(&self) -> bool {
        !matches!(self.kind, Kind::Own)
    }

    /// The user that a process is started as; `None`: the router's own.
    pub(crate) fn at_start(&self) -> Option<User> {
        match self.kind {
            Kind::One(user) => Some(user),
            Kind::Own | Kind::Each(_) => None,
        }
    }

    /// The user of `tenant`, which is kept on disk when this returns. May wait for the disk.
    ///
    /// # Errors
    /// No user is left, or the table cannot be written.
    pub(crate) fn of(&self, tenant: &Tenant) -> Result<User, UserError> {
        match &self.kind {
            Kind::Own => Ok(User::own()),
            Kind::One(user) => Ok(*user),
            Kind::Each(each) => each.table.of(tenant).map(|uid| User { uid, gid: uid }),
        }
    }

    /// The identity that a process of `user` takes when it is assigned; `None`: it stays as it was started. `who` names the
    /// project in messages.
    ///
    /// # Errors
    /// The user cannot use one of the paths, and may keep no rights that would let it.
    pub(crate) fn identity(
        &self,
        user: User,
        who: &impl fmt::Display,
        outside: &Outside<'_>,
    ) -> Result<Option<Identity>, UserError> {
        let Kind::Each(each) = &self.kind else { return Ok(None) };
        let rights = each.rights.max(each.rights_for(user, who, outside)?);
        Ok(Some(Identity { uid: user.uid, gid: user.gid, groups: Vec::new(), rights }))
    }

    /// The group that all processes which fetch packages have, for what they share; `None`: they have one user.
    pub(crate) fn shared_group(&self) -> Option<u32> {
        match &self.kind {
            Kind::Each(each) => Some(each.table.range().shared_group()),
            Kind::Own | Kind::One(_) => None,
        }
    }

    /// Makes `folder`, if it is not there, one that only `user` can enter, and gives it what an earlier user had there. May
    /// take long, and waits while another thread does the same.
    ///
    /// # Errors
    /// It cannot be made or given away.
    pub(crate) fn claim(&self, folder: &Path, user: User) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // Only root can give anything away.
        if !self.are_others() && !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let _busy = self.busy.enter(folder);
        folder::claim(folder, user.uid, user.gid)
    }

    /// Lets `user` enter a folder of packages, and no other user of a project.
    ///
    /// # Errors
    /// Its group or mode cannot be changed.
    pub(crate) fn share_packages(&self, folder: &Path, user: User) -> io::Result<()> {
        if self.are_others() { folder::share(folder, user.gid, false) } else { Ok(()) }
    }

    /// Lets `user` enter and read a checkout, and no other user of a project. May take long where an earlier version of the
    /// router has made it.
    ///
    /// # Errors
    /// A group or mode cannot be changed.
    pub(crate) fn share_checkout(&self, folder: &Path, user: User) -> io::Result<()> {
        if !self.are_others() {
            return Ok(());
        }
        let _busy = self.busy.enter(folder);
        folder::share(folder, user.gid, true)
    }
}

impl Each {
    fn rights_for(
        &self,
        user: User,
        who: &impl fmt::Display,
        outside: &Outside<'_>,
    ) -> Result<FileRights, UserError> {
        let write = outside.write.iter().find_map(|path| closed(path, user, Wanted::Write));
        let read = || outside.read.iter().find_map(|path| closed(path, user, Wanted::Read));
        let (closed, rights) = match write.map(|path| (path, FileRights::Write)) {
            Some(found) => found,
            None => match read() {
                Some(path) => (path, FileRights::Read),
                None => return Ok(FileRights::Own),
            },
        };
        if !self.may_keep_rights {
            return Err(UserError::Refused(format!(
                "user {} of {who} may not {}: run {} (cells keep no rights of root's here: --require-sandbox, or a router without \
                 CAP_DAC_READ_SEARCH)",
                user.uid,
                closed.refused(),
                closed.fix()
            )));
        }
        self.report_closed(&closed, rights);
        Ok(rights)
    }

    fn report_closed(&self, closed: &Closed, rights: FileRights) {
        let keeps = match rights {
            FileRights::Write => "CAP_DAC_OVERRIDE",
            FileRights::Read | FileRights::Own => "CAP_DAC_READ_SEARCH",
        };
        self.gaps.add(format!(
            "modes that let the users of projects {}: cells that need it keep {keeps}, within what Landlock lets them touch; \
             {} closes this gap",
            closed.refused(),
            closed.fix()
        ));
    }
}

/// The folders above `folder`, from the root down, and the folder itself.
pub(crate) fn way_to(folder: &Path) -> Vec<PathBuf> {
    let mut way: Vec<_> = folder.ancestors().map(Path::to_owned).collect();
    way.reverse();
    way
}
