//! What a version may do as far as Deno decides it. Never asked, always answered: nobody sits in front of a cell.

use std::path::Path;
use std::sync::Arc;

use deno_runtime::deno_permissions::{
    Permissions, PermissionsContainer, PermissionsOptions, RuntimePermissionDescriptorParser,
};
use switchyard_protocol::Start;
use sys_traits::impls::RealSys;

/// What may be asked of the system: nothing in it changes anything.
const SYSTEM: &[&str] = &[
    "cpus",
    "getPriority",
    "getegid",
    "gid",
    "homedir",
    "hostname",
    "loadavg",
    "networkInterfaces",
    "osRelease",
    "osUptime",
    "statfs",
    "systemMemoryInfo",
    "uid",
    "umask",
    "userInfo",
];

/// What the environment tells Deno is not for the project to see.
const OURS: &[&str] = &["DENO_SERVE_ADDRESS", "DENO_TRUST_PROXY_HEADERS"];

pub(crate) fn of(start: &Start) -> anyhow::Result<PermissionsContainer> {
    let parser = Arc::new(RuntimePermissionDescriptorParser::new(RealSys));
    // In these lists an empty one means everything, and none means nothing.
    let everything = || Some(Vec::new());
    let socket = name(&start.socket);
    let mut read = vec![name(&start.checkout), socket.clone()];
    read.extend(start.node_modules.as_deref().map(name));
    let options = PermissionsOptions {
        allow_read: Some(read),
        // To listen on it.
        allow_write: Some(vec![socket]),
        allow_net: everything(),
        // It is only what the version was given.
        allow_env: everything(),
        ignore_env: Some(OURS.iter().map(|name| (*name).to_owned()).collect()),
        allow_sys: Some(SYSTEM.iter().map(|kind| (*kind).to_owned()).collect()),
        prompt: false,
        ..PermissionsOptions::default()
    };
    let permissions = Permissions::from_options(parser.as_ref(), &options)?;
    Ok(PermissionsContainer::new(parser, permissions))
}

fn name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
