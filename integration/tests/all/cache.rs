//! The cache of compiled modules: kept for a project's next versions, and used only if it is
//! unchanged.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use switchyard_integration::eventually;
use switchyard_integration::fixtures::{half, pair};
use switchyard_integration::router::{Router, State};
use switchyard_integration::volume::Volume;

/// Returns the cached output of the three modules of [`pair`], without that of the runtime's own
/// modules.
const ENTRIES: usize = 3;

/// SHA-256 over name and content, before the content.
const CHECKSUM: usize = 32;

fn project(volume: &Volume) {
    volume
        .project("a")
        .file("main.ts", pair())
        .file("a.ts", half("a", "a1"))
        .file("b.ts", half("b", "b1"))
        .write();
}

fn folder(state: &State) -> PathBuf {
    state.path().join("cache/a")
}

/// Each entry with the number of its file, which is another one when it is written again.
fn entries(folder: &Path) -> BTreeMap<PathBuf, u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let entries = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.ino()))).collect()
}

async fn written(state: &State) {
    eventually("all is kept", || async { entries(&folder(state)).len() >= ENTRIES }).await;
}

/// Writes an entry as a cell does.
fn write_entry(path: &Path, content: &[u8]) {
    let hex = path.file_name().expect("an entry has a name").to_string_lossy();
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("its name is its key");
    let key: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    let checksum = Sha256::new().chain_update(key).chain_update(content).finalize();
    let owner = fs::metadata(path).expect("it is there");
    fs::remove_file(path).expect("it can be removed");
    fs::write(path, [checksum.as_slice(), content].concat()).expect("it can be written");
    // A cell trusts files that its own user wrote.
    chown(path, Some(owner.uid()), Some(owner.gid())).expect("it can be given back");
}

#[tokio::test]
async fn a_new_version_compiles_only_changed_modules() {
    let (volume, state) = (Volume::new(), State::new());
    project(&volume);
    let router = Router::builder(&volume).state(&state).unwatched().start().await;
    assert_eq!(router.public.get("/a/").await.text(), "a1:b1");
    written(&state).await;
    let before = entries(&folder(&state));
    // The cached `b.ts` runs, so a change of it shows.
    let is_of_b = |path: &&PathBuf| {
        fs::read_to_string(path).is_err() && {
            let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
            text.contains("export const b = \"b1\"")
        }
    };
    let of_b = before.keys().find(is_of_b).expect("b.ts is kept").clone();
    write_entry(&of_b, b"export const b = 'kept';\n");
    let before = entries(&folder(&state));
    volume.replace("a/a.ts", half("a", "a2"));
    router.admin.reload("a").await;
    assert_eq!(router.public.get("/a/").await.text(), "a2:kept");
    eventually("new entries are kept", || async { entries(&folder(&state)).len() > before.len() }).await;
    let after = entries(&folder(&state));
    assert!(before.iter().all(|entry| after.get(entry.0) == Some(entry.1)), "{before:?} {after:?}");
}

#[tokio::test]
async fn an_entry_that_is_damaged_is_replaced() {
    let (volume, state) = (Volume::new(), State::new());
    project(&volume);
    let builder = Router::builder(&volume).state(&state);
    let router = builder.clone().start().await;
    written(&state).await;
    drop(router);
    let elsewhere = state.path().join("elsewhere");
    type Damage<'a> = (&'a str, &'a dyn Fn(&Path));
    let damages: [Damage<'_>; 6] = [
        ("random", &|path| {
            fs::write(path, (0..999_u16).map(|n| (n * 31 % 251) as u8).collect::<Vec<_>>()).unwrap()
        }),
        ("emptied", &|path| fs::write(path, "").unwrap()),
        ("cut", &|path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("flipped", &|path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[CHECKSUM] ^= 1;
            fs::write(path, &bytes).unwrap();
        }),
        ("link", &|path| {
            fs::rename(path, &elsewhere).unwrap();
            symlink(&elsewhere, path).unwrap();
        }),
        ("not to be read", &|path| {
            if rustix::process::geteuid().is_root() {
                std::os::unix::fs::chown(path, Some(12_345), None).unwrap();
            } else {
                fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
            }
        }),
    ];
    for (what, damage) in damages {
        let before = entries(&folder(&state));
        before.keys().for_each(|path| damage(path));
        let damaged: BTreeMap<_, _> =
            before.keys().map(|path| (path.clone(), path.symlink_metadata().unwrap().ino())).collect();
        let router = builder.clone().start().await;
        assert_eq!(router.public.get("/a/").await.text(), "a1:b1", "{what}");
        eventually(&format!("{what}: all entries are written again"), || async {
            let now = |path: &PathBuf| path.symlink_metadata().unwrap();
            damaged.iter().all(|(path, number)| now(path).is_file() && now(path).ino() != *number)
        })
        .await;
    }
}

