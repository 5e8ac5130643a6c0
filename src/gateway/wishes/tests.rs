//! What is deferred, and in which order.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::model::Addresses;

const MOST: usize = 3;
const V4: Records = Records { v4: Change::Set(Ipv4Addr::UNSPECIFIED), v6: Change::Leave };
const V6: Records = Records { v4: Change::Leave, v6: Change::Set(Ipv6Addr::UNSPECIFIED) };

fn name(text: &str) -> Hostname {
    Hostname::parse(text).unwrap()
}

fn home() -> Hostname {
    name("home.dyn.example")
}

fn zone() -> ZoneName {
    ZoneName::parse("dyn.example").unwrap()
}

fn wanted(name: Hostname, records: Records, at: Timestamp) -> Wanted {
    let Records { v4, v6 } = records;
    let (expires, account, agent) = (None, "account".to_owned(), None);
    Wanted { name, v4, v6, ttl: 60, since: at, expires, account, source: Some(Ipv4Addr::LOCALHOST.into()), agent }
}

fn v4(last: u8) -> Records {
    Addresses { v4: Some([203, 0, 113, last].into()), v6: None }.into()
}

fn deferred(wishes: &mut Wishes, records: Records, now: i64) -> Timestamp {
    let at = wishes.begin(&home(), Timestamp(now));
    assert!(wishes.defer(wanted(home(), records, at), Asked::default(), &zone(), MOST));
    wishes.end(&home());
    at
}

fn stands(wishes: &Wishes) -> Option<Records> {
    wishes.page(None, 10).first().map(|wanted| Records { v4: wanted.v4, v6: wanted.v6 })
}

#[test]
fn the_newest_replaces_by_family_whatever_the_clock_says() {
    let mut wishes = Wishes::default();
    deferred(&mut wishes, v4(1), 100);
    deferred(&mut wishes, V6, 101);
    let at = deferred(&mut wishes, v4(2), 50);
    assert_eq!(at, Timestamp(102), "the clock went back");
    assert_eq!(stands(&wishes), Some(Records { v6: V6.v6, ..v4(2) }));
    assert_eq!((wishes.count(), wishes.counts().next()), (1, Some((&zone(), 1))));
}

#[test]
fn an_answer_ends_what_was_asked_for_before_it_by_the_families_it_names() {
    let mut wishes = Wishes::default();
    deferred(&mut wishes, v4(1), 1);
    let newer = deferred(&mut wishes, V6, 2);
    let at = wishes.begin(&home(), Timestamp(3));
    let unwanted = wishes.answered(&home(), at, V4).unwrap();
    assert_eq!((unwanted.v4, unwanted.v6), (true, false));
    assert!(unwanted.until >= newer, "the row that both share is meant");
    assert_eq!(stands(&wishes), Some(V6));
    assert_eq!(wishes.answered(&home(), at, V4), None, "nothing older is left of that family");
    assert!(wishes.answered(&home(), at, V6).is_some());
    assert_eq!((stands(&wishes), wishes.count()), (None, 0));
    wishes.end(&home());
    assert!(!wishes.knows(&home()), "nothing is remembered of a name at rest");
}

#[test]
fn an_older_request_that_ends_after_a_newer_one_was_answered_is_not_deferred() {
    let mut wishes = Wishes::default();
    let old = wishes.begin(&home(), Timestamp(1));
    let new = wishes.begin(&home(), Timestamp(1));
    assert!(new > old);
    assert_eq!(wishes.answered(&home(), new, V4), None);
    wishes.end(&home());
    assert!(wishes.defer(wanted(home(), v4(1), old), Asked::default(), &zone(), MOST));
    assert_eq!(stands(&wishes), None);
    assert!(wishes.defer(wanted(home(), V6, old), Asked::default(), &zone(), MOST));
    assert_eq!(stands(&wishes), Some(V6), "the other family was left alone by the newer one");
}

