//! What the zone shall hold, and what wildcards brought into being.

use std::net::Ipv4Addr;

use dyngate::model::{Addresses, Change, Families, Timestamp};
use dyngate::store::{Asked, Born, Deferral, Seen, Standing, StoreError, Unwanted, Wanted};

use crate::stage::{Stage, both, name, on_both, seen};

on_both!(
    a_newer_wish_stays_when_an_older_one_is_fulfilled,
    what_is_fulfilled_is_what_the_name_points_to,
    wishes_are_paged,
    a_request_is_deferred_behind_what_is_newer_and_forgotten_by_family,
    who_claims_one_family_leaves_the_other_to_who_claimed_that,
    what_nobody_claimed_gives_way_to_what_was_asked_for_later_by_family,
    one_gateway_at_a_time_has_a_wish_in_hand,
    what_is_deferred_is_in_the_hand_of_who_writes_it,
    names_are_born_up_to_a_number,
);

fn wish(host: &str, v4: Change<Ipv4Addr>, since: i64) -> Wanted {
    let account = "a".to_owned();
    Wanted {
        name: name(host),
        v4,
        v6: Change::Leave,
        ttl: 60,
        since: Timestamp(since),
        expires: Some(Timestamp(99)),
        account,
        source: None,
        agent: None,
    }
}

async fn a_newer_wish_stays_when_an_older_one_is_fulfilled(stage: &Stage) {
    let store = &stage.store;
    let host = name("home.dyn.example");
    let first = wish("home.dyn.example", Change::Set(Ipv4Addr::new(192, 0, 2, 1)), 10);
    store.want(std::slice::from_ref(&first)).await.unwrap();
    assert_eq!(store.wanted_of(&host).await.unwrap().unwrap(), first);
    // At the same moment, and of the other family alone.
    let second = Wanted { v4: Change::Leave, v6: Change::Remove, ttl: 0, expires: None, ..first.clone() };
    store.want(std::slice::from_ref(&second)).await.unwrap();
    let joined = store.wanted_of(&host).await.unwrap().unwrap();
    assert_eq!((joined.v4, joined.v6, joined.ttl), (first.v4, Change::Remove, 0));
    assert_eq!((joined.since, joined.expires), (Timestamp(11), None));
    assert!(!store.fulfilled(&host, first.since).await.unwrap());
    assert!(store.wanted_of(&host).await.unwrap().is_some());
    assert!(store.fulfilled(&host, joined.since).await.unwrap());
    assert_eq!(store.wanted_of(&host).await.unwrap(), None);
    assert!(!store.fulfilled(&host, joined.since).await.unwrap());
}

async fn what_is_fulfilled_is_what_the_name_points_to(stage: &Stage) {
    let store = &stage.store;
    let host = name("home.dyn.example");
    let address = Ipv4Addr::new(192, 0, 2, 1);
    store.want(&[wish("home.dyn.example", Change::Set(address), 1)]).await.unwrap();
    store.fulfilled(&host, Timestamp(1)).await.unwrap();
    let state = store.state(&host).await.unwrap().unwrap();
    assert_eq!(state.addresses, Addresses { v4: Some(address), v6: None });
    assert_eq!(state.last_seen, None, "no router called");
    store.record(&[seen("home.dyn.example", 5)]).await.unwrap();
    store.want(&[wish("home.dyn.example", Change::Remove, 1)]).await.unwrap();
    store.fulfilled(&host, Timestamp(1)).await.unwrap();
    assert_eq!(store.state(&host).await.unwrap().unwrap().addresses, Addresses::default());
    let gone = name("gone.dyn.example");
    store.want(&[Wanted::removal(gone.clone(), "a".into(), Timestamp(1))]).await.unwrap();
    assert!(store.fulfilled(&gone, Timestamp(1)).await.unwrap());
    assert_eq!(store.state(&gone).await.unwrap(), None, "a removal leaves no state behind");
}

