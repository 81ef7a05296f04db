//! Texts of refusals: Deno's errors for missing permissions, with the fix that works here.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use deno_core::{JsRuntime, v8};
use switchyard_protocol::{DeniedPermissions, Start};

use super::native_packages;
use crate::js;

/// The end of Deno's text for a missing permission.
const FLAG: &str = ", run again with the --allow-";
const FLAG_ENDS: &str = " flag";

/// The details of the version that the texts name.
static VERSION: OnceLock<VersionDetails> = OnceLock::new();

#[derive(Debug, Default)]
struct VersionDetails {
    checkout: PathBuf,
    /// Permissions that the project denies itself in deno.json.
    denied: DeniedPermissions,
    /// The hosts are listed by the task that runs.
    net_of_task: bool,
}

/// Sets the version that the texts are about.
pub(crate) fn set_version(start: &Start) {
    let (checkout, permissions) = (start.checkout.clone(), &start.permissions);
    let (denied, net_of_task) = (permissions.denied.clone(), permissions.net_of_task);
    _ = VERSION.set(VersionDetails { checkout, denied, net_of_task });
}

/// Makes an isolate's errors of permissions carry these texts. Must be called before any of the
/// project's code runs in it.
pub(crate) fn install(runtime: &mut JsRuntime) {
    let glue = js::load_function(runtime, "ext:switchyard/refusals.js", include_str!("refusals.js"));
    deno_core::scope!(scope, runtime);
    let glue = v8::Local::new(scope, glue);
    let native = v8::Function::new(scope, explain).expect("V8 has memory at its start");
    let this = v8::undefined(scope).into();
    glue.call(scope, this, &[native.into()]).expect("the cell's own code does not throw");
}

fn explain(
    scope: &mut v8::PinScope<'_, '_>,
    args: v8::FunctionCallbackArguments<'_>,
    mut value: v8::ReturnValue<'_>,
) {
    let text = args.get(0).to_rust_string_lossy(scope);
    let explained = VERSION.get().and_then(|version| version.explain(&text));
    if let Some(text) = explained.and_then(|text| v8::String::new(scope, &text)) {
        value.set(text.into());
    }
}

/// Replaces the refusals in a text. A failed fetch has the refusal of its connection only in the
/// text of its cause.
pub(crate) fn explained(text: &str) -> String {
    match VERSION.get() {
        Some(version) if text.contains(FLAG) => version.explain_all(text),
        _ => text.to_owned(),
    }
}

impl VersionDetails {
    fn explain_all(&self, text: &str) -> String {
        let mut explained = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(FLAG) {
            let begin = rest[..at].rfind("Requires ").unwrap_or(at);
            let end = rest[at..].find(FLAG_ENDS).map_or(rest.len(), |end| at + end + FLAG_ENDS.len());
            explained.push_str(&rest[..begin]);
            let refusal = &rest[begin..end];
            explained.push_str(&self.explain(refusal).unwrap_or_else(|| refusal.to_owned()));
            rest = &rest[end..];
        }
        explained.push_str(rest);
        explained
    }

    /// Returns the replacement of a text of Deno's, if the text is about a permission.
    fn explain(&self, text: &str) -> Option<String> {
        if let Some((call, _)) = text.split_once(" requires unscoped --allow-read") {
            return Some(format!(
                "{call} is refused: a symbolic link could lead out of the project's folders. Copy the file instead"
            ));
        }
        if text.starts_with("Requires --allow-run") {
            return Some(format!("Requires run access: {RUN}"));
        }
        let (refused, _) = text.strip_prefix("Requires ")?.split_once(FLAG)?;
        let (kind, rest) = refused.split_once(" access")?;
        let target = rest.strip_prefix(" to ").map(|target| target.trim_matches('"'));
        // The path of the cell's own program does not help.
        let shown = match target {
            Some(target) if kind == "run" && target.ends_with(CELL) => "run access to process.execPath",
            _ => refused,
        };
        Some(format!("Requires {shown}: {}{}", self.advice(kind, target), self.unless_denied(kind)))
    }

