//! Diagnostics of an installation that fails.

use switchyard_contract::event::Diagnostic;

use crate::errors::diagnose::configuration_diagnostic;
use crate::modules::names::PathNames;

/// Returns the diagnostic of an error of Deno's installer or of a configuration file.
pub(super) fn diagnostic(names: &PathNames, error: &anyhow::Error) -> Diagnostic {
    let mut diagnostic = configuration_diagnostic(names, error);
    // Deno's advice does not apply here.
    if let Some((_, changes)) = diagnostic.message.split_once("The lockfile is out of date.") {
        let changes = changes.split_once("changes:").map_or("", |(_, changes)| changes);
        diagnostic = Diagnostic {
            message: format!(
                "deno.lock does not fit the project: run `deno install` in it and save the new deno.lock. It would \
                 change:{changes}"
            ),
            file: Some("deno.lock".into()),
            ..Diagnostic::default()
        };
    }
    diagnostic
}

/// Returns an error's text followed by those of its causes that it does not contain.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = error.source();
    }
    text
}
