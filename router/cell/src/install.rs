//! `switchyard-cell --install`: fetches the packages and remote modules of one version into a
//! folder, and ends. It walks the modules of the entry and of tasks with Deno's own resolver and
//! installer, runs none of their code, and is confined as a cell is.

mod checks;
mod client;
mod diagnostic;
mod factory;
mod graph;
mod links;
mod npm;
mod optional;
mod package_names;
mod strings;
mod written;

use std::fs;
use std::io::{self, BufRead as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use deno_core::url::Url;
use serde::Serialize;
use switchyard_contract::event::Diagnostic;
use switchyard_protocol::{InstallOutcome, InstallRequest, Limits, fetched};

use self::client::Client;
use self::diagnostic::diagnostic;
use self::graph::ModuleWalk;
use self::npm::NpmPackages;
use self::written::WrittenBytes;
use crate::errors::log;
use crate::kernel::{limits, process, sandbox};
use crate::modules::names::PathNames;
use crate::modules::roots::Roots;

/// The limits of an installation. Large registries' lists of versions and the largest packages are
/// held in memory, several at once.
const LIMITS: Limits = Limits {
    memory: 1 << 30,
    event_loop_ms: 0,
    workers: 0,
    files: 1024,
    disk: 512 << 20,
    disk_files: u64::MAX,
};

/// Threads that unpack tarballs. More would only wait for the same disk.
const BLOCKING_THREADS: usize = 8;

/// Deno's folder of the packages that only other packages need.
const HOISTED: &str = "node_modules/.deno/node_modules";

/// Reads one [`InstallRequest`] and prints one [`InstallOutcome`].
///
/// # Errors
/// An invalid request, or the process cannot be confined.
pub(crate) fn run() -> anyhow::Result<()> {
    // Before the process is closed to its own user.
    let written = Arc::new(WrittenBytes::open());
    process::prepare_install()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let request: InstallRequest = serde_json::from_str(&line)?;
    sandbox::become_user(request.identity.clone())?;
    log::start();
    set_environment(&request);
    limits::set(&LIMITS)?;
    sandbox::confine_install(&request)?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = install(&request, &written) => outcome.unwrap_or_else(InstallOutcome::Failed),
            message = written.limit_exceeded() => {
                InstallOutcome::Failed(Diagnostic { message, ..Diagnostic::default() })
            }
        }
    });
    let outcome = match outcome {
        InstallOutcome::Failed(diagnostic) => InstallOutcome::Failed(diagnostic.bounded()),
        done => done,
    };
    serde_json::to_writer(io::stdout(), &outcome)?;
    io::stdout().flush()?;
    // Does not wait for threads that still unpack.
    process::exit_now(0)
}

/// Replaces the environment. `HOME` is the folder that is filled: a user's own settings do not
/// count.
fn set_environment(request: &InstallRequest) {
    let home = ("HOME", request.folder.to_string_lossy());
    let granted = request.env.iter().map(|(name, value)| (name.as_str(), value.as_str().into()));
    process::set_environment(granted.chain([home]));
}

async fn install(
    request: &InstallRequest,
    written: &Arc<WrittenBytes>,
) -> Result<InstallOutcome, Diagnostic> {
    let roots = Roots {
        checkout: request.checkout.clone(),
        root: request.root.clone(),
        node_modules: request.node_modules.clone(),
        other_node_modules: request.other_node_modules.clone(),
    };
    let names = PathNames::for_install(&roots, &request.folder);
    log::show_paths_as(names.clone());
    let client = Client::new(request.downloads.clone(), request.authorities.as_deref(), Arc::clone(written));
    let client = Arc::new(client.map_err(|error| diagnostic(&names, &error))?);
    let fetched = fetch(request, &roots, &names, &client).await;
    let finished = fetched.and_then(|()| finish(request).map_err(|error| diagnostic(&names, &error.into())));
    if finished.is_err() {
        client.forget_downloads();
    }
    finished.map(|()| InstallOutcome::Done { requests: client.requests() })
}

