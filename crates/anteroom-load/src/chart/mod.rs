//! Plots as SVG: black text on white.
//!
//! Owns: the look of every plot, and the one crate that draws.
//! Never: a number of its own.

mod dots;
mod lines;

pub use dots::{Dots, Mark, Row};
pub use lines::{Chart, Look, Series, svg};

use plotters::{
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use std::{error::Error, io};

/// Of a plot.
const WIDTH: u32 = 960;

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
pub struct Axis {
    /// What it shows, with the unit.
    pub label: &'static str,
    /// Its begin.
    pub from: f64,
    /// Its end.
    pub to: f64,
    /// How values are placed.
    pub scale: Scale,
}

/// How values are placed on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// Powers of ten.
    Log,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// What `draw` draws on white, as the text of an SVG file.
fn to_svg(height: u32, draw: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn Error>>) -> io::Result<String> {
    let mut text = String::new();
    let whole = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
    let failed = |error: &dyn Error| io::Error::other(error.to_string());
    whole.fill(&WHITE).map_err(|error| failed(&error))?;
    draw(&whole).map_err(|error| failed(&*error))?;
    whole.present().map_err(|error| failed(&error))?;
    drop(whole);
    Ok(text)
}

/// The colour of this number; they begin again after the last.
fn colour(number: usize) -> RGBColor {
    COLOURS.get(number % COLOURS.len()).copied().unwrap_or(BLACK)
}

/// In the size of names.
fn text(side: HPos) -> TextStyle<'static> {
    TextStyle::from((FONT, 14).into_font()).color(&BLACK).pos(Pos::new(side, VPos::Center))
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
