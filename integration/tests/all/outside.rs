//! A project's view of its machine: paths outside do not exist, `/tmp` is its own, questions about
//! the machine have harmless answers, and errors suggest a fix.

use serde_json::{Value, json};
use switchyard_contract::admin::ReloadOutcome;
use switchyard_contract::event::Diagnostic;
use switchyard_integration::eventually;
use switchyard_integration::router::{Builder, Router};
use switchyard_integration::volume::Volume;

/// Collects the result of each call, or the code, name and text of its error.
const PROBE: &str = "import fs from 'node:fs'; import os from 'node:os'; import path from 'node:path'; import process from 'node:process';
const out = {};
const probe = async (name, call) => {
  try { out[name] = (await call()) ?? null; }
  catch (error) { out[name] = `${error.code} ${error.name} ${error.message}`; }
};
";

const SERVE: &str = "\nexport default { fetch: () => Response.json(out) };\n";

fn probing(calls: &str) -> String {
    format!("{PROBE}{calls}{SERVE}")
}

fn with_policy(volume: &Volume, policy: &str) -> Builder {
    volume.write("_policy/policy.toml", policy);
    Router::builder(volume).unwatched().flag("policy", volume.path("_policy/policy.toml").display())
}

async fn answers(router: &Router) -> Value {
    let reply = router.public.get("/a/").await;
    assert_eq!(reply.status, 200, "{:?}", router.admin.project("a").await.error);
    reply.json()
}

async fn error(router: &Router) -> Diagnostic {
    let report = router.admin.reload("a").await;
    assert_eq!(report.outcome, ReloadOutcome::Failed);
    report.error.expect("a failure has a reason")
}

/// Every answer begins as listed in the table.
fn assert_begin(answers: &Value, table: &[(&str, &str)]) {
    for (name, begin) in table {
        let answer = answers[name].as_str().unwrap_or_else(|| panic!("{name}: {}", answers[name]));
        assert!(answer.starts_with(begin), "{name}: {answer}");
    }
}

