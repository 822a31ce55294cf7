//! The house keeps its own rules: rooms say only what belongs in them, the map names every file, and
//! the list of events is the list of events.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "this is test code")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// Every source file below `folder`, as a path from the workspace's root.
fn sources(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the house") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let path = path.strip_prefix(root()).expect("inside").to_str().expect("UTF-8");
                found.push(path.to_owned());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{folder} has no source");
    found
}

/// Whether a file holds tests and nothing else.
fn is_test(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

/// A file without its comments and without its tests.
fn code(path: &str) -> String {
    let text = read(path);
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn no_room_says_what_it_must_not() {
    let forbidden: [(&str, &[&str]); 7] = [
        (
            "crates/anteroom/src/admit",
            &["Instant", "Tick::now", "tokio", "tracing", "Stream", "crate::gate", "crate::accept"],
        ),
        (
            "crates/anteroom/src/accept",
            &["tracing::", "metrics::", "tower_service", ".call(", "tokio::spawn"],
        ),
        (
            "crates/anteroom/src/gate",
            &["tracing::", "metrics::", "tower_service", "crate::server", "crate::accept"],
        ),
        (
            "crates/anteroom/src/observe",
            &["crate::gate", "crate::accept", "crate::connection", "crate::server"],
        ),
        (
            "crates/anteroom/src/stall",
            &["warn!", "info!", "debug!", "metrics::", "crate::lifecycle", "crate::server", "crate::accept"],
        ),
        ("crates/anteroom/src/lifecycle", &["crate::accept", "crate::server", ".accept("]),
        ("crates/anteroom/src/connection", &["crate::accept", "crate::server", ".accept("]),
    ];
    for (folder, words) in forbidden {
        for path in sources(folder).into_iter().filter(|path| !is_test(path)) {
            let code = code(&path);
            for word in words {
                assert!(!code.contains(word), "{path} says `{word}`: it is in the wrong room");
            }
        }
    }
}

#[test]
fn only_sys_says_unsafe() {
    for krate in ["crates/anteroom/src", "crates/anteroom-admin/src", "crates/anteroom-http/src"] {
        assert!(read(format!("{krate}/lib.rs")).contains("#![forbid(unsafe_code)]"), "{krate}");
    }
    for path in sources("crates/anteroom-listener/src") {
        let says = code(&path).contains("unsafe ");
        assert!(!says || path.contains("/sys/"), "{path} says unsafe outside sys/");
    }
}

/// Chains of `let` came with Rust 1.88, and no lint knows: the published crates promise 1.85.
#[test]
fn the_published_crates_have_no_let_chains() {
    for krate in
        ["crates/anteroom", "crates/anteroom-admin", "crates/anteroom-listener", "crates/anteroom-http"]
    {
        for path in sources(krate) {
            let code = code(&path);
            let conditions = code.split("if let ").skip(1).chain(code.split("while let ").skip(1));
            for condition in conditions {
                let head = condition.split("{\n").next().unwrap_or_default();
                assert!(!head.contains("&& let "), "{path} chains lets: if let {head}");
                let (_, expression) = head.split_once(" = ").unwrap_or_default();
                let chained = expression.contains(" && ") && !expression.contains('(');
                assert!(!chained, "{path} chains a let: if let {head}");
            }
        }
    }
}

#[test]
fn every_file_opens_with_what_it_is_and_stays_under_500_lines() {
    for folder in ["crates", "examples", "tests", "benches"] {
        for path in sources(folder) {
            let text = read(&path);
            assert!(text.starts_with("//!"), "{path} does not say what it is");
            assert!(text.lines().count() <= 500, "{path} has {} lines: two rooms?", text.lines().count());
        }
    }
}

#[test]
fn the_map_names_every_file_of_the_core_crates() {
    let map = read("ARCHITECTURE.md");
    for krate in ["crates/anteroom/src", "crates/anteroom-listener/src"] {
        for path in sources(krate) {
            let name = path.rsplit('/').next().expect("a name");
            let folder = path.strip_prefix(krate).expect("inside").trim_start_matches('/');
            let named = map.contains(&format!("`{name}`")) || map.contains(&format!("`{folder}`"));
            let plain = matches!(name, "lib.rs" | "mod.rs") || is_test(&path);
            assert!(named || plain, "ARCHITECTURE.md does not name {path}");
        }
    }
}

/// The words in backquotes that open the rows of a table.
fn first_cells(table: &str) -> BTreeSet<String> {
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned())).collect()
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, text) = text.split_once(from).unwrap_or_else(|| panic!("no {from:?}"));
    text.split_once(to).map_or(text, |(text, _)| text)
}

/// Every string literal in the crate that starts with `start`.
fn literals(start: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in sources("crates/anteroom/src") {
        for literal in code(&path).split('"').filter(|text| text.starts_with(start)) {
            found.insert(literal.to_owned());
        }
    }
    found
}

#[test]
fn the_list_of_events_is_what_the_source_speaks() {
    let list = read("docs/events.md");
    assert_eq!(first_cells(between(&list, "## Events", "## Metrics")), literals("anteroom::"));
}

#[test]
fn the_list_of_metrics_is_what_the_source_publishes() {
    let list = read("docs/events.md");
    assert_eq!(first_cells(between(&list, "## Metrics", "\u{0}")), literals("anteroom_"));
}

/// The classes that a running server counts.
fn accept_errors_of_a_server() -> BTreeSet<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    let listener = anteroom::Listener::bind("127.0.0.1:0").expect("a free port");
    let service = anteroom::service_fn(async |_: anteroom::Connection| std::io::Result::Ok(()));
    let server = anteroom::Server::builder().serve(listener, service).start().expect("it starts");
    let counted = server.handle().snapshot().listeners.remove(0).accept_errors;
    counted.into_iter().map(|(class, _)| class.name().to_owned()).collect()
}

#[test]
fn a_label_in_the_list_has_all_its_values() {
    let list = read("docs/events.md");
    for cause in anteroom::Cause::ALL {
        assert!(list.contains(cause.label()), "{cause}");
    }
    for death in anteroom::Death::ALL {
        assert!(list.contains(death.label()), "{death}");
    }
    let row = between(&list, "| `anteroom_accept_errors_total`", "\n");
    let listed: BTreeSet<_> = between(row, "`class`: ", " |").split(", ").map(str::to_owned).collect();
    assert_eq!(listed, accept_errors_of_a_server());
}
