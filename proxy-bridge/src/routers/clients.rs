//! The HTTP clients that call routers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder, redirect};

use super::RouterAddress;
use switchyard_contract::https;

/// Routers are neighbours: one that is there takes a connection within milliseconds.
const CONNECT: Duration = Duration::from_secs(1);

/// One client for all routers that have URLs, and one for each Unix socket.
#[derive(Debug)]
pub(super) struct Clients {
    of_urls: Client,
    of_sockets: BTreeMap<PathBuf, Client>,
}

impl Clients {
    /// Makes the clients for all routers. They are called directly: no proxy from the environment, and
    /// no redirect, which would send the token to an address that no one configured.
    ///
    /// # Errors
    /// The token cannot be the value of a header.
    pub(super) fn new<'a>(
        token: Option<&str>,
        sockets: impl IntoIterator<Item = &'a Path>,
    ) -> anyhow::Result<Self> {
        let headers = headers(token)?;
        let of_socket =
            |path: &Path| Ok((path.to_owned(), https::build(|| builder(&headers).unix_socket(path))?));
        Ok(Self {
            of_urls: https::build(|| builder(&headers))?,
            of_sockets: sockets.into_iter().map(of_socket).collect::<anyhow::Result<_>>()?,
        })
    }

    /// Makes the clients for the same routers with another token.
    ///
    /// # Errors
    /// The token cannot be the value of a header.
    pub(super) fn with_token(&self, token: Option<&str>) -> anyhow::Result<Self> {
        Self::new(token, self.of_sockets.keys().map(PathBuf::as_path))
    }

    /// Returns the client that calls a router at this address.
    pub(super) fn of(&self, address: &RouterAddress) -> Client {
        let of_socket = address.admin_socket().and_then(|path| self.of_sockets.get(path));
        of_socket.unwrap_or(&self.of_urls).clone()
    }
}

fn headers(token: Option<&str>) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| anyhow::anyhow!("the admin token has characters that no header can have"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

fn builder(headers: &HeaderMap) -> ClientBuilder {
    Client::builder()
        .default_headers(headers.clone())
        .connect_timeout(CONNECT)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .user_agent(concat!("switchyard-bridge/", env!("CARGO_PKG_VERSION")))
}
