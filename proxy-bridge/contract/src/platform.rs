//! The platform that a project was written for, by its name in `"switchyard": {"platform": …}`.

use std::fmt;
use std::str::FromStr;

/// A platform whose layout and interfaces a project relies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Platform {
    /// Deno or Node alone.
    #[default]
    Plain,
    /// A function of Supabase's edge runtime.
    Supabase,
    /// A Worker of Cloudflare.
    Workers,
    /// Files without code.
    Static,
}

/// Each platform with its name.
const NAMES: [(&str, Platform); 4] = [
    ("plain", Platform::Plain),
    ("static", Platform::Static),
    ("supabase", Platform::Supabase),
    ("workers", Platform::Workers),
];

/// A text that names no platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be \"plain\", \"static\", \"supabase\" or \"workers\"")]
pub struct UnknownPlatform;

impl FromStr for Platform {
    type Err = UnknownPlatform;

    fn from_str(name: &str) -> Result<Self, UnknownPlatform> {
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, platform)| *platform).ok_or(UnknownPlatform)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, platform)| platform == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_read_as_written() {
        for (name, platform) in NAMES {
            assert_eq!(name.parse(), Ok(platform));
            assert_eq!(platform.to_string(), name);
        }
        for name in ["", "Workers", "cloudflare"] {
            let error = name.parse::<Platform>().unwrap_err().to_string();
            assert!(NAMES.iter().all(|(known, _)| error.contains(known)), "{error}");
        }
    }
}
