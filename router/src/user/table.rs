//! The table of tenants' users, a file in the state folder: a header, then a line `UID TENANT` for
//! each. Lines are only ever added, so that no user is assigned to a second tenant, not even after
//! the first one is gone. Of two lines for one tenant the later one counts: the user of the earlier
//! one had left the range by then.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::str::Utf8Error;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use switchyard_program::atomic_file;

use super::{UserError, UserRange};
use crate::version::Tenant;

/// Name of the file in the state folder.
const FILE: &str = "cell-users";

/// Beginning of the first line, before the format.
const HEADER: &str = "switchyard cell users ";

/// The format of the file. A router refuses newer ones.
const FORMAT: &str = "1";

/// The fix for a file that cannot be used.
const FIX: &str = "restore it from a backup, or move it away: every project then gets \
                   a new user, which also gets the project's files";

/// The users of all tenants. Only one router has the table open, as it holds the lock of the state
/// folder.
#[derive(Debug)]
pub(crate) struct UserTable {
    range: UserRange,
    path: PathBuf,
    state: Mutex<TableState>,
}

/// The open file and its content.
#[derive(Debug)]
struct TableState {
    file: File,
    /// Length in bytes of the lines that are known to be on disk. Bytes after them were never used.
    length: u64,
    users: HashMap<Tenant, u32>,
    /// The user of the next new tenant; beyond the range if none is left.
    next: u32,
}

impl UserTable {
    /// Opens the table in the state folder, or makes it. `owners` are the users that own folders of
    /// projects: a table that is older than these folders, or new, assigns none of them to a second
    /// tenant.
    ///
    /// # Errors
    /// The file cannot be read or written, is damaged, or was written by a newer router. The
    /// message names the file and the fix.
    pub(crate) fn open(state: &Path, range: UserRange, owners: &BTreeSet<u32>) -> Result<Self, TableError> {
        let path = state.join(FILE);
        let failed = |error: io::Error| TableError::Io { path: path.clone(), error };
        if !path.try_exists().map_err(failed)? {
            let header = format!("{HEADER}{FORMAT}\n");
            atomic_file::write(&path, header.as_bytes(), atomic_file::PRIVATE).map_err(failed)?;
        }
        let file = File::options().read(true).write(true).open(&path).map_err(failed)?;
        let bytes = fs::read(&path).map_err(failed)?;
        let TableContent { users, assigned, length } =
            TableContent::parse(&bytes).map_err(|error| TableError::Format { path: path.clone(), error })?;
        let is_in_range = |uid: &&u32| range.users().contains(*uid);
        let highest = assigned.union(owners).filter(is_in_range).max();
        let next = highest.map_or(*range.users().start(), |highest| highest + 1);
        let state = Mutex::new(TableState { file, length, users, next });
        Ok(Self { range, path, state })
    }

    /// The range of users for tenants.
    pub(crate) fn range(&self) -> UserRange {
        self.range
    }

    /// Returns the user of `tenant`. A new assignment is on disk when this returns. Blocking.
    ///
    /// # Errors
    /// All users have been assigned, or the file cannot be written.
    pub(crate) fn user_of(&self, tenant: &Tenant) -> Result<u32, UserError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let known = state.users.get(tenant).copied();
        if let Some(uid) = known.filter(|uid| self.range.users().contains(uid)) {
            return Ok(uid);
        }
        let uid = state.next;
        if uid > self.range.last() {
            return Err(UserError::Refused(format!(
                "no user is left for it: all of --cell-users {} have been assigned to projects, \
                 each to one; name a larger range",
                self.range
            )));
        }
        state.add(tenant, uid).with_context(|| format!("write {}", self.path.display()))?;
        Ok(uid)
    }
}

impl TableState {
    fn add(&mut self, tenant: &Tenant, uid: u32) -> io::Result<()> {
        let line = format!("{uid} {tenant}\n");
        // After the last complete line, replacing the rest of an earlier attempt.
        self.file.set_len(self.length)?;
        self.file.write_all_at(line.as_bytes(), self.length)?;
        self.file.sync_data()?;
        self.length += line.len() as u64;
        self.users.insert(tenant.clone(), uid);
        self.next = uid + 1;
        Ok(())
    }
}

/// The content of a table.
#[derive(Debug)]
struct TableContent {
    /// The user of each tenant.
    users: HashMap<Tenant, u32>,
    /// All users that were ever assigned.
    assigned: BTreeSet<u32>,
    /// Length of the complete lines in bytes. A last line without an end was being written when the
    /// router was killed: its user was never used.
    length: u64,
}

impl TableContent {
    fn parse(bytes: &[u8]) -> Result<Self, TableFormatError> {
        let length = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text = str::from_utf8(&bytes[..length])?;
        let mut lines = text.lines();
        let header = lines.next().and_then(|header| header.strip_prefix(HEADER));
        match header {
            Some(FORMAT) => {}
            Some(newer) => return Err(TableFormatError::Newer(newer.to_owned())),
            None => return Err(TableFormatError::Header),
        }
        let (mut users, mut assigned) = (HashMap::new(), BTreeSet::new());
        for (line, number) in lines.zip(2_usize..) {
            let entry = line.split_once(' ').and_then(|(uid, tenant)| {
                Some((uid.parse::<u32>().ok().filter(|uid| *uid != 0)?, Tenant::of_folder(tenant)?))
            });
            let (uid, tenant) = entry.ok_or(TableFormatError::Line(number))?;
            if !assigned.insert(uid) {
                return Err(TableFormatError::Duplicate { line: number, uid });
            }
            users.insert(tenant, uid);
        }
        Ok(Self { users, assigned, length: length as u64 })
    }
}

