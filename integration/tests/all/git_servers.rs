//! The git servers of the harness, proven with git's own client.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;

use switchyard_integration::git::{
    Answer, CuttingProxy, Dulwich, Fault, GitDaemon, HttpBackend, Jgit, Repository, Sshd, git,
};
use switchyard_integration::{eventually, within};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// A client with a bare repository of its own.
struct Client {
    home: TempDir,
    settings: Vec<String>,
    ssh: Option<String>,
}

impl Client {
    async fn new() -> Self {
        let client = Self {
            home: tempfile::tempdir().expect("a folder can be made"),
            settings: Vec::new(),
            ssh: None,
        };
        client.ok(&["init", "--quiet", "--bare", "--initial-branch=none", "."]).await;
        client
    }

    fn with(mut self, setting: &str, value: impl AsRef<Path>) -> Self {
        self.settings.push(format!("{setting}={}", value.as_ref().display()));
        self
    }

    fn with_password(self, user: &str, password: &str) -> Self {
        let helper = format!("!f() {{ echo username={user}; echo password={password}; }}; f");
        self.with("credential.helper", helper)
    }

    fn with_ssh(mut self, key: &Path, known_hosts: &Path) -> Self {
        self.ssh = Some(Sshd::command(key, known_hosts));
        self
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = git(self.home.path());
        command.current_dir(self.home.path());
        if let Some(ssh) = &self.ssh {
            command.env("GIT_SSH_COMMAND", ssh);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        within("git ends", command.args(arguments).output()).await.expect("it is there")
    }

    async fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).expect("it is there").trim_end().to_owned()
    }

    /// Fetches all branches and tags, and returns the head of `main`.
    async fn fetch(&self, url: &str) -> String {
        self.ok(&["fetch", "--quiet", "--prune", url, "+refs/*:refs/*"]).await;
        self.ok(&["rev-parse", "refs/heads/main"]).await
    }

    /// Returns git's message about a fetch that fails.
    async fn fails(&self, url: &str) -> String {
        let output = self.run(&["fetch", "--quiet", url, "+refs/*:refs/*"]).await;
        assert!(!output.status.success(), "a fetch of {url} succeeds");
        String::from_utf8(output.stderr).expect("it is there")
    }
}

/// A repository with one commit, and that commit's id.
async fn repository() -> (Repository, String) {
    let repository = Repository::create().await;
    let commit = repository.commit(&[("apps/api/main.ts", "export default {};\n")], "One project").await;
    (repository, commit)
}

/// Text that does not get smaller by compression.
fn noise(length: usize) -> String {
    let mut state = 88_172_645_463_325_252_u64;
    let mut text = String::new();
    while text.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{state:016x}"));
    }
    text
}

