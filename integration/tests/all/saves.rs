//! Saves and copies that are held up in the middle, with a fixed quiet time and with
//! `--debounce auto`: no version has half of one.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use serde_json::{Map, json};
use switchyard_contract::event::EventType;
use switchyard_integration::events::Events;
use switchyard_integration::fixtures::{half, hello, pair};
use switchyard_integration::probe::Probe;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;
use switchyard_integration::{eventually, within};

const DEBOUNCES: [&str; 2] = ["500ms", "auto"];

/// The time for which a writer is held up: longer than a complete save waits with `auto`, shorter
/// than the quiet time.
const PAUSE: Duration = Duration::from_millis(200);

/// Files of a large project, each of which has to be of one version and complete. A busy machine
/// has to write them within five seconds, after which a project is read whatever its state.
const PARTS: usize = 150;

const LARGE: &str = "
    const labels = new Set();
    for (let part = 0; part < 150; part++) {
        const text = await Deno.readTextFile(`${import.meta.dirname}/parts/${part}.txt`);
        labels.add(text.match(/^([a-z]+) .* end$/)?.[1] ?? 'torn');
    }
    export default { fetch: () => new Response([...labels].join('+')) };
";

/// The ways in which editors save.
#[derive(Debug, Clone, Copy)]
enum Editor {
    /// VS Code: truncates the file and writes it.
    InPlace,
    /// Helix, Kate, `sed -i`: writes a new file and moves it over the old one.
    Rename,
    /// Vim: moves the old file away, writes a new one, removes the old one.
    Backup,
    /// JetBrains: writes a new file, moves the old one away, moves the new one in.
    SafeWrite,
}

const EDITORS: [Editor; 4] = [Editor::InPlace, Editor::Rename, Editor::Backup, Editor::SafeWrite];

impl Editor {
    /// Saves `text`, and is held up this long in each state that is incomplete.
    async fn save(self, path: &Path, text: &str, pause: Duration) -> io::Result<()> {
        let beside = |end: &str| path.with_file_name(format!("main.ts{end}"));
        let (new, backup, old) = (beside("___tmp___"), beside("~"), beside("___old___"));
        match self {
            Self::InPlace => {
                let file = OpenOptions::new().write(true).open(path)?;
                file.set_len(0)?;
                write(file, text, pause).await
            }
            Self::Rename => {
                write(File::create(&new)?, text, pause).await?;
                fs::rename(&new, path)
            }
            Self::Backup => {
                fs::rename(path, &backup)?;
                tokio::time::sleep(pause).await;
                write(File::create(path)?, text, pause).await?;
                fs::remove_file(&backup)
            }
            Self::SafeWrite => {
                write(File::create(&new)?, text, pause).await?;
                fs::rename(path, &old)?;
                tokio::time::sleep(pause).await;
                fs::rename(&new, path)?;
                fs::remove_file(&old)
            }
        }
    }
}

/// Writes a text in two pieces, and closes the file.
async fn write(mut file: File, text: &str, pause: Duration) -> io::Result<()> {
    let (first, second) = text.split_at(text.len() / 2);
    file.write_all(first.as_bytes())?;
    tokio::time::sleep(pause).await;
    file.write_all(second.as_bytes())
}

/// Answers with the label if it is complete, and with `torn` if it is cut anywhere in its comments.
fn long(label: &str) -> String {
    let head = "var label = 'torn';\nexport default { fetch: () => new Response(label) };\n";
    format!("{head}{}label = {label:?};\n", "// filler\n".repeat(200))
}

fn part(label: &str) -> String {
    format!("{label} {} end", "filler ".repeat(100))
}

struct Scene {
    volume: Volume,
    events: Events,
    probe: Probe,
    _router: Router,
}

impl Scene {
    /// Serves the project `a` of a volume.
    async fn start(volume: Volume, debounce: &str) -> Self {
        let router = Router::builder(&volume).flag("debounce", debounce).start().await;
        let mut events = router.events().await;
        events.wait_live("a").await;
        let probe = Probe::start(&router.public, "/a/").await;
        Self { volume, events, probe, _router: router }
    }

    /// Checks that these labels were served by one version each, and that nothing else was built.
    async fn finish(self, labels: &[&str]) {
        self.probe.finish().await.no_failures().none_mixed().versions_monotonic(labels);
        let events = self.events;
        assert_eq!(events.count(EventType::ReloadFailed, "a"), 0, "{:#?}", events.all());
        assert_eq!(events.count(EventType::ReloadLive, "a"), labels.len(), "{:#?}", events.all());
    }
}

