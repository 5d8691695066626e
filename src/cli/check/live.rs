//! `loadline check --live`.

use std::{ffi::OsString, fmt::Write as _, path::PathBuf, time::Duration};

use anstyle::{AnsiColor, Style};
use clap::Args;

use super::output::{shown, style};
use crate::{
    cli::{
        Command, SERVE,
        flags::{CredentialFlags, Serve, UsageError},
        one_line, parse,
    },
    core::{
        duration,
        installation::{Finding, NOT_CHECKED, is_well},
        lint::Severity,
        rules::CredentialPolicy,
    },
    explain::{cluster::Cluster, files},
    installation::{self, Scope, Source},
    rules_file::Rules,
};

#[derive(Args, Debug)]
#[command(next_help_heading = "Installation")]
pub(super) struct LiveFlags {
    /// Check the installation in the cluster, too: registrations, rights, autoscalers and, with the arguments of the server,
    /// backends and rules
    #[arg(long)]
    live: bool,

    /// Kubeconfig of the cluster [default: as kubectl, or the cluster that it runs in]
    #[arg(long, value_name = "FILE", requires = "live")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: the current one]
    #[arg(long, value_name = "NAME", requires = "live")]
    context: Option<String>,

    /// Namespace of the autoscalers [default: all]
    #[arg(short, long, value_name = "NAMESPACE", requires = "live")]
    namespace: Option<String>,

    /// How long the check of the installation may take
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration::parse_go, requires = "live")]
    timeout: Duration,

    /// With --live, after --: the arguments of `loadline serve`, to ask its backends by its rules
    #[arg(last = true, value_name = "ARGUMENTS OF SERVE", requires = "live", help_heading = None)]
    serve: Vec<OsString>,
}

/// A check of an installation.
pub(super) struct Live<'f> {
    flags: &'f LiveFlags,
    /// How the server that is installed was started.
    server: Option<Box<Serve>>,
}

impl LiveFlags {
    /// Reads the arguments of the server; nothing where no installation is to be checked.
    pub(super) fn read(&self) -> anyhow::Result<Option<Live<'_>>> {
        if !self.live {
            return Ok(None);
        }
        if self.serve.is_empty() {
            return Ok(Some(Live { flags: self, server: None }));
        }
        let first = self.serve.first().is_some_and(|first| first == SERVE);
        let command = ["loadline", SERVE].into_iter().map(OsString::from);
        let own = self.serve.iter().skip(usize::from(first)).cloned();
        let usage = |text: String| UsageError(format!("the arguments of serve: {text}"));
        let cli = parse(command.chain(own)).map_err(|error| usage(one_line(&error)))?;
        let Command::Serve(server) = cli.command else {
            return Err(usage("they are those of another command".to_owned()).into());
        };
        if server.rules.config.is_none() && server.rules.config_maps()?.is_none() {
            return Err(usage("--config is required".to_owned()).into());
        }
        Ok(Some(Live { flags: self, server: Some(server) }))
    }
}

impl Live<'_> {
    /// The rules file of the server.
    pub(super) fn config(&self) -> Option<&PathBuf> {
        self.server.as_ref()?.rules.config.as_ref()
    }

    /// What backends of the rules file may use: what the server says or, where it is not known, the flags of the check.
    pub(super) fn policy(&self, own: &CredentialFlags) -> Result<CredentialPolicy, UsageError> {
        self.server.as_ref().map_or(own, |server| &server.credentials).policy()
    }

    /// Checks the installation. An error means that it could not be checked; it has an exit code of its own.
    pub(super) fn run(&self) -> Result<Vec<Finding>, UsageError> {
        self.findings().map_err(|error| UsageError(format!("{error:#}")))
    }

    fn findings(&self) -> anyhow::Result<Vec<Finding>> {
        let source = self.server.as_deref().map(source).transpose()?;
        let Self { flags, .. } = self;
        let scope = Scope { namespace: flags.namespace.clone(), timeout: flags.timeout };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let cluster = Cluster::connect(flags.kubeconfig.as_deref(), flags.context.as_deref());
            let cluster = cluster.await?;
            if let Err(why) = cluster.answers().await {
                anyhow::bail!("the cluster does not answer: {why}");
            }
            Ok(Box::pin(installation::check(&cluster, source, &scope)).await?)
        })
    }
}

fn source(server: &Serve) -> anyhow::Result<Source> {
    let rules = server.rules.config.as_deref().map(files::rules).transpose();
    let rules = rules.map_err(|error| anyhow::anyhow!("--config: {error}"))?;
    Ok(Source {
        prometheus: server.prometheus.config()?,
        policy: server.credentials.policy()?,
        // The rules of ConfigMaps are those of the cluster, which the server knows.
        rules: rules.unwrap_or_else(Rules::none),
        config_maps: server.rules.config_maps()?.map(|settings| settings.namespaces),
    })
}

/// A report in parts, with colours, which the writer removes if they are not wanted.
pub(super) fn text(findings: &[Finding]) -> String {
    let mut out = String::new();
    let mut last = "";
    for finding in findings {
        let section = finding.subject.section();
        // Writing to a String does not fail.
        if section != last {
            writeln!(out, "{section}").unwrap_or_default();
            last = section;
        }
        line(&mut out, finding).unwrap_or_default();
    }
    out
}

const GOOD: Style = AnsiColor::Green.on_default().bold();

fn line(out: &mut String, finding: &Finding) -> std::fmt::Result {
    let Finding { subject, severity, code, message, help } = finding;
    let (mark, style) = match severity {
        Severity::Error => ('✗', style(*severity)),
        Severity::Warning => ('!', style(*severity)),
        Severity::Info if *code == NOT_CHECKED => ('·', style(*severity)),
        Severity::Info => ('✓', GOOD),
    };
    write!(out, "  {style}{mark}{style:#} ")?;
    let name = subject.name();
    if !message.starts_with(&name) {
        write!(out, "{}: ", shown(&name))?;
    }
    write!(out, "{}", shown(message))?;
    if !is_well(code) {
        write!(out, " [{code}]")?;
    }
    writeln!(out)?;
    if !help.is_empty() {
        writeln!(out, "      = help: {}", shown(help))?;
    }
    Ok(())
}
