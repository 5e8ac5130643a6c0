//! Whoever was told that there was no answer hears of it.

use super::*;
use crate::engine::Late;

/// A change that is sent, and its caller's two ends.
fn sent(bench: &mut Bench) -> (FlightId, oneshot::Receiver<Answer>, oneshot::Receiver<Late>) {
    let ((answer, answered), (tell, late)) = (oneshot::channel(), oneshot::channel());
    let change = test_change("a.dyn.example", "192.0.2.1");
    let waiter = Waiter { records: change.records.clone(), until: bench.now + DEADLINE, answer, late: Some(tell) };
    bench.queue.submit(&change, Some(waiter), None, bench.cache.begin(&change.name), bench.now);
    (bench.queue.depart(bench.now).unwrap(), answered, late)
}

#[test]
fn of_an_acknowledgement_after_it_went() {
    let mut bench = Bench::new();
    let (flight, answered, mut late) = sent(&mut bench);
    drop(answered);
    assert!(late.try_recv().is_err(), "not yet");
    bench.queue.acknowledged(flight, bench.now);
    bench.read_back();
    assert_eq!(late.try_recv(), Ok(Late::Applied));
}

#[test]
fn of_no_acknowledgement_that_it_was_told_itself() {
    let mut bench = Bench::new();
    let (flight, mut answered, mut late) = sent(&mut bench);
    bench.queue.acknowledged(flight, bench.now);
    bench.read_back();
    assert!(answered.try_recv().is_ok());
    assert!(late.try_recv().is_err());
}

/// The message that is lost may come late though the next one is never sent.
#[test]
fn of_a_loss_before_it_went() {
    let mut bench = Bench::new();
    let (_, answered, mut late) = sent(&mut bench);
    bench.queue.connection_lost(false, bench.now);
    drop(answered);
    bench.queue.sweep(bench.now);
    assert!(bench.queue.depart(bench.now).is_none());
    assert_eq!(late.try_recv(), Ok(Late::Lost));
}
