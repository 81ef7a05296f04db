//! Targets of connections: addresses and networks, with or without a port.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A network or a single address, and a port unless all are meant: `10.1.2.0/24`, `127.0.0.1:5432`,
/// `[::1]:6379`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetTarget {
    /// The addresses.
    pub net: IpNet,
    /// The port. `None`: all ports.
    pub port: Option<u16>,
}

/// The error for a text that is not a [`NetTarget`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidNetTarget(String);

impl fmt::Display for InvalidNetTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid address or network {:?}: expected 127.0.0.1:5432, 10.1.2.0/24 or [fd00::]/8:5432",
            self.0
        )
    }
}

impl Error for InvalidNetTarget {}

impl NetTarget {
    /// Returns `true` if the target includes this address and port.
    pub fn covers(&self, address: SocketAddr) -> bool {
        self.net.contains(&address.ip()) && self.port.is_none_or(|port| port == address.port())
    }
}

impl FromStr for NetTarget {
    type Err = InvalidNetTarget;

    fn from_str(text: &str) -> Result<Self, InvalidNetTarget> {
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self { net: net.trunc(), port: None });
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { net: address.into(), port: None });
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { net: address.ip().into(), port: Some(address.port()) });
        }
        let (net, port) = text.rsplit_once(':').unwrap_or_default();
        match (net.replace(['[', ']'], "").parse::<IpNet>(), port.parse()) {
            (Ok(net), Ok(port)) => Ok(Self { net: net.trunc(), port: Some(port) }),
            _ => Err(InvalidNetTarget(text.to_owned())),
        }
    }
}

impl TryFrom<String> for NetTarget {
    type Error = InvalidNetTarget;

    fn try_from(text: String) -> Result<Self, InvalidNetTarget> {
        text.parse()
    }
}

impl From<NetTarget> for String {
    fn from(target: NetTarget) -> Self {
        target.to_string()
    }
}

impl fmt::Display for NetTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_single = self.net.prefix_len() == self.net.max_prefix_len();
        match (is_single, self.port) {
            (true, Some(port)) => SocketAddr::new(self.net.addr(), port).fmt(f),
            (true, None) => self.net.addr().fmt(f),
            (false, Some(port)) if self.net.addr().is_ipv6() => {
                write!(f, "[{}]/{}:{port}", self.net.addr(), self.net.prefix_len())
            }
            (false, Some(port)) => write!(f, "{}:{port}", self.net),
            (false, None) => self.net.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_it_is_written() {
        for text in [
            "127.0.0.1:5432",
            "10.1.2.0/24",
            "10.1.2.0/24:80",
            "::1",
            "[::1]:6379",
            "fd00::/8",
            "[fd00::]/8:5432",
        ] {
            assert_eq!(text.parse::<NetTarget>().unwrap().to_string(), text);
        }
        for text in ["", "db.internal", "db.internal:5432", "10.1.2.0/33", "127.0.0.1:70000"] {
            assert!(text.parse::<NetTarget>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_target_covers_its_network_and_port_alone() {
        let target: NetTarget = "10.1.2.0/24:80".parse().unwrap();
        assert!(target.covers("10.1.2.3:80".parse().unwrap()));
        assert!(!target.covers("10.1.2.3:81".parse().unwrap()));
        assert!(!target.covers("10.1.3.3:80".parse().unwrap()));
    }
}
