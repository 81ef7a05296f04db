//! Suggestions for misspelt words, out of a list of known ones.

/// Longest word that is compared, in bytes. Comparing takes time, and a longer word is not a misspelt
/// one.
const MAX_LENGTH: usize = 64;

/// Returns the known word that is nearest to `word`, if at most a third of its letters differ. Case,
/// `-` and `_` do not count.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known.iter().filter_map(|known| Some((distance(word, known)?, *known)));
    let near = near.filter(|(distance, known)| distance * 3 <= known.len());
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// Returns the number of letters that differ; two swapped neighbors count as one. A letter beyond ASCII
/// counts as the one that it may look like. `None`: `word` is too long to be compared.
pub fn distance(word: &str, known: &str) -> Option<usize> {
    let (word, known) = (plain(word), plain(known));
    (word.len() <= MAX_LENGTH).then(|| strsim::osa_distance(&in_ascii(word, &known), &known))
}

/// Replaces letters beyond ASCII with those of `known`, if the two words are equally long.
fn in_ascii(word: String, known: &str) -> String {
    if word.is_ascii() || word.chars().count() != known.chars().count() {
        return word;
    }
    word.chars().zip(known.chars()).map(|(c, like)| if c.is_ascii() { c } else { like }).collect()
}

/// Returns `; did you mean "x"?`, or an empty text if no known word is near.
pub fn did_you_mean(word: &str, known: &[&str]) -> String {
    nearest(word, known).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

/// Returns the same for the name of a task, which may have left out the sets that the task is in.
pub fn did_you_mean_task(word: &str, known: &[&str]) -> String {
    let is_in_set =
        |known: &&&str| known.rsplit_once('/').is_some_and(|(_, last)| plain(last) == plain(word));
    match known.iter().find(is_in_set) {
        Some(whole) => format!("; did you mean {whole:?}?"),
        None => did_you_mean(word, known),
    }
}

/// Returns the letters that count, in lower case.
fn plain(word: &str) -> String {
    let counts = |c: &char| if c.is_ascii() { !matches!(c, '-' | '_' | ' ') } else { c.is_alphanumeric() };
    word.chars().filter(counts).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_suggested_without_the_sets_that_it_is_in() {
        let known = ["grp/one", "digest"];
        assert_eq!(did_you_mean_task("one", &known), "; did you mean \"grp/one\"?");
        assert_eq!(did_you_mean_task("digst", &known), "; did you mean \"digest\"?");
        assert_eq!(did_you_mean_task("other", &known), "");
    }

    #[test]
    fn the_nearest_known_word_is_suggested_and_a_far_one_is_not() {
        let known = ["entry", "healthcheck", "permissions", "net", "env"];
        for (word, near) in [
            ("entyr", Some("entry")),
            ("health_check", Some("healthcheck")),
            ("HealthCheck", Some("healthcheck")),
            ("permisions", Some("permissions")),
            ("permission", Some("permissions")),
            ("Net", Some("net")),
            ("nets", Some("net")),
            ("emv", Some("env")),
            ("n\u{435}t", Some("net")),
            ("per\u{200b}missions", Some("permissions")),
            ("\u{1d429}\u{1d41e}\u{1d42b}mis\u{455}ions", Some("permissions")),
            ("\u{f6}l", None),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), near, "{word}");
        }
        assert_eq!(nearest(&"entry".repeat(1000), &known), None);
    }
}
