//! The routes that a project claims in its configuration, and the treatment of their prefixes.

use switchyard_contract::event::Diagnostic;
use switchyard_contract::project::ProjectName;
use switchyard_contract::route::Route;
use switchyard_detect::config::in_file;

use super::functions;

/// The path of the key that claims routes.
pub(super) const ROUTES: &str = "switchyard.routes";

/// The routes that a configuration claims, with their position in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClaimedRoutes {
    pub(crate) routes: Vec<Route>,
    /// The number of routes at the end that are claimed implicitly. The project is served without those that it cannot
    /// have.
    implied: usize,
    file: &'static str,
    line: Option<u32>,
    column: Option<u32>,
}

impl ClaimedRoutes {
    /// Returns no routes, at this position of `file`.
    pub(super) fn at(file: &'static str, (line, column): (Option<u32>, Option<u32>)) -> Self {
        Self { file, line, column, ..Self::default() }
    }

    /// Claims the prefix of the function `name` in Supabase's gateway.
    pub(super) fn imply(&mut self, name: &ProjectName) {
        let Ok(route) = format!("{}/{name}", functions::PREFIX).parse() else { return };
        if !self.routes.contains(&route) {
            self.routes.push(route);
            self.implied += 1;
        }
    }

    /// Checks that a project among functions claims only its own part of the gateway's prefix.
    ///
    /// # Errors
    /// A route belongs to another function, or covers all functions.
    pub(super) fn keep_gateway(&self, name: &ProjectName) -> Result<(), Diagnostic> {
        let others =
            |route: &Route| matches!(route, Route::Prefix(prefix) if functions::is_of_others(prefix, name));
        let Some(index) = self.routes.iter().position(others) else { return Ok(()) };
        let gateway = functions::PREFIX;
        Err(self.refused(
            index,
            &format!(
                "{gateway} is reserved for Supabase's functions: {name} can claim {gateway}/{name} only"
            ),
        ))
    }

    /// The routes that the configuration names. The project is not served without them.
    pub(crate) fn named(&self) -> &[Route] {
        &self.routes[..self.routes.len() - self.implied]
    }

    /// Returns the diagnostic for the refused route with this index.
    pub(crate) fn refused(&self, index: usize, why: &str) -> Diagnostic {
        let message = format!("\"{ROUTES}[{index}]\" in {}: {why}", self.file);
        Diagnostic { line: self.line, column: self.column, ..in_file(self.file, message) }
    }
}

/// The treatment of a path prefix that led to the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum PrefixHandling {
    /// The prefix is removed: `/blog/x` and `/shop/x` are `/x`.
    #[default]
    Strip,
    /// The prefix stays.
    Keep,
    /// The last segment stays, as in Supabase's gateway: `/functions/v1/hello/x` is `/hello/x`.
    KeepName,
}

impl PrefixHandling {
    /// Returns the treatment that `switchyard.stripPrefix` names, or the default one.
    pub(super) fn choose(strip: Option<bool>, is_function: bool) -> Self {
        match strip {
            Some(true) => Self::Strip,
            Some(false) => Self::Keep,
            None if is_function => Self::KeepName,
            None => Self::Strip,
        }
    }

    /// Returns the number of bytes of `prefix` that are removed from a path.
    pub(crate) fn stripped_len(self, prefix: &str) -> usize {
        match self {
            Self::Strip => prefix.len(),
            Self::Keep => 0,
            Self::KeepName => prefix.rfind('/').unwrap_or(0),
        }
    }
}
