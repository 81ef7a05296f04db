//! Files in `DATA_DIR`s, found, moved and read through descriptors, one folder at a time: a project may
//! have put anything there, and exchanges it while it is looked at. No link is followed. Blocking.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, fchown, fstat, fsync, mkdirat, openat,
    renameat, statat, unlinkat,
};
use rustix::io::Errno;
use serde_json::Value;
use switchyard_contract::admin::{CURRENT_FILES, FileOutcome};
use switchyard_contract::bounds::FILE_CONTENT;
use switchyard_contract::run::RunId;

use super::pattern::{base, is_usable};

/// Time without a change after which a file is taken for whole, unless its writer has closed it under
/// our eyes.
const SETTLED: Duration = Duration::from_secs(1);

/// Names that one look at a folder reads. Files leave it as they are picked up, so the next look sees
/// others; a folder of so many other things hides those behind them.
const MAX_NAMES: usize = 10_000;

/// Levels of JSON: the input is part of messages that may have 128.
const MAX_LEVELS: usize = 100;

/// A folder as the kernel knows it: device and inode.
pub(super) type Identity = (u64, u64);

/// The files in a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Those that are whole.
    pub(super) files: Vec<String>,
    /// Time after which more may be.
    pub(super) again: Option<Duration>,
    /// The first file by name that can never be picked up, and their number.
    pub(super) unusable: Option<(String, usize)>,
}

impl Listing {
    fn add_unusable(&mut self, name: &str) {
        let (first, count) = self.unusable.get_or_insert_with(|| (name.to_owned(), 0));
        *count += 1;
        if name < first.as_str() {
            name.clone_into(first);
        }
    }
}

/// The folder of a pattern, and the one beside which its files are moved on.
#[derive(Debug)]
pub(super) struct Place {
    folder: OwnedFd,
    base: OwnedFd,
}

impl Place {
    /// Opens `folder` below the `DATA_DIR` at `data`. Makes what is missing of it.
    ///
    /// # Errors
    /// A part of it cannot be made, or is not a folder.
    pub(super) fn open(data: &Path, folder: &str) -> io::Result<Self> {
        let top = openat(CWD, data, folder_flags(), Mode::empty())?;
        Ok(Self { base: below(&top, base(folder), make)?, folder: below(&top, folder, make)? })
    }

    /// The folder, for the watch.
    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Returns what tells the folder from one that takes its place.
    ///
    /// # Errors
    /// The kernel does not say.
    pub(super) fn identity(&self) -> io::Result<Identity> {
        let status = fstat(&self.folder)?;
        Ok((status.st_dev, status.st_ino))
    }

    /// Returns the files whose names fit, as many as a look reads. Names that are not UTF-8, or have
    /// control characters, are of no use.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(super) fn list(&self, fits: impl Fn(&str) -> bool) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in Dir::read_from(&self.folder)?.take(MAX_NAMES) {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            if !fits(&name) {
                continue;
            }
            let Some(status) = self.status(entry.file_name()) else { continue };
            if entry.file_name().to_str().is_err() || !is_usable(&name) {
                listing.add_unusable(&name);
                continue;
            }
            match unsettled(&status) {
                None => listing.files.push(name.into_owned()),
                Some(rest) => listing.again = Some(listing.again.map_or(rest, |again| again.max(rest))),
            }
        }
        Ok(listing)
    }

    /// Returns true if this is the name of a file that can be picked up.
    pub(super) fn has(&self, name: &CStr) -> bool {
        self.status(name).is_some()
    }

    /// The status of a regular file with one name. A file with another name could change later, or be
    /// another user's.
    fn status(&self, name: &CStr) -> Option<Stat> {
        statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW).ok().filter(is_plain_file)
    }

    /// Moves a file into the folder of its run. Returns false if it is not there. It is durable when
    /// this returns.
    ///
    /// # Errors
    /// It cannot be moved. It is where it was.
    pub(super) fn pick(&self, run: RunId, name: &str) -> io::Result<bool> {
        let current = make(self.base.as_fd(), CURRENT_FILES)?;
        let run = run.to_string();
        let own = make(current.as_fd(), &run)?;
        match renameat(&self.folder, name, &own, name) {
            Ok(()) => {
                // It is moved, whatever the disk says.
                for folder in [&own, &current, &self.folder] {
                    let _ = fsync(folder);
                }
                Ok(true)
            }
            Err(error) => {
                let _ = unlinkat(&current, &*run, AtFlags::REMOVEDIR);
                if error == Errno::NOENT { Ok(false) } else { Err(error.into()) }
            }
        }
    }
}

