//! Deliveries as the forges send them, for tests: recorded documents, shortened, and signed anew.

use switchyard_edge::webhook::ForgeKind;
pub(super) use switchyard_edge::webhook::testing::Delivery;

pub(super) const SECRET: &str = "It's a Secret to Everybody";

/// The commit that most deliveries end in.
pub(super) const AFTER: &str = "6113728f27ae82c7b1a177c8d03f9e96e0adf246";

/// A push to `main` from each forge, unsigned.
pub(super) fn pushes() -> [Delivery; 7] {
    [
        github("push", GITHUB_PUSH),
        gitlab("Push Hook", GITLAB_PUSH),
        gitea("push", GITEA_PUSH),
        bitbucket("repo:push", BITBUCKET_CLOUD_PUSH),
        bitbucket("repo:refs_changed", BITBUCKET_CENTER_PUSH),
        azure(AZURE_PUSH),
        standard(STANDARD_PUSH),
    ]
}

pub(super) fn github(event: &str, body: &str) -> Delivery {
    let headers = [
        ("content-type", "application/json"),
        ("user-agent", "GitHub-Hookshot/044aadd"),
        ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ("x-github-event", event),
        ("x-github-hook-id", "292430182"),
        ("x-hub-signature", "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6"),
    ];
    Delivery::new(ForgeKind::Github, &headers, body)
}

pub(super) fn gitlab(event: &str, body: &str) -> Delivery {
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "f5e5f430-f57b-4e6e-9fac-d9128cd7232f"),
        ("x-gitlab-event", event),
        ("x-gitlab-event-uuid", "13792a34-cac6-4fda-95a8-c58e00a3954e"),
        ("x-gitlab-webhook-uuid", "02affd2d-2cba-4033-917d-ec22d5dc4b38"),
    ];
    Delivery::new(ForgeKind::Gitlab, &headers, body)
}

pub(super) fn gitea(event: &str, body: &str) -> Delivery {
    let headers = [
        ("content-type", "application/json"),
        ("x-gitea-delivery", "f6266f16-1bf3-46a5-9ea4-602e06ead473"),
        ("x-gitea-event", event),
        ("x-gitea-event-type", event),
        ("x-github-delivery", "f6266f16-1bf3-46a5-9ea4-602e06ead473"),
        ("x-github-event", event),
    ];
    Delivery::new(ForgeKind::Gitea, &headers, body)
}

pub(super) fn bitbucket(event: &str, body: &str) -> Delivery {
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("x-attempt-number", "1"),
        ("x-event-key", event),
        ("x-hook-uuid", "e1e82fa0-8ad9-4b3c-a0d8-17a8e2a0b9bb"),
        ("x-request-uuid", "a3ba4d67-0b2e-4a5b-9d0b-1a0bcb1f7d0a"),
    ];
    Delivery::new(ForgeKind::Bitbucket, &headers, body)
}

pub(super) fn azure(body: &str) -> Delivery {
    Delivery::new(ForgeKind::Azure, &[("content-type", "application/json; charset=utf-8")], body)
}

pub(super) fn standard(body: &str) -> Delivery {
    Delivery::new(ForgeKind::Standard, &[("content-type", "application/json")], body)
}

pub(super) const GITHUB_PUSH: &str = r#"{
  "ref": "refs/heads/main",
  "before": "a10867b14bb761a232cd80139fbd4c0d33264240",
  "after": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
  "repository": {
    "id": 186853002, "node_id": "MDEwOlJlcG9zaXRvcnkxODY4NTMwMDI=", "name": "Hello-World",
    "full_name": "Codertocat/Hello-World", "private": false, "default_branch": "main",
    "clone_url": "https://github.com/Codertocat/Hello-World.git", "pushed_at": 1557933663
  },
  "pusher": {"name": "Codertocat", "email": "21031067+Codertocat@users.noreply.github.com"},
  "sender": {"login": "Codertocat", "id": 21031067, "site_admin": false},
  "created": false, "deleted": false, "forced": false, "base_ref": null,
  "compare": "https://github.com/Codertocat/Hello-World/compare/a10867b14bb7...6113728f27ae",
  "commits": [{"id": "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "distinct": true,
    "message": "Prices \u2192 \u20ac & more", "added": [], "removed": [], "modified": ["main.ts"]}],
  "head_commit": {"id": "6113728f27ae82c7b1a177c8d03f9e96e0adf246"}
}"#;

pub(super) const GITHUB_DELETION: &str = r#"{
  "ref": "refs/tags/simple-tag",
  "before": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
  "after": "0000000000000000000000000000000000000000",
  "created": false, "deleted": true, "forced": false, "base_ref": null, "commits": [], "head_commit": null
}"#;

pub(super) const GITHUB_PING: &str = r#"{
  "zen": "Non-blocking is better than blocking.", "hook_id": 30,
  "hook": {"type": "Repository", "id": 30, "name": "web", "active": true, "events": ["push"]}
}"#;

