//! Which of the servers of a backend is asked. Time is an argument.
//!
//! The servers are replicas, whose values differ by a scrape. So one of them is in use for all queries as long as it is well; a value
//! that alternates between servers would jump. At first this is the first of the list. When another one is in use and the first has been
//! well for [`RETURN`], it is in use again: then all instances of loadline ask the same server, whatever each of them has seen, and a
//! server that has restarted has filled the ranges of most rates. Where a gateway refuses probes they prove nothing. Then queries try it
//! after [`TRIAL`], until it has answered one, or has failed one that another server answers.
//!
//! A server that has failed probes or answered partially is well when it has answered one in full, or a query: not when it answers
//! anything after a silence. Where its probes are refused from then on, it is tried as well.
//!
//! A query that fails does not prove that its server is not well: the query may be at fault. It only makes a probe due, which asks for
//! nothing. A probe that fails, and silence, eject a server. So do [`server::OUTDONE`] queries in a row, in a [`PERIOD`] or more, that it
//! has failed and another one has answered. From then on its probes prove nothing, unless one fails.
//!
//! When all are ejected, a query is sent to the one in use alone, so that an outage does not multiply the queries. Only one query per
//! [`PERIOD`] tries the others too: probes may fail where queries are answered. For the same reason [`budget`] bounds how many queries
//! are sent to others in vain while probes are answered.

mod budget;
mod server;

use std::time::{Duration, Instant};

use budget::Budget;
use server::{Record, Server, State};

/// How long a server that comes before the one in use has to be well until it is in use again.
pub const RETURN: Duration = Duration::from_secs(300);

/// The same for a server whose probes are answered by what proves nothing. It doubles each time that queries have tried it in vain.
pub const TRIAL: Duration = Duration::from_secs(600);

/// From one probe of a server to the next at the least.
pub const PERIOD: Duration = Duration::from_secs(1);

/// How often a server is probed that is to be in use again.
const CHECK: Duration = Duration::from_secs(15);

/// How often a server is probed that stands by: nothing else would show that it has died, before it is needed.
const STANDBY: Duration = Duration::from_secs(60);

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Its answers are partial.
    Partial,
    /// It answers by errors that no query can cause.
    Failing,
    /// It does not answer.
    Silent,
}

impl Fault {
    /// How bad it is. Errors and silence are as bad as each other: the one in use is not to alternate in an outage.
    fn weight(self) -> u8 {
        match self {
            Self::Partial => 1,
            Self::Failing | Self::Silent => 2,
        }
    }
}

/// How a probe has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Health {
    /// It was answered.
    Well,
    /// It shows that something is wrong.
    Bad(Fault),
    /// There was an answer, which shows nothing else.
    Answered,
    /// It shows nothing, for example because it could not be sent.
    Unknown,
}

/// What has changed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Change {
    /// The server was well, and is ejected for this fault.
    pub ejected: Option<Fault>,
    /// The server was ejected, and is well.
    pub recovered: bool,
    /// The server that is in use now, if it is another one.
    pub switched: Option<usize>,
}

/// The servers of a backend.
#[derive(Debug)]
pub struct Failover {
    servers: Vec<Server>,
    in_use: usize,
    /// Whether the one in use is tried, and has answered no query in full yet.
    is_on_trial: bool,
    /// Whether any query was answered in full. Before that, nobody knows the headers that a gateway may want.
    has_answered: bool,
    /// When a query was last allowed to try all servers whatever is known of them.
    tried_all: Option<Instant>,
    budget: Budget,
}

/// The servers that one query has been sent to.
#[derive(Debug)]
pub struct Tries {
    tried: Vec<usize>,
    /// The first server, if it answers and has failed the query, and how.
    failed: Option<(usize, Fault)>,
    /// Whether ejected servers may be tried, too: what is known of them may be old.
    is_thorough: bool,
    /// Whether it is the one query of this [`PERIOD`] that tries all of them whatever is known.
    is_due: bool,
    /// Whether the last try has taken a token of the budget.
    has_paid: bool,
}

/// Whether a query is sent to a further server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Repeat {
    /// It is.
    Yes,
    /// It is not, because this was in vain lately.
    No {
        /// Whether that begins now.
        is_first: bool,
    },
}

impl Tries {
    /// The first server answers, and has failed the query.
    pub fn fail(&mut self, fault: Fault) {
        self.failed = self.tried.first().map(|server| (*server, fault));
    }
}

impl Failover {
    /// So many servers, by number in the order of preference. All are taken for well.
    pub fn new(servers: usize, now: Instant) -> Self {
        Self {
            servers: (0..servers).map(|_| Server::new(now)).collect(),
            in_use: 0,
            is_on_trial: false,
            has_answered: false,
            tried_all: None,
            budget: Budget::default(),
        }
    }

