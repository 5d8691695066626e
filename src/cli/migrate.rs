//! `loadline migrate`.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{ArgAction, Args, ValueEnum};
use serde_json::Value;
use url::Url;

use super::flags::UsageError;
use crate::{
    core::{
        explain::workload::Documents,
        migrate::{self, Migration, Note, Settings},
        rules::{self, http_url},
        yaml,
    },
    explain::files,
    kubernetes::reader::{Reader, Unread},
};

/// The flags of `migrate`.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Flags {
    /// What the autoscalers are of
    #[arg(value_enum, value_name = "FROM")]
    from: Origin,

    /// More manifests
    #[arg(value_name = "FILE")]
    more: Vec<PathBuf>,

    /// Manifests: a file, a folder, or - for standard input; repeatable; without any, the objects of the cluster
    #[arg(short, long = "filename", value_name = "FILE", action = ArgAction::Append)]
    files: Vec<PathBuf>,

    /// Namespace: of the cluster's objects, and of those of files that name none
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    namespace: Option<String>,

    /// The objects of all namespaces of the cluster
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// Kubeconfig of the cluster [default: as kubectl]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// The --prometheus-url of your server: rules for it need no backend
    #[arg(long, value_name = "URL", value_parser = url)]
    prometheus_url: Option<Url>,

    /// Servers that kube-metrics-adapter knows by a name; repeatable
    #[arg(long, value_name = "NAME=URL", value_parser = alias, value_delimiter = ',')]
    additional_prometheus_server: Vec<(String, Url)>,

    /// What is printed
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Form::Manifests)]
    output: Form,
}

const EXIT_CODES: &str =
    "Exit codes: 0 all has moved, 1 something cannot, 2 invalid usage or a file cannot be read";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Origin {
    /// KEDA's objects
    Keda,
    /// HorizontalPodAutoscalers with annotations of kube-metrics-adapter
    KubeMetricsAdapter,
    /// A rules file: proposes the rules of the team of --namespace
    Rules,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// The autoscalers, and a ConfigMap with the rules
    Manifests,
    /// The autoscalers
    Hpa,
    /// The rules file
    Rules,
}

/// Migrates, and says by the exit code whether all has moved.
pub(super) fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let settings = Settings {
        namespace: flags.namespace.clone(),
        prometheus: flags.prometheus_url.clone(),
        aliases: flags.additional_prometheus_server.iter().cloned().collect(),
    };
    let paths: Vec<_> = flags.files.iter().chain(&flags.more).collect();
    let (migrate, kind): (fn(_, &_) -> _, _) = match flags.from {
        Origin::Keda => (migrate::keda, "ScaledObject"),
        Origin::KubeMetricsAdapter => {
            (migrate::kube_metrics_adapter, "HorizontalPodAutoscaler of kube-metrics-adapter")
        }
        Origin::Rules => return team_rules(flags, &paths),
    };
    let documents = if paths.is_empty() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(of_cluster(flags))?
    } else {
        let mut all = Documents::default();
        for path in paths {
            all.extend(of_file(path).map_err(UsageError)?);
        }
        all.into_values()
    };
    let migration: Migration = migrate(documents, &settings);
    if migration.objects() == 0 {
        return Err(UsageError(format!("there is no {kind}")).into());
    }
    print(flags.output, &migration)
}

fn print(form: Form, migration: &Migration) -> anyhow::Result<ExitCode> {
    let text = match form {
        Form::Manifests => migration.manifests_yaml(),
        Form::Hpa => migration.autoscalers_yaml(),
        Form::Rules => migration.rules_yaml(),
    };
    write(migration.notes(), &text, migration.is_whole())
}

/// Proposes the rules of a team.
fn team_rules(flags: &Flags, paths: &[&PathBuf]) -> anyhow::Result<ExitCode> {
    let Some(namespace) = &flags.namespace else {
        return Err(
            UsageError("--namespace is required: whose rules are wanted?".to_owned()).into()
        );
    };
    let [path] = paths else {
        return Err(UsageError("one rules file is required: -f FILE".to_owned()).into());
    };
    if !matches!(flags.output, Form::Manifests) {
        return Err(UsageError("rules of teams are manifests: omit --output".to_owned()).into());
    }
    let text = text_of(path).map_err(UsageError)?;
    let rules = rules::load(&text).map_err(|problems| {
        let problem = problems.first().map(ToString::to_string).unwrap_or_default();
        UsageError(format!("{}: {problem}", path.display()))
    })?;
    let proposed = migrate::team_rules(&rules, namespace);
    if proposed.notes().is_empty() && proposed.manifests().next().is_none() {
        return Err(UsageError("there is no rule".to_owned()).into());
    }
    write(proposed.notes(), &proposed.manifests_yaml(), proposed.is_whole())
}

