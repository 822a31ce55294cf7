//! The plots of the guide, and its table.
//!
//! Owns: which numbers are drawn in which axes.
//! Never: a simulation; the numbers come in.

use super::{
    Slot,
    figures::{self, Course, LOADS, Point},
    measured::Measured,
};
use crate::chart::{Axis, Chart, Look, Scale, Series, svg};
use std::{fmt::Write as _, fs, io, path::Path, time::Duration};

/// Simulates, draws and writes every file of the guide's folder; `measured` is a table of `after-a-stall`.
/// The names of the files.
///
/// # Errors
/// Those of writing, and of drawing.
pub fn write_all(folder: &Path, measured: Option<&str>, seed: u64) -> io::Result<Vec<&'static str>> {
    fs::create_dir_all(folder)?;
    let loads = figures::loads(&LOADS, seed)?;
    let measured = measured.map(super::measured::read).transpose()?.unwrap_or_default();
    let files = [
        ("goodput.svg", goodput(&loads)?),
        ("wait.svg", wait(&loads)?),
        ("waste.svg", waste(&loads)?),
        ("stall.svg", stall(&figures::stall(seed)?, &measured)?),
        ("flood.svg", flood(&figures::flood(seed)?)?),
        ("scenarios.md", scenarios(seed)?),
    ];
    for (name, text) in &files {
        fs::write(folder.join(name), text)?;
    }
    Ok(files.into_iter().map(|(name, _)| name).collect())
}

fn offered() -> Axis {
    Axis { label: "clients per second (capacity: 1,000)", from: 1.0, to: 1e6, scale: Scale::Log }
}

fn percent(label: &'static str) -> Axis {
    Axis { label, from: 0.0, to: 100.0, scale: Scale::Linear }
}

/// A line for each rule over the loads.
fn over_loads(
    loads: &figures::Series<Point>,
    look: Look,
    suffix: &str,
    value: impl Fn(&Point) -> Option<f64>,
) -> Vec<Series> {
    let series = loads.iter().enumerate().map(|(colour, (name, points))| Series {
        name: format!("{name}{suffix}"),
        colour,
        look,
        points: points.iter().map(|point| (point.offered, value(point))).collect(),
    });
    series.collect()
}

/// Clients answered per second at every load.
///
/// # Errors
/// Drawing fails.
pub fn goodput(loads: &figures::Series<Point>) -> io::Result<String> {
    svg(&[Chart {
        title: "Clients answered in time",
        x: offered(),
        y: Axis { label: "answered per second", from: 0.0, to: 1_100.0, scale: Scale::Linear },
        series: over_loads(loads, Look::Line, "", |point| Some(point.goodput)),
    }])
}

/// What the answered have waited at every load.
///
/// # Errors
/// Drawing fails.
pub fn wait(loads: &figures::Series<Point>) -> io::Result<String> {
    // A quantile of a few who were lucky says nothing of the load.
    let took = |point: &Point| point.took.filter(|_| point.goodput >= 0.01 * point.offered.min(1_000.0));
    let mut series = over_loads(loads, Look::Line, ", p99", |point| took(point).map(|took| took.1));
    let medians = over_loads(loads, Look::Thin, ", median", |point| took(point).map(|took| took.0));
    series.extend(medians.into_iter().take(1));
    svg(&[Chart {
        title: "From the coming to the answer, of those who were answered",
        x: offered(),
        y: Axis { label: "seconds", from: 0.01, to: 1.0, scale: Scale::Log },
        series,
    }])
}

/// Work for clients who had left, at every load.
///
/// # Errors
/// Drawing fails.
pub fn waste(loads: &figures::Series<Point>) -> io::Result<String> {
    svg(&[Chart {
        title: "Work for clients who had left",
        x: offered(),
        y: percent("percent of all services"),
        series: over_loads(loads, Look::Line, "", |point| point.waste.map(|waste| 100.0 * waste)),
    }])
}

/// The stall, simulated, and measured if there is something.
///
/// # Errors
/// Drawing fails.
pub fn stall(courses: &[Course], measured: &[(String, Vec<Measured>)]) -> io::Result<String> {
    let (release, width) = figures::stall_release();
    let mut series: Vec<_> = courses
        .iter()
        .enumerate()
        .map(|(colour, course)| Series {
            name: course.name.to_owned(),
            colour,
            look: Look::Line,
            points: over_time(&course.clients.slots, width, release, |slot| 100.0 * slot.success()),
        })
        .collect();
    for (server, slots) in measured {
        let points = slots.iter().filter(|slot| slot.came > 0).map(|slot| {
            let success = 100.0 * f64::from(slot.answered) / f64::from(slot.came);
            (slot.begins + width.as_secs_f64() / 2.0, Some(success))
        });
        series.push(Series {
            name: format!("measured: {server}"),
            colour: colour_of(server),
            look: Look::Dots,
            points: points.filter(|(at, _)| (-13.0..12.0).contains(at)).collect(),
        });
    }
    svg(&[Chart {
        title: "Every handler is blocked from -10 s to 0: of those who come then, how many are answered",
        x: Axis { label: "seconds from the release", from: -13.0, to: 12.0, scale: Scale::Linear },
        y: percent("percent of the newcomers"),
        series,
    }])
}

