//! One `[[source]]` of the file, and what `[defaults]` may set for all.

use std::time::Duration;

use super::SourceSettings;
use super::reader::{Field, Reader, Table};
use super::values::{OnDrift, OnRemoval, PublishMode, SourceName, Together};
use crate::git::GitUrl;
use crate::sources::preview_names::SEPARATOR;
use switchyard_program::units::{Size, Span};

/// The most sources of one file: each is polled.
const MAX_SOURCES: usize = 1_000;

/// The bounds of times, in seconds and in words.
const POLL: (u64, u64, &str) = (5, 24 * 60 * 60, "5s to 24h");
const TIMEOUT: (u64, u64, &str) = (1, 60 * 60, "1s to 1h");

/// The smallest budget of a mirror.
const LEAST_SIZE: Size = Size(1 << 20);

/// The keys of `[defaults]`.
const COMMON_KEYS: &[&str] = &["poll", "timeout", "max_size", "together", "publish", "removed", "drift"];

const KEYS: [&str; 18] = [
    "name",
    "url",
    "insecure",
    "branch",
    "tag",
    "commit",
    "ref",
    "moving_tags",
    "credential",
    "webhook",
    "projects",
    "shared",
    "previews",
    "submodules",
    "lfs",
    "verify",
    "windows",
    "allow",
];

/// The settings that have defaults for all sources.
#[derive(Debug, Clone)]
struct Common {
    poll: Span,
    timeout: Span,
    max_size: Size,
    together: Together,
    publish: PublishMode,
    removed: OnRemoval,
    drift: OnDrift,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            poll: Span(Duration::from_secs(30)),
            timeout: Span(Duration::from_secs(120)),
            max_size: Size(1 << 30),
            together: Together::default(),
            publish: PublishMode::default(),
            removed: OnRemoval::default(),
            drift: OnDrift::default(),
        }
    }
}

impl Reader<'_> {
    /// Reads the whole file.
    pub(super) fn document(&mut self, document: &Table<'_>) -> Vec<SourceSettings> {
        self.known(document, &["defaults", "source"]);
        let mut common = Common::default();
        if let Some(field) = document.get("defaults") {
            "defaults".clone_into(&mut self.subject);
            let field = Field { key: String::new(), ..field };
            if let Some(table) = self.table(&field, COMMON_KEYS, "a table: [defaults]") {
                common = self.common(&table, common);
            }
            self.subject.clear();
        }
        let Some(field) = document.get("source") else { return Vec::new() };
        self.sources(&field, &common)
    }

    fn common(&mut self, table: &Table<'_>, base: Common) -> Common {
        let bounds = |(least, most, shown): (u64, u64, &'static str)| (least..=most, shown);
        Common {
            poll: self.span(table.get("poll"), base.poll, bounds(POLL)),
            timeout: self.span(table.get("timeout"), base.timeout, bounds(TIMEOUT)),
            max_size: self.size(table.get("max_size"), base.max_size, LEAST_SIZE),
            together: self.word(table.get("together"), base.together),
            publish: self.word(table.get("publish"), base.publish),
            removed: self.word(table.get("removed"), base.removed),
            drift: self.word(table.get("drift"), base.drift),
        }
    }

    fn sources(&mut self, field: &Field<'_>, common: &Common) -> Vec<SourceSettings> {
        let listed = self.list(field, "a list of tables: [[source]]");
        if listed.len() > MAX_SOURCES {
            self.wrong(field, format!("a file has at most {MAX_SOURCES} sources: divide it"));
            return Vec::new();
        }
        let mut sources: Vec<SourceSettings> = Vec::new();
        for (index, field) in listed.into_iter().enumerate() {
            self.subject = format!("source {}", index + 1);
            let field = Field { key: String::new(), ..field };
            sources.extend(self.source(&field, common));
        }
        sources
    }

    fn source(&mut self, field: &Field<'_>, common: &Common) -> Option<SourceSettings> {
        if let Some(name) = name_of(field) {
            self.subject = format!("source {name:?}");
        }
        let keys: Vec<_> = KEYS.iter().chain(COMMON_KEYS).copied().collect();
        let table = self.table(field, &keys, "a table: [[source]]")?;
        let name = self.name(&table);
        let common = self.common(&table, common.clone());
        let insecure = self.flag(table.get("insecure"));
        let url = self.url(&table, insecure);
        let (target, moving_tags) = self.target(&table);
        let credential = self.credential(&table, url.as_ref());
        let webhook = self.webhook(&table);
        let projects = self.projects(&table, name.as_ref());
        let shared = self.shared(&table);
        let previews = self.previews(&table, name.as_ref());
        let submodules = self.submodules(&table);
        let lfs = self.flag(table.get("lfs"));
        let verify = self.verify(&table);
        let windows = self.windows(&table);
        let allow = self.allow(&table, insecure);
        let Common { poll, timeout, max_size, together, publish, removed, drift } = common;
        Some(SourceSettings {
            name: name?,
            url: url?,
            target: target?,
            moving_tags,
            credential,
            webhook,
            projects,
            shared,
            together,
            publish,
            previews,
            removed,
            drift,
            submodules,
            lfs,
            verify,
            windows,
            allow,
            poll,
            timeout,
            max_size,
            preview: None,
        })
    }

    fn name(&mut self, table: &Table<'_>) -> Option<SourceName> {
        self.required(table, "name", "name the source, as in name = \"shop\"", |reader, field| {
            let name: SourceName = reader.parsed(field, str::parse)?;
            if name.as_str().contains(SEPARATOR) {
                reader
                    .wrong(field, "has --, which previews have before the name of their branch: write one -");
            }
            reader.claim_name(field, &name);
            Some(name)
        })
    }

    fn url(&mut self, table: &Table<'_>, insecure: bool) -> Option<GitUrl> {
        let fix = "name the repository, as in url = \"https://github.com/acme/shop.git\"";
        self.required(table, "url", fix, |reader, field| {
            let text = reader.string(field)?;
            let url = reader.repository(text, insecure);
            url.map_err(|error| reader.wrong(field, error)).ok()
        })
    }
}

/// Returns the name that messages about a source show: one that is valid.
fn name_of<'f>(field: &Field<'f>) -> Option<&'f str> {
    let (_, name) = field.value.get_ref().as_table()?.iter().find(|(key, _)| key.get_ref() == "name")?;
    name.get_ref().as_str().filter(|name| name.parse::<SourceName>().is_ok())
}
