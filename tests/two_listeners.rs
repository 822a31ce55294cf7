//! A flooded listener does not hold up its neighbour on the same acceptor.
//!
//! The order of turns itself is held by the unit test of `accept/rota.rs`. This is the statement in
//! time: whatever else runs on the machine can only make a round worse, never better, so the best of
//! a few rounds is what the acceptor itself does.

#![allow(clippy::expect_used, reason = "this is test code")]

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anteroom::{Connection, Listener, Server, service_fn};
use tokio::io::AsyncWriteExt;

const EVERY: Duration = Duration::from_millis(10);
const CONNECTIONS: u32 = 150;
const ROUNDS: usize = 6;

fn listen(name: &str) -> (Listener, SocketAddr) {
    let listener = Listener::builder().name(name).bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().tcp().expect("it is TCP");
    (listener, address)
}

/// From connect to the first byte, for a client every 10 ms; the 99th of 100, the slowest two aside.
fn p99(address: SocketAddr) -> Duration {
    let began = Instant::now();
    let mut taken: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            thread::sleep((began + EVERY * number).saturating_duration_since(Instant::now()));
            let asked = Instant::now();
            let mut client = TcpStream::connect(address).expect("it listens");
            client.read_exact(&mut [0]).expect("it speaks first");
            asked.elapsed()
        })
        .collect();
    taken.sort();
    taken.into_iter().rev().nth(1).expect("there are enough")
}

/// Connects and resets as fast as one core can, until told to stop.
fn flood(address: SocketAddr, stop: &AtomicBool, flooded: &AtomicU64) {
    while !stop.load(Relaxed) {
        if let Ok(client) = TcpStream::connect(address) {
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("a TCP option");
            flooded.fetch_add(1, Relaxed);
        }
    }
}

#[test]
fn a_neighbour_of_a_flooded_listener_is_served_as_soon_as_without_the_flood() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let _inside = runtime.enter();
    let ((public, public_at), (admin, admin_at)) = (listen("public"), listen("admin"));
    let server = Server::builder()
        .serve(public, service_fn(|_: Connection| async { Ok::<_, io::Error>(()) }))
        .serve(
            admin,
            service_fn(|mut connection: Connection| async move { connection.write_all(b"!").await }),
        )
        .start()
        .expect("it starts");
    let mut rounds = Vec::new();
    let held = (0..ROUNDS).any(|_| {
        let alone = p99(admin_at);
        let (stop, flooded) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let flooding = thread::spawn({
            let (stop, flooded) = (Arc::clone(&stop), Arc::clone(&flooded));
            move || flood(public_at, &stop, &flooded)
        });
        let beside = p99(admin_at);
        stop.store(true, Relaxed);
        flooding.join().expect("the flood ends");
        rounds.push((alone, beside, flooded.load(Relaxed)));
        beside <= (alone * 3).max(alone + Duration::from_millis(5))
    });
    println!("p99 alone, beside a flood, connections of the flood: {rounds:?}");
    assert!(held, "p99 alone, beside a flood, connections of the flood: {rounds:?}");
    let floods: u64 = rounds.iter().map(|(_, _, flooded)| flooded).sum();
    assert!(floods > 1000, "that was no flood: {floods}");
    drop(server);
}
