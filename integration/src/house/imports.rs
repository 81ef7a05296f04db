//! The paths in code that lead to other modules (`crate::`, `super::`, `self::`) or crates.

use super::lexer::{Token, TokenKind};

/// A path in code, from its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    pub line: usize,
    pub target: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A path in the same crate: its segments from the root. The last ones may be items.
    Inside(Vec<String>),
    /// Another crate, by the name that code has for it.
    Crate(String),
}

/// The imports in `tokens`, which are those of the module at `module` with these child modules.
pub(super) fn find(tokens: &[Token<'_>], module: &[String], children: &[String]) -> Vec<Import> {
    let mut imports = Vec::new();
    let mut outside = Vec::new();
    // Names of modules that are imported, and so are no crates of these names.
    let mut local = children.to_vec();
    let mut behind_tree = 0;
    for (at, token) in tokens.iter().enumerate() {
        let TokenKind::Ident(name) = token.kind else { continue };
        let before = at.checked_sub(1).map(|before| tokens[before].kind);
        let is_path = tokens.get(at + 1).is_some_and(|next| next.kind == TokenKind::PathSep);
        let is_inner =
            matches!(before, Some(TokenKind::PathSep | TokenKind::Ident("in") | TokenKind::Punct('.')));
        if !is_path || is_inner || at < behind_tree {
            continue;
        }
        let mut paths = Vec::new();
        behind_tree = tree(tokens, at, &mut Vec::new(), &mut paths);
        if !["crate", "self", "super"].contains(&name) {
            outside.push((name, token.line));
            continue;
        }
        for path in paths {
            local.extend(path.last().map(|name| (*name).to_owned()));
            let inside = absolute(&path, module).map(Target::Inside);
            imports.extend(inside.map(|target| Import { line: token.line, target }));
        }
    }
    let outside = outside.into_iter().filter(|(name, _)| !local.iter().any(|local| local == name));
    imports.extend(outside.map(|(name, line)| Import { line, target: Target::Crate(name.to_owned()) }));
    imports
}

/// Collects the paths of the tree of imports that begins at `at`. Returns the index behind it.
fn tree<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    prefix: &mut Vec<&'a str>,
    paths: &mut Vec<Vec<&'a str>>,
) -> usize {
    let depth = prefix.len();
    loop {
        match tokens.get(at).map(|token| token.kind) {
            Some(TokenKind::Ident(name)) => {
                prefix.push(name);
                at += 1;
            }
            Some(TokenKind::Punct('{')) => {
                at = group(tokens, at + 1, prefix, paths);
                break;
            }
            _ => {
                paths.push(prefix.clone());
                break;
            }
        }
        if tokens.get(at).map(|token| token.kind) != Some(TokenKind::PathSep) {
            paths.push(prefix.clone());
            break;
        }
        at += 1;
    }
    prefix.truncate(depth);
    at
}

/// The trees between braces, the first of which is behind `at`.
fn group<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    prefix: &mut Vec<&'a str>,
    paths: &mut Vec<Vec<&'a str>>,
) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.kind {
            TokenKind::Punct('}') => return at + 1,
            TokenKind::Punct(',' | '*') => at += 1,
            TokenKind::Ident("as") => at += 2,
            TokenKind::Ident(_) => at = tree(tokens, at, prefix, paths),
            _ => return at + 1,
        }
    }
    at
}

/// The path from the crate's root on; `None` if it leads above the root.
fn absolute(path: &[&str], module: &[String]) -> Option<Vec<String>> {
    let mut from = module.to_vec();
    let mut rest = path;
    while let Some((first, behind)) = rest.split_first() {
        match *first {
            "crate" => from.clear(),
            "self" => {}
            "super" => _ = from.pop()?,
            _ => break,
        }
        rest = behind;
    }
    // `{self, …}` names the module itself.
    from.extend(rest.iter().filter(|name| **name != "self").map(|name| (*name).to_owned()));
    Some(from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::lexer::lex;

    fn imports_and_missing(text: &str) -> (Vec<String>, Vec<String>) {
        let module = ["a".to_owned(), "b".to_owned()];
        let imports = find(&lex(text).tokens, &module, &["child".to_owned()]);
        let (mut inside, mut crates) = (Vec::new(), Vec::new());
        for import in imports {
            match import.target {
                Target::Inside(path) => inside.push(path.join("::")),
                Target::Crate(name) => crates.push(name),
            }
        }
        (inside, crates)
    }

    #[test]
    fn every_kind_of_path_is_found() {
        let text = "use crate::{c::D, e::{self, f::G as H, *}}; use super::i; pub(in crate::no) use self::j::K;
            fn x() -> crate::l::M { super::super::n::o::<P>(); i::q(); hyper::r(); child::s(); std::mem::take }";
        let (inside, crates) = imports_and_missing(text);
        assert_eq!(inside, ["c::D", "e", "e::f::G", "a::i", "a::b::j::K", "l::M", "n::o"]);
        assert_eq!(crates, ["hyper", "std"]);
    }
}
