//! The files of the logs: `<yyyy-mm-dd>/<id>.log`, and `.log.zst` once it is compressed. While both
//! are there, the first one is the whole log.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use switchyard_contract::run::{RunId, RunLine};

use super::LedgerError;

/// The level of the compression: zstd's own default.
const LEVEL: i32 = 3;
/// Bytes of a log that are returned at once, unless a single line has more.
const READ: usize = 4 << 20;

/// The folder of the logs.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    dir: PathBuf,
    bytes: Arc<AtomicU64>,
}

/// The position of a line in a log that is not compressed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Position {
    /// The line's index, from 0.
    pub(super) line: u64,
    offset: u64,
    /// The inode of the file: one whose middle was left out is another file.
    file: u64,
}

/// The files of one log.
struct Paths {
    day: PathBuf,
    plain: PathBuf,
    compressed: PathBuf,
    /// A file that is about to become one of the two.
    unfinished: PathBuf,
}

impl Folder {
    /// Makes the folder, counts its bytes, and removes unfinished files.
    pub(super) fn open(dir: PathBuf) -> Result<Self, LedgerError> {
        match make(&dir) {
            // The folder is made with the first log.
            Err(LedgerError::Full) => return Ok(Self { dir, bytes: Arc::default() }),
            made => made?,
        }
        let mut bytes = 0;
        for day in entries(&dir)? {
            for file in entries(&day).unwrap_or_default() {
                if file.extension().is_some_and(|end| end == "tmp") {
                    fs::remove_file(&file).map_err(LedgerError::file("remove", &file))?;
                } else {
                    bytes += size(&file);
                }
            }
        }
        Ok(Self { dir, bytes: Arc::new(AtomicU64::new(bytes)) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.dir
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn count(&self, before: u64, after: u64) {
        self.bytes.fetch_add(after, Ordering::Relaxed);
        self.bytes.fetch_sub(before, Ordering::Relaxed);
    }

    fn paths(&self, run: RunId) -> Paths {
        let day = self.dir.join(date(run.made_at().unwrap_or_default()).to_string());
        let file = |end: &str| day.join(format!("{run}.{end}"));
        Paths { plain: file("log"), compressed: file("log.zst"), unfinished: file("tmp"), day }
    }

    pub(super) fn append(&self, run: RunId, lines: &[RunLine], most: u64) -> Result<(), LedgerError> {
        let paths = self.paths(run);
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        make(&paths.day)?;
        if !paths.plain.exists() && paths.compressed.exists() {
            self.decompress(&paths)?;
        }
        let failed = |error| LedgerError::file("write", &paths.plain)(error);
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).append(true).create(true).mode(0o600).open(&paths.plain).map_err(failed)?;
        let whole = cut_unfinished_line(&file).map_err(failed)?;
        if let Err(error) = file.write_all(&text) {
            // A line that is there in part would be cut anyway; the space is needed now.
            let _ = file.set_len(whole);
            return Err(failed(error));
        }
        self.count(0, text.len() as u64);
        if whole + text.len() as u64 > most {
            let before = size(&paths.plain);
            abridge(&paths, most).map_err(LedgerError::file("shorten", &paths.plain))?;
            self.count(before, size(&paths.plain));
        }
        Ok(())
    }

    pub(super) fn compress(&self, run: RunId) -> Result<(), LedgerError> {
        let paths = self.paths(run);
        let plain = match File::open(&paths.plain) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(LedgerError::file("read", &paths.plain)(error)),
        };
        let before = size(&paths.plain) + size(&paths.compressed);
        let copied = replace(&paths.unfinished, &paths.compressed, |file| {
            zstd::stream::copy_encode(plain, file, LEVEL)
        });
        copied.map_err(LedgerError::file("compress", &paths.plain))?;
        fs::remove_file(&paths.plain).map_err(LedgerError::file("remove", &paths.plain))?;
        self.count(before, size(&paths.compressed));
        Ok(())
    }

    fn decompress(&self, paths: &Paths) -> Result<(), LedgerError> {
        let before = size(&paths.compressed);
        let copied = File::open(&paths.compressed).and_then(|compressed| {
            replace(&paths.unfinished, &paths.plain, |file| zstd::stream::copy_decode(compressed, file))
        });
        copied.map_err(LedgerError::file("decompress", &paths.compressed))?;
        fs::remove_file(&paths.compressed).map_err(LedgerError::file("remove", &paths.compressed))?;
        self.count(before, size(&paths.plain));
        Ok(())
    }

    pub(super) fn remove(&self, run: RunId) -> Result<(), LedgerError> {
        let paths = self.paths(run);
        for path in [&paths.plain, &paths.compressed] {
            let bytes = size(path);
            match fs::remove_file(path) {
                Ok(()) => self.count(bytes, 0),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(LedgerError::file("remove", path)(error)),
            }
        }
        Ok(())
    }

    pub(super) fn tidy(
        &self,
        now: Timestamp,
        before: Timestamp,
        most: usize,
    ) -> Result<Vec<RunId>, LedgerError> {
        let (today, before) = (date(now), date(before));
        let mut runs = Vec::new();
        for day in entries(&self.dir)? {
            let name = day.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Ok(of) = name.parse::<Date>() else { continue };
            if of < today {
                // The removal fails while there are logs in it.
                let _ = fs::remove_dir(&day);
            }
            if of < before && runs.len() < most {
                let files = entries(&day).unwrap_or_default();
                runs.extend(files.iter().filter_map(|file| run_of(file)).take(most - runs.len()));
            }
        }
        Ok(runs)
    }

    /// Returns lines from an index on, and the position after them, if the log is not compressed.
    pub(super) fn read(
        &self,
        run: RunId,
        known: Position,
        from: u64,
        most: usize,
    ) -> Result<(Vec<RunLine>, Option<Position>), LedgerError> {
        let paths = self.paths(run);
        // The log may be compressed, or the other way round, between two attempts.
        for _ in 0..2 {
            if let Some(mut file) = open(&paths.plain)? {
                let failed = |error| LedgerError::file("read", &paths.plain)(error);
                let inode = file.metadata().map_err(failed)?.ino();
                let known =
                    if known.file == inode { known } else { Position { file: inode, ..Position::default() } };
                file.seek(SeekFrom::Start(known.offset)).map_err(failed)?;
                let (lines, position) =
                    lines(&mut BufReader::new(file), known, from, most).map_err(failed)?;
                return Ok((lines, Some(position)));
            }
            if let Some(file) = open(&paths.compressed)? {
                let failed = |error| LedgerError::file("read", &paths.compressed)(error);
                let decoder = zstd::stream::read::Decoder::new(file).map_err(failed)?;
                let mut text = BufReader::new(decoder);
                let (lines, _) = lines(&mut text, Position::default(), from, most).map_err(failed)?;
                return Ok((lines, None));
            }
        }
        Ok((Vec::new(), None))
    }
}

fn lines(
    text: &mut impl BufRead,
    start: Position,
    from: u64,
    most: usize,
) -> io::Result<(Vec<RunLine>, Position)> {
    let (mut lines, mut bytes, mut at) = (Vec::new(), 0, start);
    let mut line = Vec::new();
    while lines.len() < most && bytes < READ {
        line.clear();
        let length = text.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            // The end, or a line that is being written.
            break;
        }
        let count = count(&line);
        if at.line + count > from {
            let mut read: RunLine = serde_json::from_slice(&line).unwrap_or_else(|_| unreadable(at.line));
            if read.skipped > 0 {
                // The reader may have seen some of the lines before they were left out.
                read.skipped = at.line + count - from.max(at.line);
            }
            lines.push(read);
            bytes += length;
        }
        at = Position { line: at.line + count, offset: at.offset + length as u64, ..at };
    }
    Ok((lines, at))
}

