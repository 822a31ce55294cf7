//! Thousands of open connections: everybody is served and counted, and a drain ends, whether it waits or cuts.
//!
//! As many as the descriptors of the process are enough for, at most 4,000 in each test: both ends are here.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so")]

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use anteroom::{Config, Connection, Handle, Listener, Order, Report, Server, service_fn};
use anteroom_load::scale::{Idle, raise_descriptor_limit};
use anteroom_testkit::BOUND;
use anteroom_tests::waiting::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{self, Runtime};

const MOST: u64 = 4_000;

/// What else is open.
const SPARE: u64 = 1_000;

/// They may run at the same time.
const TESTS: u64 = 4;

/// How many come to each of them.
fn crowd() -> usize {
    let limit = raise_descriptor_limit().expect("it can be raised to what is allowed").unwrap_or(u64::MAX);
    let most = limit.saturating_sub(SPARE.min(limit / 4)) / (2 * TESTS);
    usize::try_from(most.min(MOST)).expect("a few thousand")
}

/// Answers each byte with itself, for as long as anybody is there.
async fn echo(mut connection: Connection) -> std::io::Result<()> {
    let mut byte = [0];
    while matches!(connection.read(&mut byte).await, Ok(1)) {
        connection.write_all(&byte).await?;
    }
    Ok(())
}

/// However long a busy machine lets them wait, nobody is refused for it.
fn patient() -> Config {
    let mut config = Config::default();
    (config.order, config.max_wait) = (Order::Fifo, BOUND);
    config
}

fn plain() -> (Runtime, Server, SocketAddr) {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is TCP");
    let inside = runtime.enter();
    let server =
        Server::builder().config(patient()).serve(listener, service_fn(echo)).start().expect("it starts");
    drop(inside);
    (runtime, server, address)
}

fn sharded() -> (Runtime, Server, SocketAddr) {
    let shards = NonZeroUsize::new(3).expect("more than none");
    let listeners = Listener::builder().bind_group("127.0.0.1:0", shards).expect("a free port");
    let address = listeners.first().and_then(|listener| listener.local_addr().tcp()).expect("it is TCP");
    let server = Server::builder()
        .config(patient())
        .serve_sharded(listeners, |_| service_fn(echo))
        .start()
        .expect("it starts");
    (runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"), server, address)
}

fn filled(address: SocketAddr, count: usize, handle: &Handle) -> Idle {
    let mut clients = Idle::new(address);
    let filled = clients.fill(count);
    filled.unwrap_or_else(|error| panic!("not everybody is served: {error}; {:?}", handle.snapshot()));
    clients
}

fn drained(runtime: &Runtime, handle: &Handle, within: Duration) -> Report {
    runtime.block_on(handle.drain(within)).expect("nothing failed")
}

fn some_leave_and_the_others_are_cut(start: fn() -> (Runtime, Server, SocketAddr)) {
    // Before a server looks at how many descriptors there are.
    let count = crowd();
    let (runtime, server, address) = start();
    let handle = server.handle();
    let mut clients = filled(address, count, &handle);
    assert_eq!((handle.snapshot().open, handle.snapshot().waiting), (count, 0));
    assert_eq!(clients.answered(), count, "everybody is still served");
    let stay = count / 3;
    clients.leave(stay);
    until("those who left are counted", || handle.snapshot().open == stay);
    assert_eq!(clients.answered(), stay, "who stayed is none the worse for it");
    let report = drained(&runtime, &handle, Duration::ZERO);
    assert!(report.is_balanced(), "{report}");
    assert_eq!(report.accepted, count as u64, "{report}");
    assert_eq!((report.served.done, report.served.cut), ((count - stay) as u64, stay as u64), "{report}");
    assert_eq!(clients.answered(), 0, "nobody is left open");
}

fn everybody_leaves_within_the_drain(start: fn() -> (Runtime, Server, SocketAddr)) {
    // Before a server looks at how many descriptors there are.
    let count = crowd();
    let (runtime, server, address) = start();
    let handle = server.handle();
    let mut clients = filled(address, count, &handle);
    let leaving = std::thread::spawn({
        let handle = handle.clone();
        move || {
            until("it drains", || handle.snapshot().phase == anteroom::Phase::Draining);
            assert_eq!(clients.answered(), count, "a drain lets those who are open go on");
            clients.leave(0);
        }
    });
    let report = drained(&runtime, &handle, BOUND);
    leaving.join().expect("they could leave");
    assert!(report.is_balanced(), "{report}");
    assert_eq!((report.accepted, report.served.done), (count as u64, count as u64), "{report}");
}

#[test]
fn thousands_are_served_and_counted_and_who_stays_is_cut() {
    some_leave_and_the_others_are_cut(plain);
}

#[test]
fn thousands_on_shards_are_served_and_counted_and_who_stays_is_cut() {
    some_leave_and_the_others_are_cut(sharded);
}

#[test]
fn a_drain_ends_with_the_last_of_thousands() {
    everybody_leaves_within_the_drain(plain);
}

#[test]
fn a_drain_of_shards_ends_with_the_last_of_thousands() {
    everybody_leaves_within_the_drain(sharded);
}