async fn wishes_are_paged(stage: &Stage) {
    let hosts = ["c.dyn.example", "a.dyn.example", "b.dyn.example", "a.dyn.example"];
    let wishes = hosts.map(|host| wish(host, Change::Remove, 5));
    stage.store.want(&wishes).await.unwrap();
    let page = stage.store.wanted(None, 2).await.unwrap();
    let names: Vec<_> = page.iter().map(|wanted| wanted.wish.name.as_str()).collect();
    assert_eq!(names, ["a.dyn.example", "b.dyn.example"]);
    assert_eq!(page[0].wish.since, Timestamp(6), "the second wish for a name follows the first");
    let rest = stage.store.wanted(Some(&page[1].wish.name), 2).await.unwrap();
    assert_eq!(rest.len(), 1);
    let unfit = Wanted { ttl: u32::MAX, ..wishes[0].clone() };
    let unfit = stage.store.want(&[unfit]).await.unwrap_err();
    assert!(matches!(unfit, StoreError::Unfit { .. }), "{unfit}");
}

async fn a_request_is_deferred_behind_what_is_newer_and_forgotten_by_family(stage: &Stage) {
    let store = &stage.store;
    let host = name("home.dyn.example");
    let one = Ipv4Addr::new(192, 0, 2, 1);
    let request = |v4, since| Wanted {
        source: Some(one.into()),
        agent: Some("ddclient".into()),
        ..wish("home.dyn.example", v4, since)
    };
    let stands = async || store.wanted_of(&host).await.unwrap();
    store.defer(&[request(Change::Set(one), 10).into()], None).await.unwrap();
    assert_eq!(stands().await, Some(request(Change::Set(one), 10)));
    store.defer(&[request(Change::Set(Ipv4Addr::new(192, 0, 2, 9)), 9).into()], None).await.unwrap();
    assert_eq!(stands().await, Some(request(Change::Set(one), 10)), "an older one comes too late");
    let v6 = Wanted { v6: Change::Set("2001:db8::1".parse().unwrap()), ..request(Change::Leave, 12) };
    store.defer(&[v6.clone().into()], None).await.unwrap();
    assert_eq!(stands().await, Some(Wanted { v4: Change::Set(one), ..v6.clone() }));
    let not_v4 = Unwanted { v6: false, ..Unwanted::all(host.clone(), Timestamp(12)) };
    store.unwant(std::slice::from_ref(&not_v4)).await.unwrap();
    assert_eq!(stands().await, Some(v6));
    store.unwant(&[Unwanted::all(host.clone(), Timestamp(11))]).await.unwrap();
    assert!(stands().await.is_some(), "it is newer");
    store.unwant(&[Unwanted::all(host.clone(), Timestamp(12))]).await.unwrap();
    assert_eq!(stands().await, None);

    store.want(&[Wanted::removal(host.clone(), "a".into(), Timestamp(20))]).await.unwrap();
    store.defer(&[request(Change::Set(one), 30).into()], None).await.unwrap();
    assert_eq!(stands().await, Some(Wanted::removal(host.clone(), "a".into(), Timestamp(20))), "its host is gone");
    store.unwant(&[Unwanted::all(host.clone(), Timestamp(20))]).await.unwrap();

    store.claim(&[(host.clone(), Families::Both)], "other", Timestamp(0)).await.unwrap();
    store.defer(&[request(Change::Set(one), 40).into()], Some(("me", Timestamp(0)))).await.unwrap();
    assert_eq!(stands().await, None, "another gateway may have written it since");
    store.claim(&[(host.clone(), Families::Both)], "me", Timestamp(0)).await.unwrap();
    store.defer(&[request(Change::Set(one), 40).into()], Some(("me", Timestamp(0)))).await.unwrap();
    assert!(stands().await.is_some());
    assert_eq!(store.fulfilled_all(&[(host.clone(), Timestamp(39))]).await.unwrap(), 0);
    assert_eq!(store.fulfilled_all(&[(host.clone(), Timestamp(40))]).await.unwrap(), 1);
    let history = store.history(&host, 10).await.unwrap();
    let told = history.first().map(|event| (event.new.v4, event.source, event.agent.as_deref()));
    assert_eq!(told, Some((Some(one), Some(one.into()), Some("ddclient"))));
    assert_eq!(store.state(&host).await.unwrap().unwrap().last_update, history.first().map(|event| event.at));
}