#[tokio::test]
async fn a_repository_changes_in_the_ways_of_a_push() {
    let (repository, first) = repository().await;
    assert_eq!(repository.branch("feature/x").await, first);
    let change = repository.on("feature/x").file("b \"quoted\"\\\n", "b").executable("run.sh", "#!/bin/sh\n");
    let change = change.symlink("link", "apps").gitlink("module", &first).lfs_pointer("big.bin", b"big");
    let second = change.commit("All kinds of entries").await;
    let tree = repository.git_output(&["ls-tree", "-rz", &second]).await;
    let modes = |tree: &str| -> Vec<(String, String)> {
        let entries = tree.split_terminator('\0').map(|entry| entry.split_once('\t').unwrap());
        entries.map(|(head, name)| (head[..6].to_owned(), name.to_owned())).collect()
    };
    let expected = [
        ("100644", "apps/api/main.ts"),
        ("100644", "b \"quoted\"\\\n"),
        ("100644", "big.bin"),
        ("120000", "link"),
        ("160000", "module"),
        ("100755", "run.sh"),
    ];
    assert_eq!(modes(&tree), expected.map(|(mode, name)| (mode.to_owned(), name.to_owned())));
    let pointer = repository.git_output(&["show", &format!("{second}:big.bin")]).await;
    assert!(pointer.starts_with("version https://git-lfs.github.com/spec/v1\noid sha256:"), "{pointer}");
    assert!(pointer.ends_with("\nsize 3"), "{pointer}");

    let third = repository.on("feature/x").remove("apps").remove("module").commit("Fewer").await;
    assert_eq!(modes(&repository.git_output(&["ls-tree", "-rz", &third]).await).len(), 4);
    assert_eq!(repository.git_output(&["rev-parse", &format!("{third}~2")]).await, first);

    repository.tag("v1.0.0", &first).await;
    repository.tag("v1.0.0", &third).await;
    let tag = repository.annotated_tag("v1.1.0", &third, "Second").await;
    assert_eq!(repository.git_output(&["rev-parse", "v1.0.0", "v1.1.0"]).await, format!("{third}\n{tag}"));
    assert_eq!(repository.git_output(&["rev-parse", "v1.1.0^{commit}"]).await, third);
    repository.delete_tag("v1.0.0").await;

    repository.force_push("feature/x", &first).await;
    assert_eq!(repository.head("feature/x").await, Some(first.clone()));
    let alone = repository.on("main").unrelated().file("other.ts", "").commit("Another history").await;
    assert_eq!(repository.head("main").await, Some(alone.clone()));
    assert_eq!(repository.git_output(&["rev-list", "--count", &alone]).await, "1");
    repository.delete_branch("feature/x").await;
    assert_eq!(repository.head("feature/x").await, None);
    assert_eq!(repository.head("feature").await, None);
    repository.git_output(&["fsck", "--strict"]).await;
}

#[tokio::test]
async fn ids_are_the_same_in_each_run_and_names_are_not_checked_on_demand() {
    let ((one, first), (_other, second)) = tokio::join!(repository(), repository());
    assert_eq!(first, second);
    assert_eq!(first.len(), 40);
    let entries = [("100644", "..", "x"), ("120000", ".git", "/etc"), ("160000", "module", first.as_str())];
    let commit = one.commit_unchecked("hostile", &entries).await;
    let names = one.git_output(&["ls-tree", "--name-only", &commit]).await;
    assert_eq!(BTreeSet::from_iter(names.lines()), BTreeSet::from(["..", ".git", "module"]));

    let sha256 = Repository::with_ids("sha256").await;
    assert_eq!(sha256.commit(&[("a", "")], "a").await.len(), 64);
}

#[tokio::test]
async fn a_thousand_projects_are_one_commit() {
    let repository = Repository::create().await;
    let paths: Vec<_> = (0..1000).map(|index| format!("apps/project-{index}/main.ts")).collect();
    let files: Vec<_> = paths.iter().map(|path| (path.as_str(), path.as_str())).collect();
    let commit = repository.commit(&files, "Many").await;
    assert_eq!(repository.git_output(&["ls-tree", "-r", "--name-only", &commit]).await.lines().count(), 1000);
    let daemon = GitDaemon::start(&repository).await;
    assert_eq!(Client::new().await.fetch(daemon.url()).await, commit);
}

#[tokio::test]
async fn git_daemon_serves_what_is_pushed_while_it_runs() {
    let (repository, commit) = repository().await;
    let daemon = GitDaemon::start(&repository).await;
    let client = Client::new().await;
    assert_eq!(client.fetch(daemon.url()).await, commit);
    let next = repository.commit(&[("apps/api/main.ts", "// changed\n")], "Changed").await;
    assert_eq!(client.fetch(daemon.url()).await, next);
    assert_ne!(next, commit);
    let partial = Client::new().await;
    partial.ok(&["fetch", "--quiet", "--filter=blob:none", "--depth=1", daemon.url(), &commit]).await;
    assert_eq!(partial.ok(&["rev-parse", "FETCH_HEAD"]).await, commit);
    assert!(daemon.log().text().contains("upload-pack"), "{}", daemon.log().text());
}

#[tokio::test]
async fn dulwich_and_jgit_serve_a_fetch() {
    let (repository, commit) = repository().await;
    let (dulwich, jgit) = tokio::join!(Dulwich::start(&repository), Jgit::start(&repository));
    for url in [dulwich.url(), jgit.url()] {
        assert_eq!(Client::new().await.fetch(url).await, commit, "{url}");
    }
}

