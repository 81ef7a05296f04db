//! The end of commits that nothing needs any more, in the mirror of a source and in those of its
//! submodules.

use std::sync::Arc;

use super::Context;
use super::mirrors::Mirrors;
use crate::git::{GitError, Mirror, ObjectId};
use crate::sources::commit::{OtherMirrors as _, ReadError, submodules};
use crate::sources::settings::SourceSettings;

/// Mirrors, each with the commits that stay.
type Kept = Vec<(Arc<Mirror>, Vec<ObjectId>)>;

/// Lets go of all commits but those that are in use, and collects garbage when it is due.
pub(super) async fn prune(context: Arc<Context>, settings: Arc<SourceSettings>, used: Vec<ObjectId>) {
    let _permit = context.gits.acquire().await;
    let source = settings.name.as_str();
    let pruned = async {
        for (mirror, commits) in kept(&context.mirrors, &settings, used).await? {
            mirror.retain(source, &commits).await?;
            if mirror.needs_gc().await? {
                mirror.gc().await?;
            }
        }
        Ok::<_, ReadError>(())
    };
    if let Err(error) = pruned.await {
        tracing::warn!(source, "old commits stay in the mirror: {error}");
    }
}

/// Returns what stays. A repository can be the source's own and that of a submodule.
async fn kept(mirrors: &Mirrors, settings: &SourceSettings, used: Vec<ObjectId>) -> Result<Kept, ReadError> {
    let own = mirrors.open(settings).await?;
    let mut found = Vec::new();
    for commit in &used {
        match submodules(&own, settings, commit).await {
            Ok(some) => found.extend(some.into_iter().map(|one| (one.remote, Some(one.commit)))),
            // The commit is gone, or what it names may no longer be read: a read would fetch it again.
            Err(ReadError::Invalid(_) | ReadError::Git(GitError::Damaged(_))) => {}
            Err(error) => return Err(error),
        }
    }
    // Those of earlier commits, too.
    found.extend(mirrors.others(settings.name.as_str()).into_iter().map(|remote| (remote, None)));
    let mut kept = vec![(own, used)];
    for (remote, commit) in found {
        let mirror = mirrors.open_other(settings, remote).await?;
        match kept.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &mirror)) {
            Some((_, commits)) => commits.extend(commit),
            None => kept.push((mirror, Vec::from_iter(commit))),
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;
    use std::time::Duration;
    use std::{env, fs};

    use super::*;
    use crate::git::{Git, GitSettings, Resolved};
    use crate::sources::commit;
    use crate::sources::settings::SourcesFile;
    use crate::upload_limits::UploadLimits;

    fn git(repository: &Path, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]);
        let output = command.args(args).current_dir(repository).env("GIT_CONFIG_GLOBAL", "/dev/null");
        let output = output.output().unwrap();
        assert!(output.status.success(), "git {args:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit_all(repository: &Path) -> ObjectId {
        git(repository, &["commit", "-q", "--allow-empty", "-m", "x"]);
        git(repository, &["rev-parse", "HEAD"]).parse().unwrap()
    }

    fn refs(mirror: &Mirror) -> Vec<String> {
        let refs = git(mirror.path(), &["for-each-ref", "--format=%(refname:lstrip=3)"]);
        refs.lines().map(str::to_owned).collect()
    }

    #[tokio::test]
    async fn commits_of_submodules_stay_as_long_as_those_that_name_them() {
        let dir = tempfile::tempdir().unwrap();
        let (shop, lib) = (dir.path().join("shop"), dir.path().join("lib"));
        for repository in [&shop, &lib] {
            fs::create_dir(repository).unwrap();
            git(repository, &["init", "-q", "."]);
        }
        fs::create_dir(shop.join("api")).unwrap();
        fs::write(shop.join("api/main.ts"), "").unwrap();
        // One that is another repository, and one that is the source's own.
        let modules = "[submodule \"a\"]\n\tpath = api/lib\n\turl = ../lib\n\
                       [submodule \"b\"]\n\tpath = api/own\n\turl = ../shop\n";
        fs::write(shop.join(".gitmodules"), modules).unwrap();
        git(&shop, &["add", "."]);
        let own = commit_all(&shop);
        let submodules = [commit_all(&lib), commit_all(&lib)];
        let commits = submodules.each_ref().map(|submodule| {
            for (path, commit) in [("api/lib", submodule), ("api/own", &own)] {
                let info = format!("160000,{commit},{path}");
                git(&shop, &["update-index", "--add", "--cacheinfo", &info]);
            }
            commit_all(&shop)
        });
        let file = dir.path().join("sources.toml");
        let root = dir.path().display();
        let text = format!(
            "[[source]]\nname = \"shop\"\nurl = \"file://{root}/shop\"\nprojects = [{{ path = \"api\" }}]\n\
             submodules = [\"api/lib\", \"api/own\"]\nallow = [\"file://{root}/*\"]\n"
        );
        fs::write(&file, text).unwrap();
        let local = vec![dir.path().to_owned()];
        let settings = SourcesFile::open(&file, &local).unwrap().sources()[0].clone();
        let found = Git::find(GitSettings {
            program: "git".into(),
            search_path: env::var_os("PATH").unwrap(),
            home: dir.path().join("home"),
            askpass: dir.path().join("askpass"),
            timeout: Duration::from_secs(60),
            user: None,
            local,
        });
        let mirrors = Mirrors::new(found.await.unwrap(), dir.path().join("mirrors"));
        let mirror = mirrors.open(&settings).await.unwrap();
        for commit in &commits {
            mirror.fetch("shop", &Resolved { commit: commit.clone(), name: None }).await.unwrap();
            commit::read(&mirror, &mirrors, &settings, commit, &UploadLimits::default()).await.unwrap();
        }

        let [_, newest] = commits;
        let gone = "0a1b".repeat(10).parse().unwrap();
        let kept = kept(&mirrors, &settings, vec![newest.clone(), gone]).await.unwrap();
        for (mirror, commits) in &kept {
            mirror.retain("shop", commits).await.unwrap();
        }
        let mut expected = vec![newest.to_string(), own.to_string()];
        expected.sort();
        assert_eq!(refs(&mirror), expected);
        let [_, submodule] = submodules;
        assert_eq!(kept.len(), 2);
        assert_eq!(refs(&kept[1].0), [submodule.to_string()]);
    }
}
