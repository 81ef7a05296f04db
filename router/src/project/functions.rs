//! A folder of Supabase's Edge Functions as the projects root, in which each function is a project. It is recognized by the
//! files that Supabase's tools and its self-hosted stack write.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use switchyard_contract::event::Diagnostic;
use switchyard_contract::project::ProjectName;
use switchyard_detect::config::{MAX_CONFIG, in_file};
use switchyard_detect::entry::CONFIG_FILES;
use toml::{Table, Value};

use super::diagnostic::diagnostic;
use super::files::open_file;
use crate::root::Place;

/// The folder of functions, and the folder around it, as Supabase's tools create them.
const FOLDER: &str = "functions";
const PARENT: &str = "supabase";

/// Supabase's own configuration.
const CONFIG: &str = "config.toml";

/// The older form of an import map. It is read if a function has no deno.json.
const IMPORT_MAP: &str = "import_map.json";

/// The function of the self-hosted stack that starts the other ones.
const DISPATCHER: &str = "main";

/// A call that only that function makes.
const DISPATCH: &str = "EdgeRuntime.userWorkers";

const ENTRIES: [&str; 4] = ["index.ts", "index.tsx", "index.js", "index.mjs"];

/// The prefix of functions in Supabase's gateway.
pub(super) const PREFIX: &str = "/functions/v1";

/// The settings of one function.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SupabaseFunction {
    /// `Some(true)`: requests need a token. `None`: no configuration decides.
    pub(crate) verify_jwt: Option<bool>,
    /// The path of the entry, relative to the function.
    pub(crate) entry: Option<String>,
    /// The path of the import map, relative to the function (`../` for files beside it).
    pub(crate) import_map: Option<String>,
}

/// The role of a folder in the projects root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FolderRole {
    /// An ordinary project.
    Plain,
    Function(SupabaseFunction),
    /// Not served, with the reason.
    LeftOut(&'static str),
}

impl FolderRole {
    /// Returns the role of the project `name` at `place`. `before` has the settings of the live version. Reads the
    /// volume.
    ///
    /// # Errors
    /// Supabase's config.toml cannot be read, or no configuration decides any more whether requests need a token.
    pub(crate) fn of(
        place: &Place,
        name: &str,
        before: Option<&SupabaseFunction>,
    ) -> Result<Self, Diagnostic> {
        let role = root_of(place).map_or(Ok(Self::Plain), |root| Self::determine(root, name))?;
        let may_need_token = before.is_some_and(|before| before.verify_jwt != Some(false));
        if role == Self::Plain && may_need_token && !super::names_platform(&place.dir) {
            return Err(diagnostic(
                "this was a Supabase function, and its parent folder no longer looks like a folder of functions, so requests \
                 would need no token: restore what was removed (config.toml, _shared, import_map.json, main), or set the \
                 platform in the project's deno.json (\"switchyard\": {\"platform\": \"supabase\"} or \"plain\")",
            ));
        }
        Ok(role)
    }

    fn determine(root: &Path, name: &str) -> Result<Self, Diagnostic> {
        if !is_functions_folder(root) {
            return Ok(Self::Plain);
        }
        if name == DISPATCHER && has_dispatcher(root) {
            return Ok(Self::LeftOut(
                "it starts Supabase's functions, which the router does itself: it can be removed",
            ));
        }
        let Some(config) = config(root, true)? else {
            return Ok(Self::Function(SupabaseFunction::default()));
        };
        let own = config.get(FOLDER).and_then(|functions| functions.get(name));
        if !SupabaseFunction::flag(own, name, "enabled")? {
            return Ok(Self::LeftOut("config.toml has enabled = false for it"));
        }
        SupabaseFunction::from_config(own, name).map(Self::Function)
    }

    pub(crate) fn function(self) -> Option<SupabaseFunction> {
        if let Self::Function(function) = self { Some(function) } else { None }
    }
}

fn field_diagnostic(name: &str, field: &str, fix: &str) -> Diagnostic {
    in_file(CONFIG, format!("\"functions.{name}.{field}\" in Supabase's {CONFIG} {fix}"))
}

