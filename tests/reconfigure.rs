//! Settings that change while the server runs: in force at once, and nobody is lost by a change.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on says so, and tells its figures"
)]

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anteroom::{
    AcceptOn, Address, Config, ConfigError, DescriptorBudget, EarlyRefusal, FirstByte, Order, Rate, Refusal,
    Reply, Share, WhenFull,
};
use anteroom_load::client::{connect_from, loopback_sources};
use anteroom_testkit::{BOUND, eventually};
use anteroom_tests::clients::{ask, connect, is_turned_away, next_line, read_to_end, send};
use anteroom_tests::lines::answer;
use anteroom_tests::local::LocalServer;
use socket2::Socket;

/// Nobody is to be refused because the machine is slow.
const LONG: Duration = Duration::from_secs(600);

fn config(places: usize, waiting: usize) -> Config {
    let mut config = Config::default();
    config.max_connections = Some(places);
    config.max_waiting = waiting;
    config.max_wait = LONG;
    config.order = Order::Fifo;
    config.share = Share::unlimited();
    config
}

fn start(config: Config) -> LocalServer {
    LocalServer::start("127.0.0.1:0", config)
}

fn change(server: &LocalServer, change: impl FnOnce(&mut Config)) {
    server.handle().reconfigure(change).expect("they can be meant");
}

fn holders(address: &Address, count: usize) -> Vec<Socket> {
    let hold = |_| {
        let holder = connect(address);
        assert_eq!(ask(&holder, "hold").expect("it is served"), answer("hold"));
        holder
    };
    (0..count).map(hold).collect()
}

/// They have asked, one after the other, and wait for the answer.
fn asking(server: &LocalServer, count: usize) -> Vec<Socket> {
    let ask = |_| {
        let before = server.handle().snapshot().report.accepted;
        let client = connect(server.address());
        send(&client, "ask");
        server.becomes("it is accepted", |now| now.report.accepted > before);
        client
    };
    (0..count).map(ask).collect()
}

