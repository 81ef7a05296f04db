//! The tasks and pipelines of a project, and what is wrong with their declarations.

use std::path::Path;

use switchyard_contract::event::Diagnostic;
use switchyard_contract::task::{TaskCode, TaskSet};
use switchyard_tasks::declared::{self, Declared};

/// Further problems that are told with the first one.
const MAX_FURTHER: usize = 20;

/// Reads the tasks and pipelines of the project in `dir`.
///
/// # Errors
/// All problems of their declarations, at the place of the first.
pub(super) fn read(dir: &Path) -> Result<Declared, Diagnostic> {
    declared::read(dir).map_err(merge)
}

/// Returns true if a project with these tasks needs nothing that answers requests: it has some, and
/// no handler of its entry is among them.
pub(super) fn suffice(set: &TaskSet) -> bool {
    let is_of_entry = |code: &TaskCode| !matches!(code, TaskCode::Module { .. });
    !set.is_empty() && !set.tasks.iter().any(|task| is_of_entry(&task.code))
}

/// Returns one diagnostic for all `problems`.
fn merge(problems: Vec<Diagnostic>) -> Diagnostic {
    let mut problems = problems.into_iter();
    let Some(mut first) = problems.next() else {
        let message = "its tasks cannot be read".to_owned();
        return Diagnostic { message, ..Diagnostic::default() };
    };
    for problem in problems.by_ref().take(MAX_FURTHER) {
        first.message.push_str(&format!("\n{}{}", place(&problem), problem.message));
    }
    match problems.count() {
        0 => {}
        more => first.message.push_str(&format!("\nand {more} more: switchyard task lint lists them all")),
    }
    first.bounded()
}

/// The place of a problem, as in `tasks/digest/task.yaml:3:5: `.
fn place(problem: &Diagnostic) -> String {
    let Some(file) = &problem.file else { return String::new() };
    let numbers = [problem.line, problem.column].into_iter().map_while(|number| number);
    let numbers: String = numbers.map(|number| format!(":{number}")).collect();
    format!("{file}{numbers}: ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problem(message: &str, file: Option<&str>, line: Option<u32>) -> Diagnostic {
        let file = file.map(str::to_owned);
        Diagnostic { message: message.to_owned(), file, line, column: line, ..Diagnostic::default() }
    }

    fn set(codes: &[Value]) -> TaskSet {
        let task = |(index, code): (usize, &Value)| json!({"name": format!("t{index}"), "declared_in": "deno.json", "code": code});
        let tasks: Vec<_> = codes.iter().enumerate().map(task).collect();
        serde_json::from_value(json!({ "tasks": tasks })).unwrap()
    }

    #[test]
    fn all_problems_are_told_at_the_place_of_the_first() {
        let merged = merge(vec![
            problem("one", Some("deno.json"), Some(3)),
            problem("two", Some("taskset.yaml"), Some(7)),
            problem("three", None, None),
            problem("four", Some("pipeline.json"), None),
        ]);
        assert_eq!((merged.file.as_deref(), merged.line), (Some("deno.json"), Some(3)));
        assert_eq!(merged.message, "one\ntaskset.yaml:7:7: two\nthree\npipeline.json: four");
    }

    #[test]
    fn a_flood_of_problems_is_cut() {
        let long = "x".repeat(100_000);
        let many = merge((0..1000).map(|_| problem("wrong", None, None)).collect());
        assert!(many.message.ends_with("\nand 979 more: switchyard task lint lists them all"));
        assert!(merge(vec![problem(&long, None, None)]).message.len() < 10_000);
        assert!(!merge(Vec::new()).message.is_empty());
    }

    #[test]
    fn tasks_with_modules_of_their_own_need_no_entry() {
        let module = json!({"kind": "module", "path": "tasks/a.ts"});
        assert!(suffice(&set(std::slice::from_ref(&module))));
        assert!(!suffice(&set(&[])));
        assert!(!suffice(&set(&[module, json!({"kind": "scheduled"})])));
    }
}
