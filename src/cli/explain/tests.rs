use clap::Parser as _;

use super::*;
use crate::core::{
    explain::{Inquiry, Subject, command::ExplainBy, facts::Which},
    selector::Selector,
};

#[derive(Debug, clap::Parser)]
struct Line {
    #[command(flatten)]
    flags: Flags,
}

/// What a command line asks, as a shell and we read it.
fn asked_by(command: &str) -> Inquiry {
    let arguments = command.strip_prefix("loadline explain ").unwrap();
    let script = format!("printf '%s\\n' loadline {arguments}");
    let words = std::process::Command::new("sh").args(["-c", &script]).output().unwrap().stdout;
    let Line { flags } = Line::parse_from(String::from_utf8(words).unwrap().lines());
    let Ok(Question::Metric(question)) = Question::parse(&flags.what) else { panic!("{command}") };
    let selectors = (flags.selector.as_deref(), flags.metric_selector.as_deref());
    question.inquiry(flags.namespace.as_deref().unwrap(), selectors).unwrap()
}

#[test]
fn the_command_of_an_inquiry_asks_it() {
    let selector = |text: &str| Selector::parse(text).unwrap();
    let inquiry = |subject, metric: &str, series: &str| Inquiry {
        metric: metric.to_owned(),
        subject,
        namespace: Some("n".to_owned()),
        selector: selector(series),
        is_at_zero: false,
    };
    let pods = |which| Subject::Objects { resource: "pods".to_owned(), which };
    let usage = |which| Subject::Usage { which, container: None };
    let named = || pods(Which::Named("web-0".to_owned()));
    let selected = |text| pods(Which::Selected(selector(text)));
    for (inquiry, arguments) in [
        (inquiry(named(), "m", ""), "pods/web-0 m"),
        (inquiry(named(), "m", "q=a"), "--metric-selector=q=a pods/web-0 m"),
        (inquiry(selected(""), "m", ""), "pods m"),
        (inquiry(selected("app in (a,b)"), "m", ""), "--selector='app in (a,b)' pods m"),
        (inquiry(Subject::External, "m", "!q"), "--selector='!q' external m"),
        (inquiry(named(), "--config=/x", ""), "-- pods/web-0 --config=/x"),
        (inquiry(named(), "$(id)'", ""), r"pods/web-0 '$(id)'\'''"),
        (
            inquiry(usage(Which::Selected(selector("app=web"))), "cpu", ""),
            "--selector=app=web usage cpu",
        ),
        (inquiry(usage(Which::Named("web-0".to_owned())), "memory", ""), "usage/web-0 memory"),
    ] {
        let command = inquiry.command(&ExplainBy::Cluster);
        assert_eq!(command, format!("loadline explain -n n {arguments}"));
        assert_eq!(asked_by(&command), inquiry, "{command}");
    }
}
