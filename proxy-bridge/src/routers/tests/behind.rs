//! Routers that may still serve a project as it was before a deploy.

use super::*;

#[tokio::test]
async fn a_router_is_behind_until_it_tells_of_another_version_also_over_a_restart() {
    let fake = FakeRouter::start("r1").await;
    fake.put("blog", 'a');
    let routers = following(&[&fake]);
    all_ready(&routers).await;
    let router = routers.all()[0].clone();
    routers.mark_behind(&router, &blog(), Some((digest('b').parse().unwrap(), Incarnation::FIRST)));
    assert!(router.is_behind("blog") && !router.is_behind("shop"));
    assert_eq!((routers.behind(), router.behind()), (vec![fake.name()], vec!["blog".to_owned()]));
    fake.restart("r2");
    until(&routers, |_| router.status("blog").is_none()).await;
    fake.live("blog", 'a');
    fake.set_ready(true);
    until(&routers, |_| router.is_ready() && serves(&routers, 0, "blog") == Some('a')).await;
    assert!(router.is_behind("blog"), "it serves its previous version");
    fake.live("blog", 'b');
    until(&routers, |_| !router.is_behind("blog")).await;
    assert_eq!(routers.behind(), Vec::<String>::new());
}

#[tokio::test]
async fn a_bridge_that_is_started_again_knows_which_routers_are_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (late, other) = (FakeRouter::start("r1").await, FakeRouter::start("r2").await);
    let settings = || RoutersSettings {
        fixed: vec![late.address.clone(), other.address.clone()],
        behind: Some(dir.path().join("behind")),
        ..RoutersSettings::default()
    };
    late.put("blog", 'a');
    other.put("blog", 'b');
    let (routers, task) = Routers::start(settings()).unwrap();
    all_ready(&routers).await;
    routers.mark_behind(&routers.all()[0], &blog(), Some((digest('b').parse().unwrap(), Incarnation::FIRST)));
    routers.save_behind().await.unwrap();
    task.abort();

    let (routers, _task) = Routers::start(settings()).unwrap();
    assert!(routers.all()[0].is_behind("blog"), "before any router has reported anything");
    assert_eq!(routers.find("blog.localhost", "/"), Some(blog()));
    all_ready(&routers).await;
    assert!(routers.all()[0].is_behind("blog") && !routers.all()[1].is_behind("blog"));
    late.live("blog", 'b');
    until(&routers, |routers| !routers.all()[0].is_behind("blog")).await;
    let empty = || std::fs::read_dir(dir.path().join("behind")).unwrap().next().is_none();
    let cleaned = async {
        while !empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, cleaned).await.expect("the file of the mark goes");
}
