//! Contents over real sockets, one of them with TLS, and from folders.

mod places;
mod servers;

use std::fs;
use std::sync::mpsc;

use super::*;
use crate::git::GitUrl;
use servers::{Asked, answer, secure, server};

const LIMITS: LfsLimits = LfsLimits { bytes: 1 << 20, timeout: Duration::from_secs(60) };

fn pointer(content: &[u8]) -> LfsPointer {
    use sha2::{Digest as _, Sha256};
    let oid = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    LfsPointer { oid: oid.parse().unwrap(), size: content.len() as u64 }
}

fn remote(url: &str, credential: Option<Credential>) -> Remote {
    Remote { url: GitUrl::parse(url, true).unwrap(), credential }
}

/// The contents that were read whole.
async fn read(lfs: &Lfs, pointers: &[LfsPointer]) -> Result<Vec<Vec<u8>>, GitError> {
    let (sender, received) = mpsc::channel::<Piece>();
    let read = lfs.read(pointers.to_vec(), move |piece| sender.send(piece)).await.map(drop);
    let mut contents = vec![Vec::new(); pointers.len()];
    let mut whole = 0;
    for piece in received {
        contents[piece.index].extend_from_slice(&piece.bytes);
        whole += usize::from(piece.last);
    }
    match read {
        Ok(()) => {
            assert_eq!(whole, pointers.len());
            Ok(contents)
        }
        Err(BlobsError::Git(error)) => {
            assert!(whole < pointers.len(), "a content was whole that is refused");
            Err(error)
        }
        Err(BlobsError::Taker(error)) => panic!("{error}"),
    }
}

/// The answer of the batch API with `action` for each of `pointers`.
fn batch(pointers: &[LfsPointer], action: impl Fn(&LfsPointer) -> serde_json::Value) -> String {
    let objects = pointers.iter().map(|pointer| {
        serde_json::json!({ "oid": pointer.oid.as_str(), "size": pointer.size, "authenticated": true,
            "actions": { "download": action(pointer) } })
    });
    serde_json::json!({ "transfer": "basic", "objects": objects.collect::<Vec<_>>() }).to_string()
}

fn password() -> (tempfile::TempDir, Credential) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    fs::write(&file, "hunter2\n").unwrap();
    let credential = Credential::Password { username: "me".to_owned(), file };
    (dir, credential)
}

// base64 of me:hunter2
const LOGIN: &str = "authorization: Basic bWU6aHVudGVyMg==";

#[tokio::test]
async fn contents_are_asked_for_together_and_come_in_their_order() {
    let contents = [b"first".to_vec(), vec![7; 300_000], Vec::new()];
    let pointers = contents.each_ref().map(|content| pointer(content));
    let (of, known) = (contents.clone(), pointers.clone());
    let (address, asked) = server(move |address, asked| {
        if asked.path == "/acme/shop.git/info/lfs/objects/batch" {
            let href = |pointer: &LfsPointer| format!("http://{address}/content/{}", pointer.oid);
            let header = serde_json::json!({ "X-Given": "given" });
            let action = |pointer: &LfsPointer| {
                serde_json::json!({ "href": href(pointer), "header": header, "expires_in": 0,
                    "expires_at": "2016-11-10T15:29:07Z" })
            };
            return answer("200 OK", batch(&known, action).as_bytes());
        }
        let oid = asked.path.strip_prefix("/content/").unwrap();
        let index = known.iter().position(|pointer| pointer.oid.as_str() == oid).unwrap();
        answer("200 OK", &of[index])
    });
    let (_dir, credential) = password();
    let url = format!("http://{address}/acme/shop");
    let lfs = Lfs::new(remote(&url, Some(credential)), LIMITS).unwrap();
    assert_eq!(read(&lfs, &pointers).await.unwrap(), contents);
    let asked = asked.try_iter().collect::<Vec<Asked>>();
    assert_eq!(asked.len(), 4);
    let first = &asked[0];
    for header in
        ["accept: application/vnd.git-lfs+json", "content-type: application/vnd.git-lfs+json", LOGIN]
    {
        assert!(first.head.contains(header), "{}", first.head);
    }
    let body: serde_json::Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!((&body["operation"], &body["transfers"]), (&"download".into(), &serde_json::json!(["basic"])));
    assert_eq!(body["objects"][1]["oid"], pointers[1].oid.as_str());
    assert!(asked[1..].iter().all(|asked| asked.head.contains("x-given: given")), "{asked:?}");
    assert!(asked[1..].iter().all(|asked| asked.head.contains(LOGIN)), "{asked:?}");
}