/// Writes the notes and the text, and says by the exit code whether all has moved.
fn write(notes: &[Note], text: &str, is_whole: bool) -> anyhow::Result<ExitCode> {
    let mut stderr = anstream::stderr();
    for note in notes {
        // A closed standard error leaves the comments and the exit code.
        writeln!(stderr, "{note}").unwrap_or_default();
    }
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        anyhow::bail!("standard output: {error}");
    }
    Ok(ExitCode::from(u8::from(!is_whole)))
}

fn of_file(path: &Path) -> Result<Documents, String> {
    if path.as_os_str() != "-" {
        return files::documents(path);
    }
    files::documents_of(&text_of(path)?).map_err(|error| format!("<stdin>: {error}"))
}

/// The text of a file, or of standard input.
fn text_of(path: &Path) -> Result<String, String> {
    let limit = u64::try_from(yaml::MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    let (name, read) = if path.as_os_str() == "-" {
        ("<stdin>".to_owned(), io::stdin().lock().take(limit).read_to_string(&mut text))
    } else {
        let file = File::open(path);
        let read = file.and_then(|file| file.take(limit).read_to_string(&mut text));
        (path.display().to_string(), read)
    };
    read.map_err(|error| format!("{name}: {error}"))?;
    if text.len() > yaml::MAX_BYTES {
        return Err(format!("{name}: more than {} bytes", yaml::MAX_BYTES));
    }
    Ok(text)
}

/// The objects of a cluster, with the rights of the user.
async fn of_cluster(flags: &Flags) -> anyhow::Result<Vec<Value>> {
    let reader = Reader::connect(flags.kubeconfig.as_deref(), flags.context.as_deref()).await;
    let reader = reader.map_err(|error| UsageError(error.to_string()))?;
    let namespace = flags.namespace.as_deref().unwrap_or(reader.namespace());
    let place =
        if flags.all_namespaces { String::new() } else { format!("namespaces/{namespace}/") };
    let (main, others): (_, &[_]) = match flags.from {
        Origin::Keda => (
            ("keda.sh/v1alpha1", "scaledobjects", "ScaledObject"),
            &[
                ("scaledjobs", "ScaledJob"),
                ("triggerauthentications", "TriggerAuthentication"),
                ("clustertriggerauthentications", "ClusterTriggerAuthentication"),
            ],
        ),
        // Rules are in a file.
        Origin::KubeMetricsAdapter | Origin::Rules => {
            (("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"), &[])
        }
    };
    let (version, resource, kind) = main;
    let path = format!("/apis/{version}/{place}{resource}");
    let mut all = match list(&reader, &path, version, kind).await {
        Ok(found) => found,
        Err(unread) if unread.is_absent() => {
            return Err(UsageError(format!("the cluster has no {resource} of {version}")).into());
        }
        Err(unread) => anyhow::bail!("{resource} cannot be listed: {unread}"),
    };
    for (resource, kind) in others {
        let place = if resource.starts_with("cluster") { "" } else { &place };
        let path = format!("/apis/{version}/{place}{resource}");
        match list(&reader, &path, version, kind).await {
            Ok(found) => all.extend(found),
            Err(unread) if unread.is_absent() => {}
            // What refers to one of these is said to miss it.
            Err(unread) if unread.is_forbidden() => {
                writeln!(io::stderr(), "loadline: {resource} are not read: {unread}")
                    .unwrap_or_default();
            }
            Err(unread) => anyhow::bail!("{resource} cannot be listed: {unread}"),
        }
    }
    Ok(all)
}

/// The objects of a list, as documents of their own.
async fn list(
    reader: &Reader,
    path: &str,
    version: &str,
    kind: &str,
) -> Result<Vec<Value>, Unread> {
    let mut found = reader.list(path, kind).await?;
    for object in found.iter_mut().filter_map(Value::as_object_mut) {
        object.insert("apiVersion".to_owned(), version.into());
    }
    Ok(found)
}

fn url(text: &str) -> Result<Url, String> {
    http_url(text.trim_end_matches('/'))
}

fn alias(text: &str) -> Result<(String, Url), String> {
    let (name, address) = text.split_once('=').ok_or("NAME=URL is expected")?;
    Ok((name.to_owned(), url(address)?))
}
