//! Rates on sockets: how fast connections are handed out, and how many a source may make.
//!
//! A rate is held by the time of a thread, which a loaded machine may withhold: what must never be is more
//! than the rate, and as much has to be reached in one of some rounds.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and tells its figures; not every helper counts as a test"
)]

use std::io::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anteroom::{Config, Connection, Listener, Order, Rate, Server, Share, service_fn};
use anteroom_load::client::connect_from;
use anteroom_testkit::BOUND;
use anteroom_tests::clients::{ask, connect, next_line};
use anteroom_tests::lines::answer;
use anteroom_tests::local::LocalServer;
use anteroom_tests::waiting::until;
use socket2::Socket;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;

/// The promise's own number.
const WITHIN: f64 = 0.1;

const ROUNDS: usize = 3;

/// Nobody is to be refused because he waits.
fn patient() -> Config {
    let mut config = Config::default();
    config.max_wait = Duration::from_secs(600);
    config.order = Order::Fifo;
    config.share = Share::unlimited();
    config
}

/// When each of so many was handed out, counted from the start of the server; all came at once.
fn handed_out(rate: Rate, clients: usize) -> Vec<Duration> {
    let mut config = patient();
    config.accept_rate = Some(rate);
    let runtime = Runtime::new().expect("a runtime");
    let listener = Listener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    let times: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let here = Arc::clone(&times);
    let began = Instant::now();
    let service = service_fn(move |mut connection: Connection| {
        here.lock().unwrap_or_else(PoisonError::into_inner).push(began.elapsed());
        async move { connection.write_all(b"served\n").await }
    });
    let server = {
        let _inside = runtime.enter();
        Server::builder().config(config).serve(listener, service).start().expect("it starts")
    };
    let handle = server.handle();
    let clients: Vec<_> = (0..clients).map(|_| connect(&address)).collect();
    for client in &clients {
        assert_eq!(next_line(client).expect("nobody is lost"), "served");
    }
    let report = runtime.block_on(handle.drain(BOUND)).expect("nothing failed");
    assert_eq!((report.served.done, report.refused.total()), (clients.len() as u64, 0), "{report}");
    let times = times.lock().unwrap_or_else(PoisonError::into_inner);
    times.clone()
}

/// Over any stretch of so many there are no more than the rate gives, and the 5 ms that a timer may be late.
fn never_faster(times: &[Duration], per_second: f64) {
    for stretch in times.windows(100) {
        let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else { continue };
        let took = (*last - *first).as_secs_f64();
        let most = per_second * (took + 0.005) + 2.0;
        assert!(stretch.len() as f64 <= most * (1.0 + WITHIN), "{} in {took} s", stretch.len());
    }
}

#[test]
fn connections_are_handed_out_at_the_rate_and_nobody_who_waits_is_lost() {
    let reached = (0..ROUNDS).any(|_| {
        let times = handed_out(Rate::per_second(400), 1_200);
        never_faster(&times, 400.0);
        let took = *times.last().expect("many") - *times.first().expect("many");
        let rate = (times.len() - 1) as f64 / took.as_secs_f64();
        println!("{rate:.1} of 400 per second");
        (rate - 400.0).abs() <= 400.0 * WITHIN
    });
    assert!(reached, "not within a tenth in any of {ROUNDS} rounds");
}

/// From a tenth to the whole, linearly: so many may have come by then.
fn by(time: f64, per_second: f64, ramp: f64) -> f64 {
    let inside = time.min(ramp);
    let risen = (inside - ramp / 10.0).max(0.0);
    let flat = inside.min(ramp / 10.0) * 0.1;
    per_second * (flat + (risen * 0.1 + risen * (inside / ramp - 0.1) / 2.0) + (time - inside))
}

