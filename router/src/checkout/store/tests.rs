//! Tests of the store of checkouts.

use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::checkout::bounds::Interruption;
use crate::checkout::node_modules::NodeModules;

mod prepared;
mod times;

fn bounds() -> ReadBounds<'static> {
    ReadBounds { limits: ReadLimits::default(), pace: &|_| Ok(()) }
}

struct Volume {
    dir: tempfile::TempDir,
    store: Store,
    name: Tenant,
}

impl Volume {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("blog")).unwrap();
        let store = Store::open(&dir.path().join("state")).unwrap();
        Self { dir, store, name: Tenant::first(&ProjectName::parse("blog").unwrap()) }
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.dir.path().join("blog").join(path), text).unwrap();
    }

    /// Writes a file beside the project.
    fn beside(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn includes(&self, entry: &str) {
        self.write("deno.json", &format!(r#"{{"switchyard": {{"include": ["{entry}"]}}}}"#));
    }

    fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        let place = Place::on_volume(self.dir.path().join("blog"));
        self.store.snapshot(&self.name.project, &place, bounds(), &mut HashCache::default())
    }

    fn refused(&self) -> String {
        match self.snapshot() {
            Err(SnapshotError::Invalid(diagnostic)) => diagnostic.message,
            other => panic!("{other:?}"),
        }
    }

    fn take(&self, previous: Option<&Version>) -> (Version, Checkout) {
        let snapshot = self.snapshot().unwrap();
        let version = Version::new(&self.name, snapshot.digest);
        let checkout = self.store.make(&version, &snapshot, previous, &|_| Ok(())).unwrap();
        (version, checkout)
    }
}

fn inode(path: &Path) -> u64 {
    path.metadata().unwrap().ino()
}

#[test]
fn a_checkout_keeps_the_files_of_its_time() {
    let volume = Volume::new();
    volume.write("main.ts", "1");
    let (_, first) = volume.take(None);
    volume.write("main.ts", "2");
    let (_, second) = volume.take(None);
    assert_eq!(fs::read_to_string(first.dir.join("main.ts")).unwrap(), "1");
    assert_eq!(fs::read_to_string(second.dir.join("main.ts")).unwrap(), "2");
    assert!(first.dir.ends_with("blog"), "the project's own name is its folder's");
}

#[test]
fn unchanged_files_are_links_to_the_previous_checkout_never_to_the_volume() {
    let volume = Volume::new();
    volume.write("same.ts", "same");
    volume.write("main.ts", "1");
    let (version, first) = volume.take(None);
    volume.write("main.ts", "2");
    let (_, second) = volume.take(Some(&version));
    assert_eq!(inode(&first.dir.join("same.ts")), inode(&second.dir.join("same.ts")));
    assert_ne!(inode(&first.dir.join("same.ts")), inode(&volume.dir.path().join("blog/same.ts")));
    assert_ne!(inode(&first.dir.join("main.ts")), inode(&second.dir.join("main.ts")));
}

#[test]
fn packages_are_a_link_to_the_volumes() {
    let volume = Volume::new();
    volume.write("main.ts", "1");
    volume.beside("blog/node_modules/dep/i.js", "1");
    let (_, checkout) = volume.take(None);
    let target = fs::read_link(checkout.dir.join("node_modules")).unwrap();
    assert_eq!(target, volume.dir.path().canonicalize().unwrap().join("blog/node_modules"));
    // An empty folder counts as none.
    fs::remove_dir_all(volume.dir.path().join("blog/node_modules/dep")).unwrap();
    let (_, checkout) = volume.take(None);
    assert!(checkout.dir.join("node_modules").symlink_metadata().is_err());
}

#[test]
fn a_package_that_is_a_link_into_the_project_leads_to_the_checkout() {
    let volume = Volume::new();
    volume.write("main.ts", "1");
    for path in
        ["blog/packages/say/i.js", "blog/packages/a/node_modules/x/i.js", "blog/node_modules/dep/i.js"]
    {
        volume.beside(path, "1");
    }
    volume.beside("secret/i.js", "1");
    let blog = volume.dir.path().canonicalize().unwrap().join("blog");
    fs::create_dir(blog.join("node_modules/@me")).unwrap();
    let link = |target: &str, at: &str| std::os::unix::fs::symlink(target, blog.join(at)).unwrap();
    link("../../packages/say", "node_modules/@me/say");
    link("../../secret", "node_modules/secret");
    link("..", "node_modules/self");
    link("../../say", "packages/a/node_modules/say");
    let (first, checkout) = volume.take(None);
    let leads = |at: &str| fs::canonicalize(checkout.dir.join(at)).unwrap();
    assert_eq!(leads("node_modules/@me/say"), checkout.dir.join("packages/say"));
    assert_eq!(leads("packages/a/node_modules/say"), checkout.dir.join("packages/say"));
    assert_eq!(leads("node_modules/self"), checkout.dir);
    assert_eq!(leads("node_modules/dep"), blog.join("node_modules/dep"));
    assert_eq!(leads("packages/a/node_modules/x"), blog.join("packages/a/node_modules/x"));
    assert_eq!(leads("node_modules/secret"), blog.with_file_name("secret"), "the cell refuses that");
    let found = checkout.node_modules();
    assert_eq!(found.own, Some(blog.join("node_modules")));
    assert_eq!(
        found.others,
        [("packages/a/node_modules".to_owned(), blog.join("packages/a/node_modules"))].into()
    );
    assert!(
        found.cover_entry("main.ts")
            && NodeModules { own: None, ..found.clone() }.cover_entry("packages/a/main.ts")
    );

    volume.write("main.ts", "2");
    let (_, second) = volume.take(Some(&first));
    let link = |checkout: &Checkout, at: &str| checkout.dir.join(at).symlink_metadata().unwrap().ino();
    assert_eq!(link(&checkout, "node_modules/dep"), link(&second, "node_modules/dep"), "shared");
    let member = fs::canonicalize(second.dir.join("node_modules/@me/say")).unwrap();
    assert_eq!(member, second.dir.join("packages/say"), "its own");
    volume.write("main.ts", "1");

    // Changed packages are linked anew in the same checkout, and links to removed ones are removed.
    fs::remove_file(blog.join("node_modules/@me/say")).unwrap();
    fs::remove_file(blog.join("node_modules/self")).unwrap();
    fs::remove_dir_all(blog.join("packages/a/node_modules")).unwrap();
    let (_, again) = volume.take(None);
    assert_eq!(fs::read_link(again.dir.join("node_modules")).unwrap(), blog.join("node_modules"));
    assert!(again.dir.join("packages/a/node_modules").symlink_metadata().is_err());
    assert!(again.node_modules().others.is_empty());
    let names = fs::read_dir(again.dir.parent().unwrap()).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".node_modules", "blog"], "nothing is left beside it");
}

