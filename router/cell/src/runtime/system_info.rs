//! System information: harmless answers about the machine and its user in place of errors, as
//! programs ask at their start and do not expect an error. Kinds that the policy grants (`sys`) are
//! answered truthfully.

use std::sync::OnceLock;

use deno_core::{Extension, OpDecl, OpState, ToV8, op2};
use deno_error::JsErrorBox;
use deno_runtime::deno_permissions::{PermissionCheckError, PermissionState, PermissionsContainer};
use switchyard_protocol::Start;

/// The variables that name the home folder; the first one that is set counts: the policy's or the
/// project's own, else the project's persistent folder. A cell's user often has no home folder, and
/// Deno's answer then (`null`) breaks packages that join it to a path; a user's own is not the
/// project's.
const HOME: [&str; 2] = ["HOME", "DATA_DIR"];

/// The name of the user if the true one is not granted, as in many containers.
const USER: &str = "app";

const USERS: &str = "/etc/passwd";

/// The true user, if the version may know it.
static TRUE_USER: OnceLock<UserInfo> = OnceLock::new();

/// The kernel's release, which programs compare.
static RELEASE: OnceLock<String> = OnceLock::new();

const RELEASE_FILE: &str = "/proc/sys/kernel/osrelease";

/// Reads information that a confined process cannot read: the kernel's release, and the user if the
/// version may know it. Must be called before the process is confined.
pub(crate) fn remember(start: &Start) {
    _ = RELEASE.set(std::fs::read_to_string(RELEASE_FILE).unwrap_or_default().trim().to_owned());
    if !start.permissions.sys.iter().any(|kind| kind == "userInfo") {
        return;
    }
    let users = std::fs::read_to_string(USERS).unwrap_or_default();
    if let Some(user) = find_user(&users, rustix::process::getuid().as_raw()) {
        _ = TRUE_USER.set(user);
    }
}

/// Finds a user by its id in lines of `passwd(5)`: name, password, uid, gid, comment, home, shell.
fn find_user(users: &str, uid: u32) -> Option<UserInfo> {
    users.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let [name, _, id, _, _, home, shell] = fields[..] else { return None };
        let user =
            || UserInfo { username: name.into(), homedir: Some(home.into()), shell: Some(shell.into()) };
        (id.parse() == Ok(uid)).then(user)
    })
}

/// Returns the extension that replaces the ops for system information.
pub(crate) fn extension() -> Extension {
    Extension {
        name: "switchyard_system_info",
        middleware_fn: Some(Box::new(|op| match replacement(op.name) {
            Some(with) => op.with_implementation_from(&with),
            None => op,
        })),
        ..Extension::default()
    }
}

fn replacement(name: &str) -> Option<OpDecl> {
    Some(match name {
        "op_homedir" => op_home(),
        "op_os_release" => op_release(),
        "op_node_os_user_info" => op_user_info(),
        "op_network_interfaces" => op_interfaces(),
        "op_net_get_system_dns_servers" => op_name_servers(),
        "op_inspector_url" => op_no_url(),
        "op_inspector_open" => op_open_nothing(),
        "op_inspector_wait" => op_no_wait(),
        "op_inspector_connect" => op_no_session(),
        _ => return None,
    })
}

fn is_granted(state: &OpState, kind: &str) -> bool {
    let permissions = state.borrow::<PermissionsContainer>();
    matches!(permissions.query_sys(Some(kind)), Ok(PermissionState::Granted))
}

fn home() -> Option<String> {
    HOME.into_iter().find_map(|name| std::env::var(name).ok().filter(|folder| !folder.is_empty()))
}

#[op2(stack_trace)]
#[string]
fn op_home(state: &mut OpState) -> Result<Option<String>, PermissionCheckError> {
    state.borrow_mut::<PermissionsContainer>().check_sys("homedir", "node:os.homedir()")?;
    Ok(home())
}

