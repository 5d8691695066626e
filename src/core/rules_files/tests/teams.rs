//! What the files let teams do.

use super::*;
use crate::core::rules::Backend;

const OF_TEAMS: Requirements = Requirements { is_strict: false, serves_teams: true };

/// The files of a server that serves rules of teams.
#[track_caller]
fn first(files: &[(&str, &str)]) -> (RulesFiles, RuleSet) {
    let Update { files, rules, .. } = RulesFiles::new(OF_TEAMS).update(given(files));
    (files, rules.unwrap())
}

/// The label of teams, the hosts that they may ask, and whether all of these are known as backends.
fn of_teams(rules: &RuleSet) -> (String, Vec<String>, bool) {
    let teams = &rules.teams;
    let hosts = teams.backends.iter().map(|it| it.url.host_str().unwrap().to_owned()).collect();
    let is_known = |backend: &Arc<Backend>| {
        rules.backends.iter().any(|known| known.fingerprint == backend.fingerprint)
    };
    (teams.namespace_label.to_string(), hosts, teams.backends.iter().all(is_known))
}

/// A policy of teams: a label, and the host that they may ask.
fn policy(label: &str, host: &str) -> String {
    format!(
        "teamRules: {{namespaceLabel: {label}}}\nbackends: [{{name: eu, url: 'https://{host}', teamRules: true}}]\n"
    )
}

#[test]
fn what_teams_may_do_changes_only_while_all_files_can_be_used() {
    let kept = || ("ns".to_owned(), vec!["old".to_owned()], true);
    let (old, new, own) = (policy("ns", "old"), policy("other", "new"), rules(&["x"]));
    let (files, all) = first(&[("own", &own), ("teams", &old), ("cm:c", &rules(&["y"]))]);
    assert_eq!(of_teams(&all), kept());
    // The file of the policy has become another one, which cannot be used; so has another file, and one of a ConfigMap.
    for broken in ["rulez: []", "!away", "", " \n"] {
        let at_fault = [
            vec![("own", &*own), ("renamed", broken)],
            vec![("own", &own), ("renamed", broken), ("teams", "rules: []")],
            vec![("own", &own), ("renamed", broken), ("teams", &new)],
        ];
        for given_now in at_fault {
            let next = files.update(given(&given_now));
            assert_eq!(of_teams(&next.rules.unwrap()), kept(), "{given_now:?}");
            assert!(next.files.kept_teams().unwrap().contains("renamed"));
            // Other changes are taken over meanwhile.
            let mut more = given_now.clone();
            more.push(("zz", "externalRules: []"));
            let more = next.files.update(given(&more));
            assert_eq!(of_teams(&more.rules.unwrap()), kept());
            // It is mended, or goes.
            let mended = more.files.update(given(&[("own", &own), ("renamed", &new)]));
            let taken = ("other".to_owned(), vec!["new".to_owned()], true);
            assert_eq!(of_teams(&mended.rules.unwrap()), taken);
            let next = next.files.update(given(&given_now[..1]));
            let none = ("namespace".to_owned(), Vec::new(), true);
            assert_eq!(of_teams(&next.rules.unwrap()), none);
            assert_eq!(next.files.kept_teams(), None);
        }
    }
    // A ConfigMap has no say, and a policy that is taken away by files that can be used has gone.
    let revoked = old.replace("true", "false");
    for (teams, label) in [(&*revoked, "ns"), (&own, "namespace"), ("rules: []", "namespace")] {
        let next = files.update(given(&[("own", &own), ("teams", teams), ("cm:c", "rulez: []")]));
        assert_eq!(of_teams(&next.rules.unwrap()), (label.to_owned(), Vec::new(), true));
        assert_eq!(next.files.kept_teams(), None);
    }
}

#[test]
fn what_teams_may_do_is_taken_over_when_the_cause_is_gone_even_if_no_rule_changes() {
    let (old, new, own) = (policy("ns", "old"), policy("other", "new"), rules(&["x"]));
    let (files, _) = first(&[("own", &own), ("teams", &old)]);
    // A text in use counts again, and a file that never was in use goes.
    for (broken, mended) in [
        (vec![("own", "rulez: []"), ("teams", &*new)], vec![("own", &*own), ("teams", &*new)]),
        (vec![("own", &own), ("teams", &new), ("z", "[")], vec![("own", &own), ("teams", &new)]),
    ] {
        let next = files.update(given(&broken));
        assert_eq!(of_teams(&next.rules.unwrap()).0, "ns");
        let same = next.files.update(given(&broken));
        assert!(same.rules.is_none() && same.files.kept_teams().is_some());
        let next = same.files.update(given(&mended));
        assert!(next.changed.is_empty());
        assert_eq!(of_teams(&next.rules.unwrap()).0, "other");
        assert!(next.files.update(given(&mended)).rules.is_none());
    }
}

#[test]
fn the_backends_that_are_kept_for_teams_are_named() {
    let (old, new) = (policy("ns", "old"), policy("ns", "new"));
    let (files, _) = first(&[("teams", &old)]);
    for (teams, is_named) in [(&*new, true), ("rules: []", true), (&old.replace("ns", "x"), false)]
    {
        let next = files.update(given(&[("teams", teams), ("z", "rulez: []")])).files;
        assert_eq!(next.kept_teams().unwrap().contains("eu"), is_named, "{teams}");
    }
}

#[test]
fn an_empty_file_is_unusable_at_once_where_a_start_would_fail_with_it() {
    let own = rules(&["x"]);
    for empty in ["", " \n"] {
        let (files, _) = first(&[("own", &own)]);
        let next = files.update(given(&[("own", &own), ("new", empty), ("cm:c", empty)])).files;
        assert_eq!(next.unusable().collect::<Vec<_>>(), [&file("new")]);
        assert!(lines(&next)[0].starts_with("/etc/new: it is empty"), "{:?}", lines(&next));
        let again = next.update(given(&[("own", &own), ("new", "rules: []")])).files;
        assert_eq!(lines(&again), [""; 0]);
        // Where no rules of teams are served, a start takes it for a file without rules.
        let without = RulesFiles::default().update(given(&[("own", &own), ("new", empty)])).files;
        assert_eq!(lines(&without), [""; 0]);
    }
}

#[test]
fn without_rules_of_teams_no_policy_and_no_backend_of_it_is_kept() {
    let (old, broken) = (policy("ns", "old"), "rulez: []");
    let without = RulesFiles::default();
    let files = without.update(given(&[("a", &old), ("z", broken)])).files;
    let next = files.update(given(&[("a", "rules: []"), ("z", broken)]));
    let all = next.rules.unwrap();
    assert!(all.backends.is_empty() && all.teams.backends.is_empty(), "{all:?}");
    assert_eq!(next.files.kept_teams(), None);
}
