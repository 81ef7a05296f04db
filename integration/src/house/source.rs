//! The crates of the workspace and their files. Test code is left out of the analysis: tests may
//! import anything.

use std::fs;
use std::path::{Path, PathBuf};

use super::imports::{self, Import};
use super::lexer::{Comment, Token, TokenKind, lex};

/// All crates of a workspace.
#[derive(Debug)]
pub struct Workspace {
    pub root: PathBuf,
    pub crates: Vec<Crate>,
}

#[derive(Debug)]
pub struct Crate {
    /// The package's name without `switchyard-`; the package `switchyard` is `cli`.
    pub name: String,
    /// Folder of the crate, relative to the root.
    pub folder: PathBuf,
    /// The files below `src`, in the order of their paths.
    pub files: Vec<SourceFile>,
}

#[derive(Debug)]
pub struct SourceFile {
    /// Relative to the root of the workspace.
    pub path: PathBuf,
    pub text: String,
    /// The module's path within the crate. Empty for lib.rs and main.rs.
    pub module: Vec<String>,
    /// Declared under `#[cfg(test)]`, itself or a module above it.
    pub is_test: bool,
    /// Child modules that it declares with `mod name;`, without those of tests.
    pub children: Vec<String>,
    /// The modules and crates that its code names, without that of tests.
    pub imports: Vec<Import>,
}

impl Workspace {
    /// Reads the crates that are members of the workspace at `root`.
    ///
    /// # Panics
    /// A file cannot be read.
    pub fn read(root: &Path) -> Self {
        let manifest = read(&root.join("Cargo.toml"));
        let (_, members) = manifest.split_once("members = [").expect("the workspace has members");
        let members = members.split(']').next().unwrap_or_default();
        let members = members.split('"').skip(1).step_by(2);
        let crates = members.map(|folder| Crate::read(root, Path::new(folder))).collect();
        Self { root: root.to_owned(), crates }
    }
}

impl Crate {
    fn read(root: &Path, folder: &Path) -> Self {
        let manifest = read(&root.join(folder).join("Cargo.toml"));
        let (_, name) = manifest.split_once("name = \"").expect("a package has a name");
        let name = name.split('"').next().unwrap_or_default();
        let name = name.strip_prefix("switchyard-").unwrap_or("cli").to_owned();
        let source = root.join(folder).join("src");
        let mut paths = rust_files(&source);
        paths.sort();
        let mut files: Vec<_> = paths.iter().map(|path| SourceFile::read(root, &source, path)).collect();
        let tests: Vec<_> = files.iter().flat_map(SourceFile::test_modules).collect();
        for file in &mut files {
            file.is_test |= tests.iter().any(|test| file.module.starts_with(test));
        }
        Self { name, folder: folder.to_owned(), files }
    }

    /// The name that other crates import it by.
    pub fn import_name(&self) -> String {
        if self.name == "cli" { "switchyard".to_owned() } else { format!("switchyard_{}", self.name) }
    }

    /// The files that are part of the program or library.
    pub fn product(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| !file.is_test)
    }
}

impl SourceFile {
    fn read(root: &Path, source: &Path, path: &Path) -> Self {
        let module = module_path(path.strip_prefix(source).unwrap_or(path));
        let text = read(path);
        let mut file = Self {
            path: path.strip_prefix(root).unwrap_or(path).to_owned(),
            module,
            is_test: text.contains("#![cfg(test)]"),
            text,
            children: Vec::new(),
            imports: Vec::new(),
        };
        let lexed = lex(&file.text);
        let split = Split::of(&lexed.tokens);
        let children = declared(&split.product);
        let imports = imports::find(&split.product, &file.module, &children);
        (file.children, file.imports) = (children, imports);
        file
    }

    /// The full paths of the modules that it declares for tests.
    fn test_modules(&self) -> Vec<Vec<String>> {
        let lexed = lex(&self.text);
        let names = declared(&Split::of(&lexed.tokens).tests);
        names.into_iter().map(|name| [self.module.as_slice(), &[name]].concat()).collect()
    }

    /// The path in code notation: `reload::machine`, or `crate` for the root.
    pub fn name(&self) -> String {
        if self.module.is_empty() { "crate".to_owned() } else { self.module.join("::") }
    }

    /// The module's first segment, which a table of floors names.
    pub fn room(&self) -> Option<&str> {
        self.module.first().map(String::as_str)
    }

    pub(super) fn product_tokens(&self) -> Vec<Token<'_>> {
        Split::of(&lex(&self.text).tokens).product
    }

    pub(super) fn comments(&self) -> Vec<Comment<'_>> {
        lex(&self.text).comments
    }
}

