//! The command line: one file for each subcommand.

mod arguments;
mod check;
mod compare;
#[cfg(feature = "demo")]
mod demo;
mod explain;
mod flags;
mod logging;
mod migrate;
mod serve;
mod signals;
mod simulate;

use std::{ffi::OsString, io::Write as _, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, error::ErrorKind};

use arguments::{Arguments, is_no_word};

/// Turns Prometheus queries into the metric values that HorizontalPodAutoscalers scale on.
///
/// Without a subcommand it runs `serve`, with prometheus-adapter's flags.
#[derive(Debug, Parser)]
#[command(name = "loadline", version, args_override_self = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the metrics APIs of a rules file
    Serve(Box<flags::Serve>),
    /// Check rules files for errors and likely mistakes
    Check(Box<check::Flags>),
    /// Explain why a metric has its value or none, and what an autoscaler makes of it
    Explain(Box<explain::Flags>),
    /// Compare two servers of the metrics APIs, such as prometheus-adapter and loadline
    Compare(Box<compare::Flags>),
    /// Convert autoscalers of KEDA and kube-metrics-adapter to HorizontalPodAutoscalers and rules
    Migrate(Box<migrate::Flags>),
    /// Simulate what an autoscaler would have done with the history of its metrics
    Simulate(Box<simulate::Flags>),
    /// Run a demo on this machine: a synthetic workload, a store, loadline and an autoscaler
    #[cfg(feature = "demo")]
    Demo(demo::Flags),
}

/// Runs a command line. The exit code is 2 for usage errors and 1 for all others; each is one line on standard error.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            let shown = if error.use_stderr() {
                writeln!(std::io::stderr(), "loadline: {}", one_line(&error))
            } else {
                error.print()
            };
            // There is nowhere left to report a closed output to.
            shown.unwrap_or_default();
            return ExitCode::from(code);
        }
    };
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return failed(&anyhow::anyhow!("a TLS provider is installed already"));
    }
    let result = match cli.command {
        Command::Serve(flags) => serve::run(&flags),
        Command::Check(flags) => return check::run(&flags).unwrap_or_else(|error| failed(&error)),
        Command::Explain(flags) => {
            return explain::run(&flags).unwrap_or_else(|error| failed(&error));
        }
        Command::Compare(flags) => {
            return compare::run(&flags).unwrap_or_else(|error| failed(&error));
        }
        Command::Migrate(flags) => {
            return migrate::run(&flags).unwrap_or_else(|error| failed(&error));
        }
        Command::Simulate(flags) => {
            return simulate::run(&flags).unwrap_or_else(|error| failed(&error));
        }
        #[cfg(feature = "demo")]
        Command::Demo(flags) => demo::run(&flags),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// What clap says of a command line, without the usage that follows.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let said = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        // A flag that does not exist is no value either.
        .filter(|line| !line.is_empty() && !line.starts_with("tip: to pass"))
        .collect::<Vec<_>>();
    // A line that ends with a colon introduces the next one.
    let said = said.join("; ").replace(":; ", ": ");
    said.strip_prefix("error: ").unwrap_or(&said).to_owned()
}

