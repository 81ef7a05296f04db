//! The entries of a list of hosts, in the syntax of Deno's `--allow-net`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use switchyard_protocol::NetTarget;

/// Characters of a host name (RFC 1035, 2.3.4, without the last dot).
const MAX_NAME: usize = 253;

const LOCALHOST: &str = "localhost";

/// One host or many, with one port or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPattern {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    /// One name: lower case, without a final dot.
    Name(String),
    /// `*.example.com`: every name below, excluding the name itself.
    Below(String),
    /// A network, or one address as a network of its own.
    Net(IpNet),
}

/// A text that is not a [`HostPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid host {0:?}: expected api.example.com, *.example.com, 203.0.113.7, 203.0.113.0/24 or \
     [2001:db8::1], followed by a port (:443) to allow that one only"
)]
pub(super) struct InvalidHost(String);

impl HostPattern {
    /// Returns the hosts and ports that both patterns cover.
    pub(super) fn intersect(&self, other: &Self) -> Option<Self> {
        let port = match (self.port, other.port) {
            (Some(one), Some(other)) if one != other => return None,
            (one, other) => one.or(other),
        };
        let host = if self.host.covers(&other.host) {
            other.host.clone()
        } else if other.host.covers(&self.host) {
            self.host.clone()
        } else {
            return None;
        };
        Some(Self { host, port })
    }

    /// Returns true if the pattern covers all of `other`.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.intersect(other).as_ref() == Some(other)
    }

    /// Returns true if the hosts are private, as far as is known without resolving names.
    pub(super) fn is_private(&self) -> bool {
        match &self.host {
            Host::Name(name) | Host::Below(name) => is_localhost(name),
            Host::Net(net) => is_private(net.addr()),
        }
    }

    /// Returns true if `reach` covers the whole pattern.
    pub(super) fn is_within(&self, reach: &NetTarget) -> bool {
        let covers = |net: IpNet| reach.net.contains(&net);
        let host = match &self.host {
            Host::Name(name) => {
                let own = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                is_localhost(name) && own.into_iter().any(|own| covers(own.into()))
            }
            Host::Below(_) => false,
            Host::Net(net) => covers(*net),
        };
        host && (reach.port.is_none() || reach.port == self.port)
    }
}

fn is_localhost(name: &str) -> bool {
    name == LOCALHOST || name.strip_suffix(LOCALHOST).is_some_and(|rest| rest.ends_with('.'))
}

/// Returns true for common private addresses. The cell knows all of them.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local()
        }
    }
}

impl Host {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(one), Self::Name(other)) => one == other,
            (Self::Below(above), Self::Name(name)) => is_below(name, above),
            (Self::Below(above), Self::Below(other)) => above == other || is_below(other, above),
            (Self::Net(one), Self::Net(other)) => one.contains(other),
            _ => false,
        }
    }
}