async fn who_claims_one_family_leaves_the_other_to_who_claimed_that(stage: &Stage) {
    let store = &stage.store;
    let host = name("home.dyn.example");
    let only = [host.clone()];
    let v4 = Change::Set(Ipv4Addr::new(192, 0, 2, 1));
    let of_both =
        |since| Wanted { v6: Change::Set("2001:db8::1".parse().unwrap()), ..wish("home.dyn.example", v4, since) };
    let claim = async |families, who| store.claim(&[(host.clone(), families)], who, Timestamp(0)).await.unwrap().taken;
    assert_eq!(claim(Families::V4, "one").await.len(), 1);
    assert_eq!(claim(Families::V6, "other").await.len(), 1);
    assert_eq!(claim(Families::V6, "other").await.len(), 0);
    assert_eq!(store.state(&host).await.unwrap().unwrap().generation, 2);
    assert_eq!(
        store.defer(&[of_both(20).into()], Some(("other", Timestamp(0)))).await.unwrap(),
        only,
        "of it, v4 is not"
    );
    // Asked for earlier, and written later.
    let earlier = Wanted { source: Some(Ipv4Addr::LOCALHOST.into()), ..of_both(10) };
    assert_eq!(store.defer(&[earlier.into()], Some(("one", Timestamp(0)))).await.unwrap(), only, "nor v6");
    let stands = store.wanted_of(&host).await.unwrap().unwrap();
    assert_eq!((stands.v4, stands.v6, stands.since), (v4, of_both(0).v6, Timestamp(21)));
}

async fn what_nobody_claimed_gives_way_to_what_was_asked_for_later_by_family(stage: &Stage) {
    let store = &stage.store;
    let host = name("home.dyn.example");
    let only = [host.clone()];
    let source = Some(Ipv4Addr::LOCALHOST.into());
    let v6 = Change::Set("2001:db8::1".parse().unwrap());
    let v4 = |last| Change::Set(Ipv4Addr::new(192, 0, 2, last));
    let now = Timestamp::now().0;
    let asked = |at| [Asked { at: Timestamp(at), claimed: None }; 2];
    let unclaimed = |wish: Wanted, at| Deferral { wish: Wanted { source, ..wish }, asked: asked(at) };
    let first = Wanted { v6, ..wish("home.dyn.example", v4(1), now) };
    assert!(store.defer(&[unclaimed(first, now - 5000)], Some(("one", Timestamp(0)))).await.unwrap().is_empty());
    // By another clock it is the newer one.
    let older = wish("home.dyn.example", v4(2), now + 60_000);
    assert_eq!(store.defer(&[unclaimed(older, now - 6000)], Some(("other", Timestamp(0)))).await.unwrap(), only);
    assert_eq!(store.wanted_of(&host).await.unwrap().unwrap().v4, v4(1));

    let answered = |at| Seen { settled: [Some(Timestamp(at)), None], ..seen("home.dyn.example", now) };
    store.record(&[answered(now - 5500)]).await.unwrap();
    assert!(store.drop_settled().await.unwrap().is_empty(), "it was accepted before");
    store.record(&[answered(now - 4000), answered(now - 5500)]).await.unwrap();
    assert_eq!(store.drop_settled().await.unwrap(), only);
    let left = store.wanted_of(&host).await.unwrap().unwrap();
    assert_eq!((left.v4, left.v6), (Change::Leave, v6));
    assert!(store.drop_settled().await.unwrap().is_empty());
    // What is done settles it too.
    assert!(store.fulfilled(&host, left.since).await.unwrap());
    let late = Wanted { v6, ..wish("home.dyn.example", Change::Leave, now) };
    store.defer(&[unclaimed(late, now - 5500)], Some(("other", Timestamp(0)))).await.unwrap();
    assert_eq!(store.drop_settled().await.unwrap(), only);
    assert_eq!(store.wanted_of(&host).await.unwrap(), None);
}