/// Returns true if a file has been moved into the folder of its run. If not, that folder is removed.
pub(super) fn is_picked(data: &Path, folder: &str, run: RunId, name: &str) -> bool {
    let Ok(current) = open_current(data, folder) else { return false };
    let run = run.to_string();
    let own = open(current.as_fd(), &run);
    let is_there = own.is_ok_and(|own| statat(&own, name, AtFlags::SYMLINK_NOFOLLOW).is_ok());
    if !is_there {
        let _ = unlinkat(&current, &*run, AtFlags::REMOVEDIR);
    }
    is_there
}

/// Returns the content of a file that is picked up: null unless it is JSON of a limited size.
pub(super) fn read(data: &Path, folder: &str, run: RunId, name: &str) -> Value {
    let read = || -> io::Result<Value> {
        let own = open(open_current(data, folder)?.as_fd(), &run.to_string())?;
        // A pipe that took the file's place does not block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(openat(&own, name, flags, Mode::empty())?);
        if !is_plain_file(&fstat(&file)?) {
            return Ok(Value::Null);
        }
        let mut content = Vec::new();
        file.take(FILE_CONTENT as u64 + 1).read_to_end(&mut content)?;
        Ok(parse(&content))
    };
    read().unwrap_or_default()
}

/// Moves the folder of a run to those of its outcome. One that is gone is moved already.
///
/// # Errors
/// It cannot be moved.
pub(super) fn move_on(data: &Path, folder: &str, run: RunId, outcome: FileOutcome) -> io::Result<()> {
    let moved = || -> io::Result<()> {
        let top = openat(CWD, data, folder_flags(), Mode::empty())?;
        let base = below(&top, base(folder), open)?;
        let current = open(base.as_fd(), CURRENT_FILES)?;
        let run = run.to_string();
        // Nothing is made for one that is gone.
        statat(&current, &*run, AtFlags::SYMLINK_NOFOLLOW)?;
        let ended = make(base.as_fd(), outcome.folder())?;
        renameat(&current, &*run, &ended, &*run)?;
        fsync(&ended)?;
        Ok(fsync(&current)?)
    };
    match moved() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        moved => moved,
    }
}

/// Returns true for errors that pass: the same move may succeed later.
pub(super) fn may_pass(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::NFILE | Errno::MFILE)
    )
}

/// The content of a file as JSON. Null unless it is within the limits, written anew too.
fn parse(content: &[u8]) -> Value {
    if content.len() > FILE_CONTENT {
        return Value::Null;
    }
    let value: Value = serde_json::from_slice(content).unwrap_or_default();
    let is_within = levels(&value) <= MAX_LEVELS && value.to_string().len() <= FILE_CONTENT;
    if is_within { value } else { Value::Null }
}

/// Levels of arrays and objects. The parser has bounded them.
fn levels(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(levels).max().unwrap_or_default(),
        _ => 0,
    }
}

/// The rest of the time after which a file is taken for whole.
fn unsettled(status: &Stat) -> Option<Duration> {
    // Programs set the time of a change of content as they like, and not that of any change.
    let changed = i128::from(status.st_ctime) * 1_000_000_000 + i128::from(status.st_ctime_nsec);
    let now = jiff::Timestamp::now().as_nanosecond();
    rest(now - changed)
}

fn rest(age: i128) -> Option<Duration> {
    let age = u64::try_from(age).ok()?; // A time that is yet to come says nothing: the clock was set.
    SETTLED.checked_sub(Duration::from_nanos(age)).filter(|rest| !rest.is_zero())
}

fn is_plain_file(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::RegularFile && status.st_nlink == 1
}

fn open_current(data: &Path, folder: &str) -> io::Result<OwnedFd> {
    let top = openat(CWD, data, folder_flags(), Mode::empty())?;
    open(below(&top, base(folder), open)?.as_fd(), CURRENT_FILES)
}

/// Goes down to the folder at `path`, with `enter` for each part.
fn below(
    top: &OwnedFd,
    path: &str,
    enter: impl Fn(BorrowedFd<'_>, &str) -> io::Result<OwnedFd>,
) -> io::Result<OwnedFd> {
    let mut at = top.try_clone()?;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        at = enter(at.as_fd(), part)?;
    }
    Ok(at)
}

fn open(at: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    Ok(openat(at, name, folder_flags(), Mode::empty())?)
}

/// Opens a folder, which is made if it is missing: for the user who has the one that it is in.
fn make(at: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let is_new = match mkdirat(at, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let folder = open(at, name)?;
    if is_new && rustix::process::geteuid().is_root() {
        let (above, own) = (fstat(at)?, fstat(&folder)?);
        // The project may have put another folder in its place: only one of ours is given away.
        if own.st_uid == 0 && (own.st_uid, own.st_gid) != (above.st_uid, above.st_gid) {
            fchown(&folder, Some(Uid::from_raw(above.st_uid)), Some(Gid::from_raw(above.st_gid)))?;
        }
    }
    Ok(folder)
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

#[cfg(test)]
mod tests;