#[tokio::test]
async fn a_header_of_the_server_goes_before_the_credential() {
    let wanted = pointer(b"x");
    let known = wanted.clone();
    let (address, asked) = server(move |address, asked| {
        if asked.path.ends_with("/batch") {
            let header = serde_json::json!({ "Authorization": "RemoteAuth token" });
            let href = format!("http://{address}/x");
            let action = |_: &LfsPointer| serde_json::json!({ "href": href, "header": header });
            return answer("200 OK", batch(std::slice::from_ref(&known), action).as_bytes());
        }
        answer("200 OK", b"x")
    });
    let (_dir, credential) = password();
    let lfs = Lfs::new(remote(&format!("http://{address}/shop"), Some(credential)), LIMITS).unwrap();
    read(&lfs, &[wanted]).await.unwrap();
    let last = asked.try_iter().last().unwrap().head;
    assert!(last.contains("authorization: RemoteAuth token") && !last.contains("Basic"), "{last}");
}

#[tokio::test]
async fn another_host_is_asked_over_https_and_never_gets_the_credential() {
    let wanted = pointer(b"content");
    let known = wanted.clone();
    let storage = secure(b"content").await;
    let href = format!("https://localhost:{}/x?signature=1", storage.port);
    let (address, asked) = server(move |_, _| {
        let action = |_: &LfsPointer| serde_json::json!({ "href": href, "header": { "x-given": "1" } });
        answer("200 OK", batch(std::slice::from_ref(&known), action).as_bytes())
    });
    let (_dir, credential) = password();
    let client = Client::builder().tls_certs_only([storage.certificate.clone()]).no_proxy().build().unwrap();
    let remote = remote(&format!("http://{address}/shop"), Some(credential));
    let lfs = Lfs::with_client(remote.clone(), LIMITS, client).unwrap();
    assert_eq!(read(&lfs, std::slice::from_ref(&wanted)).await.unwrap(), [b"content"]);
    assert!(asked.try_iter().next().unwrap().head.contains(LOGIN));
    let got = storage.request().await;
    assert!(got.contains("x-given: 1") && got.contains("GET /x?signature=1 "), "{got}");
    assert!(!got.to_lowercase().contains("authorization"), "{got}");

    // A certificate that no known authority gave is none.
    let storage = secure(b"content").await;
    let href = format!("https://localhost:{}/x?signature=hunter3", storage.port);
    let known = wanted.clone();
    let (address, _asked) = server(move |_, _| {
        let action = |_: &LfsPointer| serde_json::json!({ "href": href });
        answer("200 OK", batch(std::slice::from_ref(&known), action).as_bytes())
    });
    let lfs = Lfs::new(self::remote(&format!("http://{address}/shop"), None), LIMITS).unwrap();
    let error = read(&lfs, &[wanted]).await.unwrap_err();
    assert!(matches!(error, GitError::Unreachable(_)), "{error:?}");
    assert!(!error.to_string().contains("hunter3"), "{error}");
}

