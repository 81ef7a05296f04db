//! The addresses that a cell may connect to. They are checked where connections are made (`hooks`),
//! after names were resolved, for all callers alike (fetch and its redirects, WebSocket,
//! Deno.connect, datagrams, node:net, node:dgram). Deno's permissions express the same above this
//! check, which also knows ports.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;

use ipnet::IpNet;
use switchyard_protocol::{NetTarget, Permissions};

/// Addresses that do not belong to public hosts, by IANA's registries of special-purpose addresses
/// (RFC 6890 and its successors).
const NON_PUBLIC: &[&str] = &[
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/127",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

const DNS: u16 = 53;

/// The rules of this process. Before they are set, no address is open.
static EGRESS: OnceLock<EgressRules> = OnceLock::new();

/// The addresses that a version may connect to.
pub(super) struct EgressRules {
    closed: Vec<IpNet>,
    private: Vec<NetTarget>,
    /// The machine's name servers, which Deno.resolveDns asks directly.
    name_servers: Vec<IpAddr>,
}

impl EgressRules {
    /// Returns the rules for these permissions.
    pub(super) fn new(permissions: &Permissions) -> Self {
        let private = permissions.private_net.clone();
        Self { closed: non_public_networks(&[]), private, name_servers: name_servers() }
    }

    fn admits(&self, address: SocketAddr) -> bool {
        let address = SocketAddr::new(plain(address.ip()), address.port());
        !self.closed.iter().any(|net| net.contains(&address.ip()))
            || self.private.iter().any(|target| target.covers(address))
            || (address.port() == DNS && self.name_servers.contains(&address.ip()))
    }
}

/// Sets the rules of this process, once.
pub(super) fn open(egress: EgressRules) {
    _ = EGRESS.set(egress);
}

/// Returns the networks that are not public, minus these targets.
pub(crate) fn non_public_networks(without: &[NetTarget]) -> Vec<IpNet> {
    let all = NON_PUBLIC.iter().filter_map(|net| net.parse().ok()).collect();
    without.iter().fold(all, |nets: Vec<IpNet>, hole| {
        nets.into_iter().flat_map(|net| subtract(net, hole.net)).collect()
    })
}

fn subtract(net: IpNet, hole: IpNet) -> Vec<IpNet> {
    if hole.contains(&net) {
        return Vec::new();
    }
    match net.subnets(net.prefix_len() + 1) {
        Ok(halves) if net.contains(&hole) => halves.flat_map(|half| subtract(half, hole)).collect(),
        _ => vec![net],
    }
}

/// Returns the IPv4 address that an IPv6 one stands for (mapped, or through NAT64), else the
/// address itself.
fn plain(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into()
            }
            _ => v6.into(),
        },
        v4 => v4,
    }
}

/// Returns the machine's name servers.
pub(crate) fn name_servers() -> Vec<IpAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    named.filter_map(|address| address.trim().split('%').next()?.parse().ok()).collect()
}

/// Returns `true` if the version may connect or send to this address.
pub(super) fn admits(address: SocketAddr) -> bool {
    EGRESS.get().is_some_and(|egress| egress.admits(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(private: &[&str]) -> EgressRules {
        let private = private.iter().map(|target| target.parse().unwrap()).collect();
        let name_servers = vec!["192.168.0.1".parse().unwrap()];
        EgressRules { closed: non_public_networks(&[]), private, name_servers }
    }

    fn admits(egress: &EgressRules, address: &str) -> bool {
        egress.admits(address.parse().unwrap())
    }

    #[test]
    fn public_addresses_alone_are_open() {
        let egress = egress(&[]);
        for address in ["1.1.1.1:443", "[2606:4700::1111]:443", "[64:ff9b::101:101]:443"] {
            assert!(admits(&egress, address), "{address}");
        }
        for address in [
            "127.0.0.1:8001",
            "0.0.0.0:80",
            "10.0.0.1:80",
            "169.254.169.254:80",
            "[::1]:80",
            "[::]:80",
            "[::ffff:127.0.0.1]:80",
            "[64:ff9b::7f00:1]:80",
            "[fe80::1]:80",
            "[fd00:ec2::254]:80",
            "224.0.0.1:80",
        ] {
            assert!(!admits(&egress, address), "{address}");
        }
    }

    #[test]
    fn an_exception_is_open_at_its_port_alone() {
        let egress = egress(&["127.0.0.1:5432", "10.1.0.0/16"]);
        assert!(admits(&egress, "127.0.0.1:5432") && admits(&egress, "[::ffff:127.0.0.1]:5432"));
        assert!(!admits(&egress, "127.0.0.1:8001") && !admits(&egress, "127.0.0.2:5432"));
        assert!(admits(&egress, "10.1.2.3:1") && !admits(&egress, "10.2.2.3:1"));
    }

    #[test]
    fn the_name_servers_are_open_for_names_alone() {
        let egress = egress(&[]);
        assert!(admits(&egress, "192.168.0.1:53"));
        assert!(!admits(&egress, "192.168.0.1:80") && !admits(&egress, "192.168.0.2:53"));
    }

    #[test]
    fn an_exception_is_cut_out_of_the_networks() {
        let nets = non_public_networks(&["10.1.0.0/16".parse().unwrap()]);
        let closed = |address: &str| nets.iter().any(|net| net.contains(&address.parse::<IpAddr>().unwrap()));
        assert!(!closed("10.1.2.3") && closed("10.0.255.255") && closed("10.2.0.0") && closed("127.0.0.1"));
    }
}
