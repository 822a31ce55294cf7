//! Lines in a pair of axes, as SVG: black text on white, the names of the lines beside them.
//!
//! Owns: the look of every plot, and the one crate that draws.
//! Never: a number of its own.

use plotters::{
    coord::types::RangedCoordf64,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use std::{error::Error, io};

/// Width of a plot, and height of each chart in it.
const SIZE: (u32, u32) = (960, 380);

/// Room for the names of the lines.
const NAMES: u32 = 230;

const FONT: &str = "sans-serif";

/// Told apart by those who see red and green alike, too (M. Okabe, K. Ito, "Color Universal Design", 2008).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(90, 90, 90),
];

/// One axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) scale: Scale,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    /// Powers of ten.
    Log,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Line,
    Thin,
    /// Points: what was measured.
    Dots,
}

/// One series; where a value is missing the line is broken.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// Of the colours.
    pub(super) colour: usize,
    pub(super) look: Look,
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// One pair of axes.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

impl Axis {
    /// Where a value stands.
    fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.from.min(self.to), self.to.max(self.from));
        match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
        }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.place(self.from)..self.place(self.to)
    }

    /// What is written where something stands.
    fn write(&self, place: f64) -> String {
        match self.scale {
            Scale::Linear => plain(place),
            Scale::Log if (place - place.round()).abs() < 1e-9 => plain(10_f64.powf(place)),
            Scale::Log => String::new(),
        }
    }

    fn labels(&self) -> usize {
        match self.scale {
            Scale::Linear => 8,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a few powers of ten"
            )]
            Scale::Log => (self.range().end - self.range().start).abs().ceil() as usize + 1,
        }
    }
}

/// With thousands apart, and no more digits than needed.
fn plain(value: f64) -> String {
    let text = format!("{:.3}", (value * 1e3).round() / 1e3);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let (whole, rest) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if grouped == "0" && rest.is_none() { "" } else { sign };
    rest.map_or(format!("{sign}{grouped}"), |rest| format!("{sign}{grouped}.{rest}"))
}

/// The charts under each other, as the text of an SVG file.
///
/// # Errors
/// Drawing fails.
pub(super) fn svg(charts: &[Chart]) -> io::Result<String> {
    let mut text = String::new();
    draw(charts, &mut text).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(text)
}

fn draw(charts: &[Chart], text: &mut String) -> Result<(), Box<dyn Error>> {
    let height = SIZE.1 * u32::try_from(charts.len())?;
    let whole = SVGBackend::with_string(text, (SIZE.0, height)).into_drawing_area();
    whole.fill(&WHITE)?;
    for (area, chart) in whole.split_evenly((charts.len(), 1)).into_iter().zip(charts) {
        chart.draw(&area)?;
    }
    whole.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

impl Chart {
    fn draw(&self, area: &Area<'_>) -> Result<(), Box<dyn Error>> {
        let (plot, names) = area.split_horizontally(SIZE.0 - NAMES);
        let mut context = ChartBuilder::on(&plot)
            .caption(self.title, (FONT, 19).into_font().color(&BLACK))
            .margin(12)
            .x_label_area_size(46)
            .y_label_area_size(72)
            .build_cartesian_2d(self.x.range(), self.y.range())?;
        context
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(221, 221, 221))
            .axis_style(BLACK)
            .x_desc(self.x.label)
            .y_desc(self.y.label)
            .x_labels(self.x.labels())
            .y_labels(self.y.labels())
            .x_label_formatter(&|place| self.x.write(*place))
            .y_label_formatter(&|place| self.y.write(*place))
            .label_style((FONT, 14).into_font().color(&BLACK))
            .axis_desc_style((FONT, 15).into_font().color(&BLACK))
            .draw()?;
        // The first lies on top: it is the one that this is about. What was measured lies above all.
        let (dots, lines): (Vec<_>, Vec<_>) =
            self.series.iter().partition(|series| series.look == Look::Dots);
        for series in lines.into_iter().rev().chain(dots) {
            self.draw_series(&mut context, series)?;
        }
        self.draw_names(&names)
    }

    fn draw_series(&self, context: &mut Context<'_, '_>, series: &Series) -> Result<(), Box<dyn Error>> {
        let place = |(x, y): &(f64, Option<f64>)| y.map(|y| (self.x.place(*x), self.y.place(y)));
        match series.look {
            Look::Dots => {
                let dots = series.points.iter().filter_map(place);
                context.draw_series(dots.map(|place| Circle::new(place, 2, series.colour().filled())))?;
            }
            Look::Line | Look::Thin => {
                for run in series.points.split(|(_, y)| y.is_none()) {
                    context.draw_series(LineSeries::new(run.iter().filter_map(place), series.stroke()))?;
                }
            }
        }
        Ok(())
    }

    fn draw_names(&self, area: &Area<'_>) -> Result<(), Box<dyn Error>> {
        let style =
            TextStyle::from((FONT, 14).into_font()).color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
        for (series, y) in self.series.iter().zip((56..).step_by(24)) {
            match series.look {
                Look::Dots => area.draw(&Circle::new((18, y), 3, series.colour().filled()))?,
                Look::Line | Look::Thin => {
                    area.draw(&PathElement::new([(4, y), (32, y)], series.stroke()))?;
                }
            }
            area.draw(&Text::new(series.name.clone(), (40, y), style.clone()))?;
        }
        Ok(())
    }
}

type Context<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

impl Series {
    fn colour(&self) -> RGBColor {
        COLOURS.get(self.colour % COLOURS.len()).copied().unwrap_or(BLACK)
    }

    fn stroke(&self) -> ShapeStyle {
        self.colour().stroke_width(if self.look == Look::Thin { 1 } else { 2 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(plain(1_000_000.0), "1,000,000");
        assert_eq!(plain(-1_250.0), "-1,250");
        assert_eq!((plain(0.05), plain(-0.0), plain(100.0)), ("0.05".into(), "0".into(), "100".into()));
    }
}