/// The number of lines that a line of the file is, or stands for.
fn count(line: &[u8]) -> u64 {
    // In the text of a line the quotes would be escaped.
    if memchr::memmem::find(line, b"\"skipped\":").is_none() {
        return 1;
    }
    serde_json::from_slice::<RunLine>(line).map_or(1, |line| line.count())
}

/// Leaves out the middle of a log: a quarter of `most` bytes is kept at its beginning, and half of
/// them at its end.
fn abridge(paths: &Paths, most: u64) -> io::Result<()> {
    let (mut head, mut tail, mut skipped) = (Vec::new(), VecDeque::new(), 0);
    let (mut head_bytes, mut tail_bytes, mut is_head) = (0, 0, true);
    let mut text = BufReader::new(File::open(&paths.plain)?);
    loop {
        let mut line = Vec::new();
        if text.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let bytes = line.len() as u64;
        is_head &= head_bytes + bytes <= most / 4 && count(&line) == 1;
        if is_head {
            head_bytes += bytes;
            head.extend(line);
            continue;
        }
        tail_bytes += bytes;
        tail.push_back(line);
        while tail_bytes > most / 2 {
            let Some(left_out) = tail.pop_front() else { break };
            tail_bytes -= left_out.len() as u64;
            skipped += count(&left_out);
        }
    }
    if skipped == 0 {
        return Ok(());
    }
    let gap = RunLine {
        stream: "switchyard".to_owned(),
        line: format!(
            "[{skipped} lines are left out: the log is larger than {most} bytes (run_log in the policy)]"
        ),
        skipped,
        at: Timestamp::now(),
        ..unreadable(0)
    };
    let gap = serde_json::to_string(&gap)?;
    replace(&paths.unfinished, &paths.plain, |file| {
        file.write_all(&head)?;
        writeln!(file, "{gap}")?;
        tail.iter().try_for_each(|line| file.write_all(line))
    })
}

