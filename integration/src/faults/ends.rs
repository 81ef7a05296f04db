//! Ending the process, and answering with what is no answer.

use switchyard_contract::event::DeathReason::{Abort, Exit, Signal};

use super::Ending::{BreaksOff, Dies, DiesOrSays, Refused, Says, SaysAndDies, TimesOut};
use super::{Fault, fault};

pub(super) const FAULTS: &[Fault] = &[
    fault("an_exit_by_deno", Dies(&[Exit]), "Deno.exit(7);"),
    fault("an_exit_by_node", Dies(&[Exit]), "process.exit(7);"),
    fault("an_abort", Dies(&[Abort]), "process.abort();"),
    fault(
        "a_kill_of_itself",
        DiesOrSays(&[Signal], 500),
        "process.kill(process.pid, 'SIGKILL'); await later(60_000);",
    ),
    // To all processes and to groups, nothing is sent that could end one: what matters is whether it could be.
    fault(
        "a_kill_of_others",
        Refused,
        "if (process.ppid !== scene.router) throw new Error(`the parent is ${process.ppid}`);
         return tries({
           'Deno.kill of the router': () => Deno.kill(scene.router, 'SIGKILL') ?? 'sent',
           'process.kill of the router': () => process.kill(scene.router, 'SIGKILL'),
           'process.kill of another cell': () => process.kill(scene.victim, 'SIGKILL'),
           'Deno.kill of another cell': () => Deno.kill(scene.victim, 'SIGSTOP') ?? 'sent',
           'a look at the router': () => process.kill(scene.router, 0),
           'a look at init': () => process.kill(1, 0),
         });",
    ),
    fault(
        "a_swallowed_sigterm",
        Says(200),
        "for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) {
           process.on(signal, () => {});
           try { Deno.addSignalListener(signal, () => {}); } catch { /* not allowed is as well */ }
         }
         return new Response('swallowed');",
    ),
    fault(
        "an_unhandled_rejection",
        Dies(&[Exit]),
        "Promise.reject(new Error('dropped')); await later(60_000);",
    ),
    fault(
        "a_throw_in_a_timer_after_the_answer",
        SaysAndDies(&[Exit]),
        "setTimeout(() => { throw new Error('late'); }, 20); return new Response('bye');",
    ),
    fault(
        "a_throw_while_a_stream_is_pulled",
        BreaksOff,
        "let pulls = 0;
         return new Response(new ReadableStream({
           async pull(controller) {
             await later(10);
             if (pulls++ === 3) throw new Error('no more');
             controller.enqueue(new TextEncoder().encode('chunk '));
           },
         }));",
    ),
    Fault {
        limits: "request_time = \"500ms\"",
        ..fault("a_handler_that_never_answers", TimesOut, "await new Promise(() => {});")
    },
    fault("a_handler_that_answers_no_response", Says(500), "return { status: 200 };"),
    fault("a_used_body", Says(500), "const used = new Response('once'); await used.text(); return used;"),
    fault("status_99", Says(500), "return new Response('', { status: 99 });"),
    fault("an_invalid_header", Says(500), "return new Response('', { headers: { 'a b': 'c\\r\\nd: e' } });"),
];