impl SupabaseFunction {
    /// Reads a field that is true by default from the function's table in config.toml.
    fn flag(own: Option<&Value>, name: &str, field: &str) -> Result<bool, Diagnostic> {
        let Some(value) = own.and_then(|own| own.get(field)) else { return Ok(true) };
        value.as_bool().ok_or_else(|| field_diagnostic(name, field, "must be true or false"))
    }

    /// Reads the settings in `own`, the function's table in config.toml.
    fn from_config(own: Option<&Value>, name: &str) -> Result<Self, Diagnostic> {
        let invalid = |field: &str, fix: &str| field_diagnostic(name, field, fix);
        let verify = Self::flag(own, name, "verify_jwt")?;
        let path = |field: &str| {
            let Some(value) = own.and_then(|own| own.get(field)) else { return Ok(None) };
            let shape = "must be a path such as \"./functions/hello/index.ts\"";
            let text = value.as_str().ok_or_else(|| invalid(field, shape))?;
            if text.is_empty() {
                return Ok(None);
            }
            relative(text, name)
                .map(Some)
                .ok_or_else(|| invalid(field, "leads out of the folder of functions"))
        };
        let entry = path("entrypoint")?;
        if entry.as_ref().is_some_and(|entry| entry.starts_with("../")) {
            return Err(invalid("entrypoint", "must lie in the function's own folder"));
        }
        // The function's own deno.json is read anyway.
        let is_own = |path: &String| CONFIG_FILES.contains(&path.as_str());
        let import_map = path("import_map")?.filter(|path| !is_own(path));
        Ok(Self { verify_jwt: Some(verify), entry, import_map })
    }
}

/// Converts a path of config.toml, relative to the folder around the functions, to one relative to the function `name`.
fn relative(path: &str, name: &str) -> Option<String> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let below = path.strip_prefix(FOLDER)?.strip_prefix('/')?;
    let is_plain = below.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let own = below.strip_prefix(name).and_then(|own| own.strip_prefix('/'));
    is_plain.then(|| own.map_or_else(|| format!("../{below}"), str::to_owned))
}

/// Returns true if a claim of `prefix` by the function `name` would take requests of other functions.
pub(super) fn is_of_others(prefix: &str, name: &ProjectName) -> bool {
    let begins = |long: &str, with: &str| {
        long.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let own = format!("{PREFIX}/{name}");
    let is_above = begins(PREFIX, prefix) && name.as_str() != FOLDER;
    is_above || begins(prefix, PREFIX) && !begins(prefix, &own)
}

/// Returns the projects root of the project at `place`. For an override, that is the folder around it if that holds
/// Supabase's functions, and otherwise the volume if that does: then its configuration holds.
pub(super) fn root_of(place: &Place) -> Option<&Path> {
    let beside = place.dir.parent()?;
    let volume = place.volume.as_deref().filter(|volume| is_functions_folder(volume));
    Some(volume.filter(|_| !is_functions_folder(beside)).unwrap_or(beside))
}

/// Returns true if a projects root is a folder of functions: it has the dispatcher of the self-hosted stack, a
/// configuration of Supabase's, or the name and part of the layout.
pub(super) fn is_functions_folder(root: &Path) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let is_named = name(root).as_deref() == Some(FOLDER);
    let parent = root.parent().and_then(name);
    let has_layout = || ["_shared", IMPORT_MAP].iter().any(|name| root.join(name).exists());
    // A project called `main` could otherwise make any volume a folder of functions.
    is_named && (parent.as_deref() == Some(PARENT) || has_layout() || has_dispatcher(root))
        || config(root, false).map_or(true, |config| config.is_some())
}

fn has_dispatcher(root: &Path) -> bool {
    let folder = root.join(DISPATCHER);
    let text = ENTRIES.iter().find_map(|entry| read(&folder.join(entry)).ok().flatten());
    text.is_some_and(|text| text.windows(DISPATCH.len()).any(|part| part == DISPATCH.as_bytes()))
}

