//! What a reload does, decided before any of it is done: the pool carries out a plan, so that what was said and what happens
//! are one thing.
//!
//! What a reader would get wrong: the plan's configuration is not the one that was read. Keys that need a restart keep their
//! old values in it, so every later plan names them again, until there is a restart.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Config, ConfiguredEndpoint, Loaded, diff};
use wskeeper_link::pool::Follow;

/// What becomes of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReloadAction {
    /// Nothing.
    Unchanged,
    /// It follows the new configuration and keeps its connection.
    AppliedLive,
    /// A new connection takes the place of its connection, which is closed then.
    Rotate,
    /// Its connection is closed, and a new one dialled: `rotation.enabled = false`.
    Reconnect,
    /// The key is new.
    Added,
    /// It ends.
    Removed,
}

impl ReloadAction {
    /// Each, the mildest first.
    pub const ALL: [Self; 6] =
        [Self::Unchanged, Self::AppliedLive, Self::Rotate, Self::Reconnect, Self::Added, Self::Removed];

    /// The word in the API and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::AppliedLive => "applied live",
            Self::Rotate => "rotate",
            Self::Reconnect => "reconnect",
            Self::Added => "added",
            Self::Removed => "removed",
        }
    }
}

/// What becomes of an endpoint's links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointChange {
    /// How many links there are before, by the configuration; 0: the endpoint is new.
    pub before: u32,
    /// How many there are after; 0: the endpoint is gone.
    pub after: u32,
    /// What becomes of those that are there before and after.
    pub kept: ReloadAction,
    /// The numbers of further ones that are there and stay, in order: subscriptions have opened them, or may go on with them.
    pub others: Vec<u32>,
    /// Those that subscriptions have opened and for which there is no room any more.
    pub surplus: Vec<u32>,
    /// The keys behind that, those that need a new connection first.
    pub why: Vec<&'static str>,
}

/// What becomes of one link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkChange {
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The link's place in it.
    pub index: u32,
    /// What becomes of it.
    pub action: ReloadAction,
    /// Keys of the endpoint; `endpoint` for all of it, `links` for their number.
    pub why: Vec<&'static str>,
}

/// What a reload does.
#[derive(Debug, Clone)]
pub struct ReloadPlan {
    /// What is in force afterwards.
    pub config: Arc<Config>,
    /// Every endpoint there is before or after, by name.
    pub steps: BTreeMap<Arc<str>, EndpointChange>,
    /// Keys outside of the endpoints that are followed at once.
    pub live: Vec<&'static str>,
    /// Keys that are not followed before a restart.
    pub restart: Vec<&'static str>,
    /// Settings of the new configuration that may be mistakes.
    pub warnings: Vec<String>,
}

/// What brings `old`, which is in force, to `new`, where endpoints have these links now. Endpoints that came by the API are not touched.
pub fn plan(old: &Config, new: Loaded, store_is_open: bool, links: &dyn Fn(&str) -> Vec<u32>) -> ReloadPlan {
    plan_with(old, new, store_is_open, links, (&Beside::new(), &Beside::new()))
}

/// Endpoints that came by the API, beside those of the file.
pub type Beside = BTreeMap<Arc<str>, ConfiguredEndpoint>;

/// As [`plan`], with those beside the file before and after.
pub fn plan_with(
    old: &Config,
    new: Loaded,
    store_is_open: bool,
    links: &dyn Fn(&str) -> Vec<u32>,
    (before, after): (&Beside, &Beside),
) -> ReloadPlan {
    let Loaded { mut config, warnings } = new;
    let diff::DaemonDiff { live, restart } = diff::daemon(old, &mut config, store_is_open);
    let names = old.endpoints.keys().chain(config.endpoints.keys()).chain(before.keys()).chain(after.keys());
    let step = |name: &Arc<str>| {
        let (old, new) = (old.endpoints.get(name), config.endpoints.get(name));
        change(old.or_else(|| before.get(name)), new.or_else(|| after.get(name)), links(name))
    };
    let steps = names.map(|name| (Arc::clone(name), step(name))).collect();
    ReloadPlan { config: Arc::new(config), steps, live, restart, warnings }
}

