//! Colours of output on terminals: whether there are any (`--color`, `NO_COLOR`), and which.

use std::fmt;

use clap::ValueEnum;

/// The choice of `--color`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On terminals, unless `NO_COLOR` is set or `TERM` is `dumb`.
    #[default]
    Auto,
    /// Also in files and pipes.
    Always,
    /// Nowhere.
    Never,
}

/// The meaning of a coloured text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A success.
    Good,
    /// A failure.
    Bad,
    /// A warning.
    Warning,
    /// A name or a link.
    Name,
    /// A heading.
    Bold,
    /// Everything that may be overlooked.
    Dim,
}

/// A text that is coloured where it is printed with colours.
#[derive(Debug, Clone, Copy)]
pub struct Styled<T> {
    text: T,
    style: Option<Style>,
}

impl ColorChoice {
    /// Returns true if output is coloured. `is_terminal`: it goes to a terminal.
    pub fn is_on(self, is_terminal: bool) -> bool {
        let has = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        self.decide(is_terminal, has("NO_COLOR").is_some(), has("TERM").is_some_and(|term| term == "dumb"))
    }

    fn decide(self, is_terminal: bool, refuses: bool, is_dumb: bool) -> bool {
        match self {
            Self::Auto => is_terminal && !refuses && !is_dumb,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

impl Style {
    /// Returns `text` in this style, if there are colours.
    pub fn on<T>(self, has_color: bool, text: T) -> Styled<T> {
        Styled { text, style: has_color.then_some(self) }
    }

    /// The number of the style in an escape sequence (ECMA-48, SGR).
    fn code(self) -> u8 {
        match self {
            Self::Bold => 1,
            Self::Dim => 2,
            Self::Bad => 31,
            Self::Good => 32,
            Self::Warning => 33,
            Self::Name => 36,
        }
    }
}

impl<T: fmt::Display> fmt::Display for Styled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.style {
            None => self.text.fmt(f),
            Some(style) => {
                write!(f, "\x1b[{}m", style.code())?;
                self.text.fmt(f)?;
                f.write_str("\x1b[0m")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_coloured_unless_somebody_objects() {
        assert!(ColorChoice::Auto.decide(true, false, false));
        for (is_terminal, refuses, is_dumb) in
            [(false, false, false), (true, true, false), (true, false, true)]
        {
            assert!(!ColorChoice::Auto.decide(is_terminal, refuses, is_dumb));
            assert!(ColorChoice::Always.decide(is_terminal, refuses, is_dumb));
            assert!(!ColorChoice::Never.decide(is_terminal, refuses, is_dumb));
        }
    }

    #[test]
    fn padding_does_not_count_the_escapes() {
        assert_eq!(format!("{:<4}|", Style::Good.on(false, "a")), "a   |");
        assert_eq!(format!("{:<4}|", Style::Good.on(true, "a")), "\x1b[32ma   \x1b[0m|");
    }
}
