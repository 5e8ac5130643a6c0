//! A record that is written, read and removed again: the one thing that shows that changes come to be.

use std::time::Duration;

use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::time::{Instant, sleep};

use super::{ProbeError, Prober, text};
use crate::dns::message::{EncodeError, delete_rrset, wire_name};
use crate::dns::reply::{Failure, Rcode};

/// How long another writer may keep a primary from writing, and between two tries.
const LOCKED: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(100);

impl Prober {
    /// Puts a TXT record with `value` and TTL 0 at `label` below the apex, in place of what is there. **A change.**
    ///
    /// # Errors
    /// [`ProbeError`].
    pub async fn write_text(&mut self, label: &str, value: &str) -> Result<(), ProbeError> {
        let owner = self.below_apex(label)?;
        let data = RData::TXT(TXT::new(vec![value.to_owned()]));
        self.change(&[delete_rrset(owner.clone(), RecordType::TXT), Record::from_rdata(owner, 0, data)]).await
    }

    /// The TXT record at `label` below the apex.
    ///
    /// # Errors
    /// [`ProbeError`].
    pub async fn read_text(&mut self, label: &str) -> Result<Option<String>, ProbeError> {
        let owner = format!("{label}.{}", self.zone.name);
        match self.ask(false, |update, id| update.query(id, &owner, RecordType::TXT)).await {
            Ok(message) => Ok(message.answers.iter().find_map(text)),
            Err(ProbeError::Failed(Failure { rcode: Rcode::NXDOMAIN, .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the TXT records at `label` below the apex. **A change.**
    ///
    /// # Errors
    /// [`ProbeError`].
    pub async fn remove_text(&mut self, label: &str) -> Result<(), ProbeError> {
        let owner = self.below_apex(label)?;
        self.change(&[delete_rrset(owner, RecordType::TXT)]).await
    }

    /// An UPDATE of these; where the primary says SERVFAIL, again for a second: PowerDNS says so while something else writes
    /// into its SQLite file.
    async fn change(&mut self, records: &[Record]) -> Result<(), ProbeError> {
        let until = Instant::now() + LOCKED;
        loop {
            let answer = self.ask(true, |update, id| {
                let mut message = update.empty(id);
                message.authorities.extend_from_slice(records);
                update.sign(&message)
            });
            match answer.await {
                Err(ProbeError::Failed(Failure { rcode: Rcode::SERVFAIL, .. })) if Instant::now() < until => {
                    sleep(AGAIN).await;
                }
                answer => return answer.map(drop),
            }
        }
    }

    fn below_apex(&self, label: &str) -> Result<Name, EncodeError> {
        wire_name(&format!("{label}.{}", self.zone.name))
    }
}
