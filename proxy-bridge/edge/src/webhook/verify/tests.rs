use super::*;
use crate::webhook::testing::Delivery;

const SECRET: &str = "It's a Secret to Everybody";

fn github(body: &str) -> Delivery {
    Delivery::new(ForgeKind::Github, &[], body)
}

fn gitlab(body: &str) -> Delivery {
    Delivery::new(ForgeKind::Gitlab, &[], body)
}

fn gitea(body: &str) -> Delivery {
    Delivery::new(ForgeKind::Gitea, &[], body)
}

fn standard(body: &str) -> Delivery {
    Delivery::new(ForgeKind::Standard, &[], body)
}

/// A delivery of each kind, unsigned.
fn pushes() -> [Delivery; 6] {
    let body = r#"{"ref": "refs/heads/main"}"#;
    let of = |kind| Delivery::new(kind, &[], body);
    [github(body), gitlab(body), gitea(body), of(ForgeKind::Bitbucket), of(ForgeKind::Azure), standard(body)]
}

fn now() -> Timestamp {
    Timestamp::from_second(1_614_265_330).unwrap()
}

fn at() -> i64 {
    now().as_second()
}

/// Verifies a delivery whose body comes in small parts.
fn verify_with(delivery: &Delivery, secrets: &[&str]) -> Result<(), Refused> {
    let webhook = WebhookSecret::new(delivery.kind, secrets).unwrap();
    let mut verifier = Verifier::new(&webhook, &delivery.headers, now())?;
    delivery.body.chunks(7).for_each(|part| verifier.update(part));
    verifier.finish()
}

fn verify(delivery: &Delivery) -> Result<(), Refused> {
    verify_with(delivery, &[SECRET])
}

#[test]
fn a_delivery_that_its_forge_signed_is_accepted() {
    for push in pushes() {
        assert_eq!(verify(&push.clone().signed(SECRET, at())), Ok(()), "{push:?}");
    }
}

