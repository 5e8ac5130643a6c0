//! `dyngate export` and `dyngate import`: a store as JSON lines.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::Ended;
use super::operating::{self, CommandError, Common, note, print, print_json};
use super::table::counted;
use crate::operator::{Moved, Operator};

pub(super) fn export(common: &Common, file: Option<&Path>) -> Ended {
    operating::run(&common.file.config, async |operator| export_to(operator, common.json, file).await)
}

pub(super) fn import(common: &Common, file: &Path) -> Ended {
    operating::run(&common.file.config, async |operator| {
        let moved = operator.import(file).await?;
        if moved.outside > 0 {
            let hosts = counted(moved.outside, "host");
            note(&format!("no [[zone]] of the configuration holds {hosts}: nobody can update them until one does"));
        }
        told(moved, common.json)
    })
}

async fn export_to(operator: &Operator, as_json: bool, file: Option<&Path>) -> Result<(), CommandError> {
    #[derive(Serialize)]
    struct Json {
        lines: u64,
    }
    let Some(file) = file else {
        operator.export(io::stdout().lock()).await?;
        return Ok(());
    };
    let lines = operator.export_to(file).await?.lines;
    if as_json {
        return print_json(&Json { lines });
    }
    note(&format!("{lines} lines written to {}; it holds digests of secrets: keep it to yourself", file.display()));
    Ok(())
}

fn told(moved: Moved, as_json: bool) -> Result<(), CommandError> {
    #[derive(Serialize)]
    struct Json {
        accounts: u64,
        hosts: u64,
        tokens: u64,
    }
    let (accounts, hosts, tokens) = (moved.imported.accounts, moved.imported.hosts, moved.imported.tokens);
    if as_json {
        return print_json(&Json { accounts, hosts, tokens });
    }
    let all = [counted(accounts, "account"), counted(hosts, "host"), counted(tokens, "URL token")];
    print(&format!("imported: {}\n", all.join(", ")))
}
