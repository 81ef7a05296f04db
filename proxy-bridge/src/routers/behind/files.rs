//! The marks on disk, so that they outlive the bridge:
//! `<projects>/.switchyard-bridge/behind/<project>.json`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::{Marks, ProjectMarks};
use switchyard_contract::project::ProjectName;

/// A folder with a file for each project that a router is behind in: what a deploy writes does not
/// grow with the number of other projects.
#[derive(Debug, Clone)]
pub(super) struct MarkFiles(PathBuf);

impl MarkFiles {
    /// Opens the folder, creates it if it is missing, and reads the marks. A file that cannot be
    /// read is removed with a warning.
    ///
    /// # Errors
    /// The folder or a file in it cannot be read or written.
    pub(super) fn open(folder: PathBuf) -> io::Result<(Self, Marks)> {
        fs::create_dir_all(&folder)?;
        let mut all = Marks::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            match read(&path) {
                Ok(Some((project, marks))) => {
                    all.insert(project, marks);
                }
                // A process was killed while it wrote this; the file that it was to replace is
                // beside it.
                Ok(None) => fs::remove_file(&path)?,
                Err(error) => {
                    tracing::warn!("{} is removed, it cannot be read: {error}", path.display());
                    fs::remove_file(&path)?;
                }
            }
        }
        Ok((Self(folder), all))
    }

    /// Writes the marks of each project, or removes its file where there are none, and returns when
    /// that is on disk. Whichever process is killed, at whatever point, a file is whole.
    pub(super) fn save(&self, all: &[(String, Option<ProjectMarks>)]) -> io::Result<()> {
        for (project, marks) in all {
            match marks {
                Some(marks) => self.write(project, marks)?,
                None => match fs::remove_file(self.path(project)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                },
            }
        }
        File::open(&self.0)?.sync_all()
    }

    fn write(&self, project: &str, marks: &ProjectMarks) -> io::Result<()> {
        let path = self.path(project);
        let unfinished = path.with_extension("new");
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec(marks)?)?;
        file.sync_all()?;
        fs::rename(unfinished, path)
    }

    fn path(&self, project: &str) -> PathBuf {
        self.0.join(format!("{project}.json"))
    }
}

/// `None` for a file that is not a project's.
fn read(path: &Path) -> io::Result<Option<(String, ProjectMarks)>> {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".json"));
    let Some(project) = name.filter(|name| ProjectName::parse(name).is_ok()) else { return Ok(None) };
    let marks = serde_json::from_slice(&fs::read(path)?)?;
    Ok(Some((project.to_owned(), marks)))
}