#[test]
fn nothing_is_done_while_a_request_is_under_way_and_its_end_says_so() {
    let mut wishes = Wishes::default();
    let at = deferred(&mut wishes, v4(1), 1);
    assert!(!wishes.written(&wishes.unwritten(10)));
    assert!(wishes.ready(&home(), at).is_some());
    wishes.begin(&home(), Timestamp(2));
    assert_eq!(wishes.ready(&home(), at), None);
    assert!(wishes.end(&home()), "passed over");
    assert!(!wishes.end(&home()), "told once");
    assert_eq!(wishes.ready(&home(), Timestamp(7)), None, "another wish");
    wishes.done(&home(), Timestamp(7));
    assert!(stands(&wishes).is_some());
    wishes.done(&home(), at);
    assert_eq!((stands(&wishes), wishes.count()), (None, 0));
}

#[test]
fn the_number_is_bounded_and_known_names_are_replaced_all_the_same() {
    let mut wishes = Wishes::default();
    let at = |number: i64| Timestamp(number);
    for number in 0..3 {
        assert!(wishes.defer(
            wanted(name(&format!("h{number}.dyn.example")), V4, at(1)),
            Asked::default(),
            &zone(),
            MOST
        ));
    }
    assert!(!wishes.defer(wanted(home(), V4, at(2)), Asked::default(), &zone(), MOST));
    assert!(wishes.defer(wanted(name("h1.dyn.example"), v4(9), at(2)), Asked::default(), &zone(), MOST));
    assert_eq!(wishes.count(), MOST);
}

#[test]
fn what_the_store_has_is_known_and_what_it_has_no_longer_is_forgotten() {
    let mut wishes = Wishes::default();
    let at = deferred(&mut wishes, v4(1), 5);
    wishes.begin_scan();
    wishes.end_scan();
    assert!(stands(&wishes).is_some(), "not written yet, so it cannot be there");
    let some = wishes.unwritten(10);
    assert_eq!(some.len(), 1);
    wishes.written(&some);
    wishes.end_scan();
    assert!(stands(&wishes).is_some(), "written while the look went on");
    assert!(wishes.unwritten(10).is_empty());
    wishes.begin_scan();
    wishes.load(wanted(home(), v4(1), at), [at; 2], Some(&zone()));
    wishes.end_scan();
    assert!(stands(&wishes).is_some());
    wishes.begin_scan();
    wishes.end_scan();
    assert_eq!((stands(&wishes), wishes.count()), (None, 0), "another gateway did it");
}

#[test]
fn a_row_that_was_read_before_a_newer_request_was_answered_is_not_taken_in() {
    let mut wishes = Wishes::default();
    let at = wishes.begin(&home(), Timestamp(9));
    wishes.answered(&home(), at, V4);
    wishes.load(wanted(home(), v4(1), Timestamp(8)), [Timestamp(8); 2], Some(&zone()));
    assert_eq!(stands(&wishes), None);
    wishes.load(wanted(home(), Records { v6: V6.v6, ..v4(1) }, Timestamp(8)), [Timestamp(8); 2], Some(&zone()));
    assert_eq!(stands(&wishes), Some(V6));
}

#[test]
fn a_family_that_left_the_store_is_not_written_again_with_the_other() {
    let mut wishes = Wishes::default();
    deferred(&mut wishes, V6, 1);
    let some = wishes.unwritten(10);
    wishes.written(&some);
    let at = deferred(&mut wishes, v4(1), 2);
    let some = wishes.unwritten(10);
    assert_eq!(
        some.iter().map(|wanted| (wanted.wish.v4, wanted.wish.v6)).collect::<Vec<_>>(),
        [(v4(1).v4, Change::Leave)]
    );
    wishes.written(&some);
    wishes.load(wanted(home(), v4(7), Timestamp(1)), [Timestamp(1); 2], Some(&zone()));
    assert_eq!(stands(&wishes), Some(Records { v6: V6.v6, ..v4(1) }), "read before ours was written");
    wishes.load(wanted(home(), v4(1), at), [at; 2], Some(&zone()));
    assert_eq!(stands(&wishes), Some(v4(1)), "another gateway was told another one meanwhile");
}

#[test]
fn what_another_gateway_was_told_and_ours_was_joined_to_is_done_with_it() {
    let mut wishes = Wishes::default();
    let at = deferred(&mut wishes, v4(1), 2);
    assert_eq!(wishes.ready(&home(), at), None, "the store may join it to more");
    assert!(wishes.written(&wishes.unwritten(10)), "passed over");
    wishes.load(wanted(home(), Records { v6: V6.v6, ..v4(1) }, at), [at; 2], Some(&zone()));
    assert_eq!(stands(&wishes), Some(Records { v6: V6.v6, ..v4(1) }));
    assert_eq!(wishes.ready(&home(), at).map(|wish| wish.v6), Some(V6.v6));
}

