//! The built gateway against real and scripted primaries. One program, so that the tests run in parallel.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends here")]

mod attack;
mod authentication;
mod below_wildcards;
mod beside_addresses;
mod challenges;
mod checking;
mod client_config;
mod command_line;
mod completions;
mod deferred;
mod demo;
mod deploying;
mod dialects;
mod fail2ban;
mod faults;
mod followers;
mod health;
mod journal;
mod kept;
mod late_updates;
mod listeners;
mod manual;
mod many_zones;
mod metrics;
#[path = "../store/namespace.rs"]
mod namespace;
mod notify;
mod operating;
mod other_dialects;
mod protocol;
mod proxy_protocol;
mod record_types;
mod records;
mod reliability;
mod reload;
mod removal;
mod repeats;
mod requests;
mod rooms;
mod secrets;
mod security;
mod served;
mod stage;
mod storm;
mod supervision;
mod templates;
mod tls;
mod trouble;
mod unreadable;
