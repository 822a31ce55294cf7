//! Every worker of the application is blocked, and the admin listener says by whom.

use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

use anteroom::{Candidate, Connection, Listener, Server, Verdict, service_fn};
use serde_json::Value;

use crate::asking::{PATIENCE, admin, connect, echoes, get, server};

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
            // Both are true; which of them lasts long enough first is the machine's.
            let reasons =
                ["runtime_late", "long_wait"].map(|reason| format!("server: not ready: {reason}\n"));
            assert!(reasons.contains(&words), "{words}");
            break;
        }
        assert!(started.elapsed() < PATIENCE, "it is ready all the time");
    }
    assert_eq!(get(to, "/live").0, 200, "it is not dead");
}

/// Asks until it says so.
fn until(to: std::net::SocketAddr, code: u16, words: &str) {
    let started = Instant::now();
    while get(to, "/ready") != (code, words.to_owned()) {
        assert!(started.elapsed() < PATIENCE, "{:?}", get(to, "/ready"));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Its filter holds whoever accepts, and the workers are idle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_accepts_nobody_is_not_ready_until_it_does() {
    let (begin, begun) = std::sync::mpsc::sync_channel::<()>(0);
    let listener = Listener::builder().name("public").bind("127.0.0.1:0").expect("a free port");
    let at = listener.local_addr().tcp().expect("TCP");
    let filter = move |_: &Candidate<'_>| {
        // It waits for the test to be through, once.
        let _over = begun.recv();
        Verdict::Admit
    };
    let serve = service_fn(|mut connection: Connection| async move {
        let (mut from, mut into) = tokio::io::split(&mut connection);
        tokio::io::copy(&mut from, &mut into).await.map(drop)
    });
    let server = Server::builder().filter(filter).serve(listener, serve).start().expect("it starts");
    let (_admin, to) = admin(&server);
    assert_eq!(get(to, "/ready").0, 200);
    let _in_the_filter = connect(at);
    until(to, 503, "server: not ready: long_wait\n");
    drop(begin);
    until(to, 200, "server: ready\n");
    echoes(at);
}
