//! The order of a pipeline's steps, and the values that pass between them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use switchyard_contract::task::{PipelineSpec, StepSpec};

/// The number of each step, by name.
pub(super) fn numbers(spec: &PipelineSpec) -> BTreeMap<String, u64> {
    (0..).zip(&spec.steps).map(|(number, step)| (step.name.clone(), number)).collect()
}

/// The steps that a step needs: those that it names, or the one before it.
pub(super) fn needs(spec: &PipelineSpec, step: &StepSpec) -> Vec<String> {
    if let Some(needs) = &step.needs {
        return needs.clone();
    }
    let position = spec.steps.iter().position(|other| other.name == step.name).unwrap_or_default();
    let before = position.checked_sub(1).and_then(|before| spec.steps.get(before));
    before.map(|before| before.name.clone()).into_iter().collect()
}

/// The input of a step: the result of the step that it needs, an object of results by name if it needs
/// several, or the pipeline's own input if it needs none.
pub(super) fn step_input(
    spec: &PipelineSpec,
    step: &StepSpec,
    input: &Value,
    results: &BTreeMap<String, Value>,
) -> Value {
    let result = |name: &String| results.get(name).cloned().unwrap_or_default();
    match needs(spec, step).as_slice() {
        [] => input.clone(),
        [only] => result(only),
        several => Value::Object(several.iter().map(|name| (name.clone(), result(name))).collect()),
    }
}

/// The result of a pipeline: that of the step that no other needs, or an object of theirs.
pub(super) fn result(spec: &PipelineSpec, results: &BTreeMap<String, Value>) -> Value {
    let needed: BTreeSet<_> = spec.steps.iter().flat_map(|step| needs(spec, step)).collect();
    let last: Vec<_> = spec.steps.iter().filter(|step| !needed.contains(&step.name)).collect();
    let result = |step: &StepSpec| results.get(&step.name).cloned().unwrap_or_default();
    match last.as_slice() {
        [only] => result(only),
        several => {
            Value::Object(several.iter().map(|step| (step.name.clone(), result(step))).collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use switchyard_contract::task::{Consistency, TaskName};

    use super::*;

    fn step(name: &str, needs: Option<&[&str]>) -> StepSpec {
        let needs = needs.map(|needs| needs.iter().map(|need| (*need).to_owned()).collect());
        let (config, timeout_ms, retry) = Default::default();
        StepSpec { name: name.to_owned(), task: name.to_owned(), needs, config, timeout_ms, retry }
    }

    fn pipeline(steps: Vec<StepSpec>) -> PipelineSpec {
        PipelineSpec {
            name: TaskName::parse("p").unwrap(),
            description: None,
            declared_in: "deno.json".to_owned(),
            steps,
            triggers: Vec::new(),
            overlap: Default::default(),
            params: Vec::new(),
            version: Consistency::Run,
            enabled: true,
        }
    }

    #[test]
    fn steps_of_a_list_follow_each_other() {
        let spec = pipeline(vec![step("a", None), step("b", None), step("c", None)]);
        assert!(needs(&spec, &spec.steps[0]).is_empty());
        assert_eq!(needs(&spec, &spec.steps[2]), ["b"]);
        let results = BTreeMap::from([("a".to_owned(), json!(1)), ("b".to_owned(), json!(2))]);
        assert_eq!(step_input(&spec, &spec.steps[0], &json!("seed"), &results), json!("seed"));
        assert_eq!(step_input(&spec, &spec.steps[2], &json!("seed"), &results), json!(2));
    }

    #[test]
    fn a_step_with_several_needs_gets_their_results_by_name() {
        let spec = pipeline(vec![
            step("a", Some(&[])),
            step("b", Some(&[])),
            step("c", Some(&["a", "b"])),
            step("d", Some(&["a"])),
        ]);
        let results = BTreeMap::from([("a".to_owned(), json!(1)), ("b".to_owned(), json!(2))]);
        assert_eq!(step_input(&spec, &spec.steps[2], &Value::Null, &results), json!({"a": 1, "b": 2}));
        let results = BTreeMap::from([("c".to_owned(), json!(3)), ("d".to_owned(), json!(4))]);
        assert_eq!(result(&spec, &results), json!({"c": 3, "d": 4}));
    }
}
