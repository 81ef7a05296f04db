//! Faults of projects, accidental or hostile, that must affect only themselves: a table for tests,
//! bench and soak.
//!
//! Each fault is a project that commits it on request, and the expected result.

use switchyard_contract::event::DeathReason;

use crate::fixtures::folder;

pub use scene::{Outcome, SECRET, Scene};

mod ends;
mod exhaustion;
mod files;
mod memory;
mod network;
mod scene;
mod time;
mod trap;

/// One way to misbehave.
#[derive(Debug)]
pub struct Fault {
    /// The name of the test.
    pub name: &'static str,
    /// The body of a function of JavaScript that is given the [`Scene`] as `scene`; see `fixtures/deed`.
    deed: &'static str,
    ending: Ending,
    /// Other files of the project, and symbolic links (where, and to what).
    files: &'static [(&'static str, &'static str)],
    links: &'static [(&'static str, &'static str)],
    /// Lines of the policy, besides [`scene`]'s.
    limits: &'static str,
}

/// The expected result of a fault. The project answers again after each.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// The cell ends for one of these reasons, and with it the request.
    Dies(&'static [DeathReason]),
    /// The same, or the project hears of it as an error and answers that.
    DiesOrSays(&'static [DeathReason], u16),
    /// The request is answered, and then the cell ends.
    SaysAndDies(&'static [DeathReason]),
    /// The project answers with this status and its cell goes on.
    Says(u16),
    /// The answer begins and is cut off.
    BreaksOff,
    /// The project does not answer in time, and its cell goes on.
    TimesOut,
    /// The project answers or does not; if its cell ends, then for one of these reasons.
    Suffers(&'static [DeathReason]),
    /// The project answers with its attempts: all were refused.
    Refused,
}

const fn fault(name: &'static str, ending: Ending, deed: &'static str) -> Fault {
    Fault { name, deed, ending, files: &[], links: &[], limits: "" }
}

/// Not a fault: the cost of a busy project to others.
pub static HARMLESS: Fault = fault("nothing_wrong", Ending::Says(200), "return new Response('fine');");

/// All faults, by their target.
pub const KINDS: [(&str, &[Fault]); 6] = [
    ("time", time::FAULTS),
    ("memory", memory::FAULTS),
    ("ends", ends::FAULTS),
    ("exhaustion", exhaustion::FAULTS),
    ("files", files::FAULTS),
    ("network", network::FAULTS),
];

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Fault> {
    KINDS.into_iter().flat_map(|(_, faults)| faults)
}

/// # Panics
/// There is no fault of that name.
pub fn named(name: &str) -> &'static Fault {
    all().find(|fault| fault.name == name).unwrap_or_else(|| panic!("no fault is called {name}"))
}

impl Fault {
    /// Returns the name of the project with the fault.
    pub fn project(&self) -> String {
        self.name.replace('_', "-")
    }

    fn sources(&self) -> Vec<(String, String)> {
        let deed = folder("deed");
        let read = |name: &str| {
            let text = std::fs::read_to_string(deed.join(name)).expect("the fixture exists");
            (name.to_owned(), text.replace("DEED", self.deed))
        };
        let own = self.files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        ["deno.json", "main.ts", "deed.ts", "help.ts"].map(read).into_iter().chain(own).collect()
    }
}
