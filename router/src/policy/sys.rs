//! The kinds of system information that `permissions.sys` names.

/// All kinds (`SysDescriptor` in deno_permissions).
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

/// The kinds that no cell can use, so no policy can grant them. The sandbox has no system calls
/// that change the process, and a debugger of `node:inspector` could reach the descriptors of the
/// cell itself.
pub(super) const CLOSED_SYS: [&str; 6] =
    ["inspector", "setPriority", "setegid", "seteuid", "setgid", "setuid"];