pub(super) const GITLAB_PUSH: &str = r#"{
  "object_kind": "push", "event_name": "push",
  "before": "95790bf891e76fee5e1747ab589903a6a1f80f22",
  "after": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
  "ref": "refs/heads/main", "ref_protected": true,
  "checkout_sha": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
  "user_id": 4, "user_name": "John Smith", "project_id": 15,
  "project": {"id": 15, "name": "Diaspora", "git_http_url": "http://example.com/mike/diaspora.git"},
  "commits": [{"id": "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "title": "fixed readme"}],
  "total_commits_count": 4, "push_options": {}
}"#;

pub(super) const GITLAB_TAG: &str = r#"{
  "object_kind": "tag_push", "event_name": "tag_push",
  "before": "0000000000000000000000000000000000000000",
  "after": "82b3d5ae55f7080f1e6022629cdb57bfae7cccc7",
  "ref": "refs/tags/v1.0.0",
  "checkout_sha": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
  "message": "Tag message", "user_id": 1, "project_id": 1, "commits": [], "total_commits_count": 0
}"#;

pub(super) const GITEA_PUSH: &str = r#"{
  "ref": "refs/heads/main",
  "before": "28e1879d029cb852e4844d9c718537df08844e03",
  "after": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
  "compare_url": "http://localhost:3000/gitea/webhooks/compare/28e1879d...6113728f",
  "commits": [{"id": "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "message": "Webhooks Yay!"}],
  "total_commits": 1,
  "repository": {"id": 140, "name": "webhooks", "full_name": "gitea/webhooks"},
  "pusher": {"id": 1, "login": "gitea"}
}"#;

pub(super) const GITEA_DELETION: &str = r#"{
  "ref": "feature/x", "ref_type": "branch", "pusher_type": "user",
  "repository": {"id": 140, "name": "webhooks"}, "sender": {"id": 1, "login": "gitea"}
}"#;

pub(super) const BITBUCKET_CLOUD_PUSH: &str = r#"{
  "actor": {"type": "user", "nickname": "emma"},
  "repository": {"type": "repository", "full_name": "team/shop", "scm": "git"},
  "push": {"changes": [{
    "new": {"type": "branch", "name": "main", "target": {"type": "commit",
      "hash": "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "message": "new commit message\n"}},
    "old": {"type": "branch", "name": "main", "target": {"type": "commit",
      "hash": "1e65c05c1d5171631d92438a13901ca7dae9618c"}},
    "created": false, "forced": false, "closed": false, "truncated": false,
    "commits": [{"hash": "6113728f27ae82c7b1a177c8d03f9e96e0adf246"}]
  }]}
}"#;

pub(super) const BITBUCKET_CLOUD_CHANGES: &str = r#"{
  "push": {"changes": [
    {"new": null, "old": {"type": "branch", "name": "feature/x", "target": {"hash":
      "1e65c05c1d5171631d92438a13901ca7dae9618c"}}, "created": false, "forced": false, "closed": true},
    {"new": {"type": "tag", "name": "v1.0.0", "target": {"hash": "6113728f27ae82c7b1a177c8d03f9e96e0adf246"}},
      "old": null, "created": true, "forced": true, "closed": false}
  ]}
}"#;

pub(super) const BITBUCKET_CENTER_PUSH: &str = r#"{
  "eventKey": "repo:refs_changed", "date": "2019-06-17T19:37:57+1000",
  "actor": {"name": "john", "id": 500, "active": true, "type": "NORMAL"},
  "repository": {"slug": "test-repo", "id": 656, "scmId": "git", "project": {"key": "MYPROJECT"}},
  "changes": [{
    "ref": {"id": "refs/heads/main", "displayId": "main", "type": "BRANCH"},
    "refId": "refs/heads/main",
    "fromHash": "f09c8889a2d234985734958795a31589cd91ffda",
    "toHash": "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
    "type": "UPDATE"
  }]
}"#;

pub(super) const AZURE_PUSH: &str = r#"{
  "subscriptionId": "00000000-0000-0000-0000-000000000000", "notificationId": 3,
  "id": "03c164c2-8912-4d5e-8009-3707d5f83734",
  "eventType": "git.push", "publisherId": "tfs",
  "message": {"text": "Jamal Hartnett pushed updates to Fabrikam-Fiber-Git:main."},
  "resource": {
    "commits": [{"commitId": "6113728f27ae82c7b1a177c8d03f9e96e0adf246", "comment": "Fixed bug"}],
    "refUpdates": [{
      "name": "refs/heads/main",
      "oldObjectId": "aad331d8d3b131fa9ae03cf5e53965b51942618a",
      "newObjectId": "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
    }],
    "repository": {"id": "278d5cd2-584d-4b63-824a-2ba458937249", "name": "Fabrikam-Fiber-Git"},
    "pushId": 14, "date": "2014-05-02T19:17:13.3309587Z"
  },
  "resourceVersion": "1.0", "createdDate": "2014-05-02T19:17:15.2021581Z"
}"#;

pub(super) const STANDARD_PUSH: &str = r#"{
  "type": "push", "timestamp": "2026-11-29T06:00:00Z",
  "data": {"ref": "refs/heads/main", "after": "6113728f27ae82c7b1a177c8d03f9e96e0adf246"}
}"#;
