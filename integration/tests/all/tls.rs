//! TLS with certificate files.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use switchyard_integration::bridge::{Bridge, cli};
use switchyard_integration::git::certify;
use switchyard_integration::router::Router;
use switchyard_integration::serve::Serve;
use switchyard_integration::tls_client::TlsClient;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};
use tempfile::TempDir;

const URL: &str = "export default { fetch: (request) =>
  new Response(`${request.url} ${request.headers.get('x-forwarded-proto')}`) };";

/// A folder with an authority, and a certificate for localhost.
async fn certificate() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    certify(folder.path()).await;
    folder
}

fn flags(folder: &Path) -> [String; 2] {
    ["pem", "key"].map(|name| folder.join(name).display().to_string())
}

#[tokio::test]
async fn clients_speak_tls_and_projects_see_https_and_new_files_are_for_new_connections() {
    let (volume, first, second) = (Volume::with("a", URL), certificate().await, certificate().await);
    let [pem, key] = flags(first.path());
    let router = Router::builder(&volume).flag("tls-cert", &pem).flag("tls-key", &key).start().await;
    let authorities = [first.path().join("ca.pem"), second.path().join("ca.pem")];
    let client = TlsClient::new(router.public.address, &[&authorities[0], &authorities[1]]);
    let mut kept = client.connect(false).await.unwrap();
    eventually("the project is live", || async {
        let mut connection = client.connect(true).await.unwrap();
        connection.get("/a/x").await.is_ok_and(|text| text == "https://localhost/x https")
    })
    .await;
    assert_eq!(kept.get("/a/x").await.unwrap(), "https://localhost/x https");
    let plain = router.public.raw("GET /a/ HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(!plain.contains("HTTP/"), "{plain}");

    for name in ["pem", "key"] {
        fs::copy(second.path().join(name), first.path().join(name)).unwrap();
    }
    eventually("new connections get the new certificate", || async {
        client.connect(false).await.unwrap().certificate != kept.certificate
    })
    .await;
    let renewed = client.connect(false).await.unwrap().certificate;
    assert_eq!(kept.get("/a/x").await.unwrap(), "https://localhost/x https", "the connection is kept");

    fs::write(&key, "no key").unwrap();
    router.signal(Signal::HUP);
    let logged = router.log.wait_for(|record| {
        record["message"].as_str().is_some_and(|text| text.contains("keeping its old content"))
    });
    assert!(within("the log names the wrong file", logged).await.is_some());
    assert_eq!(client.connect(false).await.unwrap().certificate, renewed);
}

#[tokio::test]
async fn the_api_and_the_listeners_of_admins_and_of_webhooks_speak_tls_too() {
    let (volume, folder) = (Volume::with("a", URL), certificate().await);
    let [pem, key] = flags(folder.path());
    let authority = folder.path().join("ca.pem");
    let builder = Serve::builder(&volume).flag("hooks", "127.0.0.1:0");
    let builder = ["api-tls", "admin-tls", "hooks-tls"].into_iter().fold(builder, |builder, prefix| {
        builder.flag(&format!("{prefix}-cert"), &pem).flag(&format!("{prefix}-key"), &key)
    });
    let server = builder.launch(Vec::new());
    let starting = server.log.wait_for(|record| record["api"].is_string());
    let record = within("it says where it listens", starting).await.unwrap();
    let receiving = server.log.wait_for(|record| record["hooks"].is_string());
    let receiving = within("it says where it receives webhooks", receiving).await.unwrap();
    let address =
        |record: &Value, field: &str| record[field].as_str().unwrap().parse::<SocketAddr>().unwrap();
    let to = format!("https://localhost:{}", address(&record, "api").port());
    let trusted = [("SSL_CERT_FILE", authority.to_str().unwrap())];
    eventually("the bridge knows the project", || async {
        let status = cli::run_with(&["status", "--to", &to], &trusted).await;
        status.code == Some(0) && status.stdout.contains("live")
    })
    .await;
    let hooks = TlsClient::new(address(&receiving, "hooks"), &[&authority]);
    let answer = hooks.connect(false).await.unwrap().get("/hooks/x").await.unwrap();
    assert!(answer.contains("problem"), "{answer}");
    let admin = TlsClient::new(address(&record, "admin"), &[&authority]);
    assert_eq!(admin.connect(false).await.unwrap().get("/healthz").await.unwrap(), "ok\n");
    // The bridge does not need a listener without TLS that others can reach.
    let own = builder.state().join("router/bridge.sock");
    assert_eq!(fs::metadata(own).unwrap().permissions().mode() & 0o777, 0o600);
    let without =
        builder.flag("admin-tls-key", "/nonexistent").flag("listen", "unix:/run/x").flag("tls-cert", &pem);
    let ended = without.launch(Vec::new()).ended().await;
    let text = ended.log.text();
    assert!(text.contains("--tls-key: is required with --tls-cert"), "{text}");
    assert_eq!(ended.status.code(), Some(64));
    let ended = Bridge::builder(&volume).flag("hooks-tls-cert", &pem).run_to_end().await;
    let text = ended.log.text();
    assert!(text.contains("--hooks-tls-cert: has no effect without a listener: add --hooks ADDR"), "{text}");
}

#[tokio::test]
async fn without_authorities_plain_http_works_and_https_says_what_it_lacks() {
    let (volume, folder) = (Volume::with("a", URL), certificate().await);
    let [pem, key] = flags(folder.path());
    let router = Router::builder(&volume).flag("tls-cert", &pem).flag("tls-key", &key).start().await;
    let none = tempfile::tempdir().unwrap();
    let environment = [("SSL_CERT_DIR", none.path().to_str().unwrap())];
    let secure = format!("https://localhost:{}", router.public.address.port());
    let builder = Bridge::builder(&volume).env(environment[0].0, environment[0].1);
    let bridge = builder.router(&router).flag("router", format!("http://127.0.0.1:1,{secure}"));
    let bridge = bridge.start_unready().await;
    let advice = "UnknownIssuer: no CA certificate of this machine has signed the server's certificate; \
                  install the package ca-certificates, or name the file of the server's CA in SSL_CERT_FILE";
    eventually("the bridge has asked both", || async {
        let statuses = bridge.client.get("/projects/a/status").await.json();
        let of = |at: usize| &statuses["routers"][at];
        of(0)["status"]["state"] == "live" && of(1)["error"].as_str().is_some_and(|why| why.ends_with(advice))
    })
    .await;
    let status = cli::run_with(&["status", "--to", &secure], &environment).await;
    assert_eq!(status.code, Some(3), "{status:?}");
    assert!(status.stderr.contains(advice), "{status:?}");
}
