//! The certificate authorities that a version's TLS connections trust: Mozilla's, and those that
//! its environment names, as for Node and Deno. They apply to `fetch`, WebSockets, node:https and
//! `Deno.connectTls`.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use deno_error::JsErrorBox;
use deno_runtime::deno_tls::rustls::RootCertStore;
use deno_runtime::deno_tls::rustls::pki_types::CertificateDer;
use deno_runtime::deno_tls::{RootCertStoreProvider, create_default_root_cert_store, load_certs};
use switchyard_protocol::Start;

use crate::modules::roots::Roots;

/// The variables that name a file of certificates (PEM): Node's and Deno's.
const NAMED_BY: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

/// The largest file in bytes: more than ten times the size of all of Mozilla's authorities.
const MAX_FILE: u64 = 4 << 20;

/// The certificates that the version's environment names.
static NAMED: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();

/// Trusts the certificates that the version's environment names. Warns about a file that cannot be
/// read and continues without it, as Node does.
pub(crate) fn accept_named(start: &Start, roots: &Roots) {
    let mut certificates = Vec::new();
    for variable in NAMED_BY {
        let Some(name) = start.env.get(variable).filter(|name| !name.is_empty()) else { continue };
        match read(start, roots, name) {
            Ok(found) => certificates.extend(found),
            Err(error) => log::warn!(
                "{variable} names {name:?}, which is left out: {error}. It has to be a file of certificates \
                 (PEM) in the project, or one that the policy lets it read (permissions.read)"
            ),
        }
    }
    _ = NAMED.set(certificates);
}

/// The trusted certificates, loaded for the first TLS connection.
#[derive(Default)]
pub(crate) struct Certificates(OnceLock<RootCertStore>);

impl RootCertStoreProvider for Certificates {
    fn get_or_try_init(&self) -> Result<&RootCertStore, JsErrorBox> {
        Ok(self.0.get_or_init(|| {
            let mut store = create_default_root_cert_store();
            store.add_parsable_certificates(NAMED.get().into_iter().flatten().cloned());
            store
        }))
    }
}

fn read(start: &Start, roots: &Roots, name: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let path = admit(start, roots, &start.checkout.join(name))?;
    // Does not wait for the other end of a pipe.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if metadata.len() > MAX_FILE {
        return Err(io::Error::other(format!("it has more than {MAX_FILE} bytes")));
    }
    let mut pem = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut pem)?;
    load_certs(&mut pem.as_slice()).map_err(io::Error::other)
}

/// Resolves a path without symbolic links, if the version may read the file.
fn admit(start: &Start, roots: &Roots, path: &Path) -> io::Result<PathBuf> {
    let real = path.canonicalize()?;
    let granted = &start.permissions;
    let mut readable = granted.read.iter();
    if roots.contain(&real) || readable.any(|folder| real.starts_with(folder)) {
        Ok(real)
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is outside of the project"))
    }
}
