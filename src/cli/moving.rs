//! `dyngate export` and `dyngate import`: a store as JSON lines. Knows nothing of what is in a line.

use std::io;
use std::path::Path;

use super::CommandResult;
use super::operating::{self, Common, note};
use super::table::counted;
use crate::operator::Access;

pub(super) fn export(common: &Common, file: Option<&Path>) -> CommandResult {
    operating::run(common, Access::Read, async |operator, _, output| {
        let Some(file) = file else {
            operator.export(io::stdout().lock()).await?;
            return Ok(());
        };
        let export = operator.export_to(file).await?;
        output.one(&export, |export| {
            let lines = export.lines;
            note(&format!(
                "{lines} lines written to {}; it holds digests of secrets: keep it to yourself",
                file.display()
            ));
            String::new()
        })
    })
}

pub(super) fn import(common: &Common, file: &Path) -> CommandResult {
    operating::run(common, Access::Write, async |operator, actor, output| {
        let import = operator.import(actor, file).await?;
        if import.outside > 0 {
            let hosts = counted(import.outside, "host");
            note(&format!("no [[zone]] of the configuration holds {hosts}: nobody can update them until one does"));
        }
        output.one(&import, |import| {
            let (accounts, hosts) = (counted(import.accounts, "account"), counted(import.hosts, "host"));
            format!("imported: {accounts}, {hosts}, {}\n", counted(import.tokens, "URL token"))
        })
    })
}
