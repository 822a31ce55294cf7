//! The budget of descriptors: the server refuses before `accept` fails, the rest of the process keeps its
//! own, and so does a lane for which some are set aside.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails; not every helper counts as a test"
)]

use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::thread;

use anteroom_testkit::BOUND;
use anteroom_tests::child::ServerProcess;
use anteroom_tests::clients::{ask, connect, is_turned_away, next_line, read_to_end, send, try_connect};
use anteroom_tests::lines::answer;
use serde_json::{Value, json};
use socket2::Socket;

const SERVER: &str = env!("CARGO_BIN_EXE_anteroom-test-server");

const LIMIT: usize = 128;
const CLIENTS: usize = 300;
const SET_ASIDE: usize = 8;

/// A server that may have 128 descriptors; `config` is without shares, as all come from one source.
fn limited(mut config: Value, admin: &Value) -> ServerProcess {
    let limit = format!("--nofile={LIMIT}:{LIMIT}");
    config["share"] = json!({ "alpha": null });
    let mut setup = json!({ "config": config, "backlog": 4096 });
    if !admin.is_null() {
        setup["admin"] = admin.clone();
    }
    ServerProcess::start_under(&["prlimit", &limit], SERVER, &setup)
}

fn number(of: &Value) -> usize {
    of.as_u64().and_then(|number| number.try_into().ok()).expect("a number")
}

fn is_served(client: &Socket) {
    assert_eq!(ask(client, "ask").expect("it is served"), answer("ask"));
}

/// Whether nothing has come from the server; else it was a reset, which the kernel tells once.
fn is_inside(client: &Socket) -> bool {
    client.set_nonblocking(true).expect("it can be set");
    let come = client.peek(&mut [MaybeUninit::uninit()]);
    client.set_nonblocking(false).expect("it can be set");
    match come {
        Err(error) if error.kind() == ErrorKind::WouldBlock => true,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
        other => panic!("neither in nor refused: {other:?}"),
    }
}

