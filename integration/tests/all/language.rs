//! What a project's code may be written in and import.

use switchyard_integration::fixtures;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

/// Serves a folder of the fixtures and compares its answer.
async fn answers(folder: &str, expected: &str) {
    let volume = Volume::new();
    volume.copy_in(&fixtures::folder(folder), "a");
    // Kept under another name: version control leaves out what is called node_modules.
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
