use super::*;
use crate::hooks::recorded::*;

fn read(delivery: &Delivery) -> Payload {
    Payload::read(delivery.kind, &delivery.headers, Some(&delivery.body))
}

fn push(ref_name: &str, after: Option<&str>) -> Push {
    Push { ref_name: Some(ref_name.to_owned()), after: after.map(str::to_owned), ..Push::default() }
}

fn one(delivery: &Delivery) -> Push {
    match read(delivery).event {
        Event::Push(mut pushes) if pushes.len() == 1 => pushes.remove(0),
        event => panic!("{event:?} of {delivery:?}"),
    }
}

#[test]
fn a_push_of_each_forge_names_its_ref_and_commit() {
    for delivery in pushes() {
        let forced = one(&delivery).forced;
        assert_eq!(one(&delivery), Push { forced, ..push("refs/heads/main", Some(AFTER)) });
        let tells = delivery.kind == ForgeKind::Github || delivery.body.starts_with(b"{\n  \"actor\"");
        assert_eq!(forced, tells.then_some(false), "{delivery:?}");
    }
}

#[test]
fn a_form_of_github_is_read_like_its_document() {
    let encoded: String = GITHUB_PUSH
        .bytes()
        .map(|c| match c {
            b' ' => "+".to_owned(),
            c if c.is_ascii_alphanumeric() => char::from(c).to_string(),
            c => format!("%{c:02X}"),
        })
        .collect();
    let form = github("push", &format!("payload={encoded}"))
        .with("content-type", "application/x-www-form-urlencoded; charset=utf-8");
    assert_eq!(read(&form), read(&github("push", GITHUB_PUSH)));
    let empty = github("push", "other=1").with("content-type", "application/x-www-form-urlencoded");
    assert_eq!(one(&empty), Push::default());
}

#[test]
fn a_deleted_ref_has_no_commit() {
    let deleted = |name| Push { deleted: true, ..push(name, None) };
    let github = one(&github("push", GITHUB_DELETION));
    assert_eq!(github, Push { forced: Some(false), ..deleted("refs/tags/simple-tag") });
    assert_eq!(one(&gitea("delete", GITEA_DELETION)), deleted("refs/heads/feature/x"));
    let zero = "0".repeat(40);
    assert_eq!(one(&gitlab("Push Hook", &GITLAB_PUSH.replace(AFTER, &zero))), deleted("refs/heads/main"));
    assert_eq!(one(&azure(&AZURE_PUSH.replace(AFTER, &zero))), deleted("refs/heads/main"));
    let center = BITBUCKET_CENTER_PUSH.replace("UPDATE", "DELETE").replace(AFTER, &zero);
    assert_eq!(one(&bitbucket("repo:refs_changed", &center)), deleted("refs/heads/main"));
}

#[test]
fn a_payload_may_name_several_refs() {
    let Event::Push(pushes) = read(&bitbucket("repo:push", BITBUCKET_CLOUD_CHANGES)).event else { panic!() };
    let gone = Push { deleted: true, forced: Some(false), ..push("refs/heads/feature/x", None) };
    let tag = Push { forced: Some(true), ..push("refs/tags/v1.0.0", Some(AFTER)) };
    assert_eq!(pushes, [gone, tag]);
    let change = r#"{"refId": "refs/heads/x", "toHash": "", "type": "UPDATE"}"#;
    let many = format!("{{\"changes\": [{}]}}", vec![change; MAX_REFS + 1].join(","));
    assert_eq!(one(&bitbucket("repo:refs_changed", &many)), Push::default());
}

#[test]
fn a_tag_of_gitlab_keeps_the_id_of_the_tag_itself() {
    let tag = one(&gitlab("Tag Push Hook", GITLAB_TAG));
    assert_eq!(tag, push("refs/tags/v1.0.0", Some("82b3d5ae55f7080f1e6022629cdb57bfae7cccc7")));
}

#[test]
fn tests_of_a_webhook_are_pings_and_other_events_are_ignored() {
    for ping in [
        github("ping", GITHUB_PING),
        bitbucket("diagnostics:ping", r#"{"test": true}"#),
        standard(r#"{"type": "ping"}"#),
    ] {
        assert_eq!(read(&ping).event, Event::Ping, "{ping:?}");
    }
    for other in [
        github("issues", GITHUB_PUSH),
        github("delete", GITEA_DELETION),
        gitlab("Pipeline Hook", GITLAB_PUSH),
        gitlab("System Hook", r#"{"event_name": "project_create"}"#),
        gitea("create", GITEA_DELETION),
        bitbucket("pr:opened", BITBUCKET_CENTER_PUSH),
        azure(&AZURE_PUSH.replace("git.push", "build.complete")),
        standard(r#"{"type": "user.created"}"#),
    ] {
        assert_eq!(read(&other).event, Event::Ignored, "{other:?}");
    }
}

#[test]
fn a_system_hook_of_gitlab_tells_of_pushes_in_its_body() {
    assert_eq!(one(&gitlab("System Hook", GITLAB_PUSH)), push("refs/heads/main", Some(AFTER)));
    let update = gitlab("System Hook", r#"{"event_name": "repository_update", "refs": ["refs/heads/x"]}"#);
    assert_eq!(one(&update), Push::default());
}

#[test]
fn a_body_that_is_not_kept_or_not_understood_is_a_push_of_which_no_more_is_known() {
    for delivery in pushes() {
        let unread = Payload::read(delivery.kind, &delivery.headers, None);
        assert_eq!(unread, Payload { event: Event::Push(vec![Push::default()]), id: None });
        for body in ["", "{", "[]", "null", "\u{feff}{}", r#"{"ref": 7, "changes": 7, "resource": 7}"#] {
            let mut broken = delivery.clone();
            broken.body = body.into();
            assert_eq!(one(&broken), Push::default(), "{body} of {:?}", delivery.kind);
        }
    }
    let nested = format!("{{\"x\": {}", "[".repeat(100_000));
    assert_eq!(one(&github("push", &nested)), Push::default());
}

#[test]
fn names_and_ids_that_cannot_be_right_are_left_out() {
    let long = format!("refs/heads/{}", "x".repeat(MAX_REF));
    for name in ["main", "refs/", "--upload-pack=x", "refs/heads/a b", "refs/heads/a\\n", &long] {
        let sent = github("push", &GITHUB_PUSH.replace("refs/heads/main", name));
        assert_eq!(one(&sent).ref_name, None, "{name}");
    }
    for id in ["", "6113728", "--output=x", &"g".repeat(40), &"6".repeat(41)] {
        assert_eq!(one(&github("push", &GITHUB_PUSH.replace(AFTER, id))).after, None, "{id}");
    }
    let upper = github("push", &GITHUB_PUSH.replace(AFTER, &AFTER.to_uppercase()));
    assert_eq!(one(&upper).after.as_deref(), Some(AFTER));
    let sha256 = "ab".repeat(32);
    assert_eq!(one(&github("push", &GITHUB_PUSH.replace(AFTER, &sha256))).after, Some(sha256));
}

#[test]
fn an_id_is_read_from_the_body_where_the_headers_have_none() {
    assert_eq!(read(&azure(AZURE_PUSH)).id.as_deref(), Some("03c164c2-8912-4d5e-8009-3707d5f83734"));
    let id = read(&gitlab("Push Hook", GITLAB_PUSH)).id.unwrap();
    assert_eq!(id, format!("13792a34-cac6-4fda-95a8-c58e00a3954e:{AFTER}"));
    assert_eq!(read(&azure(&AZURE_PUSH.replace("03c164c2", "not an id"))).id, None);
}
