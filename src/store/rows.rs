//! Many rows in one value: a JSON text, an array for each row. So a statement is short however many rows it takes; a
//! place for every value takes a database longer to understand than to run. Knows no table.

use serde::Serialize;

use super::session::Database;

pub(super) struct Rows(Vec<u8>);

impl Rows {
    /// The text of those of `items`; `bind` binds the values of each, in the order of the statement's columns.
    pub(super) fn text_of<'a, T: 'a>(
        items: impl IntoIterator<Item = &'a T>,
        bind: impl Fn(Self, &T) -> Self,
    ) -> String {
        let mut rows = Self(vec![b'[']);
        for item in items {
            rows.0.push(b'[');
            rows = bind(rows, item);
            // The comma of the last value.
            rows.0.pop();
            rows.0.extend(b"],");
        }
        rows.0.pop_if(|last| *last == b',');
        rows.0.push(b']');
        String::from_utf8(rows.0).unwrap_or_default()
    }

    /// The next value of a row: a text, a whole number or nothing.
    pub(super) fn bind(mut self, value: impl Serialize) -> Self {
        // Neither writing into memory nor such a value can fail.
        let _cannot_fail = serde_json::to_writer(&mut self.0, &value);
        self.0.push(b',');
        self
    }
}

/// `sql` with the rows in the place of `{text, bigint}`, which says the types of their columns, and `$1` for each `?`, as
/// PostgreSQL counts.
pub(super) fn expanded(database: Database, sql: &str) -> String {
    let mut whole = String::with_capacity(sql.len() + 512);
    let (before, columns, after) = match sql.split_once('{').map(|(before, rest)| (before, rest.split_once('}'))) {
        Some((before, Some((columns, after)))) => (before, columns, after),
        _ => (sql, "", ""),
    };
    whole.push_str(before);
    for (number, column) in columns.split(", ").enumerate().filter(|(_, column)| !column.is_empty()) {
        let before = if number == 0 { "SELECT" } else { "," };
        whole.push_str(&format!("{before} CAST(value ->> {number} AS {column})"));
    }
    if !columns.is_empty() {
        // Without a condition SQLite takes ON CONFLICT for part of a join.
        whole.push_str(match database {
            Database::Sqlite => " FROM json_each(?) WHERE TRUE",
            Database::Postgres => " FROM jsonb_array_elements(CAST(? AS jsonb)) WHERE TRUE",
        });
    }
    whole.push_str(after);
    match database {
        Database::Sqlite => whole,
        Database::Postgres => numbered(&whole),
    }
}

/// `$1`, `$2`, `$3` for each `?`.
fn numbered(sql: &str) -> String {
    let mut parts = sql.split('?');
    let mut numbered = parts.next().unwrap_or_default().to_owned();
    for (before, part) in parts.enumerate() {
        numbered.push_str(&format!("${}", before + 1));
        numbered.push_str(part);
    }
    numbered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_arrays() {
        let bind = |rows: Rows, (text, number): &(&str, Option<i64>)| rows.bind(text).bind(number);
        let rows = Rows::text_of(&[("a\"\u{7f}é", Some(-1)), ("", None)], bind);
        assert_eq!(rows, "[[\"a\\\"\u{7f}é\",-1],[\"\",null]]");
        assert_eq!(Rows::text_of(&[], bind), "[]");
    }

    #[test]
    fn a_statement_reads_them() {
        let insert = "INSERT INTO t (a, b) {text, bigint} ON CONFLICT DO NOTHING";
        assert_eq!(
            expanded(Database::Sqlite, insert),
            "INSERT INTO t (a, b) SELECT CAST(value ->> 0 AS text), CAST(value ->> 1 AS bigint) FROM json_each(?) \
             WHERE TRUE ON CONFLICT DO NOTHING"
        );
        assert_eq!(
            expanded(Database::Postgres, "DELETE FROM t WHERE b = ? AND a IN ({text}) RETURNING a"),
            "DELETE FROM t WHERE b = $1 AND a IN (SELECT CAST(value ->> 0 AS text) FROM \
             jsonb_array_elements(CAST($2 AS jsonb)) WHERE TRUE) RETURNING a"
        );
    }
}