    /// The server that queries are sent to.
    pub fn in_use(&self) -> usize {
        self.in_use
    }

    /// What is wrong with a server; nothing if it is well.
    pub fn fault(&self, server: usize) -> Option<Fault> {
        self.servers.get(server)?.fault()
    }

    /// A query is to be sent.
    pub fn begin(&mut self, now: Instant) -> Tries {
        let is_well = self.fault(self.in_use).is_none();
        let is_due = !is_well && self.is_due(now);
        let is_thorough = is_well || is_due;
        Tries { tried: Vec::new(), failed: None, is_thorough, is_due, has_paid: false }
    }

    /// Whether a query may try all servers now whatever is known of them.
    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = |last: Instant| now.saturating_duration_since(last) >= PERIOD;
        let is_due = self.tried_all.is_none_or(is_due);
        if is_due {
            self.tried_all = Some(now);
        }
        is_due
    }

    /// A server that answers has failed a query. Whether a further one is sent it. What has its turn by time is not paid for, nor is a
    /// trial: that is to fail nobody.
    pub fn repeat(&mut self, tries: &mut Tries, now: Instant) -> Repeat {
        let is_free = tries.is_due || self.is_on_trial;
        tries.has_paid = !is_free && self.budget.take();
        if is_free || tries.has_paid {
            return Repeat::Yes;
        }
        tries.is_due = self.is_due(now);
        if tries.is_due { Repeat::Yes } else { Repeat::No { is_first: self.budget.refused() } }
    }

    /// A further server has answered in full what one that answers had failed.
    pub fn repeated(&mut self, tries: &Tries) {
        self.budget.relieved(tries.has_paid);
    }

    /// The next server for a query that has not been answered yet: the one in use, then the others, the best first. Each is named once.
    pub fn next(&self, tries: &mut Tries) -> Option<usize> {
        let is_left = |number: usize, server: &Server| {
            !tries.tried.contains(&number)
                && (number == self.in_use || server.is_well() || tries.is_thorough)
        };
        let left = self.servers.iter().enumerate().filter(|(number, it)| is_left(*number, it));
        let next = left.min_by_key(|(number, it)| (*number != self.in_use, it.weight(), *number));
        let (next, _) = next?;
        tries.tried.push(next);
        Some(next)
    }

    /// A query was answered in full.
    pub fn answered(&mut self, server: usize, now: Instant) -> Change {
        self.has_answered = true;
        self.budget.answered();
        self.is_on_trial &= server != self.in_use;
        self.shown(server, now, |it| {
            it.trial_after = TRIAL;
            it.record = Record::Clean;
            it.recover(now)
        })
    }

    /// A query was answered in full by the last server that it was sent to, after others had not. If the one in use is only tried, the one
    /// that has answered is in use.
    pub fn relieved(&mut self, tries: &Tries, now: Instant) -> Change {
        let Some(&answered) = tries.tried.last() else { return Change::default() };
        if self.is_on_trial && answered != self.in_use && tries.tried.contains(&self.in_use) {
            if let Some(it) = self.servers.get_mut(self.in_use) {
                it.end_trial(now);
            }
            return Change { switched: self.use_another(answered), ..Change::default() };
        }
        // What ends after another server has come into use says nothing new.
        let failed = tries.failed.filter(|(server, _)| *server == self.in_use);
        let failed = failed.and_then(|(it, fault)| Some((self.servers.get_mut(it)?, fault)));
        let Some((it, fault)) = failed.filter(|(it, _)| it.is_well()) else {
            return Change::default();
        };
        let ejected = it.outdone(fault, now);
        Change { ejected, switched: self.choose(), ..Change::default() }
    }

    /// Something else than a query was answered in full. It does not show that queries are.
    pub fn responded(&mut self, server: usize, now: Instant) -> Change {
        self.shown(server, now, |it| it.end_silence(now))
    }

    /// There was an answer, with which the server may recover.
    fn shown(
        &mut self,
        server: usize,
        now: Instant,
        recover: impl FnOnce(&mut Server) -> bool,
    ) -> Change {
        let Some(it) = self.servers.get_mut(server) else { return Change::default() };
        let recovered = recover(it);
        if recovered {
            self.hasten(now);
        }
        Change { recovered, switched: self.choose(), ..Change::default() }
    }

    /// A query has failed, and perhaps the server is to blame. One that is ejected is probed anyway.
    pub fn doubted(&mut self, server: usize) {
        if let Some(it) = self.servers.get_mut(server).filter(|it| it.is_well()) {
            it.is_doubted = true;
        }
    }

    /// The server answers nobody.
    pub fn silent(&mut self, server: usize, now: Instant) -> Change {
        let Some(it) = self.servers.get_mut(server) else { return Change::default() };
        let ejected = match &mut it.state {
            State::Well { .. } => it.eject(Fault::Silent, now),
            // One that was partial is no longer better than one that fails. When it is probed next does not change.
            State::Ejected { fault, seen, .. } => {
                *fault = Fault::Silent;
                *seen = now;
                None
            }
        };
        Change { ejected, switched: self.choose(), ..Change::default() }
    }

    /// The servers to probe now; each outcome is to be reported.
    pub fn due(&mut self, now: Instant) -> Vec<usize> {
        let none_is_usable = self.servers.iter().all(|it| it.weight() >= Fault::Failing.weight());
        let (in_use, has_answered) = (self.in_use, self.has_answered);
        let is_due = |number: usize, it: &Server| match it.state {
            _ if it.is_probed => false,
            _ if it.is_doubted || none_is_usable => it.was_probed_before(PERIOD, now),
            State::Well { .. } if number < in_use => it.was_probed_before(CHECK, now),
            State::Well { .. } => {
                number > in_use && has_answered && it.was_probed_before(STANDBY, now)
            }
            State::Ejected { until, .. } => now >= until,
        };
        let mut due = Vec::new();
        for (number, it) in self.servers.iter_mut().enumerate() {
            if is_due(number, it) {
                it.probed = Some(now);
                it.is_probed = true;
                it.is_doubted = false;
                due.push(number);
            }
        }
        due
    }

    /// A probe has ended.
    pub fn probed(&mut self, server: usize, health: Health, now: Instant) -> Change {
        let in_use = self.in_use;
        let Some(it) = self.servers.get_mut(server) else { return Change::default() };
        it.is_probed = false;
        let mut change = Change::default();
        let proves_nothing = health == Health::Well && it.record == Record::Failed;
        let health = if proves_nothing { Health::Answered } else { health };
        match health {
            Health::Well => {
                it.trial_after = TRIAL;
                change.recovered = it.recover(now);
            }
            Health::Bad(fault) => {
                if fault != Fault::Silent {
                    it.record = Record::Clean;
                }
                change.ejected = it.eject(fault, now);
            }
            Health::Answered if it.fault() == Some(Fault::Silent) => {
                change.recovered = it.end_silence(now);
            }
            // It is not asked, and only time in which it is known to answer counts for its return.
            Health::Unknown if it.is_well() && server < in_use => {
                it.state = State::Well { since: now };
            }
            Health::Answered => {
                it.respond(now);
                // It is not tried as long as one before it is well. So it is taken for well, as it was at first.
                if server > in_use && it.is_trial_due(now) {
                    it.double_trial();
                    change.recovered = it.recover(now);
                }
            }
            Health::Unknown => {
                it.postpone(now);
                if let State::Ejected { seen, .. } = &mut it.state {
                    *seen = now;
                }
            }
        }
        if change.recovered {
            self.hasten(now);
        }
        change.switched = self.choose();
        change
    }

    /// One has recovered, and perhaps what was wrong was common to all: the others are due.
    fn hasten(&mut self, now: Instant) {
        for it in &mut self.servers {
            if let State::Ejected { until, .. } = &mut it.state {
                *until = (*until).min(now);
            }
        }
    }

    /// The first server that has been well for long enough is in use again, or is tried. Returns which, if it was not in use.
    pub fn returned(&mut self, now: Instant) -> Option<usize> {
        let mut before = self.servers.iter_mut().take(self.in_use).enumerate();
        let (first, it) = before.find(|(_, it)| it.is_proven(now) || it.is_trial_due(now))?;
        let is_on_trial = !it.is_proven(now);
        if !it.is_well() {
            it.state = State::Well { since: now };
        }
        let switched = self.use_another(first);
        self.is_on_trial = is_on_trial;
        switched
    }

    /// Whether queries only try this server, and none was answered in full yet.
    pub fn is_on_trial(&self, server: usize) -> bool {
        self.is_on_trial && server == self.in_use
    }

    fn use_another(&mut self, server: usize) -> Option<usize> {
        if server == self.in_use {
            return None;
        }
        if self.is_on_trial
            && let Some(it) = self.servers.get_mut(self.in_use)
        {
            it.double_trial();
        }
        self.is_on_trial = false;
        self.in_use = server;
        Some(server)
    }

    /// Leaves the server in use if there is a better one.
    fn choose(&mut self) -> Option<usize> {
        let best = self.servers.iter().enumerate();
        let best = best.min_by_key(|(number, it)| (it.weight(), *number != self.in_use, *number));
        let (best, _) = best?;
        self.use_another(best)
    }
}

#[cfg(test)]
mod tests;
