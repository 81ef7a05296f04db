//! Addresses of listeners: `IP:PORT` or `unix:PATH`.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use rustix::net::{SocketAddrUnix, SocketType, getsockname, sockopt};

use switchyard_program::settings::Problems;
use switchyard_program::settings::values::{InvalidValue, address};

/// The prefix of a path.
const UNIX: &str = "unix:";

/// The longest path of a socket: `sun_path` has 108 bytes, and the last one is 0.
const MAX_PATH: usize = 107;

/// The address of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// The path of a Unix socket.
    Path(PathBuf),
}

/// A listener as the settings have it.
#[derive(Debug, Clone)]
pub struct ListenSetting {
    pub(super) address: ListenAddress,
    /// The socket, if the process was started with it.
    pub(super) inherited: Option<Arc<OwnedFd>>,
}

/// Text that is not the address of a listener.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    #[error("{0}, or unix:/PATH for a Unix socket")]
    Ip(#[from] InvalidValue),
    #[error("invalid path of a Unix socket {0:?}: expected unix:/PATH, from the root of the file system")]
    Relative(String),
    #[error("the path of a Unix socket has at most {MAX_PATH} bytes: choose a shorter one than {0:?}")]
    TooLong(String),
}

impl ListenAddress {
    /// Returns true if only this machine reaches the listener.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().is_loopback(),
            Self::Path(_) => true,
        }
    }

    /// Returns the address, unless it is a path.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Path(_) => None,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        match text.strip_prefix(UNIX) {
            None => Ok(Self::Ip(address(text)?)),
            Some(path) if path.len() > MAX_PATH => Err(InvalidAddress::TooLong(path.to_owned())),
            Some(path) if path.starts_with('/') && !path.contains('\0') => Ok(Self::Path(path.into())),
            Some(_) => Err(InvalidAddress::Relative(text.to_owned())),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Path(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl ListenSetting {
    /// A socket that the process was started with.
    ///
    /// # Errors
    /// The socket is not a listening stream socket with an IP address or a path.
    pub fn inherit(socket: OwnedFd) -> io::Result<Self> {
        let other = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what);
        if sockopt::socket_type(&socket)? != SocketType::STREAM || !sockopt::socket_acceptconn(&socket)? {
            return Err(other("it is not a stream socket that listens"));
        }
        let address = getsockname(&socket)?;
        let address = match SocketAddr::try_from(address.clone()) {
            Ok(address) => ListenAddress::Ip(address),
            Err(_) => {
                let address = SocketAddrUnix::try_from(address)?;
                let path =
                    address.path_bytes().ok_or_else(|| other("it has neither an IP address nor a path"))?;
                ListenAddress::Path(PathBuf::from(OsStr::from_bytes(path)))
            }
        };
        Ok(Self { address, inherited: Some(Arc::new(socket)) })
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// Returns true if the process was started with the socket, so that clients may have connected
    /// before it.
    #[must_use]
    pub fn is_inherited(&self) -> bool {
        self.inherited.is_some()
    }
}

impl From<ListenAddress> for ListenSetting {
    fn from(address: ListenAddress) -> Self {
        Self { address, inherited: None }
    }
}

impl From<SocketAddr> for ListenSetting {
    fn from(address: SocketAddr) -> Self {
        ListenAddress::Ip(address).into()
    }
}

impl FromStr for ListenSetting {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        text.parse().map(|address: ListenAddress| address.into())
    }
}

impl fmt::Display for ListenSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// Adds a problem for each listener with the address of an earlier one. Ports that the kernel chooses
/// differ.
pub fn check_distinct<'a>(
    listeners: impl IntoIterator<Item = (&'static str, &'a ListenSetting)>,
    problems: &mut Problems,
) {
    let mut earlier: Vec<(&str, &ListenAddress)> = Vec::new();
    for (flag, listener) in listeners {
        let address = listener.address();
        if address.ip().is_some_and(|address| address.port() == 0) {
            continue;
        }
        match earlier.iter().find(|(_, other)| *other == address) {
            Some((other, _)) => {
                problems.flag(flag, format!("{address} is the address of --{other} too: name another one"));
            }
            None => earlier.push((flag, address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_address_or_an_absolute_path() {
        for (text, is_local) in [("0.0.0.0:80", false), ("[::1]:80", true), ("unix:/run/a b.sock", true)] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!((address.to_string().as_str(), address.is_local()), (text, is_local));
        }
        let long = format!("unix:/{}", "x".repeat(MAX_PATH));
        for (text, part) in
            [("unix:a", "unix:/PATH"), ("unix:", "unix:/PATH"), (&long, "107"), ("h:1", "unix:/PATH")]
        {
            let error = text.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
