//! The grant of a project: its request within the operator's allowance.

use std::collections::BTreeMap;

use switchyard_contract::admin::{Grants, ProjectLimits, Rights};
use switchyard_protocol::{DeniedPermissions, Permissions};

use super::allow_list::AllowList;
use super::allowance::Allowance;
use super::host::HostPattern;
use super::limits::millis;
use super::paths::{self, PathScope};
use super::request::{PermissionRequest, PermissionSet, RequestedRight, RequestedVariable};
use super::variable::{PROVIDED, VariablePattern, is_reserved};
use super::{Grant, RequestLimits};

/// The folders that every cell may read. It may write all but the first.
const OWN_FOLDERS: [&str; 3] = [".", "$DATA_DIR", "$TMPDIR"];

/// Another path of `$TMPDIR` in a cell.
const OWN_TMP: &str = "/tmp";

/// The result for one kind of permission.
struct Resolution<T> {
    /// For the cell.
    granted: T,
    /// The granted entries as the admin listener shows them.
    shown: Vec<String>,
    /// The requested entries that are not granted.
    refused: Vec<String>,
}

pub(super) fn grant(allowed: &Allowance, requested: &PermissionRequest) -> Grant {
    let set = requested.rights.as_deref();
    let read = folders(&allowed.read, set.map(|set| &set.read), &OWN_FOLDERS);
    let write = folders(&allowed.write, set.map(|set| &set.write), &OWN_FOLDERS[1..]);
    let net = net(allowed, set.map(|set| &set.net));
    let private_net = if net.granted.1 { allowed.private_net.clone() } else { Vec::new() };
    let sys = sys(&allowed.sys, set.map(|set| &set.sys));
    let env = env(allowed, requested);
    let never = |right: fn(&PermissionSet) -> &RequestedRight<String>| {
        set.map(|set| right(set).allow.shown()).unwrap_or_default()
    };
    let shown = Grants {
        requested: shown(requested),
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
            net_of_task: false,
        },
        limits: allowed.limits,
        requests: allowed.requests,
        cells: requested.cells.unwrap_or(1).clamp(1, allowed.cells),
        runs: allowed.runs,
        env: env.granted,
        shown,
    }
}

