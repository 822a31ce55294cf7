//! A process that has used up its descriptors still says so. A process of its own: the limit is the process's.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "this is test code")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, id};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anteroom::{Connection, Listener, Server, service_fn};
use anteroom_admin::Admin;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

const LIMIT: usize = 128;

/// The limit is the process's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

async fn close(_connection: Connection) -> io::Result<()> {
    Ok(())
}

/// Inside a runtime that has all its descriptors, and gives them back.
fn alone(test: impl FnOnce()) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async { test() });
}

fn limit_descriptors() {
    let limit = format!("--nofile={LIMIT}:{LIMIT}");
    let limited = Command::new("prlimit").args([format!("--pid={}", id()), limit]).status();
    assert!(limited.expect("prlimit is there").success());
}

/// Every descriptor that is left.
fn hoard() -> Vec<File> {
    let hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).take(LIMIT).collect();
    assert!(!hoard.is_empty() && File::open("/dev/null").is_err(), "a descriptor is left");
    hoard
}

#[test]
fn an_admin_listener_that_cannot_be_had_is_an_error_and_no_panic() {
    alone(|| {
        let listener = Listener::builder().bind("127.0.0.1:0").expect("a free port");
        let server = Server::builder().serve(listener, service_fn(close)).start().expect("it starts");
        limit_descriptors();
        // What the test before had is given back when it likes: then there is another round.
        for _ in 0..20 {
            let mut hoard = hoard();
            let mut failed = 0;
            while let Err(error) = Admin::serve(&server.handle(), "127.0.0.1:0") {
                failed += 1;
                let says = error.to_string();
                assert!(says.contains("os error 24") || says.contains("out of file descriptors"), "{says}");
                assert!(hoard.pop().is_some(), "there are descriptors: {error}");
            }
            if failed > 3 {
                return;
            }
        }
        panic!("it never failed half-way");
    });
}

/// Takes every descriptor that anybody gives back, until it is dropped.
struct Competitor(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Competitor {
    fn start(mut taken: Vec<File>) -> Self {
        let (ends, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (when, is_there) = (Arc::clone(&ends), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            while !when.load(Relaxed) {
                while let Ok(file) = File::open("/dev/null") {
                    taken.push(file);
                }
                is_there.store(true, Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        while !seen.load(Relaxed) {
            std::thread::yield_now();
        }
        Self(ends, Some(thread))
    }
}

impl Drop for Competitor {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
        self.1.take().map(JoinHandle::join).expect("a thread").expect("it ends");
    }
}

/// Of this process, too: it is there before there are no more.
fn askers(number: usize) -> Vec<Socket> {
    (0..number).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket")).collect()
}

fn connect(asker: Socket, to: SocketAddr) -> TcpStream {
    asker.connect(&to.into()).expect("it listens");
    TcpStream::from(asker)
}

fn ask(asker: &mut TcpStream, to: SocketAddr) -> Value {
    asker.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let ask = format!("GET /status HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    asker.write_all(ask.as_bytes()).expect("it reads");
    let mut answer = String::new();
    asker.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

#[test]
fn who_asks_a_process_without_descriptors_is_answered_every_time() {
    alone(|| {
        let listener = Listener::builder().bind("127.0.0.1:0").expect("a free port");
        let server = Server::builder().serve(listener, service_fn(close)).start().expect("it starts");
        let admin = Admin::serve(&server.handle(), "127.0.0.1:0").expect("it starts");
        let to = admin.local_addr().tcp().expect("TCP");
        let askers = askers(30);
        limit_descriptors();
        let _competitor = Competitor::start(hoard());
        let mut asked = Vec::new();
        for asker in askers {
            let mut asker = connect(asker, to);
            let status = ask(&mut asker, to);
            assert!(status["servers"]["server"].is_object(), "{status}");
            asked.push(asker);
        }
    });
}

#[test]
fn who_sits_there_makes_room_for_who_asks_a_process_without_descriptors() {
    alone(|| {
        let listener = Listener::builder().bind("127.0.0.1:0").expect("a free port");
        let server = Server::builder().serve(listener, service_fn(close)).start().expect("it starts");
        let admin = Admin::serve(&server.handle(), "127.0.0.1:0").expect("it starts");
        let to = admin.local_addr().tcp().expect("TCP");
        let mut askers = askers(30);
        limit_descriptors();
        let _competitor = Competitor::start(hoard());
        let _idle: Vec<_> = askers.drain(..20).map(|idle| connect(idle, to)).collect();
        let started = Instant::now();
        let asked: Vec<_> = askers
            .into_iter()
            .map(|asker| {
                let mut asker = connect(asker, to);
                ask(&mut asker, to);
                asker
            })
            .collect();
        // Whoever sits there is sent away after two seconds in any case.
        assert!(started.elapsed() < Duration::from_millis(1_500), "{:?}", started.elapsed());
        drop(asked);
    });
}

#[test]
fn who_cannot_accept_for_want_of_descriptors_is_not_ready_until_there_are_some() {
    alone(|| {
        let listener = Listener::builder().bind("127.0.0.1:0").expect("a free port");
        let at = listener.local_addr().tcp().expect("TCP");
        let server = Server::builder().serve(listener, service_fn(close)).start().expect("it starts");
        let admin = Admin::serve(&server.handle(), "127.0.0.1:0").expect("it starts");
        let to = admin.local_addr().tcp().expect("TCP");
        let mut askers = askers(20);
        limit_descriptors();
        let competitor = Competitor::start(hoard());
        let handle = server.handle();
        let started = Instant::now();
        let mut refused = Vec::new();
        while handle.readiness().is_ready() {
            assert!(started.elapsed() < Duration::from_secs(30), "{}", handle.readiness());
            // The first may find one that the test before gives back.
            refused.extend(askers.pop().map(|asker| connect(asker, at)));
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(competitor);
        while !handle.readiness().is_ready() {
            assert!(started.elapsed() < Duration::from_secs(30), "{}", handle.readiness());
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut asker = TcpStream::connect(to).expect("it listens");
        assert_eq!(ask(&mut asker, to)["servers"]["server"]["ready"], true);
    });
}
