//! The entries beside each project that its configuration includes.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc;

use serde_json::Value;

use super::ReadError;
use super::listing::Listing;
use crate::git::{Blob, BlobsError, GitError, Mirror, Piece, TreeMode};
use crate::sources::plan::{Plan, PlannedProject};
use crate::sources::settings::ProjectPath;
use switchyard_contract::project::ProjectName;
use switchyard_detect::config::{MAX_CONFIG, parse};
use switchyard_detect::entry::CONFIG_FILES;
use switchyard_detect::include::read_list;

/// The folder of Supabase's functions. Each includes the shared folders beside it.
const FUNCTIONS: &str = "functions";
const SUPABASE: &str = "supabase";

/// The entries that each project includes, by their paths below the projects root: `_shared`.
pub(super) type Includes = BTreeMap<ProjectName, Vec<String>>;

/// Reads the configuration of each project. One that does not parse includes nothing: the build
/// reports it.
///
/// # Errors
/// Git failed.
pub(super) async fn read(mirror: &Mirror, listing: &Listing, plan: &Plan) -> Result<Includes, ReadError> {
    let configs = configs(listing, plan);
    let texts = texts(mirror, listing, &configs).await?;
    let included = plan.projects.iter().map(|project| {
        let config = texts.get(&project.name);
        (project.name.clone(), included(project, config.map_or(&[], Vec::as_slice), plan))
    });
    Ok(included.collect())
}

/// A configuration that is to be read.
struct Config {
    project: ProjectName,
    blob: Blob,
    submodule: Option<usize>,
}

fn configs(listing: &Listing, plan: &Plan) -> Vec<Config> {
    let of_project = |project: &PlannedProject| {
        let path = |name: &&str| match project.path.as_str() {
            ProjectPath::WHOLE => (*name).to_owned(),
            folder => format!("{folder}/{name}"),
        };
        let file = CONFIG_FILES.iter().find_map(|name| listing.get(&path(name)))?;
        let is_file = matches!(file.entry.mode, TreeMode::File | TreeMode::Executable);
        let blob = Blob { id: file.entry.id.clone(), size: file.entry.size };
        (is_file && blob.size <= MAX_CONFIG).then(|| Config {
            project: project.name.clone(),
            blob,
            submodule: file.submodule,
        })
    };
    plan.projects.iter().filter_map(of_project).collect()
}

/// Reads the contents, with one git for each mirror.
async fn texts(
    mirror: &Mirror,
    listing: &Listing,
    configs: &[Config],
) -> Result<HashMap<ProjectName, Vec<u8>>, ReadError> {
    let mut texts = HashMap::<ProjectName, Vec<u8>>::new();
    let mut submodules = configs.iter().map(|config| config.submodule).collect::<Vec<_>>();
    submodules.sort_unstable();
    submodules.dedup();
    for submodule in submodules {
        let some = configs.iter().filter(|config| config.submodule == submodule).collect::<Vec<_>>();
        let blobs = some.iter().map(|config| config.blob.clone()).collect();
        let (sender, pieces) = mpsc::channel::<Piece>();
        let take = move |piece| sender.send(piece).map_err(|_| ());
        let read = listing.mirror(mirror, submodule).read_blobs(blobs, take).await;
        read.map(drop).map_err(|error| match error {
            BlobsError::Git(error) => error,
            BlobsError::Taker(()) => GitError::Other("the reader of configurations ended".to_owned()),
        })?;
        for piece in pieces {
            if let Some(config) = some.get(piece.index) {
                texts.entry(config.project.clone()).or_default().extend_from_slice(&piece.bytes);
            }
        }
    }
    Ok(texts)
}

fn included(project: &PlannedProject, text: &[u8], plan: &Plan) -> Vec<String> {
    let text = std::str::from_utf8(text).ok().filter(|text| !text.is_empty());
    let config = text.and_then(|text| parse(CONFIG_FILES[0], text).ok());
    let own = |name: &str| config.as_ref().and_then(|config| config.get("switchyard")?.get(name));
    let listed = own("include").and_then(|value| read_list(CONFIG_FILES[0], value).ok());
    let below =
        |include: &switchyard_detect::include::Include| include.below_root().to_string_lossy().into_owned();
    let mut included: Vec<_> = listed.unwrap_or_default().iter().map(below).collect();
    // Files such as deno.json hold for the folders below them, and can be a workspace's root.
    let is_function = match own("platform").and_then(Value::as_str) {
        Some(platform) => platform == SUPABASE,
        None => project.path.rsplit('/').nth(1) == Some(FUNCTIONS),
    };
    let implied = plan.shared.iter().filter(|shared| !shared.is_folder || is_function);
    included.extend(implied.map(|shared| shared.name.clone()));
    included.sort();
    included.dedup();
    included
}
