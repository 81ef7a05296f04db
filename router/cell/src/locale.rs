//! The language of a version: of `navigator.language`, of `Intl` and of what JavaScript formats by
//! default. ICU reads it from the environment once, and a spare has another environment than the
//! version that it becomes.

use deno_core::v8;

/// The variables that name it, the first one that is set.
const NAMED_BY: [&str; 3] = ["LC_ALL", "LC_MESSAGES", "LANG"];

/// ICU's own limit for the name of a locale, in bytes.
const LONGEST: usize = 156;

#[expect(unsafe_code, reason = "V8's C++, which its bindings leave out")]
unsafe extern "C" {
    /// `v8::Isolate::LocaleConfigurationChangeNotification()`.
    #[link_name = "_ZN2v87Isolate37LocaleConfigurationChangeNotificationEv"]
    fn locale_configuration_change_notification(isolate: v8::UnsafeRawIsolatePtr);
}

/// Makes the environment's language the process's, and that of an isolate which was made before.
///
/// To be called after the environment is the version's and before any of its code runs.
pub(crate) fn follow_environment(isolate: &mut v8::OwnedIsolate) {
    let named = NAMED_BY.into_iter().find_map(|name| std::env::var(name).ok());
    let Some(name) = named.as_deref().and_then(icu_name) else { return };
    v8::icu::set_default_locale(&name);
    // SAFETY: the isolate is this thread's, and V8 only forgets which language it has looked up.
    #[expect(unsafe_code, reason = "V8's C++")]
    unsafe {
        locale_configuration_change_notification(isolate.as_raw_isolate_ptr());
    }
}

/// What ICU makes of a locale's POSIX name (`de_DE.UTF-8`, `ca_ES@valencia`); none of what is no name.
fn icu_name(posix: &str) -> Option<String> {
    let is_part = |c: u8| c.is_ascii_alphanumeric() || b"_-.@".contains(&c);
    if posix.is_empty() || posix.len() > LONGEST || !posix.bytes().all(is_part) {
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
        for wrong in ["", "a b", "../../etc", "de\u{e4}", &"x".repeat(LONGEST + 1)] {
            assert_eq!(icu_name(wrong), None, "{wrong}");
        }
    }
}