#[test]
fn the_examples_of_github_and_of_standard_webhooks_are_accepted() {
    let published = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let delivery = github("Hello, World!").with("x-hub-signature-256", published);
    assert_eq!(verify(&delivery), Ok(()));
    let delivery = standard(r#"{"test": 2432232314}"#)
        .with("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
        .with("webhook-timestamp", "1614265330")
        .with("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    assert_eq!(verify_with(&delivery, &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]), Ok(()));
}

#[test]
fn a_delivery_that_is_signed_with_another_secret_is_refused() {
    for push in pushes() {
        assert_eq!(verify(&push.clone().signed("guessed", at())), Err(Refused::Mismatch), "{push:?}");
        assert_eq!(verify(&push.clone().signed("", at())), Err(Refused::Mismatch), "{push:?}");
    }
}

#[test]
fn a_delivery_without_a_signature_is_refused() {
    for push in pushes() {
        assert!(matches!(verify(&push), Err(Refused::Missing(_))), "{push:?}");
    }
}

#[test]
fn a_changed_body_is_refused_where_the_body_is_signed() {
    for push in pushes() {
        let mut signed = push.signed(SECRET, at());
        signed.body.push(b' ');
        let by_secret_alone = matches!(signed.kind, ForgeKind::Gitlab | ForgeKind::Azure);
        assert_eq!(verify(&signed).is_ok(), by_secret_alone, "{signed:?}");
    }
}

#[test]
fn a_signature_that_is_cut_or_repeated_is_refused() {
    for (push, name) in [
        (github("{}"), "x-hub-signature-256"),
        (gitea("{}"), "x-gitea-signature"),
        (standard("{}"), "webhook-signature"),
    ] {
        let signed = push.signed(SECRET, at());
        let value = signed.headers[name].to_str().unwrap().to_owned();
        for cut in ["", &value[1..], &value[..value.len() - 2], &format!("{value}00")] {
            let refused = verify(&signed.clone().with(name, cut)).unwrap_err();
            assert_eq!(refused, Refused::Malformed(name), "{cut}");
        }
        let mut repeated = signed.clone();
        repeated.headers.append(name, value.parse().unwrap());
        assert_eq!(verify(&repeated), Err(Refused::Missing(name)));
    }
    let sha1 = github("{}").with("x-hub-signature-256", "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6");
    assert!(verify(&sha1).is_err());
}

#[test]
fn while_secrets_rotate_each_of_them_is_accepted() {
    for push in pushes() {
        for by in ["new", "old", "oldest"] {
            assert_eq!(verify_with(&push.clone().signed(by, at()), &["new", "old", "oldest"]), Ok(()));
        }
        assert_eq!(
            verify_with(&push.signed("other", at()), &["new", "old", "oldest"]),
            Err(Refused::Mismatch)
        );
    }
}

#[test]
fn a_signature_that_is_five_minutes_off_is_refused() {
    for off in [-301, 301] {
        assert_eq!(verify(&standard("{}").signed(SECRET, at() + off)), Err(Refused::Stale));
    }
    for off in [-300, 300] {
        assert_eq!(verify(&standard("{}").signed(SECRET, at() + off)), Ok(()));
    }
    let unreadable = standard("{}").signed(SECRET, at()).with("webhook-timestamp", "noon");
    assert_eq!(verify(&unreadable), Err(Refused::Malformed("webhook-timestamp")));
}

#[test]
fn one_of_several_signatures_of_a_sender_is_enough() {
    let signed = standard("{}").signed(SECRET, at());
    let right = signed.headers["webhook-signature"].to_str().unwrap().to_owned();
    let other = STANDARD.encode([7; 32]);
    let both = signed.clone().with("webhook-signature", &format!("v1a,unknown v1,{other} {right}"));
    assert_eq!(verify(&both), Ok(()));
    let none = signed.with("webhook-signature", &format!("v1,{other}"));
    assert_eq!(verify(&none), Err(Refused::Mismatch));
}

#[test]
fn a_hook_of_gitlab_may_have_a_token_or_a_signature() {
    let key = b"a key of thirty-two bytes, just so";
    let secret = format!("whsec_{}", STANDARD.encode(key));
    let signed = gitlab("{}").standard("id", key, at());
    assert_eq!(verify_with(&signed, &[&secret]), Ok(()));
    // Both are sent where a hook has both, and the source may know either.
    let both = signed.clone().with("x-gitlab-token", SECRET);
    assert_eq!(verify_with(&both, &[&secret]), Ok(()));
    assert_eq!(verify_with(&both, &[SECRET]), Ok(()));
    assert_eq!(verify_with(&both, &["another"]), Err(Refused::Mismatch));
    let stale = gitlab("{}").standard("id", key, at() - 400);
    assert_eq!(verify_with(&stale, &[&secret]), Err(Refused::Stale));
}

#[test]
fn forgejo_signs_with_its_own_header_too() {
    let signed = gitea("{}").signed(SECRET, at());
    let mut forgejo =
        signed.clone().with("x-forgejo-signature", signed.headers["x-gitea-signature"].to_str().unwrap());
    forgejo.headers.remove("x-gitea-signature");
    assert_eq!(verify(&forgejo), Ok(()));
    let form = signed.with("content-type", "application/x-www-form-urlencoded");
    assert_eq!(verify(&form), Err(Refused::Form));
}

#[test]
fn credentials_that_are_not_basic_are_refused() {
    let push = Delivery::new(ForgeKind::Azure, &[], "{}");
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    for value in [format!("Bearer {SECRET}"), "Basic".into(), "Basic ???".into(), basic(SECRET)] {
        assert_eq!(
            verify(&push.clone().with("authorization", &value)),
            Err(Refused::Malformed("authorization"))
        );
    }
    let with_colon = push.clone().with("authorization", &basic("user:pass:word"));
    assert_eq!(verify_with(&with_colon, &["pass:word"]), Ok(()));
    let without_user = push.with("authorization", &basic(&format!(":{SECRET}")));
    assert_eq!(verify(&without_user), Ok(()));
}

#[test]
fn a_decoy_costs_as_much_as_a_verifier_and_never_accepts() {
    let delivery = github("{}").signed("no secret of a source", at());
    let webhook = WebhookSecret::new(ForgeKind::Github, [SECRET]).unwrap();
    let real = Verifier::new(&webhook, &delivery.headers, now()).unwrap();
    let decoy = Verifier::decoy();
    assert_eq!(real.lanes.len(), decoy.lanes.len());
    assert_eq!(decoy.finish(), Err(Refused::UnknownSource));
    // The key of the lanes that only take time is no secret.
    assert_eq!(verify(&delivery), Err(Refused::Mismatch));
    assert_eq!(Verifier::refusing(Refused::Stale).finish(), Err(Refused::Stale));
}