/// Reads Supabase's configuration, in the root or beside it as Supabase's tools write it. `None`: there is none, or it
/// belongs to another program. `recognized`: the folder is known to be one of functions.
///
/// # Errors
/// The file cannot be read and is Supabase's, by the folder or by its own text: it may require tokens.
fn config(root: &Path, recognized: bool) -> Result<Option<Table>, Diagnostic> {
    let is_named = root.file_name().is_some_and(|name| name == FOLDER);
    let beside = root.parent().filter(|_| is_named).map(|parent| parent.join(CONFIG));
    for path in [Some(root.join(CONFIG)), beside].into_iter().flatten() {
        let text = match read(&path) {
            Ok(Some(text)) => text,
            Err(error) if recognized => {
                return Err(in_file(CONFIG, format!("Supabase's {CONFIG} cannot be read: {error}")));
            }
            Ok(None) | Err(_) => continue,
        };
        match parse(&text) {
            Ok(table) if is_supabases(&table) => return Ok(Some(table)),
            Err(error) if recognized || looks_like_supabases(&text) => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(None)
}

fn parse(text: &[u8]) -> Result<Table, Diagnostic> {
    let invalid = |why: &str| in_file(CONFIG, format!("Supabase's {CONFIG} {why}"));
    if text.len() as u64 > MAX_CONFIG {
        return Err(invalid(&format!("is too large: at most {MAX_CONFIG} bytes are possible")));
    }
    let text = str::from_utf8(text).map_err(|_| invalid("is not UTF-8"))?;
    text.parse().map_err(|error: toml::de::Error| invalid(&format!("does not parse: {}", error.message())))
}

/// Top-level keys of Supabase's configuration that other programs do not have.
const KEYS: [&str; 3] = ["project_id", FOLDER, "edge_runtime"];

fn is_supabases(config: &Table) -> bool {
    KEYS.iter().any(|key| config.contains_key(*key))
}

/// Returns true if text that does not parse has one of the keys at the beginning of a line.
fn looks_like_supabases(text: &[u8]) -> bool {
    let blank = |byte: &u8| matches!(byte, b'[' | b' ' | b'\t' | b'"' | b'\'');
    let begins = |line: &[u8]| {
        let from = line.iter().position(|byte| !blank(byte)).unwrap_or(line.len());
        KEYS.iter().any(|key| line[from..].starts_with(key.as_bytes()))
    };
    text.split(|byte| *byte == b'\n').any(begins)
}

/// Returns the bytes of a file, at most one more than [`MAX_CONFIG`]. `None`: the file does not exist.
fn read(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = match open_file(path) {
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        opened => opened?,
    };
    let mut text = Vec::new();
    file.take(MAX_CONFIG + 1).read_to_end(&mut text)?;
    Ok(Some(text))
}

/// Returns the names below `root` that are part of each function: shared folders and configurations, without symbolic
/// links.
pub(super) fn shared_names(root: &Path, function: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let shared = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let has_files = || fs::read_dir(entry.path()).is_ok_and(|mut entries| entries.next().is_some());
        (is_folder && name.starts_with('_') && has_files()).then_some(name)
    });
    let has_own = CONFIG_FILES.iter().any(|file| function.join(file).is_file());
    let configurations = [IMPORT_MAP, CONFIG, CONFIG_FILES[0], CONFIG_FILES[1]];
    // As Supabase's tools do, functions without a configuration use that of the folder.
    let configurations = configurations.into_iter().filter(|file| !CONFIG_FILES.contains(file) || !has_own);
    let is_file = |name: &&str| root.join(name).symlink_metadata().is_ok_and(|metadata| metadata.is_file());
    let mut all: Vec<_> = shared.chain(configurations.filter(is_file).map(str::to_owned)).collect();
    all.sort();
    all
}