/// # Panics
/// The file cannot be read.
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let files = paths.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn module_path(path: &Path) -> Vec<String> {
    let names = path.with_extension("");
    let names = names.iter().map(|name| name.to_string_lossy().into_owned()).collect::<Vec<_>>();
    if names == ["lib"] || names == ["main"] { Vec::new() } else { names }
}

/// The names in `mod name;`.
fn declared(tokens: &[Token<'_>]) -> Vec<String> {
    let windows =
        tokens.windows(3).filter_map(|window| match [window[0].kind, window[1].kind, window[2].kind] {
            [TokenKind::Ident("mod"), TokenKind::Ident(name), TokenKind::Punct(';')] => Some(name.to_owned()),
            _ => None,
        });
    windows.collect()
}

/// The tokens of a file: those of items under `#[cfg(test)]`, and all others.
#[derive(Debug, Default)]
struct Split<'a> {
    product: Vec<Token<'a>>,
    tests: Vec<Token<'a>>,
}

impl<'a> Split<'a> {
    fn of(tokens: &[Token<'a>]) -> Self {
        let (mut split, mut at) = (Self::default(), 0);
        while let Some(token) = tokens.get(at) {
            let attribute = attribute_length(&tokens[at..]);
            if attribute > 0 && is_for_tests(&tokens[at..at + attribute]) {
                let end = at + attribute + item_length(&tokens[at + attribute..]);
                split.tests.extend(&tokens[at..end]);
                at = end;
            } else {
                split.product.push(*token);
                at += 1;
            }
        }
        split
    }
}

/// Returns the number of tokens in `#[…]`, or 0 if `tokens` begins with something else.
fn attribute_length(tokens: &[Token<'_>]) -> usize {
    let kinds = (tokens.first().map(|token| token.kind), tokens.get(1).map(|token| token.kind));
    if kinds != (Some(TokenKind::Punct('#')), Some(TokenKind::Punct('['))) {
        return 0;
    }
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::Punct('[') => depth += 1,
            TokenKind::Punct(']') if depth == 1 => return at + 1,
            TokenKind::Punct(']') => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

/// Returns true for `#[cfg(test)]` and `#[cfg(all(test, …))]`.
fn is_for_tests(attribute: &[Token<'_>]) -> bool {
    let mut names = attribute.iter().filter_map(|token| match token.kind {
        TokenKind::Ident(name) => Some(name),
        _ => None,
    });
    let first = [names.next(), names.next(), names.next()];
    matches!(first, [Some("cfg"), Some("test"), _] | [Some("cfg"), Some("all"), Some("test")])
}

/// Returns the number of tokens in the item that `tokens` begins with: up to its `;`, or to the end
/// of its body.
fn item_length(tokens: &[Token<'_>]) -> usize {
    const ITEMS: [&str; 14] = [
        "pub", "fn", "mod", "use", "struct", "enum", "impl", "const", "static", "type", "trait", "unsafe",
        "async", "extern",
    ];
    let mut start = 0;
    while attribute_length(&tokens[start..]) > 0 {
        start += attribute_length(&tokens[start..]);
    }
    let first = tokens.get(start).map(|token| token.kind);
    let is_item = matches!(first, Some(TokenKind::Ident(name)) if ITEMS.contains(&name));
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match token.kind {
            TokenKind::Punct('(' | '[' | '{') => depth += 1,
            // The end of the body that a field or statement is in.
            TokenKind::Punct(')' | ']' | '}') if depth == 0 => return at,
            TokenKind::Punct('}') if depth == 1 => return at + 1,
            TokenKind::Punct(')' | ']' | '}') => depth -= 1,
            TokenKind::Punct(';') if depth == 0 => return at + 1,
            TokenKind::Punct(',') if depth == 0 && !is_item => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_tests_are_told_apart() {
        let text = "use a; #[cfg(test)] use crate::b; #[cfg(test)] mod c; mod d;
            struct E { #[cfg(test)] f: G, h: I } #[cfg(test)] mod tests { fn j() {} } fn k() {}
            #[cfg(not(test))] fn l() {}";
        let lexed = lex(text);
        let split = Split::of(&lexed.tokens);
        let has =
            |tokens: &[Token<'_>], name| tokens.iter().any(|token| token.kind == TokenKind::Ident(name));
        for name in ["a", "d", "h", "k", "l"] {
            assert!(has(&split.product, name) && !has(&split.tests, name), "{name}");
        }
        for name in ["b", "c", "f", "j"] {
            assert!(has(&split.tests, name) && !has(&split.product, name), "{name}");
        }
        assert_eq!(
            (declared(&split.product), declared(&split.tests)),
            (vec!["d".to_owned()], vec!["c".to_owned()])
        );
    }
}
