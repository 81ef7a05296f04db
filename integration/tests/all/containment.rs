//! Containment: each kind of misbehaviour beside a bystander, none of whose requests may fail.
//! `make bench` measures the slowdown (`-- containment`).

use switchyard_contract::event::EventType;
use switchyard_integration::faults::{self, SECRET, Scene};
use switchyard_integration::usage;
use switchyard_integration::{eventually, within};

async fn contained(name: &str) {
    let fault = faults::named(name);
    let scene = Scene::of(fault).await;
    let bystander = scene.bystander().await;
    scene.commit(&fault.project(), fault).await;
    bystander.finish(&scene.router).await;
}

macro_rules! contained {
    ($($name:ident)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                contained(stringify!($name)).await;
            }
        )*

        #[test]
        fn every_fault_has_a_test() {
            let tested = [$(stringify!($name)),*];
            for fault in faults::all() {
                assert!(tested.contains(&fault.name), "{} is not tested", fault.name);
            }
        }
    };
}

contained! {
    an_endless_loop
    a_catastrophic_regular_expression
    a_wait_on_atomics
    a_storm_of_microtasks
    a_storm_of_ticks
    workers_that_never_rest

    growth_by_objects
    growth_by_strings
    growth_of_one_array
    two_gigabytes_of_array_buffers
    many_small_array_buffers
    a_gigabyte_and_a_half_of_wasm
    a_split_of_a_huge_string
    deep_recursion
    deep_json

    an_exit_by_deno
    an_exit_by_node
    an_abort
    a_kill_of_itself
    a_kill_of_others
    a_swallowed_sigterm
    an_unhandled_rejection
    a_throw_in_a_timer_after_the_answer
    a_throw_while_a_stream_is_pulled
    a_handler_that_never_answers
    a_handler_that_answers_no_response
    a_used_body
    status_99
    an_invalid_header

    a_thousand_workers
    workers_that_make_workers
    a_fork_bomb
    exhaustion_of_descriptors
    exhaustion_of_sockets
    exhaustion_of_threads
    a_full_disk
    a_flood_of_output
    a_line_without_end

    proc
    files_of_the_machine
    files_of_another_project_by_path
    files_of_another_project_by_symbolic_link
    files_of_another_project_by_node_resolution
    files_of_another_project_by_import
    the_environment_of_the_router
    tricks_with_the_environment_of_deno
    writing_outside
    a_worker_that_asks_for_more
    native_code

    the_admin_listener_by_fetch
    the_admin_listener_by_a_redirect
    the_admin_listener_by_a_socket
    the_admin_listener_by_other_words_for_loopback
    datagrams_to_the_machine
    sockets_of_other_cells
    listening_on_a_port
}

#[tokio::test]
async fn a_project_that_ignores_sigterm_is_still_ended_when_it_is_replaced() {
    let fault = faults::named("a_swallowed_sigterm");
    let (name, scene) = (fault.project(), Scene::of(fault).await);
    let bystander = scene.bystander().await;
    scene.commit(&name, fault).await;
    let mut events = scene.router.events().await;
    let old = scene.router.admin.project(&name).await.pid.unwrap();
    scene.offer(&name, fault, "another").await;
    events.wait_for(EventType::VersionRetired, &name).await;
    let router = u32::try_from(scene.router.pid().as_raw_nonzero().get()).unwrap();
    eventually("the old cell is gone", || std::future::ready(!usage::children(router).contains(&old))).await;
    bystander.finish(&scene.router).await;
}

#[tokio::test]
async fn a_router_with_blocked_projects_still_stops() {
    let fault = faults::named("workers_that_never_rest");
    let scene = Scene::of(fault).await;
    scene.commit(&fault.project(), fault).await;
    let Scene { router, .. } = scene;
    assert!(within("its end", router.stop()).await.status.success());
}

/// Versions that lead to another project's files. They are not built, and the previous version
/// stays. `VICTIM` in texts stands for the other project's files.
async fn is_not_built(files: &[(&str, &str)], links: &[(&str, &str)]) {
    let fault = faults::named("status_99");
    let (name, scene) = (fault.project(), Scene::of(fault).await);
    let bystander = scene.bystander().await;
    let pid = scene.router.admin.project(&name).await.pid;
    let victim = scene.checkout().await;
    let files: Vec<(&str, String)> =
        files.iter().map(|(path, text)| (*path, text.replace("VICTIM", &victim.to_string_lossy()))).collect();
    let error = scene.refuses_to_build(&name, &files, links).await;
    assert!(!error.contains(SECRET), "{error}");
    assert_eq!(scene.router.public.get(&format!("/{name}/")).await.text(), "here");
    assert_eq!(scene.router.admin.project(&name).await.pid, pid);
    bystander.finish(&scene.router).await;
}

