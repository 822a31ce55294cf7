//! The shape of `/status` is the table of the guide: each key is there, of its type, and no other is.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

use anteroom::{Config, Listener, Server, service_fn};
use anteroom_admin::Admin;
use serde_json::Value;

use crate::asking::{PATIENCE, admin, connect, get, server};

const GUIDE: &str = include_str!("../../../../docs/guide/admin.md");

/// The types that a key may have, as the guide's table says.
fn table() -> BTreeMap<String, Vec<String>> {
    let (_, section) = GUIDE.split_once("## The shape of `/status`").expect("the section");
    let rows = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let types = cells[2].split(" or ").map(str::to_owned).collect();
        let keys = cells[1].split(", ").map(|key| key.trim_matches('`').to_owned()).collect::<Vec<_>>();
        keys.into_iter().map(move |key| (key, Vec::clone(&types))).collect::<Vec<_>>()
    };
    rows.flat_map(row).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Each value against the table. What is seen is taken out of `unseen`.
fn check(
    at: &str,
    value: &Value,
    table: &BTreeMap<String, Vec<String>>,
    unseen: &mut BTreeMap<String, Vec<String>>,
) {
    // A distribution is one wherever it is.
    let is_distribution = value.get("p99_seconds").is_some();
    let types = table.get(at).unwrap_or_else(|| panic!("{at} is not in the table"));
    let kind = if is_distribution { "distribution" } else { kind(value) };
    assert!(types.iter().any(|listed| listed == kind), "{at} is {kind}, not {types:?}");
    unseen.remove(at);
    match value {
        Value::Array(all) => all.iter().for_each(|one| check(&format!("{at}[]"), one, table, unseen)),
        Value::Object(all) => {
            let is_map = table.contains_key(&format!("{at}.*"));
            if is_distribution {
                let keys: Vec<_> = all.keys().map(String::as_str).collect();
                assert_eq!(keys, ["count", "max_seconds", "p50_seconds", "p90_seconds", "p99_seconds"]);
                assert!(all.values().all(Value::is_number));
                return;
            }
            if !is_map {
                for key in table.keys().filter_map(|key| key.strip_prefix(&format!("{at}."))) {
                    let is_direct =
                        !key.contains(['.', '[']) && !at.ends_with("evidence") && !at.ends_with("doing");
                    assert!(!is_direct || all.contains_key(key), "{at} has no {key}");
                }
            }
            for (key, one) in all {
                let key = if is_map { "*" } else { key };
                let inner = if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
                check(&inner, one, table, unseen);
            }
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_is_in_the_guide_s_table_and_of_its_type() {
    let (server, at) = server();
    let (_admin, to) = admin(&server);
    let sleepers = [connect(at), connect(at), connect(at)];
    for mut sleeper in &sleepers {
        sleeper.write_all(b"s").expect("it is connected");
    }
    let started = Instant::now();
    let told = loop {
        assert!(started.elapsed() < PATIENCE, "nobody was named");
        let told: Value = serde_json::from_str(&get(to, "/status").1).expect("JSON");
        let stalls = told["servers"]["server"]["stalls"].as_array().cloned().expect("a list");
        if stalls.iter().any(|stall| stall["cause"] == "held") {
            break told;
        }
    };
    let table = table();
    assert!(table.len() > 50, "{}", table.len());
    let mut unseen = table.clone();
    check("", &told, &table, &mut unseen);
    // What only other causes have, and what only some threads do.
    unseen.retain(|key, _| !key.contains(".evidence.") && !key.contains(".doing."));
    assert!(unseen.is_empty(), "{unseen:?}");
}

#[test]
fn the_guide_s_sample_is_of_this_shape() {
    let (_, sample) = GUIDE.split_once("```json\n").expect("a sample");
    let (sample, _) = sample.split_once("```").expect("its end");
    let sample: Value = serde_json::from_str(sample).expect("JSON");
    check("servers.*.stalls", &sample, &table(), &mut BTreeMap::new());
}

#[tokio::test]
async fn what_is_not_looked_for_is_unknown_and_not_none() {
    let mut config = Config::default();
    config.stall_watch = None;
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let serve = service_fn(|_| async { std::io::Result::Ok(()) });
    let server = Server::builder().config(config).serve(listener, serve).start().expect("it starts");
    let admin = Admin::serve(&server.handle(), "127.0.0.1:0").expect("it starts");
    let told: Value =
        serde_json::from_str(&get(admin.local_addr().tcp().expect("TCP"), "/status").1).expect("JSON");
    let one = &told["servers"]["server"];
    for key in ["stalls", "stalls_so_far", "runtime_delay", "poll_time", "runtime_late_seconds"] {
        assert!(one[key].is_null(), "{key} is {}", one[key]);
    }
    assert!(one["lanes"][0]["slow_polls"].is_null());
    check("", &told, &table(), &mut BTreeMap::new());
}
