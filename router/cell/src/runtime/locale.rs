//! The language of a version, for `navigator.language`, `Intl` and JavaScript's default formats.
//! ICU reads it from the environment once, and a spare has another environment than the version
//! that it becomes.

use deno_core::v8;

/// The variables that name the language; the first one that is set counts.
const NAMED_BY: [&str; 3] = ["LC_ALL", "LC_MESSAGES", "LANG"];

/// ICU's limit for the name of a locale, in bytes.
const MAX_NAME: usize = 156;

#[expect(unsafe_code, reason = "V8's C++, which its bindings leave out")]
unsafe extern "C" {
    /// `v8::Isolate::LocaleConfigurationChangeNotification()`.
    #[link_name = "_ZN2v87Isolate37LocaleConfigurationChangeNotificationEv"]
    fn locale_configuration_change_notification(isolate: v8::UnsafeRawIsolatePtr);
}

/// Sets the language of the process, and of an isolate that exists already, from the environment.
///
/// Must be called after the environment is the version's and before any of its code runs.
pub(crate) fn follow_environment(isolate: &mut v8::OwnedIsolate) {
    let named = NAMED_BY.into_iter().find_map(|name| std::env::var(name).ok());
    let Some(name) = named.as_deref().and_then(icu_name) else { return };
    v8::icu::set_default_locale(&name);
    // SAFETY: the isolate belongs to this thread, and V8 only forgets the language that it has
    // read.
    #[expect(unsafe_code, reason = "V8's C++")]
    unsafe {
        locale_configuration_change_notification(isolate.as_raw_isolate_ptr());
    }
}

/// Returns ICU's name of a locale's POSIX name (`de_DE.UTF-8`, `ca_ES@valencia`), or `None` if it
/// is invalid.
fn icu_name(posix: &str) -> Option<String> {
    let is_part = |c: u8| c.is_ascii_alphanumeric() || b"_-.@".contains(&c);
    if posix.is_empty() || posix.len() > MAX_NAME || !posix.bytes().all(is_part) {
        return None;
    }
    let (name, variant) = posix.split_once('@').unwrap_or((posix, ""));
    let without_charset = |text: &str| text.split('.').next().unwrap_or_default().to_owned();
    let (name, variant) = (without_charset(name), without_charset(variant));
    Some(match (name.as_str(), variant.as_str()) {
        ("C" | "POSIX", _) => "en_US_POSIX".to_owned(),
        (_, "") => name,
        _ if name.contains('_') => format!("{name}_{variant}"),
        _ => format!("{name}__{variant}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charsets_are_dropped_and_variants_kept() {
        for (posix, icu) in [
            ("de_DE.UTF-8", "de_DE"),
            ("en", "en"),
            ("C", "en_US_POSIX"),
            ("C.UTF-8", "en_US_POSIX"),
            ("POSIX", "en_US_POSIX"),
            ("ca_ES@valencia", "ca_ES_valencia"),
            ("de_DE.UTF-8@euro", "de_DE_euro"),
            ("sr@latin", "sr__latin"),
        ] {
            assert_eq!(icu_name(posix).as_deref(), Some(icu), "{posix}");
        }
        for wrong in ["", "a b", "../../etc", "de\u{e4}", &"x".repeat(MAX_NAME + 1)] {
            assert_eq!(icu_name(wrong), None, "{wrong}");
        }
    }
}
