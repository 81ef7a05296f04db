//! TLS of a listener: a certificate and its key in two files, which are read again when they change.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use switchyard_program::settings::{InvalidSetting, Problems};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ServerConfig, version};
use tokio_rustls::server::TlsStream;

/// Interval at which changes of files are looked for. Certificates are renewed days before they end.
const CHECK: Duration = Duration::from_secs(2);

/// The largest file that is read: a chain of certificates has some kilobytes.
const MAX_FILE: u64 = 1 << 20;

/// The protocols that a listener speaks, by their names in ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 and HTTP/1.1.
    Http2,
}

/// The files of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The part of their flags' names before `-cert` and `-key`: `tls`, `admin-tls`.
    prefix: &'static str,
    certificate: PathBuf,
    key: PathBuf,
}

/// TLS of one listener. Clones are the same.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    files: CertificateFiles,
    certificate: Arc<CurrentCertificate>,
    acceptor: TlsAcceptor,
    seen: Mutex<Seen>,
}

/// The certificate of the next handshake.
#[derive(Debug)]
struct CurrentCertificate(RwLock<Arc<CertifiedKey>>);

/// The times and sizes of the files when they were read last. `None`: a file was missing.
type Seen = [Option<(SystemTime, u64)>; 2];

impl CertificateFiles {
    /// Returns the files that a pair of flags names, if it names any. Adds a problem if one of them is
    /// missing, or the listener has no IP address.
    pub fn of(
        prefix: &'static str,
        files: [&Option<PathBuf>; 2],
        has_ip: bool,
        problems: &mut Problems,
    ) -> Option<Self> {
        let [certificate, key] = files;
        let names = [format!("{prefix}-cert"), format!("{prefix}-key")];
        match (certificate, key) {
            (None, None) => None,
            (Some(_), None) => {
                problems.flag(&names[1], format!("is required with --{}", names[0]));
                None
            }
            (None, Some(_)) => {
                problems.flag(&names[0], format!("is required with --{}", names[1]));
                None
            }
            (Some(_), Some(_)) if !has_ip => {
                let message =
                    "is for listeners with an IP address: the mode of its file protects a Unix socket";
                problems.flag(&names[0], message);
                None
            }
            (Some(certificate), Some(key)) => {
                Some(Self { prefix, certificate: certificate.clone(), key: key.clone() })
            }
        }
    }

    fn read(&self) -> Result<CertifiedKey, InvalidSetting> {
        let chain: Vec<_> = pem(&self.certificate, |text| CertificateDer::pem_slice_iter(text).collect())?;
        let key = pem(&self.key, PrivateKeyDer::from_pem_slice)?;
        if chain.is_empty() {
            return Err(invalid(&self.certificate, "it contains no certificate: expected PEM"));
        }
        CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            invalid(&self.key, format_args!("it is not the key of the certificate: {error}"))
        })
    }

    fn look(&self) -> Seen {
        [&self.certificate, &self.key].map(|file| {
            let found = fs::metadata(file).ok()?;
            Some((found.modified().ok()?, found.len()))
        })
    }
}

/// Reads a file of certificates or of a key.
fn pem<T>(
    file: &Path,
    parse: impl Fn(&[u8]) -> Result<T, tokio_rustls::rustls::pki_types::pem::Error>,
) -> Result<T, InvalidSetting> {
    let length = fs::metadata(file).and_then(|found| {
        let is_plain = found.is_file() && found.len() <= MAX_FILE;
        is_plain.then_some(()).ok_or_else(|| io::Error::other("it is not a plain file of at most 1 MiB"))
    });
    let text = length.and_then(|()| fs::read(file));
    let text = text.map_err(|error| invalid(file, format_args!("cannot be read: {error}")))?;
    parse(&text).map_err(|error| invalid(file, format_args!("expected PEM: {error}")))
}

fn invalid(file: &Path, why: impl fmt::Display) -> InvalidSetting {
    InvalidSetting(format!("{}: {why}", file.display()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read, contains something else, or the key is another certificate's.
    pub fn open(files: CertificateFiles, protocols: Protocols) -> Result<Self, InvalidSetting> {
        let seen = files.look();
        let certificate = Arc::new(CurrentCertificate(RwLock::new(Arc::new(files.read()?))));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .expect("the provider has both versions")
            .with_no_client_auth()
            .with_cert_resolver(certificate.clone());
        config.alpn_protocols = match protocols {
            Protocols::Http1 => vec![b"http/1.1".to_vec()],
            Protocols::Http2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self(Arc::new(Shared { files, certificate, acceptor, seen: Mutex::new(seen) })))
    }

    /// Makes the handshake with a client.
    ///
    /// # Errors
    /// The client speaks no TLS, or breaks off.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.0.acceptor.accept(stream).await
    }

    /// Reads the files again, for the next handshakes. Connections that are open stay. Logs the result;
    /// if the files are invalid, their old content stays in force.
    pub fn read_again(&self) {
        let Shared { files, certificate, seen, .. } = &*self.0;
        let (flag, look) = (format!("{}-cert", files.prefix), files.look());
        match files.read() {
            Ok(read) => {
                *certificate.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(read);
                let file = files.certificate.display();
                tracing::info!(
                    audit = true,
                    flag,
                    "reloaded --{flag}: new connections get the certificate in {file}"
                );
            }
            Err(error) => tracing::error!(flag, "--{flag} is invalid, keeping its old content: {error}"),
        }
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = look;
    }

    fn has_changed(&self) -> bool {
        self.0.files.look() != *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.files).finish()
    }
}

impl ResolvesServerCert for CurrentCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Reads the files of these listeners again whenever they change. Never ends.
pub async fn follow_files(all: Vec<Tls>) {
    loop {
        sleep(CHECK).await;
        let all = all.clone();
        // Fails only by a panic, which is logged.
        let _ = tokio::task::spawn_blocking(move || {
            all.iter().filter(|tls| tls.has_changed()).for_each(Tls::read_again);
        })
        .await;
    }
}