/// Returns the import map of a function, relative to it: its own or that of the folder, if no deno.json has one. `checkout`
/// is the function, with its included files beside it.
pub(super) fn import_map(checkout: &Path) -> Option<String> {
    let has_configuration = CONFIG_FILES.iter().any(|file| checkout.join(file).is_file());
    let candidates = [IMPORT_MAP.to_owned(), format!("../{IMPORT_MAP}")];
    candidates.into_iter().find(|path| !has_configuration && checkout.join(path).is_file())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A folder called `functions` in a folder called `parent`, with these files in the latter.
    fn folder(parent: &str, files: &[(&str, &str)]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let around = dir.path().join(parent);
        fs::create_dir_all(around.join(FOLDER)).unwrap();
        for (path, text) in files {
            fs::create_dir_all(around.join(path).parent().unwrap()).unwrap();
            fs::write(around.join(path), text).unwrap();
        }
        let root = around.join(FOLDER);
        (dir, root)
    }

    fn role(files: &[(&str, &str)], name: &str) -> Result<FolderRole, Diagnostic> {
        let (_dir, root) = folder("x", files);
        FolderRole::of(&Place::on_volume(root.join(name)), name, None)
    }

    #[test]
    fn a_folder_of_functions_is_recognized_by_what_supabase_puts_there() {
        let is = |parent: &str, files: &[(&str, &str)]| {
            let (_dir, root) = folder(parent, files);
            is_functions_folder(&root)
        };
        assert!(is("supabase", &[]));
        assert!(is("volumes", &[("functions/_shared/a.ts", "")]));
        assert!(is("volumes", &[("functions/import_map.json", "{}")]));
        let dispatcher = "await EdgeRuntime.userWorkers.create({})";
        assert!(is("x", &[("functions/main/index.ts", dispatcher)]));
        assert!(is("x", &[("config.toml", "project_id = \"x\"\n")]));
        assert!(is("x", &[("functions/config.toml", "[functions.hello]\nverify_jwt = false\n")]));
        assert!(!is("x", &[("functions/main/index.ts", "Deno.serve(() => new Response())")]));
        assert!(!is("x", &[("config.toml", "[other]\n"), ("functions/hello/index.ts", "")]));
        assert!(!is("x", &[("config.toml", "= wrong")]));
        // Text that does not parse but looks like Supabase's may require tokens.
        assert!(is("x", &[("config.toml", "project_id = \n[functions.hello")]));
        let (_dir, root) = folder("x", &[("functions/projects/main/index.ts", dispatcher)]);
        assert!(!is_functions_folder(&root.join("projects")), "a project says nothing of the others");
    }

    #[test]
    fn config_toml_decides_on_tokens_entries_and_import_maps() {
        let config = |text| [("config.toml", text)];
        let function = |text, name| role(&config(text), name).unwrap().function().unwrap();
        let whole = "project_id = \"x\"\n[functions.hello]\nverify_jwt = false\n\
             entrypoint = \"./functions/hello/src/index.ts\"\nimport_map = \"./functions/import_map.json\"\n";
        let hello = function(whole, "hello");
        assert_eq!(hello.verify_jwt, Some(false));
        assert_eq!(hello.entry.as_deref(), Some("src/index.ts"));
        assert_eq!(hello.import_map.as_deref(), Some("../import_map.json"));
        assert_eq!(
            function(whole, "other"),
            SupabaseFunction { verify_jwt: Some(true), ..SupabaseFunction::default() }
        );
        let own = "[functions.hello]\nimport_map = \"./functions/hello/deno.json\"\n";
        assert_eq!(function(own, "hello").import_map, None, "it is read anyway");
        for (text, field) in [
            ("[functions.hello]\nverify_jwt = 1\n", "functions.hello.verify_jwt"),
            ("[functions.hello]\nenabled = \"false\"\n", "functions.hello.enabled"),
            ("[functions.hello]\nentrypoint = \"../x.ts\"\n", "functions.hello.entrypoint"),
            ("[functions.hello]\nentrypoint = \"./functions/other/x.ts\"\n", "functions.hello.entrypoint"),
            ("[functions.hello]\nimport_map = \"./functions/../../x\"\n", "functions.hello.import_map"),
        ] {
            let error = role(&config(text), "hello").unwrap_err();
            assert_eq!(error.file.as_deref(), Some(CONFIG));
            assert!(error.message.contains(field), "{}", error.message);
        }
    }

    #[test]
    fn a_configuration_that_does_not_parse_is_an_error_where_it_is_supabases() {
        let files = [("config.toml", "= wrong"), ("functions/_shared/a.ts", "")];
        assert!(role(&files, "hello").unwrap_err().message.contains("does not parse"));
    }

    #[test]
    fn a_function_claims_nothing_of_the_gateways_paths_but_its_own() {
        let is = |prefix, name| is_of_others(prefix, &ProjectName::parse(name).unwrap());
        for prefix in ["/functions", "/functions/v1", "/functions/v1/other", "/functions/v1/hello-2/x"] {
            assert!(is(prefix, "hello"), "{prefix}");
        }
        for prefix in
            ["/functions/v1/hello", "/functions/v1/hello/x", "/functions/v2", "/functions-v1", "/shop"]
        {
            assert!(!is(prefix, "hello"), "{prefix}");
        }
        assert!(!is("/functions", "functions"), "it is its own by its name");
    }

    #[test]
    fn a_configuration_is_read_whole_or_not_at_all() {
        let text = format!("# {}\n[functions.hello]\nverify_jwt = true\n", "x".repeat(MAX_CONFIG as usize));
        let files = [("config.toml", text.as_str()), ("functions/_shared/a.ts", "")];
        assert!(role(&files, "hello").unwrap_err().message.contains("too large"));
    }

    #[test]
    fn what_may_need_tokens_is_no_plain_project_when_the_folder_no_longer_says_so() {
        let (_dir, root) = folder("x", &[("functions/hello/index.ts", "")]);
        let of = |verify_jwt| {
            let before = SupabaseFunction { verify_jwt, ..SupabaseFunction::default() };
            FolderRole::of(&Place::on_volume(root.join("hello")), "hello", Some(&before))
        };
        assert_eq!(of(Some(false)), Ok(FolderRole::Plain));
        for verify_jwt in [Some(true), None] {
            assert!(of(verify_jwt).unwrap_err().message.contains("config.toml"));
        }
        fs::write(root.join("hello/deno.json"), r#"{"switchyard": {"platform": "plain"}}"#).unwrap();
        assert_eq!(of(Some(true)), Ok(FolderRole::Plain));
    }

    #[test]
    fn shared_folders_and_configurations_belong_to_a_function() {
        let files = [
            ("functions/_shared/a.ts", ""),
            ("functions/_utils/a.ts", ""),
            ("functions/import_map.json", "{}"),
            ("functions/deno.json", "{}"),
            ("functions/plain/index.ts", ""),
            ("functions/own/deno.json", "{}"),
        ];
        let (_dir, root) = folder("x", &files);
        fs::create_dir(root.join("_empty")).unwrap();
        std::os::unix::fs::symlink("_shared", root.join("_link")).unwrap();
        assert_eq!(
            shared_names(&root, &root.join("plain")),
            ["_shared", "_utils", "deno.json", "import_map.json"]
        );
        assert_eq!(shared_names(&root, &root.join("own")), ["_shared", "_utils", "import_map.json"]);
        fs::remove_file(root.join("deno.json")).unwrap();
        assert_eq!(import_map(&root.join("plain")).as_deref(), Some("../import_map.json"));
        assert_eq!(import_map(&root.join("own")), None);
    }

    #[test]
    fn an_override_is_a_function_by_the_folder_around_it_or_else_as_on_the_volume() {
        let (_dir, volume) =
            folder("supabase", &[("config.toml", "[functions.hello]\nverify_jwt = false\n")]);
        let (_local, dev) = folder("x", &[("elsewhere/hello/index.ts", ""), ("functions/_shared/a.ts", "")]);
        let role = |dir: PathBuf, volume: &Path| {
            let place = Place { dir, volume: Some(volume.to_owned()) };
            FolderRole::of(&place, "hello", None).unwrap().function().map(|function| function.verify_jwt)
        };
        let plain = dev.parent().unwrap().join("elsewhere");
        assert_eq!(role(plain.join("hello"), &volume), Some(Some(false)));
        assert_eq!(role(dev.join("hello"), &volume), Some(None), "its own configuration requires tokens");
        assert_eq!(role(plain.join("hello"), &plain), None);
    }
}