#[test]
fn packages_below_the_project_that_are_replaced_by_a_link_later_are_not_the_versions() {
    let volume = Volume::new();
    volume.write("main.ts", "1");
    volume.beside("blog/lib/node_modules/x/i.js", "1");
    volume.beside("secret/i.js", "1");
    let (_, checkout) = volume.take(None);
    let packages = volume.dir.path().join("blog/lib/node_modules");
    fs::remove_dir_all(&packages).unwrap();
    std::os::unix::fs::symlink("../../secret", &packages).unwrap();
    assert!(checkout.node_modules().others.is_empty());
}

#[test]
fn a_checkout_of_an_earlier_process_is_trusted_only_when_it_hashes_to_its_name() {
    let volume = Volume::new();
    volume.write("main.ts", "1");
    let (version, checkout) = volume.take(None);
    let reopened = Store::open(&volume.dir.path().join("state")).unwrap();
    assert!(reopened.find(&version, &|_| Ok(())).is_some());
    let reopened = Store::open(&volume.dir.path().join("state")).unwrap();
    fs::remove_file(checkout.dir.join("main.ts")).unwrap();
    assert!(reopened.find(&version, &|_| Ok(())).is_none());
}

#[test]
fn a_file_that_changed_since_the_snapshot_is_not_copied() {
    let volume = Volume::new();
    volume.write("main.ts", "1");
    let snapshot = volume.snapshot().unwrap();
    volume.write("main.ts", "2");
    let version = Version::new(&volume.name, snapshot.digest);
    let made = volume.store.make(&version, &snapshot, None, &|_| Ok(()));
    assert!(matches!(made, Err(CheckoutError::Moved)));
    assert!(names(&volume.store.root).unwrap().is_empty(), "nothing is left behind");
}

#[test]
fn pruning_keeps_checkouts_in_use_and_the_newest() {
    let volume = Volume::new();
    let mut versions = Vec::new();
    for n in 0..5 {
        volume.write("main.ts", &n.to_string());
        let (version, _) = volume.take(None);
        let folder = volume.store.folder(&volume.name, &version.digest.short());
        let made = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000 + n);
        fs::File::open(folder).unwrap().set_modified(made).unwrap();
        versions.push(version);
    }
    volume.store.prune(&volume.name, 2, &HashSet::from([versions[0].digest.short()]));
    let left: Vec<_> =
        versions.iter().map(|version| volume.store.find(version, &|_| Ok(())).is_some()).collect();
    assert_eq!(left, [true, false, false, true, true]);
}

