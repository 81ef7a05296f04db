//! Hints at the fix of errors that do not explain themselves here: about Deno's flags, missing
//! native code, or programs that are not found.

use super::{native_packages, refusals};
use crate::modules::{bun, project_paths};

/// Parts of Node's and Deno's errors for a program that was not found.
const SPAWNS: [[&str; 2]; 3] = [["Failed to spawn", ""], ["spawnSync ", " ENOENT"], ["spawn ", " ENOENT"]];

/// Returns advice for an error, by its text and the files on its stack, innermost first.
pub(crate) fn hint<'a>(message: &str, stack: impl Iterator<Item = &'a str>) -> Option<String> {
    let advice = native_packages::advice_for(message, stack).or_else(|| program(message));
    let advice = advice.or_else(|| generated_code_hint(message)).or_else(|| bun_interface(message));
    advice.or_else(|| project_paths::hint(message))
}

fn bun_interface(message: &str) -> Option<String> {
    let first = message.lines().next().unwrap_or_default();
    first.contains("Bun is not defined").then(|| bun::INSTEAD.to_owned())
}

fn program(message: &str) -> Option<String> {
    let first = message.lines().next().unwrap_or_default();
    let is_it = SPAWNS.iter().any(|texts| texts.iter().all(|text| first.contains(text)));
    is_it.then(|| format!("Here {}", refusals::RUN))
}

/// Returns advice for code that a package's own tool would have generated.
fn generated_code_hint(message: &str) -> Option<String> {
    message.contains(PRISMA_CLIENT).then(|| {
        "Prisma's client is code that `npx prisma generate` makes, and nothing is generated here: generate it \
         among the project's files (`output` in schema.prisma) and import it from there"
            .to_owned()
    })
}

/// The folder in `node_modules` into which Prisma generates its client by default.
const PRISMA_CLIENT: &str = "'.prisma/client";

/// Replaces Deno's flags in a text with settings of deno.json.
pub(crate) fn without_flags(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(RUN_AGAIN) {
        let Some((feature, after)) = after.split_once(FLAG_ENDS) else { break };
        words.push_str(before);
        words.push_str(&format!("Set \"unstable\": [\"{feature}\"] in deno.json"));
        rest = after;
    }
    words.push_str(rest);
    words.replace(
        "or pass --unstable-detect-cjs flag to detect CommonJS when loading.",
        "or set \"unstable\": [\"detect-cjs\"] in deno.json to detect CommonJS when loading.",
    )
}

const RUN_AGAIN: &str = "Run again with `--unstable-";
const FLAG_ENDS: &str = "` flag";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_start_is_explained() {
        for message in ["Error: spawn node ENOENT", "NotFound: Failed to spawn 'git': entity not found"] {
            assert!(hint(message, std::iter::empty()).unwrap().contains("starts no programs"), "{message}");
        }
        assert_eq!(hint("Error: ENOENT: no such file", std::iter::empty()), None);
    }

    #[test]
    fn a_client_that_was_not_generated_is_explained() {
        let message = "Error: Cannot find module '.prisma/client/default'\nRequire stack:";
        assert!(hint(message, std::iter::empty()).unwrap().contains("prisma generate"));
    }

    #[test]
    fn interfaces_of_bun_have_an_instead() {
        let hint = hint("ReferenceError: Bun is not defined", std::iter::empty());
        assert!(hint.unwrap().contains("export default { fetch }"));
    }

    #[test]
    fn features_are_named_as_deno_json_has_them() {
        let text =
            "x is not a function\n    hint: Run again with `--unstable-webgpu` flag to enable this API.";
        assert_eq!(
            without_flags(text),
            "x is not a function\n    hint: Set \"unstable\": [\"webgpu\"] in deno.json to enable this API."
        );
        for text in ["no flags", "Run again with `--unstable-"] {
            assert_eq!(without_flags(text), text);
        }
    }
}
