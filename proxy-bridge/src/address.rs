//! The addresses of routers: as URLs or paths on the command line, or as addresses behind one name.

use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use reqwest::Url;

/// A router's two listeners: `PUBLIC,ADMIN` as in `http://10.0.0.7:8000,http://10.0.0.7:8001`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterAddress {
    public: ListenerUrl,
    admin: ListenerUrl,
}

/// One of a router's listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ListenerUrl {
    /// `http://HOST:PORT`, or https for the admin listener.
    Http(Url),
    /// `unix:PATH`.
    Unix(PathBuf),
}

/// The destination of forwarded requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A host name or an address, and the port.
    Host(String, u16),
    /// The path of a Unix socket.
    Path(PathBuf),
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
         http://10.0.0.7:8000,http://10.0.0.7:8001 or unix:/PATH,unix:/PATH"
    )]
    NotTwo(String),
    #[error("invalid URL {url:?} ({why}): expected a URL like http://10.0.0.7:8000")]
    NoUrl { url: String, why: String },
    #[error("the public URL {0} must be http or https")]
    PublicScheme(Url),
    #[error("the admin URL {0} must be http or https")]
    AdminScheme(Url),
    #[error("invalid URL {0}: expected scheme, host and port only")]
    More(Url),
    #[error("invalid name {0:?}: expected dns://NAME:PUBLIC,ADMIN, as dns://routers.internal:8000,8001")]
    NoDns(String),
}

impl RouterAddress {
    /// Creates an address from the texts of two URLs.
    fn new(public: &str, admin: &str) -> Result<Self, InvalidAddress> {
        let (public, admin) = (ListenerUrl::parse(public)?, ListenerUrl::parse(admin)?);
        if let Some(url) = public.url().filter(|url| !is_web(url)) {
            return Err(InvalidAddress::PublicScheme(url.clone()));
        }
        if let Some(url) = admin.url().filter(|url| !is_web(url)) {
            return Err(InvalidAddress::AdminScheme(url.clone()));
        }
        if let Some(url) =
            [&public, &admin].into_iter().filter_map(ListenerUrl::url).find(|url| !is_bare(url))
        {
            return Err(InvalidAddress::More(url.clone()));
        }
        Ok(Self { public, admin })
    }

    /// The router's name: its admin URL without a slash at the end.
    pub(crate) fn name(&self) -> String {
        self.admin.to_string()
    }

    pub(crate) fn public(&self) -> String {
        self.public.to_string()
    }

    /// Returns true if clients speak TLS with the public listener.
    pub(crate) fn has_public_tls(&self) -> bool {
        self.public.url().is_some_and(|url| url.scheme() == "https")
    }

    /// Returns the URL of requests to the admin listener.
    pub(crate) fn admin(&self) -> Url {
        match &self.admin {
            ListenerUrl::Http(url) => url.clone(),
            ListenerUrl::Unix(_) => Url::parse("http://localhost/").expect("it is a URL"),
        }
    }

    /// Returns the socket that requests to the admin listener go to, whatever their URL.
    pub(crate) fn admin_socket(&self) -> Option<&Path> {
        match &self.admin {
            ListenerUrl::Http(_) => None,
            ListenerUrl::Unix(path) => Some(path),
        }
    }

    /// Returns the destination of requests.
    pub(crate) fn target(&self) -> Target {
        match &self.public {
            ListenerUrl::Http(url) => {
                let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
                Target::Host(host.to_owned(), url.port_or_known_default().unwrap_or(80))
            }
            ListenerUrl::Unix(path) => Target::Path(path.clone()),
        }
    }
}

impl ListenerUrl {
    fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
            return Ok(Self::Unix(path.into()));
        }
        url(text).map(Self::Http)
    }

    fn url(&self) -> Option<&Url> {
        match self {
            Self::Http(url) => Some(url),
            Self::Unix(_) => None,
        }
    }
}

impl Display for ListenerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => f.write_str(url.as_str().trim_end_matches('/')),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Display for RouterAddress {
    /// Writes the form that [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.public(), self.name())
    }
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

fn is_bare(url: &Url) -> bool {
    let user = !url.username().is_empty() || url.password().is_some();
    url.has_host() && url.path() == "/" && url.query().is_none() && url.fragment().is_none() && !user
}

impl FromStr for RouterAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (public, admin) = text.split_once(',').ok_or_else(|| InvalidAddress::NotTwo(text.to_owned()))?;
        Self::new(public, admin)
    }
}

fn url(text: &str) -> Result<Url, InvalidAddress> {
    let no_url = |why: &dyn Display| InvalidAddress::NoUrl { url: text.to_owned(), why: why.to_string() };
    text.parse().map_err(|error| no_url(&error))
}

impl Dns {
    /// The router at one of the name's addresses.
    pub(crate) fn at(&self, address: IpAddr) -> RouterAddress {
        let url = |port| format!("http://{}", SocketAddr::new(address, port));
        let url = |port| ListenerUrl::Http(url(port).parse().expect("an address and a port make a URL"));
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
        assert_eq!(address.target(), Target::Host("10.0.0.7".to_owned(), 8000));
        let address: RouterAddress = "http://[::1],http://b".parse().unwrap();
        assert_eq!(address.target(), Target::Host("::1".to_owned(), 80));
        let address: RouterAddress = "unix:/run/public,unix:/run/admin".parse().unwrap();
        assert_eq!(
            (address.name().as_str(), address.admin_socket()),
            ("unix:/run/admin", Some("/run/admin".as_ref()))
        );
        assert_eq!(address.target(), Target::Path("/run/public".into()));
    }

    #[test]
    fn an_invalid_router_is_refused_with_the_fix() {
        let error = |text: &str| text.parse::<RouterAddress>().unwrap_err().to_string();
        assert!(error("http://a:1").contains("public and its admin URL"));
        assert!(error("ftp://a:1,http://a:2").contains("http or https"));
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