/// Stands for a line that a disk has damaged, so that the indices of the others stay.
fn unreadable(n: u64) -> RunLine {
    RunLine {
        n,
        at: Timestamp::UNIX_EPOCH,
        stream: "switchyard".to_owned(),
        line: "(this line of the log cannot be read)".to_owned(),
        continues: false,
        attempt: 1,
        skipped: 0,
    }
}

/// Removes what a crash has left behind the last line. Returns the length.
fn cut_unfinished_line(file: &File) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let mut whole = length;
    let mut block = [0; 4096];
    while whole > 0 {
        let start = whole.saturating_sub(block.len() as u64);
        let part = &mut block[..(whole - start) as usize];
        file.read_exact_at(part, start)?;
        if let Some(index) = part.iter().rposition(|byte| *byte == b'\n') {
            whole = start + index as u64 + 1;
            break;
        }
        whole = start;
    }
    if whole < length {
        file.set_len(whole)?;
    }
    Ok(whole)
}

/// Writes a new file at `path`, durably and whole or not at all.
fn replace(
    unfinished: &Path,
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let written = options.write(true).create(true).truncate(true).mode(0o600).open(unfinished);
    let written = written.and_then(|mut file| {
        write(&mut file)?;
        file.sync_all()
    });
    let moved = written.and_then(|()| fs::rename(unfinished, path));
    if moved.is_err() {
        // Without it there is more space; at the next start it would be removed.
        let _ = fs::remove_file(unfinished);
    }
    moved
}

fn open(path: &Path) -> Result<Option<File>, LedgerError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LedgerError::file("read", path)(error)),
    }
}

fn make(dir: &Path) -> Result<(), LedgerError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(LedgerError::file("create the folder", dir))
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, LedgerError> {
    let entries = fs::read_dir(dir).map_err(LedgerError::file("list", dir))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

fn run_of(path: &Path) -> Option<RunId> {
    path.file_name()?.to_str()?.split_once('.')?.0.parse().ok()
}

fn date(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date()
}
