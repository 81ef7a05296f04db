//! `init`: a new project from a template. The templates are examples of this repository.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use switchyard_contract::project::{ProjectName, is_ignored};
use switchyard_contract::visible;
use switchyard_program::settings::EXIT_USAGE;

use crate::client::fail;

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Folder of the new project, made if missing. Its name is the project's
    #[arg(value_name = "NAME")]
    folder: PathBuf,

    /// The project to begin with: hello, hono, express, react, websocket, cron, static or task
    #[arg(long, value_name = "TEMPLATE", default_value = "hello", hide_possible_values = true)]
    template: Template,
}

/// The templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Template {
    Hello,
    Hono,
    Express,
    React,
    Websocket,
    Cron,
    Static,
    Task,
}

/// A file of a template: its path in the project, and its text.
type TemplateFile = (&'static str, &'static str);

/// A file of an example.
macro_rules! example {
    ($path:literal) => {
        include_str!(concat!("../../examples/projects/", $path))
    };
}

/// What git must not keep: packages, and variables that may be secrets.
const GITIGNORE: TemplateFile = (".gitignore", "node_modules/\n.env\n");

const PACKAGE_FILE: &str = "package.json";

impl Template {
    fn files(self) -> &'static [TemplateFile] {
        match self {
            Self::Hello => &[("main.ts", example!("hello/main.ts"))],
            Self::Hono => {
                &[("main.ts", example!("hono/main.ts")), (PACKAGE_FILE, example!("hono/package.json"))]
            }
            Self::Express => {
                &[("main.js", example!("express/main.js")), (PACKAGE_FILE, example!("express/package.json"))]
            }
            Self::React => &[
                ("main.tsx", example!("react/main.tsx")),
                ("page.tsx", example!("react/page.tsx")),
                ("deno.json", example!("react/deno.json")),
                (PACKAGE_FILE, example!("react/package.json")),
            ],
            Self::Websocket => {
                &[("main.ts", example!("chat/main.ts")), ("page.ts", example!("chat/page.ts"))]
            }
            Self::Cron => &[("main.ts", example!("cron/main.ts")), ("page.ts", example!("cron/page.ts"))],
            Self::Static => &[
                ("index.html", include_str!("init/static/index.html")),
                ("style.css", include_str!("init/static/style.css")),
            ],
            Self::Task => &[
                ("main.ts", include_str!("init/task/main.ts")),
                ("tasks/greet.ts", include_str!("init/task/greet.ts")),
                ("deno.json", include_str!("init/task/deno.json")),
            ],
        }
    }

    /// Returns true if npm has to install packages before it builds.
    fn has_packages(self) -> bool {
        self.files().iter().any(|(path, _)| *path == PACKAGE_FILE)
    }

    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// Writes the project, and prints how to go on.
pub(crate) fn run(args: &InitArgs) -> ExitCode {
    let folder = &args.folder;
    let name = match project_name(folder) {
        Ok(name) => name,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "switchyard: NAME: {}", visible::block(&problem));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match write(folder, args.template, &name) {
        Ok(()) => {
            let _ = writeln!(io::stdout(), "{}", next_steps(folder, args.template));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.to_string()),
    }
}

/// Returns the name of the project in `folder`.
fn project_name(folder: &Path) -> Result<ProjectName, String> {
    if folder.as_os_str().is_empty() {
        return Err("is empty: name a new folder, or . for this one".to_owned());
    }
    let absolute = std::path::absolute(folder).map_err(|error| error.to_string())?;
    if absolute.exists() && !absolute.is_dir() {
        return Err(format!("{} is a file: name a new folder", folder.display()));
    }
    let name = absolute.file_name().unwrap_or_default().to_string_lossy();
    if is_ignored(&name) {
        return Err(format!("a folder called {name} is never a project: choose another name"));
    }
    ProjectName::parse(&name).map_err(|error| error.to_string())
}

/// Writes the files of the template. Nothing is overwritten.
fn write(folder: &Path, template: Template, name: &ProjectName) -> io::Result<()> {
    let shown = folder.display();
    let cannot = |error: io::Error| io::Error::new(error.kind(), format!("cannot write to {shown}: {error}"));
    fs::create_dir_all(folder).map_err(cannot)?;
    // A repository that was just made is empty too.
    let is_filled =
        |entry: &io::Result<fs::DirEntry>| entry.as_ref().is_ok_and(|entry| entry.file_name() != ".git");
    if fs::read_dir(folder).map_err(cannot)?.any(|entry| is_filled(&entry)) {
        return Err(io::Error::other(format!("{shown} is not empty: name a new folder")));
    }
    for (path, text) in template.files().iter().chain([&GITIGNORE]) {
        let file = folder.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(cannot)?;
        }
        let example = format!("\"{}-example\"", template.name());
        fs::write(
            &file,
            text.replace(&example, &format!("\"{name}\"")).replace("NAME:", &format!("{name}:")),
        )
        .map_err(cannot)?;
    }
    Ok(())
}

fn next_steps(folder: &Path, template: Template) -> String {
    let files: Vec<_> = template.files().iter().map(|(path, _)| *path).collect();
    let shown = visible::word(&folder.display().to_string()).into_owned();
    let mut text = format!("{shown}: {}\n\nNext:\n", files.join(", "));
    if folder != Path::new(".") {
        text.push_str(&format!("    cd {shown}\n"));
    }
    if template.has_packages() {
        text.push_str("    npm install\n");
    }
    text.push_str("    switchyard dev");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_template_is_written_under_the_name_of_its_project() {
        let dir = tempfile::tempdir().unwrap();
        for template in Template::value_variants() {
            let folder = dir.path().join(format!("my-{}", template.name()));
            let name = project_name(&folder).unwrap();
            write(&folder, *template, &name).unwrap();
            for (path, _) in template.files() {
                let text = fs::read_to_string(folder.join(path)).unwrap();
                assert!(!text.contains("-example") && !text.contains("NAME"), "{path}: {text}");
            }
            let has_packages = folder.join(PACKAGE_FILE).exists();
            assert_eq!(next_steps(&folder, *template).contains("npm install"), has_packages);
        }
    }

    #[test]
    fn nothing_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        let name = ProjectName::parse("mine").unwrap();
        write(dir.path(), Template::Hello, &name).unwrap();
        let error = write(dir.path(), Template::Hono, &name).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
        assert!(!dir.path().join(PACKAGE_FILE).exists());
    }

    #[test]
    fn a_folder_with_another_name_than_projects_have_is_refused() {
        assert!(project_name(Path::new("my app")).is_err());
        assert!(project_name(Path::new("a/b.c")).is_err());
        for (folder, why) in
            [("", "is empty"), ("node_modules", "is never a project"), ("Cargo.toml", "is a file")]
        {
            let error = project_name(Path::new(folder)).unwrap_err();
            assert!(error.contains(why), "{folder}: {error}");
        }
        assert_eq!(project_name(Path::new("a/mine")).unwrap().as_str(), "mine");
    }
}