#[tokio::test]
async fn a_path_outside_is_not_found_whatever_reads_it() {
    let volume = Volume::with(
        "a",
        probing(
            "import { createRequire } from 'node:module'; import { DatabaseSync } from 'node:sqlite';
const FILE = '/etc/passwd';
const back = (call) => new Promise((done, fail) => call((error, value) => error ? fail(error) : done(value)));
await probe('existsSync', () => fs.existsSync(FILE));
await probe('exists', () => new Promise((done) => fs.exists(FILE, done)));
await probe('own exists', () => fs.existsSync(import.meta.filename));
await probe('statSync', () => fs.statSync(FILE));
await probe('statSync that does not throw', () => fs.statSync(FILE, { throwIfNoEntry: false }));
await probe('lstatSync that does not throw', () => fs.lstatSync(FILE, { throwIfNoEntry: false }));
await probe('stat by callback', () => back((done) => fs.stat(FILE, done)));
await probe('access', () => fs.promises.access(FILE));
await probe('accessSync', () => fs.accessSync(FILE));
await probe('readFile by callback', () => back((done) => fs.readFile(FILE, done)));
await probe('readFile', () => fs.promises.readFile(FILE));
await probe('open', () => fs.openSync(FILE, 'r'));
await probe('open to read and write', () => fs.openSync(FILE, 'r+'));
await probe('readdir', () => fs.promises.readdir('/etc'));
await probe('opendir', () => fs.opendirSync('/etc'));
await probe('realpath', () => fs.realpathSync(FILE));
await probe('realpath.native', () => fs.realpathSync.native(FILE));
await probe('readlink', () => fs.readlinkSync('/etc/mtab'));
await probe('createReadStream', () => back((done) => fs.createReadStream(FILE).on('error', done)));
await probe('watch', () => back((done) => fs.watch('/etc').on('error', done)));
await probe('copyFile from', () => fs.copyFileSync(FILE, `${process.env.DATA_DIR}/copy`));
await probe('cp from', () => fs.cpSync(FILE, `${process.env.DATA_DIR}/copy`));
await probe('rename from', () => fs.renameSync(FILE, `${process.env.DATA_DIR}/copy`));
await probe('chdir', () => process.chdir('/etc'));
await probe('Deno.stat', () => Deno.stat(FILE));
await probe('Deno.lstatSync', () => Deno.lstatSync(FILE));
await probe('Deno.readTextFile', () => Deno.readTextFile(FILE));
await probe('Deno.readDir', async () => { for await (const entry of Deno.readDir('/etc')) return entry; });
await probe('Deno.realPath', () => Deno.realPath(FILE));
await probe('Deno.readLink', () => Deno.readLink('/etc/mtab'));
await probe('Deno.open', () => Deno.open(FILE));
await probe('Deno.chdir', () => Deno.chdir('/etc'));
await probe('Deno.watchFs', () => Deno.watchFs('/etc'));
await probe('Deno.openKv', () => Deno.openKv('/opt/kv'));
await probe('node:sqlite', () => new DatabaseSync('/opt/database'));
await probe('fetch', () => fetch(`file://${FILE}`));
await probe('by dots', () => Deno.readTextFile('../../../../../../../../../../etc/passwd'));
await probe('import', () => import('file:///etc/none.mjs'));
await probe('import of an existing file', () => import('file:///etc/passwd'));
await probe('require', () => createRequire(import.meta.url)('/etc/none.js'));
await probe('require of an existing file', () => createRequire(import.meta.url)('/etc/passwd'));
await probe('require in the own folder', () => createRequire(import.meta.url)('/tmp/none'));
await probe('in a worker', () => new Promise((done) => {
  const code = `import fs from 'node:fs'; let code; try { Deno.statSync('/etc/passwd') } catch (error) { code = error.code }
    postMessage([fs.existsSync('/etc/passwd'), code])`;
  new Worker('data:text/javascript,' + encodeURIComponent(code), { type: 'module' }).onmessage = (event) => done(event.data);
}));",
        ),
    );
    let router = Router::builder(&volume).unwatched().start().await;
    let mut outcomes = answers(&router).await;
    let mut take = |name: &str| outcomes.as_object_mut().unwrap().remove(name).unwrap();
    assert_eq!(
        (take("existsSync"), take("exists"), take("own exists")),
        (json!(false), json!(false), json!(true))
    );
    assert_eq!(take("statSync that does not throw"), Value::Null);
    assert_eq!(take("lstatSync that does not throw"), Value::Null);
    assert_eq!(take("in a worker"), json!([false, "ENOENT"]));
    // Errors of imports keep their text, which does not reveal if the file exists.
    for (name, says) in [
        ("import", "outside of the project and its node_modules"),
        ("import of an existing file", "outside of the project and its node_modules"),
        ("require", "Cannot find module '/etc/none.js'"),
        ("require of an existing file", "Cannot find module '/etc/passwd'"),
        ("require in the own folder", "Cannot find module '/tmp/none'"),
    ] {
        let text = take(name);
        assert!(text.as_str().unwrap().contains(says), "{name}: {text}");
    }
    for (name, answer) in outcomes.as_object().unwrap() {
        assert!(answer.as_str().is_some_and(|text| text.starts_with("ENOENT ")), "{name}: {answer}");
    }
}

#[tokio::test]
async fn each_path_outside_is_logged_once_and_only_so_many() {
    let volume = Volume::with(
        "a",
        probing(
            "for (let n = 0; n < 3; n++) { fs.existsSync('/opt/one'); fs.existsSync(`/${'x'.repeat(5000)}`); }
for (let n = 0; n < 200; n++) fs.existsSync(`/opt/${n}`);",
        ),
    );
    let router = Router::builder(&volume).unwatched().start().await;
    answers(&router).await;
    let last = "further paths outside of the project are not logged";
    let is_last = |record: &Value| record["message"].as_str().is_some_and(|message| message.contains(last));
    assert!(router.log.wait_for(is_last).await.is_some());
    let lines = router.log.lines();
    let paths: Vec<_> = lines.iter().filter(|line| line.contains("not found: ")).collect();
    assert_eq!(paths.iter().filter(|line| line.contains("/opt/one")).count(), 1, "{paths:?}");
    assert!(paths.len() <= 32 && paths.iter().all(|line| line.len() < 1000), "{paths:?}");
}