fn is_below(name: &str, above: &str) -> bool {
    name.strip_suffix(above).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

impl FromStr for HostPattern {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let invalid = || InvalidHost(text.to_owned());
        let (host, port) = match text.rsplit_once(':') {
            Some((_, port)) if port.ends_with(']') => (text, None),
            Some((host, port)) => (host, Some(port.parse().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(v6) => Host::Net(IpAddr::V6(v6.parse().map_err(|_| invalid())?).to_canonical().into()),
            None => host.parse().map_err(|()| invalid())?,
        };
        Ok(Self { host, port })
    }
}

impl FromStr for Host {
    type Err = ();

    /// Parses a host without port and brackets. Deno has no syntax for IPv6 networks.
    fn from_str(text: &str) -> Result<Self, ()> {
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Net(IpAddr::V4(address).into()));
        }
        if let Ok(net @ IpNet::V4(_)) = text.parse::<IpNet>() {
            return Ok(Self::Net(net.trunc()));
        }
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        let label = |label: &str| !label.is_empty() && label.bytes().all(plain);
        if name.len() > MAX_NAME || !name.split('.').all(label) {
            return Err(());
        }
        Ok(if below { Self::Below(name) } else { Self::Name(name) })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => f.write_str(name)?,
            Host::Below(name) => write!(f, "*.{name}")?,
            Host::Net(net) if net.prefix_len() < net.max_prefix_len() => write!(f, "{net}")?,
            Host::Net(IpNet::V4(net)) => write!(f, "{}", net.addr())?,
            Host::Net(IpNet::V6(net)) => write!(f, "[{}]", net.addr())?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_target_is_shown_as_deno_takes_it() {
        for text in [
            "api.example.com",
            "*.example.com:443",
            "203.0.113.7:80",
            "203.0.113.0/24",
            "203.0.113.0/24:80",
            "[2001:db8::1]",
            "[2001:db8::1]:80",
            "localhost:5432",
        ] {
            assert_eq!(target(text).to_string(), text);
        }
        assert_eq!(target("API.Example.com.").to_string(), "api.example.com");
        assert_eq!(target("[::ffff:127.0.0.1]:80").to_string(), "127.0.0.1:80");
        for text in [
            "", ":80", "a:", "a:x", "a:70000", "http://a", "a/b", "*", "a..b", "*.*.a", "::1", "[::1",
            "fd00::/8",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_two_targets_have_in_common_is_the_narrower_of_each_part() {
        for (one, other, both) in [
            ("a.com", "a.com", Some("a.com")),
            ("A.com.", "a.com", Some("a.com")),
            ("a.com", "b.com", None),
            ("a.com", "a.com:443", Some("a.com:443")),
            ("a.com:80", "a.com:443", None),
            ("*.a.com", "x.a.com", Some("x.a.com")),
            ("*.a.com", "x.y.a.com", Some("x.y.a.com")),
            ("*.a.com", "a.com", None),
            ("*.a.com", "xa.com", None),
            ("*.a.com", ".a.com.evil.net".trim_start_matches('.'), None),
            ("*.a.com", "*.b.a.com", Some("*.b.a.com")),
            ("*.a.com", "*.a.com", Some("*.a.com")),
            ("*.a.com:443", "x.a.com", Some("x.a.com:443")),
            ("203.0.113.0/24", "203.0.113.7", Some("203.0.113.7")),
            ("203.0.113.0/24:80", "203.0.113.7", Some("203.0.113.7:80")),
            ("203.0.113.0/24", "203.0.113.0/28", Some("203.0.113.0/28")),
            ("203.0.113.0/24", "203.0.114.7", None),
            ("203.0.113.7", "[2001:db8::1]", None),
            ("203.0.113.7", "a.com", None),
        ] {
            let expected = both.map(target);
            assert_eq!(target(one).intersect(&target(other)), expected, "{one} and {other}");
            assert_eq!(target(other).intersect(&target(one)), expected, "{other} and {one}");
        }
    }

    #[test]
    fn only_what_has_all_of_it_covers_another() {
        assert!(target("*.a.com").covers(&target("x.a.com:443")));
        assert!(!target("x.a.com:443").covers(&target("x.a.com")));
        assert!(!target("x.a.com").covers(&target("*.a.com")));
    }

    #[test]
    fn a_private_host_is_within_a_reach_or_refused() {
        let reach: NetTarget = "127.0.0.0/8:5432".parse().unwrap();
        for text in ["localhost:5432", "127.0.0.1:5432", "db.localhost:5432"] {
            assert!(target(text).is_private() && target(text).is_within(&reach), "{text}");
        }
        for text in ["localhost", "127.0.0.1:80", "10.0.0.1:5432", "[::1]:5432", "*.localhost:5432"] {
            assert!(target(text).is_private() && !target(text).is_within(&reach), "{text}");
        }
        for text in ["a.com", "notlocalhost", "203.0.113.7", "[2606:4700::1]"] {
            assert!(!target(text).is_private(), "{text}");
        }
    }
}