fn is_refused(client: &Socket) {
    let error = read_to_end(client).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// All of them come, and nobody but the budget decides. Gives those who were connected at all: some are
/// refused before connect(2) has returned.
fn crowd(server: &mut ServerProcess) -> (Vec<Socket>, Value) {
    let address = server.address();
    let clients: Vec<_> = (0..CLIENTS).filter_map(|_| try_connect(&address).ok()).collect();
    let now = server.eventually("all are decided on", |now| {
        let [open, waiting, silent] = ["open", "waiting", "silent"].map(|key| number(&now[key]));
        number(&now["report"]["accepted"]) == CLIENTS
            && open + waiting + silent + number(&now["report"]["refused"]["total"]) == CLIENTS
    });
    assert_eq!(now["accept_errors"], 0, "{now}");
    assert_eq!(now["report"]["refused"]["total"], now["report"]["refused"]["resources"], "{now}");
    // Of the sixteen, the server itself takes some after its start.
    assert!(server.descriptors() <= LIMIT - 12, "{} open: the rest has its own", server.descriptors());
    (clients, now)
}

#[test]
fn the_budget_refuses_before_accept_fails_and_the_process_keeps_some() {
    let mut server = limited(json!({}), &Value::Null);
    let (clients, now) = crowd(&mut server);
    let open = number(&now["open"]);
    // The limit, less what the runtime has, less the sixteen.
    assert!((LIMIT / 2..=LIMIT - 16).contains(&open), "{open}: {now}");
    assert_eq!(now["report"]["refused"]["resources"], CLIENTS - open, "{now}");
    // The others were reset; one that waited to be handed out may have gone for one that came after it.
    let inside: Vec<_> = clients.iter().filter(|client| is_inside(client)).collect();
    assert_eq!(inside.len(), open, "{now}");
    inside.into_iter().for_each(is_served);
    assert_eq!(server.ask("hoard 10")["held"], 10, "files can still be opened");
    server.ask("hoard 0");
    drop(clients);
    server.eventually("they have left", |now| now["open"] == 0);
    is_served(&connect(&server.address()));
    let report = server.drain(BOUND);
    assert_eq!(
        (&report["served"]["done"], &report["balanced"]),
        (&json!(open + 1), &json!(true)),
        "{report}"
    );
    assert_eq!(server.events("anteroom::accept_error"), Vec::<Value>::new());
}

#[test]
fn an_admin_lane_gets_in_with_what_is_set_aside_for_it() {
    let mut server = limited(json!({}), &json!({ "set_aside": SET_ASIDE, "max_connections": 32 }));
    let (clients, now) = crowd(&mut server);
    let public = number(&now["open"]);
    let admin = server.admin();
    let operators: Vec<_> = (0..SET_ASIDE).map(|_| connect(&admin)).collect();
    operators.iter().for_each(is_served);
    // What is set aside is a floor and no ceiling, but the others have the rest.
    is_turned_away(&admin);
    let now = server.snapshot();
    assert_eq!((&now["open"], &now["accept_errors"]), (&json!(public + SET_ASIDE), &json!(0)), "{now}");
    drop(operators);
    server.eventually("they have left", |now| now["open"] == public);
    is_turned_away(&server.address());
    is_served(&connect(&admin));
    drop(clients);
    server.eventually("all have left", |now| now["open"] == 0);
    assert_eq!(server.drain(BOUND)["balanced"], true);
}

#[test]
fn where_somebody_waits_or_is_silent_he_goes_first() {
    let mut server = limited(
        json!({
            "max_connections": 4,
            "first_byte": { "within": "10m" },
            "max_wait": "10m",
            "order": "fifo",
        }),
        &Value::Null,
    );
    let address = server.address();
    let held: Vec<_> = (0..4).map(|_| connect(&address)).collect();
    held.iter().for_each(is_served);
    let waiting: Vec<_> = (0..10).map(|_| connect(&address)).collect();
    waiting.iter().for_each(|client| send(client, "ask"));
    server.eventually("they wait", |now| now["waiting"] == 10);
    let silent: Vec<_> = (0..CLIENTS).map(|_| try_connect(&address)).collect();
    let now = server.eventually("all are decided on", |now| {
        let [silent, refused] = [&now["silent"], &now["report"]["refused"]["total"]].map(number);
        silent + refused == CLIENTS
    });
    let stay = number(&now["silent"]);
    assert_eq!(now["report"]["refused"]["resources"], CLIENTS - stay, "{now}");
    assert_eq!((&now["waiting"], &now["accept_errors"]), (&json!(10), &json!(0)), "{now}");
    let (gone, newest) = silent.split_at(CLIENTS - stay);
    gone.iter().flatten().for_each(is_refused);
    drop(held);
    // Whoever had sent its line before it was accepted goes before those who were silent at first: in any order.
    thread::scope(|scope| {
        for client in waiting {
            scope.spawn(move || assert_eq!(next_line(&client).expect("it is served"), answer("ask")));
        }
    });
    assert!(newest.iter().all(Result::is_ok), "who is silent was connected");
    for client in newest.iter().flatten() {
        is_served(client);
        client.shutdown(std::net::Shutdown::Both).expect("it is there");
    }
    drop(silent);
    assert_eq!(server.drain(BOUND)["balanced"], true);
}

#[test]
fn the_farewell_lives_on_the_same_budget() {
    let mut server = limited(
        json!({
            "max_connections": 1,
            "max_waiting": 0,
            "descriptors": { "fixed": 40 },
            "refusal": { "reply": "come back later\n" },
            "farewell": { "max": 256, "within": "10m" },
        }),
        &Value::Null,
    );
    let address = server.address();
    let holder = connect(&address);
    is_served(&holder);
    let refused: Vec<_> = (0..50).map(|_| connect(&address)).collect();
    let now = server.eventually("all are refused", |now| now["report"]["refused"]["full"] == 50);
    assert_eq!(now["farewells"], 10, "a quarter of the forty: {now}");
    drop((holder, refused));
    server.eventually("they have left", |now| now["open"] == 0 && now["farewells"] == 0);
    assert_eq!(server.drain(BOUND)["balanced"], true);
}
