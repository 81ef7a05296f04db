//! YAML, with the places of its values.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location, Options, Spanned};
use switchyard_contract::event::Diagnostic;

use super::{Kind, Node, Pair, Place};

/// Values in a file, aliases counted as what they stand for, and bytes of their text.
const MAX_VALUES: usize = 50_000;
const MAX_TEXT: usize = 4 << 20;
/// Levels of a file's values.
const MAX_DEPTH: usize = 32;

/// Reads a file's value.
///
/// # Errors
/// The text does not parse, has a key twice, or is too large.
pub(super) fn read(file: &str, text: &str) -> Result<Node, Diagnostic> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parsed = serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options());
    let parsed = parsed.map_err(|error| {
        let number = |number: u64| u32::try_from(number).ok().filter(|number| *number > 0);
        let at = error.location();
        Diagnostic {
            message: format!("{file} does not parse: {}", error.without_snippet()),
            file: Some(file.to_owned()),
            line: at.and_then(|at| number(at.line())),
            column: at.and_then(|at| number(at.column())),
            frame: None,
        }
    })?;
    Ok(Places { file: file.into() }.node(parsed))
}

fn options() -> Options {
    let budget = serde_saphyr::budget! {
        max_nodes: MAX_VALUES,
        max_events: 4 * MAX_VALUES,
        max_depth: MAX_DEPTH,
        max_documents: 1,
        max_total_scalar_bytes: MAX_TEXT,
    };
    serde_saphyr::options! {
        budget: budget,
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    }
}

/// A value as the parser gives it.
enum Raw {
    Scalar(Kind),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

struct Places {
    file: Arc<str>,
}

impl Places {
    fn place(&self, at: Location) -> Place {
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Place { file: self.file.clone(), line: number(at.line()), column: number(at.column()) }
    }

    fn node(&self, raw: Spanned<Raw>) -> Node {
        let place = self.place(raw.referenced);
        let kind = match raw.value {
            Raw::Scalar(kind) => kind,
            Raw::List(nodes) => Kind::List(nodes.into_iter().map(|node| self.node(node)).collect()),
            Raw::Map(pairs) => {
                Kind::Map(pairs.into_iter().map(|(key, value)| self.pair(key, value)).collect())
            }
        };
        Node { kind, place }
    }

    fn pair(&self, key: Spanned<String>, value: Spanned<Raw>) -> Pair {
        Pair { place: self.place(key.referenced), key: key.value, value: self.node(value) }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, true, false, a list or a map")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Bool(flag)))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Number(number.into())))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Number(number.into())))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Raw, E> {
        let text = || Kind::Text(number.to_string());
        Ok(Raw::Scalar(Number::from_f64(number).map_or_else(text, Kind::Number)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Scalar(Kind::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Raw::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Raw::Map(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_places_at_which_they_stand() {
        let text = "a: 1\nb:\n  - x\n  - {c: true, d: ~}\ne: >\n  one\n  two\nf: \"80\"\n";
        let node = read("task.yaml", text).unwrap();
        assert_eq!(
            node.to_json(),
            serde_json::json!({"a": 1, "b": ["x", {"c": true, "d": null}], "e": "one two\n", "f": "80"})
        );
        let b = node.pair("b").unwrap();
        assert_eq!((b.place.line, b.place.column), (2, 1));
        let c = b.value.list().unwrap()[1].get("c").unwrap();
        assert_eq!((c.place.line, c.place.column), (4, 9));
    }

    #[test]
    fn words_stay_words_and_a_wrong_file_is_refused_with_its_place() {
        let node = read("t.yaml", "a: yes\nb: on\non: off\nc: * * * * *\n");
        assert_eq!(node.unwrap_err().line, Some(4));
        let node = read("t.yaml", "a: yes\non: off\nt: 10s\n").unwrap();
        assert_eq!(node.to_json(), serde_json::json!({"a": "yes", "on": "off", "t": "10s"}));
        let twice = read("t.yaml", "a: 1\nb: 2\na: 3\n").unwrap_err();
        assert_eq!((twice.file.as_deref(), twice.line), (Some("t.yaml"), Some(3)));
        assert!(!twice.message.contains('\n'), "{}", twice.message);
    }

    #[test]
    fn aliases_that_multiply_and_deep_files_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let below = level - 1;
            bomb += &format!(
                "a{level}: &a{level} [*a{below}, *a{below}, *a{below}, *a{below}, *a{below}, *a{below}]\n"
            );
        }
        assert!(read("t.yaml", &bomb).is_err());
        assert!(read("t.yaml", &format!("{}{}", "[".repeat(200), "]".repeat(200))).is_err());
        let node = read("t.yaml", "a: &x {b: 1}\nc: *x\n").unwrap();
        assert_eq!(node.get("c").unwrap().to_json(), serde_json::json!({"b": 1}));
    }
}