    fn advice(&self, kind: &str, target: Option<&str>) -> String {
        let text = match kind {
            "read" => "\"permissions\" in deno.json denies it",
            "write" => return self.write(target),
            "net" if self.net_of_task => {
                "the task's own \"permissions\" do not list it (\"net\"), or the router's policy does not open it \
                 (\"net\", \"private_net\")"
            }
            "net" => {
                "the router's policy opens hosts (\"net\"), and loopback and private addresses (\"private_net\")"
            }
            "env" => "\"permissions\" in deno.json, or those of the worker, deny it",
            "sys" => return sys(target),
            "run" => RUN,
            "ffi" => return native_packages::advice(target.unwrap_or_default()),
            "import" => "modules are not loaded over the network while a version runs",
            _ => "devices and files of the kernel (/dev, /proc, /sys) are closed to projects",
        };
        text.to_owned()
    }

    /// Returns the advice for a refused write. A version cannot change its own files, which are the
    /// same on each router that serves it.
    fn write(&self, target: Option<&str>) -> String {
        match target.and_then(|target| self.own_file(target)) {
            Some(file) => format!(
                "a version's own files cannot be changed. Write to process.env.DATA_DIR + \"/{file}\", which is kept \
                 for the next versions, or below process.env.TMPDIR (or /tmp), which goes with the process"
            ),
            None => "a project writes below process.env.DATA_DIR, which is kept for its next versions, and below \
                     process.env.TMPDIR (or /tmp), which goes with the process. Other folders are opened by \"write\" \
                     in the router's policy"
                .to_owned(),
        }
    }

    /// Returns the relative path of a file of the version's own.
    fn own_file<'a>(&self, target: &'a str) -> Option<&'a str> {
        let path = Path::new(target);
        let file = if path.is_absolute() { path.strip_prefix(&self.checkout).ok()? } else { path };
        let file = file.to_str()?.trim_start_matches("./");
        (!file.is_empty() && !file.starts_with("..") && !file.starts_with('<')).then_some(file)
    }

    fn unless_denied(&self, kind: &str) -> &'static str {
        let denied = match kind {
            "write" => &self.denied.write,
            "net" => &self.denied.net,
            "sys" => &self.denied.sys,
            _ => return "",
        };
        if denied.is_empty() { "" } else { ". \"permissions\" in deno.json may deny it, too" }
    }
}

/// The name of this program.
const CELL: &str = "/switchyard-cell";

/// Advice to replace programs and signals.
pub(crate) const RUN: &str = "a project starts no programs and signals no processes (node:child_process, node:cluster, \
                              Deno.Command, Deno.kill). Use a worker (node:worker_threads, new Worker), or ask a service";

/// Kinds of system information that no policy grants.
const CLOSED: [&str; 6] = ["inspector", "setPriority", "setegid", "seteuid", "setgid", "setuid"];