#[tokio::test]
async fn a_save_is_live_before_the_quiet_time_is_over_where_that_is_automatic() {
    for debounce in DEBOUNCES {
        let mut scene = Scene::start(Volume::with("a", long("zero")), debounce).await;
        let path = scene.volume.path("a/main.ts");
        for editor in EDITORS {
            let mut waits = Vec::new();
            for label in ["one", "two", "three"] {
                editor.save(&path, &long(&format!("{label} {editor:?}")), Duration::ZERO).await.unwrap();
                let live = scene.events.wait_live("a").await;
                waits.push(live.data.timings_ms.debounce.expect("the project was waited for"));
            }
            // One of three, as this machine may be busy.
            let shortest = waits.iter().copied().fold(f64::INFINITY, f64::min);
            assert_eq!(shortest < 400.0, debounce == "auto", "{debounce}, {editor:?}: {waits:?}");
        }
    }
}

#[tokio::test]
async fn an_editor_that_is_held_up_in_the_middle_of_a_save_is_waited_for() {
    for debounce in DEBOUNCES {
        let mut scene = Scene::start(Volume::with("a", long("zero")), debounce).await;
        let path = scene.volume.path("a/main.ts");
        let labels = ["zero", "in place", "rename", "backup", "safe write"];
        for (editor, label) in EDITORS.into_iter().zip(&labels[1..]) {
            editor.save(&path, &long(label), PAUSE).await.unwrap();
            scene.events.wait_live("a").await;
        }
        scene.finish(&labels).await;
    }
}

#[tokio::test]
async fn a_file_that_stays_open_is_waited_for_however_slowly_it_is_written() {
    for debounce in DEBOUNCES {
        let mut scene = Scene::start(Volume::with("a", long("one")), debounce).await;
        for (label, pause) in [("two", 100), ("three", 1000)] {
            scene.volume.write_slowly("a/main.ts", &long(label), 4, Duration::from_millis(pause)).await;
            scene.events.wait_live("a").await;
        }
        scene.finish(&["one", "two", "three"]).await;
    }
}

#[tokio::test]
async fn files_that_are_open_at_once_are_one_change() {
    for debounce in DEBOUNCES {
        let volume = Volume::new();
        let project = volume.project("a").file("main.ts", pair());
        project.file("a.ts", half("a", "one")).file("b.ts", half("b", "one")).write();
        let mut scene = Scene::start(volume, debounce).await;
        let mut files = ["a", "b"].map(|name| {
            let path = scene.volume.path(&format!("a/{name}.ts"));
            (File::create(path).unwrap(), half(name, "two"))
        });
        for (file, text) in &mut files {
            file.write_all(text.as_bytes()).expect("the file can be written");
        }
        for (file, _) in files {
            tokio::time::sleep(PAUSE).await;
            drop(file);
        }
        scene.events.wait_live("a").await;
        scene.finish(&["one:one", "two:two"]).await;
    }
}

#[tokio::test]
async fn files_that_are_sent_one_after_the_other_and_renamed_are_one_change() {
    for debounce in DEBOUNCES {
        let volume = Volume::new();
        let project = volume.project("a").file("main.ts", pair());
        project.file("a.ts", half("a", "one")).file("b.ts", half("b", "one")).write();
        let mut scene = Scene::start(volume, debounce).await;
        // rsync does this over a slow line.
        for name in ["a", "b"] {
            let [temporary, path] = [format!("a/.{name}.ts.Xy12Zw"), format!("a/{name}.ts")];
            let file = File::create(scene.volume.path(&temporary)).unwrap();
            write(file, &half(name, "two"), PAUSE).await.unwrap();
            scene.volume.rename(&temporary, &path);
        }
        scene.events.wait_live("a").await;
        scene.finish(&["one:one", "two:two"]).await;
    }
}

#[tokio::test]
async fn a_copied_project_is_live_when_all_of_it_was_copied() {
    for debounce in DEBOUNCES {
        let volume = Volume::with("b", hello("b"));
        let from = tempfile::tempdir().unwrap();
        fs::create_dir_all(from.path().join("a/parts")).unwrap();
        fs::write(from.path().join("a/main.ts"), LARGE).unwrap();
        // One file is a pipe: `cp` reads it as slowly as it is written.
        let pipe = from.path().join("a/parts/75.txt");
        for index in (0..PARTS).filter(|index| *index != 75) {
            fs::write(from.path().join(format!("a/parts/{index}.txt")), part("one")).unwrap();
        }
        mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let router = Router::builder(&volume).flag("debounce", debounce).start().await;
        let mut events = router.events().await;
        let arguments = ["-r", "--copy-contents"];
        let mut copy = Command::new("cp");
        copy.args(arguments).arg(from.path().join("a")).arg(volume.root());
        let mut copy = copy.spawn().unwrap();
        let mut writer = None;
        eventually("cp reads the pipe", || {
            // Fails while nobody has it open for reading. Must not leak into processes of other tests.
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            writer = rustix::fs::open(&pipe, flags, Mode::empty()).ok();
            std::future::ready(writer.is_some())
        })
        .await;
        let pipe = File::from(writer.unwrap());
        tokio::time::sleep(PAUSE).await;
        write(pipe, &part("one"), PAUSE).await.unwrap();
        assert!(copy.wait().unwrap().success());
        events.wait_live("a").await;
        assert_eq!(router.public.get("/a/").await.text(), "one");
        assert_eq!(events.count(EventType::ReloadFailed, "a"), 0, "{:#?}", events.all());
        assert_eq!(events.count(EventType::ReloadLive, "a"), 1, "{:#?}", events.all());
    }
}