fn folders(
    allowed: &[std::path::PathBuf],
    requested: Option<&RequestedRight<String>>,
    own: &[&str],
) -> Resolution<Vec<std::path::PathBuf>> {
    let (mut granted, mut refused) = (Vec::new(), Vec::new());
    match requested.map(|right| &right.allow) {
        None => granted.extend_from_slice(allowed),
        Some(AllowList::All) => {
            granted.extend_from_slice(allowed);
            refused.extend(AllowList::<String>::All.shown());
        }
        Some(AllowList::Only(paths)) => {
            for text in paths {
                let (both, is_all) = match PathScope::of(text) {
                    PathScope::Inside => (Vec::new(), own.contains(&".")),
                    PathScope::Absolute(path) => {
                        let (both, is_all) = paths::intersect(&path, allowed);
                        (both, is_all || path.starts_with(OWN_TMP))
                    }
                    PathScope::Outside => (Vec::new(), false),
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
    Resolution { granted, shown, refused }
}

/// Grants a list of hosts (`None`: any public host), and `true` if the private networks are granted too.
fn net(
    allowed: &Allowance,
    requested: Option<&RequestedRight<String>>,
) -> Resolution<(Option<Vec<String>>, bool)> {
    let mut refused = Vec::new();
    let (hosts, with_private) = match requested.map(|right| &right.allow) {
        None => (allowed.net.clone(), true),
        Some(AllowList::All) => {
            if allowed.net != AllowList::All {
                refused.extend(AllowList::<String>::All.shown());
            }
            (allowed.net.clone(), true)
        }
        Some(AllowList::Only(texts)) => {
            let mut hosts = Vec::new();
            for text in texts {
                let (both, is_all) = match text.parse() {
                    Ok(target) => reachable(allowed, &target),
                    // Unix and vsock sockets.
                    Err(_) => (Vec::new(), false),
                };
                hosts.extend(both);
                refused.extend((!is_all).then(|| text.clone()));
            }
            (AllowList::Only(hosts), !texts.is_empty())
        }
    };
    let private = with_private.then_some(&allowed.private_net).into_iter().flatten();
    let mut shown = hosts.shown();
    shown.extend(private.map(ToString::to_string).filter(|reach| !hosts.shown().contains(reach)));
    let granted = match &hosts {
        AllowList::All => None,
        AllowList::Only(_) => Some(hosts.shown()),
    };
    Resolution { granted: (granted, with_private), shown, refused }
}

/// Returns the part of `target` that the project may reach, and true if that is all of `target`.
fn reachable(allowed: &Allowance, target: &HostPattern) -> (Vec<HostPattern>, bool) {
    if allowed.private_net.iter().any(|reach| target.is_within(reach)) {
        return (vec![target.clone()], true);
    }
    match &allowed.net {
        _ if target.is_private() => (Vec::new(), false),
        AllowList::All => (vec![target.clone()], true),
        AllowList::Only(hosts) if hosts.iter().any(|host| host.covers(target)) => {
            (vec![target.clone()], true)
        }
        AllowList::Only(hosts) => (hosts.iter().filter_map(|host| host.intersect(target)).collect(), false),
    }
}

fn sys(allowed: &[String], requested: Option<&RequestedRight<String>>) -> Resolution<Vec<String>> {
    let trivial = switchyard_protocol::TRIVIAL_SYS;
    let (granted, refused) = match requested.map(|right| &right.allow) {
        None => (allowed.to_vec(), Vec::new()),
        Some(AllowList::All) => (allowed.to_vec(), AllowList::<String>::All.shown()),
        Some(AllowList::Only(kinds)) => {
            let others = kinds.iter().filter(|kind| !trivial.contains(&kind.as_str())).cloned();
            others.partition(|kind| allowed.contains(kind))
        }
    };
    let shown = trivial.iter().map(|kind| (*kind).to_owned()).chain(granted.clone()).collect();
    Resolution { granted, shown, refused }
}

fn env(allowed: &Allowance, requested: &PermissionRequest) -> Resolution<BTreeMap<String, String>> {
    let right = requested.rights.as_ref().map(|set| &set.env);
    let covers = |names: &[VariablePattern], name: &str| names.iter().any(|names| names.covers(name));
    let is_wanted = |name: &str| match right.map(|right| &right.allow) {
        None | Some(AllowList::All) => true,
        Some(AllowList::Only(names)) => covers(names, name) || requested.env.contains_key(name),
    };
    let is_denied = |name: &str| right.is_some_and(|right| covers(&right.deny, name));
    let may_set = |name: &str| match &allowed.own_env {
        AllowList::All => true,
        AllowList::Only(names) => covers(names, name),
    };
    let mut granted = allowed.env.clone();
    granted.retain(|name, _| is_wanted(name) && !is_denied(name));
    let mut refused = Vec::new();
    for (name, own) in &requested.env {
        let is_given = granted.contains_key(name) || is_denied(name);
        match own {
            RequestedVariable::FromOperator if is_given || PROVIDED.contains(&name.as_str()) => {}
            RequestedVariable::Value(_) if is_given => {}
            RequestedVariable::Value(value) if may_set(name) && !is_reserved(name) => {
                granted.insert(name.clone(), value.clone());
            }
            RequestedVariable::FromOperator | RequestedVariable::Value(_) => refused.push(name.clone()),
        }
    }
    if let Some(AllowList::Only(names)) = right.map(|right| &right.allow) {
        let missing =
            |name: &&str| !granted.contains_key(*name) && !PROVIDED.contains(name) && !is_denied(name);
        let missing = names.iter().filter_map(VariablePattern::exact).filter(missing).map(str::to_owned);
        let missing: Vec<_> = missing.filter(|name| !refused.contains(name)).collect();
        refused.extend(missing);
    }
    let others = granted.keys().filter(|name| !PROVIDED.contains(&name.as_str())).cloned();
    let shown = PROVIDED.iter().map(|name| (*name).to_owned()).chain(others).collect();
    Resolution { granted, shown, refused }
}

fn denied(set: &PermissionSet) -> DeniedPermissions {
    DeniedPermissions {
        read: set.read.deny.clone(),
        write: set.write.deny.clone(),
        net: set.net.deny.clone(),
        sys: set.sys.deny.clone(),
    }
}

fn shown(requested: &PermissionRequest) -> Rights {
    let mut rights = requested.rights.as_ref().map_or_else(Rights::default, |set| Rights {
        read: set.read.allow.shown(),
        write: set.write.allow.shown(),
        net: set.net.allow.shown(),
        env: set.env.allow.shown(),
        sys: set.sys.allow.shown(),
        run: set.run.allow.shown(),
        ffi: set.ffi.allow.shown(),
        import: set.import.allow.shown(),
    });
    let named: Vec<_> = requested.env.keys().filter(|name| !rights.env.contains(name)).cloned().collect();
    rights.env.extend(named);
    rights
}

fn limits(allowed: &Allowance) -> ProjectLimits {
    let Allowance { limits, requests, reads, cells, runs, .. } = allowed;
    let RequestLimits { time, body, max_in_flight, max_queued, queue_timeout } = *requests;
    ProjectLimits {
        memory: limits.memory,
        event_loop_ms: limits.event_loop_ms,
        workers: limits.workers,
        files: limits.files,
        disk: limits.disk,
        disk_files: limits.disk_files,
        cells: *cells,
        request_ms: millis(time),
        body,
        max_in_flight,
        max_queued,
        queue_timeout_ms: millis(queue_timeout),
        project_files: reads.files,
        project_folders: reads.folders,
        project_size: reads.bytes,
        file_size: reads.file_bytes,
        read_ms: millis(reads.time),
        runs: *runs,
    }
}
