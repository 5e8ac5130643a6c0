//! PTR records of the hosts that have `ptr`: they follow the addresses where the reverse zone is ours. What a reverse zone does
//! or refuses changes no answer to a host's request.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::pending::Unmade;
use super::{Cleared, Gateway, HostVerdict};
use crate::engine::{self, Change, Compared, Keep, Origin, Own, Trouble};
use crate::model::{Addresses, Desired, DesiredRecords, Hostname, RrData, RrKey, RrType};
use crate::registry::Host;

/// Where a host moved, as the primary acknowledged it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved<'a> {
    pub(super) host: &'a Hostname,
    /// What it held before, as far as that is known.
    pub(super) old: &'a [IpAddr],
    pub(super) new: Addresses,
}

/// What stands where a PTR record is to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Exactly that record.
    Same,
    /// None, or that record with another TTL.
    Free,
    /// One that is not this host's: it is left alone, whoever set it.
    Anothers,
}

/// Keeps the PTR records of one gateway's hosts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pointers<'g>(pub(super) &'g Gateway);

impl<'g> Pointers<'g> {
    /// The addresses that the RRsets of `records` hold before they are changed.
    pub(super) async fn held_before(
        zone: &engine::Zone,
        name: &Hostname,
        records: &DesiredRecords,
        deadline: Instant,
    ) -> Vec<IpAddr> {
        let mut held = Vec::new();
        for (rtype, _) in records.iter().filter(|(rtype, _)| rtype.is_of_addresses()) {
            let key = RrKey { name: name.clone(), rtype };
            let of_type = match zone.known(&key) {
                Some(known) => vec![known],
                None => zone.read(&key, deadline).await.unwrap_or_default(),
            };
            held.extend(of_type.iter().filter_map(|held| held.data()?.address()));
        }
        held
    }

    /// Puts the PTR records of a host in step with where it moved; what the log is to say of those that are not.
    pub(super) async fn point(
        self,
        Moved { host, old, new }: Moved<'_>,
        origin: &Arc<Origin>,
        deadline: Instant,
    ) -> Option<String> {
        // Half of what is left: whoever waits has an answer already.
        let now = Instant::now();
        let deadline = now + deadline.saturating_duration_since(now) / 2;
        let left = old.iter().copied().filter(|old| !new.iter().any(|new| new == *old));
        let gone = left.map(|address| (address, Desired::Without(RrData::Ptr(host.clone()))));
        let (mut changes, mut said) = (Vec::new(), Vec::new());
        for (address, desired) in gone {
            changes.extend(self.pointer(address, desired, origin).map(|(zone, change)| (address, zone, change)));
        }
        for address in new.iter() {
            let Some((zone, change)) = self.pointer(address, self.pointing_at(host, address), origin) else { continue };
            // Where no other gateway may have changed it, what was verified lately counts.
            if !self.0.registry.is_shared() && zone.compare(&change) == Compared::Same {
                continue;
            }
            match self.stands(zone, &change.name, &change.records, host, deadline).await {
                Ok(Standing::Same) => {}
                Ok(Standing::Anothers) => said.push(format!("the PTR record of {address} is not its own and stays")),
                // What stands there is asked again before it leaves.
                Err(_) if origin.keep != Keep::WithCaller => {
                    let _no_more_room = zone.park(change, None);
                    said.push(format!("the PTR record of {address} waits for its zone's primary"));
                }
                Err(trouble) => said.push(failed(address, trouble)),
                Ok(Standing::Free) => changes.push((address, zone, change)),
            }
        }
        let mut submitted = Vec::with_capacity(changes.len());
        while let Some((_, zone, _)) = changes.first() {
            // The old one leaves with the new one's message.
            let zone = *zone;
            let (of_zone, others): (Vec<_>, Vec<_>) =
                changes.into_iter().partition(|(_, other, _)| other.name() == zone.name());
            changes = others;
            let mut ready = Vec::with_capacity(of_zone.len());
            for (address, _, change) in of_zone {
                if self.0.registry.is_shared() && self.0.clear_pending(&change, deadline).await == Cleared::Leased {
                    let _no_more_room = zone.park(change, None);
                    said.push(format!("the PTR record of {address} waits for an older change of it"));
                } else {
                    ready.push((address, change));
                }
            }
            match zone.submit_all(ready.iter().map(|(_, change)| change.clone()).collect(), deadline) {
                Ok(all) => submitted.extend(ready.into_iter().zip(all)),
                Err(trouble) => said.extend(ready.iter().map(|(address, _)| failed(*address, trouble))),
            }
        }
        for ((address, change), submitted) in submitted {
            match submitted.answer().await {
                Ok(_) if !self.0.registry.is_shared() => {
                    // What an older row says would come back at the next start, and is asked of its zone again then.
                    let _stays = self.0.clear_pending(&change, deadline).await;
                }
                Ok(_) => {}
                Err(trouble) => said.push(failed(address, trouble)),
            }
        }
        (!said.is_empty()).then(|| said.join(", "))
    }

    /// A change was handed over, and nobody knows what becomes of it: once it is made, the PTR records go that its host has at
    /// `old`.
    pub(super) fn leave_later(self, Moved { host, old, new }: Moved<'_>, origin: &Arc<Origin>) {
        for address in old.iter().copied().filter(|old| !new.iter().any(|new| new == *old)) {
            let gone = Desired::Without(RrData::Ptr(host.clone()));
            if let Some((zone, change)) = self.pointer(address, gone, origin) {
                let _no_more_room = zone.park(change, None);
            }
        }
    }

