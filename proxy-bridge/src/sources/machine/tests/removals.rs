//! Removal of projects: only from a whole tree, and never most of them without a yes.

use super::*;

fn with(removed: RemovedProjects) -> Machine {
    live_with("1", MachineSettings { removed, ..settings() })
}

fn allow(id: u64) -> Event {
    request_with(id, SyncOptions { allow_empty: true, ..SyncOptions::default() })
}

#[test]
fn a_project_that_left_the_repository_stays_until_that_is_approved() {
    let mut machine = with(RemovedProjects::Ask);
    let effects = play(&mut machine, [DUE, shown("2"), tree("a", "c", "b")]);
    let Effect::Emit(SourceEvent::Asks(question)) = &effects[0] else { panic!("{effects:?}") };
    assert_eq!(question.projects, names("c"));
    assert!(question.message.contains("1 of the source's 3 projects no more (c)"), "{}", question.message);
    assert_eq!(effects[1], deploy("2", "a", ""), "the rest goes on");
    on(&mut machine, LIVE);
    assert!(machine.asks().is_some());
    assert_eq!(play(&mut machine, [DUE, shown("2")]), [POLL], "not asked twice");
    let approved = Event::Approved { id: RequestId(1) };
    assert_eq!(play(&mut machine, [approved, shown("2")]), [read("2")]);
    assert_eq!(on(&mut machine, tree("", "c", "a b")), [deploy("2", "", "c")]);
    on(&mut machine, LIVE);
    assert_eq!(machine.asks(), None);
}

#[test]
fn an_approval_is_for_the_projects_that_were_named() {
    let mut machine = with(RemovedProjects::Ask);
    play(&mut machine, [DUE, shown("2"), tree("", "c", "a b d e"), LIVE]);
    play(&mut machine, [Event::Approved { id: RequestId(1) }, shown("3")]);
    let effects = on(&mut machine, tree("", "c d", "a b e"));
    assert_eq!(effects.last(), Some(&deploy("3", "", "")), "d was not named");
    assert_eq!(machine.asks().map(|asks| asks.projects.clone()), Some(names("c d")));
}

#[test]
fn a_project_that_is_back_ends_the_question() {
    let mut machine = with(RemovedProjects::Ask);
    play(&mut machine, [DUE, shown("2"), tree("", "c", "a b"), LIVE]);
    play(&mut machine, [DUE, shown("3"), tree("", "", "a b c"), LIVE]);
    assert_eq!(machine.asks(), None);
    assert_eq!(
        on(&mut machine, Event::Approved { id: RequestId(1) }),
        [answered(&[1], Outcome::NothingToDo)]
    );
}

#[test]
fn the_settings_say_what_becomes_of_a_few() {
    for (removed, removal) in [(RemovedProjects::Remove, "c"), (RemovedProjects::Keep, "")] {
        let mut machine = with(removed);
        let effects = play(&mut machine, [DUE, shown("2"), tree("a", "c", "b")]);
        assert_eq!(effects, [deploy("2", "a", removal)], "{removed:?}");
    }
}

#[test]
fn all_projects_of_a_preview_go_without_a_question() {
    let mut machine = with(RemovedProjects::RemoveAll);
    assert_eq!(play(&mut machine, [DUE, shown("2"), tree("", "a b c", "")]), [deploy("2", "", "a b c")]);
}

#[test]
fn more_than_half_or_all_blocks_the_commit_with_the_names_and_the_command() {
    for removed in [RemovedProjects::Ask, RemovedProjects::Remove] {
        for (changed, gone, unchanged) in [("a", "b c", ""), ("", "a b c", ""), ("", "b c", "a")] {
            let mut machine = with(removed);
            play(&mut machine, [request(1), shown("2")]);
            let effects = on(&mut machine, tree(changed, gone, unchanged));
            assert!(!effects.iter().any(|effect| matches!(effect, Effect::Deploy { .. })), "{effects:?}");
            let Some(Effect::Answer(_, Outcome::Blocked(question))) = effects.get(1) else {
                panic!("{effects:?}")
            };
            assert_eq!(question.projects, names(gone));
            assert!(question.message.contains("b, c"), "{}", question.message);
            assert!(question.message.ends_with("switchyard source sync shop --allow-empty"));
            assert_eq!(machine.problem().map(|problem| problem.kind), Some(ProblemKind::Blocked));
            assert_eq!(play(&mut machine, [DUE, shown("2")]), [POLL], "blocked still");
        }
    }
}

#[test]
fn half_of_the_projects_is_not_most() {
    let mut machine = with(RemovedProjects::Remove);
    assert_eq!(play(&mut machine, [DUE, shown("2"), tree("", "b", "a")]), [deploy("2", "", "b")]);
}

#[test]
fn new_projects_do_not_hide_that_the_old_ones_go() {
    let mut machine = with(RemovedProjects::Remove);
    let changes = Changes {
        is_whole: true,
        added: names("x y z"),
        changed: Vec::new(),
        removed: names("a b"),
        unchanged: Vec::new(),
    };
    play(&mut machine, [request(1), shown("2"), Event::Read(Ok(changes))]);
    assert!(machine.asks().is_some());
}

#[test]
fn the_named_command_lets_it_pass_once() {
    let mut machine = with(RemovedProjects::Ask);
    play(&mut machine, [DUE, shown("2"), tree("", "a b", "")]);
    assert_eq!(play(&mut machine, [allow(1), shown("2")]), [read("2")]);
    assert_eq!(on(&mut machine, tree("", "a b", "")), [deploy("2", "", "a b")]);
    play(&mut machine, [LIVE, DUE, shown("3"), tree("", "c", "")]);
    assert_eq!(machine.problem().map(|problem| problem.kind), Some(ProblemKind::Blocked), "only once");
}

#[test]
fn the_block_ends_with_a_ref_that_is_put_back() {
    let mut machine = with(RemovedProjects::Ask);
    play(&mut machine, [DUE, shown("2"), tree("", "a b", ""), DUE, shown("1")]);
    assert_eq!((machine.problem(), machine.asks()), (None, None));
}

#[test]
fn a_tree_that_was_not_read_whole_removes_nothing() {
    let mut machine = with(RemovedProjects::Remove);
    let partial = Changes { removed: names("c"), changed: names("a"), ..Changes::default() };
    play(&mut machine, [allow(1), shown("2")]);
    assert_eq!(on(&mut machine, Event::Read(Ok(partial))), [deploy("2", "a", "")]);
}

#[test]
fn a_long_list_of_names_is_cut() {
    let mut machine = with(RemovedProjects::Ask);
    let many = (0..30).map(|n| format!("p{n}")).collect::<Vec<_>>().join(" ");
    play(&mut machine, [DUE, shown("2"), tree("", &many, "")]);
    let message = machine.asks().map(|asks| asks.message.clone()).unwrap();
    assert!(message.contains("p19 and 10 more"), "{message}");
}