/// A server that was measured has the colour of the rule that it has.
fn colour_of(server: &str) -> usize {
    match server {
        "anteroom" => 0,
        "plain" => 2,
        _ if server.contains("fifo") => 1,
        _ => 4,
    }
}

/// One source that takes what it can get.
///
/// # Errors
/// Drawing fails.
pub fn flood(courses: &[Course]) -> io::Result<String> {
    let width = Duration::from_millis(500);
    let time = || Axis { label: "seconds", from: 0.0, to: 40.0, scale: Scale::Linear };
    let line = |(colour, course): (usize, &Course), points| Series {
        name: course.name.to_owned(),
        // As in the other plots: the plain loop has the third.
        colour: if course.name.starts_with("plain") { 2 } else { colour },
        look: Look::Line,
        points,
    };
    let others = courses.iter().enumerate().map(|(colour, course)| {
        let success = |slot: &Slot| 100.0 * slot.success();
        line((colour, course), over_time(&course.clients.slots, width, Duration::ZERO, success))
    });
    let flooder = courses.iter().enumerate().map(|(colour, course)| {
        #[expect(clippy::cast_precision_loss, reason = "some places")]
        let open = |slot: &Slot| slot.open as f64;
        let slots = course.others.as_ref().map(|flooder| flooder.slots.as_slice()).unwrap_or_default();
        line((colour, course), over_time(slots, width, Duration::ZERO, open))
    });
    svg(&[
        Chart {
            title: "One source opens 5,000 per second, from 5 s to 20 s: the other 50 sources",
            x: time(),
            y: percent("percent answered"),
            series: others.collect(),
        },
        Chart {
            title: "Places that the flooder holds, of 50",
            x: time(),
            y: Axis { label: "places", from: 0.0, to: 55.0, scale: Scale::Linear },
            series: flooder.collect(),
        },
    ])
}

/// In the middle of each slot.
fn over_time(
    slots: &[Slot],
    width: Duration,
    origin: Duration,
    value: impl Fn(&Slot) -> f64,
) -> Vec<(f64, Option<f64>)> {
    let middles =
        (0_u32..).map(|number| (f64::from(number) + 0.5) * width.as_secs_f64() - origin.as_secs_f64());
    middles.zip(slots.iter().map(|slot| Some(value(slot)))).collect()
}

/// The table of scenarios.
///
/// # Errors
/// A policy cannot be meant.
pub fn scenarios(seed: u64) -> io::Result<String> {
    let mut text = String::from(
        "# Scenarios\n\n50 places for 50 ms each: a capacity of 1,000 clients per second, who wait for one second \
         unless it says otherwise.\nTimes are from the coming to the answer. Written by\n\
         `cargo run --release -p anteroom-load -- simulate docs/guide/overload/after-a-stall.csv`.\n",
    );
    for (name, courses) in figures::table(seed)? {
        rows(&mut text, &capitalised(name), "rule", &courses);
    }
    text.push_str("\n# Settings\n\nOne changed at a time.\n");
    for (name, courses) in figures::settings(seed)? {
        rows(&mut text, &capitalised(name), "Anteroom with", &courses);
    }
    text.push_str(
        "\n## One source opens 5,000 per second and holds what it gets; 50 places\n\n\
         | `alpha` | places that it holds | of the 50 others answered |\n|---|---|---|\n",
    );
    for Course { name, clients, others } in figures::shares(seed)? {
        let held = others.iter().flat_map(|flooder| &flooder.slots).map(|slot| slot.open).max().unwrap_or(0);
        let _infallible = writeln!(text, "| {name} | {held} | {:.1} % |", 100.0 * clients.success());
    }
    Ok(text)
}

fn rows(text: &mut String, heading: &str, first: &str, courses: &[Course]) {
    let _infallible = write!(
        text,
        "\n## {heading}\n\n| {first} | answered | median | p99 | work for the gone | refused |\n\
         |---|---|---|---|---|---|\n"
    );
    for course in courses {
        let outcome = whole(course);
        let time = |share| outcome.took(share).map_or("-".into(), |took| format!("{} ms", took.as_millis()));
        let refused: Vec<_> =
            outcome.refused.iter().map(|(cause, number)| format!("{number} `{cause}`")).collect();
        let _infallible = writeln!(
            text,
            "| {} | {:.1} % | {} | {} | {:.1} % | {} |",
            course.name,
            100.0 * outcome.success(),
            time(0.5),
            time(0.99),
            100.0 * outcome.waste(),
            if refused.is_empty() { "-".to_owned() } else { refused.join(", ") },
        );
    }
}

/// Both crowds of a scenario together.
fn whole(course: &Course) -> super::Outcome {
    let mut whole = course.clients.clone();
    if let Some(other) = &course.others {
        whole.came += other.came;
        whole.answered += other.answered;
        whole.gave_up += other.gave_up;
        whole.services += other.services;
        whole.wasted += other.wasted;
        whole.took.extend(&other.took);
        for (cause, number) in &other.refused {
            *whole.refused.entry(cause).or_default() += number;
        }
    }
    whole.took.sort_unstable();
    whole
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
