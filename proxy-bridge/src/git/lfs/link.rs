//! The address of the LFS of a repository, and which links of its server may be followed.

use reqwest::Url;

use crate::git::{GitError, GitUrl};

/// The server of a repository.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// Where objects are asked for.
    batch: Url,
}

/// A link that may be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) url: Url,
    /// True if it is the repository's own server, which alone may get the credential.
    pub(super) own: bool,
}

impl Origin {
    pub(super) fn of(url: &GitUrl) -> Result<Self, GitError> {
        let text = url.as_str().trim_end_matches('/');
        let suffix = if text.ends_with(".git") { "" } else { ".git" };
        let batch = Url::parse(&format!("{text}{suffix}/info/lfs/objects/batch"));
        let batch = batch.map_err(|error| GitError::Refused(format!("the URL has no LFS: {error}")))?;
        Ok(Self { batch })
    }

    pub(super) fn batch(&self) -> &Url {
        &self.batch
    }

    /// The host, to name in messages.
    pub(super) fn host(&self) -> &str {
        self.batch.host_str().unwrap_or_default()
    }

    /// Checks a link that the server gave: to itself, or to any other over https.
    pub(super) fn link(&self, href: &str) -> Result<Link, String> {
        let url = Url::parse(href).map_err(|_| "its link is no URL".to_owned())?;
        let host = url.host_str().ok_or("its link has no host")?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("its link to {host} holds a user and password"));
        }
        let own = url.origin() == self.batch.origin();
        if !own && url.scheme() != "https" {
            return Err(format!("its link leads to {host}, and is not https"));
        }
        Ok(Link { url, own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lfs_of_a_repository_is_below_its_url() {
        for (url, batch) in [
            ("https://h/acme/shop.git", "https://h/acme/shop.git/info/lfs/objects/batch"),
            ("https://h:8443/acme/shop", "https://h:8443/acme/shop.git/info/lfs/objects/batch"),
            ("https://h/acme/shop/", "https://h/acme/shop.git/info/lfs/objects/batch"),
        ] {
            let origin = Origin::of(&GitUrl::parse(url, false).unwrap()).unwrap();
            assert_eq!((origin.batch().as_str(), origin.host()), (batch, "h"));
        }
    }

    #[test]
    fn links_lead_to_the_server_itself_or_over_https() {
        let of = |url: &str| Origin::of(&GitUrl::parse(url, true).unwrap()).unwrap();
        let own = |origin: &Origin, href: &str| origin.link(href).map(|link| link.own);
        let secure = of("https://h/acme/shop");
        assert_eq!(own(&secure, "https://h/x?signature=1"), Ok(true));
        assert_eq!(own(&secure, "https://h:443/x"), Ok(true));
        for other in ["https://h:8443/x", "https://storage/x", "https://h.evil/x", "https://127.0.0.1/x"] {
            assert_eq!(own(&secure, other), Ok(false), "{other}");
        }
        let plain = of("http://h/acme/shop");
        assert_eq!(own(&plain, "http://h/x"), Ok(true));
        assert_eq!(own(&plain, "https://h/x"), Ok(false));
        for href in
            ["http://h:81/x", "http://storage/x", "ftp://h/x", "file:///etc/passwd", "/x", "data:,x", ""]
        {
            assert!(plain.link(href).is_err(), "{href}");
        }
        assert!(secure.link("http://h/x").unwrap_err().contains("not https"));
        let secret = secure.link("https://u:hunter2@h/x?token=hunter2").unwrap_err();
        assert!(!secret.contains("hunter2"), "{secret}");
    }
}
