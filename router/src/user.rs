//! The users that the processes of projects run as, and their access to files.

mod access;
mod folder_locks;
mod range;
mod table;

use std::fmt;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use switchyard_protocol::{FileRights, Identity};

use self::access::{Access, DeniedPath, find_denied};
use self::folder_locks::FolderLocks;
pub use self::range::{InvalidUserRange, UserRange};
pub(crate) use self::table::UserTable;
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
    /// The user of this process.
    pub(crate) fn own() -> Self {
        Self { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
    }

    /// Gives `path` to this user and its group.
    ///
    /// # Errors
    /// The owner cannot be changed.
    pub(crate) fn give(self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }
}

/// The users that the processes of projects run as.
#[derive(Debug)]
pub(crate) struct Users {
    assignment: Assignment,
    /// The folders that are being given to another user.
    locks: FolderLocks,
}

/// The assignment of users to projects.
#[derive(Debug)]
enum Assignment {
    /// The router's own user for all projects.
    Own,
    /// The same user for all projects. Their processes are started as this user.
    One(User),
    /// A user for each tenant. Its processes change to it when they are assigned.
    PerTenant(TenantUsers),
}

/// A user for each tenant.
#[derive(Debug)]
pub(crate) struct TenantUsers {
    pub(crate) table: UserTable,
    /// Rights that every process keeps, because its user cannot enter the folders above the state
    /// folder.
    pub(crate) rights: FileRights,
    /// `true`: a process may keep rights of the router if its user has no access to a path. `false`
    /// with `--require-sandbox`, and if the router has no such rights.
    pub(crate) may_keep_rights: bool,
    /// Collects the gaps in the separation.
    pub(crate) gaps: Gaps,
}

/// The reason why a project has no process of its own user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    /// The operator has to change something for this project.
    #[error("{0}")]
    Refused(String),
    /// An operation of the router failed.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

/// The paths outside of the state folder that a process needs.
#[derive(Debug, Default)]
pub(crate) struct ExternalPaths<'a> {
    pub(crate) read: Vec<&'a Path>,
    pub(crate) write: Vec<&'a Path>,
}

impl Users {
    /// The router's own user for all projects.
    pub(crate) fn own() -> Self {
        Self::new(Assignment::Own)
    }

    /// The same user for all projects.
    pub(crate) fn one(user: User) -> Self {
        Self::new(Assignment::One(user))
    }

    /// A user for each tenant.
    pub(crate) fn per_tenant(users: TenantUsers) -> Self {
        Self::new(Assignment::PerTenant(users))
    }

    fn new(assignment: Assignment) -> Self {
        Self { assignment, locks: FolderLocks::default() }
    }

    /// Returns `true` if processes run as another user than the router.
    pub(crate) fn are_others(&self) -> bool {
        !matches!(self.assignment, Assignment::Own)
    }

    /// Returns the user that a process is started as; `None`: the router's own.
    pub(crate) fn at_start(&self) -> Option<User> {
        match self.assignment {
            Assignment::One(user) => Some(user),
            Assignment::Own | Assignment::PerTenant(_) => None,
        }
    }

    /// Returns the user of `tenant`. A new assignment is on disk when this returns. Blocking.
    ///
    /// # Errors
    /// No user is left, or the table cannot be written.
    pub(crate) fn of(&self, tenant: &Tenant) -> Result<User, UserError> {
        match &self.assignment {
            Assignment::Own => Ok(User::own()),
            Assignment::One(user) => Ok(*user),
            Assignment::PerTenant(users) => users.table.user_of(tenant).map(|uid| User { uid, gid: uid }),
        }
    }

