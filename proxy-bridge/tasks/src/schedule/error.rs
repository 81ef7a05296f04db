//! The reasons why a schedule is refused.

use super::MAX_EXPRESSIONS;

/// The reason why a schedule is refused, for its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSchedule {
    /// There is no expression.
    #[error("a schedule needs a cron expression, for example \"0 8 * * 1-5\"")]
    Empty,
    /// There are too many expressions.
    #[error("a schedule has at most {MAX_EXPRESSIONS} cron expressions, this one has {count}")]
    TooMany {
        /// Their number.
        count: usize,
    },
    /// There is no such time zone.
    #[error("unknown time zone {zone:?}: expected a name such as UTC or Europe/Berlin{hint}")]
    Zone {
        /// The name.
        zone: String,
        /// A suggestion, or nothing.
        hint: String,
    },
    /// An expression has too few or too many fields.
    #[error(
        "the cron expression {expression:?} has {count} fields: expected minute, hour, day of the month, \
         month and day of the week, with the second before them or without it"
    )]
    Fields {
        /// The expression.
        expression: String,
        /// The number of its fields.
        count: usize,
    },
    /// A field of an expression is not valid.
    #[error("the {field} of the cron expression {expression:?} is {value:?}: expected {expected}")]
    Field {
        /// The expression.
        expression: String,
        /// The field's name.
        field: &'static str,
        /// The field.
        value: String,
        /// The values that it may have.
        expected: &'static str,
    },
    /// An expression is a name that is not known.
    #[error("unknown schedule {expression:?}: expected @hourly, @daily, @weekly, @monthly or @yearly{hint}")]
    Name {
        /// The expression.
        expression: String,
        /// A suggestion, or nothing.
        hint: String,
    },
    /// An expression is too long.
    #[error("a cron expression is longer than {most} bytes: use several expressions")]
    TooLong {
        /// The bytes that it may have.
        most: usize,
    },
    /// No day fits an expression.
    #[error("the cron expression {expression:?} is never due: no month that it names has such a day")]
    Never {
        /// The expression.
        expression: String,
    },
}
