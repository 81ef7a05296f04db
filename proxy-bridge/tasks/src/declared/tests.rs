use std::fs;

use serde_json::json;
use switchyard_contract::task::TaskCode;
use tempfile::TempDir;

use super::*;

fn project(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn declared(files: &[(&str, &str)]) -> Declared {
    read(project(files).path()).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// All problems as `file:line:column: message`.
fn problems(files: &[(&str, &str)]) -> Vec<String> {
    let (_, problems) = read_all(project(files).path());
    let shown = problems.into_iter().map(|problem| {
        let number = |number: Option<u32>| number.map(|number| format!(":{number}")).unwrap_or_default();
        let (line, column) = (number(problem.line), number(problem.column));
        format!("{}{line}{column}: {}", problem.file.unwrap_or_default(), problem.message)
    });
    shown.collect()
}

/// The problems of one task in deno.json, whose module is `a.ts`.
fn problems_of(task: &str) -> Vec<String> {
    let config = format!("{{\"switchyard\": {{\"tasks\": {{\"a\": {task}}}}}}}");
    problems(&[("deno.json", &config), ("a.ts", "")])
}

const HELLO: &str = "apiVersion: dicode/v1\nkind: Task\nname: Hello\nruntime: js\ntrigger:\n  manual: true\n";

#[test]
fn a_folder_without_declarations_has_no_tasks() {
    assert_eq!(declared(&[]), Declared::default());
    assert_eq!(
        declared(&[("deno.json", "{\"tasks\": {\"dev\": \"deno run\"}}"), ("main.ts", "")]),
        Declared::default()
    );
    assert_eq!(declared(&[("tasks/index.js", ""), ("tasks/a/readme.md", "")]), Declared::default());
}

#[test]
fn every_field_of_a_task_in_deno_json_is_read() {
    let config = r#"{
      "permissions": {"digest": {"net": ["api.example.com"], "env": true}},
      "switchyard": {"tasks": {"digest": {
        "entry": "./tasks/digest.ts", "description": "Mails a digest", "cron": ["0 8 * * 1-5", "0 10 * * 6"],
        "zone": "Europe/Berlin", "overlap": "queue", "catchUp": "all", "jitter": "30s", "timeout": "5m",
        "retry": {"attempts": 3, "backoff": "1m"},
        "params": {"to": {"type": "string", "default": "me"}, "limit": 10, "format": {"default": "md", "options": ["md", "html"]}},
        "permissions": "digest", "version": "step", "enabled": false, "keepInputs": true,
        "webhook": {"path": "/hooks/digest/now", "secret": "HOOK", "kind": "standard", "sync": true},
        "after": ["other", {"task": "third", "on": "failure"}], "file": "pending/*.json"
      }, "other": {"entry": "other.js", "webhook": {"path": "o", "open": true, "get": true}},
         "third": {"entry": "other.js", "daemon": {"restart": "on-failure"}, "permissions": {"net": false, "read": ["/srv"]}}}}
    }"#;
    let declared = declared(&[("deno.jsonc", config), ("tasks/digest.ts", ""), ("other.js", "")]);
    assert_eq!(declared.modules, ["other.js", "tasks/digest.ts"]);
    let json = serde_json::to_value(&declared.set.tasks).unwrap();
    assert_eq!(
        json[0],
        json!({
            "name": "digest", "description": "Mails a digest", "declared_in": "deno.jsonc",
            "code": {"kind": "module", "path": "tasks/digest.ts"},
            "triggers": [
                {"kind": "cron", "schedules": ["0 8 * * 1-5", "0 10 * * 6"], "zone": "Europe/Berlin", "sunday_is_one": false, "catch_up": "all", "jitter_ms": 30_000},
                {"kind": "webhook", "path": "digest/now", "signature": {"kind": "standard", "secret": "HOOK"}, "open": false, "sync": true, "get": false},
                {"kind": "chain", "after": "other", "on": "success"},
                {"kind": "chain", "after": "third", "on": "failure"},
                {"kind": "file", "pattern": "pending/*.json"}
            ],
            "timeout_ms": 300_000, "overlap": "queue", "retry": {"attempts": 3, "backoff_ms": 60_000},
            "params": [
                {"name": "to", "type": "string", "description": null, "required": false, "default": "me", "options": []},
                {"name": "limit", "type": "number", "description": null, "required": false, "default": 10, "options": []},
                {"name": "format", "type": "string", "description": null, "required": false, "default": "md", "options": ["md", "html"]}
            ],
            "version": "step",
            "permissions": {"env": null, "net": ["api.example.com"], "read": [], "write": [], "sys": []},
            "enabled": false, "keep_inputs": true
        })
    );
    assert_eq!(json[1]["triggers"][0]["get"], true);
    assert_eq!(json[2]["triggers"], json!([{"kind": "daemon", "restart": "on-failure"}]));
    assert_eq!(
        json[2]["permissions"],
        json!({"env": null, "net": [], "read": ["/srv"], "write": null, "sys": null})
    );
}

#[test]
fn a_wrong_field_is_named_with_its_line_and_the_fix() {
    for (task, says) in [
        (
            r#"{"entyr": "a.ts"}"#,
            "deno.json:1:33: \"switchyard.tasks.a.entyr\" in deno.json is unknown: expected one of entry",
        ),
        (r#"{"entyr": "a.ts"}"#, "did you mean \"entry\"?"),
        (r#"{}"#, "\"switchyard.tasks.a.entry\" in deno.json is missing"),
        (r#"{"entry": "b.ts"}"#, "names b.ts, which does not exist"),
        (r#"{"entry": "../a.ts"}"#, "must be the path of a file in the project"),
        (r#"{"entry": "jsr:@x/y"}"#, "must be the path of a file in the project"),
        (r#"{"entry": "a.py"}"#, "must be a JavaScript or TypeScript file"),
        (r#"{"entry": "a.ts", "cron": "61 * * * *"}"#, "\"switchyard.tasks.a.cron\" in deno.json is invalid"),
        (r#"{"entry": "a.ts", "cron": []}"#, "must be a cron expression"),
        (r#"{"entry": "a.ts", "cron": "* * * * *", "zone": "Europe/Berln"}"#, "must be a time zone"),
        (r#"{"entry": "a.ts", "zone": "UTC"}"#, "has no effect without \"cron\""),
        (
            r#"{"entry": "a.ts", "overlap": "skp"}"#,
            "must be one of skip, queue, replace, allow; did you mean \"skip\"?",
        ),
        (r#"{"entry": "a.ts", "timeout": "soon"}"#, "must be a time from"),
        (r#"{"entry": "a.ts", "timeout": 0}"#, "must be a time from"),
        (r#"{"entry": "a.ts", "retry": {"attempts": 0}}"#, "must be a whole number from 1 to 20"),
        (
            r#"{"entry": "a.ts", "retry": {}}"#,
            "\"switchyard.tasks.a.retry.attempts\" in deno.json is missing",
        ),
        (r#"{"entry": "a.ts", "webhook": "x"}"#, "must say who may start it"),
        (r#"{"entry": "a.ts", "webhook": {"path": "x"}}"#, "needs \"secret\""),
        (
            r#"{"entry": "a.ts", "webhook": {"path": "x", "secret": "A", "open": true}}"#,
            "contradicts \"secret\"",
        ),
        (
            r#"{"entry": "a.ts", "webhook": {"path": "x", "secret": "A", "get": true}}"#,
            "needs \"open\": true",
        ),
        (r#"{"entry": "a.ts", "webhook": {"path": "git/x", "open": true}}"#, "must not begin with git/"),
        (r#"{"entry": "a.ts", "webhook": {"path": "a/../b", "open": true}}"#, "must be a path of letters"),
        (r#"{"entry": "a.ts", "daemon": true, "timeout": "1m"}"#, "contradicts \"daemon\""),
        (r#"{"entry": "a.ts", "daemon": true, "cron": "* * * * *"}"#, "contradicts \"daemon\""),
        (r#"{"entry": "a.ts", "after": "b"}"#, "starts \"a\" after \"b\", which does not exist"),
        (
            r#"{"entry": "a.ts", "after": "a"}"#,
            "makes a circle of tasks that start each other for ever: a -> a",
        ),
        (r#"{"entry": "a.ts", "chain": "a"}"#, "is written \"after\""),
        (r#"{"entry": "a.ts", "file": "../*.json"}"#, "must be a path below DATA_DIR"),
        (r#"{"entry": "a.ts", "file": "*/x.json"}"#, "must be a path below DATA_DIR"),
        (
            r#"{"entry": "a.ts", "params": {"x": {"type": "integer", "default": 1.5}}}"#,
            "must be of the parameter's type, integer",
        ),
        (
            r#"{"entry": "a.ts", "params": {"x": {"default": "c", "options": ["a"]}}}"#,
            "must be one of \"options\"",
        ),
        (
            r#"{"entry": "a.ts", "permissions": "x"}"#,
            "names the set \"x\", which \"permissions\" does not have",
        ),
        (r#"{"entry": "a.ts", "permissions": {"run": ["ls"]}}"#, "is unknown: expected one of env, net"),
        (r#"{"entry": "a.ts", "permissions": {"net": {"deny": ["a"]}}}"#, "list what it may do"),
        (r#"{"entry": "a.ts", "entry": "a.ts"}"#, "occurs twice"),
    ] {
        let found = problems_of(task);
        assert!(found.iter().any(|found| found.contains(says)), "{task}: {found:#?}");
    }
}

#[test]
fn all_problems_are_told_at_once_and_a_secret_is_not_repeated() {
    let found = problems_of(
        "{\n\"cron\": \"x\",\n\"webhook\": {\"path\": \"x\", \"secret\": \"hunter2-!\"},\n\"foo\": 1}",
    );
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found.iter().any(|found| found.starts_with("deno.json:2:")), "{found:#?}");
    assert!(
        found
            .iter()
            .any(|found| found.starts_with("deno.json:3:") && found.contains("not the secret itself"))
    );
    assert!(!found.concat().contains("hunter2"), "{found:#?}");
}

#[test]
fn names_webhooks_and_circles_are_checked_over_all_spellings() {
    let config = r#"{"switchyard": {"tasks": {
        "hello": {"entry": "a.ts", "webhook": {"path": "x", "open": true}},
        "b": {"entry": "a.ts", "webhook": {"path": "/x", "open": true}, "after": "c"},
        "c": {"entry": "a.ts", "after": "p"}, "cron/x": {"entry": "a.ts"}},
        "pipelines": {"p": {"tasks": ["b"], "after": "b"}}}}"#;
    let found = problems(&[
        ("deno.json", config),
        ("a.ts", ""),
        ("tasks/hello/task.yaml", HELLO),
        ("tasks/hello/task.js", ""),
    ]);
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[0].contains("\"cron/x\" in deno.json begins with cron/"), "{}", found[0]);
    assert_eq!(
        found[1],
        "tasks/hello/task.yaml:1:1: \"hello\" in tasks/hello/task.yaml is declared in deno.json, line 2 as well: rename one of \
         them"
    );
    assert!(found[2].contains("start each other for ever"), "{}", found[2]);
    assert!(found[3].contains("has the path \"x\", which \"hello\" has as well"), "{}", found[3]);
}

#[test]
fn a_pipeline_file_of_seed_003_is_read_as_it_is() {
    let file = r#"{"name": "content-generation", "version": "1.0.0", "description": "Demo",
        "tasks": ["research", "analysis"], "taskConfig": {"analysis": {"depth": 2}}, "llm": {"provider": "x"}}"#;
    let declared = declared(&[("pipeline.json", file), ("tasks/index.js", "export default {}")]);
    assert_eq!(
        (declared.set.registry.as_deref(), declared.modules),
        (Some("tasks/index.js"), vec!["tasks/index.js".to_owned()])
    );
    let pipeline = serde_json::to_value(&declared.set.pipelines[0]).unwrap();
    assert_eq!((&pipeline["name"], &pipeline["version"]), (&json!("content-generation"), &json!("run")));
    assert_eq!(pipeline["steps"][0]["config"], json!({"llm": {"provider": "x"}}));
    assert_eq!(pipeline["steps"][1]["config"], json!({"llm": {"provider": "x"}, "depth": 2}));
    assert_eq!(pipeline["steps"][1]["needs"], json!(null));
}

#[test]
fn pipelines_are_found_by_their_files_and_others_are_left_alone() {
    let config = r#"{"switchyard": {"registry": "./reg.ts", "pipelines": {"named": "./pipelines/x.json"}}}"#;
    let graph = r#"{"steps": [{"name": "a"}, {"name": "b", "needs": ["a"], "timeout": "1m", "retry": {"attempts": 2}},
        {"name": "c", "task": "b", "needs": ["a"]}, {"name": "d", "needs": ["b", "c"]}], "cron": "0 0 * * *", "version": "step"}"#;
    let declared = declared(&[
        ("deno.json", config),
        ("reg.ts", ""),
        ("pipelines/x.json", "{\"tasks\": [\"one\"]}"),
        ("pipelines/graph.json", graph),
        ("pipelines/other.json", "{\"stages\": []}"),
    ]);
    let names: Vec<_> = declared.set.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
    assert_eq!(names, ["graph", "named"]);
    let graph = &declared.set.pipelines[0];
    assert_eq!(
        (graph.steps[1].timeout_ms, graph.steps[1].retry.attempts, graph.triggers.len()),
        (Some(60_000), 2, 1)
    );
    assert_eq!(declared.warnings.len(), 1);
    assert_eq!(declared.warnings[0].file.as_deref(), Some("pipelines/other.json"));
}

#[test]
fn a_wrong_pipeline_is_refused_by_its_step() {
    for (pipeline, says) in [
        (r#"{"tasks": ["a", "a"]}"#, "has two steps \"a\""),
        (r#"{"tasks": []}"#, "must be a list of 1 to"),
        (r#"{}"#, "\"switchyard.pipelines.p.tasks\" in deno.json is missing"),
        (r#"{"tasks": ["a"], "steps": ["a"]}"#, "keep one of them"),
        (
            r#"{"steps": [{"name": "a", "needs": ["b"]}, {"name": "b", "needs": ["a"]}]}"#,
            "wait for each other: ",
        ),
        (r#"{"steps": [{"name": "a", "needs": ["c"]}]}"#, "needs \"c\", which does not exist"),
        (r#"{"steps": [{"name": "a", "gate": {}}]}"#, "is a kind of step that Switchyard does not have"),
        (r#"{"steps": [{"name": "a", "nedes": []}]}"#, "did you mean \"needs\"?"),
        (r#"{"tasks": ["a"], "llm": {}}"#, "\"switchyard.pipelines.p.llm\" in deno.json is unknown"),
        (r#"{"tasks": ["a"], "daemon": true}"#, "is unknown"),
        (r#"{"tasks": ["b"]}"#, "there is no registry"),
        (r#"{"tasks": ["a"], "taskConfig": {"a": 1}}"#, "must be an object: the step's configuration"),
    ] {
        let config = format!(
            "{{\"switchyard\": {{\"tasks\": {{\"a\": {{\"entry\": \"a.ts\"}}}}, \"pipelines\": {{\"p\": {pipeline}}}}}}}"
        );
        let found = problems(&[("deno.json", &config), ("a.ts", "")]);
        assert!(found.iter().any(|found| found.contains(says)), "{pipeline}: {found:#?}");
    }
}

#[test]
fn schedules_of_a_worker_are_one_task_that_counts_weekdays_as_workers_do() {
    let files = [
        ("deno.json", r#"{"switchyard": {"crons": ["0 0 * * 1", "*/5 * * * *"]}}"#),
        ("wrangler.toml", "main = \"a.ts\"\n[triggers]\ncrons = [\"*/5 * * * *\", \"0 9 * * *\"]\n"),
        ("a.ts", ""),
    ];
    let declared = declared(&files);
    let task = &declared.set.tasks[0];
    assert_eq!((task.name.as_str(), &task.code), ("scheduled", &TaskCode::Scheduled));
    let TaskTrigger::Cron(cron) = &task.triggers[0] else { panic!("{:?}", task.triggers) };
    assert_eq!(cron.schedules, ["0 0 * * 1", "*/5 * * * *", "0 9 * * *"]);
    assert!(cron.sunday_is_one && declared.modules.is_empty());
}

#[test]
fn a_task_yaml_is_read_as_dicode_reads_it() {
    let webhook = "apiVersion: dicode/v1\nkind: Task\nname: Text Form\ndescription: >\n  Changes\n  text.\nruntime: deno\n\
        trigger:\n  webhook: /hooks/text-form\nparams:\n  text:\n    type: string\n    required: true\n  n:\n    type: number\n    default: \"80\"\n\
        permissions:\n  env: [TOKEN]\n  net: []\n  fs:\n    - {path: \"${DATADIR}/x\", permission: rw}\n    - {path: /srv, permission: r}\n\
        timeout: 10s\nnotify: {on_failure: true}\nrun_inputs: {enabled: true}\nretry: {attempts: 2, backoff: 5s}\n";
    let signed = "apiVersion: dicode/v1\nkind: Task\nname: Push\ntrigger: {webhook: /hooks/push, webhook_secret: \"${PUSH_SECRET}\"}\n";
    let declared = declared(&[
        ("tasks/form/task.yaml", webhook),
        ("tasks/form/task.ts", ""),
        ("tasks/push/task.yaml", signed),
        ("tasks/push/task.mjs", ""),
        ("tasks/tekton/task.yaml", "apiVersion: tekton.dev/v1\nkind: Task\nspec: {}\n"),
    ]);
    let form = serde_json::to_value(&declared.set.tasks[0]).unwrap();
    assert_eq!(
        form,
        json!({
            "name": "form", "description": "Text Form: Changes text.", "declared_in": "tasks/form/task.yaml",
            "code": {"kind": "module", "path": "tasks/form/task.ts"},
            "triggers": [{"kind": "webhook", "path": "text-form", "signature": null, "open": false, "sync": true, "get": false}],
            "timeout_ms": 10_000, "overlap": "allow", "retry": {"attempts": 2, "backoff_ms": 5_000},
            "params": [
                {"name": "text", "type": "string", "description": null, "required": true, "default": null, "options": []},
                {"name": "n", "type": "number", "description": null, "required": false, "default": 80, "options": []}
            ],
            "version": "run", "permissions": {"env": ["TOKEN"], "net": [], "read": ["/srv"], "write": [], "sys": []},
            "enabled": true, "keep_inputs": true
        })
    );
    let push = serde_json::to_value(&declared.set.tasks[1]).unwrap();
    assert_eq!(push["triggers"][0]["signature"], json!({"kind": "github", "secret": "PUSH_SECRET"}));
    assert_eq!(push["permissions"]["net"], json!(null));
    assert_eq!(declared.modules, ["tasks/form/task.ts", "tasks/push/task.mjs"]);
    assert_eq!(declared.warnings.len(), 2, "{:#?}", declared.warnings);
}

#[test]
fn a_project_may_be_one_task_yaml() {
    let text = HELLO.replace("Hello", "Hello Cron").replace("manual: true", "cron: \"* * * * *\"");
    let declared = declared(&[("task.yaml", &text), ("task.js", "")]);
    assert_eq!(declared.set.tasks[0].name.as_str(), "hello-cron");
    assert_eq!(declared.modules, ["task.js"]);
}

#[test]
fn what_dicode_has_and_switchyard_does_not_is_named_by_line_and_field() {
    for (text, says) in [
        ("runtime: python\n", ":6:1: \"runtime\" in tasks/a/task.yaml is \"python\", which is not possible"),
        ("docker: {image: x}\n", "\"docker\" in tasks/a/task.yaml is not possible"),
        ("permissions: {run: [\"*\"]}\n", "\"permissions.run\" in tasks/a/task.yaml is not possible"),
        ("permissions: {env: [\"A=1\"]}\n", "has a value, which is not possible here"),
        ("timeot: 10s\n", "\"timeot\" in tasks/a/task.yaml is unknown"),
        ("timeot: 10s\n", "did you mean \"timeout\"?"),
        ("timeout: later\n", ":6:1: \"timeout\" in tasks/a/task.yaml must be a time"),
        ("mcp_port: 1\n", "is not possible"),
        ("on_failure_chain: gone\n", "names \"gone\", which does not exist"),
        ("params: {n: {type: number, default: abc}}\n", "must be of the parameter's type, number"),
        ("a: *b\n", "does not parse"),
    ] {
        let text = format!("apiVersion: dicode/v1\nkind: Task\nname: A\ntrigger:\n  manual: true\n{text}");
        let found = problems(&[("tasks/a/task.yaml", &text), ("tasks/a/task.ts", "")]);
        assert!(found.iter().any(|found| found.contains(says)), "{text}: {found:#?}");
    }
    for (trigger, says) in [
        ("{cron: \"* * * * *\", manual: true}", "has cron and manual: a task has one trigger"),
        ("{}", "has none of cron"),
        ("{webhook: /hooks/x, webhook_secret: s3cr3t}", "a secret does not belong into a file"),
        ("{chain: {from: x}}", "which does not exist"),
        ("{cron: \"* * *\"}", "\"trigger.cron\" in tasks/a/task.yaml is invalid"),
    ] {
        let text = format!("apiVersion: dicode/v1\nkind: Task\nname: A\ntrigger: {trigger}\n");
        let found = problems(&[("tasks/a/task.yaml", &text), ("tasks/a/task.ts", "")]);
        assert!(found.iter().any(|found| found.contains(says)), "{trigger}: {found:#?}");
        assert!(!found.concat().contains("s3cr3t"));
    }
}

#[test]
fn a_set_applies_its_overrides_and_names_its_tasks() {
    let root = "apiVersion: dicode/v1\nkind: TaskSet\nmetadata: {name: infra}\nspec:\n  defaults: {timeout: 20s, env: [LEVEL]}\n  entries:\n\
        \x20   hello: {ref: {path: ./hello/task.yaml}}\n\
        \x20   again:\n      ref: {path: ./hello/task.yaml}\n      overrides: {timeout: 5s, trigger: {chain: {from: hello}}}\n\
        \x20   sub:\n      ref: {path: ./sub/taskset.yaml}\n      overrides:\n        entries: {deep: {timeout: 7s}, off: {enabled: false}}\n";
    let sub = "apiVersion: dicode/v1\nkind: TaskSet\nmetadata: {name: ignored}\nspec:\n  entries:\n    deep: {ref: {path: ../hello/task.yaml}}\n\
        \x20   off: {ref: {path: ./off/task.yaml}}\n    in: {inline: {name: In, trigger: {manual: true}}}\n";
    let files = [
        ("tasks/taskset.yaml", root),
        ("tasks/sub/taskset.yaml", sub),
        (
            "tasks/sub/off/task.yaml",
            "apiVersion: dicode/v1\nkind: Task\nname: Off\nruntime: docker\ntrigger: {manual: true}\n",
        ),
        ("tasks/sub/task.ts", ""),
        ("tasks/hello/task.yaml", HELLO),
        ("tasks/hello/task.js", ""),
    ];
    let declared = declared(&files);
    let tasks: Vec<_> = declared.set.tasks.iter().map(|task| (task.name.as_str(), task.timeout_ms)).collect();
    assert_eq!(
        tasks,
        [
            ("infra/again", Some(5_000)),
            ("infra/hello", Some(20_000)),
            ("infra/sub/deep", Some(7_000)),
            ("infra/sub/in", None)
        ]
    );
    let again = serde_json::to_value(&declared.set.tasks[0]).unwrap();
    assert_eq!(again["triggers"], json!([{"kind": "chain", "after": "infra/hello", "on": "success"}]));
    assert_eq!(again["permissions"]["env"], json!(["LEVEL"]));
    assert_eq!(declared.modules, ["tasks/hello/task.js", "tasks/sub/task.ts"]);
    // The parent's override alone makes another specification.
    let changed = root.replace("timeout: 5s", "timeout: 6s");
    let mut files = files;
    files[0].1 = &changed;
    assert_ne!(super::read(project(&files).path()).unwrap().set.hash(), declared.set.hash());
}

#[test]
fn a_wrong_set_is_refused_where_it_is_wrong() {
    for (entries, says) in [
        ("a: {ref: {url: \"https://x/y.git\", path: t.yaml}}", "make that repository a git source"),
        ("a: {ref: {path: ../x/task.yaml}}", "leads out of the project"),
        ("a: {ref: {path: gone/task.yaml}}", "names gone/task.yaml, which does not exist"),
        ("a: {ref: {path: taskset.yaml}}", "which leads here"),
        ("a: {}", "needs one of \"ref\" and \"inline\""),
        (
            "a: {ref: {path: a/task.yaml}, overrides: {timeuot: 1s}}",
            "\"spec.entries.a.overrides.timeuot\" in taskset.yaml is unknown",
        ),
        ("a: {ref: {path: a/task.yaml}, overrides: {timeout: x}}", "taskset.yaml:6:"),
        (
            "a: {ref: {path: a/task.yaml}, overrides: {runtime: docker}}",
            "\"runtime\" in taskset.yaml is \"docker\", which is not possible",
        ),
        (
            "a: {ref: {path: s.yaml}, overrides: {entries: {y: {}}}}",
            "\"y\" in taskset.yaml is no entry of s.yaml",
        ),
    ] {
        let set = format!(
            "apiVersion: dicode/v1\nkind: TaskSet\nmetadata: {{name: s}}\nspec:\n  entries:\n    {entries}\n"
        );
        let files = [
            ("taskset.yaml", set.as_str()),
            ("a/task.yaml", HELLO),
            ("a/task.js", ""),
            (
                "s.yaml",
                "apiVersion: dicode/v1\nkind: TaskSet\nspec: {entries: {x: {ref: {path: a/task.yaml}}}}\n",
            ),
        ];
        let found = problems(&files);
        assert!(found.iter().any(|found| found.contains(says)), "{entries}: {found:#?}");
    }
}

#[test]
fn a_failure_chain_becomes_the_trigger_of_the_other_task() {
    let failing = format!("{HELLO}on_failure_chain: alert\n");
    let declared = declared(&[
        ("tasks/a/task.yaml", &failing),
        ("tasks/a/task.js", ""),
        ("tasks/alert/task.yaml", HELLO),
        ("tasks/alert/task.js", ""),
    ]);
    let alert = serde_json::to_value(&declared.set.tasks[1]).unwrap();
    assert_eq!(alert["triggers"], json!([{"kind": "chain", "after": "a", "on": "failure"}]));
}

#[test]
fn a_required_parameter_without_a_default_is_refused_where_nobody_gives_it() {
    let of = |trigger: &str, more: &str| {
        let params = "\"params\": {\"day\": {\"type\": \"string\", \"required\": true}}";
        problems_of(&format!("{{\"entry\": \"a.ts\", {trigger}{params}{more}}}"))
    };
    for (trigger, key) in [
        ("\"cron\": \"0 8 * * *\", ", "cron"),
        ("\"daemon\": true, ", "daemon"),
        ("\"file\": \"in/*.json\", ", "file"),
    ] {
        let problems = of(trigger, "");
        assert_eq!(problems.len(), 1, "{problems:?}");
        let expected =
            format!("\"{key}\" in deno.json starts \"a\" without parameters, but \"day\" is required");
        assert!(problems[0].starts_with("deno.json:1:") && problems[0].contains(&expected), "{problems:?}");
        assert_eq!(of(trigger, ", \"enabled\": false"), Vec::<String>::new());
    }
    assert_eq!(of("\"webhook\": {\"path\": \"a\", \"open\": true}, ", ""), Vec::<String>::new());
    assert_eq!(of("", ""), Vec::<String>::new());
    let pipeline = "{\"switchyard\": {\"tasks\": {\"a\": {\"entry\": \"a.ts\"}}, \"pipelines\": {\"p\": {\
        \"tasks\": [\"a\"], \"after\": \"a\", \"params\": {\"n\": {\"type\": \"number\", \"required\": true}}}}}}";
    let problems = problems(&[("deno.json", pipeline), ("a.ts", "")]);
    assert!(
        problems.iter().any(|problem| problem.contains("\"after\" in deno.json starts \"p\"")),
        "{problems:?}"
    );
}

#[test]
fn a_step_without_a_task_is_refused_at_its_place() {
    let config = "{\"switchyard\": {\n  \"tasks\": {\"a\": {\"entry\": \"a.ts\"}},\n  \"pipelines\": {\"p\": {\"tasks\": [\n    \
        \"a\",\n    {\"name\": \"second\", \"task\": \"b\"}\n  ]}}}}";
    let problems = problems(&[("deno.json", config), ("a.ts", "")]);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("deno.json:5:5: \"p\" in deno.json has the step \"b\""), "{problems:?}");
}

#[test]
fn a_task_with_two_triggers_hides_nothing_that_is_wrong_with_them() {
    let text = HELLO.replace("manual: true", "manual: true\n  cron: \"61 * * * *\"");
    let problems = problems(&[("tasks/a/task.yaml", &text), ("tasks/a/task.js", "")]);
    assert!(problems.iter().any(|problem| problem.contains("a task has one trigger")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("\"trigger.cron\"")), "{problems:?}");
}

#[test]
fn one_mistake_is_reported_once() {
    let problems_of_zone = problems_of("{\"entry\": \"a.ts\", \"catchUp\": \"often\"}");
    assert_eq!(problems_of_zone.len(), 1, "{problems_of_zone:?}");
    let twice = "{\"switchyard\": {\"tasks\": {\"a\": {\"entry\": \"a.ts\"}}, \"pipelines\": {\"p\": {\
        \"tasks\": [\"a\", {\"name\": \"b\", \"task\": \"a\", \"needs\": [\"nobody\", \"b\"]}]}}}}";
    let found = problems(&[("deno.json", twice), ("a.ts", "")]);
    assert!(found.len() == 1 && found[0].contains("needs \"nobody\""), "{found:?}");
    let cut = problems(&[("deno.json", "{\n  \"switchyard\": {\n    \"tasks\": {")]);
    assert!(cut[0].contains("which begins here and has no end"), "{cut:?}");
}
