//! The bounds of a git, and the user that it runs as.

use super::*;
use crate::git::Credential;

/// A mirror whose git notes `what` of itself, beside the repository, for each of its commands.
async fn spied(place: &Place, what: &str) -> Mirror {
    let seen = place.path("seen");
    let text = format!("#!/bin/sh\n{{ {what}; }} >> {}\nexec git \"$@\"\n", seen.display());
    let program = place.program("spy", text);
    let git = Git::find(GitSettings { program, ..place.settings() }).await.unwrap();
    Mirror::open(git, &place.path("mirrors"), place.remote(), LIMITS).await.unwrap()
}

#[tokio::test]
async fn each_git_has_bounds_and_a_group_of_its_own() {
    let place = Place::new();
    place.commit(&[("a", "1")]);
    let what = "read -r p c s pp g rest < /proc/$$/stat; \
                echo $(($$ == g)) $(ulimit -v) $(ulimit -t) $(ulimit -c) $(ulimit -f)";
    let mirror = spied(&place, what).await;
    fetch(&mirror, &main_branch()).await.unwrap();
    let seen = fs::read_to_string(place.path("seen")).unwrap();
    assert!(seen.lines().count() > 5, "{seen}");
    for line in seen.lines() {
        assert!(line.starts_with("1 4194304 1200 0 ") && !line.contains("unlimited"), "{line}");
    }
    // The fetch may write packs up to the mirror's budget.
    assert!(seen.lines().any(|line| line.ends_with(&format!(" {}", (100 << 20) / 512 + 1))), "{seen}");
}

#[tokio::test]
async fn a_git_that_needs_more_than_its_bounds_is_stopped_and_told() {
    for (instead, class) in [
        ("ulimit -S -t 1; while :; do :; done", "TimedOut"),
        ("exec head -c 200000000 /dev/zero > $TMPDIR/x", "TooLarge"),
    ] {
        let place = Place::new();
        place.commit(&[("a", "1")]);
        let text = format!("#!/bin/sh\ncase \"$*\" in *ls-remote*) {instead};; esac\nexec git \"$@\"\n");
        let program = place.program("hungry", text);
        let git = Git::find(GitSettings { program, ..place.settings() }).await.unwrap();
        let mirror = Mirror::open(git, &place.path("mirrors"), place.remote(), LIMITS).await.unwrap();
        let error = mirror.resolve(&main_branch()).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(class), "{instead}: {error:?}");
    }
}

#[tokio::test]
async fn what_a_repository_says_of_filters_and_hooks_runs_nothing() {
    let place = Place::new();
    let mark = place.path("mark");
    let command = format!("touch {}", mark.display());
    let attributes = "* -text filter=evil diff=evil ident export-subst\n";
    let commit = place.commit(&[(".gitattributes", attributes), ("a", "$Format:%H$\r\n")]);
    let mirror = place.mirror().await;
    // As if the mirror's own configuration had been written by somebody else.
    for key in
        ["core.fsmonitor", "filter.evil.smudge", "filter.evil.clean", "diff.evil.textconv", "gpg.program"]
    {
        let mut config = Command::new("git");
        config.arg("--git-dir").arg(mirror.path()).args(["config", key, &command]);
        assert!(config.status().unwrap().success());
    }
    let mut config = Command::new("git");
    config.arg("--git-dir").arg(mirror.path()).args(["config", "core.hooksPath"]).arg(place.dir.path());
    assert!(config.status().unwrap().success());
    for hook in ["reference-transaction", "post-update", "pre-auto-gc"] {
        place.program(hook, format!("#!/bin/sh\n{command}\n"));
    }
    fetch(&mirror, &main_branch()).await.unwrap();
    mirror.gc().await.unwrap();
    let id = mirror.tree_id(&commit, "a").await.unwrap().unwrap();
    let blobs = vec![crate::git::Blob { id, size: 13 }];
    let (sender, received) = std::sync::mpsc::channel();
    drop(mirror.read_blobs(blobs, move |piece| sender.send(piece)).await.unwrap());
    assert_eq!(received.iter().next().unwrap().bytes, "$Format:%H$\r\n");
    assert!(!mark.exists());
}

