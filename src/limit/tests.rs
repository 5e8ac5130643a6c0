//! The limits on a paused clock: who is refused, for how long, and at whose expense.

use std::num::NonZeroU32;

use prometheus_client::registry::Registry;
use tokio::time::advance;

use super::*;

fn quota(burst: u32, per_minute: u32) -> Option<Quota> {
    Some(Quota { burst: NonZeroU32::new(burst).unwrap(), per_minute: NonZeroU32::new(per_minute).unwrap() })
}

fn limits(quota: Option<Quota>) -> (Limits, Registry) {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    (Limits::new(&all(quota), metrics), registry)
}

/// One quota for every limit.
fn all(quota: Option<Quota>) -> config::Limits {
    config::Limits { host: quota, account: quota, source: quota, failed_logins: quota, repeats: quota }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn allowed(times: u32, mut ask: impl FnMut(u32) -> Result<(), Duration>) -> u32 {
    (0..times).map(|n| u32::from(ask(n).is_ok())).sum()
}

#[tokio::test(start_paused = true)]
async fn after_the_burst_the_steady_rate_holds() {
    let (limits, _) = limits(quota(10, 6));
    let name = Hostname::parse("home.dyn.example").unwrap();
    assert_eq!(allowed(20, |_| limits.host(&name)), 10);
    assert_eq!(limits.host(&name), Err(Duration::from_secs(10)));
    assert_eq!(limits.host(&Hostname::parse("other.dyn.example").unwrap()), Ok(()), "each host has its own");
    advance(Duration::from_secs(10)).await;
    assert_eq!(allowed(5, |_| limits.host(&name)), 1);
    advance(Duration::from_secs(3600)).await;
    assert_eq!(allowed(20, |_| limits.host(&name)), 10, "never more than the burst is saved up");
}

#[tokio::test(start_paused = true)]
async fn off_never_refuses() {
    let (limits, _) = limits(None);
    let name = Hostname::parse("home.dyn.example").unwrap();
    assert_eq!(allowed(1000, |_| limits.source(ip("192.0.2.1"))), 1000);
    assert_eq!(allowed(1000, |_| limits.account("router1", 20)), 1000);
    assert_eq!(allowed(1000, |_| limits.host(&name)), 1000);
    limits.failed_login(ip("192.0.2.1"), "router1");
    assert_eq!(allowed(1000, |_| limits.may_hash(ip("192.0.2.1"), "router1", 1000).map(drop)), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_mapped_address_is_the_ipv4_address() {
    let (limits, _) = limits(quota(2, 1));
    assert_eq!(limits.source(ip("192.0.2.1")), Ok(()));
    assert_eq!(limits.source(ip("::ffff:192.0.2.1")), Ok(()));
    assert!(limits.source(ip("192.0.2.1")).is_err());
    assert_eq!(limits.source(ip("192.0.2.2")), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_56_gets_four_times_and_a_48_sixteen_times_a_64() {
    let (of_64, _) = limits(quota(10, 1));
    assert_eq!(allowed(100, |n| of_64.source(ip(&format!("2001:db8:0:1::{n:x}")))), 10);
    let (of_56, _) = limits(quota(10, 1));
    assert_eq!(allowed(200, |n| of_56.source(ip(&format!("2001:db8:0:{:x}::1", n % 256)))), 40);
    let (of_48, _) = limits(quota(10, 1));
    assert_eq!(allowed(1000, |n| of_48.source(ip(&format!("2001:db8:0:{:x}::1", n * 61 % 65_536)))), 160);
    assert_eq!(of_48.source(ip("2001:db8:1::1")), Ok(()), "another /48 is another customer");
}

#[tokio::test(start_paused = true)]
async fn a_flooding_64_takes_nothing_from_its_neighbours() {
    let (limits, _) = limits(quota(10, 1));
    assert_eq!(allowed(10_000, |_| limits.source(ip("2001:db8::1"))), 10);
    assert_eq!(
        allowed(30, |n| limits.source(ip(&format!("2001:db8:0:{:x}::1", 1 + n % 3)))),
        30,
        "the rest of the /56"
    );
    assert!(limits.source(ip("2001:db8:0:4::1")).is_err(), "the /56 is used up");
    advance(Duration::from_secs(15)).await;
    assert_eq!(limits.source(ip("2001:db8:0:4::1")), Ok(()), "and comes back four times as fast");
}

#[tokio::test(start_paused = true)]
async fn a_request_with_more_hosts_than_the_burst_takes_the_burst() {
    let (limits, _) = limits(quota(5, 60));
    assert_eq!(limits.account("router1", 20), Ok(()));
    assert_eq!(limits.account("router1", 20), Err(Duration::from_secs(5)));
    assert_eq!(limits.account("router1", 2), Err(Duration::from_secs(2)), "a refusal takes nothing");
    assert_eq!(limits.account("router1", 0), Ok(()));
    advance(Duration::from_secs(2)).await;
    assert_eq!(limits.account("router1", 2), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn failed_logins_count_for_the_source_and_for_the_login() {
    let (limits, _) = limits(quota(3, 2));
    let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
    assert_eq!(allowed(100, |_| limits.may_hash(one, "router1", 0).map(drop)), 100, "asking takes nothing");
    for _ in 0..3 {
        limits.failed_login(one, "router1");
    }
    assert_eq!(limits.may_hash(one, "router1", 0).map(drop), Err(Duration::from_secs(30)));
    assert!(limits.may_hash(one, "router2", 0).is_err(), "the source is exhausted");
    assert!(limits.may_hash(other, "router1", 0).is_err(), "the login is exhausted");
    assert_eq!(limits.may_hash(other, "router2", 0).map(drop), Ok(()));
    advance(Duration::from_secs(30)).await;
    assert_eq!(limits.may_hash(one, "router1", 0).map(drop), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn passwords_that_are_being_hashed_count_as_if_wrong() {
    let (limits, _) = limits(quota(3, 2));
    let source = ip("192.0.2.1");
    assert_eq!(limits.may_hash(source, "router1", 2).map(drop), Ok(()));
    assert!(limits.may_hash(source, "router1", 3).is_err());
    assert_eq!(limits.may_hash(source, "router2", 0).map(drop), Ok(()), "of this login only");
}

#[tokio::test(start_paused = true)]
async fn guesses_of_one_source_at_many_logins_count_while_they_are_hashed() {
    let (limits, _) = limits(quota(3, 2));
    let guess = |source: &str, n: u32| limits.may_hash(ip(source), &format!("router{n}"), 0);
    let under_way: Vec<_> = (0..100).filter_map(|n| guess("2001:db8::1", n).ok()).collect();
    assert_eq!(under_way.len(), 3);
    assert!(guess("2001:db8::2", 100).is_err(), "the same /64");
    assert!(guess("2001:db8:0:1::1", 101).is_ok());
    drop(under_way);
    assert!(guess("2001:db8::1", 102).is_ok(), "they were right");
    limits.set(&all(quota(1, 2)));
    let one = guess("2001:db8::1", 103).unwrap();
    limits.set(&all(quota(2, 2)));
    assert_eq!((guess("2001:db8::1", 104).is_ok(), one.numbers[0]), (true, 1), "a reload forgets none");
    let _two = guess("2001:db8::1", 105).unwrap();
    assert!(guess("2001:db8::1", 106).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_guesser_with_a_48_has_sixteen_times_the_guesses_and_no_more() {
    let guesses = |limits: &Limits, times, network: fn(u32) -> u32| {
        allowed(times, |n| {
            let (source, login) = (ip(&format!("2001:db8:0:{:x}::1", network(n))), format!("router{n}"));
            limits.may_hash(source, &login, 0).map(|_guess| limits.failed_login(source, &login))
        })
    };
    let (of_56, _) = limits(quota(10, 1));
    assert_eq!(guesses(&of_56, 200, |n| n % 256), 40);
    let (of_48, _) = limits(quota(10, 1));
    assert_eq!(guesses(&of_48, 300, |n| n * 211), 160);
    assert!(of_48.may_hash(ip("2001:db8:1::1"), "router", 0).is_ok(), "another /48 is another customer");
    // All at once, before any is known to be wrong.
    let (at_once, _) = limits(quota(10, 1));
    let guess = |n: u32| at_once.may_hash(ip(&format!("2001:db8:0:{:x}::1", n * 211)), &format!("router{n}"), 0);
    assert_eq!((0..300).filter_map(|n| guess(n).ok()).collect::<Vec<_>>().len(), 160);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_counted() {
    let (limits, registry) = limits(quota(1, 1));
    limits.failed_login(ip("192.0.2.1"), "router1");
    for _ in 0..3 {
        let _ = limits.account("router1", 1);
        let _ = limits.may_hash(ip("192.0.2.1"), "router1", 0);
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("dyngate_rate_limited_total{limit=\"account\"} 2"), "{text}");
    assert!(text.contains("dyngate_rate_limited_total{limit=\"failed_logins\"} 3"), "{text}");
    assert!(text.contains("dyngate_rate_limited_total{limit=\"source\"} 0"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_largest_numbers_do_not_overflow() {
    let (limits, _) = limits(quota(u32::MAX, 1));
    assert_eq!(allowed(100, |_| limits.source(ip("2001:db8::1"))), 100);
    assert_eq!(limits.account("router1", u32::MAX), Ok(()));
    assert!(limits.account("router1", u32::MAX).is_err());
    let (limits, _) = self::limits(quota(u32::MAX, u32::MAX));
    assert_eq!(allowed(100, |_| limits.source(ip("2001:db8::1"))), 100);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_new_keys_does_not_free_a_limited_one() {
    let (limits, _) = limits(quota(10, 6));
    let limited: Vec<Hostname> = (0..100).map(|n| Hostname::parse(&format!("h{n}.dyn.example")).unwrap()).collect();
    for name in &limited {
        assert_eq!(allowed(11, |_| limits.host(name)), 10);
    }
    let rules = limits.rules();
    let limiter = rules.host.as_ref().unwrap();
    for n in 0..1_000_000_u32 {
        assert_eq!(limiter.take(&n, 1), Ok(()), "a newcomer is served, ten times as many as there is room for");
    }
    assert_eq!(limited.iter().filter(|name| limits.host(name).is_ok()).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn only_what_was_told_before_is_a_repeat() {
    let (limits, _) = limits(quota(3, 6));
    let name = Hostname::parse("home.dyn.example").unwrap();
    let (one, other) = (Addresses::from(ip("192.0.2.1")), Addresses::from(ip("192.0.2.2")));
    let repeat = |addresses| limits.may_repeat(&name, addresses).map(|()| limits.answered(&name, addresses));
    assert_eq!(allowed(10, |_| repeat(one)), 4, "the first is news");
    assert_eq!(repeat(one), Err(Duration::from_secs(10)));
    assert_eq!(allowed(10, |n| repeat([other, one][n as usize % 2])), 10, "a new address each time is none");
    assert!(repeat(one).is_err(), "and has given nothing back");
    advance(Duration::from_secs(10)).await;
    assert_eq!(allowed(10, |_| repeat(one)), 1);
    let neighbour = Hostname::parse("other.dyn.example").unwrap();
    assert_eq!(allowed(4, |_| limits.may_repeat(&neighbour, one).map(|()| limits.answered(&neighbour, one))), 4);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_ours_is_not_counted_nor_what_follows_it() {
    let (limits, _) = limits(quota(1, 1));
    let name = Hostname::parse("home.dyn.example").unwrap();
    let address = Addresses::from(ip("192.0.2.1"));
    for _ in 0..100 {
        assert_eq!(limits.may_repeat(&name, address), Ok(()), "asking counts nothing");
        limits.failed(&name);
        assert_eq!(limits.may_repeat(&name, address), Ok(()));
        limits.answered(&name, address);
    }
    limits.answered(&name, address);
    assert!(limits.may_repeat(&name, address).is_err(), "the second answer in a row counts");
    limits.failed(&name);
    assert_eq!(limits.may_repeat(&name, address), Ok(()), "it was told to come back");
}

#[tokio::test(start_paused = true)]
async fn a_router_that_sends_its_families_one_by_one_repeats_both() {
    let (limits, _) = limits(quota(4, 1));
    let name = Hostname::parse("home.dyn.example").unwrap();
    let families = ["192.0.2.1", "2001:db8::1"].map(|address| Addresses::from(ip(address)));
    let both = Addresses { v4: families[0].v4, v6: families[1].v6 };
    let repeat = |addresses| limits.may_repeat(&name, addresses).map(|()| limits.answered(&name, addresses));
    assert_eq!(allowed(10, |n| repeat(families[n as usize % 2])), 6);
    assert!(repeat(both).is_err());
}

#[tokio::test(start_paused = true)]
async fn other_numbers_forgive_nobody_and_lock_out_nobody_for_longer_than_they_say() {
    let (limits, _) = limits(quota(10, 60));
    let [full, half, new] =
        ["full", "half", "new"].map(|name| Hostname::parse(&format!("{name}.dyn.example")).unwrap());
    advance(Duration::from_secs(1000)).await;
    assert_eq!((allowed(20, |_| limits.host(&full)), allowed(5, |_| limits.host(&half))), (10, 5));
    limits.set(&all(quota(10, 60)));
    assert_eq!(limits.host(&full), Err(Duration::from_secs(1)), "the same numbers change nothing");

    limits.set(&all(quota(8, 6)));
    assert_eq!(limits.host(&full), Err(Duration::from_secs(10)), "a slower rate: used up is used up, and no more");
    assert_eq!((allowed(20, |_| limits.host(&half)), allowed(20, |_| limits.host(&new))), (3, 8));

    limits.set(&all(quota(20, 600)));
    assert_eq!(allowed(50, |_| limits.host(&full)), 12, "a larger burst helps at once, by its difference");
    limits.set(&all(None));
    assert_eq!(allowed(50, |_| limits.host(&full)), 50);
    limits.set(&all(quota(1, 1)));
    assert_eq!(allowed(50, |_| limits.host(&full)), 1, "what was lifted has forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_guesser_is_not_forgiven_by_other_numbers() {
    let (limits, _) = limits(quota(3, 1));
    let guesser = ip("2001:db8::1");
    (0..3).for_each(|_| limits.failed_login(guesser, "router1"));
    assert_eq!(allowed(3, |_| limits.source(guesser)), 3);
    limits.set(&all(quota(3, 2)));
    assert_eq!(limits.may_hash(guesser, "router2", 0).map(drop), Err(Duration::from_secs(30)));
    assert_eq!(limits.may_hash(ip("192.0.2.1"), "router1", 0).map(drop), Err(Duration::from_secs(30)));
    assert_eq!(limits.source(guesser), Err(Duration::from_secs(30)));
}

#[tokio::test(start_paused = true)]
async fn a_repeater_is_not_forgiven_by_other_numbers() {
    let (limits, _) = limits(quota(3, 6));
    let [name, quiet] = ["home", "quiet"].map(|name| Hostname::parse(&format!("{name}.dyn.example")).unwrap());
    let address = Addresses::from(ip("192.0.2.1"));
    let repeat = |name| limits.may_repeat(name, address).map(|()| limits.answered(name, address));
    assert_eq!((allowed(10, |_| repeat(&name)), repeat(&quiet)), (4, Ok(())));
    limits.set(&all(quota(2, 1)));
    assert_eq!(repeat(&name), Err(Duration::from_secs(60)));
    assert_eq!(
        allowed(10, |_| repeat(&quiet)),
        2,
        "what it was last answered is remembered: its first is a repeat already"
    );
    limits.set(&all(None));
    assert_eq!(allowed(10, |_| repeat(&name)), 10);
    limits.set(&all(quota(2, 1)));
    assert_eq!(allowed(10, |_| repeat(&name)), 3, "what was lifted has forgotten");
}