fn is_refused(client: &Socket) {
    let error = read_to_end(client).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn places_that_are_added_are_taken_by_those_who_wait_though_nothing_else_happens() {
    let server = start(config(2, 10));
    let held = holders(server.address(), 2);
    let clients = asking(&server, 6);
    server.becomes("they wait", |now| now.waiting == 6);
    change(&server, |config| config.max_connections = Some(5));
    for client in &clients[..3] {
        assert_eq!(next_line(client).expect("it is served"), answer("ask"));
    }
    let now = server.handle().snapshot();
    assert_eq!((now.open, now.waiting), (5, 3), "and no more");
    change(&server, |config| config.max_connections = None);
    for client in &clients[3..] {
        assert_eq!(next_line(client).expect("it is served"), answer("ask"));
    }
    drop((held, clients));
    let report = server.drain(BOUND);
    assert_eq!((report.served.done, report.refused.total()), (8, 0), "{report}");
}

#[test]
fn places_that_are_taken_away_throw_nobody_out_and_nobody_follows() {
    let server = start(config(4, 4));
    let mut held = holders(server.address(), 4);
    let mut clients = asking(&server, 4);
    server.becomes("they wait", |now| now.waiting == 4);
    change(&server, |config| (config.max_connections, config.max_waiting) = (Some(1), 1));
    let now = server.handle().snapshot();
    assert_eq!((now.open, now.waiting, now.report.refused.total()), (4, 4, 0), "{}", now.report);

    // Who comes now takes the place of who has waited longest; there are no more than there were.
    let newcomer = asking(&server, 1);
    is_refused(&clients.remove(0));
    assert_eq!(server.becomes("one is refused", |now| now.report.refused.full == 1).waiting, 4);
    held.truncate(1);
    assert_eq!(server.becomes("three have left", |now| now.report.served.done == 3).waiting, 4);
    held.clear();
    clients.extend(newcomer);
    for client in clients {
        assert_eq!(next_line(&client).expect("it is served"), answer("ask"));
        assert!(server.handle().snapshot().open <= 1);
    }
    let report = server.drain(BOUND);
    assert_eq!((report.served.done, report.refused.full), (8, 1), "{report}");
    assert!(report.is_balanced(), "{report}");
}

#[test]
fn room_that_is_added_lets_those_in_whom_the_kernel_keeps() {
    let mut settings = config(1, 2);
    settings.when_full = WhenFull::BackPressure;
    let server = start(settings);
    let held = holders(server.address(), 1);
    let clients: Vec<_> = (0..10).map(|_| connect(server.address())).collect();
    clients.iter().for_each(|client| send(client, "ask"));
    server.becomes("most stand in the kernel", |now| LocalServer::depth(now) == 8);
    change(&server, |config| config.max_waiting = 6);
    server.becomes("more are let in", |now| (now.waiting, LocalServer::depth(now)) == (6, 4));
    change(&server, |config| config.when_full = WhenFull::RefuseOldest);
    server.becomes("and all", |now| (now.waiting, LocalServer::depth(now)) == (6, 0));
    let (refused, served) = clients.split_at(4);
    refused.iter().for_each(is_refused);
    drop(held);
    for client in served {
        assert_eq!(next_line(client).expect("it is served"), answer("ask"));
        client.shutdown(std::net::Shutdown::Both).expect("it is there");
    }
    let report = server.drain(BOUND);
    assert_eq!((report.served.done, report.refused.full), (7, 4), "{report}");
}

#[test]
fn what_the_refused_see_changes_with_the_setting() {
    let server = start(config(1, 0));
    let _held = holders(server.address(), 1);
    is_turned_away(server.address());
    let reply = "come back later\n";
    change(&server, |config| config.refusal = Refusal::Reply(Reply::new(reply)));
    assert_eq!(read_to_end(&connect(server.address())).expect("an orderly end"), reply);
    change(&server, |config| config.refusal = Refusal::Close);
    assert_eq!(read_to_end(&connect(server.address())).expect("an orderly end"), "");
    change(&server, |config| config.refusal = Refusal::Reset);
    is_turned_away(server.address());
}

#[test]
fn the_silent_are_let_in_when_they_need_not_speak_first_any_more() {
    let mut settings = config(4, 4);
    settings.first_byte = Some(FirstByte::within(LONG));
    let server = start(settings);
    let clients: Vec<_> = (0..3).map(|_| connect(server.address())).collect();
    server.becomes("they are silent", |now| now.silent == 3);
    assert_eq!(server.calls().total(), 0);
    change(&server, |config| config.first_byte = None);
    server.becomes("they are served", |now| (now.silent, now.open) == (0, 3));
    clients.iter().for_each(|client| {
        assert_eq!(ask(client, "ask").expect("it is served"), answer("ask"));
    });
    drop(clients);
    // And a deadline that comes closer holds for those who are silent already.
    change(&server, |config| config.first_byte = Some(FirstByte::within(LONG)));
    let silent = connect(server.address());
    server.becomes("it is silent", |now| now.silent == 1);
    change(&server, |config| config.first_byte = Some(FirstByte::within(Duration::from_millis(200))));
    is_refused(&silent);
    let report = server.drain(BOUND);
    assert_eq!((report.served.done, report.refused.silent), (3, 1), "{report}");
}

#[test]
fn a_change_of_order_holds_for_those_who_wait_already() {
    let server = start(config(1, 10));
    let held = holders(server.address(), 1);
    let clients = asking(&server, 3);
    let hopeless_after = Duration::from_millis(300);
    let millis = Duration::from_millis(10);
    // From now on they are overdue at once.
    change(&server, |config| {
        config.order = Order::Adaptive { target: millis, interval: millis, give_up: hopeless_after };
    });
    // Who has left the room is counted a moment later.
    let now = server.becomes("they are given up", |now| now.waiting == 0 && now.report.refused.total() == 3);
    assert_eq!(now.report.refused.hopeless, 3, "{}", now.report);
    clients.iter().for_each(is_refused);
    drop(held);
    assert!(server.drain(BOUND).is_balanced());
}

#[test]
fn a_change_that_cannot_be_meant_changes_nothing_and_names_the_settings() {
    let server = start(config(2, 2));
    let before = server.handle().config();
    let refused = |change: &dyn Fn(&mut Config)| {
        server.handle().reconfigure(|config| change(config)).expect_err("it cannot be meant")
    };
    let both = refused(&|config| (config.max_connections, config.max_waiting) = (None, 0));
    assert!(
        matches!(both, ConfigError::Contradiction { first: "max_waiting", second: "max_connections", .. }),
        "{both}"
    );
    let fixed = refused(&|config| {
        config.max_waiting = 7;
        config.accept_on = AcceptOn::Task;
    });
    assert!(matches!(fixed, ConfigError::Fixed { setting: "accept_on" }), "{fixed}");
    let fixed = refused(&|config| config.descriptors = DescriptorBudget::Unlimited);
    assert!(matches!(fixed, ConfigError::Fixed { setting: "descriptors" }), "{fixed}");
    assert_eq!(server.handle().config(), before);
}

/// What a client saw of its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Refused,
}