#[test]
fn a_checkout_with_a_handle_is_not_pruned() {
    let volume = Volume::new();
    volume.write("main.ts", "1");
    let (version, checkout) = volume.take(None);
    volume.store.prune(&volume.name, 0, &HashSet::new());
    assert!(checkout.dir.join("main.ts").is_file());
    drop(checkout);
    volume.store.prune(&volume.name, 0, &HashSet::new());
    assert!(volume.store.find(&version, &|_| Ok(())).is_none());
    assert!(names(&volume.store.root).unwrap().is_empty());
}

#[test]
fn checkouts_are_listed_with_the_newest_first() {
    let volume = Volume::new();
    let versions = ["1", "2"].map(|text| {
        volume.write("main.ts", text);
        let (version, _) = volume.take(None);
        version
    });
    let old = fs::File::open(volume.store.folder(&volume.name, &versions[1].digest.short())).unwrap();
    old.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let listed: Vec<_> = volume.store.list(&volume.name).into_iter().map(|(short, _)| short).collect();
    assert_eq!(listed, versions.map(|version| version.digest.short()));
    assert!(volume.store.list(&Tenant::first(&ProjectName::parse("blo").unwrap())).is_empty());
    assert!(volume.store.find_by_digits(&volume.name, "../blog").is_none());
}

#[test]
fn includes_lie_beside_the_project_in_the_checkout_and_count() {
    let volume = Volume::new();
    volume.write("main.ts", "1");
    let (alone, _) = volume.take(None);
    for (entry, file) in [("../_shared", "_shared/mod.ts"), ("../deno.json", "deno.json")] {
        volume.includes(entry);
        volume.beside(file, "{}");
        let (first, checkout) = volume.take(None);
        assert_eq!(fs::read_to_string(checkout.dir.parent().unwrap().join(file)).unwrap(), "{}");
        volume.beside(file, "{ }");
        let (second, _) = volume.take(Some(&first));
        assert!(second != first && first != alone, "{entry}");
        let own = volume.store.find_by_digits(&volume.name, &second.digest.short()).unwrap().own_digest();
        assert_eq!(
            own,
            volume.store.find_by_digits(&volume.name, &first.digest.short()).unwrap().own_digest()
        );
    }
}

#[test]
fn a_projects_folder_is_included_only_by_projects_that_it_shares_with() {
    let volume = Volume::new();
    volume.write("main.ts", "1");
    volume.beside("shop/lib/mod.ts", "1");
    for entry in ["../shop", "../shop/lib", "../shop/lib/mod.ts", "../shop/gone"] {
        volume.includes(entry);
        for config in [
            "{}",
            r#"{"switchyard": {"share": ["web", "blo"]}}"#,
            r#"{"switchyard": {"share": "blog"}}"#,
            "{",
        ] {
            volume.beside("shop/deno.json", config);
            let begin = format!(
                "\"switchyard.include\" in deno.json names {entry:?}, which shop does not share with blog: \
                 put \"switchyard\": {{\"share\": [\"blog\"]}} in shop/deno.json"
            );
            assert!(volume.refused().starts_with(&begin), "{config}: {}", volume.refused());
        }
    }
    volume.includes("../shop/lib");
    for config in [r#"{"switchyard": {"share": true}}"#, r#"{"switchyard": {"share": ["web", "blog"]}}"#] {
        volume.beside("shop/deno.json", config);
        let (version, _) = volume.take(None);
        volume.beside("shop/deno.json", "{}");
        assert!(volume.refused().contains("share"));
        let reopened = Store::open(&volume.dir.path().join("state")).unwrap();
        assert!(reopened.find(&version, &|_| Ok(())).is_some(), "a checkout that was made before stays");
    }
}

#[test]
fn the_state_folder_is_included_by_no_project() {
    let volume = Volume::new();
    for entry in ["../state", "../state/data/shop"] {
        volume.includes(entry);
        assert!(volume.refused().contains("is the router's own"), "{}", volume.refused());
    }
}

#[test]
fn packages_that_are_a_link_are_refused() {
    let volume = Volume::new();
    volume.beside("shop/secret.txt", "1");
    std::os::unix::fs::symlink("../shop", volume.dir.path().join("blog/node_modules")).unwrap();
    assert!(volume.refused().starts_with("node_modules is a symbolic link"), "{}", volume.refused());
}

