//! How the changes of a storm leave while a second of the primary's clock begins.

use super::*;

/// What a message takes, whatever it holds.
const WRITE: Duration = Duration::from_millis(10);
/// Clients, each of which has its next change as soon as the last is answered.
const CLIENTS: usize = 256;

/// When a zone that is in a storm was idle, and the most messages in flight, of a primary that does `together` what waits, or a
/// message after the other, and that `tells` its time.
fn idle(together: bool, tells: bool) -> (Vec<(Duration, Duration)>, usize) {
    let (mut bench, origin, mut changes, mut most) = (Bench::new(), Instant::now(), 0, 0);
    bench.now = origin;
    let (mut waiting, mut writing, mut until): (Vec<FlightId>, Vec<FlightId>, _) = (vec![], vec![], origin);
    let (mut idle, mut idle_since) = (vec![], None);
    let mut change = |bench: &mut Bench| {
        changes += 1;
        bench.set(&format!("h{}", changes % 2000), &format!("192.0.{}.{}", changes / 250 % 250, changes % 250));
    };
    (0..CLIENTS).for_each(|_| change(&mut bench));
    while bench.now < origin + Duration::from_secs(3) {
        if !writing.is_empty() && until <= bench.now {
            let passed = bench.now - origin;
            for flight in std::mem::take(&mut writing) {
                let names = bench.queue.names(flight);
                let subsecond = Duration::from_nanos(passed.subsec_nanos().into());
                if tells {
                    bench.queue.told_time(flight, passed.as_secs(), subsecond, bench.now);
                }
                bench.answer(flight, &|_| None);
                (0..names).for_each(|_| change(&mut bench));
            }
            // The clients take their time.
            idle_since = Some(passed);
        }
        let clients_are_back = idle_since.is_none_or(|since| origin + since + Duration::from_millis(3) <= bench.now);
        while clients_are_back && let Some(flight) = bench.queue.depart(bench.now) {
            waiting.push(flight);
        }
        most = most.max(bench.queue.in_flight());
        if writing.is_empty() && !waiting.is_empty() {
            let taken = if together { waiting.len() } else { 1 };
            writing.extend(waiting.drain(..taken));
            until = bench.now + WRITE;
            if let Some(since) = idle_since.take() {
                idle.push((since, bench.now - origin));
            }
        }
        bench.now += Duration::from_micros(500);
    }
    idle.retain(|(since, end)| end > since);
    (idle, most)
}

#[test]
fn a_zone_that_does_together_what_waits_is_never_idle_when_a_second_begins() {
    let (idle, most) = idle(true, true);
    assert!(most > WINDOW && most <= WINDOW_NEAR_SECOND, "{most}");
    for second in [1, 2].map(Duration::from_secs) {
        let found = idle.iter().find(|(since, end)| *since <= second && *end >= second);
        assert_eq!(found, None, "{idle:?}");
    }
}

#[test]
fn any_other_is_sent_to_as_ever() {
    let (_, most) = idle(false, true);
    assert_eq!(most, WINDOW);
    let (idle, most) = idle(true, false);
    assert_eq!(most, WINDOW, "without a word of its time nobody knows when a second begins");
    let total: Duration = idle.iter().map(|(since, end)| *end - *since).sum();
    assert!(total > Duration::from_millis(300), "a second begins while the zone is idle sooner or later: {total:?}");
}
