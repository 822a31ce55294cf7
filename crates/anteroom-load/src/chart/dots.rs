//! Names under each other, and for each some dots with their intervals.
//!
//! Owns: how dots and intervals are drawn.
//! Never: a number of its own.

use super::{Area, Axis, FONT, WIDTH, colour, text, to_svg};
use plotters::{prelude::*, style::text_anchor::HPos};
use std::{error::Error, io};

/// Height of a row, and of what is above and below all rows.
const HEIGHTS: (u32, u32) = (30, 120);

/// Room for the names of the rows.
const NAMES: i32 = 150;

/// Between the dots of a row, as a part of its height.
const APART: f64 = 0.24;

/// A plot.
#[derive(Clone, Debug)]
pub struct Dots {
    /// What it says.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Where a line stands that everything is held against.
    pub line: Option<f64>,
    /// What the first dots of all rows are, what the second ones are, and so on.
    pub kinds: Vec<&'static str>,
    /// From the top.
    pub rows: Vec<Row>,
}

/// One name, and a dot for each kind.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is called.
    pub name: String,
    /// In the order of the kinds.
    pub marks: Vec<Option<Mark>>,
}

/// A dot and its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// The dot.
    pub at: f64,
    /// The begin of the interval.
    pub from: f64,
    /// The end of the interval.
    pub to: f64,
}

impl Dots {
    /// The text of an SVG file.
    ///
    /// # Errors
    ///
    /// Drawing fails.
    pub fn svg(&self) -> io::Result<String> {
        let rows = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        to_svg(HEIGHTS.0 * rows + HEIGHTS.1, |area| self.draw(area))
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), Box<dyn Error>> {
        let rows = self.rows.len() as f64;
        let mut context = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 19).into_font().color(&BLACK))
            .margin(12)
            .margin_top(30)
            .margin_right(48)
            .x_label_area_size(46)
            .y_label_area_size(NAMES)
            .build_cartesian_2d(self.x.range(), 0.0..rows)?;
        context
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(221, 221, 221))
            .axis_style(BLACK)
            .disable_y_mesh()
            .disable_y_axis()
            .x_desc(self.x.label)
            .x_labels(self.x.labels())
            .x_label_formatter(&|place| self.x.write(*place))
            .label_style((FONT, 14).into_font().color(&BLACK))
            .axis_desc_style((FONT, 15).into_font().color(&BLACK))
            .draw()?;
        let line = self.line.map(|line| self.x.place(line));
        context.draw_series(line.map(|line| PathElement::new([(line, 0.0), (line, rows)], BLACK)))?;
        let middle = (self.kinds.len() as f64 - 1.0) / 2.0;
        for (number, row) in self.rows.iter().enumerate() {
            let height = rows - number as f64 - 0.5;
            let (x, y) = context.backend_coord(&(self.x.range().start, height));
            area.draw(&Text::new(row.name.clone(), (x - 10, y), text(HPos::Right)))?;
            for (kind, mark) in row.marks.iter().enumerate() {
                let Some(Mark { at, from, to }) = mark else { continue };
                let height = height + (middle - kind as f64) * APART;
                let [at, from, to] = [at, from, to].map(|value| (self.x.place(*value), height));
                let interval = PathElement::new([from, to], colour(kind).stroke_width(2));
                context.draw_series([interval])?;
                context.draw_series([Circle::new(at, 4, colour(kind).filled())])?;
            }
        }
        self.draw_kinds(area)
    }

    /// Above the rows.
    fn draw_kinds(&self, area: &Area<'_>) -> Result<(), Box<dyn Error>> {
        let width = i32::try_from(WIDTH)? - NAMES;
        let apart = width / i32::try_from(self.kinds.len().max(1))?;
        for (kind, (name, x)) in
            self.kinds.iter().zip((NAMES + 20..).step_by(usize::try_from(apart)?)).enumerate()
        {
            area.draw(&Circle::new((x, 16), 4, colour(kind).filled()))?;
            area.draw(&Text::new(*name, (x + 12, 16), text(HPos::Left)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Scale;

    #[test]
    fn every_name_and_every_dot_is_drawn() {
        let mark = Mark { at: 1.5, from: 1.25, to: 2.0 };
        let plot = Dots {
            title: "Cost".into(),
            x: Axis { label: "times", from: 0.0, to: 3.0, scale: Scale::Linear },
            line: Some(1.0),
            kinds: vec!["closed", "open"],
            rows: vec![
                Row { name: "one".into(), marks: vec![Some(mark), None] },
                Row { name: "other".into(), marks: vec![Some(mark), Some(mark)] },
            ],
        };
        let svg = plot.svg().unwrap();
        for name in ["Cost", "times", "closed", "open", "one", "other"] {
            assert!(svg.contains(name), "{name}");
        }
        // Three of the rows, and two of the kinds.
        assert_eq!(svg.matches("<circle").count(), 5);
    }
}