fn sys(target: Option<&str>) -> String {
    match target {
        Some(kind) if CLOSED.contains(&kind) => "a project does not change its process".to_owned(),
        Some(kind) => format!("the router's policy grants it: sys = [\"{kind}\"]"),
        None => "the router's policy grants kinds of it (\"sys\")".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> VersionDetails {
        VersionDetails {
            checkout: "/state/checkouts/blog@1/blog".into(),
            denied: DeniedPermissions::default(),
            net_of_task: false,
        }
    }

    fn explained_text(text: &str) -> String {
        version().explain(text).unwrap()
    }

    fn refused(access: &str) -> String {
        explained_text(&format!("Requires {access}, run again with the --allow-x flag"))
    }

    #[test]
    fn every_kind_says_what_to_do_and_names_no_flag() {
        for (access, says) in [
            ("read access to \"/x\"", "deno.json denies it"),
            ("write access to \"./auth.db\"", "Write to process.env.DATA_DIR + \"/auth.db\""),
            ("write access to \"uploads/\"", "process.env.DATA_DIR + \"/uploads"),
            ("write access to \".data/kv\"", "process.env.DATA_DIR + \"/.data/kv\""),
            ("write access to \"/state/checkouts/blog@1/blog/up/x\"", "process.env.DATA_DIR + \"/up/x\""),
            ("write access to \"/opt/x\"", "\"write\" in the router's policy"),
            ("write access to \"../x\"", "\"write\" in the router's policy"),
            ("write access", "below process.env.DATA_DIR"),
            ("write access to <TMP>", "DATA_DIR"),
            ("net access to \"127.0.0.1:80\"", "\"private_net\""),
            ("env access to \"X\"", "deno.json"),
            ("sys access to \"setuid\"", "does not change its process"),
            ("sys access to \"username\"", "sys = [\"username\"]"),
            ("run access to \"node\"", "starts no programs"),
            ("run access", "starts no programs"),
            ("ffi access to \"/p/x.node\"", "native code"),
            ("import access to \"https://x\"", "over the network"),
            ("all access to \"/proc/x\"", "/proc"),
        ] {
            let said = refused(access);
            assert!(said.starts_with(&format!("Requires {access}: ")) && said.contains(says), "{said}");
            assert!(!said.contains("--"), "{said}");
        }
    }

    #[test]
    fn what_is_worded_otherwise_is_explained_too() {
        let link =
            "Deno.symlink() requires unscoped --allow-read and --allow-write permissions; path-scoped grants";
        assert!(explained_text(link).starts_with("Deno.symlink() is refused: a symbolic link"));
        let run =
            "Requires --allow-run permissions to spawn subprocess with LD_PRELOAD environment variable.";
        assert!(explained_text(run).contains("starts no programs"));
    }

    #[test]
    fn what_the_project_denies_itself_is_mentioned() {
        let denied = DeniedPermissions { write: vec!["./x".into()], ..DeniedPermissions::default() };
        let text = "Requires write access to \"./x\", run again with the --allow-write flag";
        let version = VersionDetails { denied, ..version() };
        assert!(version.explain(text).unwrap().ends_with("deno.json may deny it, too"));
        assert!(version.explain(&text.replace("write", "run")).unwrap().ends_with("ask a service"));
    }

    #[test]
    fn a_task_that_lists_its_hosts_is_the_first_cause() {
        let version = VersionDetails { net_of_task: true, ..version() };
        let text = "Requires net access to \"example.com:443\", run again with the --allow-net flag";
        assert!(version.explain(text).unwrap().contains("the task's own \"permissions\" do not list it"));
    }

    #[test]
    fn the_path_of_the_cells_program_is_not_shown() {
        let said = refused("run access to \"/usr/bin/switchyard-cell\"");
        assert!(
            said.starts_with("Requires run access to process.execPath: a project starts no programs"),
            "{said}"
        );
    }

    #[test]
    fn a_refusal_within_a_text_is_explained() {
        let refusal = "Requires net access to \"127.0.0.1:1\", run again with the --allow-net flag";
        let said =
            version().explain_all(&format!("TypeError\n  cause: (Connect): {refusal}\n  at x\n{refusal}"));
        assert!(said.starts_with("TypeError\n  cause: (Connect): Requires net access"), "{said}");
        assert_eq!(said.matches("\"private_net\"").count(), 2, "{said}");
        assert!(said.contains("\n  at x\n") && !said.contains("--"), "{said}");
        for text in ["none", ", run again with the --allow-", "x, run again with the --allow-net flag"] {
            assert_eq!(version().explain_all(text), text);
        }
    }

    #[test]
    fn texts_of_others_stay() {
        for text in ["no", "Requires patience", "Requires write access to \"x\""] {
            assert_eq!(version().explain(text), None);
        }
    }
}