#[test]
fn after_the_start_the_rate_grows_from_a_tenth_to_the_whole() {
    const RAMP: f64 = 3.0;
    const PER_SECOND: f64 = 400.0;
    let reached = (0..ROUNDS).any(|_| {
        let rate = Rate::per_second(400).ramp(Duration::from_secs_f64(RAMP));
        let times = handed_out(rate, 1_000);
        let mut worst = 0.0_f64;
        for (number, time) in times.iter().enumerate().skip(50) {
            let due = by(time.as_secs_f64(), PER_SECOND, RAMP);
            let ratio = number as f64 / due;
            assert!(ratio <= 1.0 + WITHIN, "{number} after {time:?}, where {due:.0} are due");
            worst = worst.max(1.0 - ratio);
        }
        println!("at most {:.1} % behind the ramp", worst * 100.0);
        worst <= WITHIN
    });
    assert!(reached, "not within a tenth in any of {ROUNDS} rounds");
}

#[test]
fn who_hangs_up_while_the_rate_lets_him_wait_costs_nobody_a_turn() {
    let mut config = patient();
    config.accept_rate = Some(Rate::per_second(20));
    let server = LocalServer::start("127.0.0.1:0", config);
    let first = connect(server.address());
    assert_eq!(ask(&first, "ask").expect("it is served"), answer("ask"));
    let leaving: Vec<_> = (0..40).map(|_| connect(server.address())).collect();
    let staying = connect(server.address());
    drop(leaving);
    // Forty turns are two seconds; nobody takes them.
    let since = Instant::now();
    assert_eq!(ask(&staying, "ask").expect("it is served"), answer("ask"));
    let (calls, took) = (server.calls().total(), since.elapsed());
    assert!(calls <= 22, "{calls} calls, most of them for nobody, after {took:?}");
    drop((first, staying));
    let report = server.drain(BOUND);
    assert_eq!(report.served.total() + report.dead_on_arrival.total(), 42, "{report}");
}

/// One attempt of a source: whether it was served.
fn attempt(server: &LocalServer, source: IpAddr) -> bool {
    let target = server.address().tcp().expect("it is TCP");
    // It may be refused before connect(2) has returned.
    let asked = connect_from(source, target, BOUND).and_then(|client| {
        let client = Socket::from(client);
        (&client).write_all(b"ask\n")?;
        next_line(&client)
    });
    asked.is_ok_and(|line| line == answer("ask"))
}

#[test]
fn a_source_gets_its_rate_however_much_it_asks_for_and_takes_nobody_elses() {
    const PER_SECOND: u32 = 50;
    const BURST: u32 = 5;
    const LENGTH: Duration = Duration::from_secs(3);
    let reached = (0..ROUNDS).any(|_| {
        let mut config = patient();
        config.share.per_second = Some(Rate::per_second(PER_SECOND).burst(BURST));
        let server = LocalServer::start("127.0.0.1:0", config);
        let (greedy, modest): (IpAddr, IpAddr) = ([127, 0, 0, 5].into(), [127, 0, 0, 6].into());
        let since = Instant::now();
        let (mut served, mut refused) = (0_u32, 0_u32);
        while since.elapsed() < LENGTH {
            if attempt(&server, greedy) { served += 1 } else { refused += 1 }
        }
        let due = f64::from(BURST) + since.elapsed().as_secs_f64() * f64::from(PER_SECOND);
        assert!(attempt(&server, modest), "another source has its own");
        println!("{served} served where {due:.0} are due, {refused} refused");
        assert!(refused > served, "it asks for more than it gets");
        assert!(f64::from(served) <= due * (1.0 + WITHIN), "{served} served where {due:.0} are due");
        until("the handlers have ended", || server.handle().snapshot().open == 0);
        let report = server.drain(BOUND);
        assert_eq!(
            (report.refused.rate, report.refused.total()),
            (refused.into(), refused.into()),
            "{report}"
        );
        assert_eq!(report.served.done, u64::from(served) + 1, "{report}");
        f64::from(served) >= due * (1.0 - WITHIN)
    });
    assert!(reached, "what was refused was counted against the source, in each of {ROUNDS} rounds");
}
