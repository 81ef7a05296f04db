//! Sources whose commits have to be signed.

use super::*;

const VERIFIED: &str = "projects = [{ path = \"apps/*\" }]\nverify = { signers = \"{dir}/signers\" }";

/// Makes a key pair, and returns the public key.
fn key(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
    assert!(made.unwrap().success());
    path.with_extension("pub")
}

#[tokio::test]
async fn only_commits_of_known_signers_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (alice, bob) = (key(dir.path(), "alice"), key(dir.path(), "bob"));
    let line = format!("alice@x {}", fs::read_to_string(&alice).unwrap());
    fs::write(dir.path().join("signers"), line).unwrap();
    let scene = Scene::in_folder(dir, VERIFIED).await;
    let unsigned = scene.commit(&[("apps/api/main.ts", "1")]);
    let text = scene.refusal(&unsigned).await;
    assert!(text.contains("is unsigned") && text.contains("/signers"), "{text}");
    let sign = |key: &Path| {
        let key = format!("user.signingkey={}", key.display());
        let args = ["-c", "gpg.format=ssh", "-c", &key, "commit", "-q", "-S", "--allow-empty", "-m", "x"];
        scene.git(&args, "");
        scene.git(&["rev-parse", "HEAD"], "").parse().unwrap()
    };
    let text = scene.refusal(&sign(&bob)).await;
    assert!(text.contains("unknown signer"), "{text}");
    let read = scene.read(&sign(&alice)).await;
    scene.receive(&read, "api").await.unwrap();
}
