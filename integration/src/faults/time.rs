//! Never letting go of the processor, or of the event loop.

use switchyard_contract::event::DeathReason::EventLoop;

use super::Ending::{Dies, Says};
use super::{Fault, fault};

pub(super) const FAULTS: &[Fault] = &[
    fault("an_endless_loop", Dies(&[EventLoop]), "for (;;);"),
    fault(
        "a_catastrophic_regular_expression",
        Dies(&[EventLoop]),
        "return new Response(String(/^(a+)+$/.test('a'.repeat(50) + 'b')));",
    ),
    fault(
        "a_wait_on_atomics",
        Dies(&[EventLoop]),
        "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);",
    ),
    fault(
        "a_storm_of_microtasks",
        Dies(&[EventLoop]),
        "const storm = () => { Promise.resolve().then(storm); }; storm(); await later();",
    ),
    fault(
        "a_storm_of_ticks",
        Dies(&[EventLoop]),
        "const storm = () => process.nextTick(storm); storm(); await later();",
    ),
    fault(
        "workers_that_never_rest",
        Says(200),
        "for (let i = 0; i < 2; i++) {
           try { new Worker('data:application/javascript,for(;;);', { type: 'module' }); } catch { /* they run already */ }
         }
         return new Response('they run');",
    ),
];
