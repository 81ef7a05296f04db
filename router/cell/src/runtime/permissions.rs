//! The permissions of a version that Deno checks. None of them prompts: a cell has no terminal.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use deno_path_util::normalize_path;
use deno_runtime::deno_permissions::{
    Permissions, PermissionsContainer, PermissionsOptions, RuntimePermissionDescriptorParser,
};
use switchyard_protocol::{NetTarget, Start, TRIVIAL_SYS};
use sys_traits::impls::RealSys;

use crate::kernel::sandbox::{name_servers, non_public_networks};
use crate::modules::project_paths::ProjectPaths;

/// Variables for Deno that the project does not see.
pub(super) const INTERNAL_VARIABLES: &[&str] = &["DENO_TRUST_PROXY_HEADERS"];

/// Harmless devices, which the sandbox's rules open too. The first one may also be written to.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/random", "/dev/urandom"];

/// The kind of system information for node:inspector, whose debugger could inspect the functions
/// that guard the cell's descriptors.
const INSPECTOR: &str = "inspector";

/// The kind of system information for the certificate authorities of node:tls. Deno then reads the
/// file that a variable names, without a check of permissions.
const AUTHORITIES: &str = "ca";

/// Returns the permissions of a version. `has_file_rules`: the kernel confines the process to the
/// files that it may read.
///
/// # Errors
/// Deno refuses the form of a permission.
pub(crate) fn new(start: &Start, has_file_rules: bool) -> anyhow::Result<PermissionsContainer> {
    // An empty list means everything, and no list means nothing.
    let everything = || Some(Vec::new());
    let name = |path: &PathBuf| path.to_string_lossy().into_owned();
    let granted = &start.permissions;
    // For listening.
    let sockets = [&start.socket, &start.probe];
    let own = [&start.tmp, &start.data].into_iter().chain(sockets);
    let packages = start.node_modules.iter().chain(start.other_node_modules.values());
    let devices = DEVICES.map(PathBuf::from);
    let read = [&start.root].into_iter().chain(packages).chain(own.clone()).chain(&granted.read);
    let read = read.chain(&devices);
    let write = own.chain(&granted.write).chain(&devices[..1]);
    let visible = read.clone().chain(write.clone()).cloned().collect();
    let paths = ProjectPaths::new(start, visible);
    let trivial = TRIVIAL_SYS.iter().copied().chain(has_file_rules.then_some(AUTHORITIES));
    let sys = trivial.map(str::to_owned).chain(granted.sys.clone());
    let net = granted.net.as_ref().map(|names| {
        let private = granted.private_net.iter().filter_map(in_deno_form);
        let sockets = sockets.map(|socket| format!("unix:{}", socket.display()));
        names.iter().cloned().chain(private).chain(sockets).collect::<Vec<_>>()
    });
    let denied = &granted.denied;
    let nothing_if_none = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    // V8 trusts the cache, so it is closed to the project, whatever else that may read and write.
    let cache = start.cache.as_ref().map(|cache| name(&cache.dir));
    // The project's own denials are paths as the project names them.
    let mapped = |path: &String| {
        let path = normalize_path(start.checkout.join(path).into());
        paths.resolve(path).to_string_lossy().into_owned()
    };
    let and_cache = |list: &[String]| nothing_if_none(list.iter().map(mapped).chain(cache.clone()).collect());
    let options = PermissionsOptions {
        allow_read: Some(read.map(name).collect()),
        allow_write: Some(write.map(name).collect()),
        deny_read: and_cache(&denied.read),
        // A path that is neither allowed nor denied does not exist, as in a container.
        ignore_read: everything(),
        deny_write: and_cache(&denied.write),
        allow_net: net.or_else(everything),
        deny_net: Some(closed_networks(granted).into_iter().chain(denied.net.clone()).collect()),
        // The environment holds only what the version was given.
        allow_env: everything(),
        ignore_env: Some(INTERNAL_VARIABLES.iter().map(|name| (*name).to_owned()).collect()),
        allow_sys: Some(sys.collect()),
        deny_sys: nothing_if_none(denied.sys.iter().cloned().chain([INSPECTOR.to_owned()]).collect()),
        prompt: false,
        ..PermissionsOptions::default()
    };
    // The policy's paths are the machine's, unlike those that the project names.
    let parser = RuntimePermissionDescriptorParser::new(RealSys);
    let permissions = Permissions::from_options(&parser, &options)?;
    Ok(PermissionsContainer::new(Arc::new(paths), permissions))
}

/// Returns a target in Deno's form. Deno has none for networks of IPv6, which a version with a list of
/// hosts does not reach.
fn in_deno_form(target: &NetTarget) -> Option<String> {
    match (target.net.addr(), target.port) {
        (IpAddr::V4(_), _) => Some(target.to_string()),
        (IpAddr::V6(_), _) if target.net.prefix_len() < target.net.max_prefix_len() => None,
        (IpAddr::V6(_), Some(_)) => Some(target.to_string()),
        (IpAddr::V6(address), None) => Some(format!("[{address}]")),
    }
}

/// Returns the networks that are closed, as far as Deno's form has them: it has neither networks of
/// IPv6 nor all ports of an address except one. `sandbox::network` checks each connection again,
/// exactly.
fn closed_networks(granted: &switchyard_protocol::Permissions) -> Vec<String> {
    let name_servers =
        name_servers().into_iter().map(|address| NetTarget { net: address.into(), port: None });
    let open: Vec<_> = granted.private_net.iter().copied().chain(name_servers).collect();
    let closed = non_public_networks(&open);
    let v6 = closed.iter().any(|net| net.contains(&IpAddr::V6(Ipv6Addr::LOCALHOST)));
    // Datagram sockets are bound to 0.0.0.0, which Deno checks like a target.
    let v4 =
        closed.iter().filter(|net| net.addr().is_ipv4() && !net.contains(&IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    let v4 = v4.map(ToString::to_string);
    v4.chain(v6.then(|| format!("[{}]", Ipv6Addr::LOCALHOST))).collect()
}
