//! Mirrors that were damaged, or left by a git that was killed.

use super::*;

#[tokio::test]
async fn what_a_killed_fetch_left_is_removed_when_the_mirror_is_opened() {
    let place = Place::new();
    place.commit(&[("a.ts", "1")]);
    let mirror = place.mirror().await;
    fetch(&mirror, &main_branch()).await.unwrap();
    let path = mirror.path().to_owned();
    drop(mirror);
    let left = [
        "shallow.lock",
        "packed-refs.lock",
        "gc.pid",
        "objects/pack/tmp_pack_abc",
        "objects/0a/tmp_obj_x",
        "objects/pack/pack-1.keep",
        "refs/switchyard/shop/x.lock",
        "objects/tmp_objdir-1/x",
    ];
    for name in left {
        fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
        fs::write(path.join(name), "").unwrap();
    }
    fs::create_dir_all(path.with_extension("git.new")).unwrap();
    let second = place.commit(&[("a.ts", "2")]);
    let mirror = place.mirror().await;
    for name in left {
        assert!(!path.join(name).exists(), "{name}");
    }
    assert!(!path.with_extension("git.new").exists());
    assert_eq!(fetch(&mirror, &main_branch()).await.unwrap(), second);
}

#[tokio::test]
async fn a_lock_that_another_git_made_since_the_mirror_was_opened_does_not_keep_it_from_fetching() {
    let place = Place::new();
    let commit = place.commit(&[("a.ts", "1")]);
    let mirror = place.mirror().await;
    fs::write(mirror.path().join("shallow.lock"), "").unwrap();
    assert_eq!(fetch(&mirror, &main_branch()).await.unwrap(), commit);
}

#[tokio::test]
async fn a_mirror_has_one_user() {
    let place = Place::new();
    let mirror = place.mirror().await;
    let error = place.mirror_within(LIMITS).await.unwrap_err();
    assert!(matches!(&error, GitError::Other(text) if text.contains("another process")), "{error}");
    drop(mirror);
    place.mirror().await;
}

#[tokio::test]
async fn a_damaged_mirror_is_told_and_replaced() {
    let place = Place::new();
    let commit = place.commit(&[("a/x", "1"), ("a/y", "2")]);
    for damage in ["pack", "object", "tree", "config", "ref"] {
        let mirror = place.mirror().await;
        fetch(&mirror, &main_branch()).await.unwrap();
        if damage != "pack" {
            unpack(&place, &mirror);
        }
        let object = |id: &str| mirror.path().join("objects").join(&id[..2]).join(&id[2..]);
        match damage {
            "pack" => {
                let pack = pack(&mirror);
                fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).unwrap();
                fs::OpenOptions::new().write(true).open(pack).unwrap().set_len(40).unwrap();
            }
            "object" => {
                let object = object(commit.as_str());
                fs::remove_file(&object).unwrap();
                fs::write(object, "not an object").unwrap();
            }
            "tree" => fs::remove_file(object(&place.run(&["rev-parse", "HEAD:a"], ""))).unwrap(),
            "config" => fs::write(mirror.path().join("HEAD"), "").unwrap(),
            _ => fs::write(mirror.path().join("refs/switchyard/shop").join(commit.as_str()), "x").unwrap(),
        }
        let failed = match damage {
            "ref" => {
                let resolved = mirror.resolve(&main_branch()).await.unwrap();
                mirror.fetch("shop", &resolved).await.unwrap_err()
            }
            _ => mirror.tree_ids(&commit, &["a/x", "none"]).await.map(drop).unwrap_err(),
        };
        assert!(matches!(failed, GitError::Damaged(_)), "{damage}: {failed:?}");
        mirror.repair().await.unwrap();
        fetch(&mirror, &main_branch()).await.unwrap();
        assert!(mirror.tree_id(&commit, "a/x").await.unwrap().is_some(), "{damage}");
        mirror.repair().await.unwrap();
    }
}