#[tokio::test]
async fn writes_outside_are_refused_with_a_code_and_advice() {
    let volume = Volume::with(
        "a",
        probing(
            "const OUT = '/opt/switchyard-written', OWN = import.meta.filename;
await probe('open', () => fs.openSync(OUT, 'w'));
await probe('append', () => fs.appendFileSync(OUT, ''));
await probe('writeFile', () => fs.promises.writeFile(OUT, ''));
await probe('createWriteStream', () => new Promise((_, fail) => fs.createWriteStream(OUT).on('error', fail)));
await probe('mkdir', () => fs.mkdirSync(OUT, { recursive: true }));
await probe('mkdtemp', () => fs.mkdtempSync(OUT));
await probe('unlink', () => fs.unlinkSync('/etc/passwd'));
await probe('rmdir', () => fs.rmdirSync('/etc'));
await probe('rename to', () => { fs.writeFileSync(`${process.env.DATA_DIR}/x`, ''); fs.renameSync(`${process.env.DATA_DIR}/x`, OUT); });
await probe('copyFile to', () => fs.copyFileSync(OWN, OUT));
await probe('chmod', () => fs.chmodSync('/etc/passwd', 0o600));
await probe('utimes', () => fs.utimesSync('/etc/passwd', 1, 1));
await probe('Deno.writeTextFile', () => Deno.writeTextFile(OUT, ''));
await probe('Deno.mkdir', () => Deno.mkdir(OUT));
await probe('Deno.remove', () => Deno.remove('/etc', { recursive: true }));
await probe('Deno.makeTempDir', () => Deno.makeTempDir({ dir: '/opt' }));
await probe('own ./auth.db', () => Deno.writeTextFile('./auth.db', ''));
await probe('own uploads/', () => fs.mkdirSync('uploads/', { recursive: true }));
await probe('own .data/kv', () => fs.mkdirSync('.data/kv', { recursive: true }));
await probe('own absolute', () => fs.mkdirSync(path.join(import.meta.dirname, 'up/x'), { recursive: true }));
await probe('own database', async () => new (await import('node:sqlite')).DatabaseSync('auth.db'));
await probe('class', () => { try { Deno.mkdirSync(OUT); } catch (error) { return error instanceof Deno.errors.NotCapable; } });
await probe('link', () => fs.symlinkSync('/etc', `${process.env.DATA_DIR}/link`));",
        ),
    );
    let router = Router::builder(&volume).unwatched().start().await;
    let outcomes = answers(&router).await;
    assert_eq!(outcomes["class"], true);
    let link = outcomes["link"].as_str().unwrap();
    assert!(link.starts_with("EACCES NotCapable Deno.symlinkSync() is refused: a symbolic link"), "{link}");
    for (name, file) in [
        ("own ./auth.db", "/auth.db"),
        ("own uploads/", "/uploads/"),
        ("own .data/kv", "/.data/kv"),
        ("own absolute", "/up/x"),
        ("own database", "/auth.db"),
    ] {
        let advice = format!("Write to process.env.DATA_DIR + \"{file}\"");
        assert!(outcomes[name].as_str().unwrap().contains(&advice), "{name}: {}", outcomes[name]);
    }
    for (name, answer) in outcomes.as_object().unwrap() {
        let Some(text) = answer.as_str() else { continue };
        assert!(text.starts_with("EACCES NotCapable ") && !text.contains("--"), "{name}: {text}");
        let names_folders = text.contains("DATA_DIR") && text.contains("TMPDIR");
        assert!(names_folders || name == "link", "{name}: {text}");
        assert!(
            name.starts_with("own") || name == "link" || text.contains("\"write\" in the router's policy"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn refusals_name_the_policy_or_an_alternative_and_no_flag() {
    let volume = Volume::with(
        "a",
        probing(
            "await probe('net', () => Deno.connect({ hostname: '10.1.2.3', port: 80 }));
await probe('ffi', () => Deno.dlopen('/lib/x.so', {}));
await probe('addon', () => process.dlopen({ exports: {} }, '/lib/x.node'));
await probe('run', () => new Deno.Command('/bin/ls').outputSync());
await probe('kill', () => Deno.kill(1));
await probe('setuid', () => process.setuid(0));
await probe('setPriority', () => os.setPriority(1));
await probe('debugger', async () => new (await import('node:inspector')).Session().connect());",
        ),
    );
    let router = Router::builder(&volume).unwatched().start().await;
    let outcomes = answers(&router).await;
    for (name, says) in [
        ("net", "(\"private_net\")"),
        ("ffi", "native code (addons, Deno.dlopen) is not loaded here"),
        ("addon", "native code (addons, Deno.dlopen) is not loaded here"),
        ("run", "a project starts no programs"),
        ("kill", "signals no processes"),
        ("setuid", "a project does not change its process"),
        ("setPriority", "a project does not change its process"),
        ("debugger", "Start the router with --inspect"),
    ] {
        let text = outcomes[name].as_str().unwrap();
        assert!(text.starts_with("EACCES NotCapable ") && text.contains(says), "{name}: {text}");
        assert!(!text.contains("--allow"), "{name}: {text}");
    }
}

#[tokio::test]
async fn a_path_that_the_project_denies_itself_is_refused_and_not_missing() {
    let volume = Volume::with(
        "a",
        probing(
            "await probe('own', () => Deno.readTextFile('./secret.txt'));
await probe('exists', () => fs.existsSync('./secret.txt'));
await probe('tmp', () => Deno.readTextFile('/tmp/secret/x'));
await probe('outside', () => Deno.readTextFile('/etc/passwd'));",
        ),
    );
    volume.write("a/secret.txt", "text");
    let denied = json!({"allow": true, "deny": ["./secret.txt", "/tmp/secret"]});
    let config = json!({"permissions": {"default": {"read": denied, "write": true, "env": true}}});
    volume.write("a/deno.json", config.to_string());
    let router = Router::builder(&volume).unwatched().start().await;
    let refused = "EACCES NotCapable Requires read access to";
    let table = [("own", refused), ("exists", refused), ("tmp", refused), ("outside", "ENOENT NotFound")];
    let outcomes = answers(&router).await;
    assert_begin(&outcomes, &table);
    assert!(
        outcomes["own"].as_str().unwrap().ends_with("\"permissions\" in deno.json denies it"),
        "{outcomes}"
    );
}

#[tokio::test]
async fn every_question_about_the_machine_is_answered() {
    let volume = Volume::with(
        "a",
        probing(
            "import inspector from 'node:inspector'; import dns from 'node:dns'; import tls from 'node:tls';
for (const name of Object.keys(os)) {
  if (typeof os[name] === 'function' && name !== 'setPriority') await probe(`os.${name}`, () => os[name]());
}
for (const name of ['getuid', 'geteuid', 'getgid', 'getegid', 'getgroups', 'umask', 'memoryUsage', 'resourceUsage', 'cpuUsage',
  'availableMemory', 'constrainedMemory', 'hrtime', 'uptime', 'cwd', 'getActiveResourcesInfo']) {
  await probe(`process.${name}`, () => process[name]());
}
for (const name of ['hostname', 'loadavg', 'networkInterfaces', 'systemMemoryInfo', 'osRelease', 'osUptime', 'uid', 'gid',
  'execPath', 'memoryUsage', 'cwd']) {
  await probe(`Deno.${name}`, () => Deno[name]());
}
await probe('report', () => process.report.getReport().header.networkInterfaces);
await probe('inspector.url', () => `${inspector.url()}`);
await probe('inspector.open', () => typeof inspector.open(0));
await probe('inspector.close', () => inspector.close());
await probe('inspector.console', () => typeof inspector.console.log);
await probe('inspector.Session', () => { new inspector.Session().disconnect(); });
await probe('inspector.waitForDebugger', () => { try { inspector.waitForDebugger(); } catch (error) { return { code: error.code }; } });
await probe('dns.getServers', () => dns.getServers());
await probe('tls.rootCertificates', () => tls.rootCertificates.length > 50);
await probe('tls.getCACertificates', () => tls.getCACertificates('default').length > 50);
await probe('home', () => os.homedir() === process.env.DATA_DIR);
await probe('/dev/null', () => { fs.writeFileSync('/dev/null', 'x'); return fs.readFileSync('/dev/null').length; });
await probe('/dev/urandom', () => Deno.openSync('/dev/urandom').readSync(new Uint8Array(4)));",
        ),
    );
    let router = Router::builder(&volume).unwatched().start().await;
    let outcomes = answers(&router).await;
    for (name, answer) in outcomes.as_object().unwrap() {
        let is_thrown =
            answer.as_str().is_some_and(|text| text.contains("Error ") || text.contains("NotCapable"));
        assert!(!is_thrown, "{name}: {answer}");
    }
    let loopback = json!({
        "address": "127.0.0.1", "netmask": "255.0.0.0", "family": "IPv4", "mac": "00:00:00:00:00:00", "internal": true,
        "cidr": "127.0.0.1/8",
    });
    assert_eq!(outcomes["os.networkInterfaces"], json!({"lo": [loopback]}));
    assert_eq!(outcomes["Deno.networkInterfaces"].as_array().unwrap().len(), 1);
    assert_eq!(outcomes["dns.getServers"], json!([]));
    let user = &outcomes["os.userInfo"];
    assert_eq!(
        (&user["username"], &user["shell"], &user["homedir"]),
        (&json!("app"), &Value::Null, &outcomes["os.homedir"])
    );
    assert_eq!((&user["uid"], &user["gid"]), (&outcomes["process.getuid"], &outcomes["process.getgid"]));
    assert_eq!(outcomes["inspector.url"], "undefined");
    assert_eq!(outcomes["inspector.waitForDebugger"], json!({"code": "ERR_INSPECTOR_NOT_ACTIVE"}));
    assert!(
        outcomes["os.release"].as_str().unwrap().starts_with(|c: char| c.is_ascii_digit()),
        "{}",
        outcomes["os.release"]
    );
    assert_eq!(
        (&outcomes["home"], &outcomes["/dev/null"], &outcomes["/dev/urandom"]),
        (&json!(true), &json!(0), &json!(4))
    );
}

#[tokio::test]
async fn permission_queries_answer_according_to_the_policy() {
    let volume = Volume::with(
        "a",
        probing(
            "await probe('net', () => Object.keys(os.networkInterfaces())); await probe('user', () => os.userInfo());",
        ),
    );
    let policy = "[projects.a.permissions]\nsys = [\"networkInterfaces\", \"userInfo\"]\n";
    let router = with_policy(&volume, policy).flag("dangerously-run-cells-as-root", "");
    let router = if rustix::process::geteuid().is_root() { router } else { with_policy(&volume, policy) };
    let router = router.start().await;
    let outcomes = answers(&router).await;
    assert!(outcomes["net"].as_array().is_some_and(|names| names.contains(&json!("lo"))), "{outcomes}");
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uid = format!(":{}:", rustix::process::geteuid().as_raw());
    if let Some(line) = users.lines().find(|line| line.contains(&uid)) {
        assert_eq!(outcomes["user"]["username"], line.split(':').next().unwrap(), "{outcomes}");
    }
}

#[tokio::test]
async fn tmp_is_the_folder_that_tmpdir_names() {
    let name = format!("switchyard-{}", std::process::id());
    let calls = "import { DatabaseSync } from 'node:sqlite'; import { WASI } from 'node:wasi';
const own = (name) => fs.readFileSync(`${process.env.TMPDIR}/${name}`, 'utf8');
await probe('write', () => { fs.mkdirSync('/tmp/NAME/b', { recursive: true }); fs.writeFileSync('/tmp/NAME/b/c', 'c'); return own('NAME/b/c'); });
await probe('by a URL', () => { fs.writeFileSync(new URL('file:///tmp/u'), 'u'); return own('u'); });
await probe('fetch', () => fetch('file:///tmp/u').then((response) => response.text()));
await probe('mkdtemp', () => { const at = fs.mkdtempSync('/tmp/x-'); fs.writeFileSync(`${at}/f`, 'f'); return own(`${path.basename(at)}/f`); });
await probe('makeTempDir', () => Deno.makeTempDirSync({ dir: '/tmp' }).startsWith('/tmp/'));
await probe('makeTempFile', () => Deno.makeTempFileSync().startsWith(process.env.TMPDIR));
await probe('to DATA_DIR', () => { fs.renameSync('/tmp/u', `${process.env.DATA_DIR}/u`); return fs.readFileSync(`${process.env.DATA_DIR}/u`, 'utf8'); });
await probe('from DATA_DIR', () => { fs.renameSync(`${process.env.DATA_DIR}/u`, '/tmp/v'); return own('v'); });
await probe('cp', () => { fs.cpSync('/tmp/NAME', '/tmp/copy', { recursive: true }); return own('copy/b/c'); });
await probe('realpath', () => fs.realpathSync('/tmp') === process.env.TMPDIR && Deno.realPathSync('/tmp/NAME') === `${process.env.TMPDIR}/NAME`);
await probe('readdir', () => fs.readdirSync('/tmp').includes('NAME'));
await probe('stat', () => fs.statSync('/tmp').isDirectory());
await probe('chdir', () => { const before = process.cwd(); process.chdir('/tmp'); fs.writeFileSync('rel', 'rel');
  const at = Deno.cwd(); process.chdir(before); return at === process.env.TMPDIR && own('rel') === 'rel'; });
await probe('sqlite', () => { new DatabaseSync('/tmp/s.db').exec('create table t(x)'); return fs.existsSync(`${process.env.TMPDIR}/s.db`); });
await probe('kv', async () => { (await Deno.openKv('/tmp/k.db')).close(); return fs.existsSync(`${process.env.TMPDIR}/k.db`); });
await probe('watch', () => new Promise((done) => { const watch = fs.watch('/tmp', (_, name) => { watch.close(); done(name); });
  setTimeout(() => fs.writeFileSync('/tmp/watched', ''), 50); }));
await probe('worker', () => new Promise((done) => {
  const code = `Deno.writeTextFileSync('/tmp/worker', 'w'); postMessage('')`;
  new Worker('data:text/javascript,' + encodeURIComponent(code), { type: 'module' }).onmessage = () => done(own('worker'));
}));
await probe('import', async () => { fs.writeFileSync('/tmp/m.mjs', 'export default 5'); return (await import('file:///tmp/m.mjs')).default; });
await probe('import from DATA_DIR', async () => { const at = `${process.env.DATA_DIR}/m.ts`; fs.writeFileSync(at, 'export default 6 as number'); return (await import(at)).default; });
await probe('require', async () => { fs.writeFileSync('/tmp/m.cjs', 'module.exports = 7'); return (await import('node:module')).createRequire('/tmp/x.js')('./m.cjs'); });
await probe('env file', () => { fs.writeFileSync('/tmp/.env', 'LOADED=yes\\nDENO_TRUST_PROXY_HEADERS=x'); process.loadEnvFile('/tmp/.env'); return process.env.LOADED; });
await probe('query', async () => (await Deno.permissions.query({ name: 'write', path: '/tmp/x' })).state);
await probe('wasi', () => new WASI({ version: 'preview1', preopens: { '/t': '/tmp' } }) instanceof WASI);
await probe('missing', () => fs.readFileSync('/tmp/none'));
await probe('missing in wasi', () => new WASI({ version: 'preview1', preopens: { '/t': '/tmp/none' } }));
await probe('by dots', () => fs.readFileSync('/tmp/../etc/passwd'));
await probe('beside it', () => fs.writeFileSync('/tmpfile', ''));
await probe('the other one', () => fs.writeFileSync('/var/tmp/x', ''));";
    let volume = Volume::with("a", probing(&calls.replace("NAME", &name)));
    let router = Router::builder(&volume).unwatched().start().await;
    let mut outcomes = answers(&router).await;
    assert_begin(
        &outcomes,
        &[
            ("missing", "ENOENT Error ENOENT: no such file or directory, open '/tmp/none'"),
            ("missing in wasi", "UVWASI_ENOENT"),
            ("by dots", "ENOENT Error"),
            ("beside it", "EACCES NotCapable"),
            ("the other one", "EACCES NotCapable"),
        ],
    );
    let all = outcomes.as_object_mut().unwrap();
    all.retain(|name, _| {
        !["missing", "missing in wasi", "by dots", "beside it", "the other one"].contains(&name.as_str())
    });
    let expected = json!({
        "write": "c", "by a URL": "u", "fetch": "u", "mkdtemp": "f", "makeTempDir": true, "makeTempFile": true,
        "to DATA_DIR": "u", "from DATA_DIR": "u", "cp": "c", "realpath": true, "readdir": true, "stat": true, "chdir": true,
        "sqlite": true, "kv": true, "watch": "watched", "worker": "w", "import": 5, "import from DATA_DIR": 6, "require": 7,
        "env file": "yes", "query": "granted", "wasi": true,
    });
    assert_eq!(outcomes, expected);
    assert!(!std::path::Path::new("/tmp").join(&name).exists(), "the machine's own is untouched");
}

#[tokio::test]
async fn below_tmp_only_folders_that_the_policy_opens_are_the_machines() {
    let shared = tempfile::Builder::new().prefix("switchyard-shared").tempdir_in("/tmp").unwrap();
    let at = shared.path().canonicalize().unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::write(at.join("there"), "text").unwrap();
    let calls = format!(
        "await probe('read', () => fs.readFileSync('{0}/there', 'utf8')); await probe('write', () => fs.writeFileSync('{0}/here', 'x'));
        await probe('beside', () => {{ fs.writeFileSync('/tmp/beside', 'x'); return fs.existsSync(`${{process.env.TMPDIR}}/beside`); }});",
        at.display()
    );
    let volume = Volume::with("a", probing(&calls));
    let policy = format!("[projects.a.permissions]\nread = [\"{0}\"]\nwrite = [\"{0}\"]\n", at.display());
    let router = with_policy(&volume, &policy).start().await;
    assert_eq!(answers(&router).await, json!({"read": "text", "write": null, "beside": true}));
    assert_eq!(std::fs::read_to_string(at.join("here")).unwrap(), "x");
}

#[tokio::test]
async fn native_code_and_programs_fail_the_build_with_an_alternative() {
    let volume = Volume::new();
    for (name, main, message) in [
        (
            "addon",
            "import { createRequire } from 'node:module';\nconst addon = createRequire(import.meta.url)('./x.node');",
            "native code (addons, Deno.dlopen) is not loaded here",
        ),
        ("dlopen", "\nprocess.dlopen({ exports: {} }, `${import.meta.dirname}/x.node`);", "native code"),
        (
            "package",
            "import Database from 'better-sqlite3';\nnew Database(':memory:');",
            "the package better-sqlite3 needs it: use node:sqlite, which is built in",
        ),
        (
            "finder",
            "import sharp from 'sharp';\nsharp();",
            "The package sharp has native code, which is not loaded here: use its WebAssembly build",
        ),
        (
            "spawn",
            "import { spawn } from 'node:child_process';\nconst child = spawn('node', ['-v']);\nawait new Promise((_, fail) => child.on('error', fail));",
            "Here a project starts no programs",
        ),
        (
            "cluster",
            "import cluster from 'node:cluster';\ncluster.fork();",
            "run access to process.execPath: a project starts no programs",
        ),
        (
            "path",
            "import fs from 'node:fs';\nfs.readFileSync('/var/lib/app/x');",
            "\"/var/lib/app/x\" is outside of the project",
        ),
        (
            "database",
            "import { DatabaseSync } from 'node:sqlite';\nnew DatabaseSync('/var/lib/app.db');",
            "\"/var/lib/app.db\" is outside of the project",
        ),
    ] {
        let main = format!("{main}\nexport default {{ fetch: () => new Response('') }};\n");
        volume.write("a/main.mjs", main);
        volume.write("a/x.node", "\u{7f}ELF");
        let package = |package: &str, path: &str, text: &str| {
            volume.write(&format!("a/node_modules/{package}/{path}"), text)
        };
        package("better-sqlite3", "package.json", "{\"main\": \"i.js\"}");
        package("better-sqlite3", "build/Release/better_sqlite3.node", "\u{7f}ELF");
        package(
            "better-sqlite3",
            "i.js",
            "module.exports = class { constructor() { require('./build/Release/better_sqlite3.node'); } };",
        );
        package("sharp", "package.json", "{\"main\": \"i.js\"}");
        package(
            "sharp",
            "i.js",
            "module.exports = () => { throw new Error('Could not load the \"sharp\" module using the linux-x64 runtime'); };",
        );
        let router = Router::builder(&volume).unwatched().start().await;
        let error = error(&router).await;
        assert!(error.message.contains(message), "{name}: {error:?}");
        assert!(!error.message.contains("--allow"), "{name}: {error:?}");
        let line = if name == "spawn" { error.line } else { Some(2) };
        assert_eq!((error.file.as_deref(), error.line), (Some("main.mjs"), line), "{name}: {error:?}");
    }
}

#[tokio::test]
async fn an_import_without_its_extension_is_told_which_file_it_may_mean() {
    let volume = Volume::new();
    volume.write("a/h.ts", "export default 1;\n");
    volume.write("a/lib/index.ts", "export default 1;\n");
    for (specifier, hint) in [
        ("./h", "Maybe add a '.ts' extension"),
        ("./h.js", "Maybe change the extension to '.ts'"),
        ("./lib", "'index.ts'"),
    ] {
        let main = format!("import '{specifier}';\nexport default {{ fetch: () => new Response('') }};\n");
        volume.write("a/main.ts", main);
        let router = Router::builder(&volume).unwatched().start().await;
        let message = error(&router).await.message;
        assert!(message.contains(hint), "{specifier}: {message}");
        assert!(
            message.contains("\"unstable\": [\"sloppy-imports\"] in deno.json"),
            "{specifier}: {message}"
        );
        assert!(!message.contains("--"), "{message}");
    }
}

#[tokio::test]
async fn a_fetch_that_is_refused_names_the_policy_and_no_flag_in_the_log() {
    let volume = Volume::new();
    // The address is known, and refused, only at the connect.
    let refused = "fetch('http://localhost:8000/')";
    volume.write("a/main.ts", format!("export default {{ fetch: () => {refused} }};\n"));
    volume.write("b/main.ts", format!("await {refused};\n"));
    let router = Router::start(&volume).await;
    assert_eq!(router.public.get("/a/").await.status, 500);
    eventually("the error is in the log", || async {
        router.log.lines().iter().any(|line| line.contains("(Connect): Requires net access"))
    })
    .await;
    let error = router.admin.project("b").await.error.unwrap().message;
    assert!(error.contains("Requires net access") && error.contains("\"private_net\""), "{error}");
    assert!(!router.log.lines().iter().any(|line| line.contains("--allow")), "{:?}", router.log.lines());
}

#[tokio::test]
async fn interfaces_of_bun_are_reported_with_what_to_use_here() {
    for (name, main) in [
        ("global", "Bun.serve({ fetch: () => new Response('') });\n"),
        ("package", "import { serve } from 'bun';\nserve({});\n"),
        ("module", "import { Database } from 'bun:sqlite';\nnew Database();\n"),
    ] {
        let volume = Volume::new();
        volume.write("a/main.ts", main);
        let router = Router::builder(&volume).unwatched().start().await;
        let error = error(&router).await;
        assert!(error.message.contains("use export default { fetch }"), "{name}: {error:?}");
        assert_eq!((error.file.as_deref(), error.line), (Some("main.ts"), Some(1)), "{name}: {error:?}");
    }
}
