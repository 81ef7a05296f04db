//! What a project gets: what it asks for within what the operator allows.

use std::collections::BTreeMap;

use switchyard_contract::admin::{Grants, ProjectLimits, Rights};
use switchyard_protocol::{Denied, Permissions};

use super::allowed::Allowed;
use super::asked::{Asked, Own, Right, Set};
use super::extent::Extent;
use super::net::Target;
use super::paths::{self, Place};
use super::variable::{GIVEN, Names, is_reserved};
use super::{Grant, RequestLimits};

/// The kinds of system information that there are (`SysDescriptor` in deno_permissions).
pub(super) const SYS_KINDS: [&str; 23] = [
    "ca",
    "cpus",
    "getPriority",
    "getegid",
    "gid",
    "homedir",
    "hostname",
    "inspector",
    "loadavg",
    "networkInterfaces",
    "osRelease",
    "osUptime",
    "setPriority",
    "setegid",
    "seteuid",
    "setgid",
    "setuid",
    "statfs",
    "systemMemoryInfo",
    "uid",
    "umask",
    "userInfo",
    "username",
];

/// The kinds that no cell can use, so that no policy grants them: the sandbox has no calls for what changes the process, and
/// a debugger of `node:inspector` would see into what keeps a project from the descriptors of its cell.
pub(super) const CLOSED_SYS: [&str; 6] =
    ["inspector", "setPriority", "setegid", "seteuid", "setgid", "setuid"];

/// Where every cell may read, and all but the first of which it may write.
const OWN_FOLDERS: [&str; 3] = [".", "$DATA_DIR", "$TMPDIR"];

/// Another name for `$TMPDIR`, in a cell.
const OWN_TMP: &str = "/tmp";

/// One kind of permission: what is granted, for the cell and to be shown, and what is not.
struct Part<T> {
    granted: T,
    shown: Vec<String>,
    refused: Vec<String>,
}

pub(super) fn grant(allowed: &Allowed, asked: &Asked) -> Grant {
    let set = asked.rights.as_ref();
    let read = folders(&allowed.read, set.map(|set| &set.read), &OWN_FOLDERS);
    let write = folders(&allowed.write, set.map(|set| &set.write), &OWN_FOLDERS[1..]);
    let net = net(allowed, set.map(|set| &set.net));
    let private_net = if net.granted.1 { allowed.private_net.clone() } else { Vec::new() };
    let sys = sys(&allowed.sys, set.map(|set| &set.sys));
    let env = env(allowed, asked);
    let never =
        |right: fn(&Set) -> &Right<String>| set.map(|set| right(set).allow.shown()).unwrap_or_default();
    let shown = Grants {
        asked: shown(asked),
        granted: Rights {
            read: read.shown,
            write: write.shown,
            net: net.shown,
            env: env.shown,
            sys: sys.shown,
            ..Rights::default()
        },
        refused: Rights {
            read: read.refused,
            write: write.refused,
            net: net.refused,
            env: env.refused,
            sys: sys.refused,
            run: never(|set| &set.run),
            ffi: never(|set| &set.ffi),
            import: never(|set| &set.import),
        },
        limits: limits(allowed),
    };
    Grant {
        permissions: Permissions {
            read: read.granted,
            write: write.granted,
            net: net.granted.0,
            private_net,
            sys: sys.granted,
            denied: set.map(denied).unwrap_or_default(),
        },
        limits: allowed.limits,
        requests: allowed.requests,
        cells: asked.cells.unwrap_or(1).clamp(1, allowed.cells),
        env: env.granted,
        shown,
    }
}

fn folders(
    allowed: &[std::path::PathBuf],
    asked: Option<&Right<String>>,
    own: &[&str],
) -> Part<Vec<std::path::PathBuf>> {
    let (mut granted, mut refused) = (Vec::new(), Vec::new());
    match asked.map(|right| &right.allow) {
        None => granted.extend_from_slice(allowed),
        Some(Extent::All) => {
            granted.extend_from_slice(allowed);
            refused.extend(Extent::<String>::All.shown());
        }
        Some(Extent::Only(paths)) => {
            for text in paths {
                let (both, is_all) = match Place::of(text) {
                    Place::Inside => (Vec::new(), own.contains(&".")),
                    Place::Absolute(path) => {
                        let (both, is_all) = paths::meet(&path, allowed);
                        (both, is_all || path.starts_with(OWN_TMP))
                    }
                    Place::Outside => (Vec::new(), false),
                };
                granted.extend(both);
                refused.extend((!is_all).then(|| text.clone()));
            }
        }
    }
    granted.sort();
    granted.dedup();
    let others = granted.iter().map(|path| path.to_string_lossy().into_owned());
    let shown = own.iter().map(|own| (*own).to_owned()).chain(others).collect();
    Part { granted, shown, refused }
}

/// The granted part is the list of hosts (`None`: any public one), and whether private ones come with it.
fn net(allowed: &Allowed, asked: Option<&Right<String>>) -> Part<(Option<Vec<String>>, bool)> {
    let mut refused = Vec::new();
    let (hosts, with_private) = match asked.map(|right| &right.allow) {
        None => (allowed.net.clone(), true),
        Some(Extent::All) => {
            if allowed.net != Extent::All {
                refused.extend(Extent::<String>::All.shown());
            }
            (allowed.net.clone(), true)
        }
        Some(Extent::Only(texts)) => {
            let mut hosts = Vec::new();
            for text in texts {
                let (both, is_all) = match text.parse() {
                    Ok(target) => reachable(allowed, &target),
                    // Sockets of other kinds than the internet's.
                    Err(_) => (Vec::new(), false),
                };
                hosts.extend(both);
                refused.extend((!is_all).then(|| text.clone()));
            }
            (Extent::Only(hosts), !texts.is_empty())
        }
    };
    let private = with_private.then_some(&allowed.private_net).into_iter().flatten();
    let mut shown = hosts.shown();
    shown.extend(private.map(ToString::to_string).filter(|reach| !hosts.shown().contains(reach)));
    let granted = match &hosts {
        Extent::All => None,
        Extent::Only(_) => Some(hosts.shown()),
    };
    Part { granted: (granted, with_private), shown, refused }
}

