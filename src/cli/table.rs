//! What people read: aligned tables and blocks, coloured on a terminal. No text that a stranger typed moves the cursor.

use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal as _};

use crate::model::clean;

const GAP: &str = "  ";

/// Colour where a terminal shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint(bool);

/// What a text means to who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Title,
    Good,
    Warning,
    Bad,
}

impl Paint {
    pub(super) fn stdout() -> Self {
        Self(io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()))
    }

    pub(super) fn text(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Title => "1",
            Tone::Good => "32",
            Tone::Warning => "1;33",
            Tone::Bad => "1;31",
            Tone::Plain => return text.to_owned(),
        };
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// A text in a table, safe for a terminal.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(tone: Tone, text: &str) -> Self {
        Self { text: clean(text), tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(Tone::Plain, text.as_ref())
    }
}

/// Aligned columns. It may come in pages: each is as wide as it needs, and never narrower than those before.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    titles: Option<[&'static str; N]>,
    widths: [usize; N],
    paint: Paint,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(titles: [&'static str; N], paint: Paint) -> Self {
        Self { titles: Some(titles), widths: titles.map(str::len), paint }
    }

    /// The lines of these rows, below the titles where they are the first.
    pub(super) fn page(&mut self, rows: &[[Cell; N]]) -> String {
        let mut text = String::new();
        for (column, width) in self.widths.iter_mut().enumerate() {
            let cells = rows.iter().filter_map(|row| row.get(column));
            *width = cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0).max(*width);
        }
        if let Some(titles) = self.titles.take() {
            self.line(&mut text, &titles.map(|title| Cell::new(Tone::Title, title)));
        }
        rows.iter().for_each(|row| self.line(&mut text, row));
        text
    }

    fn line(&self, text: &mut String, row: &[Cell; N]) {
        for (column, (cell, width)) in row.iter().zip(self.widths).enumerate() {
            text.push_str(if column == 0 { "" } else { GAP });
            text.push_str(&self.paint.text(cell.tone, &cell.text));
            if column + 1 < N {
                text.extend(std::iter::repeat_n(' ', width - cell.text.chars().count()));
            }
        }
        text.push('\n');
    }
}

/// A title, and below it a line for each label and its value.
pub(super) fn block(title: &str, lines: &[(&str, Cell)], paint: Paint) -> String {
    let width = lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let mut text = format!("{}\n", paint.text(Tone::Title, &clean(title)));
    for (label, cell) in lines {
        let _ = writeln!(text, "{GAP}{label:width$}{GAP}{}", paint.text(cell.tone, &cell.text));
    }
    text
}

/// `3 zones`, `1 zone`.
pub(super) fn counted<N: Display + PartialEq + From<u8>>(number: N, what: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_over_pages() {
        let mut table = Table::new(["NAME", "WHAT"], Paint(false));
        assert_eq!(table.page(&[["ä".into(), "x".into()]]), "NAME  WHAT\nä     x\n");
        assert_eq!(table.page(&[["longer".into(), "y".into()]]), "longer  y\n");
        assert_eq!(table.page(&[["z".into(), "".into()]]), "z       \n");
    }

    #[test]
    fn colour_does_not_move_columns() {
        let mut table = Table::new(["A", "B"], Paint(true));
        let page = table.page(&[[Cell::new(Tone::Bad, "no"), "x".into()]]);
        assert_eq!(page, "\u{1b}[1mA\u{1b}[0m   \u{1b}[1mB\u{1b}[0m\n\u{1b}[1;31mno\u{1b}[0m  x\n");
    }

    #[test]
    fn what_is_many_is_counted() {
        assert_eq!((counted(1_u64, "zone"), counted(0_usize, "zone")), ("1 zone".to_owned(), "0 zones".to_owned()));
    }

    #[test]
    fn a_stranger_does_not_write_on_the_terminal() {
        let block = block("t\u{7}", &[("label", "v\r".into())], Paint(false));
        assert_eq!(block, "t\u{fffd}\n  label  v\u{fffd}\n");
    }
}
