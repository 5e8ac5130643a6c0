//! The feed: what changed in the store, for those who keep parts of it in memory.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::postgres::PgListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::info;

use super::fit::{hex, unhex};
use super::session::{Database, Session, Work, number, optional_number, statement, text};
use super::{Store, StoreError};
use crate::model::{Hostname, Timestamp};

/// How often the store is asked: SQLite calls nobody, PostgreSQL's call may get lost.
const SQLITE_PACE: Duration = Duration::from_millis(250);
const POSTGRES_PACE: Duration = Duration::from_secs(1);
/// How long a try to listen may take; without it the pace is the only news.
const LISTENING: Duration = Duration::from_secs(1);
/// How long a change stays in the feed.
const KEPT: Duration = Duration::from_secs(60 * 60);
const CHANNEL: &str = "dyngate";
/// The subject that stands for all of them.
const EVERYTHING: &str = "*";
/// More changes in one transaction are worth less than forgetting everything.
const MOST: usize = 1000;

/// Held until the end of the transaction, so that numbers appear in their order: a reader is past those that come late.
/// Administration has it already, and for whatever else appends nothing is lost.
const LOCK: &str = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(7310579629843408741)) AS held";
const POSITION: &str = "SELECT MAX(id) FROM change";
/// The row that was read last is there or not; what it says was told, were it readable.
const NEWS: &str = "SELECT id, CASE WHEN id > $1 THEN subject END FROM change WHERE id >= $1 ORDER BY id LIMIT 1001";
const APPEND: &str = "INSERT INTO change (subject, at) {text, bigint}";
/// The newest of the old ones stays: whoever has read up to it has missed nothing.
const TRIM: &str = "DELETE FROM change WHERE id < (SELECT MAX(id) FROM change WHERE at < $1)";

/// What a change is about. What was removed is a subject too: look again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// An account, by its login: itself, or which hosts it has.
    Account(Arc<str>),
    /// A host.
    Host(Hostname),
    /// A host's token, or a generated secret of an account, by the SHA-256 of it.
    Token([u8; 32]),
    /// Changes that are still to be made, of this name at least.
    Pending(Hostname),
    /// What somebody did, for the log of each gateway: the action, to what, and who, with tabs between.
    Done(Arc<str>),
}

impl Subject {
    fn to_text(&self) -> String {
        match self {
            Self::Account(login) => format!("account {login}"),
            Self::Host(name) => format!("host {name}"),
            Self::Token(digest) => format!("token {}", hex(digest)),
            Self::Pending(name) => format!("pending {name}"),
            Self::Done(what) => format!("done {what}"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, of) = text.split_once(' ')?;
        match kind {
            "account" => Some(Self::Account(of.into())),
            "host" => Hostname::parse(of).ok().map(Self::Host),
            "token" => unhex(of).map(Self::Token),
            "pending" => Hostname::parse(of).ok().map(Self::Pending),
            "done" => Some(Self::Done(of.into())),
            _ => None,
        }
    }
}

/// What [`Feed::next`] has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// These changed, in this order.
    Changed(Vec<Subject>),
    /// Anything may have changed: the first answer, the one after too long a pause, and the one after an import.
    Lost,
}

/// A reader of the feed.
#[derive(Debug)]
pub struct Feed {
    store: Store,
    // Begun by the first call, so that a feed can be made anywhere.
    reader: Option<(mpsc::Receiver<Told>, JoinHandle<()>)>,
}

type Told = Result<News, StoreError>;

/// What reads, in a task of its own: a caller who gives up waiting interrupts nothing.
struct FeedReader {
    store: Store,
    // The last row that was read.
    last: Option<i64>,
    listener: Option<PgListener>,
}

impl Feed {
    pub(super) fn new(store: Store) -> Self {
        Self { store, reader: None }
    }

    /// Waits for news. Cancelled, it loses none.
    ///
    /// # Errors
    /// The store could not be read; it is tried again, at the latest after a second.
    pub async fn next(&mut self) -> Result<News, StoreError> {
        let (news, _) = self.reader.get_or_insert_with(|| {
            let (send, receive) = mpsc::channel(1);
            let reader = FeedReader { store: self.store.clone(), last: None, listener: None };
            (receive, tokio::spawn(reader.run(send)))
        });
        match news.recv().await {
            Some(news) => news,
            None => Err(StoreError::unavailable("its feed has ended")),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some((_, reader)) = &self.reader {
            reader.abort();
        }
    }
}

impl FeedReader {
    async fn run(mut self, news: mpsc::Sender<Told>) {
        loop {
            self.listen().await;
            let told = match self.read().await {
                Ok(Some(some)) => news.send(Ok(some)).await,
                Ok(None) => {
                    self.wait().await;
                    continue;
                }
                Err(error) => {
                    let told = news.send(Err(error)).await;
                    sleep(self.pace()).await;
                    told
                }
            };
            if told.is_err() {
                return;
            }
        }
    }