#[test]
fn what_joins_a_wish_while_it_is_done_is_not_done() {
    let mut wishes = Wishes::default();
    // By another gateway's clock it is of later.
    let ahead = Timestamp(60_000);
    wishes.load(wanted(home(), Records { v6: V6.v6, ..v4(1) }, ahead), [Timestamp(1); 2], Some(&zone()));
    deferred(&mut wishes, v4(2), 2);
    wishes.done(&home(), ahead);
    assert_eq!(stands(&wishes), Some(v4(2)));
}

#[test]
fn what_joins_a_wish_while_it_is_written_is_not_written_yet() {
    let mut wishes = Wishes::default();
    let older = wishes.begin(&home(), Timestamp(1));
    deferred(&mut wishes, V6, 2);
    let some = wishes.unwritten(10);
    assert!(wishes.defer(wanted(home(), v4(1), older), Asked::default(), &zone(), MOST));
    wishes.written(&some);
    let left: Vec<_> = wishes.unwritten(10).into_iter().map(|left| (left.wish.v4, left.wish.v6)).collect();
    assert_eq!(left, [(v4(1).v4, Change::Leave)]);
}

proptest! {
    /// Requests for one name begin in order and end in any: what is deferred in the end is, by family, the newest that ended
    /// unanswered, unless a newer one of that family was answered.
    #[test]
    fn what_stands_is_newer_than_all_that_was_answered(
        requests in prop::collection::vec((any::<bool>(), any::<bool>(), 0..4_u8, any::<prop::sample::Index>()), 1..12)
    ) {
        let mut wishes = Wishes::default();
        let mut open: Vec<(usize, Timestamp)> = requests.iter().enumerate()
            .map(|(number, _)| (number, wishes.begin(&home(), Timestamp(7)))).collect();
        let mut answered = [0, 0];
        let mut unanswered = [0, 0];
        let mut order = Vec::new();
        for (_, _, _, index) in &requests {
            order.push(open.remove(index.index(open.len())));
        }
        for (number, at) in order {
            let (is_v4, is_answered, ..) = requests[number];
            let records = if is_v4 { v4(u8::try_from(number).unwrap()) } else { V6 };
            let family = usize::from(!is_v4);
            let place = number + 1;
            if is_answered {
                wishes.answered(&home(), at, records);
                answered[family] = answered[family].max(place);
            } else {
                wishes.defer(wanted(home(), records, at), Asked::default(), &zone(), MOST);
                unanswered[family] = unanswered[family].max(place);
            }
        }
        let records = stands(&wishes).unwrap_or_default();
        let expected = unanswered[0] > answered[0];
        prop_assert_eq!(records.v4, if expected { v4(u8::try_from(unanswered[0] - 1).unwrap()).v4 } else { Change::Leave });
        prop_assert_eq!(records.v6.is_made(), unanswered[1] > answered[1]);
        for _ in &requests {
            wishes.end(&home());
        }
        prop_assert_eq!(wishes.knows(&home()), wishes.count() > 0);
    }
}

#[test]
fn a_wish_is_not_let_go_while_a_request_or_the_engine_is_busy_with_its_name() {
    let mut wishes = Wishes::default();
    let at = wishes.begin(&home(), Timestamp(1));
    assert!(wishes.defer(wanted(home(), V4, at), Asked::default(), &zone(), MOST));
    assert!(!wishes.is_idle(&home(), 0), "the request is under way");
    assert!(!wishes.is_idle(&home(), 1), "so is the wish, on its way to the store");
    wishes.written(&wishes.unwritten(10));
    assert!(wishes.is_idle(&home(), 1), "but for that request");
    wishes.end(&home());
    assert!(wishes.is_idle(&home(), 0));
    wishes.runs(&home(), true);
    assert!(!wishes.is_idle(&home(), 0));
    wishes.runs(&home(), false);
    assert!(wishes.is_idle(&home(), 0));
}