#[tokio::test]
async fn what_is_not_the_content_of_the_pointer_is_refused() {
    let wanted = pointer(b"content");
    for (given, says) in [
        (&b"c0ntent"[..], "another sha256"),
        (b"conten", "6 bytes came"),
        (b"content and more", "more than 7 bytes"),
    ] {
        let known = wanted.clone();
        let (address, _asked) = server(move |address, asked| {
            let href = format!("http://{address}/x");
            let action = |_: &LfsPointer| serde_json::json!({ "href": href });
            let listed = batch(std::slice::from_ref(&known), action);
            answer("200 OK", if asked.path == "/x" { given } else { listed.as_bytes() })
        });
        let lfs = Lfs::new(remote(&format!("http://{address}/shop"), None), LIMITS).unwrap();
        let error = read(&lfs, std::slice::from_ref(&wanted)).await.unwrap_err();
        assert!(matches!(error, GitError::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// The failure when the batch API answers `body`, or the content's link `status`.
async fn failure(status: &'static str, body: impl Fn(&str) -> String + Send + 'static) -> GitError {
    let (address, _asked) = server(move |address, asked| match asked.path.as_str() {
        path if path.ends_with("/batch") => answer("200 OK", body(address).as_bytes()),
        _ => answer(status, b"x"),
    });
    let (_dir, credential) = password();
    let lfs = Lfs::new(remote(&format!("http://{address}/shop"), Some(credential)), LIMITS).unwrap();
    let error = read(&lfs, &[pointer(b"x")]).await.unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
    error
}

fn one(action: impl Into<serde_json::Value>) -> String {
    let action = action.into();
    batch(&[pointer(b"x")], |_| action.clone())
}

#[tokio::test]
async fn answers_that_lead_astray_are_refused() {
    let object = |rest: serde_json::Value| {
        let mut object = serde_json::json!({ "oid": pointer(b"x").oid.as_str(), "size": 1 });
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        serde_json::json!({ "objects": [object] }).to_string()
    };
    let link = |href: &str| one(serde_json::json!({ "href": href }));
    for (body, says) in [
        (link("http://localhost:1/x"), "leads to localhost, and is not https"),
        (link("file:///etc/passwd"), "no host"),
        (link("https://u:hunter2@localhost/x"), "user and password"),
        (
            one(serde_json::json!({ "href": "https://localhost:1/x", "header": { "Host": "x" } })),
            "header host",
        ),
        (one(serde_json::json!({ "href": "https://localhost:1/x", "header": { "a\nb": "x" } })), "header"),
        (object(serde_json::json!({ "error": { "code": 404, "message": "gone" } })), "does not have it"),
        (
            object(serde_json::json!({ "error": { "code": 422, "message": "a\u{1b}[31m\nhunter2" } })),
            "422: a",
        ),
        (object(serde_json::json!({ "size": 2 })), "has 2 bytes of it"),
        (object(serde_json::json!({})), "no link"),
        (r#"{"objects":[]}"#.to_owned(), "says nothing"),
        (r#"{"transfer":"tus","objects":[]}"#.to_owned(), "only basic"),
        (r#"{"hash_algo":"sha512","objects":[]}"#.to_owned(), "only sha256"),
        ("<html>hunter2".to_owned(), "no JSON of LFS"),
    ] {
        let shown = body.clone();
        let error = failure("200 OK", move |_| body.clone()).await;
        assert!(matches!(error, GitError::Refused(_)), "{shown}: {error:?}");
        assert!(error.to_string().contains(says), "{shown}: {error}");
        assert!(!error.to_string().contains(['\u{1b}', '\n']), "{error:?}");
    }
    let long = "x".repeat(5 << 20);
    assert!(matches!(failure("200 OK", move |_| long.clone()).await, GitError::TooLarge { .. }));
}

#[tokio::test]
async fn each_status_has_its_own_failure_and_no_redirect_is_followed() {
    let to_content = |address: &str| one(serde_json::json!({ "href": format!("http://{address}/x") }));
    for (status, class, says) in [
        ("401 Unauthorized", "Unauthorized", "secret"),
        ("403 Forbidden", "Unauthorized", "secret"),
        ("404 Not Found", "Refused", "404"),
        ("302 Found\r\nlocation: http://127.0.0.1:1/x", "Refused", "redirect"),
        ("206 Partial Content", "Refused", "206"),
        ("429 Too Many Requests", "Unreachable", "429"),
        ("503 Service Unavailable", "Unreachable", "503"),
    ] {
        let error = failure(status, to_content).await;
        assert!(format!("{error:?}").starts_with(class), "{status}: {error:?}");
        assert!(error.to_string().contains(says), "{status}: {error}");
    }
}
