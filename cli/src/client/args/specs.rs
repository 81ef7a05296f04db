//! Which commands there are, and what each takes.

pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// What it is done to, as in `--help`; in brackets when it may be left out.
    pub(super) operand: &'static str,
    pub(super) flags: &'static [Flag],
}

#[derive(Clone, Copy)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    /// What stands for the value in `--help`; empty for a switch.
    pub(super) value: &'static str,
    pub(super) help: &'static str,
}

const fn flag(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, value, help }
}

pub(super) const SPECS: &[Spec] = &[
    Spec {
        name: "deploy",
        about: "sends a folder, and says when it is live",
        operand: "DIR",
        flags: &[
            flag("project", "NAME", "what the project is called [the folder's name]"),
            flag("all", "", "each folder in DIR is a project; all of them go live together, or none"),
            flag("message", "TEXT", "kept in the deploy's record"),
            flag("keep", "", "files that do not build stay on the volume"),
            flag("no-wait", "", "do not wait for the routers"),
            flag("dry-run", "", "show what would be sent and what not, and send nothing; needs no --to"),
            flag("send-packages", "", "send node_modules also where the routers install packages"),
        ],
    },
    Spec { name: "status", about: "says what every router serves", operand: "[PROJECT]", flags: &[] },
    Spec {
        name: "rollback",
        about: "makes an earlier version live again",
        operand: "PROJECT",
        flags: &[flag(
            "version",
            "DIGEST",
            "which one, by its digest or the first 12 digits [the one before]",
        )],
    },
    Spec {
        name: "remove",
        about: "takes a project away; for a while, rollback brings it back with its data",
        operand: "PROJECT",
        flags: &[
            flag("yes", "", "do not ask; required where standard input is not a terminal"),
            flag("delete-data", "", "delete its data now; also that of a project that is removed already"),
        ],
    },
    Spec {
        name: "logs",
        about: "prints what a project printed",
        operand: "PROJECT",
        flags: &[
            flag("lines", "N", "how many of the last lines of each router [100]"),
            flag("follow", "", "go on with new lines until interrupted"),
        ],
    },
];

const COMMON_FLAGS: &[Flag] = &[
    flag("to", "URL", "the bridge; or SWITCHYARD_TO"),
    flag("token-file", "FILE", "holds the token; or the token itself in SWITCHYARD_TOKEN"),
    flag("json", "", "print the bridge's JSON and nothing else"),
];

/// What `spec` takes.
pub(super) fn flags(spec: &Spec) -> impl Iterator<Item = Flag> {
    spec.flags.iter().chain(COMMON_FLAGS).copied()
}

pub(super) fn help(spec: &Spec) -> String {
    let Spec { name, about, operand, .. } = spec;
    let mut text =
        format!("switchyard {name}: {about}\n\nusage: switchyard {name} {operand} --to URL [flags]\n\n");
    for flag in flags(spec) {
        let name = format!("--{} {}", flag.name, flag.value);
        text.push_str(&format!("  {name:<20} {}\n", flag.help));
    }
    text.push_str(
        "\nexit status: 0 done; 1 it does not build, or is not there; 2 refused; 3 no answer in time; \
         64 wrong command line",
    );
    text
}
