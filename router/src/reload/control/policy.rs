//! Changes of the operator's policy: the projects that they touch are built again.

use std::sync::Arc;
use std::time::Instant;

use switchyard_contract::event::Trigger;

use super::Control;
use crate::policy::Policy;
use crate::reload::attempt::Look;
use crate::reload::machine::Event;

impl Control {
    pub(super) fn follow_policy(&mut self, policy: Arc<Policy>) {
        self.parts.policy = policy.clone();
        self.judge_again(&policy);
        let names: Vec<_> = self.projects.names().cloned().collect();
        let (mut touched, mut is_renewed) = (Vec::new(), false);
        for name in names {
            let project = self.projects.of(&name);
            if project.is_outdated(&policy) || project.failed_with_other_limits(&policy) {
                self.step(&name, Event::Changed(Look::new(Trigger::Policy, Instant::now())));
                touched.push(name);
            } else if project.renew(&policy) {
                self.parts.live.put(project.entry());
                self.show(&name);
                is_renewed = true;
            }
        }
        if is_renewed {
            self.parts.events.statuses_changed();
        }
        tracing::info!(built_again = ?touched, "the policy holds");
    }
}