#[test]
fn a_file_that_is_a_pipe_when_it_is_copied_is_not_waited_for() {
    let volume = Volume::new();
    volume.write("main.ts", "1");
    volume.write("lib.ts", "1");
    let snapshot = volume.snapshot().unwrap();
    let path = volume.dir.path().join("blog/main.ts");
    fs::remove_file(&path).unwrap();
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let version = Version::new(&volume.name, snapshot.digest);
    let made = volume.store.make(&version, &snapshot, None, &|_| Ok(()));
    assert!(matches!(made, Err(CheckoutError::Moved)));
}

#[test]
fn a_folder_that_is_a_link_to_elsewhere_when_it_is_copied_is_not_followed() {
    let volume = Volume::new();
    volume.write("main.ts", "1");
    volume.beside("blog/lib/a.ts", "same");
    volume.beside("elsewhere/a.ts", "same");
    let snapshot = volume.snapshot().unwrap();
    let lib = volume.dir.path().join("blog/lib");
    fs::rename(&lib, volume.dir.path().join("blog/before")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", &lib).unwrap();
    let version = Version::new(&volume.name, snapshot.digest);
    let made = volume.store.make(&version, &snapshot, None, &|_| Ok(()));
    assert!(matches!(made, Err(CheckoutError::Moved)), "though the file elsewhere has the same content");
}

#[test]
fn a_copy_that_is_interrupted_leaves_nothing_behind() {
    let volume = Volume::new();
    volume.write("main.ts", "1");
    let snapshot = volume.snapshot().unwrap();
    let version = Version::new(&volume.name, snapshot.digest);
    let made = volume.store.make(&version, &snapshot, None, &|_| Err(Interruption));
    assert!(matches!(made, Err(CheckoutError::Interrupted)));
    assert!(names(&volume.store.root).unwrap().is_empty());
    let (_, checkout) = volume.take(None);
    assert!(checkout.dir.join("main.ts").is_file());
}

#[test]
fn an_override_has_its_includes_beside_it_or_on_the_volume_and_no_other_place() {
    let volume = Volume::new();
    let root = volume.dir.path().canonicalize().unwrap();
    for (path, text) in [
        ("_one/mod.ts", "of the volume"),
        ("_both/mod.ts", "of the volume"),
        ("dev/_both/mod.ts", "local"),
        ("dev/mine/main.ts", "1"),
    ] {
        volume.beside(path, text);
    }
    let include = |entries: &str| {
        volume.beside("dev/mine/deno.json", &format!(r#"{{"switchyard": {{"include": [{entries}]}}}}"#));
    };
    let place = Place { dir: root.join("dev/mine"), volume: Some(root.clone()) };
    let snapshot = |place: &Place| {
        volume.store.snapshot(&volume.name.project, place, bounds(), &mut HashCache::default())
    };
    include(r#""../_one", "../_both""#);
    let found = snapshot(&place).unwrap();
    assert_eq!(found.volume_path("../_one/mod.ts"), root.join("_one/mod.ts"));
    assert_eq!(found.volume_path("../_both/mod.ts"), root.join("dev/_both/mod.ts"));
    assert_eq!(found.volume_path("main.ts"), root.join("dev/mine/main.ts"));
    for (real, path) in [
        ("dev/_both/mod.ts", Some("../_both/mod.ts")),
        ("_both/mod.ts", None),
        ("_one", Some("../_one")),
        ("dev/mine/main.ts", Some("main.ts")),
        ("blog", None),
    ] {
        assert_eq!(found.relative(&root.join(real)).as_deref(), path, "{real}");
    }
    let version = Version::new(&volume.name, found.digest);
    let checkout = volume.store.make(&version, &found, None, &|_| Ok(())).unwrap();
    assert_eq!(fs::read_to_string(checkout.dir.join("../_both/mod.ts")).unwrap(), "local");
    assert_eq!(fs::read_to_string(checkout.dir.join("../_one/mod.ts")).unwrap(), "of the volume");
    let refused = |place: &Place| match snapshot(place) {
        Err(SnapshotError::Invalid(diagnostic)) => diagnostic.message,
        other => panic!("{other:?}"),
    };
    include(r#""../blog""#);
    assert!(refused(&place).contains("is the project itself"), "{}", refused(&place));
    include("");
    fs::rename(root.join("dev/mine"), root.join("dev/moved")).unwrap();
    std::os::unix::fs::symlink("moved", root.join("dev/mine")).unwrap();
    assert!(refused(&place).contains("symbolic link"), "{}", refused(&place));
}
