//! The declarations in deno.json: tasks, pipelines, the registry and the schedules of `scheduled`.

use switchyard_contract::task::{CronTrigger, Overlap, Retry, TaskCode, TaskName, TaskSpec, TaskTrigger};
use switchyard_detect::entry::CONFIG_FILES;

use super::{
    Fields, Folder, Found, Gathered, Kind, Node, Place, Placed, Report, cron, json, pipelines, task,
};

/// The keys of `switchyard` that are about tasks.
pub const KEYS: [&str; 4] = ["tasks", "pipelines", "registry", "crons"];

/// The task of a Worker's handler `scheduled`.
const SCHEDULED: &str = "scheduled";

/// The registry where pipelines name none.
const REGISTRIES: [&str; 4] = ["tasks/index.js", "tasks/index.ts", "tasks/index.mjs", "tasks/index.mts"];

/// Reads deno.json, and what belongs to pipelines beside it.
pub(super) fn read(folder: &Folder, gathered: &mut Gathered) {
    let config = file(folder, &mut gathered.report);
    let own = config.as_ref().and_then(|config| config.get("switchyard"));
    let report = &mut gathered.report;
    if let Some(tasks) = own.and_then(|own| own.get("tasks")) {
        let sets = config.as_ref().and_then(|config| config.get("permissions"));
        let pairs = Fields::any(tasks, "switchyard.tasks", report);
        for pair in pairs.iter().flat_map(Fields::pairs) {
            gathered.tasks.extend(task::read(pair, folder, sets, report));
        }
    }
    let mut files = Vec::new();
    if let Some(declared) = own.and_then(|own| own.get("pipelines")) {
        files = pipelines::named_files(declared);
        let pairs = Fields::any(declared, "switchyard.pipelines", report);
        for pair in pairs.iter().flat_map(Fields::pairs) {
            gathered.pipelines.extend(pipelines::inline(pair, folder, report));
        }
    }
    gathered.pipelines.extend(pipelines::files(folder, &files, report));
    gathered.registry = registry(own, folder, !gathered.pipelines.is_empty(), report);
    gathered.tasks.extend(scheduled(own, folder, report));
}

fn file(folder: &Folder, report: &mut Report) -> Option<Node> {
    let file = CONFIG_FILES.into_iter().find(|file| folder.has(file))?;
    let mut unrelated = Report::default();
    match folder.text(file).and_then(|text| json::read(file, &text.unwrap_or_default(), &mut unrelated)) {
        Ok(node) => {
            // Keys that occur twice elsewhere in it are not about tasks.
            let pairs = node.map().unwrap_or_default();
            let own = pairs.iter().position(|pair| pair.key == "switchyard");
            let start = |index: usize| pairs.get(index).map(|pair| (pair.place.line, pair.place.column));
            let (from, to) = own.map_or((None, None), |own| (start(own), start(own + 1)));
            unrelated.problems.retain(|problem| {
                let at = problem.line.zip(problem.column);
                from.is_some() && at >= from && to.is_none_or(|to| at < Some(to))
            });
            report.problems.append(&mut unrelated.problems);
            Some(node)
        }
        Err(problem) => {
            report.refuse(problem);
            None
        }
    }
}

fn registry(own: Option<&Node>, folder: &Folder, is_needed: bool, report: &mut Report) -> Option<String> {
    if let Some(own) = own.filter(|own| own.get("registry").is_some()) {
        let fields = Fields::any(own, "switchyard", report)?;
        return task::module(&fields, "registry", folder, report);
    }
    folder.first_of(REGISTRIES.map(str::to_owned)).filter(|_| is_needed)
}

/// The task of `scheduled`: Workers count weekdays from 1 for Sunday.
fn scheduled(own: Option<&Node>, folder: &Folder, report: &mut Report) -> Option<Found<TaskSpec>> {
    let rules = CronTrigger { sunday_is_one: true, ..cron::plain() };
    let mut schedules = Vec::new();
    let mut place = None;
    let declared = own.filter(|own| own.get("crons").is_some());
    if let Some(fields) = declared.and_then(|own| Fields::any(own, "switchyard", report)) {
        place = Some(fields.place_of("crons").clone());
        schedules
            .extend(cron::read(&fields, "crons", &rules, report).into_iter().flat_map(|cron| cron.schedules));
    }
    // A wrong file is reported by the build, which reads all of it.
    if let Ok(Some(worker)) = switchyard_detect::wrangler::read(folder.path(), None)
        && !worker.crons.is_empty()
    {
        let file = Place::whole(&worker.file);
        let texts =
            worker.crons.iter().map(|cron| Node { kind: Kind::Text(cron.clone()), place: file.clone() });
        let list = Node { kind: Kind::List(texts.collect()), place: file.clone() };
        let mut triggers = Node::empty(file.clone());
        triggers.put(super::Pair { key: "crons".to_owned(), place: file.clone(), value: list });
        let fields = Fields::any(&triggers, "triggers", report)?;
        let read = cron::read(&fields, "crons", &rules, report);
        schedules.extend(read.into_iter().flat_map(|cron| cron.schedules));
        place.get_or_insert(file);
    }
    let place = place.filter(|_| !schedules.is_empty())?;
    let mut seen = std::collections::HashSet::new();
    schedules.retain(|schedule| seen.insert(schedule.clone()));
    let trigger = TaskTrigger::Cron(CronTrigger { schedules, ..rules });
    let spec = TaskSpec {
        name: TaskName::parse(SCHEDULED).ok()?,
        description: None,
        declared_in: place.file.to_string(),
        code: TaskCode::Scheduled,
        triggers: Vec::new(),
        timeout_ms: None,
        overlap: Overlap::default(),
        retry: Retry::default(),
        params: Vec::new(),
        version: Default::default(),
        permissions: None,
        enabled: true,
        keep_inputs: false,
    };
    let triggers = vec![Placed { value: trigger, place: place.clone() }];
    Some(Found::new(spec, place, triggers))
}
