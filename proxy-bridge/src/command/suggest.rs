//! The known word that a misspelt one probably stands for.

/// A longer word is not a misspelt one, and comparing it would take time.
const MAX_LENGTH: usize = 64;

/// The known word that is nearest to `word`, when no more than a third of its letters differ. Case,
/// `-` and `_` do not count.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known.iter().filter_map(|known| Some((distance(word, known)?, *known)));
    let near = near.filter(|(distance, known)| distance * 3 <= known.len());
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// How many letters differ, where two that changed places count as one. `None` for words that are no
/// match at all.
pub fn distance(word: &str, known: &str) -> Option<usize> {
    (word.len() <= MAX_LENGTH).then(|| strsim::osa_distance(&plain(word), &plain(known)))
}

/// `; did you mean "x"?`, or nothing when no known word is near.
pub fn did_you_mean(word: &str, known: &[&str]) -> String {
    nearest(word, known).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

fn plain(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), near, "{word}");
        }
        assert_eq!(nearest(&"entry".repeat(1000), &known), None);
    }
}