/// A user that is no one's.
const USER: (u32, u32) = (64_123, 64_124);

/// A place that every user can enter; `None` where this is not root.
fn open_place() -> Option<Place> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let place = Place::new();
    fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    Some(place)
}

#[tokio::test]
async fn git_runs_as_a_user_of_its_own_to_whom_the_mirror_belongs() {
    use std::os::unix::fs::MetadataExt as _;
    let Some(place) = open_place() else { return };
    let commit = place.commit(&[("a", "1")]);
    let own = place.mirror().await;
    fetch(&own, &main_branch()).await.unwrap();
    drop(own);
    // The repository has to be the user's too: git reads no other's.
    let given = Command::new("chown").args(["-R", "64123:64124"]).arg(place.path("repository")).status();
    assert!(given.unwrap().success());
    let seen = place.path("seen");
    fs::write(&seen, "").unwrap();
    fs::set_permissions(&seen, fs::Permissions::from_mode(0o666)).unwrap();
    let note = format!("#!/bin/sh\necho $(id -u) $(id -G) >> {}\nexec git \"$@\"\n", seen.display());
    let program = place.program("spy", note);
    let git = Git::find(GitSettings { program, user: Some(USER), ..place.settings() }).await.unwrap();
    let mirror = Mirror::open(git, &place.path("mirrors"), place.remote(), LIMITS).await.unwrap();
    assert_eq!(fetch(&mirror, &main_branch()).await.unwrap(), commit, "root's mirror was made anew");
    assert!(mirror.tree_id(&commit, "a").await.unwrap().is_some());
    mirror.gc().await.unwrap();
    for file in files(mirror.path()) {
        let found = fs::metadata(&file).unwrap();
        assert_eq!((found.uid(), found.gid()), USER, "{}", file.display());
    }
    assert_eq!(fs::metadata(place.path("mirrors")).unwrap().uid(), 0);
    let seen = fs::read_to_string(seen).unwrap();
    assert!(seen.lines().count() > 5 && seen.lines().all(|line| line == "64123 64124"), "{seen}");
}

#[tokio::test]
async fn a_password_reaches_git_of_another_user() {
    let Some(place) = open_place() else { return };
    let (address, requests) = super::failures::server(
        "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"x\"\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n",
    );
    let file = place.path("secret");
    fs::write(&file, "hunter2\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    super::failures::askpass(&place);
    let git = Git::find(GitSettings { user: Some(USER), ..place.settings() }).await.unwrap();
    let url = GitUrl::parse(&format!("http://{address}/x"), true).unwrap();
    let credential = Some(Credential::Password { username: "me".to_owned(), file });
    let remote = Remote { url, credential };
    let mirror = Mirror::open(git, &place.path("mirrors"), remote, LIMITS).await.unwrap();
    mirror.resolve(&main_branch()).await.unwrap_err();
    let asked = requests.try_iter().collect::<Vec<_>>().join("\n");
    // base64 of me:hunter2
    assert!(asked.contains("Basic bWU6aHVudGVyMg=="), "{asked}");
}

#[tokio::test]
async fn a_folder_that_gits_user_cannot_enter_is_named() {
    let Some(place) = open_place() else { return };
    let closed = place.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let settings = || GitSettings { user: Some(USER), ..place.settings() };
    let home = GitSettings { home: closed.join("home"), ..settings() };
    let error = Git::find(home).await.unwrap_err().to_string();
    assert!(error.contains("user 64123 cannot enter") && error.contains("closed: allow it with"), "{error}");
    let git = Git::find(settings()).await.unwrap();
    let error = Mirror::open(git, &closed.join("mirrors"), place.remote(), LIMITS).await.unwrap_err();
    assert!(error.to_string().contains("cannot enter"), "{error}");
}
