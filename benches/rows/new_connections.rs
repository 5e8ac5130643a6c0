//! Row "storm, new connections": the storm with a connection for each request, as routers make it.

use lab::Kind;

use crate::row::{Goal, Row};
use crate::{Bench, Failure, storm};

pub(crate) async fn run(bench: &Bench) -> Result<Vec<Row>, Failure> {
    Ok(vec![storm::on(bench, Kind::Bind, "storm, new connections", true, Goal::AtLeast(3.0)).await?])
}
