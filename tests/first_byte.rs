//! The stage before the service: who has said nothing is held there, and costs no handler.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails; not every helper counts as a test"
)]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use anteroom::{Config, FirstByte, HalfClose, Order, Share};
use anteroom_testkit::{BOUND, Scratch};
use anteroom_tests::clients::{ask, connect, half_close, next_line, read_to_end, reset, send};
use anteroom_tests::lines::answer;
use anteroom_tests::local::LocalServer;
use socket2::Socket;

/// Nobody is to be refused because the machine is slow.
const LONG: Duration = Duration::from_secs(600);

/// The kernel tells the wait in its queue in ticks, of which the coarsest takes this long.
const TICK: Duration = Duration::from_millis(10);

fn within(time: Duration) -> Config {
    let mut config = Config::default();
    config.first_byte = Some(FirstByte::within(time));
    config.max_wait = LONG;
    config.half_close = HalfClose::Patience(LONG);
    config
}

/// The same on TCP and on a Unix socket.
fn on_both(config: &Config, test: impl Fn(LocalServer)) {
    test(LocalServer::start("127.0.0.1:0", config.clone()));
    let scratch = Scratch::new();
    let path = format!("unix:{}", scratch.join("socket").display());
    test(LocalServer::start(&path, config.clone()));
}

fn silent(server: &LocalServer, count: usize) -> Vec<Socket> {
    let clients = (0..count).map(|_| connect(server.address())).collect();
    server.becomes("they are silent", |now| now.silent == count);
    clients
}

/// A reset; on a Unix socket, which has none, a close.
fn is_refused(client: &Socket) {
    let is_unix = client.local_addr().expect("its address").is_unix();
    match read_to_end(client) {
        Ok(nothing) => assert!(is_unix && nothing.is_empty(), "an orderly end: {nothing}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn who_speaks_is_served_and_nobody_is_called_for_the_others() {
    on_both(&within(LONG), |server| {
        let clients = silent(&server, 10);
        let now = server.handle().snapshot();
        assert_eq!((server.calls().total(), now.open, now.waiting), (0, 0, 0));
        for (number, client) in clients.iter().enumerate() {
            assert_eq!(ask(client, "ask").expect("it is served"), answer("ask"));
            let now = server.handle().snapshot();
            assert_eq!((server.calls().total(), now.open, now.silent), (number + 1, number + 1, 9 - number));
        }
        drop(clients);
        // Who has spoken before it was accepted was never silent.
        let client = connect(server.address());
        assert_eq!(ask(&client, "ask").expect("it is served"), answer("ask"));
        drop(client);
        let report = server.drain(BOUND);
        assert_eq!((report.served.done, report.accepted), (11, 11), "{report}");
    });
}

#[test]
fn who_says_nothing_is_refused_at_the_deadline_and_not_before() {
    let deadline = Duration::from_millis(700);
    on_both(&within(deadline), |server| {
        let since = Instant::now();
        let clients = silent(&server, 10);
        for client in &clients {
            is_refused(client);
            assert!(since.elapsed() + TICK >= deadline, "refused after {:?}", since.elapsed());
        }
        assert_eq!(server.calls().total(), 0);
        let report = server.drain(BOUND);
        assert_eq!((report.refused.silent, report.refused.total()), (10, 10), "{report}");
    });
}

#[test]
fn who_hangs_up_while_silent_is_dead_and_frees_its_place_at_once() {
    on_both(&within(LONG), |server| {
        let mut clients = silent(&server, 12);
        for left in (0..12).rev() {
            let client = clients.swap_remove(left / 2);
            if left % 2 == 0 {
                reset(client)
            } else {
                drop(client)
            }
            server.becomes("one has left", |now| now.silent == left);
        }
        assert_eq!(server.calls().total(), 0);
        let report = server.drain(BOUND);
        let dead = &report.dead_on_arrival.in_room;
        assert_eq!((dead.total(), report.accepted), (12, 12), "{report}");
    });
}

#[test]
fn who_speaks_and_closes_its_side_in_one_breath_is_served() {
    on_both(&within(LONG), |server| {
        let clients = silent(&server, 10);
        for client in &clients {
            send(client, "ask");
            half_close(client);
        }
        for client in &clients {
            assert_eq!(read_to_end(client).expect("it is served"), answer("ask") + "\n");
        }
        let report = server.drain(BOUND);
        assert_eq!(report.served.done, 10, "{report}");
    });
}

#[test]
fn when_too_many_are_silent_who_has_been_so_for_longest_has_to_go() {
    let mut config = within(LONG);
    config.first_byte = Some(FirstByte::within(LONG).max_silent(4));
    config.share = Share::unlimited();
    on_both(&config, |server| {
        let clients = silent(&server, 4);
        let newcomers: Vec<_> = (0..2).map(|_| connect(server.address())).collect();
        server.becomes("two have gone", |now| (now.report.refused.silent, now.silent) == (2, 4));
        clients[..2].iter().for_each(is_refused);
        for client in clients[2..].iter().chain(&newcomers) {
            assert_eq!(ask(client, "ask").expect("it is served"), answer("ask"));
        }
        drop((clients, newcomers));
        assert!(server.drain(BOUND).is_balanced());
    });
}

#[test]
fn who_was_silent_waits_like_anybody_else_and_its_wait_begins_with_its_first_byte() {
    let wait = Duration::from_millis(1_500);
    let mut config = within(LONG);
    config.max_connections = Some(1);
    config.max_wait = wait;
    config.order = Order::Fifo;
    on_both(&config, |server| {
        let holder = connect(server.address());
        assert_eq!(ask(&holder, "hold").expect("it is served"), answer("hold"));
        let clients = silent(&server, 3);
        server.becomes("they have been silent for longer than anybody may wait", |now| {
            now.oldest_wait.is_some_and(|oldest| oldest > wait)
        });
        assert_eq!(server.handle().snapshot().silent, 3);
        let since = Instant::now();
        clients.iter().for_each(|client| send(client, "ask"));
        server.becomes("they wait", |now| (now.silent, now.waiting) == (0, 3));
        drop(holder);
        let [first, second, last] = &clients[..] else { unreachable!("three") };
        assert_eq!(next_line(first).expect("it is served"), answer("ask"));
        first.shutdown(std::net::Shutdown::Both).expect("it is there");
        assert_eq!(next_line(second).expect("it is served"), answer("ask"));
        // The second of them keeps the place.
        is_refused(last);
        assert!(since.elapsed() + TICK >= wait, "refused after {:?}", since.elapsed());
        drop(clients);
        let report = server.drain(BOUND);
        assert_eq!((report.served.done, report.refused.too_old), (3, 1), "{report}");
    });
}

#[test]
fn a_drain_refuses_who_says_nothing_at_its_end_and_serves_who_speaks() {
    on_both(&within(LONG), |server| {
        let clients = silent(&server, 2);
        let report = server.begin_drain(Duration::from_secs(2));
        assert_eq!(ask(&clients[0], "ask").expect("it is served"), answer("ask"));
        clients[0].shutdown(std::net::Shutdown::Both).expect("it is there");
        is_refused(&clients[1]);
        let report = report();
        assert_eq!((report.served.done, report.refused.total()), (1, 1), "{report}");
        assert!(report.is_balanced(), "{report}");
    });
}
