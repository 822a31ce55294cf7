//! A process that has used up its descriptors still says so. A process of its own: the limit is the process's.

#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "this is test code")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::{Command, id};
use std::time::Duration;

use anteroom::{Connection, Listener, Server, service_fn};
use anteroom_admin::Admin;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

const LIMIT: usize = 128;

async fn close(_connection: Connection) -> io::Result<()> {
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_asks_a_process_without_descriptors_is_answered() {
    let listener = Listener::builder().bind("127.0.0.1:0").expect("a free port");
    let server = Server::builder().serve(listener, service_fn(close)).start().expect("it starts");
    let admin = Admin::serve(&server.handle(), "127.0.0.1:0").expect("it starts");
    let to = admin.local_addr().tcp().expect("TCP");
    // The asker is of the same process: its descriptor is there before there are no more.
    let asker = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let limit = format!("--nofile={LIMIT}:{LIMIT}");
    let limited = Command::new("prlimit").args([format!("--pid={}", id()), limit]).status();
    assert!(limited.expect("prlimit is there").success());
    let hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).take(LIMIT).collect();
    assert!(!hoard.is_empty() && File::open("/dev/null").is_err(), "a descriptor is left");
    asker.connect(&to.into()).expect("it listens");
    let mut asker = TcpStream::from(asker);
    asker.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let ask = format!("GET /status HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    asker.write_all(ask.as_bytes()).expect("it reads");
    let mut answer = String::new();
    asker.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let status: Value = serde_json::from_str(body).expect("JSON");
    assert!(status["servers"]["server"].is_object(), "{status}");
    drop(hoard);
}
