//! The watch of the objects, and the publication of what has changed.

use std::{sync::Arc, time::Duration};

use kube::Client;
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Shared, TeamRules, now,
    object::{Watched, kind},
};
use crate::{
    blocking,
    core::{
        rules::{RuleSet, TeamPolicy, TeamRuleKind},
        team_rules::Job,
    },
    discovery, jitter,
    kubernetes::{
        collection::Collection,
        retries::Broken,
        watch::{Event, Watch},
    },
    rules_file::Rules,
};

/// The least time between two publications. Changes within it are published together.
const PAUSE: Duration = Duration::from_millis(100);

/// How long it takes until a watch that was refused, or whose kind does not exist, is tried again.
const REFUSED: Duration = Duration::from_secs(60);

/// The task that watches and publishes.
pub struct WatchTask {
    client: Client,
    shared: Arc<Shared>,
    publisher: Publisher,
}

impl WatchTask {
    /// Makes the task, which does nothing before [`WatchTask::run`]; nothing where rules of teams are off.
    pub fn new(
        client: Client,
        team_rules: &TeamRules,
        discovery: discovery::Handle,
        rules: Rules,
    ) -> Option<Self> {
        let shared = Arc::clone(team_rules.0.as_ref()?);
        let publisher = Publisher { shared: Arc::clone(&shared), discovery, rules, policy: None };
        Some(Self { client, shared, publisher })
    }

    /// Works until stopped.
    pub async fn run(self, stop: CancellationToken) {
        let Self { client, shared, publisher } = self;
        let [own, cluster] = [Notify::new(), Notify::new()];
        tokio::select! {
            () = stop.cancelled() => {}
            () = keep(&client, &shared, TeamRuleKind::MetricRule, &own) => {}
            () = keep(&client, &shared, TeamRuleKind::ClusterMetricRule, &cluster) => {}
            () = publisher.run([&own, &cluster]) => {}
        }
    }
}

/// Keeps what is known of a kind; without end. `relist` asks for a new list.
async fn keep(client: &Client, shared: &Shared, of: TeamRuleKind, relist: &Notify) {
    let mut watch = Watch::new(Collection::<Watched>::all(client.clone(), &kind(of)));
    let mut is_refused = false;
    loop {
        let followed = watch.follow(|event| {
            if matches!(event, Event::Synced) && std::mem::take(&mut is_refused) {
                tracing::info!(kind = of.kind(), "rules of teams are watched");
            }
            take(shared, of, event);
        });
        let broken = tokio::select! {
            broken = followed => broken,
            () = relist.notified() => {
                watch = Watch::new(Collection::all(client.clone(), &kind(of)));
                continue;
            }
        };
        let pause = watch.pause(&broken, REFUSED);
        match &broken {
            Broken::Refused { .. } | Broken::Missing => {
                if !std::mem::replace(&mut is_refused, true) {
                    tracing::warn!(
                        kind = of.kind(), %broken,
                        "rules of teams cannot be watched; retrying: install the CustomResourceDefinitions, and grant list and watch"
                    );
                }
                let mut inventory = shared.inventory();
                if matches!(broken, Broken::Missing) {
                    // The objects have gone with their kind.
                    inventory.listing(of);
                    inventory.synced(of);
                }
                inventory.is_known(of);
                drop(inventory);
                shared.changed.notify_one();
            }
            Broken::Expired | Broken::Failed { .. } => {
                tracing::debug!(kind = of.kind(), %broken, ?pause, "the watch of rules is broken; retrying");
            }
        }
        sleep(pause).await;
    }
}

fn take(shared: &Shared, kind: TeamRuleKind, event: Event<Watched>) {
    let mut inventory = shared.inventory();
    match event {
        Event::Listing => inventory.listing(kind),
        Event::Listed(object) | Event::Applied(object) => {
            inventory.apply(object.received(kind), now(), jitter::chance());
        }
        Event::Synced => inventory.synced(kind),
        Event::Deleted(object) => inventory.delete(&object.key(kind)),
    }
    drop(inventory);
    shared.changed.notify_one();
}

/// Compiles what has changed, and publishes it.
struct Publisher {
    shared: Arc<Shared>,
    discovery: discovery::Handle,
    rules: Rules,
    /// The policy, and the rules file that it is from.
    policy: Option<(Arc<RuleSet>, Arc<TeamPolicy>)>,
}

impl Publisher {
    /// Works without end. The notifications ask for a new list of a kind.
    async fn run(mut self, relist: [&Notify; 2]) {
        // The cluster's kinds are known after a discovery, and a new rules file is discovered, too.
        let mut rounds = self.discovery.rounds();
        loop {
            tokio::select! {
                () = self.shared.changed.notified() => {}
                Ok(()) = rounds.changed() => {}
            }
            self.update().await;
            if self.shared.inventory().wants_list() {
                for relist in relist {
                    relist.notify_one();
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn update(&mut self) {
        let policy = self.policy();
        let catalog = self.discovery.catalog();
        let kinds = catalog.shared_kinds();
        if kinds.is_empty() {
            return;
        }
        let (jobs, policy, kinds) = {
            let mut inventory = self.shared.inventory();
            inventory.configure(&policy, kinds);
            inventory.jobs()
        };
        if !jobs.is_empty() {
            let compile = move || -> Vec<_> {
                jobs.into_iter().map(|job: Job| job.run(&policy, &kinds)).collect()
            };
            let done = blocking::run(compile).await;
            self.shared.inventory().compiled(done);
        }
        let published = {
            let mut inventory = self.shared.inventory();
            inventory.publish(now()).map(|snapshot| (snapshot, inventory.counts()))
        };
        let Some((snapshot, counts)) = published else { return };
        let snapshot = Arc::new(snapshot);
        let shared = Arc::clone(&snapshot);
        let names = blocking::run(move || shared.names()).await;
        if *self.shared.names.load_full() != names {
            self.shared.names.store(Arc::new(names));
        }
        self.shared.snapshot.store(snapshot);
        self.shared.metrics.team_rules(&counts);
        self.shared.published.send_modify(|count| *count = count.saturating_add(1));
    }

    /// The policy of the rules file in use, which is the same as long as the file is.
    fn policy(&mut self) -> Arc<TeamPolicy> {
        let rules = self.rules.current();
        if let Some((known, policy)) = &self.policy
            && Arc::ptr_eq(known, &rules)
        {
            return Arc::clone(policy);
        }
        let policy = Arc::new(rules.teams.clone());
        self.policy = Some((rules, Arc::clone(&policy)));
        policy
    }
}