/// One visit. It may be refused before connect(2) has returned.
fn visit(source: IpAddr, target: SocketAddr) -> Fate {
    let asked = || {
        let client = Socket::from(connect_from(source, target, BOUND)?);
        (&client).write_all(b"ask\n")?;
        next_line(&client)
    };
    match asked() {
        Ok(line) if line == answer("ask") => Fate::Answered,
        Ok(line) => {
            assert!(line.is_empty() || line == "BUSY", "cut off: {line}");
            Fate::Refused
        }
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
            Fate::Refused
        }
        Err(error) => panic!("forgotten: {error}"),
    }
}

/// Every setting that holds somebody in another place, from a number: the same again, but never two
/// alike in turn.
fn settings(number: u32) -> impl FnOnce(&mut Config) {
    let nth = move |of: u32, choices: u32| (number / of) % choices;
    move |config| {
        config.max_connections = [Some(1), Some(3), Some(40), None][nth(1, 4) as usize];
        config.max_waiting = [1, 4, 100][nth(1, 3) as usize];
        config.when_full = [WhenFull::RefuseOldest, WhenFull::BackPressure][nth(2, 2) as usize];
        config.order = [Order::ADAPTIVE, Order::Fifo][nth(3, 2) as usize];
        config.refusal = match nth(1, 3) {
            0 => Refusal::Reset,
            1 => Refusal::Close,
            _ => Refusal::Reply(Reply::new("BUSY\n")),
        };
        config.first_byte =
            (nth(1, 2) == 0).then(|| FirstByte::within(Duration::from_secs(5)).max_silent(20));
        config.accept_rate = (nth(4, 2) == 0).then(|| Rate::per_second(2_000).burst(10));
        config.share.alpha = (nth(2, 2) == 0).then_some(8);
        config.share.per_second = (nth(5, 3) == 0).then(|| Rate::per_second(100).burst(5));
        let early = config.max_waiting == 100 && config.when_full == WhenFull::RefuseOldest;
        config.refuse_early = early.then(|| EarlyRefusal::between(5, 50).percent(10));
    }
}

#[test]
fn under_load_every_change_leaves_every_client_with_one_end_and_the_account_exact() {
    const CHANGES: u32 = 300;
    const CLIENTS: usize = 24;
    let server = start(config(3, 100));
    let target = server.address().tcp().expect("it is TCP");
    let over = AtomicBool::new(false);
    let (answered, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for source in loopback_sources(u16::try_from(CLIENTS).expect("few")) {
            let (over, answered, refused) = (&over, &answered, &refused);
            scope.spawn(move || {
                while !over.load(Ordering::Acquire) {
                    let fate = visit(source, target);
                    let count = if fate == Fate::Answered { answered } else { refused };
                    count.fetch_add(1, Ordering::AcqRel);
                }
            });
        }
        let ended = || answered.load(Ordering::Acquire) + refused.load(Ordering::Acquire);
        let changes = thread::scope(|changing| {
            let changes = changing.spawn(|| {
                for number in 0..CHANGES {
                    let before = ended();
                    change(&server, settings(number));
                    // Each setting meets some clients.
                    eventually("clients come to their end", BOUND, || ended() >= before + 20);
                }
            });
            changes.join()
        });
        over.store(true, Ordering::Release);
        if let Err(panic) = changes {
            std::panic::resume_unwind(panic);
        }
    });
    let (answered, refused) = (answered.into_inner(), refused.into_inner());
    println!("{answered} answered and {refused} refused under {CHANGES} changes");
    assert!(answered > 1_000 && refused > 1_000, "either is the rule at times");
    let report = server.drain(BOUND);
    assert_eq!((report.served.done, report.refused.total()), (answered, refused), "{report}");
    assert!(report.is_balanced(), "{report}");
}
