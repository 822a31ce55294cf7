//! Stopping while 2,000 clients a second arrive, on a loopback that is slow enough for handshakes to be under way.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anteroom_listener::{Builder, Fence, Handshakes, Listener, Stream};
use anteroom_testkit::{BOUND, eventually, isolated, start_connecting, write_sysctl};
use socket2::Socket;

use crate::address;

const ROUNDS: usize = 20;
/// 2,000 a second, in small crowds.
const CROWD: u32 = 16;
const BETWEEN_CROWDS: Duration = Duration::from_millis(8);
/// Where handshakes cannot be counted: many round trips of this loopback.
const A_ROUND_TRIP: Duration = Duration::from_millis(200);

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Fenced,
    /// Accept until the queue is empty, then close at once.
    Emptied,
}

/// What became of the clients.
#[derive(Debug, Default)]
#[allow(dead_code, reason = "all of it is printed")]
struct Tally {
    served: usize,
    /// They had connected, and got no answer.
    reset: usize,
    /// Nobody listened any more when their SYN came.
    refused: usize,
    /// Their SYN was dropped: they would try again.
    waiting: usize,
    /// Handshakes that were under way when the fence was set, if it was.
    under_way: u32,
}

#[test]
fn with_the_fence_nobody_is_reset_on_ipv4() {
    isolated(|| {
        slow_loopback();
        rounds(&Listener::builder(), "127.0.0.1:0", &["127.0.0.1"]);
    });
}

#[test]
fn with_the_fence_nobody_is_reset_on_ipv6() {
    isolated(|| {
        slow_loopback();
        rounds(&Listener::builder(), "[::1]:0", &["::1"]);
    });
}

#[test]
fn with_the_fence_nobody_is_reset_on_a_dual_stack() {
    isolated(|| {
        slow_loopback();
        rounds(&Listener::builder().dual_stack(), "[::]:0", &["::1", "127.0.0.1"]);
    });
}

#[test]
fn with_the_fence_nobody_is_reset_with_cookies_for_everybody() {
    isolated(|| {
        slow_loopback();
        write_sysctl("net.ipv4.tcp_syncookies", 2);
        rounds(&Listener::builder(), "127.0.0.1:0", &["127.0.0.1"]);
    });
}

/// What the fence is for, and that the tests above would notice.
#[test]
fn without_the_fence_some_are_reset_although_the_queue_was_just_emptied() {
    isolated(|| {
        if !slow_loopback() {
            return;
        }
        let mut reset = 0;
        for number in 0..ROUNDS {
            reset += round(&Listener::builder(), "127.0.0.1:0", &["127.0.0.1"], End::Emptied, number).reset;
        }
        println!("without the fence: {reset} reset");
        assert!(reset > 0);
    });
}

fn rounds(builder: &Builder, bind: &str, to: &[&str]) {
    for number in 0..ROUNDS {
        let tally = round(builder, bind, to, End::Fenced, number);
        println!("{number}: {tally:?}");
        assert_eq!(tally.reset, 0);
    }
}

/// Makes every packet wait for those before it, as on a line of 12 Mbit/s. Where it cannot be done it says so: the
/// handshakes are then over at once, and less is proven.
fn slow_loopback() -> bool {
    let arguments = "qdisc add dev lo root tbf rate 12mbit burst 200 latency 100ms";
    let is_slow = Command::new("tc").args(arguments.split(' ')).status().is_ok_and(|status| status.success());
    if !is_slow {
        let why = "the loopback cannot be slowed down: tc, or its token bucket filter, is missing";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
        eprintln!("skipped: {why}");
    }
    is_slow
}

fn round(builder: &Builder, bind: &str, to: &[&str], end: End, number: usize) -> Tally {
    let listener = builder.bind(bind).unwrap();
    let port = address(&listener).port();
    let to: Vec<_> = to.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect();
    let is_over = AtomicBool::new(false);
    let mut under_way = 0;
    let mut served = 0;
    let clients = thread::scope(|scope| {
        let clients = scope.spawn(|| arrive(&to, &is_over));
        // Looked at so often that it ends in the middle of a crowd.
        let start = Instant::now();
        while served < 20 + 5 * number {
            assert!(start.elapsed() < BOUND, "clients are arriving");
            served += serve_queued(&listener);
            thread::sleep(Duration::from_micros(50));
        }
        if end == End::Fenced {
            assert_eq!(listener.fence().unwrap(), Fence::Set);
            under_way = match listener.handshakes() {
                Handshakes::UnderWay(count) => count,
                _ => 0,
            };
            served += serve_until_quiet(&listener);
        } else {
            served += serve_queued(&listener);
        }
        listener.close();
        is_over.store(true, Ordering::Relaxed);
        clients.join().unwrap()
    });
    let mut tally = Tally { under_way, ..Tally::default() };
    clients.into_iter().for_each(|client| tally.count(client));
    assert!(end == End::Emptied || tally.served == served, "{tally:?}: {served} were accepted");
    tally
}

/// An open loop: a crowd after each pause, whatever became of the ones before.
fn arrive(to: &[SocketAddr], is_over: &AtomicBool) -> Vec<Socket> {
    let start = Instant::now();
    let mut clients = Vec::new();
    for (to, number) in to.iter().cycle().zip(0..) {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        thread::sleep((BETWEEN_CROWDS * (number / CROWD)).saturating_sub(start.elapsed()));
        clients.push(start_connecting(*to));
    }
    clients
}

/// Accepts until the queue is empty, and answers each with a byte.
fn serve_queued(listener: &Listener) -> usize {
    let mut served = 0;
    loop {
        match listener.accept() {
            Ok(accepted) => {
                let Stream::Tcp(mut stream) = accepted.stream else { panic!("not TCP") };
                stream.write_all(b"!").unwrap();
                served += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return served,
            Err(error) => panic!("accept: {error}"),
        }
    }
}

fn serve_until_quiet(listener: &Listener) -> usize {
    let start = Instant::now();
    let mut served = 0;
    eventually("it is quiet", BOUND, || {
        // In this order: who is not under way any more is in the queue.
        let is_quiet = match listener.handshakes() {
            Handshakes::UnderWay(count) => count == 0,
            _ => start.elapsed() > A_ROUND_TRIP,
        };
        served += serve_queued(listener);
        is_quiet
    });
    served
}

impl Tally {
    fn count(&mut self, client: Socket) {
        // First whether it is connected: a reset between the two questions must not pass for a wait.
        if client.peer_addr().is_ok() {
            match is_answered(client.into()) {
                true => self.served += 1,
                false => self.reset += 1,
            }
            return;
        }
        match client.take_error().unwrap() {
            None => self.waiting += 1,
            Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.refused += 1,
            Some(_) => self.reset += 1,
        }
    }
}

/// A client whose reset was lost on the way is told again when it sends something.
fn is_answered(mut client: TcpStream) -> bool {
    client.set_nonblocking(false).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let answer = client.read(&mut [0]).or_else(|_| {
        client.write_all(b"?")?;
        client.set_read_timeout(Some(BOUND))?;
        client.read(&mut [0])
    });
    matches!(answer, Ok(1))
}
