//! Bindings to products of Cloudflare that are not supported. A Worker with such a binding fails to
//! build, with an error that names the alternative.

use serde_json::Value;

use super::document::Document;
use switchyard_contract::event::Diagnostic;

/// A kind of binding that is not supported.
struct Product {
    key: &'static str,
    /// The name that Cloudflare uses.
    name: &'static str,
    instead: &'static str,
}

const fn product(key: &'static str, name: &'static str, instead: &'static str) -> Product {
    Product { key, name, instead }
}

const DATABASE: &str = "use a database over the network, or SQLite (`node:sqlite`) with a file in `DATA_DIR`";
const OVER_HTTP: &str = "ask its HTTP interface with `fetch`, with a key that the policy's `env` gives";
const KEY_VALUE: &str = "use `Deno.openKv()`, whose data lies in `DATA_DIR`";
const OTHER_WORKER: &str = "ask the other project over HTTP with `fetch`";
const IMPORT: &str = "`import` the file in the code";

/// The unsupported bindings, by the key of their list, table or object.
const PRODUCTS: [Product; 34] = [
    product("kv_namespaces", "KV namespaces", KEY_VALUE),
    product("d1_databases", "D1 databases", "use SQLite (`node:sqlite`) with a file in `DATA_DIR`"),
    product(
        "r2_buckets",
        "R2 buckets",
        "keep files in `DATA_DIR`, or use an S3 client with keys that the policy's `env` gives",
    ),
    product("durable_objects.bindings", "Durable Objects", KEY_VALUE),
    product("queues.producers", "Queues", "use `Deno.openKv()` with `enqueue` and `listenQueue`"),
    product("queues.consumers", "Queues", "use `Deno.openKv()` with `enqueue` and `listenQueue`"),
    product(
        "workflows",
        "Workflows",
        "call the steps one after another, and keep their state in `Deno.openKv()`",
    ),
    product(
        "hyperdrive",
        "Hyperdrive",
        "connect to the database itself, with its URL from the policy's `env`",
    ),
    product("services", "Service bindings", OTHER_WORKER),
    product("dispatch_namespaces", "Dispatch namespaces", OTHER_WORKER),
    product("worker_loaders", "Worker loaders", "make each Worker a project of its own"),
    product("ai", "Workers AI", OVER_HTTP),
    product("ai_search", "AI Search", OVER_HTTP),
    product("ai_search_namespaces", "AI Search", OVER_HTTP),
    product("vectorize", "Vectorize", DATABASE),
    product("browser", "Browser Rendering", OVER_HTTP),
    product("images", "Images", "use a package that works without native code, such as jimp"),
    product("media", "Media Transformations", OVER_HTTP),
    product("stream", "Stream", OVER_HTTP),
    product(
        "analytics_engine_datasets",
        "Analytics Engine",
        "print the data points, or send them with `fetch`",
    ),
    product("send_email", "Email", "send mail through a provider's HTTP interface with `fetch`"),
    product(
        "mtls_certificates",
        "mTLS certificates",
        "use `Deno.createHttpClient({ cert, key })` as `client` of `fetch`",
    ),
    product(
        "secrets_store_secrets",
        "Secrets Store",
        "set the secret in the policy's `env`, which is part of the Worker's `env`",
    ),
    product("pipelines", "Pipelines", OVER_HTTP),
    product("vpc_services", "VPC services", "add the address to the policy's `private_net`, and use `fetch`"),
    product(
        "vpc_networks",
        "VPC networks",
        "add the addresses to the policy's `private_net`, and use `fetch`",
    ),
    product("containers", "Containers", OTHER_WORKER),
    product("cloudchamber", "Containers", OTHER_WORKER),
    product("artifacts", "Artifacts", DATABASE),
    product("flagship", "Flagship", "read flags from the policy's `env`"),
    product("logfwdr.bindings", "Log forwarding", "print it: the router's log has each line"),
    product("wasm_modules", "WebAssembly bindings of the service-worker syntax", IMPORT),
    product("text_blobs", "Text bindings of the service-worker syntax", IMPORT),
    product("data_blobs", "Data bindings of the service-worker syntax", IMPORT),
];

const SITE: &str =
    "is Workers Sites, which does not exist here: name the folder as \"assets\": {\"directory\": …}";

/// Checks that all bindings are supported. `path` returns the path of a key in the selected
/// environment.
///
/// # Errors
/// Some are not supported. The error names them all, at the position of the first.
pub(super) fn check(document: &Document<'_>, path: impl Fn(&str) -> String) -> Result<(), Diagnostic> {
    if document.get("site").is_some() {
        return Err(document.wrong("site", SITE));
    }
    let mut first: Option<Diagnostic> = None;
    for (key, fix) in missing(document, &path) {
        let wrong = document.wrong(&key, &fix);
        match &mut first {
            Some(first) => first.message = format!("{}\n{}", first.message, wrong.message),
            None => first = Some(wrong),
        }
    }
    first.map_or(Ok(()), Err)
}

/// Returns the paths of unsupported bindings, with an alternative for each.
fn missing(document: &Document<'_>, path: &impl Fn(&str) -> String) -> Vec<(String, String)> {
    let found = PRODUCTS.iter().filter_map(|product| {
        // Bindings of the service-worker syntax exist at the top level only.
        let key = path(product.key);
        let value = document.get(&key).filter(|value| !is_empty(value))?;
        let names = names(value);
        let named = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
        let fix =
            format!("names {}{named}, which Switchyard does not have: {}", product.name, product.instead);
        Some((key, fix))
    });
    let mut found: Vec<_> = found.collect();
    let key = path("unsafe.bindings");
    let bindings = document.get(&key).and_then(Value::as_array).into_iter().flatten();
    let others = bindings.filter(|binding| binding.get("type").and_then(Value::as_str) != Some("ratelimit"));
    let others: Vec<_> = others.filter_map(|binding| binding.get("name")?.as_str()).collect();
    if !others.is_empty() {
        found.push((key, format!("names {}, which Switchyard does not have", others.join(", "))));
    }
    found
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(table) => table.is_empty(),
        _ => false,
    }
}

/// The names in `env` of the bindings in a list, a table or an object.
fn names(value: &Value) -> Vec<&str> {
    match value {
        Value::Array(list) => list.iter().filter_map(name_of).collect(),
        Value::Object(table) => match name_of(value) {
            Some(name) => vec![name],
            None => table.keys().map(String::as_str).collect(),
        },
        _ => Vec::new(),
    }
}

fn name_of(value: &Value) -> Option<&str> {
    value.get("binding").or_else(|| value.get("name"))?.as_str()
}
