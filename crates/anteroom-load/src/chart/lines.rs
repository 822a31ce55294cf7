//! Lines in a pair of axes, the names of the lines beside them.
//!
//! Owns: how lines and points are drawn.
//! Never: a number of its own.

use super::{Area, Axis, FONT, WIDTH, colour, text, to_svg};
use plotters::{coord::types::RangedCoordf64, prelude::*, style::text_anchor::HPos};
use std::{error::Error, io};

/// Height of each chart of a plot.
const HEIGHT: u32 = 380;

/// Room for the names of the lines.
const NAMES: u32 = 230;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A line.
    Line,
    /// A thin one.
    Thin,
    /// Points: what was measured.
    Dots,
}

/// One series; where a value is missing the line is broken.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is called.
    pub name: String,
    /// The number of its colour.
    pub colour: usize,
    /// How it is drawn.
    pub look: Look,
    /// From the left.
    pub points: Vec<(f64, Option<f64>)>,
}

/// One pair of axes.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it says.
    pub title: &'static str,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// The first lies on top.
    pub series: Vec<Series>,
}

/// The charts under each other, as the text of an SVG file.
///
/// # Errors
///
/// Drawing fails.
pub fn svg(charts: &[Chart]) -> io::Result<String> {
    to_svg(HEIGHT * u32::try_from(charts.len()).unwrap_or(u32::MAX), |whole| {
        for (area, chart) in whole.split_evenly((charts.len(), 1)).into_iter().zip(charts) {
            chart.draw(&area)?;
        }
        Ok(())
    })
}

impl Chart {
    fn draw(&self, area: &Area<'_>) -> Result<(), Box<dyn Error>> {
        let (plot, names) = area.split_horizontally(WIDTH - NAMES);
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
        let style = text(HPos::Left);
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
        colour(self.colour)
    }

    fn stroke(&self) -> ShapeStyle {
        self.colour().stroke_width(if self.look == Look::Thin { 1 } else { 2 })
    }
}