/// The reason why a table cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    #[error("{} cannot be used: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{}: {error}; {FIX}", path.display())]
    Format { path: PathBuf, error: TableFormatError },
}

/// The reason why the content of a table is not valid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableFormatError {
    #[error("the table is damaged: {0}")]
    Encoding(#[from] Utf8Error),
    #[error("the table is damaged: line 1 is not its header")]
    Header,
    #[error("the table has format {0:?}, this router knows {FORMAT:?}: it was written by a newer router")]
    Newer(String),
    #[error("the table is damaged: line {0} is not a user and a project")]
    Line(usize),
    #[error("the table is damaged: line {line} assigns user {uid} a second time")]
    Duplicate { line: usize, uid: u32 },
}

#[cfg(test)]
mod tests {
    use switchyard_contract::incarnation::Incarnation;
    use switchyard_contract::project::ProjectName;

    use super::*;

    fn tenant(name: &str) -> Tenant {
        Tenant::first(&ProjectName::parse(name).unwrap())
    }

    fn open(state: &Path, range: &str) -> UserTable {
        UserTable::open(state, range.parse().unwrap(), &BTreeSet::new()).unwrap()
    }

    fn refusal(table: &UserTable, name: &str) -> String {
        match table.user_of(&tenant(name)) {
            Err(UserError::Refused(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_tenant_keeps_its_user_over_restarts_and_no_other_one_gets_it() {
        let state = tempfile::tempdir().unwrap();
        let later = Tenant::new(&tenant("a").project, Incarnation::from_number(7));
        let table = open(state.path(), "5000-5002");
        assert_eq!(table.user_of(&tenant("a")).unwrap(), 5001);
        assert_eq!(table.user_of(&later).unwrap(), 5002, "another incarnation");
        assert!(refusal(&table, "b").contains("--cell-users 5000-5002"));
        let table = open(state.path(), "5000-5003");
        assert_eq!([table.user_of(&later).unwrap(), table.user_of(&tenant("a")).unwrap()], [5002, 5001]);
        assert_eq!(table.user_of(&tenant("b")).unwrap(), 5003);
        assert_eq!(
            fs::read_to_string(state.path().join(FILE)).unwrap(),
            "switchyard cell users 1\n5001 a\n5002 a.0000000000000007\n5003 b\n"
        );
    }

    #[test]
    fn another_range_assigns_new_users_and_the_old_ones_to_no_tenant() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(open(state.path(), "5000-5010").user_of(&tenant("a")).unwrap(), 5001);
        let table = open(state.path(), "5001-5010");
        assert_eq!(table.user_of(&tenant("b")).unwrap(), 5002, "the first is the shared group");
        assert_eq!(table.user_of(&tenant("a")).unwrap(), 5003);
        assert_eq!(open(state.path(), "5001-5010").user_of(&tenant("a")).unwrap(), 5003);
    }

    #[test]
    fn users_that_own_folders_are_not_assigned_when_the_table_is_gone_or_old() {
        let state = tempfile::tempdir().unwrap();
        let owners = BTreeSet::from([0, 5004, 9000]);
        let table = UserTable::open(state.path(), "5000-5010".parse().unwrap(), &owners).unwrap();
        assert_eq!(table.user_of(&tenant("a")).unwrap(), 5005);
    }

    #[test]
    fn a_line_that_was_cut_off_was_never_used() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join(FILE);
        for rest in ["5001 a", "5001 a-long-name-that-was-not-written-to-its-e", "\0\0\0"] {
            fs::write(&path, format!("{HEADER}{FORMAT}\n{rest}")).unwrap();
            assert_eq!(open(state.path(), "5000-5010").user_of(&tenant("b")).unwrap(), 5001);
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{HEADER}{FORMAT}\n5001 b\n"));
        }
    }

    #[test]
    fn a_file_that_is_damaged_or_newer_is_refused_with_its_name_and_the_line() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join(FILE);
        let header = format!("{HEADER}{FORMAT}\n");
        for (text, what) in [
            (String::new(), "line 1"),
            ("something else\n".to_owned(), "line 1"),
            (format!("{HEADER}2\n5001 a\n"), "newer"),
            (format!("{header}5001 a\nfive b\n"), "line 3"),
            (format!("{header}0 a\n"), "line 2"),
            (format!("{header}5001 A/b\n"), "line 2"),
            (format!("{header}5001 a\n5001 b\n"), "user 5001 a second time"),
            (format!("{header}\n"), "line 2"),
        ] {
            fs::write(&path, &text).unwrap();
            let error = UserTable::open(state.path(), UserRange::DEFAULT, &BTreeSet::new());
            let error = error.unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("cell-users"), "{text:?}: {error}");
            assert!(error.contains("restore it from a backup"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text, "it is left as it was");
        }
        fs::write(&path, [header.as_bytes(), b"\xff\n"].concat()).unwrap();
        assert!(UserTable::open(state.path(), UserRange::DEFAULT, &BTreeSet::new()).is_err());
    }
}
