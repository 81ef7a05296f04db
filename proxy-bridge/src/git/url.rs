//! URLs of repositories, checked before git sees them.

use std::fmt;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

const MAX_LEN: usize = 2048;

/// The transport of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Encrypted and authenticated.
    Https,
    /// Encrypted and authenticated; also the form `git@host:path`.
    Ssh,
    /// A repository on this machine, read through git's own transport.
    File,
    /// Neither encrypted nor authenticated.
    Http,
    /// Neither encrypted nor authenticated.
    Git,
}

impl Scheme {
    /// The name in a URL and in git's configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Ssh => "ssh",
            Self::File => "file",
            Self::Http => "http",
            Self::Git => "git",
        }
    }
}

/// The URL of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GitUrl {
    text: String,
    scheme: Scheme,
    host: Option<String>,
}

/// A text that is no URL of a repository. The text itself is not shown: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUrl(String);

impl GitUrl {
    /// Checks `text`. `insecure` allows http and git.
    ///
    /// # Errors
    /// Says what is wrong, and what to write instead.
    pub fn parse(text: &str, insecure: bool) -> Result<Self, InvalidUrl> {
        if text.is_empty() || text.len() > MAX_LEN {
            return Err(invalid(format!("must have 1 to {MAX_LEN} characters")));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '\\' | '\u{2028}')) {
            return Err(invalid("may not hold spaces, control characters or \\"));
        }
        if text.starts_with('/') || text.starts_with('.') {
            return Err(invalid("a repository on this machine is written file:///path/to/repository"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return scp(text);
        };
        let scheme = match scheme {
            "https" => Scheme::Https,
            "ssh" => Scheme::Ssh,
            "file" => Scheme::File,
            "http" => Scheme::Http,
            "git" => Scheme::Git,
            _ => return Err(invalid("must begin with https://, ssh:// or file://, or be git@host:path")),
        };
        if matches!(scheme, Scheme::Http | Scheme::Git) && !insecure {
            return Err(invalid(format!(
                "{}:// is neither encrypted nor authenticated: use https://, or set insecure = true",
                scheme.as_str()
            )));
        }
        let slash = rest.find('/').ok_or_else(|| invalid("has no path"))?;
        let (authority, path) = rest.split_at(slash);
        check_path(path, scheme)?;
        let host = match scheme {
            Scheme::File if authority.is_empty() => None,
            Scheme::File => return Err(invalid("file:// has no host: write file:///path/to/repository")),
            _ => Some(host_of(authority, scheme)?),
        };
        Ok(Self { text: text.to_owned(), scheme, host })
    }

    /// The transport.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host without user and port; `None` for file.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The folder that a file URL names.
    pub fn local_path(&self) -> Option<PathBuf> {
        let path = self.text.strip_prefix("file://")?;
        let bytes = percent_decode_str(path).collect::<Vec<u8>>();
        Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
    }

    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn invalid(what: impl Into<String>) -> InvalidUrl {
    InvalidUrl(what.into())
}

/// Checks the form `user@host:path`.
fn scp(text: &str) -> Result<GitUrl, InvalidUrl> {
    let form = || invalid("must begin with https://, ssh:// or file://, or be git@host:path");
    let (authority, path) = text.split_once(':').ok_or_else(form)?;
    if authority.contains('/') || path.starts_with(':') {
        return Err(form());
    }
    if path.is_empty() {
        return Err(invalid("has no path"));
    }
    if path.starts_with('-') {
        return Err(invalid("the path may not begin with -"));
    }
    if path.contains('@') {
        return Err(invalid(CREDENTIAL));
    }
    let host = host_of(authority, Scheme::Ssh)?;
    Ok(GitUrl { text: text.to_owned(), scheme: Scheme::Ssh, host: Some(host) })
}

const CREDENTIAL: &str =
    "may not hold a user and password: set credential, which names the file with the secret";

fn host_of(authority: &str, scheme: Scheme) -> Result<String, InvalidUrl> {
    let address = match authority.rsplit_once('@') {
        None => authority,
        Some((user, address)) if scheme == Scheme::Ssh && !user.contains(':') => {
            let plain = user.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'));
            if user.is_empty() || user.starts_with('-') || !plain {
                return Err(invalid("the user must be letters, digits, dots, - and _"));
            }
            address
        }
        Some(_) => return Err(invalid(CREDENTIAL)),
    };
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(|| invalid("the host has no ]"))?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| invalid("[ ] must hold an IPv6 address"))?;
        if !(port.is_empty() || port.starts_with(':')) {
            return Err(invalid("after ] there must be a port or a path"));
        }
        (host, port.strip_prefix(':'))
    } else {
        match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        }
    };
    if port.is_some_and(|port| {
        port.bytes().any(|c| !c.is_ascii_digit()) || !matches!(port.parse(), Ok(1..=u16::MAX))
    }) {
        return Err(invalid("the port must be a number from 1 to 65535"));
    }
    if host.starts_with('-') {
        return Err(invalid("the host may not begin with -"));
    }
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(plain) {
        return Err(invalid("the host must be a name or an address"));
    }
    Ok(host.to_owned())
}

