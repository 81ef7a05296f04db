//! Commits that are signed with real keys, or should be.

use super::*;
use crate::git::SignatureFault;

/// Makes a key pair, and returns the path of the public key.
fn key(place: &Place, name: &str) -> PathBuf {
    let path = place.path(name);
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
    assert!(made.unwrap().success());
    path.with_extension("pub")
}

fn sign(place: &Place, key: &Path) -> ObjectId {
    let key = format!("user.signingkey={}", key.display());
    place.run(&["-c", "gpg.format=ssh", "-c", &key, "commit", "-q", "-S", "--allow-empty", "-m", "ok"], "");
    place.head()
}

/// Makes a commit of another text with the head of `commit`, and follows it.
fn forge(place: &Place, commit: &ObjectId, from: &str, to: &str) -> ObjectId {
    let object = place.run(&["cat-file", "commit", commit.as_str()], "") + "\n";
    assert!(object.contains(from), "{object}");
    let args = ["hash-object", "-t", "commit", "-w", "--stdin", "--literally"];
    let forged = place.run(&args, &object.replace(from, to));
    place.run(&["update-ref", "refs/heads/main", &forged], "");
    forged.parse().unwrap()
}

fn signers(place: &Place, keys: &[(&str, &Path)]) -> PathBuf {
    let lines = keys.iter().map(|(name, key)| format!("{name} {}", fs::read_to_string(key).unwrap()));
    let path = place.path("signers");
    fs::write(&path, lines.collect::<String>()).unwrap();
    path
}

fn fault(error: &GitError) -> SignatureFault {
    match error {
        GitError::Untrusted { fault, .. } => *fault,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_signed_commit_tells_its_signer() {
    let place = Place::new();
    let (alice, bob) = (key(&place, "alice"), key(&place, "bob"));
    place.commit(&[("a", "1")]);
    let commit = sign(&place, &alice);
    let mirror = place.mirror().await;
    fetch(&mirror, &main_branch()).await.unwrap();
    let signers = signers(&place, &[("bob@x", &bob), ("alice@x", &alice)]);
    let signer = mirror.verify(&commit, &signers).await.unwrap();
    assert_eq!(signer.principal, "alice@x");
    assert!(signer.key.starts_with("ED25519 SHA256:"), "{signer:?}");
    assert!(!files(mirror.path()).iter().any(|file| file.display().to_string().contains("vtag")));
}

#[tokio::test]
async fn each_fault_of_a_signature_has_its_own_words() {
    let place = Place::new();
    let (alice, bob, carol) = (key(&place, "alice"), key(&place, "bob"), key(&place, "carol"));
    let signers = signers(
        &place,
        &[
            ("alice@x", &alice),
            ("carol@x valid-before=\"20200101\"", &carol),
            ("bob@x namespaces=\"file\"", &bob),
        ],
    );
    let unsigned = place.commit(&[("a", "1")]);
    let mirror = place.mirror().await;
    let mut told = Vec::new();
    let good = sign(&place, &alice);
    fetch(&mirror, &main_branch()).await.unwrap();
    for (commit, expected) in [
        (unsigned.clone(), SignatureFault::Unsigned),
        (sign(&place, &bob), SignatureFault::UnknownSigner),
        (sign(&place, &key(&place, "dave")), SignatureFault::UnknownSigner),
        (sign(&place, &carol), SignatureFault::OutsideValidity),
        (forge(&place, &good, "ok", "evil"), SignatureFault::Bad),
        (forge(&place, &good, "U1NI", "AAAA"), SignatureFault::Bad),
        (forge(&place, &good, "BEGIN SSH", "BEGIN PGP"), SignatureFault::OtherKind),
        (forge(&place, &good, "BEGIN SSH", "BEGIN"), SignatureFault::OtherKind),
    ] {
        mirror.fetch("shop", &crate::git::Resolved { commit: commit.clone(), name: None }).await.unwrap();
        let error = mirror.verify(&commit, &signers).await.unwrap_err();
        assert_eq!(fault(&error), expected, "{error}");
        told.push(error.to_string());
    }
    assert!(told[0].starts_with(&format!("commit {unsigned} is unsigned")), "{told:?}");
    assert!(told[1].contains("unknown signer") && told[3].contains("expired"), "{told:?}");
    assert!(told[4].contains("bad signature") && told[6].contains("not with an ssh key"), "{told:?}");
}

#[tokio::test]
async fn a_signature_of_pgp_starts_no_gpg() {
    let place = Place::new();
    let alice = key(&place, "alice");
    place.commit(&[("a", "1")]);
    let signed = sign(&place, &alice);
    let forged = forge(&place, &signed, "BEGIN SSH SIGNATURE", "BEGIN PGP SIGNATURE");
    for name in ["gpg", "gpg2", "gpgsm"] {
        place.program(name, format!("#!/bin/sh\ntouch {}\n", place.path("started").display()));
    }
    let mut settings = place.settings();
    let search = settings.search_path.to_str().unwrap();
    settings.search_path = format!("{}:{search}", place.dir.path().display()).into();
    let git = Git::find(settings).await.unwrap();
    let mirror = Mirror::open(git, &place.path("mirrors"), place.remote(), LIMITS).await.unwrap();
    fetch(&mirror, &main_branch()).await.unwrap();
    let error = mirror.verify(&forged, &signers(&place, &[("alice@x", &alice)])).await.unwrap_err();
    assert_eq!(fault(&error), SignatureFault::OtherKind);
    assert!(!place.path("started").exists());
}

#[tokio::test]
async fn a_wrong_file_of_signers_is_named() {
    let place = Place::new();
    let alice = key(&place, "alice");
    place.commit(&[("a", "1")]);
    let commit = sign(&place, &alice);
    let mirror = place.mirror().await;
    fetch(&mirror, &main_branch()).await.unwrap();
    let malformed = place.path("malformed");
    fs::write(&malformed, "# comment\nalice@x no key\n").unwrap();
    for (file, says) in [
        (place.path("none"), "none: No such file"),
        (PathBuf::from("signers"), "must be absolute"),
        (place.path("repository"), "not a plain file"),
        (malformed, "malformed: line 2: "),
    ] {
        let error = mirror.verify(&commit, &file).await.unwrap_err();
        assert!(matches!(error, GitError::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_commit_of_sha256_is_verified() {
    let place = Place::new();
    fs::remove_dir_all(place.repository()).unwrap();
    place.run(&["init", "-q", "-b", "main", "--object-format=sha256", "."], "");
    let alice = key(&place, "alice");
    let commit = sign(&place, &alice);
    let mirror = place.mirror().await;
    fetch(&mirror, &main_branch()).await.unwrap();
    let signers = signers(&place, &[("alice@x", &alice)]);
    assert_eq!(mirror.verify(&commit, &signers).await.unwrap().principal, "alice@x");
}
