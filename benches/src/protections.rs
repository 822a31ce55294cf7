//! What each of Anteroom's protections costs.
//!
//! Owns: which combinations are counted, and their table.
//! Never: time; what a protection takes is too little for a clock on a shared machine.

use crate::{args::Load, counted::Counted, document::or_not_counted, say};
use anteroom_load::peer::{Peer, Protection};
use std::{fmt::Write, io};

/// One setting, and what a connection takes with it.
#[derive(Debug)]
pub(crate) struct Row {
    title: String,
    pub(crate) counted: Counted,
}

/// The title of the row without any.
const OFF: &str = "everything off";

impl Row {
    pub(crate) fn is_everything_off(&self) -> bool {
        self.title == OFF
    }
}

/// The default, twice to tell the noise; everything off, everything on, and each protection switched alone.
pub(crate) fn count(load: &Load) -> io::Result<Vec<Row>> {
    let (on, off): (Vec<_>, Vec<_>) =
        Protection::ALL.iter().copied().partition(|protection| protection.is_default());
    let mut settings = vec![
        ("the default".to_owned(), Vec::new()),
        ("the default once more: what differs by itself".to_owned(), Vec::new()),
        (OFF.to_owned(), on.clone()),
        ("everything on".to_owned(), off.clone()),
    ];
    settings.extend(on.iter().map(|one| (format!("without {one}: {}", one.description()), vec![*one])));
    settings.extend(off.iter().map(|one| (format!("with {one}: {}", one.description()), vec![*one])));
    let mut rows = Vec::new();
    for (title, switched) in settings {
        let counted = Counted::of(Peer::ANTEROOM, &switched, load)?;
        say(&format!("protections: {title}\n"))?;
        rows.push(Row { title, counted });
    }
    Ok(rows)
}

/// The first row is the one that the others are held against.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| setting | user instructions | more than the default | of threads that look | system calls | more than the default |\n\
         |---|---:|---:|---:|---:|---:|\n",
    );
    let Some(default) = rows.first().map(|row| &row.counted) else { return text };
    for Row { title, counted } in rows {
        let serving = cells(counted.serving(), default.serving(), 0);
        let looking = or_not_counted(counted.looking(), 0);
        let syscalls = cells(counted.syscalls(), default.syscalls(), 2);
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {title} | {serving} | {looking} | {syscalls} |");
    }
    text
}

/// A number, and how much more it is than another.
fn cells(number: Option<f64>, than: Option<f64>, digits: usize) -> String {
    match (number, than) {
        (Some(number), Some(than)) => format!("{number:.digits$} | {:+.digits$}", number - than),
        _ => "not counted |".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_what_is_more_or_less_than_the_default() {
        assert_eq!(cells(Some(9_500.0), Some(10_000.4), 0), "9500 | -500");
        assert_eq!(cells(Some(8.5), Some(8.25), 2), "8.50 | +0.25");
        assert_eq!(cells(None, None, 2), "not counted |");
    }
}
