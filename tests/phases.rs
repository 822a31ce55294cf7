//! The steps in which a server stops: lame duck, drain, cut; told by handles and by signals.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so, and what is not in an answer is null"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use anteroom::{Config, Phase};
use anteroom_testkit::{BOUND, eventually};
use anteroom_tests::child::ServerProcess;
use anteroom_tests::clients::{ask, connect, read_to_end, send, try_connect};
use anteroom_tests::lines::answer;
use anteroom_tests::local::LocalServer;
use serde_json::json;

/// Longer than any test waits.
const AN_HOUR: Duration = Duration::from_secs(3600);

const SERVER: &str = env!("CARGO_BIN_EXE_anteroom-test-server");

fn local(lame_duck: Duration) -> LocalServer {
    let mut config = Config::default();
    config.lame_duck = lame_duck;
    config.drain_within = AN_HOUR;
    LocalServer::start("127.0.0.1:0", config)
}

#[test]
fn a_lame_duck_serves_newcomers_and_is_not_ready() {
    let server = local(Duration::ZERO);
    let handle = server.handle().clone();
    assert!(handle.is_ready());
    handle.pause();
    assert!(!handle.is_ready(), "paused");
    handle.resume();
    handle.lame_duck();
    assert_eq!(handle.phase(), Phase::LameDuck);
    assert!(!handle.is_ready());
    let client = connect(server.address());
    assert_eq!(ask(&client, "hello").expect("it is served"), answer("hello"));
    assert_eq!(handle.phase(), Phase::LameDuck, "it has no end of its own");
    drop(client);
    let report = server.drain(AN_HOUR);
    assert_eq!((report.accepted, report.served.done), (1, 1));
}

#[test]
fn a_shut_down_is_a_lame_duck_for_its_time_and_then_a_drain() {
    let time = Duration::from_millis(300);
    let server = local(time);
    let handle = server.handle().clone();
    let (began, stopped) = (Instant::now(), handle.shut_down());
    assert_eq!(handle.phase(), Phase::LameDuck);
    let client = connect(server.address());
    assert_eq!(ask(&client, "late").expect("it is served"), answer("late"));
    drop(client);
    drop(handle.shut_down());
    let report = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(stopped)
        .expect("nothing failed");
    assert!(began.elapsed() >= time);
    assert_eq!(report.served.done, 1);
    assert!(try_connect(server.address()).is_err(), "nobody listens");
}

#[test]
fn each_step_can_be_cut_short() {
    let server = local(AN_HOUR);
    let handle = server.handle().clone();
    let client = connect(server.address());
    assert_eq!(ask(&client, "stays").expect("it is served"), answer("stays"));
    drop(handle.shut_down());
    assert_eq!(handle.phase(), Phase::LameDuck);
    handle.cut_short();
    eventually("its listener is closed", BOUND, || handle.snapshot().listeners[0].queue.is_none());
    assert_eq!(handle.phase(), Phase::Draining);
    handle.cut_short();
    eventually("it has stopped", BOUND, || handle.phase() == Phase::Stopped);
    let report = server.drain(AN_HOUR);
    assert_eq!((report.served.cut, report.accepted), (1, 1));
    assert!(read_to_end(&client).is_ok_and(|rest| rest.is_empty()), "a cut is an end for the client");
}

#[test]
fn stopping_now_waits_for_nobody() {
    let server = local(AN_HOUR);
    let handle = server.handle().clone();
    let client = connect(server.address());
    // Its worker cannot be cut, and is not waited for.
    send(&client, "block 2000");
    eventually("the handler blocks", BOUND, || server.calls().blocked() == 1);
    drop(handle.stop_now());
    eventually("it has stopped", BOUND, || handle.phase() == Phase::Stopped);
    assert_eq!(server.calls().blocked(), 1, "it was not waited for");
}

fn child() -> ServerProcess {
    let config = json!({ "lame_duck": "1h", "drain_within": "1h" });
    ServerProcess::start(SERVER, &json!({ "signals": true, "workers": 1, "config": config }))
}

fn terminate(server: &ServerProcess) {
    let killed = Command::new("kill").args(["-TERM", &server.pid().to_string()]).status();
    assert!(killed.expect("kill runs").success());
}

#[test]
fn one_signal_begins_the_second_cuts_short_the_third_ends() {
    let mut server = child();
    let client = connect(&server.address());
    assert_eq!(ask(&client, "stays").expect("it is served"), answer("stays"));
    terminate(&server);
    server.eventually("it is a lame duck", |snapshot| snapshot["phase"] == "lame_duck");
    terminate(&server);
    server.eventually("it drains", |snapshot| snapshot["phase"] == "draining");
    terminate(&server);
    let last = server.eventually("it has stopped", |snapshot| snapshot["phase"] == "stopped");
    assert_eq!(last["report"]["served"]["cut"], 1);
    // From now on the signal does what it does by default.
    terminate(&server);
    assert!(server.ends(), "by the fourth");
}

#[test]
fn a_signal_is_heard_while_every_worker_is_blocked() {
    let mut server = child();
    let client = connect(&server.address());
    send(&client, "block 3600000");
    server.eventually("the worker is blocked", |snapshot| snapshot["open"] == 1);
    eventually("the handler blocks", BOUND, || server.calls()["blocked"] == 1);
    for phase in ["lame_duck", "draining", "stopped"] {
        terminate(&server);
        server.eventually(phase, |snapshot| snapshot["phase"] == phase);
    }
}

#[test]
fn hanging_up_is_for_the_program_to_answer() {
    let mut server = child();
    let hung_up = Command::new("kill").args(["-HUP", &server.pid().to_string()]).status();
    assert!(hung_up.expect("kill runs").success());
    eventually("its answer to SIGHUP", BOUND, || {
        !server.ask("events hangup").as_array().expect("a list").is_empty()
    });
    assert_eq!(server.snapshot()["phase"], "serving");
}
