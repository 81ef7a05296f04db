//! Effects of a project's machine on the control task, and those among them that change what
//! requests see.

use switchyard_contract::project::ProjectName;

use crate::reload::attempt::AttemptData;
use crate::reload::live_state::{DrainingVersion, LiveState};
use crate::reload::machine::{Event, PublishedVersion};
use crate::reload::project::ProjectData;
use crate::version::Version;

pub(super) type ProjectEvent = Event<ProjectData>;
pub(super) type Effect = crate::reload::machine::Effect<ProjectData>;

/// The end of an attempt that may change what requests see.
pub(super) enum PublicEffect {
    Publish {
        version: Version,
        previous: Option<PublishedVersion<LiveState>>,
        attempt: AttemptData,
    },
    ClearStale(AttemptData),
    /// The live version has another commit now.
    Relabel(AttemptData),
    Unchanged(AttemptData),
    Remove {
        previous: Option<PublishedVersion<LiveState>>,
        attempt: AttemptData,
    },
}

impl PublicEffect {
    /// Returns the end of an attempt that `Control::publish` carries out, or the effect if it is
    /// another one.
    ///
    /// # Errors
    /// It is another one.
    pub(super) fn try_from(effect: Effect) -> Result<Self, Box<Effect>> {
        match effect {
            Effect::Publish { version, previous, attempt } => {
                Ok(Self::Publish { version, previous, attempt })
            }
            Effect::ClearStale(attempt) => Ok(Self::ClearStale(attempt)),
            Effect::Unchanged(attempt) => Ok(Self::Unchanged(attempt)),
            Effect::Remove { previous, attempt } => Ok(Self::Remove { previous, attempt }),
            other => Err(Box::new(other)),
        }
    }

    /// The cells and files that answer no more requests from now on.
    pub(super) fn replaced(&self) -> DrainingVersion {
        match self {
            Self::Publish { previous, .. } | Self::Remove { previous, .. } => {
                previous.as_ref().map(|previous| DrainingVersion::of(&previous.data)).unwrap_or_default()
            }
            Self::ClearStale(_) | Self::Relabel(_) | Self::Unchanged(_) => DrainingVersion::default(),
        }
    }
}

/// A publish that waits for the end of its batch.
pub(super) struct DeferredPublish {
    pub(super) name: ProjectName,
    pub(super) effect: PublicEffect,
    /// The effects that follow it.
    pub(super) later: Vec<Effect>,
}

/// Publishes that go live in one swap of the table.
pub(super) type Batch = Vec<DeferredPublish>;