/// What becomes of an endpoint's links, of which it has these now.
pub fn change(old: Option<&ConfiguredEndpoint>, new: Option<&ConfiguredEndpoint>, running: Vec<u32>) -> EndpointChange {
    let links = |endpoint: Option<&ConfiguredEndpoint>| endpoint.map_or(0, |endpoint| endpoint.links);
    let diff = old.zip(new).map(|(old, new)| diff::endpoint(old, new)).unwrap_or_default();
    // By the new keys alone, whatever the link is at: what is planned is what is reported afterwards.
    let kept = match (diff.renew.is_empty(), diff.live.is_empty()) {
        (false, _) if new.is_some_and(|new| new.link.rotates) => ReloadAction::Rotate,
        (false, _) => ReloadAction::Reconnect,
        (true, false) => ReloadAction::AppliedLive,
        (true, true) => ReloadAction::Unchanged,
    };
    let why = diff.renew.into_iter().chain(diff.live).collect();
    let (before, after) = (links(old), links(new));
    let most = new.map_or(0, |endpoint| endpoint.max_links());
    let may_go_on = old.zip(new).is_some_and(|(old, new)| old.subscriptions.is_some() && new.subscriptions.is_some());
    let further: BTreeSet<u32> =
        running.into_iter().chain(0..before).filter(|index| *index >= before.min(after)).collect();
    let stays = |index: &u32| *index < after || *index < most && (*index >= before || may_go_on);
    let (others, gone): (Vec<u32>, Vec<u32>) = further.into_iter().partition(stays);
    let surplus = gone.into_iter().filter(|index| *index >= before.max(after)).collect();
    EndpointChange { before, after, kept, others, surplus, why }
}

impl EndpointChange {
    /// What becomes of the link at this place, and why.
    fn of(&self, index: u32) -> (ReloadAction, Vec<&'static str>) {
        match (index < self.before, index < self.after) {
            (true, true) => (self.kept, self.why.clone()),
            (_, _) if self.others.binary_search(&index).is_ok() => (self.kept, self.why.clone()),
            (false, false) => {
                (ReloadAction::Removed, vec![if self.after == 0 { "endpoint" } else { "subscriptions.links.max" }])
            }
            (true, false) => (ReloadAction::Removed, vec![if self.after == 0 { "endpoint" } else { "links" }]),
            (false, true) => (ReloadAction::Added, vec![if self.before == 0 { "endpoint" } else { "links" }]),
        }
    }

    /// How many links this becomes of.
    pub fn count(&self, action: ReloadAction) -> u32 {
        let others_below = |end: u32| count(&self.others[..self.others.partition_point(|index| *index < end)]);
        match action {
            ReloadAction::Added => self.after.saturating_sub(self.before.saturating_add(others_below(self.after))),
            ReloadAction::Removed => {
                let fewer = self.before.saturating_sub(self.after.saturating_add(others_below(self.before)));
                fewer.saturating_add(count(&self.surplus))
            }
            ReloadAction::Unchanged | ReloadAction::AppliedLive | ReloadAction::Rotate | ReloadAction::Reconnect
                if self.kept == action =>
            {
                self.before.min(self.after).saturating_add(count(&self.others))
            }
            ReloadAction::Unchanged | ReloadAction::AppliedLive | ReloadAction::Rotate | ReloadAction::Reconnect => 0,
        }
    }
}

fn count(links: &[u32]) -> u32 {
    u32::try_from(links.len()).unwrap_or(u32::MAX)
}

impl EndpointChange {
    /// What links that stay do.
    pub fn follow(&self) -> Follow {
        match self.kept {
            ReloadAction::Rotate | ReloadAction::Reconnect => Follow::Renew,
            ReloadAction::AppliedLive => Follow::Live,
            // Those two are not of links that are there before and after.
            ReloadAction::Unchanged | ReloadAction::Added | ReloadAction::Removed => Follow::Unchanged,
        }
    }

    /// Link by link, in order of index.
    pub fn changes(&self, endpoint: &Arc<str>) -> impl Iterator<Item = LinkChange> {
        let configured = self.before.max(self.after);
        let further = self.others.iter().chain(&self.surplus).copied().filter(move |index| *index >= configured);
        (0..configured).chain(further).map(move |index| {
            let (action, why) = self.of(index);
            LinkChange { endpoint: Arc::clone(endpoint), index, action, why }
        })
    }
}

