//! The users that tenants have, in a file of the state folder: a header, then a line `UID TENANT` for each. Lines are only
//! ever added, so no user is given to a second tenant, not even when the first is gone. Of two lines for one tenant the
//! later one holds: its user was outside of the range by then.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use anyhow::Context as _;

use super::{UserError, UserRange};
use crate::version::Tenant;

/// The name in the state folder.
const FILE: &str = "cell-users";

const HEADER: &str = "switchyard cell users ";

/// The format of the file; a router refuses a newer one.
const FORMAT: &str = "1";

/// The way back from a file that cannot be used.
const FIX: &str =
    "restore it from a backup, or move it away: then every project gets a new user, and its files with it";

/// The users of all tenants. One router has it at a time (the state folder's lock).
#[derive(Debug)]
pub(crate) struct Table {
    range: UserRange,
    path: PathBuf,
    entries: Mutex<Entries>,
}

#[derive(Debug)]
struct Entries {
    file: File,
    /// The length of the lines that are known to be on disk; what is behind them was never used.
    length: u64,
    users: HashMap<Tenant, u32>,
    /// The user of the next tenant; beyond the range when there is none.
    next: u32,
}

impl Table {
    /// Opens the table in the state folder, or makes it. `owners` are users that have folders of projects already: a table
    /// that is older than these, or new, gives none of them to a second tenant.
    ///
    /// # Errors
    /// It cannot be read or written, is damaged, or is of a newer router. The text names the file and what to do.
    pub(crate) fn open(state: &Path, range: UserRange, owners: &BTreeSet<u32>) -> Result<Self, String> {
        let path = state.join(FILE);
        let wrong = |error: io::Error| format!("{} cannot be used: {error}", path.display());
        if !path.try_exists().map_err(wrong)? {
            create(state, &path).map_err(wrong)?;
        }
        let file = File::options().read(true).write(true).open(&path).map_err(wrong)?;
        let bytes = fs::read(&path).map_err(wrong)?;
        let (users, given, length) =
            parse(&bytes).map_err(|error| format!("{}: {error}; {FIX}", path.display()))?;
        let is_ours = |uid: &&u32| range.users().contains(*uid);
        let highest = given.union(owners).filter(is_ours).max();
        let next = highest.map_or(*range.users().start(), |highest| highest + 1);
        let entries = Mutex::new(Entries { file, length, users, next });
        Ok(Self { range, path, entries })
    }

    pub(crate) fn range(&self) -> UserRange {
        self.range
    }

    /// The user of `tenant`, on disk when this returns.
    ///
    /// # Errors
    /// All users have been given out, or the file cannot be written.
    pub(crate) fn of(&self, tenant: &Tenant) -> Result<u32, UserError> {
        let mut entries = self.lock();
        let known = entries.users.get(tenant).copied();
        if let Some(uid) = known.filter(|uid| self.range.users().contains(uid)) {
            return Ok(uid);
        }
        let uid = entries.next;
        if uid > self.range.last() {
            return Err(UserError::Refused(format!(
                "no user is left for it: all of --cell-users {} have been given to projects, none of them twice; name a larger range",
                self.range
            )));
        }
        entries.add(tenant, uid).with_context(|| format!("write {}", self.path.display()))?;
        Ok(uid)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().expect("no holder of this lock panics")
    }
}

impl Entries {
    fn add(&mut self, tenant: &Tenant, uid: u32) -> io::Result<()> {
        let line = format!("{uid} {tenant}\n");
        // Behind the last whole line, in place of what an attempt before has left.
        self.file.set_len(self.length)?;
        self.file.write_all_at(line.as_bytes(), self.length)?;
        self.file.sync_data()?;
        self.length += line.len() as u64;
        self.users.insert(tenant.clone(), uid);
        self.next = uid + 1;
        Ok(())
    }
}