/// Fetches everything, without the optional packages that are unavailable.
async fn fetch(
    request: &InstallRequest,
    roots: &Roots,
    names: &PathNames,
    client: &Arc<Client>,
) -> Result<(), Diagnostic> {
    loop {
        let Err(mut error) = fetch_all(request, roots, names, client).await else { return Ok(()) };
        let Some(name) = optional::unavailable(&error.message, &request.folder) else {
            name_dependent(&mut error, client, request);
            return Err(error);
        };
        if !client.leave_out(&name) {
            return Err(error);
        }
        ::log::warn!("an optional package is left out: {}", error.message);
        empty(&request.folder).map_err(|error| diagnostic(names, &error.into()))?;
    }
}

/// Adds the package that depends on a package with a refused name to an error.
fn name_dependent(error: &mut Diagnostic, client: &Client, request: &InstallRequest) {
    let refused = client.refused().filter(|name| error.message.contains(name.as_str()));
    let dependent = refused.and_then(|name| optional::dependent(&name, &request.folder));
    if let Some(dependent) = dependent {
        error.message = format!("{} (npm:{dependent} depends on it)", error.message);
    }
}

/// Removes the files of a failed attempt.
fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}

async fn fetch_all(
    request: &InstallRequest,
    roots: &Roots,
    names: &PathNames,
    client: &Arc<Client>,
) -> Result<(), Diagnostic> {
    let main_modules = main_modules(request).map_err(|error| diagnostic(names, &error))?;
    let diagnostic = |error: anyhow::Error| diagnostic(names, &error);
    client.set_lazy(false);
    let installer = factory::installer(request, roots, client).map_err(diagnostic)?;
    checks::check_manifests(&installer).map_err(diagnostic)?;
    installer.initialize_npm_resolution_if_managed().await.map_err(diagnostic)?;
    let npm = NpmPackages::new(&installer, client, request.folder.clone()).await.map_err(diagnostic)?;
    npm.resolve_dependencies().await.map_err(diagnostic)?;
    let mut walk = ModuleWalk::new(&installer, roots, names, client, &npm).await.map_err(diagnostic)?;
    walk.walk_from(main_modules, request.as_workers).await?;
    let lock = installer.maybe_lockfile().await.map_err(diagnostic)?;
    if let Some(lock) = lock {
        graph::remember(walk.graph(), lock);
        lock.error_if_changed().map_err(|error| diagnostic(error.into()))?;
    }
    client.set_lazy(true);
    walk.walk_lazily().await.map_err(diagnostic)?;
    let (graph, mut failed) = walk.end();
    failed.extend(npm.cache(&installer).await.map_err(diagnostic)?);
    let links = links::make(&installer, request, &npm).map_err(diagnostic)?;
    if let Some(lock) = lock {
        graph::remember(&graph, lock);
        let text = lock.lock().as_json_string();
        fs::write(request.folder.join(fetched::LOCK), text).map_err(|error| diagnostic(error.into()))?;
    }
    write_json(request, fetched::JSR, &graph::jsr(&graph)).map_err(diagnostic)?;
    write_json(request, fetched::FAILED, &failed).map_err(diagnostic)?;
    write_json(request, fetched::LINKS, &links).map_err(diagnostic)
}

/// Returns the URLs of the entry and of the tasks' modules. A program of a package is left out: the
/// package's own dependencies cover its modules.
fn main_modules(request: &InstallRequest) -> anyhow::Result<Vec<Url>> {
    let entry = Some(&request.entry).filter(|entry| !entry.is_empty());
    let all = entry.into_iter().chain(&request.modules);
    let own = all.filter(|path| !switchyard_detect::entry::is_in_package(path));
    let url = |path: &String| {
        let url = Url::from_file_path(request.checkout.join(path));
        url.map_err(|()| anyhow::anyhow!("the checkout's path is not absolute"))
    };
    own.map(url).collect()
}

fn write_json(request: &InstallRequest, name: &str, value: &impl Serialize) -> anyhow::Result<()> {
    Ok(fs::write(request.folder.join(name), serde_json::to_vec(value)?)?)
}

/// Removes the files that only the installation has needed, and adds those that a cell looks for.
fn finish(request: &InstallRequest) -> io::Result<()> {
    for cache in ["npm", "gen"] {
        match fs::remove_dir_all(request.folder.join(cache)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::create_dir_all(request.folder.join(fetched::NODE_MODULES))?;
    symlink(HOISTED, request.folder.join(fetched::HOISTED))?;
    // The packages of a remote module are looked up beside node_modules.
    match fs::read(request.checkout.join("package.json")) {
        Ok(text) => fs::write(request.folder.join("package.json"), text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
