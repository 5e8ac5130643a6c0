//! The curves as a drawing: one panel a curve, both axes logarithmic.

use std::fmt::Write as _;

use crate::curve::Curve;

const PANEL: (f64, f64) = (460.0, 320.0);
const MARGIN: (f64, f64) = (64.0, 48.0);
/// Told apart also without colour: each has its own dashes.
const LINES: [(&str, &str); 4] = [("#0b5394", ""), ("#b45f06", "7 3"), ("#38761d", "2 3"), ("#741b47", "9 3 2 3")];

/// All curves side by side.
pub(crate) fn draw(curves: &[Curve]) -> String {
    let (width, height) = (PANEL.0 * crate::row::float(curves.len()), PANEL.1);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (number, curve) in curves.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate({} 0)\">", PANEL.0 * crate::row::float(number));
        panel(&mut svg, curve);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, curve: &Curve) {
    let points = || curve.series.iter().flat_map(|series| &series.points);
    let x = Axis::over(points().map(|point| point.x), MARGIN.0, PANEL.0 - 16.0);
    let y = Axis::over(points().map(|point| point.y), PANEL.1 - MARGIN.1, MARGIN.1);
    let (left, right, top, bottom) = (MARGIN.0, PANEL.0 - 16.0, MARGIN.1, PANEL.1 - MARGIN.1);
    let _ = writeln!(svg, "<text x=\"{left}\" y=\"18\" font-size=\"13\" font-weight=\"bold\">{}</text>", curve.title);
    for tick in x.ticks() {
        let at = x.place(tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.1} {top}V{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>",
            bottom + 15.0
        );
    }
    for tick in y.ticks() {
        let at = y.place(tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            left - 6.0,
            at + 4.0
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text><text x=\"6\" y=\"{:.1}\">{}</text>",
        f64::midpoint(left, right),
        PANEL.1 - 10.0,
        curve.x,
        top - 8.0,
        curve.y
    );
    for ((number, series), (colour, dashes)) in curve.series.iter().enumerate().zip(LINES.iter().cycle()) {
        let line: Vec<_> =
            series.points.iter().map(|point| format!("{:.1},{:.1}", x.place(point.x), y.place(point.y))).collect();
        let stroke = format!("stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dashes}\" fill=\"none\"");
        let _ = writeln!(svg, "<polyline points=\"{}\" {stroke}/>", line.join(" "));
        let at = left + 100.0 + 90.0 * crate::row::float(number);
        let _ = writeln!(
            svg,
            "<path d=\"M{:.1} {:.1}h24\" {stroke}/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            at - 30.0,
            top - 12.0,
            at,
            top - 8.0,
            series.name
        );
    }
}

/// A logarithmic axis from whole power of ten to whole power of ten.
struct Axis {
    from: f64,
    to: f64,
    begins: f64,
    ends: f64,
}

impl Axis {
    fn over(figures: impl Iterator<Item = f64>, begins: f64, ends: f64) -> Self {
        let (least, most) =
            figures.fold((f64::INFINITY, 0.0_f64), |(least, most), figure| (least.min(figure), most.max(figure)));
        let (from, to) = (least.max(1e-3).log10().floor(), most.max(1e-2).log10().ceil());
        Self { from: from.min(to - 1.0), to, begins, ends }
    }

    fn place(&self, figure: f64) -> f64 {
        let share = (figure.max(1e-3).log10() - self.from) / (self.to - self.from);
        self.begins + share * (self.ends - self.begins)
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = vec![];
        let mut power = self.from;
        while power <= self.to {
            ticks.push(10_f64.powf(power));
            power += 1.0;
        }
        ticks
    }
}
