//! A schema and the reader of the file accept the same content and refuse the same, as far as the
//! content alone decides it.

use switchyard_integration::schemas::readers::problems;
use switchyard_integration::schemas::{Schemas, parse};

/// The content of files, and true for what is accepted.
type Contents = &'static [(&'static str, bool)];

const DENO: Contents = &[
    (
        r#"{"switchyard": {"entry": "main.ts", "args": ["--level", "3"], "cells": 2, "env": {"MODE": "live", "KEY": true},
            "healthcheck": "/", "idle": "1h 30m", "include": ["../_shared"], "platform": "plain", "port": 3000,
            "routes": ["www.example.com", "/shop"], "share": ["blog"], "stripPrefix": false, "compress": true}}"#,
        true,
    ),
    (
        r#"{"switchyard": {"platform": "static", "static": {"root": "www", "fallback": "app.html", "notFound": false, "immutable": ["a"]}}}"#,
        true,
    ),
    (
        r#"{"switchyard": {"static": {"root": "www", "fallback": true, "notFound": "404.html"}, "idle": 90.5, "share": true}}"#,
        true,
    ),
    (
        r#"{"switchyard": {"crons": "0 3 * * *", "tasks": {
            "a": {"entry": "a.ts", "description": "x", "cron": ["0 8 * * 1-5", "@daily"], "zone": "Europe/Berlin", "catchUp": "all",
                  "jitter": "1m", "after": ["b", {"task": "c", "on": "failure"}], "file": "in/*.json", "overlap": "queue", "timeout": 90,
                  "retry": {"attempts": 3, "backoff": "10s"}, "params": {"day": {"type": "string", "default": "x"}, "dry": false},
                  "permissions": {"net": ["a.com"], "env": true, "read": {"allow": false}}, "version": "step", "enabled": true, "keepInputs": true},
            "b": {"entry": "./a.ts", "daemon": {"restart": "never"}},
            "c": {"entry": "a.ts", "webhook": {"path": "x/y", "open": true, "get": true, "sync": true}},
            "d": {"entry": "a.ts", "webhook": {"path": "z", "secret": "S", "kind": "forgejo"}, "params": [{"name": "n", "required": true}]}}}}"#,
        true,
    ),
    (
        r#"{"switchyard": {"registry": "tasks/index.js", "pipelines": {
            "p": {"tasks": ["a", {"name": "b", "task": "a", "config": {"x": 1}, "timeout": "1m"}], "taskConfig": {"a": {"y": 2}}, "version": "commit"},
            "q": {"steps": [{"name": "a", "needs": []}, {"task": "b", "needs": ["a"], "retry": {"attempts": 2}}], "cron": "@hourly"}}}}"#,
        true,
    ),
    (r#"{"switchyard": []}"#, false),
    (r#"{"switchyard": {"args": "x"}}"#, false),
    (r#"{"switchyard": {"cells": 0}}"#, false),
    (r#"{"switchyard": {"cells": 17}}"#, false),
    (r#"{"switchyard": {"entry": 1}}"#, false),
    (r#"{"switchyard": {"env": {"A-B": "x"}}}"#, false),
    (r#"{"switchyard": {"env": {"A": false}}}"#, false),
    (r#"{"switchyard": {"environment": ""}}"#, false),
    (r#"{"switchyard": {"healthcheck": "healthz"}}"#, false),
    (r#"{"switchyard": {"healthcheck": "/a b"}}"#, false),
    (r#"{"switchyard": {"idle": "soon"}}"#, false),
    (r#"{"switchyard": {"idle": "10"}}"#, false),
    (r#"{"switchyard": {"idle": 0}}"#, false),
    (r#"{"switchyard": {"include": ["lib"]}}"#, false),
    (r#"{"switchyard": {"platform": "zzzz"}}"#, false),
    (r#"{"switchyard": {"platform": "static", "entry": "main.ts"}}"#, false),
    (r#"{"switchyard": {"port": 65536}}"#, false),
    (r#"{"switchyard": {"routes": "www.example.com"}}"#, false),
    (r#"{"switchyard": {"share": false}}"#, false),
    (r#"{"switchyard": {"share": ["a b"]}}"#, false),
    (r#"{"switchyard": {"static": {"fallback": 1}}}"#, false),
    (r#"{"switchyard": {"static": {"notFound": true}}}"#, false),
    (r#"{"switchyard": {"static": {"immutable": "assets"}}}"#, false),
    (r#"{"switchyard": {"stripPrefix": "no"}}"#, false),
    (r#"{"switchyard": {"compress": "gzip"}}"#, false),
    (r#"{"switchyard": {"tasks": {"a": {}}}}"#, false),
    (r#"{"switchyard": {"tasks": {"a": {"entry": "a.py"}}}}"#, false),
    (r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "zone": "UTC"}}}}"#, false),
    (r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "cron": []}}}}"#, false),
    (r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "file": "in/x.json"}}}}"#, false),
    (r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "daemon": true, "timeout": "5m"}}}}"#, false),
    (r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "daemon": true, "cron": "@daily"}}}}"#, false),
    (r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "webhook": "x"}}}}"#, false),
    (r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "webhook": {"path": "x"}}}}}"#, false),
    (
        r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "webhook": {"path": "x", "secret": "S", "open": true}}}}}"#,
        false,
    ),
    (
        r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "webhook": {"path": "x", "secret": "S", "get": true}}}}}"#,
        false,
    ),
    (
        r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "webhook": {"path": "x", "open": true, "kind": "github"}}}}}"#,
        false,
    ),
    (r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "retry": {"backoff": "1s"}}}}}"#, false),
    (r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "retry": {"attempts": 21}}}}}"#, false),
    (r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "timeout": "soon"}}}}"#, false),
    (r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "permissions": {"net": "a.com"}}}}}"#, false),
    (
        r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "permissions": {"net": {"deny": ["a.com"]}}}}}}"#,
        false,
    ),
    (r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "params": [{"type": "string"}]}}}}"#, false),
    (r#"{"switchyard": {"tasks": {"a": {"entry": "a.ts", "after": {"on": "success"}}}}}"#, false),
    (r#"{"switchyard": {"pipelines": {"p": {}}}}"#, false),
    (r#"{"switchyard": {"pipelines": {"p": {"tasks": ["a"], "steps": ["a"]}}}}"#, false),
    (r#"{"switchyard": {"pipelines": {"p": {"tasks": []}}}}"#, false),
    (r#"{"switchyard": {"pipelines": {"p": {"tasks": [{"config": {}}]}}}}"#, false),
    (r#"{"switchyard": {"registry": "tasks/index.json"}}"#, false),
];

const POLICY: Contents = &[
    (
        "shared_hosts = ['apps.example.com']\n[defaults]\nroutes = false\n[defaults.permissions]\nread = ['/srv/data']\n\
         net = ['api.example.com:443', '*.example.org']\nprivate_net = ['10.1.2.0/24']\nsys = ['hostname']\nenv = ['LOG_LEVEL', 'AWS_*']\n\
         [defaults.env]\nA = 'x'\n[projects.blog]\nroutes = ['www.example.com', '*.shop.example', '/store']\n[projects.blog.env]\nA = false\n\
         B = { from_file = 'secret' }\n[projects.blog.permissions]\nnet = true\nenv = false\n",
        true,
    ),
    ("zzzz = 1", false),
    ("shared_hosts = 'a'", false),
    ("shared_hosts = ['/a']", false),
    ("[defaults]\nroutes = ['www.example.com']", false),
    ("[projects.'a b']\nroutes = true", false),
    ("[defaults.permissions]\nread = ['data']", false),
    ("[defaults.permissions]\nwrite = true", false),
    ("[defaults.permissions]\nnet = 'a.com'", false),
    ("[defaults.permissions]\nsys = ['setuid']", false),
    ("[defaults.permissions]\nenv = ['A-B']", false),
    ("[defaults.limits]\nmemory = '1 apple'", false),
    ("[defaults.limits]\nevent_loop = 5", false),
    ("[defaults.limits]\nevent_loop = '5'", false),
    ("[defaults.limits]\nopen_webhooks = 1", false),
    ("[defaults.env]\n'A-B' = 'x'", false),
    ("[defaults.env]\nA = true", false),
    ("[defaults.env]\nA = 1", false),
    ("[defaults.env]\nA = { file = 'secret' }", false),
];

const SOURCES: Contents = &[
    (
        "[defaults]\npoll = '1m'\ntimeout = 90\nmax_size = '2GiB'\ntogether = 'project'\npublish = 'hold'\nremoved = 'keep'\ndrift = 'restore'\n\
         [[source]]\nname = 'shop'\nurl = 'https://host/shop.git'\nbranch = 'main'\nprojects = [{ path = 'apps/api', as = 'api' }, { path = 'apps/*' }]\n\
         credential = { username = 'x', password = { from_file = 'secret' } }\nwebhook = { kind = 'forgejo', secret = { from_file = 'secret' } }\n\
         shared = ['_shared', 'deno.json']\npreviews = { branches = ['feature/*'], keep = '7d', most = 3 }\nsubmodules = ['vendor/lib']\nlfs = true\n\
         verify = { signers = 'secret' }\nwindows = [{ deny = 'Fri 16:00 - Mon 06:00', zone = 'Europe/Berlin' }]\nallow = ['https://host/*']\npoll = 10\n\
         [[source]]\nname = 'tagged'\nurl = 'git@host:acme/site.git'\ntag = 'v1.*'\nmoving_tags = true\n\
         credential = { ssh_key = 'secret', known_hosts = 'secret' }\nprojects = [{ path = '.' }]\n",
        true,
    ),
    ("source = 1", false),
    ("[[source]]\nname = 'Shop'\nurl = 'https://host/x'\nprojects = [{ path = '.' }]", false),
    ("[[source]]\nname = 'a--b'\nurl = 'https://host/x'\nprojects = [{ path = 'a' }]", false),
    ("[[source]]\nname = 'a'\nprojects = [{ path = '.' }]", false),
    ("[[source]]\nname = 'a'\nurl = 'https://host/x'", false),
    ("[[source]]\nname = 'a'\nurl = 'https://host/x'\nprojects = []", false),
    ("[[source]]\nname = 'a'\nurl = 'https://host/x'\nprojects = [{ as = 'b' }]", false),
    (
        "[[source]]\nname = 'a'\nurl = 'https://host/x'\nprojects = [{ path = '.' }]\nbranch = 'x'\ntag = 'y'",
        false,
    ),
    (
        "[[source]]\nname = 'a'\nurl = 'https://host/x'\nprojects = [{ path = '.' }]\nmoving_tags = true",
        false,
    ),
    ("[[source]]\nname = 'a'\nurl = 'https://host/x'\nprojects = [{ path = '.' }]\ncommit = 'abc'", false),
    ("[[source]]\nname = 'a'\nurl = 'https://host/x'\nprojects = [{ path = '.' }]\ncredential = {}", false),
    (
        "[[source]]\nname = 'a'\nurl = 'https://host/x'\nprojects = [{ path = '.' }]\ncredential = { username = 'x', password = 'y' }",
        false,
    ),
    (
        "[[source]]\nname = 'a'\nurl = 'https://host/x'\nprojects = [{ path = '.' }]\nwebhook = { kind = 'zzzz', secret = { from_file = 'secret' } }",
        false,
    ),
    (
        "[[source]]\nname = 'a'\nurl = 'https://host/x'\nprojects = [{ path = '.' }]\nshared = ['lib/*']",
        false,
    ),
    ("[[source]]\nname = 'a'\nurl = 'https://host/x'\nprojects = [{ path = '.' }]\npreviews = {}", false),
    (
        "[[source]]\nname = 'a'\nurl = 'https://host/x'\nprojects = [{ path = '.' }]\npreviews = { branches = ['x'], most = 501 }",
        false,
    ),
    (
        "[[source]]\nname = 'a'\nurl = 'https://host/x'\nprojects = [{ path = '.' }]\nwindows = [{ zone = 'UTC' }]",
        false,
    ),
    (
        "[[source]]\nname = 'a'\nurl = 'https://host/x'\nprojects = [{ path = '.' }]\nallow = ['https://*.host/x']",
        false,
    ),
    ("[[source]]\nname = 'a'\nurl = 'https://host/x'\nprojects = [{ path = '.' }]\nlfs = 'yes'", false),
    ("[defaults]\npoll = '30'", false),
    ("[defaults]\nmax_size = 1000", false),
    ("[defaults]\ndrift = true", false),
];

const SWITCHYARD: Contents = &[
    (
        "default_target = 'prod'\n[router]\nlisten = ':8000'\nrequest_timeout = '30s'\nmax_body = '10MB'\ninspect = ['blog', 'shop']\ndev = true\n\
         [serve]\nlisten = ':8000'\n[target.prod]\nurl = 'https://deploy.example.com'\ntoken_file = 'prod.token'\n",
        true,
    ),
    ("[router]\ninspect = 'blog'\nmax_in_flight = 5", true),
    ("default_target = 1", false),
    ("target = 1", false),
    ("router = 1", false),
    ("[target.prod]\ntoken_file = 'x'", false),
    ("[target.prod]\nurl = 1", false),
    ("[router]\nlisten = [':8000', ':8001']", false),
    ("[router]\nrequest_timeout = 1.5", false),
    ("[router]\ndev = 'yes'", false),
    ("[router]\nlog_format = 'zzzz'", false),
    ("[router]\nrequest-timeout = '30s'", false),
];

const TASK: Contents = &[
    (
        "apiVersion: dicode/v1\nkind: Task\nname: A\ndescription: x\nversion: 1.0.0\nauthor: y\nruntime: deno\ntrigger: { cron: '0 8 * * *' }\n\
         params: { day: x, n: { type: number, default: '2' }, c: { type: cron, description: d } }\ntimeout: 10s\nretry: { attempts: 2, backoff: 1 }\n\
         permissions: { env: [A, { name: B, secret: B, optional: true }], fs: [{ path: /data, permission: rw }], net: ['*'], sys: [hostname], run: [] }\n\
         notify: { on_failure: true }\nrun_inputs: { enabled: true, retention: 30d }\n",
        true,
    ),
    (
        "kind: Task\nname: A\ntrigger: { webhook: /hooks/x, webhook_secret: '${S}' }\nparams: [{ name: a, required: true }]",
        true,
    ),
    ("kind: Task\nname: A\ntrigger: { daemon: true, restart: on-failure, manual: false }", true),
    ("name: A\ntrigger: { manual: true }", false),
    ("kind: Job\nname: A\ntrigger: { manual: true }", false),
    ("kind: Task\nname: A\ntrigger: {}", false),
    ("kind: Task\nname: A\ntrigger: { manual: true, cron: '@daily' }", false),
    ("kind: Task\nname: A\ntrigger: { manual: true, restart: never }", false),
    ("kind: Task\nname: A\ntrigger: { webhook: x, webhook_secret: s3cret }", false),
    ("kind: Task\nname: A\ntrigger: { chain: { on: success } }", false),
    ("kind: Task\nname: A\nruntime: python\ntrigger: { manual: true }", false),
    ("kind: Task\nname: A\ndocker: { image: x }\ntrigger: { manual: true }", false),
    ("kind: Task\nname: A\ntrigger: { manual: true }\npermissions: { run: [git] }", false),
    ("kind: Task\nname: A\ntrigger: { manual: true }\npermissions: { env: [A=1] }", false),
    ("kind: Task\nname: A\ntrigger: { manual: true }\npermissions: { env: [{ name: A, value: x }] }", false),
    ("kind: Task\nname: A\ntrigger: { manual: true }\npermissions: { fs: [{ path: /x }] }", false),
    ("kind: Task\nname: A\ntrigger: { manual: true }\nnotify: { on_failure: x }", false),
    ("kind: Task\nname: A\ntrigger: { manual: true }\nparams: x", false),
    ("kind: Task\nname: A\ntrigger: { manual: true }\nretry: 3", false),
    (
        "kind: Task\nname: A\ntrigger: { manual: true }\non_failure_chain: { task: b, params: { x: 1 } }",
        false,
    ),
];

const TASKSET: Contents = &[
    (
        "apiVersion: dicode/v1\nkind: TaskSet\nmetadata: { name: s }\nspec:\n  defaults: { timeout: 2m, retry: { attempts: 3 }, notify: { on_failure: true } }\n  \
         entries:\n    x:\n      ref: { path: a/task.yaml }\n      overrides: { trigger: { cron: '0 8 * * *' }, env: [A], net: [a.com], params: { day: x } }\n    \
         y:\n      ref: { url: https://host/x, path: task.yaml }\n      overrides: { enabled: false }\n",
        true,
    ),
    ("kind: TaskSet", false),
    ("kind: TaskSet\nspec: {}", false),
    ("kind: TaskSet\nspec: { entries: { x: {} } }", false),
    ("kind: TaskSet\nspec: { entries: { x: { ref: { path: a/task.yaml }, inline: { name: B } } } }", false),
    ("kind: TaskSet\nspec: { entries: { x: { ref: a/task.yaml } } }", false),
    (
        "kind: TaskSet\nspec: { entries: { x: { ref: { path: a/task.yaml }, overrides: { runtime: python } } } }",
        false,
    ),
    (
        "kind: TaskSet\nspec: { entries: { x: { ref: { path: a/task.yaml }, overrides: { entries: { y: { zzzz: 1 } } } } } }",
        false,
    ),
    ("kind: TaskSet\nspec: { entries: [x] }", false),
];

const PIPELINE: Contents = &[
    (
        r#"{"$schema": "x", "name": "p", "tasks": ["a", "b"], "taskConfig": {"b": {"most": 3}}, "version": "1.0.0", "llm": {"model": "x"}}"#,
        true,
    ),
    (r#"{"steps": [{"name": "a", "needs": []}], "cron": "@daily", "zone": "UTC", "version": "step"}"#, true),
    (r#"{"tasks": ["a"], "steps": ["a"]}"#, false),
    (r#"{"tasks": []}"#, false),
    (r#"{"tasks": [1]}"#, false),
    (r#"{"tasks": [{"name": "a", "agent": {}}]}"#, false),
    (r#"{"tasks": ["a"], "taskConfig": {"a": 1}}"#, false),
    (r#"{"tasks": ["a"], "cron": 5}"#, false),
    (r#"{"tasks": ["a"], "jitter": "1m"}"#, false),
];

/// Checks that the schema and the reader of these files agree. `kind` is the ending of their names.
async fn agree(name: &str, kind: &str, contents: Contents) {
    let schemas = Schemas::read();
    let texts: Vec<_> = contents.iter().map(|(text, _)| *text).collect();
    let mut wrong = Vec::new();
    for ((text, is_right), problem) in contents.iter().zip(problems(name, &texts).await) {
        let complaint = schemas.complaint(name, &parse(&format!("{name}.{kind}"), text));
        for (who, found) in [("the reader", problem), ("the schema", complaint)] {
            if found.is_none() != *is_right {
                let found = found.unwrap_or_else(|| "accepts it".to_owned());
                wrong.push(format!("{text}\n  {who}: {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{name}: {} differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[tokio::test]
async fn the_schemas_of_projects_agree_with_what_is_built() {
    agree("deno", "json", DENO).await;
    agree("task", "yaml", TASK).await;
    agree("taskset", "yaml", TASKSET).await;
    agree("pipeline", "json", PIPELINE).await;
}

#[tokio::test]
async fn the_schemas_of_operators_agree_with_the_programs() {
    agree("policy", "toml", POLICY).await;
    agree("sources", "toml", SOURCES).await;
    agree("switchyard", "toml", SWITCHYARD).await;
}

/// Limits of the policy: their defaults are possible values, and numbers beyond their bounds are not.
#[tokio::test]
async fn the_limits_of_the_policy_have_the_units_and_bounds_of_the_schema() {
    let schemas = Schemas::read();
    let limits =
        schemas.document("policy").pointer("/$defs/limits/properties").and_then(|one| one.as_object());
    let limits = limits.expect("the policy has limits");
    let defaults: String =
        limits.iter().map(|(name, limit)| format!("{name} = {}\n", limit["default"])).collect();
    let below =
        limits.iter().filter_map(|(name, limit)| Some((name, limit["minimum"].as_u64()?.checked_sub(1)?)));
    let above = limits.iter().filter_map(|(name, limit)| Some((name, limit["maximum"].as_u64()? + 1)));
    let (below, above): (Vec<_>, Vec<_>) = (below.collect(), above.collect());
    let table = |lines: &str| format!("[defaults.limits]\n{lines}");
    let lines = |bounds: &[(&String, u64)]| {
        bounds.iter().map(|(name, value)| format!("{name} = {value}\n")).collect::<String>()
    };
    let texts = [table(&defaults), table(&lines(&below)), table(&lines(&above))];
    let problems = problems("policy", &texts.each_ref().map(String::as_str)).await;
    assert_eq!(problems[0], None, "{defaults}");
    for (bounds, problem) in [(below, &problems[1]), (above, &problems[2])] {
        let problem = problem.as_deref().unwrap_or_default();
        for (name, value) in bounds {
            assert!(
                problem.contains(&format!("limits.{name}: {value} is too ")),
                "{name} = {value}: {problem}"
            );
        }
    }
}
