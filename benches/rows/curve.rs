//! How a figure grows with another: points a series, as a text table and for the drawing.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// One figure against another, for each primary.
#[derive(Debug)]
pub(crate) struct Curve {
    pub(crate) title: &'static str,
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    /// What else is told of each point, in the table only.
    pub(crate) more: Vec<&'static str>,
    pub(crate) series: Vec<Series>,
}

/// The points of one primary.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
}

/// One measurement.
#[derive(Debug)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) more: Vec<f64>,
}

impl Curve {
    /// A table with one line for each x.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("| {} |", self.x);
        let columns: Vec<_> = std::iter::once(&self.y).chain(&self.more).collect();
        for series in &self.series {
            for (n, column) in columns.iter().enumerate() {
                let _ = if n == 0 { write!(text, " {}: {column} |", series.name) } else { write!(text, " {column} |") };
            }
        }
        let _ = write!(text, "\n| --- |{}\n", " --- |".repeat(columns.len() * self.series.len()));
        let longest = self.series.iter().max_by_key(|series| series.points.len());
        for (line, point) in longest.map(|series| series.points.iter().enumerate()).into_iter().flatten() {
            let _ = write!(text, "| {} |", point.x);
            for series in &self.series {
                let point = series.points.get(line);
                let figures = point.into_iter().flat_map(|point| std::iter::once(&point.y).chain(&point.more));
                let shown: Vec<_> = figures.map(|figure| three_digits(*figure)).collect();
                for column in 0..columns.len() {
                    let _ = write!(text, " {} |", shown.get(column).map_or("–", String::as_str));
                }
            }
            text.push('\n');
        }
        text
    }

    /// For report.json.
    pub(crate) fn json(&self) -> Value {
        let series = self.series.iter().map(|series| {
            let points = series.points.iter().map(|Point { x, y, more }| json!({ "x": x, "y": y, "more": more }));
            json!({ "name": series.name, "points": points.collect::<Vec<_>>() })
        });
        json!({
            "title": self.title, "x": self.x, "y": self.y, "more": self.more, "series": series.collect::<Vec<_>>(),
        })
    }
}

/// Three digits that count.
pub(crate) fn three_digits(figure: f64) -> String {
    let digits = if figure.abs() >= 100.0 {
        0
    } else if figure.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{figure:.digits$}")
}
