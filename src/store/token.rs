//! Tokens: a host's own secret in a URL, kept as its digest.

use sqlx::any::AnyRow;

use super::fit::{hex, unhex};
use super::host::name;
use super::session::{Purpose, Work, optional_number, statement, text};
use super::{Store, StoreError, Subject};
use crate::model::{Hostname, Timestamp};

pub(super) const BY_DIGEST: &str = "SELECT name, expires FROM token WHERE digest = $1";
const DIGESTS_OF: &str = "SELECT digest FROM token WHERE name IN";
const LET_EXPIRE: &str = "UPDATE token SET expires = $2 WHERE name = $1 AND (expires IS NULL OR expires > $2)";
const DELETE_EXPIRED: &str = "DELETE FROM token WHERE name = $1 AND expires <= $2";
const DELETE: &str = "DELETE FROM token WHERE name = $1";
/// Digest, name, created, expires.
pub(super) const INSERT: [&str; 2] = ["INSERT INTO token (digest, name, created, expires)", ""];

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHolder {
    /// The host that it updates.
    pub name: Hostname,
    /// From when on it is not taken any more.
    pub expires: Option<Timestamp>,
}

impl Store {
    /// The host of the token with this SHA-256; the token may have expired.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn host_of_token(&self, digest: &[u8; 32]) -> Result<Option<TokenHolder>, StoreError> {
        let row = self.row(statement(BY_DIGEST).bind(hex(digest))).await?;
        row.map(|row| Ok(TokenHolder { name: name(&row, 0)?, expires: optional_number(&row, 1)?.map(Timestamp) }))
            .transpose()
    }

    /// Gives the host a token. Those that it has serve until `keep_old_until`, or no more.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]; or the store cannot be written.
    pub async fn set_token(
        &self,
        name: &Hostname,
        digest: &[u8; 32],
        keep_old_until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        if work.host(name).await?.is_none() {
            return work.without_host(name).await;
        }
        work.tokens_changed(std::slice::from_ref(name)).await?;
        let now = Timestamp::now();
        let until = keep_old_until.unwrap_or(now);
        work.run(statement(LET_EXPIRE).bind(name.to_string()).bind(until.0)).await?;
        work.run(statement(DELETE_EXPIRED).bind(name.to_string()).bind(now.0)).await?;
        let row = [(hex(digest), name.to_string())];
        work.write(INSERT, 4, &row, |query, (digest, name)| {
            query.bind(digest.clone()).bind(name.clone()).bind(now.0).bind(None::<i64>)
        })
        .await?;
        work.changed(Subject::Token(*digest));
        work.commit().await
    }

    /// Takes all its tokens back; how many those were.
    ///
    /// # Errors
    /// [`StoreError::Unknown`]; or the store cannot be written.
    pub async fn revoke_tokens(&self, name: &Hostname) -> Result<u64, StoreError> {
        let mut work = self.begin(Purpose::Administration).await?;
        if work.host(name).await?.is_none() {
            return work.without_host(name).await;
        }
        work.tokens_changed(std::slice::from_ref(name)).await?;
        let revoked = work.run(statement(DELETE).bind(name.to_string())).await?;
        work.commit().await?;
        Ok(revoked)
    }
}

impl Work {
    /// Tells the feed of each token that the hosts have.
    pub(super) async fn tokens_changed(&mut self, names: &[Hostname]) -> Result<(), StoreError> {
        let tokens = self.of_names(DIGESTS_OF, names).await?;
        tokens.iter().try_for_each(|row| self.token_changed(row))
    }

    /// Tells the feed of the token whose digest this is.
    pub(super) fn token_changed(&mut self, row: &AnyRow) -> Result<(), StoreError> {
        let digest = unhex(&text(row, 0)?);
        let digest = digest.ok_or_else(|| StoreError::broken("the digest of a token cannot be read"))?;
        self.changed(Subject::Token(digest));
        Ok(())
    }
}
