//! The addresses of routers: as URLs on the command line, or as addresses behind one name.

use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use reqwest::Url;

/// A router's two listeners: `PUBLIC,ADMIN` as in `http://10.0.0.7:8000,http://10.0.0.7:8001`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterAddress {
    public: Url,
    admin: Url,
}

/// Routers that have one name: `dns://NAME:PUBLIC,ADMIN`, as in `dns://routers.internal:8000,8001`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// The host name.
    pub name: String,
    /// The port that the routers take requests on.
    pub public_port: u16,
    /// The port of their admin listeners.
    pub admin_port: u16,
}

/// A text that is not the address of a router.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    #[error(
        "invalid router {0:?}: expected its public and its admin URL, as \
         http://10.0.0.7:8000,http://10.0.0.7:8001"
    )]
    NotTwo(String),
    #[error("invalid URL {url:?} ({why}): expected a URL like http://10.0.0.7:8000")]
    NoUrl { url: String, why: String },
    #[error("the public URL {0} must be http: routers speak plain HTTP, TLS ends before them")]
    PublicScheme(Url),
    #[error("the admin URL {0} must be http or https")]
    AdminScheme(Url),
    #[error("invalid URL {0}: expected scheme, host and port only")]
    More(Url),
    #[error("invalid name {0:?}: expected dns://NAME:PUBLIC,ADMIN, as dns://routers.internal:8000,8001")]
    NoDns(String),
}

impl RouterAddress {
    /// Creates an address from the two URLs.
    ///
    /// # Errors
    /// The public URL is not `http`, the admin URL neither `http` nor `https`, or one of them has a
    /// path, a query or a user.
    pub fn new(public: Url, admin: Url) -> Result<Self, InvalidAddress> {
        if public.scheme() != "http" {
            return Err(InvalidAddress::PublicScheme(public));
        }
        if !matches!(admin.scheme(), "http" | "https") {
            return Err(InvalidAddress::AdminScheme(admin));
        }
        if let Some(url) = [&public, &admin].into_iter().find(|url| !is_bare(url)) {
            return Err(InvalidAddress::More(url.clone()));
        }
        Ok(Self { public, admin })
    }

    /// The router's name: its admin URL without a slash at the end.
    pub(crate) fn name(&self) -> String {
        without_slash(&self.admin)
    }

    pub(crate) fn public(&self) -> String {
        without_slash(&self.public)
    }

    pub(crate) fn admin(&self) -> &Url {
        &self.admin
    }

    /// Returns the destination of requests: a host name or an address, and the port.
    pub(crate) fn target(&self) -> (String, u16) {
        let host = self.public.host_str().unwrap_or_default().trim_matches(['[', ']']);
        (host.to_owned(), self.public.port_or_known_default().unwrap_or(80))
    }
}

impl Display for RouterAddress {
    /// Writes the form that [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.public(), self.name())
    }
}

fn is_bare(url: &Url) -> bool {
    let user = !url.username().is_empty() || url.password().is_some();
    url.has_host() && url.path() == "/" && url.query().is_none() && url.fragment().is_none() && !user
}

fn without_slash(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

impl FromStr for RouterAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (public, admin) = text.split_once(',').ok_or_else(|| InvalidAddress::NotTwo(text.to_owned()))?;
        Self::new(url(public)?, url(admin)?)
    }
}

fn url(text: &str) -> Result<Url, InvalidAddress> {
    let no_url = |why: &dyn Display| InvalidAddress::NoUrl { url: text.to_owned(), why: why.to_string() };
    text.trim().parse().map_err(|error| no_url(&error))
}

impl Dns {
    /// The router at one of the name's addresses.
    pub(crate) fn at(&self, address: IpAddr) -> RouterAddress {
        let url = |port| format!("http://{}", SocketAddr::new(address, port));
        let url = |port| url(port).parse().expect("an address and a port make a URL");
        RouterAddress { public: url(self.public_port), admin: url(self.admin_port) }
    }
}

impl FromStr for Dns {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let parts = || {
            let (name, ports) = text.strip_prefix("dns://")?.split_once(':')?;
            let (public, admin) = ports.split_once(',')?;
            let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
            let valid = !name.is_empty() && name.bytes().all(plain);
            Some((valid.then_some(name)?, port(public)?, port(admin)?))
        };
        let (name, public_port, admin_port) =
            parts().ok_or_else(|| InvalidAddress::NoDns(text.to_owned()))?;
        Ok(Self { name: name.to_owned(), public_port, admin_port })
    }
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_is_two_urls_and_is_called_by_its_admin_url() {
        let address: RouterAddress = "http://10.0.0.7:8000,https://[::1]:8001/".parse().unwrap();
        assert_eq!(address.name(), "https://[::1]:8001");
        assert_eq!(address.target(), ("10.0.0.7".to_owned(), 8000));
        let address: RouterAddress = "http://[::1],http://b".parse().unwrap();
        assert_eq!(address.target(), ("::1".to_owned(), 80));
    }

    #[test]
    fn an_invalid_router_is_refused_with_the_fix() {
        let error = |text: &str| text.parse::<RouterAddress>().unwrap_err().to_string();
        assert!(error("http://a:1").contains("public and its admin URL"));
        assert!(error("https://a:1,http://a:2").contains("routers speak plain HTTP"));
        assert!(error("http://a:1,ftp://a:2").contains("http or https"));
        assert!(error("a:1,http://a:2").contains("must be http"));
        assert!(error("nowhere,http://a:2").contains("invalid URL \"nowhere\""));
        for more in ["http://a/x,http://a", "http://u@a,http://a", "http://a,http://a?x"] {
            assert!(error(more).contains("scheme, host and port only"), "{more}");
        }
    }

    #[test]
    fn a_name_stands_for_a_router_at_each_of_its_addresses() {
        let dns: Dns = "dns://routers.internal:8000,8001".parse().unwrap();
        let expected = Dns { name: "routers.internal".into(), public_port: 8000, admin_port: 8001 };
        assert_eq!(dns, expected);
        assert_eq!(dns.at("10.0.0.7".parse().unwrap()).name(), "http://10.0.0.7:8001");
        assert_eq!(dns.at("fd00::7".parse().unwrap()).public(), "http://[fd00::7]:8000");
    }

    #[test]
    fn a_name_without_two_ports_is_refused() {
        for text in [
            "dns:x",
            "dns://x",
            "dns://x:1",
            "dns://x:1,",
            "dns://x:0,1",
            "dns://:1,2",
            "x:1,2",
            "dns://a/b:1,2",
        ] {
            assert!(
                text.parse::<Dns>().unwrap_err().to_string().contains("dns://NAME:PUBLIC,ADMIN"),
                "{text}"
            );
        }
    }
}