/// What of `target` may be reached, and whether that is all of it.
fn reachable(allowed: &Allowed, target: &Target) -> (Vec<Target>, bool) {
    if allowed.private_net.iter().any(|reach| target.is_within(reach)) {
        return (vec![target.clone()], true);
    }
    match &allowed.net {
        _ if target.is_private() => (Vec::new(), false),
        Extent::All => (vec![target.clone()], true),
        Extent::Only(hosts) if hosts.iter().any(|host| host.covers(target)) => (vec![target.clone()], true),
        Extent::Only(hosts) => (hosts.iter().filter_map(|host| host.meet(target)).collect(), false),
    }
}

fn sys(allowed: &[String], asked: Option<&Right<String>>) -> Part<Vec<String>> {
    let trivial = switchyard_protocol::TRIVIAL_SYS;
    let (granted, refused) = match asked.map(|right| &right.allow) {
        None => (allowed.to_vec(), Vec::new()),
        Some(Extent::All) => (allowed.to_vec(), Extent::<String>::All.shown()),
        Some(Extent::Only(kinds)) => {
            let others = kinds.iter().filter(|kind| !trivial.contains(&kind.as_str())).cloned();
            others.partition(|kind| allowed.contains(kind))
        }
    };
    let shown = trivial.iter().map(|kind| (*kind).to_owned()).chain(granted.clone()).collect();
    Part { granted, shown, refused }
}

fn env(allowed: &Allowed, asked: &Asked) -> Part<BTreeMap<String, String>> {
    let right = asked.rights.as_ref().map(|set| &set.env);
    let covers = |names: &[Names], name: &str| names.iter().any(|names| names.covers(name));
    let is_wanted = |name: &str| match right.map(|right| &right.allow) {
        None | Some(Extent::All) => true,
        Some(Extent::Only(names)) => covers(names, name) || asked.env.contains_key(name),
    };
    let is_denied = |name: &str| right.is_some_and(|right| covers(&right.deny, name));
    let may_set = |name: &str| match &allowed.own_env {
        Extent::All => true,
        Extent::Only(names) => covers(names, name),
    };
    let mut granted = allowed.env.clone();
    granted.retain(|name, _| is_wanted(name) && !is_denied(name));
    let mut refused = Vec::new();
    for (name, own) in &asked.env {
        let is_given = granted.contains_key(name) || is_denied(name);
        match own {
            Own::Operators if is_given || GIVEN.contains(&name.as_str()) => {}
            Own::Value(_) if is_given => {}
            Own::Value(value) if may_set(name) && !is_reserved(name) => {
                granted.insert(name.clone(), value.clone());
            }
            Own::Operators | Own::Value(_) => refused.push(name.clone()),
        }
    }
    if let Some(Extent::Only(names)) = right.map(|right| &right.allow) {
        let missing = |name: &&str| !granted.contains_key(*name) && !GIVEN.contains(name) && !is_denied(name);
        let missing = names.iter().filter_map(Names::one).filter(missing).map(str::to_owned);
        let missing: Vec<_> = missing.filter(|name| !refused.contains(name)).collect();
        refused.extend(missing);
    }
    let others = granted.keys().filter(|name| !GIVEN.contains(&name.as_str())).cloned();
    let shown = GIVEN.iter().map(|name| (*name).to_owned()).chain(others).collect();
    Part { granted, shown, refused }
}

fn denied(set: &Set) -> Denied {
    Denied {
        read: set.read.deny.clone(),
        write: set.write.deny.clone(),
        net: set.net.deny.clone(),
        sys: set.sys.deny.clone(),
    }
}

fn shown(asked: &Asked) -> Rights {
    let mut rights = asked.rights.as_ref().map_or_else(Rights::default, |set| Rights {
        read: set.read.allow.shown(),
        write: set.write.allow.shown(),
        net: set.net.allow.shown(),
        env: set.env.allow.shown(),
        sys: set.sys.allow.shown(),
        run: set.run.allow.shown(),
        ffi: set.ffi.allow.shown(),
        import: set.import.allow.shown(),
    });
    let named: Vec<_> = asked.env.keys().filter(|name| !rights.env.contains(name)).cloned().collect();
    rights.env.extend(named);
    rights
}

fn limits(allowed: &Allowed) -> ProjectLimits {
    let Allowed { limits, requests, reads, cells, .. } = allowed;
    let RequestLimits { time, body, in_flight, queue, patience } = *requests;
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    ProjectLimits {
        memory: limits.memory,
        event_loop_ms: limits.event_loop,
        workers: limits.workers,
        files: limits.files,
        disk: limits.disk,
        disk_files: limits.disk_files,
        cells: *cells,
        request_ms: millis(time),
        body,
        in_flight,
        queue,
        patience_ms: millis(patience),
        project_files: reads.files,
        project_folders: reads.folders,
        project_size: reads.bytes,
        file_size: reads.file_bytes,
        read_ms: millis(reads.time),
    }
}
