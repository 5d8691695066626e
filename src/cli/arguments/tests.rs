//! Each way to spoil a flag, and the nearest that is none.

use clap::{Args as _, Command};

use super::*;
use crate::cli::{explain, flags::Serve};

fn read(arguments: &[&str]) -> Result<Arguments, String> {
    let command = Serve::augment_args(Command::new("serve"));
    Arguments::read(arguments.iter().map(OsString::from), &command)
}

/// They are taken for flags with their values, and nothing is left.
#[track_caller]
fn taken(arguments: &[&str], wanted: &[&str]) {
    let read = read(arguments).unwrap();
    assert_eq!((read.flags, read.strays), (wanted.iter().map(OsString::from).collect(), vec![]));
}

#[test]
fn flags_and_their_values_are_left_as_they_are() {
    for arguments in [
        &["--config=rules.yaml", "--config", "rules.yaml"][..],
        &["-v=4", "-v", "4", "-v4", "-v=-1", "-v", "-1", "--v=4", "--v", "4"],
        &["--standalone", "--standalone=false"],
        &["--prometheus-header", "A=a b=c", "--prometheus-header=A=\"b\""],
        // Go reads lists as CSV, and what has no effect may be anything.
        &["--requestheader-allowed-names=\"a\",\"b\"", "--vmodule=\"a=1\"", "--profiling"],
        &["--tls-secret-name=", "--disable-http2-serving", "-h", "--help"],
        &["--prometheus-url=http://h/a b", "--cert-dir", "it's"],
    ] {
        taken(arguments, arguments);
    }
}

#[test]
fn underscores_are_hyphens() {
    taken(&["--log_dir=/tmp", "--secure_port", "1"], &["--log-dir=/tmp", "--secure-port", "1"]);
    taken(&["--prometheus_header=A_b=c_d"], &["--prometheus-header=A_b=c_d"]);
}

