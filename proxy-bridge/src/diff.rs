//! The comparison of two folders: which files differ, and in which lines.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use imara_diff::{Algorithm, BasicLineDiffPrinter, Diff, InternedInput, UnifiedDiffConfig};

use switchyard_contract::versions::{FileChange, FileDiff};

/// Files in one answer.
const MAX_FILES: usize = 2_000;

/// The largest file whose lines are compared, in bytes.
const MAX_FILE: u64 = 256 << 10;

/// Bytes of compared lines in one answer. Later files are listed without.
const MAX_TEXT: usize = 1 << 20;

/// Compares the files of two folders. Returns those that differ, by path, and true if there are more.
/// Links are compared by their targets. Blocks.
///
/// # Errors
/// A file cannot be read.
pub fn compare(from: &Path, to: &Path) -> io::Result<(Vec<FileDiff>, bool)> {
    let (before, after) = (list(from)?, list(to)?);
    let mut paths: Vec<_> =
        before.keys().chain(after.keys().filter(|path| !before.contains_key(*path))).collect();
    paths.sort();
    let (mut files, mut text) = (Vec::new(), 0);
    for path in paths {
        let sizes = [before.get(path), after.get(path)].map(|size| size.copied());
        let contents = [from, to].map(|folder| folder.join(path));
        if sizes[0] == sizes[1] && read(&contents[0])? == read(&contents[1])? {
            continue;
        }
        if files.len() == MAX_FILES {
            return Ok((files, true));
        }
        let change = match sizes {
            [None, _] => FileChange::Added,
            [_, None] => FileChange::Removed,
            _ => FileChange::Changed,
        };
        let is_small = sizes.iter().flatten().all(|size| *size <= MAX_FILE);
        let diff = if is_small && text < MAX_TEXT { lines(&contents)? } else { None };
        text += diff.as_ref().map_or(0, String::len);
        let path = path.to_string_lossy().into_owned();
        files.push(FileDiff { path, change, before: sizes[0], after: sizes[1], diff });
    }
    Ok((files, false))
}

/// The files below `root`, relative to it, with their sizes.
fn list(root: &Path) -> io::Result<BTreeMap<PathBuf, u64>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            let metadata = entry.path().symlink_metadata()?;
            if metadata.is_dir() {
                folders.push(path);
            } else {
                files.insert(path, metadata.len());
            }
        }
    }
    Ok(files)
}

/// The content of a file, or the target of a link.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path.symlink_metadata()?.is_symlink() {
        return Ok(fs::read_link(path)?.to_string_lossy().into_owned().into_bytes());
    }
    fs::read(path)
}

/// Returns the lines that differ. `None` if one of the contents is no text.
fn lines(contents: &[PathBuf; 2]) -> io::Result<Option<String>> {
    let text = |path: &Path| match read(path) {
        Ok(content) => Ok(String::from_utf8(content).ok().filter(|text| !text.contains('\0'))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(String::new())),
        Err(error) => Err(error),
    };
    let (Some(before), Some(after)) = (text(&contents[0])?, text(&contents[1])?) else { return Ok(None) };
    let input = InternedInput::new(before.as_str(), after.as_str());
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    diff.postprocess_lines(&input);
    let printer = BasicLineDiffPrinter(&input.interner);
    Ok(Some(diff.unified_diff(&printer, UnifiedDiffConfig::default(), &input).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    #[test]
    fn files_that_differ_are_listed_with_their_lines_and_others_are_not() {
        let from =
            folder(&[("same", b"x"), ("gone/a.ts", b"1\n"), ("main.ts", b"a\nb\nc\n"), ("bin", b"\0\xff")]);
        let to = folder(&[("same", b"x"), ("main.ts", b"a\nB\nc\n"), ("new", b"n\n"), ("bin", b"\0\xfe")]);
        let (files, truncated) = compare(from.path(), to.path()).unwrap();
        let shown: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.change)).collect();
        let expected = [
            ("bin", FileChange::Changed),
            ("gone/a.ts", FileChange::Removed),
            ("main.ts", FileChange::Changed),
            ("new", FileChange::Added),
        ];
        assert_eq!((shown, truncated), (expected.to_vec(), false));
        assert_eq!(files[0].diff, None);
        let lines = files[2].diff.as_deref().unwrap();
        assert!(lines.contains("-b\n+B\n") && lines.starts_with("@@ "), "{lines}");
        assert_eq!((files[1].before, files[1].after), (Some(2), None));
        assert!(files[3].diff.as_deref().unwrap().contains("+n\n"));
    }

    #[test]
    fn an_answer_is_bounded() {
        let large = vec![b'x'; usize::try_from(MAX_FILE).unwrap() + 1];
        let (from, to) = (folder(&[]), folder(&[("large", &large)]));
        let (files, _) = compare(from.path(), to.path()).unwrap();
        assert_eq!((files.len(), &files[0].diff), (1, &None));
        let names: Vec<_> = (0..=MAX_FILES).map(|number| number.to_string()).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), &b"x"[..])).collect();
        let (files, truncated) = compare(folder(&[]).path(), folder(&many).path()).unwrap();
        assert_eq!((files.len(), truncated), (MAX_FILES, true));
    }
}