impl ReloadPlan {
    /// What links of this endpoint that stay do.
    pub fn follow(&self, endpoint: &str) -> Follow {
        self.steps.get(endpoint).map_or(Follow::Unchanged, EndpointChange::follow)
    }

    /// Link by link, in order of endpoint and index.
    pub fn changes(&self) -> impl Iterator<Item = LinkChange> {
        self.steps.iter().flat_map(|(endpoint, step)| step.changes(endpoint))
    }

    /// How many links this becomes of.
    pub fn count(&self, action: ReloadAction) -> u64 {
        self.steps.values().map(|step| u64::from(step.count(action))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_toml;

    const NONE: fn(&str) -> Vec<u32> = |_| Vec::new();

    fn loaded(text: &str) -> Loaded {
        parse_toml(text, "test.toml").unwrap()
    }

    fn planned(old: &str, new: &str) -> ReloadPlan {
        plan(&loaded(old).config, loaded(new), true, &NONE)
    }

    fn told(plan: &ReloadPlan) -> Vec<String> {
        let line = |change: LinkChange| {
            format!("{}/{} {} {}", change.endpoint, change.index, change.action.as_str(), change.why.join(","))
        };
        plan.changes().map(line).collect()
    }

    #[test]
    fn each_link_is_told_what_becomes_of_it_and_why() {
        let old = "[endpoints.gone]\nurl = \"ws://h\"\n[endpoints.less]\nurl = \"ws://h\"\nlinks = 2\n\
                   [endpoints.more]\nurl = \"ws://h\"\n[endpoints.same]\nurl = \"ws://h\"\n";
        let new = "[endpoints.less]\nurl = \"ws://h\"\nheartbeat.idle = \"1s\"\n\
                   [endpoints.more]\nurl = \"ws://other\"\nlinks = 2\ncritical = true\n\
                   [endpoints.new]\nurl = \"ws://h\"\n[endpoints.same]\nurl = \"ws://h\"\n";
        let plan = planned(old, new);
        let expected = [
            "gone/0 removed endpoint",
            "less/0 applied live heartbeat.idle",
            "less/1 removed links",
            "more/0 rotate url,critical",
            "more/1 added links",
            "new/0 added endpoint",
            "same/0 unchanged ",
        ];
        assert_eq!(told(&plan), expected);
    }

    #[test]
    fn where_no_two_connections_may_be_open_a_change_closes_first() {
        let text = |more: &str| format!("[endpoints.a]\nurl = \"ws://h\"\n{more}");
        let (rotates, closes) = ("rotation.enabled = true\n", "rotation.enabled = false\n");
        let header = "headers = { A = \"b\" }\n";
        let kept = |old: &str, new: &str| planned(&text(old), &text(new)).steps["a"].kept;
        assert_eq!(kept("", header), ReloadAction::Rotate);
        assert_eq!(kept(closes, &format!("{closes}{header}")), ReloadAction::Reconnect);
        // The new keys are in force when it is carried out.
        assert_eq!(kept(closes, &format!("{rotates}{header}")), ReloadAction::Rotate);
        assert_eq!(kept(rotates, closes), ReloadAction::AppliedLive);
    }

    #[test]
    fn the_counts_are_those_of_the_changes() {
        let old = "[endpoints.a]\nurl = \"ws://h\"\nlinks = 3\n[endpoints.b]\nurl = \"ws://h\"\nlinks = 2\n";
        let new = "[endpoints.a]\nurl = \"ws://i\"\nlinks = 5\n[endpoints.b]\nurl = \"ws://h\"\n[endpoints.c]\nurl = \"ws://h\"\n";
        let plan = planned(old, new);
        for action in ReloadAction::ALL {
            let told = plan.changes().filter(|change| change.action == action).count() as u64;
            assert_eq!(plan.count(action), told, "{action:?}");
        }
        assert_eq!(plan.count(ReloadAction::Added), 3);
    }

    #[test]
    fn links_that_subscriptions_have_opened_follow_as_the_others_do_as_far_as_there_may_be_so_many() {
        let text = |more: &str| {
            format!(
                "[endpoints.a]\nurl = \"ws://h\"\n[endpoints.a.subscriptions]\nadd = \"${{key}}\"\nper_link = 2\n{more}"
            )
        };
        let (old, new) = (text("links.max = 8\n"), text("links.max = 4\nbatch = 2\n").replace("${key}", "${keys}"));
        let plan = plan(&loaded(&old).config, loaded(&new), true, &|_| vec![0, 2, 3, 5]);
        let why = "subscriptions.add,subscriptions.batch,subscriptions.links.max";
        let expected = ["0", "2", "3"].map(|link| format!("a/{link} rotate {why}"));
        assert_eq!(told(&plan)[..3], expected);
        assert_eq!(told(&plan)[3..], ["a/5 removed subscriptions.links.max"]);
        assert_eq!((plan.count(ReloadAction::Rotate), plan.count(ReloadAction::Removed)), (3, 1));
    }

    #[test]
    fn a_link_that_subscriptions_have_opened_is_neither_added_nor_removed_where_the_least_number_changes() {
        let text = |links: &str| {
            format!(
                "[endpoints.a]\nurl = \"ws://h\"\n[endpoints.a.subscriptions]\nadd = \"${{key}}\"\nper_link = 2\nlinks = {links}\n"
            )
        };
        let actions = |old: &str, new: &str, running: &[u32]| {
            let plan = plan(&loaded(&text(old)).config, loaded(&text(new)), true, &|_| running.to_vec());
            for action in ReloadAction::ALL {
                let told = plan.changes().filter(|change| change.action == action).count() as u64;
                assert_eq!(plan.count(action), told, "{old} {new} {action:?}");
            }
            let told = plan.changes().map(|change| format!("{} {}", change.index, change.action.as_str()));
            told.collect::<Vec<_>>()
        };
        let (one, four) = ("{ min = 1, max = 6 }", "{ min = 4, max = 6 }");
        let more = actions(one, four, &[0, 2, 4]);
        assert_eq!(more, ["0 unchanged", "1 added", "2 unchanged", "3 added", "4 unchanged"]);
        let fewer = actions(four, one, &[0, 1, 2, 3, 5]);
        assert_eq!(fewer, [0, 1, 2, 3, 5].map(|index| format!("{index} unchanged")));
        let least = actions(four, "{ min = 1, max = 3 }", &[0, 1, 2, 3, 4]);
        assert_eq!(least[2..], ["2 applied live", "3 removed", "4 removed"]);
    }

    #[test]
    fn a_key_that_needs_a_restart_keeps_its_value_and_is_told_of_again() {
        let old = loaded("[limits]\nreceipts = 5\n[endpoints.a]\nurl = \"ws://h\"\n").config;
        let text = "[limits]\nreceipts = 6\ndrain = \"1s\"\n[endpoints.a]\nurl = \"ws://h\"\n";
        let first = plan(&old, loaded(text), true, &NONE);
        assert_eq!((first.live, first.restart), (vec!["limits.drain"], vec!["limits.receipts"]));
        assert_eq!(first.config.limits.receipts, 5);
        let second = plan(&first.config, loaded(text), true, &NONE);
        assert_eq!((second.live, second.restart), (vec![], vec!["limits.receipts"]));
    }

    #[test]
    fn where_spans_go_stays_until_a_restart_too() {
        let text = |port: u16| {
            format!("tracing.otlp_endpoint = \"http://127.0.0.1:{port}\"\n[endpoints.a]\nurl = \"ws://h\"\n")
        };
        let first = plan(&loaded(&text(4317)).config, loaded(&text(4318)), true, &NONE);
        assert_eq!(first.restart, ["tracing"]);
        assert_eq!(plan(&first.config, loaded(&text(4318)), true, &NONE).restart, ["tracing"]);
    }

    #[test]
    fn a_store_that_could_not_be_opened_is_looked_for_elsewhere() {
        let old = loaded("storage.dir = \"/a\"\n[endpoints.a]\nurl = \"ws://h\"\n").config;
        let new = || loaded("storage.dir = \"/b\"\n[endpoints.a]\nurl = \"ws://h\"\n");
        assert_eq!(plan(&old, new(), true, &NONE).restart, ["storage.dir"]);
        let closed = plan(&old, new(), false, &NONE);
        assert_eq!((closed.live, closed.restart), (vec!["storage.dir"], vec![]));
        assert_eq!(closed.config.storage.dir, std::path::Path::new("/b"));
    }
}