async fn one_gateway_at_a_time_has_a_wish_in_hand(stage: &Stage) {
    let store = &stage.store;
    let (host, free) = (name("home.dyn.example"), name("free.dyn.example"));
    let names = [host.clone(), free.clone()];
    const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);
    let later = Timestamp::now().plus(MINUTE);
    store.want(&[wish("home.dyn.example", Change::Remove, 5)]).await.unwrap();
    let claim =
        async |who: &str, until| store.claim(&both(&names), who, until).await.unwrap().wishes.get(&host).copied();
    let standing = |is_ours| Some(Standing { since: Timestamp(5), is_ours });
    assert_eq!(claim("one", later).await, standing(true));
    assert_eq!(claim("one", later).await, standing(true), "again");
    assert_eq!(claim("other", later).await, standing(false));
    store.release(&names, "other", later.plus(MINUTE)).await.unwrap();
    assert_eq!(claim("other", later).await, standing(false), "it was not his to release");
    store.release(&names, "one", later.minus(MINUTE)).await.unwrap();
    assert_eq!(claim("other", later).await, standing(false), "it was claimed once more since");
    store.release(&names, "one", later.plus(MINUTE)).await.unwrap();
    assert_eq!(claim("other", Timestamp(1)).await, standing(true));
    assert_eq!(claim("one", later).await, standing(true), "the other's time is over");
    assert!(!store.claim(&both(&names), "one", later).await.unwrap().wishes.contains_key(&free));

    let in_hand = async |who: &str| store.claim_wishes(&names, who, later).await.unwrap();
    assert!(in_hand("other").await.wishes.is_empty(), "one has it in hand");
    assert!(store.claim(&both(&names), "one", later).await.unwrap().taken.is_empty(), "and is who writes the name");
    store.release_all("one").await.unwrap();
    let ours = in_hand("other").await;
    let ours_alone: Vec<_> = ours.wishes.iter().map(|deferral| Some(deferral.wish.clone())).collect();
    assert_eq!(ours_alone, [store.wanted_of(&host).await.unwrap()]);
    assert_eq!(ours.taken, [host.clone()].into(), "free has no wish");
}

/// A request may be under way that found nothing to claim when the wish was written.
async fn what_is_deferred_is_in_the_hand_of_who_writes_it(stage: &Stage) {
    let store = &stage.store;
    let host = name("home.dyn.example");
    let later = Timestamp::now().plus(std::time::Duration::from_secs(60));
    store.claim(&both(std::slice::from_ref(&host)), "one", later).await.unwrap();
    let wish = wish("home.dyn.example", Change::Set(Ipv4Addr::new(192, 0, 2, 1)), 5);
    assert!(store.defer(&[wish.into()], Some(("one", later))).await.unwrap().is_empty());
    let names = std::slice::from_ref(&host);
    assert!(store.claim_wishes(names, "other", later).await.unwrap().wishes.is_empty());
    store.release(names, "one", Timestamp(i64::MAX)).await.unwrap();
    assert_eq!(store.claim_wishes(names, "other", later).await.unwrap().wishes.len(), 1);
}

async fn names_are_born_up_to_a_number(stage: &Stage) {
    let other = stage.again().await;
    let hosts: Vec<_> = (0..20).map(|number| name(&format!("h{number}.dyn.example"))).collect();
    let tasks: Vec<_> = hosts
        .iter()
        .enumerate()
        .map(|(number, host)| {
            let store = if number % 2 == 0 { stage.store.clone() } else { other.clone() };
            let host = host.clone();
            tokio::spawn(async move { store.bear("declared", &host, 7).await.unwrap() })
        })
        .collect();
    let mut born = Vec::new();
    for task in tasks {
        born.push(task.await.unwrap());
    }
    let of = |kind: Born| born.iter().filter(|born| **born == kind).count();
    assert_eq!((of(Born::New), of(Born::TooMany)), (7, 13));
    let first = hosts.iter().zip(&born).find(|(_, born)| **born == Born::New).unwrap().0;
    assert_eq!(stage.store.bear("declared", first, 7).await.unwrap(), Born::Known);
    assert_eq!(stage.store.bear("declared", first, 0).await.unwrap(), Born::Known);
    stage.store.unbear("declared", first).await.unwrap();
    assert_eq!(stage.store.bear("declared", &name("new.dyn.example"), 7).await.unwrap(), Born::New);
    assert_eq!(stage.store.bear("declared", first, 7).await.unwrap(), Born::TooMany);
    assert_eq!(stage.store.bear("another", first, 1).await.unwrap(), Born::New);
}
