//! Reading and changing what belongs to others: files, modules, the environment, native code.

use switchyard_contract::event::DeathReason::Exit;

use super::Ending::{DiesOrSays, Refused};
use super::{Fault, fault};

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "proc",
        Refused,
        "const read = (path) => () => Deno.readTextFile(path);
         const show = (path) => () => { const text = fs.readFileSync(path, 'utf8'); return text.includes(scene.secret) ? text : undefined; };
         return tries({
           'environ of the router': read(`/proc/${scene.router}/environ`),
           'maps of the router': read(`/proc/${scene.router}/maps`),
           'command line of the router': () => fs.readFileSync(`/proc/${scene.router}/cmdline`, 'utf8'),
           'files of the router': () => fs.readdirSync(`/proc/${scene.router}/fd`),
           'root of the router': () => fs.readFileSync(`/proc/${scene.router}/root/etc/passwd`, 'utf8'),
           'memory of the router': () => Deno.openSync(`/proc/${scene.router}/mem`).readSync(new Uint8Array(8)),
           'environ of another cell': read(`/proc/${scene.victim}/environ`),
           'folder of another cell': read(`/proc/${scene.victim}/cwd/secret.txt`),
           'environ of init': read('/proc/1/environ'),
           'root of itself': () => fs.readFileSync('/proc/self/root/etc/passwd', 'utf8'),
           'root of a thread': () => fs.readFileSync('/proc/thread-self/root/etc/passwd', 'utf8'),
           'what it was started with': show('/proc/self/environ'),
           'memory of itself': () => fs.openSync('/proc/self/mem', 'r+'),
           'kernel': read('/proc/kcore'),
           'a setting': () => Deno.openSync('/proc/sys/kernel/core_pattern', { write: true }),
         });",
    ),
    fault(
        "files_of_the_machine",
        Refused,
        "return tries({
           'Deno.readTextFile': () => Deno.readTextFile('/etc/passwd'),
           'Deno.open': () => Deno.openSync('/etc/passwd'),
           'node:fs': () => fs.readFileSync('/etc/passwd', 'utf8'),
           'node:fs promises': () => fs.promises.readFile('/etc/shadow', 'utf8'),
           'by dots': () => Deno.readTextFile('../../../../../../../../../etc/passwd'),
           'as a module': () => import('file:///etc/hostname', { with: { type: 'text' } }),
           'by fetch': () => fetch('file:///etc/passwd').then((response) => response.text()),
           'list of the root': () => [...Deno.readDirSync('/')].length,
           'list by node': () => fs.readdirSync('/home'),
           'stat': () => Deno.statSync('/etc/passwd').size,
           'a copy': () => Deno.copyFile('/etc/passwd', `${Deno.env.get('DATA_DIR')}/passwd`).then(() => 'copied'),
           'a watch': () => Deno.watchFs('/etc'),
         });",
    ),
    fault(
        "files_of_another_project_by_path",
        Refused,
        "const read = (path) => () => Deno.readTextFile(path);
         return tries({
           'on the volume': read(`${scene.volume}/victim/secret.txt`),
           'on the volume by node': () => fs.readFileSync(`${scene.volume}/victim/secret.txt`, 'utf8'),
           'its checkout': read(`${scene.checkout}/secret.txt`),
           'its checkout by dots': () => {
             const up = '../'.repeat(Deno.cwd().split('/').length);
             return Deno.readTextFile(`${Deno.cwd()}/${up}${scene.checkout}/secret.txt`);
           },
           'its data': read(`${scene.state}/data/victim/secret.txt`),
           'all data': () => [...Deno.readDirSync(`${scene.state}/data`)].length,
           'the state': () => fs.readdirSync(scene.state),
           'its own folder on the volume': () => fs.readdirSync(`${scene.volume}/victim`),
           'the policy': read(`${scene.volume}/_policy/policy.toml`),
           'its folder as the current one': () => { Deno.chdir(scene.checkout); return fs.readFileSync('secret.txt', 'utf8'); },
           'a database': async () => {
             const { DatabaseSync } = await import('node:sqlite');
             return new DatabaseSync(`${scene.state}/data/victim/secret.db`);
           },
           'an attached database': async () => {
             const { DatabaseSync } = await import('node:sqlite');
             const own = new DatabaseSync(':memory:');
             own.exec(`ATTACH '${scene.state}/data/victim/other.db' AS other; CREATE TABLE other.t (x)`);
             return 'attached';
           },
           'key-value storage': async () => typeof (await Deno.openKv(`${scene.state}/data/victim/kv`)),
         });",
    ),
    fault(
        "files_of_another_project_by_symbolic_link",
        Refused,
        "const data = Deno.env.get('DATA_DIR');
         const through = async (to, file = '') => {
           const at = `${data}/link`;
           await Deno.remove(at).catch(() => {});
           await Deno.symlink(to, at);
           return fs.readFileSync(`${at}${file}`, 'utf8');
         };
         return tries({
           'to a file': () => through(`${scene.volume}/victim/secret.txt`),
           'to a folder': () => through(scene.checkout, '/secret.txt'),
           'to the machine': () => through('/etc/passwd'),
           'by node': () => {
             fs.symlinkSync(scene.checkout, `${data}/by-node`);
             return fs.readFileSync(`${data}/by-node/secret.txt`, 'utf8');
           },
           'as a hard link': async () => {
             await Deno.link(`${scene.checkout}/secret.txt`, `${data}/hard`);
             return Deno.readTextFile(`${data}/hard`);
           },
           'as a hard link by node': () => {
             fs.linkSync(`${scene.checkout}/secret.txt`, `${data}/hard`);
             return fs.readFileSync(`${data}/hard`, 'utf8');
           },
           'as a module': async () => {
             fs.symlinkSync(`${scene.checkout}/secret.mjs`, `${data}/module.mjs`);
             return (await import(`file://${data}/module.mjs`)).secret;
           },
           'a swap behind a check': async () => {
             // A path that is the project's own folder at the check and another project's at the
             // open.
             for (let i = 0; i < 200; i++) {
               fs.mkdirSync(`${data}/swap`, { recursive: true });
               fs.writeFileSync(`${data}/swap/secret.txt`, 'own');
               const reading = Deno.readTextFile(`${data}/swap/secret.txt`);
               fs.rmSync(`${data}/swap`, { recursive: true });
               try { fs.symlinkSync(scene.checkout, `${data}/swap`); } catch { /* refused as well */ }
               const got = await reading.catch(() => 'own');
               fs.rmSync(`${data}/swap`, { recursive: true, force: true });
               if (got !== 'own') return got;
             }
           },
         });",
    ),
    Fault {
        files: &[
            ("package.json", r##"{"imports": {"#up": "../victim/secret.cjs", "#far": "./../../victim/secret.cjs"}}"##),
            ("node_modules/out/package.json", r#"{"main": "../../../victim/secret.cjs"}"#),
            ("node_modules/exported/package.json", r#"{"exports": {".": "./../../../victim/secret.cjs"}}"#),
            ("node_modules/requires/package.json", "{}"),
            ("node_modules/requires/index.js", "module.exports = require('../../../victim/secret.cjs');"),
        ],
        links: &[("node_modules/linked", "../../victim"), ("node_modules/file.cjs", "../../victim/secret.cjs")],
        ..fault(
            "files_of_another_project_by_node_resolution",
            Refused,
            "return tries({
               'the main of a package': () => require('out'),
               'the exports of a package': () => require('exported'),
               'a package that requires': () => require('requires'),
               'a linked package': () => require('linked/secret.cjs'),
               'a linked file': () => require('./node_modules/file.cjs'),
               'an import of a linked package': () => import('linked/secret.cjs'),
               'an import of a main': () => import('out'),
               'imports': () => import('#up'),
               'imports further up': () => import('#far'),
               'require by path': () => require(`${scene.checkout}/secret.cjs`),
               'require on the volume': () => require(`${scene.volume}/victim/secret.cjs`),
               'require of JSON': () => require(`${scene.checkout}/secret.json`),
               'require from there': () => createRequire(`file://${scene.checkout}/`)('./secret.cjs'),
               'resolve and read': () => fs.readFileSync(require.resolve('linked/secret.txt'), 'utf8'),
               'read through a link': () => fs.readFileSync(`${scene.volume}/${scene.name}/node_modules/linked/secret.txt`, 'utf8'),
             });",
        )
    },
    fault(
        "files_of_another_project_by_import",
        Refused,
        "const at = `file://${scene.checkout}`;
         return tries({
           'import': () => import(`${at}/secret.mjs`),
           'import on the volume': () => import(`file://${scene.volume}/victim/secret.mjs`),
           'import by dots': () => import(`../../${scene.version}/victim/secret.mjs`),
           'import of JSON': () => import(`${at}/secret.json`, { with: { type: 'json' } }),
           'import of text': () => import(`${at}/secret.txt`, { with: { type: 'text' } }),
           'import of bytes': () => import(`${at}/secret.txt`, { with: { type: 'bytes' } }),
           'import.meta.resolve': () => import(import.meta.resolve(`${at}/secret.mjs`)),
           'import.meta.resolve and a read': () => Deno.readTextFile(new URL(import.meta.resolve(`${at}/secret.txt`))),
           'import by data': () => import(`data:application/javascript,export * from '${at}/secret.mjs';`),
           'import by blob': () => {
             const blob = new Blob([`export * from '${at}/secret.mjs';`], { type: 'application/javascript' });
             return import(URL.createObjectURL(blob));
           },
           'a worker': () => new Promise((done, fail) => {
             const worker = new Worker(`${at}/worker.mjs`, { type: 'module' });
             worker.onmessage = (event) => done(event.data);
             worker.onerror = (event) => { event.preventDefault(); fail(new Error(event.message)); };
           }),
           'wasm': () => WebAssembly.compileStreaming(fetch(`${at}/secret.txt`)),
         });",
    ),
    fault(
        "the_environment_of_the_router",
        Refused,
        "const look = (value) => () => Deno.inspect(value()).includes(scene.secret) ? value() : undefined;
         return tries({
           'Deno.env': look(() => Deno.env.toObject()),
           'process.env': look(() => ({ ...process.env })),
           'by name': () => Deno.env.get('ROUTER_SECRET'),
           'of whom started it': look(() => fs.readFileSync('/proc/self/environ', 'utf8')),
           'in a worker': () => new Promise((done) => {
             const worker = new Worker('data:application/javascript,postMessage(Deno.env.get(\"ROUTER_SECRET\"))', { type: 'module' });
             worker.onmessage = (event) => { worker.terminate(); done(event.data ?? undefined); };
           }),
           'arguments': look(() => [...Deno.args, ...process.argv, process.title, process.execPath]),
         });",
    ),
    fault(
        "tricks_with_the_environment_of_deno",
        Refused,
        "const set = (name, value) => { Deno.env.set(name, value); process.env[name] = value; };
         return tries({
           'what the cell was told': () => Deno.env.get('DENO_TRUST_PROXY_HEADERS'),
           'a port of its own': () => {
             set('DENO_SERVE_ADDRESS', `tcp:127.0.0.1:${scene.free}`);
             return Deno.listen({ port: scene.free, hostname: '127.0.0.1' }).addr;
           },
           'the place of another': () => {
             set('DENO_SERVE_ADDRESS', `unix:${scene.socket}`);
             return Deno.listen({ transport: 'unix', path: scene.socket }).addr;
           },
           'permissions': () => {
             for (const name of ['DENO_NO_PROMPT', 'DENO_TRACE_PERMISSIONS', 'DENO_PERMISSION_BROKER_PATH', 'DENO_DIR', 'DENO_KV_DB_MODE', 'NODE_OPTIONS', 'LD_PRELOAD']) {
               set(name, '/tmp/switchyard-trick');
             }
             return Deno.readTextFile('/etc/passwd');
           },
           'a request for permission': async () => {
             const { state } = await Deno.permissions.request({ name: 'read', path: '/etc' });
             return state === 'granted' ? state : undefined;
           },
           'a request for processes': async () => {
             const { state } = await Deno.permissions.request({ name: 'run' });
             return state === 'granted' ? state : undefined;
           },
         });",
    ),
    fault(
        "a_worker_that_asks_for_more",
        DiesOrSays(&[Exit], 500),
        "const more = { permissions: { read: true, run: true, net: true } };
         const code = 'data:application/javascript,postMessage(Deno.readTextFileSync(\"/etc/passwd\"))';
         return new Response(await new Promise((done, fail) => {
           const worker = new Worker(code, { type: 'module', deno: more });
           worker.onmessage = (event) => done(event.data);
           worker.onerror = (event) => { event.preventDefault(); fail(new Error(event.message)); };
         }));",
    ),
    fault(
        "writing_outside",
        Refused,
        "const write = (path) => () => Deno.writeTextFile(path, 'mine').then(() => 'written');
         return tries({
           'its own checkout': write(`${Deno.cwd()}/main.ts`),
           'a new file beside it': write(`${Deno.cwd()}/new.ts`),
           'by node': () => { fs.writeFileSync(`${Deno.cwd()}/by-node.ts`, 'mine'); return 'written'; },
           'its folder on the volume': write(`${scene.volume}/${scene.name}/main.ts`),
           'another project': write(`${scene.volume}/victim/main.ts`),
           'another checkout': write(`${scene.checkout}/main.ts`),
           'other data': write(`${scene.state}/data/victim/x`),
           'the other temporary folder of all': write('/var/tmp/switchyard-written'),
           'the state': write(`${scene.state}/x`),
           'memory for all': write('/dev/shm/switchyard-written'),
           'a new project': () => { fs.mkdirSync(`${scene.volume}/mine`); return 'made'; },
           'a removal': () => Deno.remove(`${scene.volume}/victim`, { recursive: true }).then(() => 'removed'),
           'a rename': () => { fs.renameSync(`${scene.volume}/victim`, `${scene.volume}/moved`); return 'renamed'; },
           'a mode': () => { fs.chmodSync(`${scene.checkout}/secret.txt`, 0o666); return 'changed'; },
           'an owner': () => { fs.chownSync(`${scene.checkout}/secret.txt`, 1, 1); return 'changed'; },
           'a time': () => { fs.utimesSync(`${scene.checkout}/secret.txt`, 1, 1); return 'changed'; },
           'a truncation': () => Deno.truncate(`${scene.checkout}/secret.txt`).then(() => 'emptied'),
           'through a link': () => {
             const at = `${Deno.env.get('DATA_DIR')}/out`;
             fs.symlinkSync(scene.volume, at);
             fs.writeFileSync(`${at}/victim/main.ts`, 'mine');
             return 'written';
           },
         });",
    ),
    fault(
        "native_code",
        Refused,
        "const own = `${Deno.env.get('DATA_DIR')}/native.node`;
         fs.writeFileSync(own, 'no library');
         const libc = '/lib/x86_64-linux-gnu/libc.so.6';
         return tries({
           'Deno.dlopen': () => Object.keys(Deno.dlopen(libc, { getpid: { parameters: [], result: 'i32' } })),
           'process.dlopen': () => { process.dlopen({ exports: {} }, libc); return 'opened'; },
           'process.dlopen of its own file': () => { process.dlopen({ exports: {} }, own); return 'opened'; },
           'require of a .node': () => require(own),
           'a pointer': () => new Deno.UnsafePointerView(Deno.UnsafePointer.create(4096n)).getUint8(),
           'a callback': () => new Deno.UnsafeCallback({ parameters: [], result: 'void' }, () => {}),
         });",
    ),
];
