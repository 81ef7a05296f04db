//! `switchyard completion`, as a shell uses it.

use std::process::Command;

use switchyard_integration::router::binary;

/// Completes the last of these words in a bash that has read the completions.
fn completed(words: &[&str]) -> Vec<String> {
    let script = "source <(\"$PROGRAM\" completion bash) || exit 1
                  COMP_WORDS=(switchyard \"$@\") COMP_CWORD=$#
                  [ $# -gt 1 ] && before=${COMP_WORDS[$# - 1]} || before=switchyard
                  complete -p switchyard >/dev/null && _switchyard switchyard \"${!#}\" \"$before\"
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("bash");
    bash.args(["--noprofile", "--norc", "-c", script, "bash"]).args(words);
    let output = bash.env("PROGRAM", binary("switchyard")).output().expect("bash can be run");
    assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_flags_and_words_of_flags() {
    assert_eq!(completed(&["depl"]), ["deploy"]);
    assert_eq!(completed(&["source", "sy"]), ["sync"]);
    assert_eq!(completed(&["deploy", "--dry"]), ["--dry-run"]);
    assert_eq!(completed(&["pipeline", "run", "--par"]), ["--param"]);
    assert_eq!(completed(&["completion", "zs"]), ["zsh"]);
    let all = completed(&[""]);
    assert!(
        ["dev", "rollback", "man", "schema"].iter().all(|verb| all.iter().any(|one| one == verb)),
        "{all:?}"
    );
    assert!(!all.contains(&"reference".to_owned()), "hidden: {all:?}");
}
