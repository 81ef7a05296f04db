//! The operator's policy has changed: the projects that it touches are built again.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use switchyard_contract::event::Trigger;

use super::{Control, What};
use crate::cells::Cell;
use crate::policy::Policy;
use crate::reload::machine::Event;

impl Control {
    pub(super) fn follow_policy(&mut self, policy: Arc<Policy>) {
        self.parts.policy = policy.clone();
        self.judge_again(&policy);
        let names: Vec<_> = self.projects.keys().cloned().collect();
        let mut touched = Vec::new();
        for name in names {
            let Some(project) = self.projects.get_mut(&name) else { continue };
            if project.is_outdated(&policy) || project.is_read_otherwise(&policy) {
                self.step(&name, Event::Changed(Trigger::Policy), Instant::now());
                touched.push(name);
            } else if project.renew(&policy) {
                self.parts.live.put(project.entry());
                self.show(&name);
            }
        }
        tracing::info!(built_again = ?touched, "the policy holds");
    }

    /// Ends cells that are not wanted, or were given what they would not be given now.
    pub(super) fn retire(&mut self, name: &str, cells: Vec<Arc<Cell>>) {
        let within = self.settings.grace;
        self.spawn_ending(name, async move {
            join_all(cells.iter().map(|cell| cell.retire(within))).await;
            What::Nothing
        });
    }
}