#[tokio::test]
async fn a_project_cannot_reach_its_kept_data() {
    const TRIES: &str =
        "const cache = Deno.realPathSync(Deno.env.get('DATA_DIR')).replace('/data/', '/cache/');
        const tries = [
            () => Deno.readDirSync(cache).next(),
            () => Deno.statSync(cache),
            () => Deno.writeTextFileSync(cache + '/x', ''),
            () => Deno.symlinkSync(cache, Deno.env.get('DATA_DIR') + '/link'),
            () => process.getBuiltinModule('node:fs').readdirSync(cache),
            () => Deno.readDirSync('/proc/self/fd/').next(),
            () => import(`file://${cache}/x.js`),
        ];
        export default { async fetch() {
            const said = [];
            for (const attempt of tries) {
                try { await attempt(); said.push('done: ' + attempt); } catch { said.push('no'); }
            }
            return Response.json(said);
        } };";
    let (volume, state) = (Volume::with("a", TRIES), State::new());
    let router = Router::builder(&volume).state(&state).start().await;
    let answers = router.public.get("/a/").await.json();
    assert!(answers.as_array().unwrap().iter().all(|answers| answers == "no"), "{answers}");
    assert!(folder(&state).is_dir());
}

#[tokio::test]
async fn the_cache_is_removed_with_its_project() {
    let (volume, state) = (Volume::new(), State::new());
    project(&volume);
    let builder = Router::builder(&volume).state(&state);
    let router = builder.clone().start().await;
    written(&state).await;
    volume.rename("a", "_away");
    eventually("nothing is kept", || async { !folder(&state).exists() }).await;
    volume.rename("_away", "a");
    written(&state).await;
    drop(router);
    volume.rename("a", "_away");
    let _router = builder.start().await;
    eventually("nothing is kept", || async { !folder(&state).exists() }).await;
}

#[tokio::test]
async fn the_cache_stays_below_its_limit() {
    const LIMIT: u64 = 64 << 10;
    let (volume, state) = (Volume::new(), State::new());
    project(&volume);
    let builder = Router::builder(&volume).state(&state).unwatched();
    let router = builder.clone().flag("module-cache", LIMIT).start().await;
    let size = || {
        let entries = fs::read_dir(folder(&state)).unwrap().flatten();
        entries.filter_map(|entry| Some(entry.metadata().ok()?.blocks() * 512)).sum::<u64>()
    };
    for n in 0..4 {
        let long = format!("// {}\n{}", "x".repeat(20 << 10), half("b", &n.to_string()));
        volume.replace("a/b.ts", long);
        router.admin.reload("a").await;
        assert_eq!(router.public.get("/a/").await.text(), format!("a1:{n}"));
    }
    eventually("it is small", || async { size() <= LIMIT }).await;
    drop(router);
    let router = builder.flag("module-cache", 0).start().await;
    assert_eq!(router.public.get("/a/").await.text(), "a1:3");
    volume.replace("a/a.ts", half("a", "a2"));
    router.admin.reload("a").await;
    eventually("nothing is kept", || async { entries(&folder(&state)).is_empty() }).await;
}
