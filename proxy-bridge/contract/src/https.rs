//! HTTP clients that work on machines without CA certificates too: plain HTTP needs none.

use std::error::Error;

use reqwest::{Client, ClientBuilder};

/// Builds a client. On a machine without CA certificates it refuses every server's certificate that is
/// not signed by an authority of `builder`, and still speaks plain HTTP.
///
/// # Errors
/// A setting of `builder` is invalid.
pub fn build(builder: impl Fn() -> ClientBuilder) -> Result<Client, reqwest::Error> {
    builder().build().or_else(|_| builder().tls_certs_only([]).build())
}

/// Returns the innermost cause of a failed request, which is the most specific, without the URL: it
/// may hold a password. Says how to trust a server whose authority is not known here.
pub fn reason(error: reqwest::Error) -> String {
    let is_untrusted = is_untrusted(&error);
    let cause = innermost(&error.without_url()).to_string();
    if is_untrusted {
        format!(
            "{cause}: no CA certificate of this machine has signed the server's certificate; install the \
             package ca-certificates, or name the file of the server's CA in SSL_CERT_FILE"
        )
    } else {
        cause
    }
}

/// Returns true if the server's certificate is signed by no authority that is known here.
pub fn is_untrusted(error: &reqwest::Error) -> bool {
    // rustls' error lies in one of `std::io`, and its crate would be needed to ask for its variant.
    innermost(error).to_string().ends_with("UnknownIssuer")
}

fn innermost(error: &reqwest::Error) -> &dyn Error {
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}
