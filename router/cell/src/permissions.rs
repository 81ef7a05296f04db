//! What a version may do as far as Deno decides it. Never asked, always answered: nobody sits in front of a cell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use deno_path_util::normalize_path;
use deno_runtime::deno_permissions::{
    Permissions, PermissionsContainer, PermissionsOptions, RuntimePermissionDescriptorParser,
};
use switchyard_protocol::{Reach, Start, TRIVIAL_SYS};
use sys_traits::impls::RealSys;

use crate::project_paths::ProjectPaths;
use crate::sandbox::{not_public, resolvers};

/// What the environment tells Deno is not for the project to see.
pub(crate) const OURS: &[&str] = &["DENO_TRUST_PROXY_HEADERS"];

/// Devices that give and take nothing of the machine's. Those that are read are in the sandbox's
/// rules too, and the first one is written to as well.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/random", "/dev/urandom"];

/// A debugger of node:inspector's sees into the functions that stand between the project and descriptors of the cell's.
const INSPECTOR: &str = "inspector";

/// Which authorities' certificates node:tls accepts. What is asked reads the file that a variable names,
/// and looks at nobody's permissions.
const AUTHORITIES: &str = "ca";

/// `keeps_files`: whether the operating system keeps the process to the files that it may read.
pub(crate) fn of(start: &Start, keeps_files: bool) -> anyhow::Result<PermissionsContainer> {
    // In these lists an empty one means everything, and none means nothing.
    let everything = || Some(Vec::new());
    let name = |path: &PathBuf| path.to_string_lossy().into_owned();
    let granted = &start.permissions;
    // The sockets, to listen on them.
    let sockets = [&start.socket, &start.probe];
    let own = [&start.tmp, &start.data].into_iter().chain(sockets);
    let packages = start.node_modules.iter().chain(start.other_node_modules.values());
    let devices = DEVICES.map(PathBuf::from);
    let read = [&start.root].into_iter().chain(packages).chain(own.clone()).chain(&granted.read);
    let read = read.chain(&devices);
    let write = own.chain(&granted.write).chain(&devices[..1]);
    let visible = read.clone().chain(write.clone()).cloned().collect();
    let paths = ProjectPaths::new(start, visible);
    let trivial = TRIVIAL_SYS.iter().copied().chain(keeps_files.then_some(AUTHORITIES));
    let sys = trivial.map(str::to_owned).chain(granted.sys.clone());
    let net = granted.net.as_ref().map(|names| {
        let private = granted.private_net.iter().filter_map(in_denos_words);
        let sockets = sockets.map(|socket| format!("unix:{}", socket.display()));
        names.iter().cloned().chain(private).chain(sockets).collect::<Vec<_>>()
    });
    let denied = &granted.denied;
    let nothing_if_none = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
    // V8 believes what is in there, so the project has no way to it, whatever it may read and write besides.
    let cache = start.cache.as_ref().map(|cache| name(&cache.dir));
    // What the project denies itself it names as it names all paths.
    let place = |path: &String| {
        let path = normalize_path(start.checkout.join(path).into());
        paths.resolve(path).to_string_lossy().into_owned()
    };
    let and_cache = |list: &[String]| nothing_if_none(list.iter().map(place).chain(cache.clone()).collect());
    let options = PermissionsOptions {
        allow_read: Some(read.map(name).collect()),
        allow_write: Some(write.map(name).collect()),
        deny_read: and_cache(&denied.read),
        // All that is not allowed or denied is not there, as it is for a program in a container.
        ignore_read: everything(),
        deny_write: and_cache(&denied.write),
        allow_net: net.or_else(everything),
        deny_net: Some(closed(granted).into_iter().chain(denied.net.clone()).collect()),
        // It is only what the version was given.
        allow_env: everything(),
        ignore_env: Some(OURS.iter().map(|name| (*name).to_owned()).collect()),
        allow_sys: Some(sys.collect()),
        deny_sys: nothing_if_none(denied.sys.iter().cloned().chain([INSPECTOR.to_owned()]).collect()),
        prompt: false,
        ..PermissionsOptions::default()
    };
    // The policy's paths, unlike those that the project names, are the machine's.
    let parser = RuntimePermissionDescriptorParser::new(RealSys);
    let permissions = Permissions::from_options(&parser, &options)?;
    Ok(PermissionsContainer::new(Arc::new(paths), permissions))
}

/// Networks of IPv6 it has no words for: a version whose `net` is a list does not reach them.
fn in_denos_words(reach: &Reach) -> Option<String> {
    match (reach.net.addr(), reach.port) {
        (IpAddr::V4(_), _) => Some(reach.to_string()),
        (IpAddr::V6(_), _) if reach.net.prefix_len() < reach.net.max_prefix_len() => None,
        (IpAddr::V6(_), Some(_)) => Some(reach.to_string()),
        (IpAddr::V6(address), None) => Some(format!("[{address}]")),
    }
}

/// Deno has no words for networks of IPv6, nor for all ports of an address but one: what is connected to is looked at once
/// more, exactly, in `sandbox::network`.
fn closed(granted: &switchyard_protocol::Permissions) -> Vec<String> {
    let resolvers = resolvers().into_iter().map(|address| Reach { net: address.into(), port: None });
    let open: Vec<_> = granted.private_net.iter().copied().chain(resolvers).collect();
    let closed = not_public(&open);
    let v6 = closed.iter().any(|net| net.contains(&IpAddr::V6(Ipv6Addr::LOCALHOST)));
    // Datagram sockets are bound to 0.0.0.0, which Deno looks at in the same way as at where they send to.
    let v4 =
        closed.iter().filter(|net| net.addr().is_ipv4() && !net.contains(&IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    let v4 = v4.map(ToString::to_string);
    v4.chain(v6.then(|| format!("[{}]", Ipv6Addr::LOCALHOST))).collect()
}
