//! A certificate authority of a test, and the certificate that it gives to 127.0.0.1 and localhost.

use std::path::Path;

use tokio::process::Command;

use super::command::run;

const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/// Writes `ca.pem`, and the server's `pem` and `key`.
pub async fn certify(folder: &Path) {
    let extensions = "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=critical,CA:FALSE\n";
    std::fs::write(folder.join("extensions"), extensions).expect("a file can be written");
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(folder);
        command
    };
    let mut authority = openssl(&["req", "-x509", "-days", "2", "-subj", "/CN=authority"]);
    run(authority.args(KEY).args(["-keyout", "ca.key", "-out", "ca.pem"]), b"").await;
    let mut request = openssl(&["req", "-subj", "/CN=127.0.0.1"]);
    run(request.args(KEY).args(["-keyout", "key", "-out", "request"]), b"").await;
    let mut signed = openssl(&["x509", "-req", "-days", "2", "-in", "request", "-out", "pem"]);
    signed.args(["-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "2", "-extfile", "extensions"]);
    run(&mut signed, b"").await;
}
