//! The recipes of `docs/recipes`, each followed by a reader who copies its files and types its commands: `page.rs` says how a page is read,
//! `walk.rs` who follows it. Services that cannot be had here are stood in for by `peers`.
//!
//! Nothing of a recipe is written down again here: a page that changes is tried as it is then.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(unreachable_pub, reason = "what tests share is as public as a library's items")]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

mod page;
#[path = "../support/mod.rs"]
mod support;
mod walk;

use std::{collections::BTreeSet, fs, path::Path};

use regex_lite::Regex;
use walk::walk;

/// A test for each recipe, and the list of them.
macro_rules! recipes {
    ($($test:ident follows $page:literal;)*) => {
        const FOLLOWED: &[&str] = &[$($page),*];
        $(#[test]
        fn $test() {
            walk($page);
        })*
    };
}

recipes! {
    one_link_serves_many_programs_each_at_its_own_pace follows "fan-out.md";
    each_message_is_one_row_of_postgres follows "feed-to-postgres.md";
    each_message_is_once_in_jetstream follows "feed-to-nats.md";
    each_message_is_at_least_once_in_kafka follows "feed-to-kafka.md";
    each_order_is_confirmed_whatever_is_killed follows "durable-orders.md";
    a_charge_point_answers_on_the_connection_that_asked follows "ocpp.md";
    a_house_is_caught_up_with_after_each_connection follows "home-assistant.md";
    slash_commands_wait_for_the_program_on_disk follows "slack.md";
    a_bot_of_discord_resumes_over_a_restart follows "discord.md";
    a_program_reads_beside_its_sidecar follows "sidecar.md";
    a_report_of_cron_waits_for_its_server follows "cron.md";
    each_user_has_a_link_that_outlives_the_daemon follows "one-link-a-user.md";
    five_lines_replace_a_loop_in_python follows "from-python-loop.md";
    a_kept_socket_replaces_partysocket follows "from-partysocket.md";
    commands_replace_websocat follows "from-websocat.md";
}

#[test]
fn every_recipe_is_followed_and_stands_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes");
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pages: BTreeSet<String> = names.filter(|name| name != "README.md").collect();
    assert_eq!(pages, FOLLOWED.iter().map(|&page| page.to_owned()).collect());
    let table = fs::read_to_string(folder.join("README.md")).unwrap();
    let metrics = fs::read_to_string(folder.join("../metrics.md")).unwrap();
    let metric = Regex::new(r"`(wskeeper_[a-z_]+)").unwrap();
    for page in pages {
        assert!(table.contains(&format!("]({page})")), "{page} is not in the table of README.md");
        let text = fs::read_to_string(folder.join(&page)).unwrap();
        for heading in ["\n## When something breaks\n", "\n## What to monitor\n"] {
            assert!(text.contains(heading), "{page} does not say {:?}", heading.trim());
        }
        for found in metric.captures_iter(&text) {
            assert!(metrics.contains(&format!("`{}`", &found[1])), "{page}: there is no metric {}", &found[1]);
        }
    }
}