#[tokio::test]
async fn a_repository_over_the_budget_is_refused_with_the_number() {
    let place = Place::new();
    let noise = (0..20_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_string()).collect::<String>();
    place.commit(&[("a", &noise)]);
    let mirror = place.mirror_within(MirrorLimits { budget: 10_000, free: 0 }).await.unwrap();
    let error = fetch(&mirror, &main_branch()).await.unwrap_err();
    assert!(matches!(error, GitError::TooLarge { bytes: 10_001.., budget: 10_000 }), "{error:?}");
}

#[tokio::test]
async fn a_disk_without_the_room_that_has_to_stay_free_is_reported() {
    let place = Place::new();
    place.commit(&[("a", "1")]);
    let full = MirrorLimits { free: u64::MAX, ..LIMITS };
    let error = place.mirror_within(full).await.unwrap_err();
    assert!(matches!(error, GitError::DiskFull(_)), "{error:?}");
    drop(place.mirror().await);
    // One that is there already is opened, since it may have the commit.
    let mirror = place.mirror_within(full).await.unwrap();
    let error = fetch(&mirror, &main_branch()).await.unwrap_err();
    assert!(matches!(error, GitError::DiskFull(_)), "{error:?}");
}

fn pack(mirror: &Mirror) -> PathBuf {
    let all = files(&mirror.path().join("objects/pack"));
    all.into_iter().find(|file| file.extension() == Some(OsStr::new("pack"))).unwrap()
}

/// Makes a file of each object.
fn unpack(place: &Place, mirror: &Mirror) {
    let aside = place.path("aside.pack");
    fs::rename(pack(mirror), &aside).unwrap();
    for file in files(&mirror.path().join("objects/pack")) {
        fs::remove_file(file).unwrap();
    }
    let mut unpack = Command::new("git");
    unpack.arg("--git-dir").arg(mirror.path()).args(["unpack-objects", "-q"]);
    assert!(unpack.stdin(fs::File::open(aside).unwrap()).status().unwrap().success());
}

#[tokio::test]
async fn many_fetches_ask_for_a_collection() {
    let place = Place::new();
    let commit = place.commit(&[("a", "1")]);
    let mirror = place.mirror().await;
    fetch(&mirror, &main_branch()).await.unwrap();
    assert!(!mirror.needs_gc().await.unwrap());
    let pack = pack(&mirror);
    for number in 0..50 {
        for extension in ["pack", "idx"] {
            let copy = pack.with_file_name(format!("pack-{number:040x}.{extension}"));
            fs::copy(pack.with_extension(extension), copy).unwrap();
        }
    }
    assert!(mirror.needs_gc().await.unwrap());
    mirror.gc().await.unwrap();
    assert!(!mirror.needs_gc().await.unwrap());
    assert!(mirror.tree_id(&commit, "a").await.unwrap().is_some());
}

#[tokio::test]
async fn a_fetch_that_nobody_waits_for_does_not_stop_the_next_one() {
    let place = Place::new();
    let commit = place.commit(&[("a", "1")]);
    let fifo = place.path("started");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let (once, path) = (place.path("once"), place.path("mirrors"));
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *--depth=1*) if mkdir {}; then for m in {}/*.git; do\n\
         touch $m/shallow.lock; done; : > {}; sleep 1000; fi;; esac\nexec git \"$@\"\n",
        once.display(),
        path.display(),
        fifo.display()
    );
    let program = place.program("slow", text);
    let git = Git::find(GitSettings { program, ..place.settings() }).await.unwrap();
    let mirror = Mirror::open(git, &path, place.remote(), LIMITS).await.unwrap();
    let started = tokio::task::spawn_blocking(move || fs::read(fifo).unwrap());
    let target = main_branch();
    tokio::select! {
        _ = started => {}
        result = fetch(&mirror, &target) => panic!("{result:?}"),
    }
    assert!(mirror.path().join("shallow.lock").exists());
    assert_eq!(fetch(&mirror, &main_branch()).await.unwrap(), commit);
}
