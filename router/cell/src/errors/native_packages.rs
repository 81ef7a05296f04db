//! Packages with native code, which cells do not load: their errors, and replacements.

/// Names of packages, or prefixes of their parts' names, with replacements that work here.
const REPLACEMENTS: [(&str, &str); 15] = [
    ("better-sqlite3", "node:sqlite, which is built in"),
    ("sqlite3", "node:sqlite, which is built in"),
    ("libsql", "node:sqlite, which is built in, or @libsql/client/web"),
    ("@libsql/", "node:sqlite, which is built in, or @libsql/client/web"),
    ("sharp", "its WebAssembly build (npm install --cpu=wasm32 sharp)"),
    ("@img/sharp", "sharp's WebAssembly build (npm install --cpu=wasm32 sharp)"),
    ("bcrypt", "bcryptjs"),
    ("argon2", "hash-wasm"),
    ("@node-rs/argon2", "hash-wasm"),
    ("@node-rs/bcrypt", "bcryptjs"),
    ("esbuild", "esbuild-wasm"),
    ("lightningcss", "lightningcss-wasm"),
    ("@swc/core", "@swc/wasm"),
    ("@rollup/rollup-", "@rollup/wasm-node"),
    ("lmdb", "Deno.openKv or node:sqlite, which are built in"),
];

/// Packages that only locate the native part of another one.
const FINDERS: [&str; 5] = [
    "bindings",
    "node-gyp-build",
    "node-gyp-build-optional-packages",
    "@mapbox/node-pre-gyp",
    "prebuild-install",
];

/// Errors for a native part that is missing or cannot be loaded: of `bindings`, `node-gyp-build`,
/// sharp, packages made with napi-rs, and `require` of the part itself.
const FAILURES: [&str; 7] = [
    "Could not locate the bindings file",
    "No native build was found for",
    "Could not load the \"sharp\" module",
    "Cannot find native binding",
    "Failed to load native binding",
    ".node'",
    ".node\"",
];

/// Returns the advice for native code at `path`.
pub(crate) fn advice(path: &str) -> String {
    let name = package_in(path);
    let needed_by = name.map(|name| format!("; the package {name} needs it")).unwrap_or_default();
    format!("native code (addons, Deno.dlopen) is not loaded here{needed_by}: {}", replacement(name))
}

/// Returns the advice for an error of a package's own, thrown from the files of `stack`, innermost
/// first. `None` if the error is not about native code.
pub(crate) fn advice_for<'a>(message: &str, stack: impl Iterator<Item = &'a str>) -> Option<String> {
    if message.contains("native code (addons") || !FAILURES.iter().any(|text| message.contains(text)) {
        return None;
    }
    let by_stack = stack.filter_map(package_in).find(|name| !FINDERS.contains(name));
    let name = by_stack.or_else(|| package_in(message));
    let subject =
        name.map_or("This is native code".to_owned(), |name| format!("The package {name} has native code"));
    Some(format!("{subject}, which is not loaded here: {}", replacement(name)))
}

fn replacement(name: Option<&str>) -> String {
    let known = |name: &str| {
        let is_it = |(package, _): &&(&str, &str)| {
            name == *package
                || (name.starts_with(package) && (package.contains('/') || package.starts_with('@')))
        };
        REPLACEMENTS.iter().find(is_it).map(|(_, instead)| *instead)
    };
    match name.and_then(known) {
        Some(instead) => format!("use {instead}"),
        None => "use a package, or a build of it, that is JavaScript or WebAssembly alone".to_owned(),
    }
}

/// Returns the innermost package that a path in a text leads to.
fn package_in(text: &str) -> Option<&str> {
    const FOLDER: &str = "node_modules/";
    let rest = &text[text.rfind(FOLDER)? + FOLDER.len()..];
    let slashes = if rest.starts_with('@') { 2 } else { 1 };
    let (end, _) = rest.match_indices('/').nth(slashes - 1)?;
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_and_what_does_the_same_are_named() {
        for (path, says) in [
            (
                "/p/node_modules/better-sqlite3/build/Release/better_sqlite3.node",
                "better-sqlite3 needs it: use node:sqlite",
            ),
            ("node_modules/.pnpm/bcrypt@5/node_modules/bcrypt/lib/x.node", "bcrypt needs it: use bcryptjs"),
            (
                "node_modules/@img/sharp-linux-x64/lib/sharp.node",
                "@img/sharp-linux-x64 needs it: use sharp's WebAssembly",
            ),
            ("node_modules/bcryptish/x.node", "bcryptish needs it: use a package"),
            ("./build/Release/x.node", "is not loaded here: use a package"),
        ] {
            assert!(advice(path).contains(says), "{}", advice(path));
        }
    }

    #[test]
    fn packages_that_miss_their_native_part_are_known_by_their_texts() {
        let stack = [
            "/p/node_modules/bindings/bindings.js",
            "/p/node_modules/better-sqlite3/lib/database.js",
            "/p/main.js",
        ];
        let said = advice_for("Could not locate the bindings file. Tried:", stack.into_iter()).unwrap();
        assert_eq!(
            said,
            "The package better-sqlite3 has native code, which is not loaded here: use node:sqlite, which is built in"
        );
        let said = advice_for("Cannot find module './x.node'", ["/p/main.js"].into_iter()).unwrap();
        assert!(said.starts_with("This is native code"), "{said}");
        assert_eq!(advice_for("no such thing", stack.into_iter()), None);
    }
}