#[tokio::test]
async fn http_with_tls_needs_the_authority() {
    let (repository, commit) = repository().await;
    let server = HttpBackend::start(&repository).await;
    assert_eq!(Client::new().await.fetch(&server.url()).await, commit);
    let message = Client::new().await.fails(&server.tls_url()).await;
    assert!(message.contains("certificate"), "{message}");
    let trusting = Client::new().await.with("http.sslCAInfo", server.certificate());
    assert_eq!(trusting.fetch(&server.tls_url()).await, commit);
}

#[tokio::test]
async fn http_refuses_wrong_passwords() {
    let (repository, commit) = repository().await;
    let server = HttpBackend::start(&repository).await;
    server.require_password("deploy", "right");
    let message = Client::new().await.fails(&server.url()).await;
    assert!(message.contains("could not read Username"), "{message}");
    let message = Client::new().await.with_password("deploy", "wrong").fails(&server.url()).await;
    assert!(message.contains("Authentication failed"), "{message}");
    let client = Client::new().await.with_password("deploy", "right");
    assert_eq!(client.fetch(&server.url()).await, commit);
    server.require_password("deploy", "rotated");
    let message = client.fails(&server.url()).await;
    assert!(message.contains("Authentication failed"), "{message}");
}

#[tokio::test]
async fn http_answers_with_the_status_that_it_is_set_to() {
    let (repository, commit) = repository().await;
    let server = HttpBackend::start(&repository).await;
    let client = Client::new().await.with_password("deploy", "any");
    for (status, expected) in [
        (503, "error: 503"),
        (500, "error: 500"),
        (403, "error: 403"),
        (404, "not found"),
        (401, "Authentication failed"),
    ] {
        server.answer(Answer::Status(status));
        let message = client.fails(&server.url()).await;
        assert!(message.contains(expected), "{status}: {message}");
    }
    server.answer(Answer::Repository);
    assert_eq!(client.fetch(&server.url()).await, commit);
}

#[tokio::test]
async fn a_redirect_leads_to_another_host_which_sees_no_password() {
    let (repository, commit) = repository().await;
    let server = HttpBackend::start(&repository).await;
    server.require_password("deploy", "right");
    let client =
        Client::new().await.with_password("deploy", "right").with("http.sslCAInfo", server.certificate());
    for (url, port) in [(server.url(), "http://localhost:"), (server.tls_url(), "https://localhost:")] {
        server.answer(Answer::Redirect);
        let refusing = Client::new().await.with("http.sslCAInfo", server.certificate());
        let message = refusing.with("http.followRedirects", "false").fails(&url).await;
        assert!(message.contains("302") && !message.contains("localhost"), "{port}: {message}");
        assert_eq!(client.fetch(&url).await, commit);
        server.answer(Answer::Repository);
        assert_eq!(client.fetch(&url).await, commit);
    }
    let with = |host: &str, text: &str| {
        let requests = server.requests();
        requests.iter().filter(|line| line.starts_with(host) && line.contains(text)).count()
    };
    eventually("the requests are logged", || {
        let logged = with("localhost GET", "\"-\"") >= 2 && with("127.0.0.1 GET", "200 \"Basic ") >= 2;
        std::future::ready(logged)
    })
    .await;
    assert_eq!(with("localhost", "Basic"), 0, "{:?}", server.requests());
}

