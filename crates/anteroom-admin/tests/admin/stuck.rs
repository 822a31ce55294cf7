//! Every worker of the application is blocked, and the admin listener says by whom.

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use serde_json::Value;

use crate::asking::{PATIENCE, admin, connect, get, server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_blocks_every_worker_is_named_while_it_lasts() {
    let (server, at) = server();
    let (_admin, to) = admin(&server);
    // Its handlers sleep for two seconds each: both workers for as long as there are some.
    let sleepers: Vec<TcpStream> = (0..8).map(|_| connect(at)).collect();
    for mut sleeper in &sleepers {
        sleeper.write_all(b"s").expect("it is connected");
    }
    let peers: Vec<String> =
        sleepers.iter().map(|sleeper| sleeper.local_addr().expect("an address").to_string()).collect();
    let started = Instant::now();
    let held_by = loop {
        assert!(started.elapsed() < PATIENCE, "nobody was named");
        let told: Value = serde_json::from_str(&get(to, "/status").1).expect("JSON");
        let stalls = told["servers"]["server"]["stalls"].as_array().cloned().expect("a list");
        let held = stalls.iter().find(|stall| stall["cause"] == "held");
        match held.and_then(|stall| stall["evidence"]["held_by"].as_array().cloned()) {
            Some(held_by) if held_by.len() == 2 => break held_by,
            _ => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
    };
    for blame in &held_by {
        assert_eq!(blame["part"], "handler");
        let peer = blame["connection"]["peer"].as_str().expect("a peer").to_owned();
        assert!(peers.contains(&peer), "{peer} is none of the sleepers");
        if cfg!(target_os = "linux") {
            assert_eq!(blame["doing"]["kind"], "sleeping", "{blame}");
            assert!(blame["thread"]["id"].is_number());
        }
    }
    let started = Instant::now();
    loop {
        let (code, words) = get(to, "/ready");
        if code == 503 {
            assert_eq!(words, "server: not ready: runtime_late\n");
            break;
        }
        assert!(started.elapsed() < PATIENCE, "it is ready all the time");
    }
    assert_eq!(get(to, "/live").0, 200, "it is not dead");
}
