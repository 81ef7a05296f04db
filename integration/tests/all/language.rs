//! The languages and imports of projects.

use switchyard_integration::fixtures;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

/// Serves a folder of the fixtures and compares its answer.
async fn answers(folder: &str, expected: &str) {
    let volume = Volume::new();
    volume.copy_in(&fixtures::folder(folder), "a");
    // Stored under another name: version control ignores folders called node_modules.
    if volume.path("a/packages").exists() {
        volume.rename("a/packages", "a/node_modules");
    }
    let router = Router::start(&volume).await;
    assert_eq!(router.admin.project("a").await.error, None);
    assert_eq!(router.public.get("/a/").await.text(), expected);
}

#[tokio::test]
async fn typescript_with_types_enums_and_parameter_properties() {
    answers("typescript", "square 2 red").await;
}

#[tokio::test]
async fn jsx_with_a_runtime_from_the_import_map() {
    answers("jsx", "<b>bold</b>").await;
}

#[tokio::test]
async fn an_import_map_in_the_config() {
    answers("import-map", "xy").await;
}

#[tokio::test]
async fn an_import_map_beside_the_config() {
    answers("import-map-beside", "xy").await;
}

#[tokio::test]
async fn json_and_node_built_ins() {
    answers("built-ins", "A/b/11f6").await;
}

#[tokio::test]
async fn packages_in_node_modules_whether_esm_or_commonjs() {
    answers("packages", "esm cjs named sub bare").await;
}

#[tokio::test]
async fn circular_imports() {
    answers("circular", "true").await;
}

#[tokio::test]
async fn files_beside_the_code_by_its_own_path_and_by_the_working_directory() {
    answers("beside", "xxmain.ts").await;
}

#[tokio::test]
async fn top_level_await_and_dynamic_imports() {
    answers("late", "late later").await;
}

#[tokio::test]
async fn a_commonjs_package_that_requires_a_module() {
    answers("require-module", "a module").await;
}

/// Serves a project of these files and compares its answer.
async fn serves(files: &[(&str, &str)], expected: &str) {
    let volume = Volume::new();
    for (path, text) in files {
        volume.write(&format!("a/{path}"), text);
    }
    let router = Router::start(&volume).await;
    assert_eq!(router.admin.project("a").await.error, None);
    assert_eq!(router.public.get("/a/").await.text(), expected);
}

#[tokio::test]
async fn texts_and_bytes() {
    let main = "import text from './a.txt' with { type: 'text' };\n\
        import bytes from './b.bin' with { type: 'bytes' };\n\
        export default { fetch: () => new Response(`${text} ${bytes.length} ${bytes instanceof Uint8Array}`) };\n";
    serves(&[("main.ts", main), ("a.txt", "grüße"), ("b.bin", "\u{0}\u{1}\u{2}")], "grüße 3 true").await;
}

#[tokio::test]
async fn an_import_map_with_scopes() {
    let config = r#"{"imports": {"x": "./one.ts"}, "scopes": {"./sub/": {"x": "./two.ts"}}}"#;
    let main = "import x from 'x';\nimport sub from './sub/mod.ts';\n\
        export default { fetch: () => new Response(x + sub) };\n";
    let files = [
        ("deno.json", config),
        ("main.ts", main),
        ("one.ts", "export default 'one ';\n"),
        ("two.ts", "export default 'two';\n"),
        ("sub/mod.ts", "export { default } from 'x';\n"),
    ];
    serves(&files, "one two").await;
}

#[tokio::test]
async fn jsx_that_is_compiled_to_templates() {
    let config = r#"{"compilerOptions": {"jsx": "precompile", "jsxImportSource": "h"}, "imports": {"h/jsx-runtime": "./h.ts"}}"#;
    let runtime = "export const jsxTemplate = (texts: string[], ...values: unknown[]) => String.raw({ raw: texts }, ...values);\n\
        export const jsxEscape = (value: unknown) => `{${value}}`;\n\
        export const jsxAttr = (name: string, value: unknown) => `${name}=\"${value}\"`;\n\
        export const jsx = () => 'never';\n";
    let main =
        "export default { fetch: () => new Response(<p class=\"x\">{1 + 1}</p> as unknown as string) };\n";
    serves(&[("deno.json", config), ("main.tsx", main), ("h.ts", runtime)], "<p class=\"x\">{2}</p>").await;
}

#[tokio::test]
async fn a_package_json_with_imports_of_its_own() {
    let package = r##"{"type": "module", "imports": {"#text": "./text.js", "#lib/*": "./lib/*.js"}}"##;
    let main = "import text from '#text';\nimport one from '#lib/one';\n\
        export default { fetch: () => new Response(text + one) };\n";
    let files = [
        ("package.json", package),
        ("main.js", main),
        ("text.js", "export default 'text ';\n"),
        ("lib/one.js", "export default 'one';\n"),
    ];
    serves(&files, "text one").await;
}
