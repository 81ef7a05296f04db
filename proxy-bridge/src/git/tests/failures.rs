//! Each class of failure, from what git really prints, and what reaches a git that is started.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::thread;

use super::*;
use crate::git::Credential;

async fn resolve(place: &Place, url: &str, credential: Option<Credential>) -> GitError {
    let remote = Remote { url: GitUrl::parse(url, true).unwrap(), credential };
    let mirror = Mirror::open(place.git().await, &place.path("mirrors"), remote, LIMITS).await.unwrap();
    mirror.resolve(&main_branch()).await.unwrap_err()
}

/// Answers each HTTP request with `answer`, and returns the address and what asked, as it comes.
pub(super) fn server(answer: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, requests) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let lines = BufReader::new(&connection).lines().map_while(Result::ok);
            let request = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
            let _ = connection.write_all(answer.as_bytes());
            if sender.send(request).is_err() {
                break;
            }
        }
    });
    (address, requests)
}

/// A program that answers as the bridge does.
pub(super) fn askpass(place: &Place) {
    place.program(
        "askpass",
        "#!/bin/sh\ncase $1 in Username*) n=1;; *) n=2;; esac\n\
         exec sed -n ${n}p /proc/self/fd/$SWITCHYARD_ASKPASS_FD\n",
    );
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_unreachable() {
    let place = Place::new();
    let (gone, _) = server("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [
        format!("file://{}", place.path("none").display()),
        format!("http://{gone}/x"),
        format!("http://{closed}/x"),
        format!("git://{closed}/x"),
    ] {
        let error = resolve(&place, &url, None).await;
        assert!(matches!(error, GitError::Unreachable(_)), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn a_refused_password_names_its_file_and_shows_in_no_message() {
    let place = Place::new();
    let (address, requests) = server(
        "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"x\"\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n",
    );
    let url = format!("http://{address}/x");
    let error = resolve(&place, &url, None).await;
    assert!(matches!(error, GitError::Unauthorized { file: None }), "{error:?}");
    let file = place.path("secret");
    fs::write(&file, "hunter2\n").unwrap();
    askpass(&place);
    let credential = Credential::Password { username: "me".to_owned(), file: file.clone() };
    let error = resolve(&place, &url, Some(credential)).await;
    assert!(matches!(&error, GitError::Unauthorized { file: Some(named) } if *named == file), "{error:?}");
    assert!(!error.to_string().contains("hunter2"));
    let asked = requests.try_iter().collect::<Vec<_>>().join("\n");
    // base64 of me:hunter2
    assert!(asked.contains("Basic bWU6aHVudGVyMg=="), "{asked}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let place = Place::new();
    let (elsewhere, requests) = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let answer = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://{elsewhere}/x\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n"
    );
    let (address, _) = server(answer.leak());
    let error = resolve(&place, &format!("http://{address}/x"), None).await;
    assert!(matches!(error, GitError::Refused(_)), "{error:?}");
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn failures_of_ssh_are_told_apart() {
    let place = Place::new();
    let credential = Credential::SshKey { key: place.path("key"), known_hosts: place.path("known") };
    for (printed, class) in [
        (
            "No ED25519 host key is known for h and you have requested strict checking.\n\
             Host key verification failed.",
            "HostKey",
        ),
        (
            "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.",
            "HostKey",
        ),
        ("git@h: Permission denied (publickey).", "Unauthorized"),
        ("ssh: connect to host h port 22: Connection refused", "Unreachable"),
        ("ssh: Could not resolve hostname h: Name or service not known", "Unreachable"),
    ] {
        place.program("ssh", format!("#!/bin/sh\ncat >&2 <<'E'\n{printed}\nE\nexit 255\n"));
        let mut settings = place.settings();
        let search = settings.search_path.to_str().unwrap();
        settings.search_path = format!("{}:{search}", place.dir.path().display()).into();
        let url = GitUrl::parse("git@h:x", false).unwrap();
        let remote = Remote { url, credential: Some(credential.clone()) };
        let git = Git::find(settings).await.unwrap();
        let mirror = Mirror::open(git, &place.path("mirrors"), remote, LIMITS).await.unwrap();
        let error = mirror.resolve(&main_branch()).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(class), "{printed}: {error:?}");
    }
    let error = resolve(&place, "git@h:x", None).await;
    assert!(matches!(&error, GitError::Refused(text) if text.contains("known_hosts")), "{error:?}");
}

#[tokio::test]
async fn a_full_disk_and_a_damaged_server_are_told_apart() {
    for (printed, class) in [
        (
            "fatal: write error: No space left on device\nfatal: fetch-pack: invalid index-pack output",
            "DiskFull",
        ),
        (
            "remote: fatal: loose object 0a1b is corrupt\nfatal: the remote end hung up unexpectedly",
            "Unreachable",
        ),
        ("error: object file ./objects/0a/1b is empty\nfatal: loose object 0a1b is corrupt", "Damaged"),
        ("fatal: transport 'ext' not allowed", "Refused"),
        ("fatal: couldn't find remote ref refs/heads/x", "RefGone"),
        ("fatal: something new", "Other"),
    ] {
        let error = GitError::classify(printed, None);
        assert!(format!("{error:?}").starts_with(class), "{printed}: {error:?}");
    }
}

#[tokio::test]
async fn no_git_and_an_old_one_are_missing() {
    let place = Place::new();
    for program in [place.path("none"), place.program("old", "#!/bin/sh\necho git version 2.38.1\n")] {
        let settings = GitSettings { program, ..place.settings() };
        let error = Git::find(settings).await.unwrap_err();
        assert!(matches!(error, GitError::Missing(_)), "{error:?}");
    }
}

/// A mirror whose git does `instead` when it is to ask the server.
async fn mirror_with(place: &Place, instead: &str, timeout: Duration) -> Mirror {
    let text = format!("#!/bin/sh\ncase \"$*\" in *ls-remote*) {instead};; esac\nexec git \"$@\"\n");
    let program = place.program("other", text);
    let git = Git::find(GitSettings { program, timeout, ..place.settings() }).await.unwrap();
    Mirror::open(git, &place.path("mirrors"), place.remote(), LIMITS).await.unwrap()
}

#[tokio::test]
async fn a_git_that_takes_too_long_is_stopped() {
    let place = Place::new();
    let mirror = mirror_with(&place, "sleep 1000", Duration::from_millis(50)).await;
    let error = mirror.resolve(&main_branch()).await.unwrap_err();
    assert!(matches!(error, GitError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_git_that_nobody_waits_for_ends_with_all_that_it_started() {
    let place = Place::new();
    let fifo = place.path("alive");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // The grandchild holds the fifo open as long as it lives.
    let instead = format!("sh -c 'exec sleep 1000' 3>{} & wait", fifo.display());
    let mirror = mirror_with(&place, &instead, Duration::from_secs(60)).await;
    let opened = tokio::task::spawn_blocking(move || fs::File::open(fifo).unwrap());
    let target = main_branch();
    let file = tokio::select! {
        opened = opened => opened.unwrap(),
        result = mirror.resolve(&target) => panic!("{result:?}"),
    };
    let read = tokio::task::spawn_blocking(move || std::io::read_to_string(file).unwrap());
    assert_eq!(read.await.unwrap(), "");
}

#[tokio::test]
async fn git_gets_nothing_of_the_environment_and_configuration() {
    let place = Place::new();
    place.commit(&[("a", "1")]);
    let text = format!("#!/bin/sh\nenv >> {}\nexec git \"$@\"\n", place.path("seen").display());
    let program = place.program("spy", text);
    let git = Git::find(GitSettings { program, ..place.settings() }).await.unwrap();
    let mirror = Mirror::open(git, &place.path("mirrors"), place.remote(), LIMITS).await.unwrap();
    let hook = place.path("hooked");
    let hooks = mirror.path().join("hooks");
    fs::create_dir_all(&hooks).unwrap();
    place.program("hook", format!("#!/bin/sh\ntouch {}\n", hook.display()));
    fs::copy(place.path("hook"), hooks.join("reference-transaction")).unwrap();
    fetch(&mirror, &main_branch()).await.unwrap();
    assert!(!hook.exists(), "a hook ran");
    let seen = fs::read_to_string(place.path("seen")).unwrap();
    let allowed = ["PATH", "HOME", "TMPDIR", "LC_ALL", "PWD", "OLDPWD", "SHLVL", "_"];
    for name in seen.lines().filter_map(|line| Some(line.split_once('=')?.0)) {
        assert!(allowed.contains(&name) || name.starts_with("GIT_"), "{name}");
    }
    assert_eq!(fs::read_dir(place.path("home")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_repository_of_this_machine_is_read_below_its_folders_only() {
    let place = Place::new();
    place.commit(&[("a", "1")]);
    let inside = place.path("inside");
    fs::create_dir(&inside).unwrap();
    let git = Git::find(GitSettings { local: vec![inside.clone()], ..place.settings() }).await.unwrap();
    let url = GitUrl::parse(&format!("file://{}/shop", inside.display()), false).unwrap();
    let remote = Remote { url, credential: None };
    let mirror = Mirror::open(git, &place.path("mirrors"), remote, LIMITS).await.unwrap();
    let error = mirror.resolve(&main_branch()).await.unwrap_err();
    assert!(matches!(error, GitError::Unreachable(_)), "{error:?}");
    // Nothing was there when the settings were read.
    let shop = inside.join("shop");
    std::os::unix::fs::symlink(place.repository(), &shop).unwrap();
    let error = mirror.resolve(&main_branch()).await.unwrap_err();
    assert!(matches!(&error, GitError::Refused(what) if what.contains("--allow-local")), "{error:?}");
    let limits = crate::git::LfsLimits { bytes: 1, timeout: Duration::from_secs(1) };
    assert!(matches!(mirror.lfs(limits).await, Err(GitError::Refused(_))));
    fs::remove_file(&shop).unwrap();
    fs::rename(place.repository(), &shop).unwrap();
    fetch(&mirror, &main_branch()).await.unwrap();
}
