//! Clients that reset their connection while it waited in the kernel's queue: no error, but a name.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails; not every helper of a test counts as one"
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anteroom_testkit::{BOUND, eventually_gives};
use anteroom_tests::child::ServerProcess;
use anteroom_tests::clients::{ask, connect, name_of, reset};
use anteroom_tests::lines::answer;
use serde_json::{Value, json};

const SERVER: &str = env!("CARGO_BIN_EXE_anteroom-test-server");

const CLIENTS: usize = 1000;

/// A client whose SYN was dropped tries again after one second: who was served sooner was let in at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How often each address comes: a port that its client has reset may be given to the next one.
fn counted(addresses: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    addresses.fold(BTreeMap::new(), |mut counts, address| {
        *counts.entry(address).or_default() += 1;
        counts
    })
}

#[test]
fn a_reset_in_the_queue_is_no_error_and_its_address_is_told() {
    let mut server = ServerProcess::start(SERVER, &json!({ "backlog": CLIENTS }));
    let address = server.address();
    server.stop();
    let names: Vec<String> = (0..CLIENTS)
        .map(|_| {
            let client = connect(&address);
            let name = name_of(&client);
            reset(client);
            name
        })
        .collect();
    server.go_on();

    let start = Instant::now();
    let client = connect(&address);
    assert_eq!(ask(&client, "live").expect("it is served"), answer("live"));
    let served = start.elapsed();
    assert!(served < AT_ONCE, "the next client was served only after {served:?}");
    drop(client);

    let told: Vec<Value> = eventually_gives("every death is told", BOUND, || {
        let told = server.events("anteroom::dead_on_arrival");
        (told.len() >= CLIENTS).then_some(told)
    });
    for event in &told {
        let (kind, stage) = (&event["fields"]["kind"], &event["fields"]["stage"]);
        assert_eq!((kind, stage), (&json!("reset"), &json!("queue")), "{event}");
    }
    let peers = told.iter().map(|event| event["fields"]["peer"].as_str().expect("a name").to_owned());
    assert_eq!(counted(peers), counted(names.into_iter()));

    let snapshot = server.snapshot();
    assert_eq!((&snapshot["accept_errors"], &snapshot["events_lost"]), (&json!(0), &json!(0)), "{snapshot}");
    assert_eq!(server.calls()["total"], 1);
    let report = server.drain(BOUND);
    assert_eq!(report["dead"]["in_queue"]["reset"], CLIENTS, "{report}");
    assert_eq!(report["served"]["done"], 1, "{report}");
    assert_eq!(report["balanced"], true, "{report}");
    assert_eq!(report["error"], Value::Null, "{report}");

    // After the drain, so that whatever it has to say is in it.
    for event in server.all_events() {
        assert_ne!(event["level"], "ERROR", "{event}");
        let text = event.to_string().to_lowercase();
        assert!(!text.contains("not connected") && !text.contains("enotconn"), "{event}");
    }
}
