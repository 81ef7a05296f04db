//! The flags of a public listener: the same for router and bridge.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use switchyard_program::settings::Problems;
use switchyard_program::settings::values::{number, size, time};
use switchyard_program::units::{Size, Span};

use super::ListenerLimits;
use crate::forwarded::TrustedProxies;
use crate::socket::ListenSetting;
use crate::tls::CertificateFiles;

const DEFAULT: ListenerLimits = ListenerLimits::DEFAULT;
const MILLISECOND: Duration = Duration::from_millis(1);

/// Connections of clients to a public listener, with the defaults of [`ListenerLimits`].
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = ListenerConfig::HEADING)]
pub struct ListenerConfig {
    /// File (PEM) with the certificate of the public listener and its chain: clients speak TLS then
    /// (requires --tls-key); reloaded when it changes
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// File (PEM) with the key of --tls-cert
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Networks of proxies whose x-forwarded-for, -proto and -host headers are trusted
    #[arg(long, value_name = "CIDR,…")]
    pub trusted_proxy: Option<TrustedProxies>,

    /// Open connections; any beyond are closed at once
    #[arg(
        long,
        value_name = "N",
        default_value_t = DEFAULT.max_connections,
        value_parser = number::<usize>(1)
    )]
    pub max_connections: usize,

    /// Open connections of one client (IPv4 address or IPv6 /64) other than a trusted proxy
    #[arg(
        long,
        value_name = "N",
        default_value_t = DEFAULT.max_client_connections,
        value_parser = number::<usize>(1)
    )]
    pub max_client_connections: usize,

    /// Requests on one connection before it is closed
    #[arg(
        long,
        value_name = "N",
        default_value_t = DEFAULT.max_connection_requests,
        value_parser = number::<u64>(1)
    )]
    pub max_connection_requests: u64,

    /// Size of the head (first line and headers) of a request; in a router, also of a project's response
    #[arg(
        long,
        value_name = "SIZE",
        default_value = Size(DEFAULT.max_head as u64).to_string(),
        value_parser = size::<usize>(1024)
    )]
    pub max_head: usize,

    /// Time for the head of a request to arrive, from connecting or from its first byte
    #[arg(
        long,
        value_name = "TIME",
        default_value = Span(DEFAULT.head_timeout).to_string(),
        value_parser = time(MILLISECOND)
    )]
    pub head_timeout: Duration,

    /// Time for which a connection without a request is kept
    #[arg(
        long,
        value_name = "TIME",
        default_value = Span(DEFAULT.idle_timeout).to_string(),
        value_parser = time(MILLISECOND)
    )]
    pub idle_timeout: Duration,

    /// Longest pause of a client in sending a body (1 KiB/s on average) or in reading a response
    #[arg(
        long,
        value_name = "TIME",
        default_value = Span(DEFAULT.body_timeout).to_string(),
        value_parser = time(MILLISECOND)
    )]
    pub body_timeout: Duration,
}

impl ListenerConfig {
    /// The heading of these flags in help texts.
    pub const HEADING: &str = "Connections";

    /// Returns the files with the certificate of the listener at `address`.
    pub fn certificate(&self, address: &ListenSetting, problems: &mut Problems) -> Option<CertificateFiles> {
        let has_ip = address.address().ip().is_some();
        CertificateFiles::of("tls", [&self.tls_cert, &self.tls_key], has_ip, problems)
    }

    /// Returns the limits on clients.
    #[must_use]
    pub fn limits(&self) -> ListenerLimits {
        ListenerLimits {
            max_connections: self.max_connections,
            max_client_connections: self.max_client_connections,
            max_connection_requests: self.max_connection_requests,
            max_head: self.max_head,
            head_timeout: self.head_timeout,
            idle_timeout: self.idle_timeout,
            body_timeout: self.body_timeout,
        }
    }
}