    /// A change is about to be made for which nobody waits: the PTR records go that its host has at the addresses which it
    /// leaves.
    pub(super) async fn leave(self, key: &RrKey, desired: &Desired, origin: &Arc<Origin>) {
        if !key.rtype.is_of_addresses()
            || !self.0.registry.has_pointers()
            || !self.has_pointers(&key.name, origin).await
        {
            return;
        }
        let Some(zone) = self.0.zone_of(&key.name) else { return };
        let held = zone.read(key, Instant::now() + self.0.deadline).await.unwrap_or_default();
        let old: Vec<_> = held.iter().filter_map(|held| held.data()?.address()).collect();
        let new = desired.data().and_then(RrData::address).into_iter().collect();
        self.leave_later(Moved { host: &key.name, old: &old, new }, origin);
    }

    /// A change was made for which nobody waited: its host's PTR record is to stand at the new address.
    pub(super) async fn follow(self, key: &RrKey, desired: &Desired, origin: &Arc<Origin>) {
        let Some(address) = desired.data().and_then(RrData::address) else { return };
        // A command's is not judged again, as one is that may replace what somebody else set.
        if origin.client.is_none() || self.0.registry.pointer(address).is_none() {
            return;
        }
        if self.has_pointers(&key.name, origin).await
            && let Some((zone, change)) = self.pointer(address, self.pointing_at(&key.name, address), origin)
        {
            let _no_more_room = zone.park(change, None);
        }
    }

    /// Whether a host's PTR records are kept in step; of one that a command removes nobody knows it any longer.
    async fn has_pointers(self, name: &Hostname, origin: &Origin) -> bool {
        let host = self.0.registry.host(name).await.ok().flatten();
        origin.client.is_none() || host.as_deref().and_then(Host::extras).is_some_and(|extras| extras.ptr)
    }

    /// Whether `host` has the address that `key` stands for, and no PTR record stands there that is not its own.
    pub(super) async fn may_stand(
        self,
        key: &RrKey,
        desired: &Desired,
        host: &Hostname,
        deadline: Instant,
    ) -> Result<(), Unmade> {
        let Some(zone) = self.0.zone_of(&key.name) else { return Err(Unmade::Waits(Trouble::Timeout)) };
        if !self.is_at(host, &key.name, deadline).await? {
            return Err(Unmade::Dropped("its host has another address by now".into()));
        }
        let records = DesiredRecords::from_iter([(key.rtype, desired.clone())]);
        match self.stands(zone, &key.name, &records, host, deadline).await? {
            Standing::Same | Standing::Free => Ok(()),
            Standing::Anothers => Err(Unmade::Dropped("a PTR record that is not its host's stands there".into())),
        }
    }

    /// Whether `host` has left the address that `key` stands for; until then its PTR record stays.
    pub(super) async fn may_go(self, key: &RrKey, host: &Hostname, deadline: Instant) -> Result<(), Unmade> {
        match self.is_at(host, &key.name, deadline).await? {
            true => Err(Unmade::Waits(Trouble::Timeout)),
            false => Ok(()),
        }
    }

    /// Whether the primary says that `host` has the address for which `pointer` stands.
    async fn is_at(self, host: &Hostname, pointer: &Hostname, deadline: Instant) -> Result<bool, Trouble> {
        let Some(zone) = self.0.zone_of(host) else { return Ok(false) };
        for rtype in RrType::OF_ADDRESSES {
            let held = zone.read(&RrKey { name: host.clone(), rtype }, deadline).await?;
            let mut addresses = held.iter().filter_map(|held| held.data()?.address());
            if addresses.any(|address| self.0.registry.pointer(address).is_some_and(|(_, name)| name == *pointer)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What stands at `name` in place of the PTR record of `host` in `records`.
    async fn stands(
        self,
        zone: &engine::Zone,
        name: &Hostname,
        records: &DesiredRecords,
        host: &Hostname,
        deadline: Instant,
    ) -> Result<Standing, Trouble> {
        let key = RrKey { name: name.clone(), rtype: RrType::Ptr };
        Ok(match zone.own(&key, deadline).await? {
            Own::Nothing => Standing::Free,
            Own::Records { data, ttl } if data == RrData::Ptr(host.clone()) => {
                let is_same = records.get(RrType::Ptr).is_some_and(|desired| desired.ttl() == ttl);
                if is_same { Standing::Same } else { Standing::Free }
            }
            Own::Records { .. } | Own::Others => Standing::Anothers,
        })
    }

    fn pointing_at(self, host: &Hostname, address: IpAddr) -> Desired {
        let ttl = self.0.registry.pointer(address).map_or(0, |(zone, _)| self.0.registry.ttl(zone));
        Desired::Set { data: RrData::Ptr(host.clone()), ttl }
    }

    /// The change of the PTR record of `address`, where a reverse zone of ours holds it.
    fn pointer(self, address: IpAddr, desired: Desired, origin: &Arc<Origin>) -> Option<(&'g engine::Zone, Change)> {
        let (zone, name) = self.0.registry.pointer(address)?;
        let records = DesiredRecords::from_iter([(RrType::Ptr, desired)]);
        Some((self.0.zones.get(zone)?, Change { name, records, origin: Arc::clone(origin) }))
    }
}

fn failed(address: IpAddr, trouble: Trouble) -> String {
    format!("the PTR record of {address}: {}", HostVerdict::of(Err(trouble)).reason)
}