    fn pace(&self) -> Duration {
        match self.store.inner.database {
            Database::Sqlite => SQLITE_PACE,
            Database::Postgres => POSTGRES_PACE,
        }
    }

    async fn read(&mut self) -> Result<Option<News>, StoreError> {
        let Some(last) = self.last else {
            self.last = Some(self.position().await?);
            return Ok(Some(News::Lost));
        };
        let found = Session::new(&self.store.inner.readers).await?.found(statement(NEWS).bind(last)).await?;
        let mut rows = found.rows.iter();
        let there = rows.next().map(|row| number(row, 0)).transpose()? == Some(last);
        let mut subjects = Vec::new();
        let mut newest = last;
        let mut lost = !there || found.unreadable > 0;
        for row in rows {
            newest = number(row, 0)?;
            match text(row, 1).ok().filter(|subject| subject != EVERYTHING).and_then(|subject| Subject::parse(&subject))
            {
                // Not lost with the rest where anything may have changed.
                Some(Subject::Done(what)) => log_done(&what),
                Some(subject) => subjects.push(subject),
                // All of them; or of another version, or spoiled: nothing that we keep can be told from it.
                None => lost = true,
            }
        }
        if lost {
            // Before anything is read again, so that what changes from now on is told.
            self.last = Some(self.position().await?);
            return Ok(Some(News::Lost));
        }
        self.last = Some(newest);
        Ok((!subjects.is_empty()).then_some(News::Changed(subjects)))
    }

    async fn position(&self) -> Result<i64, StoreError> {
        let row = self.store.row(statement(POSITION)).await?;
        row.map_or(Ok(0), |row| Ok(optional_number(&row, 0)?.unwrap_or(0)))
    }

    /// Subscribes, where that is possible and not done.
    async fn listen(&mut self) {
        let Some(url) = self.store.inner.url.as_ref().filter(|_| self.listener.is_none()) else { return };
        let subscribe = async {
            let mut listener = PgListener::connect(url.expose_secret()).await?;
            // A lost connection is made again here, with its limit of time.
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok::<_, sqlx::Error>(listener)
        };
        self.listener = timeout(LISTENING, subscribe).await.ok().and_then(Result::ok);
    }

    /// Until somebody calls, or it is time to look.
    async fn wait(&mut self) {
        let pace = self.pace();
        match &mut self.listener {
            Some(listener) => match timeout(pace, listener.try_recv()).await {
                Ok(Ok(Some(_))) | Err(_) => while listener.next_buffered().is_some() {},
                Ok(Ok(None) | Err(_)) => {
                    self.listener = None;
                    sleep(SQLITE_PACE).await;
                }
            },
            None => sleep(pace).await,
        }
    }
}

fn log_done(what: &str) {
    let mut parts = what.split('\t');
    let mut part = || parts.next().unwrap_or_default();
    info!(target: "dyngate::administration", action = part(), subject = part(), by = part(), "administration");
}

/// Adds to the feed, in the transaction that changes the subjects.
pub(super) async fn append(work: &mut Work, subjects: &[Subject], everything: bool) -> Result<(), StoreError> {
    let now = Timestamp::now();
    let texts = if everything || subjects.len() > MOST {
        vec![EVERYTHING.to_owned()]
    } else {
        subjects.iter().map(Subject::to_text).collect()
    };
    if work.database() == Database::Postgres {
        work.row(statement(LOCK)).await?;
    }
    work.write(APPEND, &texts, |rows, text| rows.bind(text).bind(now.0)).await?;
    work.run(statement(TRIM).bind(now.minus(KEPT).0)).await?;
    if work.database() == Database::Postgres {
        work.row(statement("SELECT pg_notify('dyngate', '')")).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_go_there_and_back() {
        let name = Hostname::parse("home.dyn.example").unwrap();
        for subject in [
            Subject::Account("router 1".into()),
            Subject::Host(name.clone()),
            Subject::Token([9; 32]),
            Subject::Pending(name),
            Subject::Done("host.block\thome.dyn.example\tcommand line: root (uid 0)".into()),
        ] {
            assert_eq!(Subject::parse(&subject.to_text()), Some(subject));
        }
        assert_eq!(Subject::parse("zone dyn.example"), None);
    }
}
