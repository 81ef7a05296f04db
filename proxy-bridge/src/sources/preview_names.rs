//! The names of previews, of projects and of sources alike.

use sha2::{Digest as _, Sha256};

use switchyard_contract::project::ProjectName;

/// The text between a project's or a source's name and that of a branch.
pub const SEPARATOR: &str = "--";

/// Hex digits that stand for what is cut off a branch's name.
const HASH_DIGITS: usize = 8;

/// The longest name that has previews: a branch needs at least its hash.
pub const MAX_NAME: usize = ProjectName::MAX_LEN - SEPARATOR.len() - HASH_DIGITS;

/// Returns the name of the preview of `branch`: `api--feature-x` for `api` and `feature/x`, in all at most
/// 63 bytes. `None` for a name that leaves no room.
///
/// The branch is in lower case, and what hosts cannot have becomes `-`. A name that is too long, or of
/// which nothing would remain, ends with the beginning of the branch's SHA-256.
pub fn with_branch(name: &str, branch: &str) -> Option<String> {
    let room = ProjectName::MAX_LEN.checked_sub(name.len() + SEPARATOR.len())?;
    if room < HASH_DIGITS {
        return None;
    }
    let mut slug = slug(branch);
    if slug.is_empty() || slug.len() > room {
        slug.truncate(room.saturating_sub(HASH_DIGITS + 1));
        let hash = hash(branch);
        slug = match slug.trim_end_matches('-') {
            "" => hash,
            beginning => format!("{beginning}-{hash}"),
        };
    }
    Some(format!("{name}{SEPARATOR}{slug}"))
}

/// Returns the letters and digits of a branch in lower case, with one `-` for all that is between.
fn slug(branch: &str) -> String {
    let words = branch.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

fn hash(branch: &str) -> String {
    let digits = Sha256::digest(branch).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    digits.chars().take(HASH_DIGITS).collect()
}
