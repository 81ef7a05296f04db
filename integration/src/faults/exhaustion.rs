//! Using up what all share: threads, processes, descriptors, disk, the log.

use switchyard_contract::event::DeathReason::{Exit, Memory};

use super::Ending::{Refused, Says, Suffers};
use super::{Fault, fault};

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "a_thousand_workers",
        Suffers(&[Memory]),
        "let refused = 0;
         for (let i = 0; i < 1000; i++) {
           try {
             const worker = new Worker(WORKER, { type: 'module' });
             worker.onerror = (event) => event.preventDefault();
           } catch {
             refused++;
           }
         }
         return new Response(`${refused}`);",
    ),
    fault(
        "workers_that_make_workers",
        Suffers(&[Memory]),
        "const nested = `for (let i = 0; i < 50; i++) try { new Worker('${WORKER}', { type: 'module' }); } catch { /* full */ }
           self.onmessage = () => {};`;
         for (let i = 0; i < 3; i++) {
           const worker = new Worker('data:application/javascript,' + encodeURIComponent(nested), { type: 'module' });
           worker.onerror = (event) => event.preventDefault();
         }
         await later(200);
         return new Response('made');",
    ),
    fault(
        "a_fork_bomb",
        Refused,
        "const bomb = {};
         for (let i = 0; i < 20; i++) {
           bomb[`Deno.Command ${i}`] = () => new Deno.Command('/bin/sh', { args: ['-c', 'sleep 5'] }).spawn().pid;
           bomb[`Deno.Command of itself ${i}`] = () => new Deno.Command(Deno.execPath(), { args: ['--help'] }).outputSync().code;
           bomb[`spawn ${i}`] = async () => {
             const child = child_process.spawn('/bin/sh', ['-c', 'sleep 5']);
             await help.settled(child, 'spawn');
             return child.pid;
           };
           bomb[`fork ${i}`] = async () => {
             const child = child_process.fork('./help.ts');
             await help.settled(child, 'spawn');
             return child.pid;
           };
           bomb[`execSync ${i}`] = () => child_process.execSync('echo ran').toString();
         }
         return tries(bomb);",
    ),
    fault(
        "exhaustion_of_descriptors",
        // Deno's server ends when it cannot accept.
        Suffers(&[Exit]),
        "const kept = [];
         const answer = await tries({
           'files': async () => {
             for (let i = 0; i < 5_000; i++) kept.push(await Deno.open(import.meta.filename));
             return kept.length;
           },
         });
         // Held for a moment longer: the answer has to get out, and others to get in.
         setTimeout(() => kept.forEach((file) => file.close()), 200);
         return answer;",
    ),
    fault(
        "exhaustion_of_sockets",
        // Deno's server ends when it cannot accept.
        Suffers(&[Exit]),
        "const kept = [];
         const answer = await tries({
           'datagram sockets': async () => {
             for (let i = 0; i < 5_000; i++) {
               const socket = dgram.createSocket('udp4');
               kept.push(socket);
               const bound = help.settled(socket, 'listening');
               socket.bind(0, '127.0.0.1');
               await bound;
             }
             return kept.length;
           },
         });
         setTimeout(() => kept.forEach((socket) => { try { socket.close(); } catch { /* was not open */ } }), 200);
         return answer;",
    ),
    fault(
        "exhaustion_of_threads",
        Says(200),
        "const key = await crypto.subtle.importKey('raw', new Uint8Array(8), 'PBKDF2', false, ['deriveBits']);
         const how = { name: 'PBKDF2', hash: 'SHA-256', salt: new Uint8Array(8), iterations: 5_000 };
         const made = await Promise.allSettled(
           Array.from({ length: 1000 }, () => crypto.subtle.deriveBits(how, key, 256)),
         );
         return new Response(`${made.length}`);",
    ),
    fault(
        "a_full_disk",
        Refused,
        "const fill = async (folder) => {
           const block = new Uint8Array(1 << 20).fill(1);
           // Twenty times its limit.
           for (let i = 0; i < 400; i++) {
             await Deno.writeFile(`${folder}/fill-${i}`, block);
             await later(2);
           }
           return 'all of it';
         };
         const free = async (folder) => {
           for await (const entry of Deno.readDir(folder)) {
             if (entry.name.startsWith('fill-')) await Deno.remove(`${folder}/${entry.name}`);
           }
         };
         const writes = async (folder) => {
           for (;;) {
             try {
               return await Deno.writeTextFile(`${folder}/again`, 'x');
             } catch {
               await later(20);
             }
           }
         };
         const [data, tmp] = [Deno.env.get('DATA_DIR'), Deno.env.get('TMPDIR')];
         return tries({
           'one file': () => Deno.writeFile(`${data}/fill-one`, new Uint8Array(24 << 20)).then(() => 'written'),
           'no file again': () => free(data),
           'DATA_DIR': () => fill(data),
           'once it is full': () => Deno.writeTextFile(`${data}/more`, 'x').then(() => 'written'),
           'after a removal': () => free(data).then(() => writes(data)),
           'TMPDIR': () => fill(tmp),
           'after another removal': () => free(tmp).then(() => writes(data)),
         });",
    ),
    fault(
        "a_flood_of_output",
        Says(200),
        "const line = 'x'.repeat(100);
         for (let i = 0; i < 40_000; i++) {
           console.log(line);
           if (i % 500 === 0) await later();
         }
         return new Response('said');",
    ),
    fault(
        "a_line_without_end",
        Says(200),
        "const piece = new TextEncoder().encode('y'.repeat(1 << 16));
         for (let i = 0; i < 200; i++) {
           await Deno.stderr.write(piece);
           await later();
         }
         return new Response('said');",
    ),
];