#[op2(stack_trace)]
#[string]
fn op_release(state: &mut OpState) -> Result<String, PermissionCheckError> {
    state.borrow_mut::<PermissionsContainer>().check_sys("osRelease", "Deno.osRelease()")?;
    Ok(RELEASE.get().cloned().unwrap_or_default())
}

#[derive(Debug, Clone, PartialEq, Eq, ToV8)]
struct UserInfo {
    username: String,
    homedir: Option<String>,
    shell: Option<String>,
}

#[op2]
fn op_user_info(state: &mut OpState, #[smi] _uid: u32) -> UserInfo {
    let user = TRUE_USER.get().filter(|_| is_granted(state, "userInfo"));
    let harmless = || UserInfo { username: USER.to_owned(), homedir: home(), shell: None };
    user.cloned().unwrap_or_else(harmless)
}

#[derive(ToV8)]
struct Interface {
    family: &'static str,
    name: String,
    address: String,
    netmask: String,
    scopeid: Option<u32>,
    cidr: String,
    mac: String,
}

impl From<netif::Interface> for Interface {
    fn from(interface: netif::Interface) -> Self {
        let (address, bits) = interface.cidr();
        let mac = interface.mac().map(|byte| format!("{byte:02x}")).join(":");
        Self {
            family: if address.is_ipv4() { "IPv4" } else { "IPv6" },
            name: interface.name().to_owned(),
            address: interface.address().to_string(),
            netmask: interface.netmask().to_string(),
            scopeid: interface.scope_id(),
            cidr: format!("{address}/{bits}"),
            mac,
        }
    }
}

impl Interface {
    /// The interface that every machine has.
    fn loopback() -> Self {
        Self {
            family: "IPv4",
            name: "lo".to_owned(),
            address: "127.0.0.1".to_owned(),
            netmask: "255.0.0.0".to_owned(),
            scopeid: None,
            cidr: "127.0.0.1/8".to_owned(),
            mac: "00:00:00:00:00:00".to_owned(),
        }
    }
}

/// Returns the interfaces, or loopback alone as on a machine without a network: programs read the
/// addresses of the others.
#[op2]
fn op_interfaces(state: &mut OpState) -> Result<Vec<Interface>, std::io::Error> {
    if !is_granted(state, "networkInterfaces") {
        return Ok(vec![Interface::loopback()]);
    }
    Ok(netif::up()?.map(Interface::from).collect())
}

const DNS: u16 = 53;

/// Returns no name servers, unless granted. Names are resolved by the machine's servers
/// nevertheless.
#[op2]
#[serde]
fn op_name_servers(state: &mut OpState) -> Vec<(String, u16)> {
    let servers = is_granted(state, "networkInterfaces").then(crate::kernel::sandbox::name_servers);
    servers.unwrap_or_default().into_iter().map(|address| (address.to_string(), DNS)).collect()
}

/// Returns no URL: the inspector of a router's `--inspect` is not shown to the project.
#[op2]
#[string]
fn op_no_url() -> Option<String> {
    None
}

#[op2(nofast)]
fn op_open_nothing() {
    log::warn!("inspector.open() opens nothing: start the router with --inspect to debug a project");
}

/// Returns at once. Deno's op would wait forever for an inspector that nothing can connect to.
#[op2(nofast)]
fn op_no_wait() -> bool {
    false
}

/// Refuses a session: it could inspect the functions that guard the cell's descriptors.
#[op2(nofast)]
fn op_no_session() -> Result<(), JsErrorBox> {
    Err(JsErrorBox::new(
        "NotCapable",
        "inspector.Session cannot connect: a project does not debug its own process. Start the router with \
         --inspect, and attach a debugger from outside",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_number() {
        let users = "root:x:0:0:root:/root:/bin/bash\nbroken\nweb:x:33:33::/var/www:/usr/sbin/nologin\n";
        let web = find_user(users, 33).unwrap();
        assert_eq!((web.username.as_str(), web.homedir.as_deref()), ("web", Some("/var/www")));
        assert_eq!(web.shell.as_deref(), Some("/usr/sbin/nologin"));
        assert_eq!(find_user(users, 34), None);
    }
}
