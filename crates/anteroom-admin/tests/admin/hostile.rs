//! What bad clients do to the admin listener changes nothing, for others and for the service.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anteroom_admin::{CONNECTIONS, REQUESTS};

use crate::asking::{PATIENCE, admin, connect, echoes, get, raw, server, status};

/// Both are as they were.
fn are_well(service: SocketAddr, admin: SocketAddr) {
    echoes(service);
    assert_eq!(get(admin, "/live").0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_turned_away() {
    let (server, at) = server();
    let (_admin, to) = admin(&server);
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(100_000));
    let headers = format!("GET /live HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for garbage in
        [long.as_bytes(), headers.as_bytes(), tls, b"\0\0\0\0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let answer = raw(to, garbage);
        assert!(answer.is_empty() || (400..500).contains(&status(&answer)), "{answer}");
        are_well(at, to);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_comes_slowly_is_not_waited_for() {
    let (server, at) = server();
    let (_admin, to) = admin(&server);
    let (mut slow, mut silent) = (connect(to), connect(to));
    let started = Instant::now();
    let mut sent = 0;
    for byte in b"GET /live HTTP/1.1\r\nHost: localhost\r\nX: ".iter().chain(std::iter::repeat(&b'y')) {
        if slow.write_all(&[*byte]).is_err() {
            break;
        }
        sent += 1;
        assert!(started.elapsed() < PATIENCE, "{sent} bytes were waited for");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut end = Vec::new();
    // It may be told so first; a client that speaks on is reset.
    let _reset = silent.read_to_end(&mut end);
    assert!(started.elapsed() < PATIENCE);
    are_well(at, to);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_garbage_ends_its_own_connection_only() {
    let (server, at) = server();
    let (_admin, to) = admin(&server);
    let mut requests = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20);
    requests.extend_from_slice(b"\x01\x02 garbage \xff\r\n\r\n");
    requests.extend_from_slice(&b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20));
    let answer = raw(to, &requests);
    assert_eq!(answer.matches("200 OK").count(), 20, "{answer}");
    are_well(at, to);
    // A body that nobody reads is not taken for a request.
    let smuggled = b"GET /live HTTP/1.1\r\nHost: localhost\r\nContent-Length: 44\r\n\r\nGET /status HTTP/1.1\r\nHost: localhost\r\n\r\n    ";
    let answer = raw(to, smuggled);
    assert!(answer.matches("HTTP/1.1").count() == 1 && status(&answer) == 413, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_may_ask_so_often_and_no_more() {
    let (server, _) = server();
    let (_admin, to) = admin(&server);
    let answer = raw(to, &b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(REQUESTS + 5));
    assert_eq!(answer.matches("200 OK").count(), REQUESTS);
    assert_eq!(answer.to_lowercase().matches("connection: close").count(), 1);
}

/// They sit there and say nothing; whoever asks gets through, and the service notices nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_who_sit_there_keep_nobody_out() {
    let (server, at) = server();
    let (_admin, to) = admin(&server);
    let crowd: Vec<TcpStream> = (0..1_000).map(|_| connect(to)).collect();
    for _ in 0..20 {
        are_well(at, to);
    }
    let is_open = |client: &&TcpStream| {
        client.set_nonblocking(true).expect("a socket");
        matches!((&mut &**client).read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    let open = crowd.iter().filter(is_open).count();
    assert!(open <= CONNECTIONS, "{open} are still there");
}

/// They connect a thousand times a second, and stay; a probe that needs a moment for its request gets through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_connects_does_not_send_a_slow_probe_away() {
    let (server, _) = server();
    let (_admin, to) = admin(&server);
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut crowd = VecDeque::new();
            while !ends.load(Relaxed) {
                crowd.push_back(connect(to));
                if crowd.len() > 400 {
                    crowd.pop_front();
                }
                std::thread::sleep(Duration::from_micros(900));
            }
        });
        let served = (0..20).filter(|probe| {
            let mut probe_of_a_slow_client = connect(to);
            std::thread::sleep(Duration::from_millis(20 + 4 * probe));
            let _sent_away = probe_of_a_slow_client.write_all(b"GET /live HTTP/1.0\r\n\r\n");
            let mut answer = String::new();
            let _sent_away = probe_of_a_slow_client.read_to_string(&mut answer);
            answer.starts_with("HTTP/1.0 200 ")
        });
        let served = served.count();
        ends.store(true, Relaxed);
        assert_eq!(served, 20);
    });
}

/// Where each has only just come, the source that has most makes room: not the one probe from elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_one_source_does_not_send_another_away() {
    let (server, _) = server();
    let (_admin, to) = admin(&server);
    let elsewhere =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    elsewhere.bind(&SocketAddr::from(([127, 0, 0, 2], 0)).into()).expect("loopback is a whole net");
    elsewhere.connect(&to.into()).expect("somebody listens");
    let mut probe = TcpStream::from(elsewhere);
    probe.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let started = Instant::now();
    let _crowd: Vec<TcpStream> = (0..2 * CONNECTIONS).map(|_| connect(to)).collect();
    // Whoever is slower than that has not made a burst.
    if started.elapsed() < Duration::from_millis(150) {
        let _sent_away = probe.write_all(b"GET /live HTTP/1.0\r\n\r\n");
        let mut answer = String::new();
        let _sent_away = probe.read_to_string(&mut answer);
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer:?} after {:?}", started.elapsed());
    }
}
