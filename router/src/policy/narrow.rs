//! The grant of a task: less than its project's, never more.

use std::path::PathBuf;

use switchyard_contract::task::TaskPermissions;

use super::Grant;
use super::host::HostPattern;
use super::paths::{self, PathScope};
use super::variable::VariablePattern;

/// Stands for everything in a list.
const ALL: &str = "*";

impl Grant {
    /// Returns the part of the grant that `wanted` names. Entries that are not understood allow
    /// nothing.
    pub(crate) fn narrowed(&self, wanted: &TaskPermissions) -> Self {
        let mut narrow = self.clone();
        if let Some(names) = listed(wanted.env.as_deref()) {
            let names: Vec<VariablePattern> = names.iter().filter_map(|name| name.parse().ok()).collect();
            narrow.env.retain(|name, _| names.iter().any(|pattern| pattern.covers(name)));
        }
        if let Some(hosts) = listed(wanted.net.as_deref()) {
            narrow.narrow_net(hosts);
            narrow.permissions.net_of_task = true;
        }
        if let Some(paths) = listed(wanted.read.as_deref()) {
            narrow.permissions.read = folders(&self.permissions.read, paths);
        }
        if let Some(paths) = listed(wanted.write.as_deref()) {
            narrow.permissions.write = folders(&self.permissions.write, paths);
        }
        if let Some(kinds) = listed(wanted.sys.as_deref()) {
            narrow.permissions.sys.retain(|kind| kinds.contains(kind));
        }
        narrow
    }

    fn narrow_net(&mut self, wanted: &[String]) {
        let wanted: Vec<HostPattern> = wanted.iter().filter_map(|host| host.parse().ok()).collect();
        let private = std::mem::take(&mut self.permissions.private_net);
        let granted = self.permissions.net.take();
        let granted: Option<Vec<HostPattern>> =
            granted.map(|hosts| hosts.iter().filter_map(|host| host.parse().ok()).collect());
        let mut hosts = Vec::new();
        for target in &wanted {
            match &granted {
                _ if private.iter().any(|reach| target.is_within(reach)) => hosts.push(target.clone()),
                None => hosts.push(target.clone()),
                Some(granted) => hosts.extend(granted.iter().filter_map(|host| host.intersect(target))),
            }
        }
        // A private network opens all of itself, so it stays only where all of it is wanted, or where
        // a part of it is named, which is an address of its own then.
        let kept = private.into_iter().filter_map(|reach| {
            let whole: Option<HostPattern> = reach.to_string().parse().ok();
            let is_wanted = whole.is_some_and(|whole| wanted.iter().any(|target| target.covers(&whole)));
            is_wanted.then_some(vec![reach]).or_else(|| {
                let parts = wanted.iter().filter(|target| target.is_within(&reach));
                // Localhost is a name for a part of the loopback network, which is opened then.
                Some(parts.map(|target| target.to_string().parse().unwrap_or(reach)).collect())
            })
        });
        self.permissions.private_net = kept.flatten().collect();
        let mut hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
        hosts.sort();
        hosts.dedup();
        self.permissions.net = Some(hosts);
    }
}

/// The list, unless everything is wanted.
fn listed(list: Option<&[String]>) -> Option<&[String]> {
    list.filter(|list| !list.iter().any(|entry| entry == ALL))
}

/// The part of `granted` that `wanted` names. The checkout and the cell's own folders need no entry.
fn folders(granted: &[PathBuf], wanted: &[String]) -> Vec<PathBuf> {
    let absolute = wanted.iter().filter_map(|text| match PathScope::of(text) {
        PathScope::Absolute(path) => Some(path),
        PathScope::Inside | PathScope::Outside => None,
    });
    let mut both: Vec<_> = absolute.flat_map(|path| paths::intersect(&path, granted).0).collect();
    both.sort();
    both.dedup();
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        let env = [("API_KEY", "k"), ("API_URL", "u"), ("DB", "d")].map(|(k, v)| (k.into(), v.into()));
        let mut grant = Grant { env: env.into(), ..Grant::default() };
        grant.permissions.read = vec!["/srv/data".into(), "/etc/ssl".into()];
        grant.permissions.write = vec!["/srv/data".into()];
        grant.permissions.sys = vec!["uid".into(), "networkInterfaces".into()];
        grant
    }

    fn some(entries: &[&str]) -> Option<Vec<String>> {
        Some(entries.iter().map(|entry| (*entry).to_owned()).collect())
    }

    fn nets(grant: &Grant) -> (Option<Vec<String>>, Vec<String>) {
        let private = grant.permissions.private_net.iter().map(ToString::to_string).collect();
        (grant.permissions.net.clone(), private)
    }

    #[test]
    fn kinds_that_are_not_named_stay_as_they_are() {
        assert_eq!(grant().narrowed(&TaskPermissions::default()), grant());
        let all = TaskPermissions { env: some(&["*"]), net: some(&["*"]), ..TaskPermissions::default() };
        assert_eq!(grant().narrowed(&all), grant());
    }

    #[test]
    fn variables_paths_and_kinds_are_those_that_both_name() {
        let wanted = TaskPermissions {
            env: some(&["API_*", "HOME"]),
            read: some(&["/srv", "./local", "/root", "/etc/ssl/certs"]),
            write: some(&[]),
            sys: some(&["networkInterfaces", "cpus"]),
            ..TaskPermissions::default()
        };
        let narrow = grant().narrowed(&wanted);
        assert_eq!(narrow.env.keys().collect::<Vec<_>>(), ["API_KEY", "API_URL"]);
        assert_eq!(narrow.permissions.read, [PathBuf::from("/etc/ssl/certs"), "/srv/data".into()]);
        assert!(narrow.permissions.write.is_empty());
        assert_eq!(narrow.permissions.sys, ["networkInterfaces"]);
    }

    #[test]
    fn hosts_are_those_that_both_name() {
        let wanted =
            TaskPermissions { net: some(&["api.example.com:443", "nonsense host"]), ..Default::default() };
        let mut grant = grant();
        assert_eq!(nets(&grant.narrowed(&wanted)), (some(&["api.example.com:443"]), Vec::new()));
        grant.permissions.net = some(&["*.example.com", "other.org"]);
        assert_eq!(nets(&grant.narrowed(&wanted)), (some(&["api.example.com:443"]), Vec::new()));
        grant.permissions.net = some(&["other.org"]);
        assert_eq!(nets(&grant.narrowed(&wanted)), (some(&[]), Vec::new()));
    }

    #[test]
    fn a_private_network_is_reached_only_as_far_as_it_is_named() {
        let mut grant = grant();
        grant.permissions.private_net = vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.1".parse().unwrap()];
        let narrow = |hosts: &[&str]| {
            nets(&grant.narrowed(&TaskPermissions { net: some(hosts), ..Default::default() })).1
        };
        assert_eq!(narrow(&["api.example.com"]), [""; 0]);
        assert_eq!(narrow(&["10.0.0.0/8"]), ["10.0.0.0/8"]);
        assert_eq!(narrow(&["10.1.2.3:5432"]), ["10.1.2.3:5432"]);
    }
}