/// Runs git in a work tree, with a filter that takes its time.
fn git(tree: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"];
    let filter = ["-c", "filter.slow.clean=cat", "-c", "filter.slow.smudge=sleep 0.2; cat"];
    let mut command = Command::new("git");
    command.current_dir(tree).args(identity).args(filter).args(arguments);
    let output = command.output().expect("git can be started");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_git_checkout_that_is_held_up_between_two_files_is_one_change() {
    for debounce in DEBOUNCES {
        let volume = Volume::with("a", LARGE);
        let tree = volume.path("a");
        // Held up after the first file, when this still looks like a save, and once more later.
        volume.write("a/.gitattributes", "parts/1.txt filter=slow\nparts/75.txt filter=slow\n");
        git(&tree, &["init", "--quiet", "--initial-branch=one"]);
        for label in ["one", "two"] {
            if label == "two" {
                git(&tree, &["checkout", "--quiet", "-b", "two"]);
            }
            for index in 0..PARTS {
                volume.write(&format!("a/parts/{index}.txt"), part(label));
            }
            git(&tree, &["add", "--all"]);
            git(&tree, &["commit", "--quiet", "--message", "x"]);
        }
        git(&tree, &["checkout", "--quiet", "one"]);
        let mut scene = Scene::start(volume, debounce).await;
        let checkout = tokio::task::spawn_blocking(move || git(&tree, &["checkout", "--quiet", "two"]));
        within("the checkout", checkout).await.unwrap();
        scene.events.wait_live("a").await;
        scene.finish(&["one", "two"]).await;
    }
}

/// Number of packages that are installed.
const PACKAGES: usize = 20;

/// Writes a project whose packages come from tars in `from`, and answers with their labels.
fn project_with_packages(volume: &Volume, from: &Path) {
    let [mut imports, mut names] = [String::new(), String::new()];
    let (mut dependencies, mut locked) = (Map::new(), Map::new());
    for n in 0..PACKAGES {
        _ = writeln!(imports, "import p{n} from 'p{n}';");
        _ = write!(names, "p{n}, ");
        let tar = format!("file:{}", from.join(format!("p{n}.tgz")).display());
        locked.insert(format!("node_modules/p{n}"), json!({ "version": "1.0.0", "resolved": tar }));
        dependencies.insert(format!("p{n}"), tar.into());
    }
    locked.insert(String::new(), json!({ "dependencies": dependencies }));
    let main = "export default { fetch: () => new Response([...labels].join('+')) };";
    let project =
        volume.project("a").file("main.js", format!("{imports}const labels = new Set([{names}]);\n{main}"));
    let lock = json!({ "name": "a", "lockfileVersion": 3, "requires": true, "packages": locked });
    let manifest = json!({ "name": "a", "type": "module", "dependencies": dependencies });
    project.file("package.json", manifest.to_string()).file("package-lock.json", lock.to_string()).write();
}

/// Makes the tars of packages with this label, and has npm install them.
fn npm_ci(project: &Path, from: &Path, label: &str) {
    for n in 0..PACKAGES {
        let content = format!("export default {label:?};\n");
        let manifest =
            json!({ "name": format!("p{n}"), "version": "1.0.0", "type": "module", "exports": "./i.js" });
        let file = File::create(from.join(format!("p{n}.tgz"))).expect("the file can be made");
        let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
        for (name, text) in [("package.json", manifest.to_string()), ("i.js", content)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("package/{name}"), text.as_bytes())
                .expect("the file can be written");
        }
        let packed = tar.into_inner().expect("the file can be written");
        packed.finish().expect("the file can be written");
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--offline", "--no-audit", "--no-fund", "--cache"]).arg(from.join("cache"));
    let output = npm.current_dir(project).output().expect("npm can be started");
    assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn an_installation_by_npm_under_a_live_project_is_one_change() {
    for debounce in DEBOUNCES {
        let (volume, from) = (Volume::new(), tempfile::tempdir().unwrap());
        project_with_packages(&volume, from.path());
        npm_ci(&volume.path("a"), from.path(), "one");
        let mut scene = Scene::start(volume, debounce).await;
        let path = scene.volume.path("a");
        let install = tokio::task::spawn_blocking(move || npm_ci(&path, from.path(), "two"));
        within("npm ci", install).await.unwrap();
        scene.events.wait_live("a").await;
        scene.probe.finish().await.no_failures().versions_monotonic(&["one", "two"]);
        let events = scene.events;
        assert_eq!(events.count(EventType::ReloadFailed, "a"), 0, "{:#?}", events.all());
        assert_eq!(events.count(EventType::ReloadLive, "a"), 2, "{:#?}", events.all());
    }
}
