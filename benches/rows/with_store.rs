//! Row "storm with a store": accounts and hosts in SQLite and in PostgreSQL, whose server shares the cores, against the same
//! accounts in the file. Each host by its name, ten to an account; and all names below the wildcard of one account.

use lab::Kind;
use lab::load::Plan;

use crate::row::{Compare, Goal, Round, Row, Spread, float};
use crate::stage::{Grants, Plot, Stage, Storm, names};
use crate::store::Database;
use crate::storm::FEW;
use crate::{Bench, Failure};

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let exact = Grants::Exact(bench.options.hosts);
    let mut rows = of(bench, exact, "exact grants", [0.8, 0.6]).await?;
    rows.extend(of(bench, Grants::Wildcard, "below a wildcard", [0.7, 0.5]).await?);
    Ok(rows)
}

/// A gateway, and what was measured of it.
struct Place {
    database: Option<Database>,
    stage: Stage,
    /// The rate where each name was new.
    first: f64,
    storms: Vec<Storm>,
}

async fn of(bench: &Bench, grants: Grants, how: &str, goals: [f64; 2]) -> Result<Vec<Row>, Failure> {
    let hosts = bench.options.hosts;
    bench.say(&format!("storm with a store, {how}: {hosts} hosts over {FEW} connections, against the file"));
    let mut places = vec![];
    for database in [None, Some(Database::Sqlite), Some(Database::Postgres)] {
        let stage = Plot { grants, database, ..Plot::new(bench, Kind::Bind) }.start().await?;
        let first = storm(bench, &stage).await?.rate;
        places.push(Place { database, stage, first, storms: vec![] });
    }
    for round in 0..bench.options.rounds {
        let count = places.len();
        for turn in 0..count {
            let Place { database, stage, storms, .. } = &mut places[(round + turn) % count];
            let storm = storm(bench, stage).await?;
            let place = database.map_or_else(|| "the file".to_owned(), |database| database.to_string());
            bench.say(&format!("storm with a store, {how}, {place}: {:.0} host/s", storm.rate));
            storms.push(storm);
        }
    }
    let mut lines = vec![];
    let file = places.remove(0);
    for (place, goal) in places.into_iter().zip(goals) {
        let Some(database) = place.database else { continue };
        lines.push(place.row(&file, format!("{database}, {how}"), Goal::AtLeast(goal), hosts));
        place.stage.stop().await?;
    }
    file.stage.stop().await?;
    Ok(lines)
}

/// Some may be told to come back: they are counted and not read back.
async fn storm(bench: &Bench, stage: &Stage) -> Result<Storm, Failure> {
    let reports = stage.reports(bench.fresh(names(bench.options.hosts)));
    let plan = Plan::new(reports.hosts.len(), FEW);
    stage.storm_or_911(reports, plan).await
}

impl Place {
    fn row(&self, file: &Self, on: String, goal: Goal, hosts: usize) -> Row {
        let rounds: Vec<_> = self.storms.iter().zip(&file.storms).collect();
        let median = |figure: fn(&Storm) -> f64| Spread::of(self.storms.iter().map(figure)).median;
        let batch = |place: &Self| Spread::of(place.storms.iter().map(|storm| storm.batch)).median;
        let later = self.storms.iter().map(|storm| storm.ran.wrong.len()).sum();
        let note = format!(
            "{:.1} hosts an UPDATE, the file {:.1}; p99 {:.0} ms; new names {:.0} host/s, the file {:.0}; store's server \
             {:.2} CPU s; {:.1} % answered `911`; all others read back",
            batch(self),
            batch(file),
            median(|storm| storm.ran.latency(0.99).as_secs_f64() * 1000.0),
            self.first,
            file.first,
            median(|storm| storm.cpu.store.seconds),
            100.0 * float(later) / float(hosts * rounds.len()),
        );
        let round =
            |(own, file): (&Storm, &Storm)| Round { measured: own.rate, against: file.rate, cpu: own.cpu.clone() };
        let (name, against, compare) = ("storm with a store", "the same in the file", Compare::Ratio);
        Row { name, on, against, unit: "host/s", compare, goal, rounds: rounds.into_iter().map(round).collect(), note }
    }
}
