//! Moving a store: to a file or a pipe, and from one.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read as _, Write};
use std::path::Path;

use serde::Deserialize;

use super::{Actor, ExportView, ImportView, Operator, OperatorError, Result};
use crate::model::Hostname;

/// The longest line that is read, in octets: longer than any that an export has.
const MAX_LINE: u64 = 1024 * 1024;

impl Operator {
    /// Writes an export to `out`.
    pub async fn export(&self, out: impl Write) -> Result<ExportView> {
        let mut out = BufWriter::new(out);
        let mut export = self.store.export().await?;
        let mut lines = 0;
        while let Some(line) = export.next().await? {
            writeln!(out, "{line}").map_err(OperatorError::Write)?;
            lines += 1;
        }
        out.flush().map_err(OperatorError::Write)?;
        Ok(ExportView { lines })
    }

    /// Writes an export to a file that only its owner may read, whole or not at all; or into a pipe or device as it comes.
    pub async fn export_to(&self, file: &Path) -> Result<ExportView> {
        let failed = |source| OperatorError::File { action: "write", file: file.to_owned(), source };
        let of_file = |error| match error {
            OperatorError::Write(source) => failed(source),
            other => other,
        };
        if std::fs::metadata(file).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
            let device = OpenOptions::new().write(true).open(file).map_err(failed)?;
            return self.export(device).await;
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Readable by its owner alone from the first moment on.
        let mut unfinished = tempfile::NamedTempFile::with_prefix_in(".dyngate-export-", folder).map_err(failed)?;
        let exported = self.export(unfinished.as_file_mut()).await.map_err(of_file)?;
        unfinished.as_file().sync_all().map_err(failed)?;
        unfinished.persist(file).map_err(|error| failed(error.error))?;
        Ok(exported)
    }

    /// Takes the lines of an export from `file`, or from standard input where that is `-`: all of them or none.
    pub async fn import(&self, actor: &Actor, file: &Path) -> Result<ImportView> {
        if file == Path::new("-") {
            return self.import_from(actor, BufReader::new(io::stdin())).await;
        }
        let failed = |source| OperatorError::File { action: "read", file: file.to_owned(), source };
        let opened = File::open(file).map_err(failed)?;
        if opened.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        self.import_from(actor, BufReader::new(opened)).await
    }

    async fn import_from(&self, actor: &Actor, reader: impl BufRead + Send) -> Result<ImportView> {
        let mut outside = 0;
        let lines = BoundedLines(reader).map(|line| {
            let line = line?;
            self.admit(&line, &mut outside).map_err(io::Error::other)?;
            Ok(line)
        });
        let imported = self.store.import(lines).await?;
        self.done(actor, "import", format_args!("{} accounts", imported.accounts)).await;
        Ok(ImportView::new(imported, outside))
    }

    /// What the file declares must not come into the store. What is no line at all is the store's to refuse.
    fn admit(&self, line: &str, outside: &mut u64) -> Result<()> {
        match serde_json::from_str(line) {
            Ok(Named::Account { login }) => {
                self.must_not_declare_account(&login, "take it out of one of the two")?;
            }
            Ok(Named::Host { name }) => {
                let Ok(name) = Hostname::parse(&name) else { return Ok(()) };
                self.must_not_declare_host(&name, "take it out of one of the two")?;
                *outside += u64::from(self.declared.zone_of(&name).is_none());
            }
            Ok(Named::Other) | Err(_) => {}
        }
        Ok(())
    }
}

/// What a line brings, as far as it matters here.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Named {
    Account {
        login: String,
    },
    Host {
        name: String,
    },
    #[serde(other)]
    Other,
}

struct BoundedLines<R>(R);

impl<R: BufRead> Iterator for BoundedLines<R> {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        match self.0.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Err(error) => return Some(Err(error)),
            Ok(0) => return None,
            Ok(_) => {}
        }
        if line.pop_if(|last| *last == b'\n').is_none() && line.len() as u64 == MAX_LINE {
            return Some(Err(io::Error::other(format!("longer than {MAX_LINE} octets"))));
        }
        line.pop_if(|last| *last == b'\r');
        Some(String::from_utf8(line).map_err(|_| io::Error::other("not UTF-8")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_of_either_end() {
        let lines: Vec<_> = BoundedLines(&b"one\r\ntwo\n\nlast"[..]).map(io::Result::unwrap).collect();
        assert_eq!(lines, ["one", "two", "", "last"]);
        let endless = BufReader::new(io::repeat(b'a'));
        assert!(BoundedLines(endless).next().unwrap().is_err());
        assert!(BoundedLines(&b"\xff\n"[..]).next().unwrap().is_err());
    }
}
