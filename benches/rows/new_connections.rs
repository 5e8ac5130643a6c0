//! Row "storm, new connections": the storm with a connection for each request, as routers make it.

use lab::Kind;

use crate::row::{Goal, Row};
use crate::stage::CLIENTS;
use crate::{Bench, Failure, storm};

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    let case = storm::Case {
        name: "storm, new connections",
        kind: Kind::Bind,
        clients: CLIENTS,
        connection_each: true,
        database: None,
        goal: Goal::AtLeast(3.0),
    };
    Ok(vec![storm::on(bench, &case).await?.row])
}
