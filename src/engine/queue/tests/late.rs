//! Whoever was told that there was no answer hears of it.

use super::*;
use crate::engine::Late;
use crate::engine::entry::Waiter;

/// A change that is sent, and its caller's two ends.
fn sent(bench: &mut Bench) -> (FlightId, oneshot::Receiver<Answer>, oneshot::Receiver<Late>) {
    let ((answer, answered), (tell, late)) = (oneshot::channel(), oneshot::channel());
    let wish = test_wish("a.dyn.example", "192.0.2.1");
    let waiter = Waiter { wish, until: bench.now + DEADLINE, is_errand: false, answer, late: Some(tell) };
    bench.lane.submit(waiter, bench.now);
    (bench.lane.depart(bench.now).unwrap(), answered, late)
}

#[test]
fn of_an_acknowledgement_after_he_went() {
    let mut bench = Bench::new();
    let (flight, answered, mut late) = sent(&mut bench);
    drop(answered);
    assert!(late.try_recv().is_err(), "not yet");
    bench.lane.acknowledged(flight, bench.now);
    assert_eq!(late.try_recv(), Ok(Late::Applied));
}

#[test]
fn of_no_acknowledgement_that_he_was_told_himself() {
    let mut bench = Bench::new();
    let (flight, mut answered, mut late) = sent(&mut bench);
    bench.lane.acknowledged(flight, bench.now);
    assert!(answered.try_recv().is_ok());
    assert!(late.try_recv().is_err());
}

/// The message that is lost may come late though the next one is never sent.
#[test]
fn of_a_loss_before_he_went() {
    let mut bench = Bench::new();
    let (_, answered, mut late) = sent(&mut bench);
    bench.lane.connection_lost(false, bench.now);
    drop(answered);
    bench.lane.forget_unwanted(bench.now);
    assert!(bench.lane.depart(bench.now).is_none());
    assert_eq!(late.try_recv(), Ok(Late::Lost));
}
