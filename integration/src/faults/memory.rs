//! Taking more memory than there is.

use switchyard_contract::event::DeathReason::{Abort, Memory};

use super::Ending::{Dies, DiesOrSays, Says};
use super::{Fault, fault};

pub(super) const FAULTS: &[Fault] = &[
    fault(
        "growth_by_objects",
        Dies(&[Memory]),
        "const kept = [];
         for (;;) {
           for (let i = 0; i < 50_000; i++) kept.push({ i, list: [i] });
           await later();
         }",
    ),
    fault(
        "growth_by_strings",
        Dies(&[Memory]),
        "const kept = [];
         for (let i = 0; ; i++) {
           kept.push(Array.from({ length: 50_000 }, (_, j) => `${i}/${j}`).join());
           await later();
         }",
    ),
    fault(
        "growth_of_one_array",
        Dies(&[Memory, Abort]),
        "const huge = []; for (let i = 0; ; i++) huge.push(i);",
    ),
    fault(
        "two_gigabytes_of_array_buffers",
        DiesOrSays(&[Memory], 500),
        "const kept = [];
         for (let i = 0; i < 20; i++) {
           kept.push(new Uint8Array(100 << 20).fill(1));
           await later();
         }
         return new Response(`${kept.length}`);",
    ),
    fault(
        "many_small_array_buffers",
        DiesOrSays(&[Memory], 500),
        "const kept = [];
         for (let i = 0; i < 20_000; i++) {
           kept.push(new Uint8Array(100_000).fill(1));
           if (i % 100 === 0) await later();
         }
         return new Response(`${kept.length}`);",
    ),
    fault(
        "a_gigabyte_and_a_half_of_wasm",
        DiesOrSays(&[Memory], 500),
        "const { buffer } = new WebAssembly.Memory({ initial: 24_576 });
         const bytes = new Uint8Array(buffer);
         for (let at = 0; at < bytes.length; at += 4096) {
           bytes[at] = 1;
           if (at % (16 << 20) === 0) await later();
         }
         return new Response(`${bytes.length}`);",
    ),
    fault(
        "a_split_of_a_huge_string",
        Dies(&[Memory, Abort]),
        "return new Response(`${'x'.repeat(2 ** 28).split('').length}`);",
    ),
    fault(
        "deep_recursion",
        Says(500),
        "const down = (depth) => down(depth + 1) + 1;
         return new Response(`${down(0)}`);",
    ),
    fault(
        "deep_json",
        DiesOrSays(&[Memory], 200),
        "const deep = JSON.parse('['.repeat(500_000) + ']'.repeat(500_000));
         return new Response(JSON.stringify(deep));",
    ),
];
