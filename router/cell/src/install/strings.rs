//! Modules that a module names in strings: workers, arguments of `import.meta.resolve`, and
//! specifiers that are imported through a variable.

use std::path::Path;

use deno_ast::ParsedSource;
use deno_ast::swc::ast::{Expr, NewExpr, Str, TplElement};
use deno_ast::swc::ecma_visit::{Visit, VisitWith};
use deno_core::url::Url;
use deno_media_type::MediaType;
use deno_semver::jsr::JsrPackageReqReference;
use deno_semver::npm::NpmPackageReqReference;

use crate::modules::roots::Roots;

/// The longest specifier in bytes.
const MAX_SPECIFIER: usize = 1024;

/// Returns the modules that the strings of a module name.
pub(super) fn modules(source: &ParsedSource, roots: &Roots) -> Vec<Url> {
    let mut strings = StringVisitor { module: source.specifier(), roots, found: Vec::new() };
    source.program_ref().visit_with(&mut strings);
    strings.found
}

struct StringVisitor<'a> {
    module: &'a Url,
    roots: &'a Roots,
    found: Vec<Url>,
}

impl StringVisitor<'_> {
    fn add(&mut self, text: &str) {
        if text.len() > MAX_SPECIFIER || text.contains(char::is_whitespace) {
            return;
        }
        if self.module.scheme() != "file" {
            return;
        }
        match package(text) {
            Some(url) => self.found.push(url),
            None if is_code(text) => self.add_file(text),
            None => {}
        }
    }

    /// Adds the file of a path, relative to the module or to the working directory.
    fn add_file(&mut self, text: &str) {
        let text = text.trim_start_matches('/');
        let module = self.module.to_file_path().ok();
        let beside = module.as_deref().and_then(Path::parent).map(|folder| folder.join(text));
        let found = beside.into_iter().chain([self.roots.checkout.join(text)]);
        let found = found.filter_map(|path| self.roots.admit(&path).ok()).find(|path| path.is_file());
        self.found.extend(found.and_then(|path| Url::from_file_path(path).ok()));
    }
}

/// Parses an `npm:` or `jsr:` specifier. A text that only begins like one is not a specifier.
fn package(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_package = match url.scheme() {
        "npm" => NpmPackageReqReference::from_specifier(&url).is_ok(),
        "jsr" => JsrPackageReqReference::from_specifier(&url).is_ok(),
        _ => false,
    };
    is_package.then_some(url)
}

fn is_code(text: &str) -> bool {
    let text = text.split(['?', '#']).next().unwrap_or(text);
    matches!(
        MediaType::from_path(Path::new(text)),
        MediaType::JavaScript
            | MediaType::Mjs
            | MediaType::Cjs
            | MediaType::Jsx
            | MediaType::TypeScript
            | MediaType::Mts
            | MediaType::Cts
            | MediaType::Tsx
    )
}

impl Visit for StringVisitor<'_> {
    fn visit_str(&mut self, string: &Str) {
        if let Some(text) = string.value.as_str() {
            self.add(text);
        }
    }

    fn visit_tpl_element(&mut self, part: &TplElement) {
        if let Some(text) = part.cooked.as_ref().and_then(|text| text.as_str()) {
            self.add(text);
        }
    }

    /// Finds `new URL("./worker.ts", import.meta.url)` in a remote module. In the project's own
    /// modules such paths are found as files.
    fn visit_new_expr(&mut self, new: &NewExpr) {
        new.visit_children_with(self);
        let is_url = matches!(&*new.callee, Expr::Ident(name) if &*name.sym == "URL");
        let arguments = new.args.as_deref().unwrap_or_default();
        if let [path, base] = arguments
            && is_url
            && matches!(self.module.scheme(), "http" | "https")
            && let Expr::Lit(deno_ast::swc::ast::Lit::Str(path)) = &*path.expr
            && matches!(&*base.expr, Expr::Member(_))
            && let Some(path) = path.value.as_str().filter(|path| is_code(path))
        {
            self.found.extend(self.module.join(path).ok());
        }
    }
}
