//! The ids of runs.

use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::{Builder, Uuid};

/// The id of a run: a UUID of version 7, which sorts by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct RunId(Uuid);

/// The last id that this process has made.
static LAST: Mutex<RunId> = Mutex::new(RunId(Uuid::nil()));

/// Text that is not the id of a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid run id {0:?}: expected the id that the run's acceptance named, a UUID")]
pub struct InvalidRunId(pub String);

impl RunId {
    /// Returns a new id, greater than all that this process has made.
    pub fn new_now() -> Self {
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let made = Self(at_millis(Timestamp::now().as_millisecond().try_into().unwrap_or_default()));
        // Within a millisecond, and while the clock runs backwards, the ids count on.
        *last = made.max(Self(Uuid::from_u128(last.0.as_u128() + 1)));
        *last
    }

    /// Returns the time at which the id was made, to the millisecond. `None` if it was not made by
    /// [`Self::new_now`] and its first bits are no time.
    pub fn made_at(self) -> Option<Timestamp> {
        let millis = i64::try_from(self.0.as_u128() >> 80).ok()?;
        Timestamp::from_millisecond(millis).ok()
    }

    /// The id as 16 bytes, which sort as the ids do.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id that [`Self::as_bytes`] returned.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

/// A UUID of version 7. Uuid's own constructor is behind a feature that Deno's tree does not have.
fn at_millis(millis: u64) -> Uuid {
    let random = Uuid::new_v4();
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&random.as_bytes()[..10]);
    // Bytes 6 and 8 of a UUID of version 4 have fixed bits: take others there.
    bytes[6] = random.as_bytes()[10];
    bytes[8] = random.as_bytes()[11];
    Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = InvalidRunId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = Uuid::try_parse(text).ok().filter(|id| id.to_string() == text);
        id.map(Self).ok_or_else(|| InvalidRunId(text.to_owned()))
    }
}

impl TryFrom<String> for RunId {
    type Error = InvalidRunId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_the_time_at_which_they_were_made() {
        let ids: Vec<_> = (0..100).map(|_| RunId::new_now()).collect();
        assert!(ids.is_sorted());
        assert_eq!(ids[0].to_string().parse(), Ok(ids[0]));
        assert!("x".parse::<RunId>().is_err());
    }

    #[test]
    fn an_id_names_its_time_and_has_bytes() {
        let before = Timestamp::now().as_millisecond();
        let id = RunId::new_now();
        assert!(id.made_at().unwrap().as_millisecond() >= before);
        assert_eq!(RunId::from_bytes(*id.as_bytes()), id);
        let odd: RunId = "ffffffff-ffff-4fff-bfff-ffffffffffff".parse().unwrap();
        assert_eq!(odd.made_at(), None);
    }
}
