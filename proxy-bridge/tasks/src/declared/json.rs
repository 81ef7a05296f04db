//! JSON with comments, with the places of its values.

use jsonc_parser::ast::{self, Object};
use jsonc_parser::common::Ranged as _;
use serde_json::Number;
use switchyard_contract::event::Diagnostic;

use super::{Kind, Node, Pair, Place, Report};

/// Levels of a file's values: the configuration of a step nests, within reason.
const MAX_DEPTH: usize = 64;

/// Reads a file's value. Keys that occur twice are reported.
///
/// # Errors
/// The text does not parse, or nests too deeply.
pub(super) fn read(file: &str, text: &str, report: &mut Report) -> Result<Node, Diagnostic> {
    let failed = |message: String, line: usize, column: usize| Diagnostic {
        message,
        file: Some(file.to_owned()),
        line: u32::try_from(line).ok(),
        column: u32::try_from(column).ok(),
        frame: None,
    };
    let parsed = jsonc_parser::parse_to_ast(text, &Default::default(), &Default::default());
    let parsed = parsed.map_err(|error| {
        let kind = error.kind().to_string();
        // Its place is the one of the beginning: the file may have been cut off.
        let begins = if kind.starts_with("Unterminated") { ", which begins here and has no end" } else { "" };
        failed(format!("{file} does not parse: {kind}{begins}"), error.line_display(), error.column_display())
    })?;
    let Some(value) = parsed.value else {
        return Err(failed(format!("{file} is empty: it must hold one JSON object"), 1, 1));
    };
    let mut reader =
        Reader { text, at: 0, place: Place { line: 1, column: 1, ..Place::whole(file) }, report };
    reader.value(&value, MAX_DEPTH).ok_or_else(|| {
        let Place { line, column, .. } = reader.place;
        failed(
            format!("{file} nests too deeply: at most {MAX_DEPTH} levels are possible"),
            line as usize,
            column as usize,
        )
    })
}

/// A walk over the values in the order of the text, so that lines are counted once.
struct Reader<'t> {
    text: &'t str,
    at: usize,
    place: Place,
    report: &'t mut Report,
}

impl Reader<'_> {
    fn place(&mut self, offset: usize) -> Place {
        for c in self.text.get(self.at..offset).unwrap_or_default().chars() {
            match c {
                '\n' => (self.place.line, self.place.column) = (self.place.line + 1, 1),
                _ => self.place.column += 1,
            }
        }
        self.at = self.at.max(offset);
        self.place.clone()
    }

    /// `None`: too deep.
    fn value(&mut self, value: &ast::Value<'_>, depth: usize) -> Option<Node> {
        let place = self.place(value.range().start);
        let below = depth.checked_sub(1)?;
        let kind = match value {
            ast::Value::NullKeyword(_) => Kind::Null,
            ast::Value::BooleanLit(flag) => Kind::Bool(flag.value),
            ast::Value::NumberLit(number) => match number.value.parse::<Number>() {
                Ok(number) => Kind::Number(number),
                Err(_) => Kind::Text(number.value.to_owned()),
            },
            ast::Value::StringLit(text) => Kind::Text(text.value.to_string()),
            ast::Value::Array(array) => Kind::List(
                array.elements.iter().map(|value| self.value(value, below)).collect::<Option<_>>()?,
            ),
            ast::Value::Object(object) => Kind::Map(self.pairs(object, below)?),
        };
        Some(Node { kind, place })
    }

    fn pairs(&mut self, object: &Object<'_>, depth: usize) -> Option<Vec<Pair>> {
        let mut pairs = Vec::<Pair>::with_capacity(object.properties.len());
        let mut seen = std::collections::HashSet::new();
        for property in &object.properties {
            let place = self.place(property.range.start);
            let key = property.name.as_str().to_owned();
            let value = self.value(&property.value, depth)?;
            if !seen.insert(key.clone()) {
                self.report.wrong(&place, &key, "occurs twice: keep one of them");
                continue;
            }
            pairs.push(Pair { key, place, value });
        }
        Some(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_places_at_which_they_stand() {
        let mut report = Report::default();
        let text = "{ // why\n  \"é\": [1, \"x\"],\n  \"b\": { c: true, d: null }\n}";
        let node = read("deno.json", text, &mut report).unwrap();
        let list = node.get("é").unwrap();
        assert_eq!((list.place.line, list.place.column), (2, 8));
        let x = &list.list().unwrap()[1];
        assert_eq!((x.text(), x.place.line, x.place.column), (Some("x"), 2, 12));
        let c = node.get("b").unwrap().pair("c").unwrap();
        assert_eq!((c.place.line, c.place.column), (3, 10));
        assert!(node.get("b").unwrap().get("d").is_none());
        assert!(report.problems.is_empty());
    }

    #[test]
    fn text_that_does_not_parse_is_refused_with_its_place_and_a_repeated_key_is_told() {
        let mut report = Report::default();
        let error = read("a.json", "{\n  \"a\": }", &mut report).unwrap_err();
        assert_eq!((error.file.as_deref(), error.line), (Some("a.json"), Some(2)));
        let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
        assert!(read("a.json", &deep, &mut report).unwrap_err().message.contains("too deeply"));
        assert!(read("a.json", "", &mut report).is_err());
        read("a.json", "{\"a\": 1, \"a\": 2}", &mut report).unwrap();
        assert_eq!(report.problems[0].message, "\"a\" in a.json occurs twice: keep one of them");
        assert_eq!((report.problems[0].line, report.problems[0].column), (Some(1), Some(10)));
    }
}
