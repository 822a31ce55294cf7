//! A successor that is the only one stops as its predecessor would have.

#![cfg(all(feature = "handover", target_os = "linux", not(anteroom_portable)))]
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test that cannot go on says so")]

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anteroom::{Handle, Incoming, Listener, Predecessor};

const LONG: Duration = Duration::from_secs(20);

fn stopped(handle: &Handle) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let stopped = async { tokio::time::timeout(LONG, handle.stopped()).await.expect("it stops") };
    runtime.block_on(stopped).expect("nothing failed");
}

#[test]
fn a_successor_that_is_alone_fences_when_it_stops() {
    let path = std::env::temp_dir().join(format!("anteroom-alone-{}", std::process::id()));
    let listener = Listener::builder().name("public").bind("127.0.0.1:0").expect("it binds");
    let old = Incoming::builder().listen(listener).start().expect("it starts");
    let socket = old.handle().hand_over_on(&path, LONG).expect("it listens");
    let mut predecessor = Predecessor::connect(&path, LONG).expect("it offers");
    let listener = predecessor.take("public").expect("it is offered");
    let new = Incoming::builder().listen(listener).succeed(predecessor).start().expect("it starts");
    let handle = new.handle();
    let _socket = handle.hand_over_on(&path, LONG).expect("it listens");
    stopped(&old.handle());
    drop(socket);
    // It is there when it has succeeded.
    let start = Instant::now();
    while UnixStream::connect(&path).is_err() {
        assert!(start.elapsed() < LONG, "it does not take its predecessor's place");
        std::thread::yield_now();
    }
    drop(handle.drain(LONG));
    stopped(&handle);
    assert!(handle.snapshot().listeners[0].fenced.is_some(), "nobody else holds the socket any more");
}