fn failed(error: &anyhow::Error) -> ExitCode {
    let text = format!("{error:#}");
    let is_usage = error.downcast_ref::<flags::UsageError>().is_some();
    // A closed standard error leaves only the exit code.
    writeln!(std::io::stderr(), "loadline: {}", text.trim_end()).unwrap_or_default();
    ExitCode::from(if is_usage { 2 } else { 1 })
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let mut arguments = with_subcommand(arguments);
    let mut strays = Vec::new();
    if arguments.get(1).is_some_and(|first| first == SERVE)
        && let Some(serve) = command.find_subcommand(SERVE)
    {
        let own = arguments.split_off(2);
        match Arguments::read(own, serve) {
            Ok(read) => {
                arguments.extend(read.flags);
                strays = read.strays;
            }
            Err(message) => return Err(command.error(ErrorKind::UnknownArgument, message)),
        }
    } else if let [_, name, own @ ..] = arguments.as_slice()
        && let Some(subcommand) = command.find_subcommand(name)
        && let Err(message) = arguments::check(own, subcommand)
    {
        return Err(command.error(ErrorKind::UnknownArgument, message));
    }
    let matches = command.try_get_matches_from(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let Command::Serve(flags) = &mut cli.command {
        flags.strays = strays;
    }
    Ok(cli)
}

const SERVE: &str = "serve";

/// Puts `serve` in where no subcommand is: before flags, and before what prometheus-adapter's manifests pass as
/// first argument, the path of its own binary.
fn with_subcommand(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = arguments.into_iter().collect();
    let is_missing = arguments.get(1).is_none_or(|first| {
        let is_ours = ["-h", "--help", "-V", "--version"].iter().any(|ours| first == ours);
        is_no_word(first) && !is_ours
    });
    if is_missing {
        arguments.insert(arguments.len().min(1), SERVE.into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        parse(std::iter::once("loadline").chain(line.split_whitespace()).map(OsString::from))
    }

    #[track_caller]
    fn served(line: &str) -> flags::Serve {
        match parsed(line).map(|cli| cli.command) {
            Ok(Command::Serve(flags)) => *flags,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serve_is_meant_without_a_subcommand() {
        for line in [
            "--config=rules.yaml",
            "/adapter --config rules.yaml",
            "serve --config=other --config=rules.yaml",
            "serve /adapter --config=rules.yaml stray",
        ] {
            assert_eq!(served(line).rules.config.unwrap().to_str(), Some("rules.yaml"), "{line}");
        }
    }

    #[test]
    fn the_arguments_of_the_helm_chart_are_taken() {
        let flags = served(
            "/adapter --secure-port=6443 --cert-dir=/tmp/cert --prometheus-url=http://prometheus.default.svc:9090 \
             --metrics-relist-interval=1m --v=4 --config=/etc/adapter/config.yaml --v=6 --logtostderr=true",
        );
        assert_eq!(flags.verbosity(), 6);
        assert_eq!(flags.discovery.metrics_relist_interval.as_secs(), 60);
        assert_eq!(flags.serving.secure_port, 6443);
    }

    #[test]
    fn go_flag_syntax() {
        let cases = [
            ("--config x -v=4", 4),
            ("--config x -v 5", 5),
            ("--config x --v=1 --v=9", 9),
            ("--config x", 0),
        ];
        for (line, verbosity) in cases {
            assert_eq!(served(line).verbosity(), verbosity, "{line}");
        }
        for (line, wanted) in [
            ("--standalone", true),
            ("--standalone=true", true),
            ("--standalone=T", true),
            ("--standalone=1", true),
            ("--standalone=false", false),
            ("--standalone=0", false),
            ("", false),
        ] {
            assert_eq!(served(&format!("{line} --config=x")).cluster.standalone, wanted, "{line}");
        }
        assert!(parsed("--standalone=maybe --config=x").is_err());
    }

    #[test]
    fn lists_are_separated_by_commas_and_headers_add_up() {
        let flags = served(
            "--config=x --requestheader-allowed-names=\"a\",b --prometheus-header=A=1 --prometheus-header=B=2,3",
        );
        let settings = flags.access.settings(None, false);
        assert_eq!(settings.trust.allowed_names, ["a", "b"]);
        assert_eq!(settings.always_allowed, ["/healthz", "/readyz", "/livez"]);
        assert_eq!(flags.prometheus.config().unwrap().headers.len(), 2);
    }

    /// Every flag of prometheus-adapter, with a value that its manifests could have.
    const PEER: &[&str] = &[
        "config=/etc/adapter/config.yaml",
        "prometheus-url=https://prometheus.example.com/prefix/",
        "prometheus-auth-incluster=false",
        "prometheus-auth-config=/etc/kubeconfig",
        "prometheus-ca-file=/etc/ca.crt",
        "prometheus-client-tls-cert-file=/etc/tls.crt",
        "prometheus-client-tls-key-file=/etc/tls.key",
        "prometheus-token-file=/etc/token",
        "prometheus-header=X-Scope-OrgID=team",
        "prometheus-verb=POST",
        "metrics-relist-interval=1m30s",
        "metrics-max-age=1h",
        "disable-http2=true",
        "lister-kubeconfig=/etc/kubeconfig",
        "authentication-kubeconfig=/etc/kubeconfig",
        "authorization-kubeconfig=/etc/kubeconfig",
        "client-qps=5",
        "client-burst=10",
        "bind-address=0.0.0.0",
        "secure-port=6443",
        "cert-dir=/tmp/cert",
        "tls-cert-file=/etc/tls.crt",
        "tls-private-key-file=/etc/tls.key",
        "tls-min-version=VersionTLS12",
        "tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_RSA_WITH_AES_128_CBC_SHA",
        "client-ca-file=/etc/ca.crt",
        "requestheader-client-ca-file=/etc/ca.crt",
        "requestheader-allowed-names=front-proxy-client,aggregator",
        "requestheader-username-headers=X-Remote-User",
        "requestheader-group-headers=X-Remote-Group",
        "requestheader-extra-headers-prefix=X-Remote-Extra-",
        "requestheader-uid-headers=X-Remote-Uid",
        "authentication-skip-lookup=false",
        "authentication-tolerate-lookup-failure=true",
        "authentication-token-webhook-cache-ttl=10s",
        "authorization-always-allow-paths=/healthz,/readyz,/livez",
        "authorization-webhook-cache-authorized-ttl=10s",
        "authorization-webhook-cache-unauthorized-ttl=10s",
        "v=4",
        "vmodule=a=1,b=2",
        "log-flush-frequency=5s",
        "logtostderr=true",
        "alsologtostderr=false",
        "add-dir-header=false",
        "log-backtrace-at=:0",
        "log-dir=/tmp",
        "log-file=/tmp/log",
        "log-file-max-size=1800",
        "one-output=false",
        "skip-headers=false",
        "skip-log-headers=false",
        "stderrthreshold=2",
        "profiling=true",
        "contention-profiling=false",
        "debug-socket-path=/tmp/socket",
        "audit-log-path=-",
        "audit-log-maxage=30",
        "audit-log-maxbackup=3",
        "audit-log-maxsize=100",
        "audit-policy-file=/etc/audit.yaml",
        "audit-webhook-config-file=/etc/webhook",
        "audit-webhook-batch-throttle-qps=10",
        "enable-priority-and-fairness=false",
        "http2-max-streams-per-connection=100",
        "disable-http2-serving=true",
        "tls-sni-cert-key=/etc/a.crt,/etc/a.key:*.example.com",
        "tls-curve-preferences=29",
        "permit-port-sharing=false",
        "permit-address-sharing=false",
        "discovery-interval=10m",
    ];

    #[test]
    fn every_flag_of_prometheus_adapter_is_taken_in_both_spellings() {
        for flag in PEER {
            let (name, value) = flag.split_once('=').unwrap();
            let is_boolean = matches!(value, "true" | "false");
            let mut lines = vec![format!("--{flag}"), format!("--{flag} --{flag}")];
            lines.push(if is_boolean { format!("--{name}") } else { format!("--{name} {value}") });
            for line in lines {
                let config = if name == "config" { "" } else { "--config=x" };
                assert!(parsed(&format!("{line} {config}")).is_ok(), "{line}");
            }
        }
    }

    #[test]
    fn all_flags_of_prometheus_adapter_go_together() {
        let line: String = PEER.iter().map(|flag| format!("--{flag} ")).collect();
        let flags = served(&format!("/adapter {line}"));
        assert_eq!(flags.discovery.max_age(true).unwrap().as_secs(), 3600);
        assert!(!flags.serving.http2() && flags.strays.is_empty());
        let missing = flags.prometheus.config().unwrap_err().to_string();
        assert!(missing.starts_with("--prometheus-auth-config: /etc/kubeconfig: "), "{missing}");
    }

    #[test]
    fn an_unknown_flag_names_the_nearest() {
        let error = parsed("--prometheus-uri=http://x").unwrap_err().to_string();
        assert!(error.contains("--prometheus-url"), "{error}");
        let error = one_line(&parsed("check --stricd").unwrap_err());
        assert!(error.contains("--strict") && !error.contains("as a value"), "{error}");
        let error = parsed("serv").unwrap_err().to_string();
        assert!(error.contains("serve"), "{error}");
    }

    #[test]
    fn help_is_a_contract() {
        for name in ["serve", "demo"] {
            let mut command = Cli::command();
            let command = command.find_subcommand_mut(name).unwrap();
            let help = command.render_long_help().to_string();
            insta::assert_snapshot!(format!("help_{name}"), help);
        }
    }
}
