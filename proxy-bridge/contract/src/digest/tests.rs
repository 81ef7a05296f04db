//! The digest beside the real `sha256sum`.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn files() -> Vec<(&'static str, &'static str)> {
    vec![
        ("main.ts", "export default { fetch: () => new Response('hi') }\n"),
        ("main.tsx", ""),
        ("Main.ts", "another"),
        ("lib/a.ts", "export const a = 1;\n"),
        ("lib-b.ts", "sorts before lib/ but after it by locale"),
        ("lib.ts", "."),
        ("with space and 'quotes'.txt", "\r\n"),
        ("back\\slash\\n.txt", "an escaped name"),
        ("日本/🎉.txt", "utf-8"),
        ("deno.json", "{}"),
        (".env", "A=1"),
    ]
}

fn coreutils(root: &Path) -> String {
    let script =
        "find . -type f -printf '%P\\n' | LC_ALL=C sort | tr '\\n' '\\0' | xargs -0 sha256sum | sha256sum";
    let output = Command::new("sh").args(["-c", script]).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn the_digest_is_what_sha256sum_prints() {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files() {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let digest = Digest::of_files(files().iter().map(|(path, content)| (path, sha256(content.as_bytes()))));
    assert_eq!(digest.to_string(), coreutils(root.path()));
}

#[test]
fn the_order_of_the_files_does_not_matter() {
    let hashed: Vec<_> = files().iter().map(|(path, content)| (*path, sha256(content.as_bytes()))).collect();
    let forwards = Digest::of_files(hashed.iter().copied());
    let backwards = Digest::of_files(hashed.iter().rev().copied());
    assert_eq!(forwards, backwards);
}

#[test]
fn a_rename_and_a_changed_byte_change_the_digest() {
    let of = |path: &str, content: &str| Digest::of_files([(path, sha256(content.as_bytes()))]);
    assert_eq!(of("a", "1"), of("a", "1"));
    assert_ne!(of("a", "1"), of("b", "1"));
    assert_ne!(of("a", "1"), of("a", "2"));
}

#[test]
fn no_files_at_all_have_the_digest_of_no_text() {
    let empty = Digest::of_files::<&str>([]);
    assert_eq!(empty.to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(empty.short(), "e3b0c44298fc");
}

#[test]
fn text_and_json_lead_back_to_the_same_digest() {
    let digest = Digest::of_files([("a", sha256(b"1"))]);
    assert_eq!(digest.to_string().parse(), Ok(digest));
    let json = serde_json::to_string(&digest).unwrap();
    assert_eq!(json, format!("\"{digest}\""));
    assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
}

#[test]
fn an_invalid_digest_is_refused_with_the_reason() {
    assert_eq!("abc".parse::<Digest>(), Err(ParseDigestError::Length(3)));
    assert_eq!("E".repeat(64).parse::<Digest>(), Err(ParseDigestError::Character('E')));
    assert_eq!("é".repeat(32).parse::<Digest>(), Err(ParseDigestError::Character('é')));
    assert!(serde_json::from_str::<Digest>("\"abc\"").is_err());
}