fn check_path(path: &str, scheme: Scheme) -> Result<(), InvalidUrl> {
    let named = path.trim_matches('/');
    if named.is_empty() {
        return Err(invalid("has no path"));
    }
    if named.starts_with('-') {
        return Err(invalid("the path may not begin with -"));
    }
    if matches!(scheme, Scheme::Https | Scheme::Http) && path.contains(['?', '#']) {
        return Err(invalid("may not hold ? or #"));
    }
    let decoded = percent_decode_str(path).collect::<Vec<u8>>();
    if decoded.iter().any(|c| c.is_ascii_control()) {
        return Err(invalid("may not hold encoded control characters"));
    }
    if decoded.split(|c| *c == b'/').any(|part| matches!(part, b"." | b"..")) {
        return Err(invalid("the path may not hold . or .."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_forms_are_understood() {
        for (text, scheme, host) in [
            ("https://github.com/acme/shop.git", Scheme::Https, Some("github.com")),
            ("https://git.example:8443/acme/shop", Scheme::Https, Some("git.example")),
            ("ssh://git@host:2222/acme/shop.git", Scheme::Ssh, Some("host")),
            ("ssh://git@[::1]:22/shop", Scheme::Ssh, Some("::1")),
            ("git@github.com:acme/shop.git", Scheme::Ssh, Some("github.com")),
            ("host:shop", Scheme::Ssh, Some("host")),
            ("file:///srv/shop.git", Scheme::File, None),
        ] {
            let url = GitUrl::parse(text, false).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((url.scheme(), url.host(), url.to_string().as_str()), (scheme, host, text));
        }
    }

    #[test]
    fn what_could_run_a_command_or_hold_a_secret_is_refused() {
        for (text, says) in [
            ("https://user:hunter2@host/x", "credential"),
            ("https://user@host/x", "credential"),
            ("ssh://git:hunter2@host/x", "credential"),
            ("git@host:x@y", "credential"),
            ("ssh://-oProxyCommand=x/y", "begin with -"),
            ("ssh://git@-oProxyCommand=x/y", "begin with -"),
            ("-oProxyCommand=x:y", "begin with -"),
            ("git@host:-x", "begin with -"),
            ("https://host/-x", "begin with -"),
            ("ssh://%2doProxyCommand/x", "host must"),
            ("ext::sh -c x", "spaces"),
            ("ext::sh", "must begin"),
            ("transport::https://host/x", "must begin"),
            ("/srv/shop.git", "file:///"),
            ("../shop.git", "file:///"),
            ("file://host/srv/shop.git", "no host"),
            ("file:///srv/a/../b", ".."),
            ("file:///srv/a/%2e%2e/b", ".."),
            ("ssh://host/a%0ab", "control"),
            ("https://host", "no path"),
            ("https://host/", "no path"),
            ("https:///x", "host must"),
            ("https://host:0/x", "port"),
            ("https://host:+1/x", "port"),
            ("ftp://host/x", "must begin"),
            ("https://host/x\ny", "control"),
            ("", "1 to"),
        ] {
            let error = GitUrl::parse(text, true).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn plain_transports_need_to_be_allowed() {
        for text in ["http://host/x", "git://host/x"] {
            assert!(GitUrl::parse(text, false).unwrap_err().to_string().contains("insecure = true"));
            assert!(GitUrl::parse(text, true).is_ok());
        }
    }

    #[test]
    fn the_folder_of_a_file_url_is_decoded_as_git_does() {
        let url = GitUrl::parse("file:///srv/a%20b.git", false).unwrap();
        assert_eq!(url.local_path(), Some(PathBuf::from("/srv/a b.git")));
        assert_eq!(GitUrl::parse("host:x", false).unwrap().local_path(), None);
    }
}
