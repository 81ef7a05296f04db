//! The ids of projects and shared entries, by which a commit is compared with what is live.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest as _, Sha256};

use super::ReadError;
use super::includes::Includes;
use super::listing::Listing;
use crate::git::{GitError, Mirror, ObjectId};
use crate::sources::plan::Plan;
use crate::sources::settings::ProjectPath;
use switchyard_contract::project::ProjectName;

/// The ids of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectIds {
    /// The folder in the repository; [`ProjectPath::WHOLE`] for all of it.
    pub path: String,
    /// The folder's tree; the commit of a folder that is a submodule.
    pub tree: ObjectId,
    /// A hash over the tree and over all that the project includes of the commit, in hex. Two commits
    /// with the same key have the same version of the project.
    pub key: String,
    /// The entries of the commit that it includes, by their paths beside the project: `_shared`.
    pub includes: Vec<String>,
    /// The ids of `includes`, in their order.
    pub(super) included: Vec<ObjectId>,
}

/// The id of one shared entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedIds {
    /// The folder or file in the repository.
    pub path: String,
    /// The folder's tree, or the file's blob.
    pub id: ObjectId,
    /// True for a folder.
    pub is_folder: bool,
}

type Found = (BTreeMap<ProjectName, ProjectIds>, BTreeMap<String, SharedIds>);

/// Asks the mirror for all ids at once.
///
/// # Errors
/// The mirror is damaged, or git failed.
pub(super) async fn find(
    mirror: &Mirror,
    commit: &ObjectId,
    listing: &Listing,
    plan: &Plan,
    includes: &Includes,
) -> Result<Found, ReadError> {
    let places = Places::new(plan);
    let mut paths = places.paths.values().map(|path| (*path).to_owned()).collect::<Vec<_>>();
    let included = includes.values().flatten().filter_map(|include| places.path(include));
    paths.extend(included.filter(|path| exists(listing, path)));
    paths.sort();
    paths.dedup();
    let ids = ids(mirror, commit, listing, paths).await?;
    let id = |path: &str| {
        let missing = || GitError::Damaged(format!("commit {} has no {path:?}", commit.short()));
        ids.get(path).cloned().ok_or_else(missing)
    };
    let mut projects = BTreeMap::new();
    for project in &plan.projects {
        let mut all = Vec::new();
        for include in includes.get(&project.name).into_iter().flatten() {
            // Others are on the volume by themselves, or missing, which the build reports.
            if let Some(id) = places.path(include).and_then(|path| ids.get(&path)) {
                all.push((include.clone(), id.clone()));
            }
        }
        let tree = id(&project.path)?;
        let key = key(&tree, &all);
        let (includes, included) = all.into_iter().unzip();
        let found = ProjectIds { path: project.path.clone(), tree, key, includes, included };
        projects.insert(project.name.clone(), found);
    }
    let mut shared = BTreeMap::new();
    for entry in &plan.shared {
        let found = SharedIds { path: entry.path.clone(), id: id(&entry.path)?, is_folder: entry.is_folder };
        shared.insert(entry.name.clone(), found);
    }
    Ok((projects, shared))
}

/// The places in the repository of what lies in the projects root.
struct Places<'p> {
    /// By name beside the projects.
    paths: HashMap<&'p str, &'p str>,
}

impl<'p> Places<'p> {
    fn new(plan: &'p Plan) -> Self {
        let projects = plan.projects.iter().map(|project| (project.name.as_str(), project.path.as_str()));
        let shared = plan.shared.iter().map(|shared| (shared.name.as_str(), shared.path.as_str()));
        Self { paths: projects.chain(shared).collect() }
    }

    /// Returns the path in the repository of a path below the projects root.
    fn path(&self, include: &str) -> Option<String> {
        let (owner, below) = include.split_once('/').unwrap_or((include, ""));
        let place = *self.paths.get(owner)?;
        Some(match (place, below) {
            (place, "") => place.to_owned(),
            (ProjectPath::WHOLE, below) => below.to_owned(),
            (place, below) => format!("{place}/{below}"),
        })
    }
}

fn exists(listing: &Listing, path: &str) -> bool {
    listing.get(path).is_some() || !listing.below(path).is_empty()
}

async fn ids(
    mirror: &Mirror,
    commit: &ObjectId,
    listing: &Listing,
    paths: Vec<String>,
) -> Result<HashMap<String, ObjectId>, ReadError> {
    // What is in a submodule is as old as the submodule's commit.
    let (in_submodules, own): (Vec<_>, Vec<_>) =
        paths.into_iter().partition(|path| listing.submodule_of(path).is_some());
    let asked = own.iter().map(|path| if path == ProjectPath::WHOLE { "" } else { path.as_str() });
    let found = mirror.tree_ids(commit, &asked.collect::<Vec<_>>()).await?;
    let found = own.into_iter().zip(found).filter_map(|(path, id)| Some((path, id?)));
    let mut ids = found.collect::<HashMap<_, _>>();
    for path in in_submodules {
        if let Some(id) = listing.submodule_of(&path).map(|file| file.entry.id.clone()) {
            ids.insert(path, id);
        }
    }
    Ok(ids)
}

/// Hashes the parts, each with its kind and name. None of them has a NUL.
fn key(tree: &ObjectId, included: &[(String, ObjectId)]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("project\0\0{tree}\0"));
    for (name, id) in included {
        hash.update(format!("include\0{name}\0{id}\0"));
    }
    format!("{:x}", hash.finalize())
}