#[test]
fn what_was_meant_as_a_flag_is_refused_with_the_reason() {
    let cases: &[(&[&str], &str)] = &[
        (&["'--prometheus-url=http://u:secret@h'"], "quotes"),
        (&["\"--standalone\""], "quotes"),
        (&["“--standalone”"], "quotes"),
        (&["--\"prometheus-url=secret\""], "quotes"),
        (&["--prometheus-url\"=secret"], "quote"),
        (&["--prometheus-url=\"http://u:secret@h\""], "quote"),
        (&["--prometheus-url", "'http://u:secret@h'"], "quote"),
        (&["--prometheus-header=\"Authorization=secret\""], "quote"),
        (&["--metrics-relist-interval='1m'"], "quote"),
        (&["--requestheader-allowed-names='a'"], "quote"),
        (&[" --prometheus-url=secret"], "a blank before"),
        (&["\u{feff}--prometheus-url=secret"], "a blank before"),
        (&["-- prometheus-url=secret"], "a blank before"),
        (&["–prometheus-url=secret"], "word processor"),
        (&["—prometheus-url=secret"], "word processor"),
        (&["-–prometheus-url=secret"], "word processor"),
        (&["--prometheus‑url=secret"], "word processor"),
        (&["-prometheus-url=secret"], "two hyphens"),
        (&["-vmodule=a=1"], "two hyphens"),
        (&["---standalone"], "two hyphens"),
        (&["prometheus-url=secret"], "two hyphens"),
        (&["prometheus_url=secret"], "two hyphens"),
        (&["--", "--prometheus-url=secret"], "after `--`"),
        (&["--", "prometheus-url=secret"], "two hyphens"),
        (&["--prometheus-url secret"], "=VALUE"),
        (&["--prometheus-url: secret"], "=VALUE"),
        (&["--prometheus-url", "=", "secret"], "beside the `=`"),
        (&["--prometheus-url", "=secret"], "beside the `=`"),
        (&["--prometheus-url=", "secret"], "beside the `=`"),
        (&["--standalone", "=", "true"], "beside the `=`"),
        (&["--prometheus-url=secret --config=x"], "of its own"),
        (&["--prometheus-url=secret\n--config=x"], "of its own"),
        (&["--standalone --config=x"], "of its own"),
        (&["--config x --prometheus-header=A=secret"], "of its own"),
        (&["--vmodule=a=1 -v=4"], "of its own"),
        (&["--enable-external-metrics"], "`externalRules`"),
        (&["--prometheus-uri=secret"], "did you mean --prometheus-url?"),
        (&["--PROMETHEUS-URL=secret"], "did you mean --prometheus-url?"),
        (&["–prometheus-uri=secret"], "did you mean --prometheus-url?"),
        (&["-prometheus-uri=secret"], "did you mean --prometheus-url?"),
        (&["--nothing-like-it=secret"], "no such flag: --nothing-like-it"),
        (&["-x"], "no such flag"),
        (&["-5"], "neither"),
    ];
    for (arguments, reason) in cases {
        let error = read(arguments).unwrap_err();
        assert!(error.contains(reason) && !error.contains("secret"), "{arguments:?}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn other_arguments_are_named_without_secrets() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["/adapter"], &[]),
        (&["--standalone", "/usr/bin/cm-adapter", "/usr/local/bin/loadline"], &[]),
        (&["/etc/adapter/config.yaml"], &["`/etc/adapter/config.yaml`"]),
        (&["serve", "--standalone", "true"], &["`serve`", "`true`"]),
        (&["--", "word", "standalone"], &["`word`", "`standalone`"]),
        (&["http://u:secret@h", "A=secret"], &["`http`", "`A`"]),
        (
            &["--prometheus-header=Authorization=Basic", "secret", "--standalone", "word"],
            &["what follows --prometheus-header", "`word`"],
        ),
        (&["\u{1b}[31m", "-", "\"\""], &["`\\u{1b}[31m`", "`-`", "`\\\"\\\"`"]),
    ];
    for (arguments, strays) in cases {
        assert_eq!(read(arguments).unwrap().strays, *strays, "{arguments:?}");
    }
}

#[test]
fn words_may_be_subcommands() {
    for word in ["serve", "serv", "check", "demo"] {
        assert!(!is_no_word(OsStr::new(word)), "{word}");
    }
    for flag in ["/adapter", "--x", "'--x'", " -x", "—x", "config=x"] {
        assert!(is_no_word(OsStr::new(flag)), "{flag}");
    }
}

#[test]
fn flags_of_other_commands_are_refused_where_they_are_spoilt() {
    let command = explain::Flags::augment_args(Command::new("explain"));
    let check = |arguments: &[&str]| {
        let arguments: Vec<_> = arguments.iter().map(OsString::from).collect();
        check(&arguments, &command)
    };
    let cases: &[(&[&str], &str)] = &[
        (&["external", "x", "--prometheus-url=\"http://u:secret@h\""], "remove the quotes"),
        (&["--prometheus-url", "'http://u:secret@h'", "external", "x"], "remove the quotes"),
        (&["--config=\"z.yaml\""], "remove the quotes"),
        (&["'--config=z.yaml'", "external", "x"], "quotes"),
        (&["—config=z.yaml", "external", "x"], "word processor"),
        (&["external", "x", "--strict", "-–config", "z.yaml"], "word processor"),
        (&[" --config=z.yaml"], "a blank before"),
        (&["—confg=z.yaml"], "did you mean --config?"),
    ];
    for (arguments, reason) in cases {
        let error = check(arguments).unwrap_err();
        assert!(error.contains(reason) && !error.contains("secret"), "{arguments:?}: {error}");
    }
    for arguments in [
        &["external", "x", "-n", "n", "--config=z.yaml", "-c", "z.yaml"][..],
        &["pods/p", "x", "--strict", "--metric-selector", "a=\"b\"", "-l", "app in (a,b)"],
        &["--strict", "'pods/p'", "x", "--no-such-flag", "-x"],
        &["--", "—config=z.yaml"],
    ] {
        check(arguments).unwrap();
    }
}
