//! JSON Schemas of the files that people write, for editors. They are in docs/reference/schema; a test
//! compares them with what reads the files.

/// A schema: its name, which is that of its file without `.json`, and its text.
pub type NamedSchema = (&'static str, &'static str);

/// The schemas that are written by hand. They refer to each other by the names of their files.
pub const SCHEMAS: [NamedSchema; 6] = [
    ("deno", include_str!("../../../docs/reference/schema/deno.json")),
    ("pipeline", include_str!("../../../docs/reference/schema/pipeline.json")),
    ("policy", include_str!("../../../docs/reference/schema/policy.json")),
    ("sources", include_str!("../../../docs/reference/schema/sources.json")),
    ("task", include_str!("../../../docs/reference/schema/task.json")),
    ("taskset", include_str!("../../../docs/reference/schema/taskset.json")),
];