/// Answers with its imports.
fn importing(statement: &str) -> String {
    format!("{statement}\nexport default {{ fetch: () => new Response(String(secret)) }};\n")
}

#[tokio::test]
async fn a_static_import_of_another_projects_module_is_not_built() {
    let main = importing("import { secret } from 'file://VICTIM/secret.mjs';");
    is_not_built(&[("main.ts", &main)], &[]).await;
}

#[tokio::test]
async fn a_static_import_by_dots_is_not_built() {
    let up = "../".repeat(20);
    let main = importing(&format!("import {{ secret }} from '{up}VICTIM/secret.mjs';"));
    is_not_built(&[("main.ts", &main)], &[]).await;
}

#[tokio::test]
async fn a_static_import_of_another_projects_json_is_not_built() {
    let main = importing("import secret from 'file://VICTIM/secret.json' with { type: 'json' };");
    is_not_built(&[("main.ts", &main)], &[]).await;
}

#[tokio::test]
async fn a_static_import_of_another_projects_text_is_not_built() {
    let main = importing("import secret from 'file://VICTIM/secret.txt' with { type: 'text' };");
    is_not_built(&[("main.ts", &main)], &[]).await;
}

#[tokio::test]
async fn a_static_import_of_another_projects_bytes_is_not_built() {
    let main = importing("import secret from 'file://VICTIM/secret.txt' with { type: 'bytes' };");
    is_not_built(&[("main.ts", &main)], &[]).await;
}

#[tokio::test]
async fn a_static_import_of_the_machines_files_is_not_built() {
    let main = importing("import secret from 'file:///etc/passwd' with { type: 'text' };");
    is_not_built(&[("main.ts", &main)], &[]).await;
}

#[tokio::test]
async fn an_import_map_that_leads_to_another_project_is_not_built() {
    let main = importing("import { secret } from 'far/secret.mjs';");
    let config = r#"{"imports": {"far/": "file://VICTIM/"}}"#;
    is_not_built(&[("main.ts", &main), ("deno.json", config)], &[]).await;
}

#[tokio::test]
async fn a_package_json_whose_imports_lead_to_another_project_is_not_built() {
    let main = importing("import secret from '#far';");
    let config = r##"{"imports": {"#far": "file://VICTIM/secret.cjs"}}"##;
    is_not_built(&[("main.ts", &main), ("package.json", config)], &[]).await;
}

#[tokio::test]
async fn a_workspace_that_takes_in_another_project_is_not_built() {
    let main = importing("import { secret } from '@victim/secret';");
    let config = r#"{"workspace": ["../victim"]}"#;
    is_not_built(&[("main.ts", &main), ("deno.json", config)], &[]).await;
}

#[tokio::test]
async fn a_symbolic_link_to_another_project_is_not_built() {
    is_not_built(&[], &[("link.txt", "../victim/secret.txt")]).await;
}

#[tokio::test]
async fn a_symbolic_link_to_another_projects_folder_is_not_built() {
    is_not_built(&[], &[("folder", "../victim")]).await;
}

#[tokio::test]
async fn packages_that_are_a_link_to_another_project_are_not_built() {
    is_not_built(&[], &[("node_modules", "../victim")]).await;
}

#[tokio::test]
async fn another_project_is_not_included_without_its_leave() {
    let config = r#"{"switchyard": {"include": ["../victim"], "share": true}}"#;
    is_not_built(&[("deno.json", config)], &[]).await;
}

#[tokio::test]
async fn an_import_through_a_linked_package_is_not_built() {
    let main = importing("import secret from 'linked/secret.cjs';");
    let links = [("node_modules/linked", "../../victim")];
    is_not_built(&[("main.ts", &main), ("node_modules/x/package.json", "{}")], &links).await;
}

#[tokio::test]
async fn a_package_whose_main_is_another_projects_file_is_not_built() {
    let main = importing("import secret from 'far';");
    let package = r#"{"name": "far", "main": "../../../victim/secret.cjs"}"#;
    is_not_built(&[("main.ts", &main), ("node_modules/far/package.json", package)], &[]).await;
}
