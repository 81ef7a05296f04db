//! The files of the page, embedded into the program.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

/// One file of the page.
#[derive(Debug)]
pub(super) struct PageFile {
    /// The path below `/ui/`.
    pub(super) name: &'static str,
    pub(super) bytes: &'static [u8],
    tag: String,
}

impl PageFile {
    fn new((name, bytes): (&'static str, &'static [u8])) -> Self {
        let hash: String = Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { name, bytes, tag: format!("\"{hash}\"") }
    }

    /// Returns the entity tag, with its quotes.
    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// Returns the content type.
    pub(super) fn kind(&self) -> &'static str {
        match self.name.rsplit('.').next() {
            Some("html") => "text/html; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        }
    }
}

/// All files.
pub(super) static FILES: LazyLock<Vec<PageFile>> =
    LazyLock::new(|| EMBEDDED.iter().copied().map(PageFile::new).collect());

macro_rules! embedded {
    ($($name:literal)*) => {
        &[$(($name, include_bytes!(concat!("../../../page/", $name)).as_slice())),*]
    };
}

/// The names and contents, by name. A test compares them with the folder.
const EMBEDDED: &[(&str, &[u8])] = embedded! {
    "api.js"
    "icon.svg"
    "icons.js"
    "index.html"
    "keys.js"
    "lib.js"
    "loads.js"
    "main.js"
    "page.css"
    "parts.js"
    "poll.js"
    "requests.js"
    "route.js"
    "screens.css"
    "screens/chart.js"
    "screens/compare.js"
    "screens/deploy.js"
    "screens/deploys.js"
    "screens/diff.js"
    "screens/events.js"
    "screens/keysheet.js"
    "screens/load.js"
    "screens/lock.js"
    "screens/logs.js"
    "screens/metrics.js"
    "screens/newdeploy.js"
    "screens/now.js"
    "screens/overview.js"
    "screens/phases.js"
    "screens/progress.js"
    "screens/project.js"
    "screens/requests.js"
    "screens/requesttable.js"
    "screens/rollback.js"
    "screens/routers.js"
    "screens/run.js"
    "screens/settings.js"
    "screens/signin.js"
    "screens/source.js"
    "screens/sources.js"
    "screens/task.js"
    "screens/tasks.js"
    "screens/theme.js"
    "screens/versions.js"
    "session.js"
    "sse.js"
    "store.js"
    "stream.js"
    "text.js"
    "theme.js"
    "upload.js"
    "vendor/LICENSE-htm.txt"
    "vendor/LICENSE-preact.txt"
    "vendor/LICENSE-signals-core.txt"
    "vendor/LICENSE-signals.txt"
    "vendor/LICENSE-uplot.txt"
    "vendor/hooks.js"
    "vendor/htm.js"
    "vendor/preact.js"
    "vendor/signals-core.js"
    "vendor/signals.js"
    "vendor/uplot.css"
    "vendor/uplot.js"
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/page");

    /// Files that are for those who change the page.
    const NOT_SERVED: [&str; 3] = ["deno.json", "lib.d.ts", "vendor/vendor.lock"];

    /// Files that the screens that need them load.
    const LATER: [&str; 2] = ["vendor/uplot.css", "vendor/uplot.js"];

    fn on_disk(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                on_disk(&path, names);
            } else {
                names.insert(path.strip_prefix(FOLDER).unwrap().to_str().unwrap().to_owned());
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_embedded_and_no_other() {
        let mut names = BTreeSet::new();
        on_disk(Path::new(FOLDER), &mut names);
        names.retain(|name| !NOT_SERVED.contains(&name.as_str()));
        let embedded: BTreeSet<_> = FILES.iter().map(|file| file.name.to_owned()).collect();
        assert_eq!(embedded, names);
    }

    #[test]
    fn every_module_is_loaded_ahead_of_its_first_import() {
        let index = FILES.iter().find(|file| file.name == "index.html").unwrap();
        let index = std::str::from_utf8(index.bytes).unwrap();
        for file in FILES.iter().filter(|file| file.name.ends_with(".js") && !LATER.contains(&file.name)) {
            assert!(index.contains(&format!("\"{}\"", file.name)), "index.html does not name {}", file.name);
        }
    }

    #[test]
    fn the_libraries_are_those_of_the_lock() {
        let lock = fs::read_to_string(Path::new(FOLDER).join("vendor/vendor.lock")).unwrap();
        let mut locked = BTreeSet::new();
        for line in lock.lines().filter(|line| !line.starts_with('#')) {
            let columns: Vec<_> = line.split(' ').collect();
            let [package, _, _, _, _, name, sum] = columns[..] else { panic!("{line}") };
            let file = FILES.iter().find(|file| file.name == format!("vendor/{name}")).unwrap();
            let hash: String = Sha256::digest(file.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hash, sum, "{name} was changed: run tools/vendor");
            let license = format!("vendor/LICENSE-{}.txt", package.rsplit('/').next().unwrap());
            assert!(FILES.iter().any(|file| file.name == license), "{license} is missing");
            locked.insert(name);
        }
        let files = FILES.iter().filter_map(|file| file.name.strip_prefix("vendor/"));
        assert_eq!(files.filter(|name| !name.starts_with("LICENSE-")).collect::<BTreeSet<_>>(), locked);
    }

    #[test]
    fn what_is_loaded_at_once_is_small() {
        let bytes: usize = FILES
            .iter()
            .filter(|file| !file.name.ends_with(".txt") && !LATER.contains(&file.name))
            .map(|file| {
                let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                std::io::Write::write_all(&mut packed, file.bytes).unwrap();
                packed.finish().unwrap().len()
            })
            .sum();
        assert!(bytes < 100 * 1024, "{bytes} bytes after gzip");
    }

    #[test]
    fn no_module_makes_markup_or_code_from_text() {
        let own = FILES.iter().filter(|file| file.name.ends_with(".js") && !file.name.starts_with("vendor/"));
        for file in own {
            let text = std::str::from_utf8(file.bytes).unwrap();
            for door in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"]
            {
                assert!(!text.contains(door), "{} has {door}", file.name);
            }
        }
    }
}
