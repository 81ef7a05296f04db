//! The marks on disk, so that they outlive the bridge:
//! `<projects>/.switchyard-bridge/behind/<project>.json`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Marks, ProjectMarks};
use switchyard_contract::project::ProjectName;
use switchyard_program::atomic_file;

/// A folder with a file for each project that a router is behind in, so that the bytes a deploy
/// writes do not grow with the number of other projects.
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
                    tracing::warn!("removed {}, which cannot be read: {error}", path.display());
                    fs::remove_file(&path)?;
                }
            }
        }
        Ok((Self(folder), all))
    }

    /// Writes the marks of each project durably, and removes the files of projects without marks. A
    /// file is whole at every instant, whichever process is killed, at whatever point.
    ///
    /// # Errors
    /// A file cannot be written or removed.
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
        atomic_file::sync_folder(&self.0)
    }

    fn write(&self, project: &str, marks: &ProjectMarks) -> io::Result<()> {
        let path = self.path(project);
        atomic_file::write(&path, &serde_json::to_vec(marks)?, atomic_file::READABLE)
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