#[tokio::test]
async fn ssh_refuses_unknown_keys_on_both_sides() {
    let (repository, commit) = repository().await;
    let server = Sshd::start(&repository).await;
    let client = Client::new().await.with_ssh(&server.key(), &server.known_hosts());
    assert_eq!(client.fetch(server.url()).await, commit);

    let unknown_client = Client::new().await.with_ssh(&server.other_key(), &server.known_hosts());
    let message = unknown_client.fails(server.url()).await;
    assert!(message.contains("Permission denied (publickey)"), "{message}");
    let changed = Client::new().await.with_ssh(&server.key(), &server.other_known_hosts());
    let message = changed.fails(server.url()).await;
    assert!(message.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{message}");
    let unknown = Client::new().await.with_ssh(&server.key(), Path::new("/dev/null"));
    let message = unknown.fails(server.url()).await;
    assert!(message.contains("Host key verification failed"), "{message}");
}

#[tokio::test]
async fn ssh_runs_nothing_but_git() {
    let (repository, _) = repository().await;
    let server = Sshd::start(&repository).await;
    let ssh = Sshd::command(&server.key(), &server.known_hosts());
    let (user_and_host, port) = (server.url().trim_start_matches("ssh://"), server.address().port());
    let user = user_and_host.split('@').next().unwrap();
    let mut command = tokio::process::Command::new("sh");
    command.args(["-c", &format!("{ssh} -p {port} {user}@127.0.0.1 'echo reached'")]).kill_on_drop(true);
    let output = within("ssh ends", command.output()).await.unwrap();
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("unrecognized command"), "{stderr}");
}

#[tokio::test]
async fn a_fetch_that_is_cut_in_the_middle_of_the_pack_fails() {
    let (repository, _) = repository().await;
    let commit = repository.commit(&[("noise", &noise(400_000))], "A large file").await;
    let (http, daemon, ssh) = tokio::join!(
        HttpBackend::start(&repository),
        GitDaemon::start(&repository),
        Sshd::start(&repository)
    );
    let known = tempfile::NamedTempFile::new().unwrap();
    for (url, address) in [
        (http.url(), http.address()),
        (http.tls_url(), http.tls_address()),
        (daemon.url().to_owned(), daemon.address()),
        (ssh.url().to_owned(), ssh.address()),
    ] {
        let proxy = CuttingProxy::start(address).await;
        std::fs::write(known.path(), ssh.known_at(proxy.address())).unwrap();
        let client = async || {
            let client = Client::new().await.with("http.sslCAInfo", http.certificate());
            client.with_ssh(&ssh.key(), known.path())
        };
        let through = proxy.url(&url);
        assert_eq!(client().await.fetch(&through).await, commit, "{url}");
        // Nearly all of it is the pack.
        assert!(proxy.longest() > 150_000, "{url}: {}", proxy.longest());
        proxy.fail(Fault::Cut(proxy.longest() / 2));
        let cut = client().await;
        cut.fails(&through).await;
        proxy.failed(1).await;
        assert!(!cut.run(&["rev-parse", "--verify", "refs/heads/main"]).await.status.success(), "{url}");
        proxy.fail(Fault::None);
        assert_eq!(cut.fetch(&through).await, commit, "{url}");
    }
}

#[tokio::test]
async fn a_fetch_that_stalls_lasts_until_the_connection_ends() {
    let (repository, _) = repository().await;
    repository.commit(&[("noise", &noise(400_000))], "A large file").await;
    let daemon = GitDaemon::start(&repository).await;
    let proxy = CuttingProxy::start(daemon.address()).await;
    proxy.fail(Fault::Stall(100_000));
    let (client, url) = (Client::new().await, proxy.url(daemon.url()));
    let mut fetch = Box::pin(client.fails(&url));
    tokio::select! {
        message = &mut fetch => panic!("it ends before the connection does: {message}"),
        () = proxy.failed(1) => {}
    }
    drop(proxy);
    fetch.await;
}

#[tokio::test]
async fn nothing_is_left_of_a_server_that_is_dropped() {
    let (repository, _) = repository().await;
    let (http, ssh) = tokio::join!(HttpBackend::start(&repository), Sshd::start(&repository));
    let (addresses, folder) = ([http.address(), ssh.address()], http.certificate());
    let mut session = TcpStream::connect(ssh.address()).await.unwrap();
    // The greeting: a process of sshd's, in a group of its own, has the connection.
    within("sshd greets", session.read_exact(&mut [0; 4])).await.unwrap();
    drop((http, ssh));
    for address in addresses {
        // The children of a server have its socket: they are killed with it, and not waited for.
        eventually(&format!("nothing listens at {address}"), || async {
            TcpStream::connect(address).await.is_err()
        })
        .await;
    }
    // A connection that is reset has ended too.
    let _ = within("the session ends with its server", session.read_to_end(&mut Vec::new())).await;
    assert!(!folder.exists());
}