    /// Returns the identity that a process of `user` takes when it is assigned, or `None` if it
    /// keeps the identity that it was started with. `owner` names the project in messages.
    ///
    /// # Errors
    /// The user has no access to one of the paths, and its process may not keep rights of the
    /// router.
    pub(crate) fn identity(
        &self,
        user: User,
        owner: &impl fmt::Display,
        external: &ExternalPaths<'_>,
    ) -> Result<Option<Identity>, UserError> {
        let Assignment::PerTenant(users) = &self.assignment else { return Ok(None) };
        let rights = users.rights.max(users.rights_for(user, owner, external)?);
        Ok(Some(Identity { uid: user.uid, gid: user.gid, groups: Vec::new(), rights }))
    }

    /// Returns the group that all installers have, for the files that they share; `None`: they have
    /// one user.
    pub(crate) fn shared_group(&self) -> Option<u32> {
        match &self.assignment {
            Assignment::PerTenant(users) => Some(users.table.range().shared_group()),
            Assignment::Own | Assignment::One(_) => None,
        }
    }

    /// Gives `folder`, which is made if it does not exist, to `user`, with the files of an earlier
    /// user. No other user can enter it. Blocking: may take long, and waits while another thread
    /// works on the folder.
    ///
    /// # Errors
    /// The folder cannot be made or given away.
    pub(crate) fn claim(&self, folder: &Path, user: User) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // Only root can give files away.
        if !self.are_others() && !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let _lock = self.locks.lock(folder);
        folder::claim(folder, user.uid, user.gid)
    }

    /// Lets `user`, and no other user of a project, enter a folder of packages.
    ///
    /// # Errors
    /// Its group or mode cannot be changed.
    pub(crate) fn share_packages(&self, folder: &Path, user: User) -> io::Result<()> {
        if self.are_others() { folder::share(folder, user.gid, false) } else { Ok(()) }
    }

    /// Lets `user`, and no other user of a project, enter and read a checkout. Blocking: may take
    /// long if an earlier version of the router has made it.
    ///
    /// # Errors
    /// A group or mode cannot be changed.
    pub(crate) fn share_checkout(&self, folder: &Path, user: User) -> io::Result<()> {
        if !self.are_others() {
            return Ok(());
        }
        let _lock = self.locks.lock(folder);
        folder::share(folder, user.gid, true)
    }
}

impl TenantUsers {
    /// Returns the rights that a process of `user` has to keep for the paths.
    ///
    /// # Errors
    /// It may not keep them.
    fn rights_for(
        &self,
        user: User,
        owner: &impl fmt::Display,
        external: &ExternalPaths<'_>,
    ) -> Result<FileRights, UserError> {
        let write = external.write.iter().find_map(|path| find_denied(path, user, Access::Write));
        let read = || external.read.iter().find_map(|path| find_denied(path, user, Access::Read));
        let (denied, rights) = match write.map(|path| (path, FileRights::Write)) {
            Some(found) => found,
            None => match read() {
                Some(path) => (path, FileRights::Read),
                None => return Ok(FileRights::Own),
            },
        };
        if !self.may_keep_rights {
            return Err(UserError::Refused(format!(
                "user {} of {owner} may not {}: run {} (cells keep no rights of root here: \
                 --require-sandbox, or a router without CAP_DAC_READ_SEARCH)",
                user.uid,
                denied.action(),
                denied.fix()
            )));
        }
        self.report_gap(&denied, rights);
        Ok(rights)
    }

    fn report_gap(&self, denied: &DeniedPath, rights: FileRights) {
        let keeps = match rights {
            FileRights::Write => "CAP_DAC_OVERRIDE",
            FileRights::Read | FileRights::Own => "CAP_DAC_READ_SEARCH",
        };
        self.gaps.add(format!(
            "modes that let the users of projects {}: cells that need it keep {keeps}, within \
             the paths that Landlock allows; {} closes this gap",
            denied.action(),
            denied.fix()
        ));
    }
}

/// Returns `folder` and all folders above it, from the root down.
pub(crate) fn path_from_root(folder: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = folder.ancestors().map(Path::to_owned).collect();
    folders.reverse();
    folders
}