/// Whole or not at all, whenever the power goes.
fn create(state: &Path, path: &Path) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut options = File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(format!("{HEADER}{FORMAT}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(state)?.sync_all()
}

type Parsed = (HashMap<Tenant, u32>, BTreeSet<u32>, u64);

/// The users of tenants, all users that were ever given, and the length of the whole lines. A last line without an end is
/// one that was being written: its user was never used.
fn parse(bytes: &[u8]) -> Result<Parsed, String> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let text = str::from_utf8(&bytes[..whole]).map_err(|error| format!("is damaged: {error}"))?;
    let mut lines = text.lines();
    let header = lines.next().and_then(|header| header.strip_prefix(HEADER));
    match header {
        Some(FORMAT) => {}
        Some(newer) => {
            return Err(format!("has format {newer:?}, this router knows {FORMAT:?}: it is of a newer one"));
        }
        None => return Err("is damaged: line 1 is not its header".to_owned()),
    }
    let (mut users, mut given) = (HashMap::new(), BTreeSet::new());
    for (line, number) in lines.zip(2_usize..) {
        let entry = line.split_once(' ').and_then(|(uid, tenant)| {
            Some((uid.parse::<u32>().ok().filter(|uid| *uid != 0)?, Tenant::of_folder(tenant)?))
        });
        let (uid, tenant) =
            entry.ok_or_else(|| format!("is damaged: line {number} is not a user and a project"))?;
        if !given.insert(uid) {
            return Err(format!("is damaged: line {number} gives user {uid} a second time"));
        }
        users.insert(tenant, uid);
    }
    Ok((users, given, whole as u64))
}

#[cfg(test)]
mod tests {
    use switchyard_contract::incarnation::Incarnation;
    use switchyard_contract::project::ProjectName;

    use super::*;

    fn tenant(name: &str) -> Tenant {
        Tenant::first(&ProjectName::parse(name).unwrap())
    }

    fn open(state: &Path, range: &str) -> Table {
        Table::open(state, range.parse().unwrap(), &BTreeSet::new()).unwrap()
    }

    fn refusal(table: &Table, name: &str) -> String {
        match table.of(&tenant(name)) {
            Err(UserError::Refused(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_tenant_keeps_its_user_over_restarts_and_no_other_one_gets_it() {
        let state = tempfile::tempdir().unwrap();
        let later = Tenant::new(&tenant("a").project, Incarnation::from_number(7));
        let table = open(state.path(), "5000-5002");
        assert_eq!(table.of(&tenant("a")).unwrap(), 5001);
        assert_eq!(table.of(&later).unwrap(), 5002, "another incarnation");
        assert!(refusal(&table, "b").contains("--cell-users 5000-5002"));
        let table = open(state.path(), "5000-5003");
        assert_eq!([table.of(&later).unwrap(), table.of(&tenant("a")).unwrap()], [5002, 5001]);
        assert_eq!(table.of(&tenant("b")).unwrap(), 5003);
        assert_eq!(
            fs::read_to_string(state.path().join(FILE)).unwrap(),
            "switchyard cell users 1\n5001 a\n5002 a.0000000000000007\n5003 b\n"
        );
    }

    #[test]
    fn another_range_gives_new_users_and_the_old_ones_to_nobody() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(open(state.path(), "5000-5010").of(&tenant("a")).unwrap(), 5001);
        let table = open(state.path(), "5001-5010");
        assert_eq!(table.of(&tenant("b")).unwrap(), 5002, "the first is the shared group");
        assert_eq!(table.of(&tenant("a")).unwrap(), 5003);
        assert_eq!(open(state.path(), "5001-5010").of(&tenant("a")).unwrap(), 5003);
    }

    #[test]
    fn users_that_own_folders_are_not_given_when_the_table_is_gone_or_old() {
        let state = tempfile::tempdir().unwrap();
        let owners = BTreeSet::from([0, 5004, 9000]);
        let table = Table::open(state.path(), "5000-5010".parse().unwrap(), &owners).unwrap();
        assert_eq!(table.of(&tenant("a")).unwrap(), 5005);
    }

    #[test]
    fn a_line_that_was_cut_off_was_never_used() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join(FILE);
        for rest in ["5001 a", "5001 a-long-name-that-was-not-written-to-its-e", "\0\0\0"] {
            fs::write(&path, format!("{HEADER}{FORMAT}\n{rest}")).unwrap();
            assert_eq!(open(state.path(), "5000-5010").of(&tenant("b")).unwrap(), 5001);
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
            let error = Table::open(state.path(), UserRange::DEFAULT, &BTreeSet::new()).unwrap_err();
            assert!(error.contains(what) && error.contains("cell-users"), "{text:?}: {error}");
            assert!(error.contains("restore it from a backup"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text, "it is left as it was");
        }
        fs::write(&path, [header.as_bytes(), b"\xff\n"].concat()).unwrap();
        assert!(Table::open(state.path(), UserRange::DEFAULT, &BTreeSet::new()).is_err());
    }
}
