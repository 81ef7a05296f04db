//! Untrusted text, made safe to print: a terminal, a log reader or a browser shows every character of it
//! and obeys none.
//!
//! Control characters become their Unicode pictures (`␛`, `␍`); C1 controls and characters that change
//! the direction of text or have no width become escapes (`\u{202e}`). Everything else is unchanged.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Makes a name, a path or a word safe to print. Tabs and line breaks are shown too.
pub fn word(text: &str) -> Cow<'_, str> {
    visible(text, &[])
}

/// Makes one line safe to print. Tabs stay.
pub fn line(text: &str) -> Cow<'_, str> {
    visible(text, &['\t'])
}

/// Makes a text of several lines safe to print, such as a code frame. Tabs and line breaks stay.
pub fn block(text: &str) -> Cow<'_, str> {
    visible(text, &['\t', '\n'])
}

/// Puts valid JSON on one line and escapes the characters in its strings that are unsafe to print. The
/// value stays the same.
pub fn json(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        // Nearly all JSON is plain, and some of it is large.
        return Cow::Borrowed(text);
    }
    // Raw control characters occur in JSON only between its tokens, as white space.
    let hidden = |c: char, _| c.is_ascii_control() || is_unsafe(c);
    replace(text, hidden, |shown, c| match c {
        '\0'..='\x1f' => shown.push(' '),
        c => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
            let _ = write!(shown, "\\u{unit:04x}");
        }),
    })
}

fn visible<'t>(text: &'t str, kept: &[char]) -> Cow<'t, str> {
    let hidden = |c: char, before: Option<char>| {
        (c.is_ascii_control() && !kept.contains(&c)) || is_unsafe(c) || joins_nothing(c, before)
    };
    replace(text, hidden, |shown, c| match c {
        '\0'..='\x1f' => shown.extend(char::from_u32(0x2400 + u32::from(c))),
        '\x7f' => shown.push('\u{2421}'),
        c => shown.extend(c.escape_unicode()),
    })
}

/// Replaces the characters that `hidden` picks. It is called with each character and the one before.
fn replace<'t>(
    text: &'t str,
    hidden: impl Fn(char, Option<char>) -> bool,
    show: impl Fn(&mut String, char),
) -> Cow<'t, str> {
    let mut shown = String::new();
    let (mut copied, mut before) = (0, None);
    for (at, c) in text.char_indices() {
        if hidden(c, before.replace(c)) {
            shown.push_str(&text[copied..at]);
            show(&mut shown, c);
            copied = at + c.len_utf8();
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    shown.push_str(&text[copied..]);
    Cow::Owned(shown)
}

/// Returns true for a character beyond ASCII that moves the cursor, changes the direction of text or is
/// invisible.
fn is_unsafe(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' // C1: some terminals read U+009B as the start of a sequence
        | '\u{ad}' | '\u{34f}' | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{feff}' // no width
        | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' // letters that are blank
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}' // direction
        | '\u{2028}' | '\u{2029}' // line and paragraph separators
        | '\u{fff9}'..='\u{fffb}' // annotations
        | '\u{1d173}'..='\u{1d17a}' // invisible musical symbols
        | '\u{e0000}'..='\u{e007f}' // tags
    )
}

/// Returns true for a joiner after ASCII, where it is merely invisible. Elsewhere joiners shape emoji and
/// the letters of some scripts.
fn joins_nothing(c: char, before: Option<char>) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}') && before.is_none_or(|before| before.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_of_any_language_stays_unchanged() {
        for text in ["", "main.ts", "größe", "日本語", "שלום", "👩\u{200d}💻", "می\u{200c}خواهم", "a\u{301}"]
        {
            assert!(matches!(word(text), Cow::Borrowed(shown) if shown == text), "{text:?}");
        }
    }

    #[test]
    fn control_characters_become_pictures_and_invisible_ones_escapes() {
        let table = [
            ("\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
            ("\x1b[2J\r\n\t\0\x7f", "␛[2J␍␊␉␀␡"),
            ("\u{9b}31m\u{85}", r"\u{9b}31m\u{85}"),
            ("a\u{202e}b\u{2066}c\u{200f}", r"a\u{202e}b\u{2066}c\u{200f}"),
            ("a\u{200b}b\u{feff}c\u{200d}d", r"a\u{200b}b\u{feff}c\u{200d}d"),
            ("a\u{2028}b\u{e0041}", r"a\u{2028}b\u{e0041}"),
        ];
        for (text, shown) in table {
            assert_eq!(word(text), shown, "{text:?}");
        }
    }

    #[test]
    fn no_character_that_a_terminal_obeys_gets_through() {
        let all: String = ('\0'..='\u{10ffff}').collect();
        for shown in [word(&all), line(&all), block(&all)] {
            assert!(shown.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\n')));
        }
        assert!(!word(&all).contains(char::is_control));
    }

    #[test]
    fn layout_stays_where_it_is_meant() {
        assert_eq!(line("a\tb\nc\r"), "a\tb␊c␍");
        assert_eq!(block("> 1 |\tx\n    | ^\x1b"), "> 1 |\tx\n    | ^␛");
    }

    #[test]
    fn json_keeps_its_value_and_is_one_line() {
        let value = "a\u{9b}b\x7f\u{202e}\u{e0041}é\n\x1b";
        let text = format!("{{\n \"x\":\r\t{}}}", serde_json::to_string(value).unwrap());
        let shown = json(&text);
        assert!(shown.chars().all(|c| !c.is_control() && !is_unsafe(c)), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap()["x"], value);
    }
}
