//! Submodules: named by a commit, read from a mirror of their own.

use super::*;
use crate::git::{Resolved, Submodule, TreeLimits, TreeMode};

const BOUNDS: TreeLimits = TreeLimits { files: 100, bytes: 10 << 20, path_bytes: 1000 };

/// Commits `text` as `.gitmodules`, without asking git whether it likes it, and follows it.
async fn read(place: &Place, text: &str) -> Result<Vec<Submodule>, GitError> {
    let commit = place.commit(&[(".gitmodules", text)]);
    let mirror = place.mirror().await;
    fetch(&mirror, &main_branch()).await?;
    mirror.submodules(&commit).await
}

#[tokio::test]
async fn a_submodule_is_read_from_its_own_mirror_at_exactly_its_commit() {
    let other = Place::new();
    let wanted = other.commit(&[("lib/x.ts", "wanted")]);
    other.commit(&[("lib/x.ts", "newer")]);
    let place = Place::new();
    let text = format!("[submodule \"lib\"]\n\tpath = vendor/lib\n\turl = {}\n", other.url());
    place.commit(&[(".gitmodules", &text), ("main.ts", "1")]);
    let link = format!("160000,{wanted},vendor/lib");
    place.run(&["update-index", "--add", "--cacheinfo", &link], "");
    place.run(&["commit", "-q", "-m", "x"], "");
    let mirror = place.mirror().await;
    let commit = fetch(&mirror, &main_branch()).await.unwrap();

    let submodules = mirror.submodules(&commit).await.unwrap();
    let entries = mirror.tree(&commit, "", BOUNDS).await.unwrap();
    let gitlink = entries.iter().find(|entry| entry.mode == TreeMode::Gitlink).unwrap();
    let submodule = submodules.iter().find(|submodule| submodule.path == gitlink.path).unwrap();
    let url = submodule.git_url(&mirror.remote().url, false).unwrap();
    let remote = Remote { url, credential: None };
    let inner = Mirror::open(place.git().await, &place.path("mirrors"), remote, LIMITS).await.unwrap();
    let resolved = Resolved { commit: gitlink.id.clone(), name: None };
    inner.fetch("shop", &resolved).await.unwrap();
    let inner_entries = inner.tree(&gitlink.id, "", BOUNDS).await.unwrap();
    assert_eq!(inner_entries.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["lib/x.ts"]);
    let blob = other.run(&["rev-parse", &format!("{wanted}:lib/x.ts")], "");
    assert_eq!(inner_entries[0].id.as_str(), blob);
    assert!(inner.submodules(&gitlink.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_relative_url_is_one_of_the_same_server() {
    let place = Place::new();
    let text = "[submodule \"a\"]\n\tpath = a\n\turl = ../other.git\n";
    let found = read(&place, text).await.unwrap();
    let url = format!("file://{}/other.git", place.dir.path().display());
    assert_eq!(found, [Submodule { path: "a".to_owned(), url }]);
}

#[tokio::test]
async fn a_file_of_submodules_reads_no_other_file() {
    let place = Place::new();
    let outside = place.path("outside");
    fs::write(&outside, "[submodule \"x\"]\n\tpath = x\n\turl = https://h/secret\n").unwrap();
    let text = format!("[include]\n\tpath = {}\n", outside.display());
    assert_eq!(read(&place, &text).await.unwrap(), []);
}

#[tokio::test]
async fn hostile_files_of_submodules_are_refused() {
    for text in [
        "[submodule \"a\"]\n\tpath = -u\n\turl = https://h/x\n",
        "[submodule \"a\"]\n\tpath = \"a\\nb\"\n\turl = https://h/x\n",
        "[submodule \"../../x\"]\n\tpath = ../x\n\turl = https://h/x\n",
        "[submodule \"a\"]\n\tpath = .git/hooks\n\turl = https://h/x\n",
        "[submodule \"a\"]\n\tpath = a\n\turl = ../../../../../../../../../../../x\n",
        "[submodule \"a\"]\n\tpath = a\n",
        "[submodule \"a\"\n",
    ] {
        let error = read(&Place::new(), text).await.unwrap_err();
        assert!(matches!(error, GitError::Refused(_)), "{text}: {error:?}");
    }
    let place = Place::new();
    for url in ["ext::sh -c touch% x", "--upload-pack=x", "-u", "ssh://-oProxyCommand=x/y", "https://h/a\\nb"]
    {
        let text = format!("[submodule \"a\"]\n\tpath = a\n\turl = \"{url}\"\n");
        // Some are refused with the commit, by git; the others when they are to be opened.
        let opened = read(&place, &text).await.and_then(|found| found[0].git_url(&place.url(), true));
        assert!(matches!(opened, Err(GitError::Refused(_))), "{url}: {opened:?}");
    }
}

#[tokio::test]
async fn only_a_plain_and_short_file_names_submodules() {
    let place = Place::new();
    let long = "# long\n".repeat(40_000);
    let error = read(&place, &long).await.unwrap_err();
    assert!(matches!(error, GitError::TooLarge { .. }), "{error:?}");
    let place = Place::new();
    let commit = place.commit(&[(".gitmodules/x", "")]);
    let mirror = place.mirror().await;
    let error = match fetch(&mirror, &main_branch()).await {
        Ok(_) => mirror.submodules(&commit).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, GitError::Refused(_)), "{error:?}");
    let place = Place::new();
    let blob = place.run(&["hash-object", "-w", "--stdin"], "/etc/passwd");
    let tree = place.run(&["mktree"], &format!("120000 blob {blob}\t.gitmodules\n"));
    let commit: ObjectId = place.run(&["commit-tree", "-m", "x", &tree], "").parse().unwrap();
    place.run(&["update-ref", "refs/heads/main", commit.as_str()], "");
    let mirror = place.mirror().await;
    let error = match fetch(&mirror, &main_branch()).await {
        Ok(_) => mirror.submodules(&commit).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, GitError::Refused(_)), "{error:?}");
}
