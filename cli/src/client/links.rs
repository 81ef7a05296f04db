//! The URLs of projects.

use std::net::IpAddr;

use switchyard_contract::project::ProjectName;
use switchyard_contract::route::label;

/// Returns the URL of a project at a router. At a loopback address it is by the project's host, so that
/// absolute paths in its pages work.
pub(super) fn project_url(public: &str, project: &ProjectName) -> Option<String> {
    let url = reqwest::Url::parse(public).ok()?;
    let host = format!("{}.localhost", project.label());
    let is_loopback =
        url.host_str()?.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match url.port() {
        Some(port) if is_loopback && url.scheme() == "http" && label::of(&host).is_some() => {
            Some(format!("http://{host}:{port}/"))
        }
        _ => Some(format!("{}/{project}/", public.trim_end_matches('/'))),
    }
}

/// Returns the reason why no router gives a project a URL. `publics`: the addresses of their public
/// listeners.
pub(super) fn reason_for_no_url<'a>(
    mut publics: impl Iterator<Item = &'a str>,
    project: &ProjectName,
) -> String {
    match publics.find_map(|public| public.strip_prefix("unix:")) {
        Some(path) => format!(
            "{project} is served at the Unix socket {path}, which browsers cannot open: give the router an \
             address (--listen IP:PORT), open the URL of the proxy in front of it, or run \
             `curl --unix-socket {path} http://localhost/{project}/`"
        ),
        None => "the bridge has no router with a public URL: add one (--router PUBLIC,ADMIN)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_at_a_unix_socket_has_no_url_and_is_reached_in_other_ways() {
        let name = ProjectName::parse("blog").unwrap();
        assert_eq!(project_url("unix:/run/public.sock", &name), None);
        let reason = reason_for_no_url(["unix:/run/public.sock"].into_iter(), &name);
        let command = "curl --unix-socket /run/public.sock http://localhost/blog/";
        assert!(reason.contains("--listen IP:PORT") && reason.contains(command), "{reason}");
    }

    #[test]
    fn a_project_is_at_its_host_on_this_machine_and_below_its_name_elsewhere() {
        let name = |text| ProjectName::parse(text).unwrap();
        for (public, project, url) in [
            ("http://127.0.0.1:8000", "my_blog", Some("http://my-blog.localhost:8000/")),
            ("http://127.0.0.1:8000/", "www", Some("http://127.0.0.1:8000/www/")),
            ("https://apps.example.com/", "blog", Some("https://apps.example.com/blog/")),
            ("nothing", "blog", None),
        ] {
            assert_eq!(project_url(public, &name(project)).as_deref(), url, "{public}");
        }
    }
}
