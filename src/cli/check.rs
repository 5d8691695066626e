//! `loadline check`.

mod live;
mod output;

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{ArgAction, Args, ValueEnum};

use self::{
    live::{Live, LiveFlags},
    output::{Checked, Report},
};
use super::flags::{CredentialFlags, UsageError};
use crate::{
    core::{
        installation::{self, Finding},
        lint::{self, SaidOfTeams, Severity},
        rules::{CredentialPolicy, FileName},
        rules_files::Given,
        yaml,
    },
    rules_file::{ConfigPath, text_of},
};

/// The flags of `check`.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Flags {
    /// Rules file, a folder of rules files, or a manifest or Helm values with the rules; - is standard input; repeatable
    #[arg(short, long, value_name = "PATH", action = ArgAction::Append)]
    config: Vec<PathBuf>,

    /// More rules files, or folders
    #[arg(value_name = "PATH")]
    files: Vec<PathBuf>,

    /// Output format
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Form::Text)]
    output: Form,

    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,

    /// Include informational findings, which are often intentional
    #[arg(short, long)]
    verbose: bool,

    #[command(flatten)]
    live: LiveFlags,

    #[command(flatten)]
    credentials: CredentialFlags,
}

const EXIT_CODES: &str = "Exit codes: 0 no errors, 1 errors (with --strict also warnings), 2 invalid usage, a file cannot be read, or with --live the cluster does not answer";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// Human-readable, with the lines of the file
    Text,
    /// A JSON array
    Json,
    /// Annotations of GitHub Actions
    Github,
}

/// What standard input is called.
const STDIN: &str = "<stdin>";

/// Checks the files, and says by the exit code whether something was found.
pub(super) fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let live = flags.live.read()?;
    let of_server = live.as_ref().and_then(Live::config);
    let paths: Vec<_> = flags.config.iter().chain(&flags.files).chain(of_server).collect();
    if paths.is_empty() && live.is_none() {
        let text = "a rules file is required: loadline check -c FILE";
        return Err(UsageError(text.to_owned()).into());
    }
    let policy = match &live {
        Some(live) => live.policy(&flags.credentials)?,
        None => flags.credentials.policy()?,
    };
    let mut checked = Vec::new();
    let mut unreadable = false;
    let read: Vec<_> = paths.into_iter().map(|path| Input::read(path)).collect();
    // Rules of teams in the other files are for the server that reads these.
    let teams = read.iter().flatten().filter_map(Input::team_policy).reduce(SaidOfTeams::or);
    for input in read {
        match input {
            Ok(Input::File(name, text)) => {
                let findings = lint::check_with(&text, &policy, teams.as_ref());
                checked.push(Checked::new(name, text, findings, flags.verbose));
            }
            Ok(Input::Folder(files, errors)) => {
                checked.extend(folder(files, flags.verbose, &policy));
                unreadable |= !errors.is_empty();
                for error in errors {
                    writeln!(io::stderr(), "loadline: {error}").unwrap_or_default();
                }
            }
            Err(error) => {
                unreadable = true;
                // A closed standard error leaves only the exit code.
                writeln!(io::stderr(), "loadline: {error}").unwrap_or_default();
            }
        }
    }
    let found: Option<Vec<Finding>> = live.as_ref().map(Live::run).transpose()?;
    let report = Report {
        files: &checked,
        installation: found.as_deref(),
        rules: of_server.map(|path| path.display().to_string()),
    };
    let shown = match flags.output {
        Form::Text => output::text(&report),
        Form::Json => output::json(&report)?,
        Form::Github => output::github(&report),
    };
    let mut stdout = anstream::stdout();
    if let Err(error) = stdout.write_all(shown.as_bytes()).and_then(|()| stdout.flush()) {
        writeln!(io::stderr(), "loadline: standard output: {error}").unwrap_or_default();
        return Ok(ExitCode::from(2));
    }
    let is_anything_read = !checked.is_empty() || found.is_some();
    if is_anything_read && matches!(flags.output, Form::Text) {
        writeln!(anstream::stderr(), "{}", output::summary(&report)).unwrap_or_default();
    }
    let least = if flags.strict { Severity::Warning } else { Severity::Error };
    let of_files = checked.iter().filter_map(Checked::gravest);
    let of_installation = found.as_deref().and_then(installation::gravest);
    let is_blind = found.as_deref().is_some_and(installation::is_blind);
    let is_found = of_files.chain(of_installation).any(|found| found <= least);
    Ok(ExitCode::from(match (unreadable || is_blind, is_found) {
        (true, _) => 2,
        (false, true) => 1,
        (false, false) => 0,
    }))
}

/// What a path has.
enum Input {
    /// A file: its name for people, and its text.
    File(String, String),
    /// A folder: the names of its files for people, and the files; and why others cannot be read.
    Folder(Vec<(String, (FileName, Arc<str>))>, Vec<String>),
}

impl Input {
    fn read(path: &Path) -> Result<Self, String> {
        if !path.is_dir() {
            let (name, text) = read(path);
            let text = text.map_err(|error| format!("cannot read {name}: {error}"))?;
            return Ok(Self::File(name, text));
        }
        let mut files = Vec::new();
        let mut errors = Vec::new();
        for Given { name, location, text } in ConfigPath::Folder(path.to_owned()).read_some()? {
            match text {
                Ok(text) => files.push((location.to_string(), (name, text))),
                Err(why) => errors.push(format!("{location}: {why}")),
            }
        }
        Ok(Self::Folder(files, errors))
    }

    /// What teams may do by what stands there.
    fn team_policy(&self) -> Option<SaidOfTeams> {
        match self {
            Self::File(_, text) => lint::team_policy([text.as_str()]),
            Self::Folder(files, _) => {
                let files: Vec<_> = files.iter().map(|(_, file)| file.clone()).collect();
                lint::team_policy_of(&files)
            }
        }
    }
}

/// Checks the files of a folder as the server uses them: together.
fn folder(
    files: Vec<(String, (FileName, Arc<str>))>,
    tells_all: bool,
    policy: &CredentialPolicy,
) -> Vec<Checked> {
    let (names, texts): (Vec<_>, Vec<_>) = files.into_iter().unzip();
    let mut findings = lint::check_files(&texts, policy);
    let checked = names.into_iter().zip(texts).map(|(shown, (name, text))| {
        let findings = findings.remove(&name).unwrap_or_default();
        Checked::new(shown, text.to_string(), findings, tells_all)
    });
    checked.collect()
}

/// A file's name for people, and as much of it as is ever read of a rules file.
fn read(path: &Path) -> (String, io::Result<String>) {
    if path.as_os_str() == "-" {
        return (STDIN.to_owned(), text_of(&mut io::stdin().lock(), yaml::MAX_BYTES));
    }
    let text = File::open(path).and_then(|mut file| text_of(&mut file, yaml::MAX_BYTES));
    (path.display().to_string(), text)
}
