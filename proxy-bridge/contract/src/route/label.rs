//! The label of a host that can name a project.

/// Labels that name no project: `localhost` is the machine itself, and `www` is the site that the
/// operator runs under the rest of the name. A project called so would take all these hosts.
const RESERVED: [&str; 2] = ["localhost", "www"];

/// The first label of a host, unless that is an IP address or the label is reserved.
pub fn of(host: &str) -> Option<&str> {
    let label = host.split('.').next().filter(|label| !label.is_empty())?;
    let is_reserved = RESERVED.contains(&label) || label.bytes().all(|byte| byte.is_ascii_digit());
    (!is_reserved && !is_address(host)).then_some(label)
}

/// Returns true for an IPv6 literal, and for each form of an IPv4 address that clients accept as
/// one (`127.1`, `0x7f.1`): its last label is a number.
pub fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.rsplit('.').next().is_some_and(is_number)
}

fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_reserved_labels_name_no_project() {
        for host in ["blog.example.com", "blog", "10a.example.com", "xn--bcher-kva.example", "0x.example"] {
            assert_eq!(of(host), host.split('.').next(), "{host}");
        }
        for host in [
            "",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0x7f",
            "blog.0x7f",
            "blog.10",
            "[::1]",
            "10.example.com",
            "localhost",
            "localhost.example.com",
            "www",
            "www.example.com",
        ] {
            assert_eq!(of(host), None, "{host}");
        }
    }
}
