//! What the public face does not show: the look-ups' plans, which find their rows through an index on both databases; the
//! feed's order, whoever appends.

use std::time::Duration;

use sqlx::any::AnyRow;
use tokio::time::{sleep, timeout};

use super::rows::expanded;
use super::session::{Purpose, Session, composed, text};
use super::{News, Store, Subject, account, challenge, pending, reserve, state};
use crate::config::Location;

/// Every look-up that a request or a command on one host may cost, and the feed's.
const LOOK_UPS: &[&str] = &[
    account::ACCOUNT,
    account::HOST,
    account::NAMES_OF,
    account::TOKEN,
    account::LOGINS_OF_SECRET,
    state::BY_NAME,
    reserve::LOGINS,
    challenge::OF_NAME,
    pending::BY_NAME,
    pending::BY_NAMES,
    state::ADDRESSES,
];

async fn plan(store: &Store, explain: &str, sql: &str, column: usize) -> String {
    let mut session = Session::new(&store.inner.readers).await.unwrap();
    let quoted = ["'a'", "'2'", "2"];
    let rows = "'[[\"a\"]]'";
    let sql = expanded(store.inner.database, sql).replace("json_each(?)", &format!("json_each({rows})"));
    let sql = sql.replace("CAST($1 AS jsonb)", &format!("CAST({rows} AS jsonb)"));
    let sql = (1..=3).fold(sql, |sql, place| sql.replace(&format!("${place}"), quoted[place - 1]));
    if store.is_shared() {
        // An empty table is read faster without any index, and sorted faster than looked up in order.
        let costs = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; \
                     SET enable_hashjoin = off; SET enable_mergejoin = off";
        session.script(costs).await.unwrap();
    }
    let rows: Vec<AnyRow> = session.rows(composed(store.inner.database, &format!("{explain} {sql}"))).await.unwrap();
    let lines = rows.iter().map(|row| text(row, column).unwrap());
    // The rows that a statement is given are all read.
    lines.filter(|line| !line.contains("SCAN json_each")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn sqlite_finds_by_index() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Location::Sqlite(folder.path().join("s.db"))).await.unwrap();
    for sql in LOOK_UPS {
        let plan = plan(&store, "EXPLAIN QUERY PLAN", sql, 3).await;
        assert!(plan.contains("SEARCH") && !plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{sql}:\n{plan}");
    }
}

#[tokio::test]
async fn postgresql_finds_by_index() {
    let server = lab::Postgres::start().await.unwrap();
    let store = Store::open(&Location::Postgres(server.url().into())).await.unwrap();
    for sql in LOOK_UPS {
        let plan = plan(&store, "EXPLAIN", sql, 0).await;
        assert!(plan.contains("Index Cond") && !plan.contains("Seq Scan") && !plan.contains("Sort"), "{sql}:\n{plan}");
    }
}

/// The feed is appended to by whatever transaction changes something, not only by commands.
#[tokio::test]
async fn whatever_appends_to_the_feed_takes_its_lock() {
    let server = lab::Postgres::start().await.unwrap();
    let store = Store::open(&Location::Postgres(server.url().into())).await.unwrap();
    // A number is given before a trigger runs: that of the slow one comes late.
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.subject = 'account slow' THEN \
                PERFORM pg_sleep(1); END IF; RETURN NEW; END $$; \
                CREATE TRIGGER slow BEFORE INSERT ON change FOR EACH ROW EXECUTE FUNCTION slow()";
    server.sql("dyngate", slow).await.unwrap();
    for purpose in [Purpose::Pending, Purpose::Recording, Purpose::Administration] {
        let mut feed = store.feed();
        assert_eq!(feed.next().await.unwrap(), News::Lost);
        let append = async |login: &str| {
            let mut work = store.begin(purpose).await.unwrap();
            work.changed(Subject::Account(login.into()));
            work.commit().await.unwrap();
        };
        let overtaking = async {
            let sleeps = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
            while server.sql("dyngate", sleeps).await.unwrap().trim() == "0" {
                sleep(Duration::from_millis(10)).await;
            }
            append("fast").await;
        };
        tokio::join!(append("slow"), overtaking);
        let mut told = Vec::new();
        while told.len() < 2 {
            match timeout(Duration::from_secs(30), feed.next()).await {
                Ok(Ok(News::Changed(subjects))) => told.extend(subjects),
                other => panic!("{purpose:?}: {told:?}, then {other:?}"),
            }
        }
        assert_eq!(told, ["slow", "fast"].map(|login| Subject::Account(login.into())), "{purpose:?}");
    }
}
