//! Webhooks of a declaration: their paths and the proof that a request is genuine.

use switchyard_contract::task::{WebhookSignature, WebhookTrigger};

use super::{Fields, Kind, Report};

/// The keys of `webhook`, where it is an object.
pub(super) const KEYS: [&str; 6] = ["path", "secret", "kind", "open", "sync", "get"];

/// The senders whose proof is known.
pub(super) const SENDERS: [(&str, &str); 7] = [
    ("github", "github"),
    ("gitlab", "gitlab"),
    ("gitea", "gitea"),
    ("forgejo", "gitea"),
    ("bitbucket", "bitbucket"),
    ("azure", "azure"),
    ("standard", "standard"),
];

/// The sender where none is named: `x-hub-signature-256` is what most others send as well.
pub(super) const DEFAULT_SENDER: &str = "github";

/// The longest path, in bytes.
const MAX_PATH: usize = 200;

/// The longest name of a variable, in bytes.
const MAX_VARIABLE: usize = 200;

/// Reads `webhook`: a path, or an object.
pub(super) fn read(fields: &Fields<'_>, report: &mut Report) -> Option<WebhookTrigger> {
    let node = fields.get("webhook")?;
    if let Kind::Text(text) = &node.kind {
        let fix = format!(
            "must say who may start it: write {{\"path\": {text:?}, \"secret\": \"VARIABLE\"}}, or \"open\": true"
        );
        fields.wrong("webhook", fix, report);
        return None;
    }
    let own = Fields::open(node, fields.path_of("webhook"), &KEYS, report)?;
    let path = own.text("path", report);
    if !own.has("path") {
        own.wrong("path", "is missing: the path below /hooks/, as in \"github/push\"", report);
    }
    let path = path.and_then(|path| read_path(&own, "path", path, report));
    let open = own.flag("open", report).unwrap_or_default();
    let get = own.flag("get", report).unwrap_or_default();
    let sync = own.flag("sync", report).unwrap_or_default();
    let sender = own.choice("kind", &SENDERS, report);
    let signature = own.text("secret", report).and_then(|text| {
        let secret = variable(text).map(str::to_owned);
        if secret.is_none() {
            own.wrong("secret", NAME_OF_VARIABLE, report);
        }
        Some(WebhookSignature { kind: sender.unwrap_or(DEFAULT_SENDER).to_owned(), secret: secret? })
    });
    match (own.has("secret"), open) {
        (true, true) => own.wrong("open", "contradicts \"secret\": keep one of them", report),
        (false, false) => {
            let fix =
                "needs \"secret\", the variable of the project with the shared secret, or \"open\": true";
            report.wrong(own.place(), own.path(), fix);
        }
        _ => {}
    }
    if own.has("kind") && !own.has("secret") {
        own.wrong("kind", "has no effect without \"secret\"", report);
    }
    if get && !open {
        own.wrong("get", "needs \"open\": true: a GET request carries no signature", report);
    }
    Some(WebhookTrigger { path: path?, signature, open, sync, get })
}

/// The text that asks for a name; the value is not repeated, as it may be the secret itself.
pub(super) const NAME_OF_VARIABLE: &str = "must be the name of a variable that the policy grants to the project, such as \"WEBHOOK_SECRET\", and not the \
     secret itself";

/// The path below `/hooks/`.
pub(super) fn read_path(fields: &Fields<'_>, key: &str, text: &str, report: &mut Report) -> Option<String> {
    let path = text.strip_prefix("/hooks/").unwrap_or(text).trim_matches('/');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let is_part =
        |part: &str| !part.is_empty() && !part.bytes().all(|byte| byte == b'.') && part.bytes().all(is_plain);
    if path.len() > MAX_PATH || !path.split('/').all(is_part) {
        let fix = "must be a path of letters, digits, \"-\", \"_\", \".\" and \"~\", as in \"github/push\"";
        fields.wrong(key, fix, report);
        return None;
    }
    if path.split('/').next() == Some("git") {
        fields.wrong(key, "must not begin with git/: those are the webhooks of git sources", report);
        return None;
    }
    Some(path.to_owned())
}

/// The text, if it is the name of a variable.
pub(super) fn variable(text: &str) -> Option<&str> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts = text.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
    (starts && text.len() <= MAX_VARIABLE && text.bytes().all(is_letter)).then_some(text)
}
