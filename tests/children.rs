//! A child that a handler starts has nothing of the server, so nothing of the server outlives it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on says so"
)]

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Instant;

use anteroom::Address;
use anteroom_testkit::Scratch;
use anteroom_tests::child::ServerProcess;
use anteroom_tests::clients::{ask, connect, read_to_end};
use anteroom_tests::waiting::{PATIENCE, until};
use serde_json::json;
use socket2::Socket;

const SERVER: &str = env!("CARGO_BIN_EXE_anteroom-test-server");

/// Each descriptor that a process has, and what it is.
fn descriptors(process: &str) -> BTreeMap<String, String> {
    let open = fs::read_dir(format!("/proc/{process}/fd")).expect("it lives");
    let describe = |descriptor: fs::DirEntry| {
        // It may be closed meanwhile.
        let what = fs::read_link(descriptor.path()).ok()?;
        let number = descriptor.file_name().into_string().expect("a number");
        Some((number, what.to_str().expect("UTF-8").to_owned()))
    };
    open.filter_map(|descriptor| describe(descriptor.expect("a descriptor"))).collect()
}

/// A handler's child, which nobody waits for any more when its parent is killed.
struct Orphan(u32);

impl Orphan {
    /// Started by the handler of this client.
    fn of(client: &Socket) -> Self {
        let answer = ask(client, "child 600").expect("it is started");
        let pid = answer.split(' ').nth(1).and_then(|pid| pid.parse().ok());
        Self(pid.unwrap_or_else(|| panic!("no process: {answer}")))
    }

    /// Nothing but what this test itself was started with may have come down to it. Its parent goes on
    /// when the child has its new program's memory; close-on-exec comes right after (fs/exec.c,
    /// `begin_new_exec`).
    fn has_nothing_of_its_parent(&self) {
        let since = Instant::now();
        loop {
            let ours = descriptors("self");
            let mut theirs = descriptors(&self.0.to_string());
            assert!(theirs.contains_key("0"), "it has at least what it was given: {theirs:?}");
            theirs.retain(|number, what| {
                let is_of_interest = what.starts_with("socket:") || what.starts_with("anon_inode:");
                is_of_interest && ours.get(number) != Some(what)
            });
            if theirs.is_empty() {
                return;
            }
            assert!(since.elapsed() < PATIENCE, "it keeps {theirs:?}");
        }
    }

    fn lives(&self) -> bool {
        // A zombie has no descriptors: its parent may still be there to reap it.
        fs::read_dir(format!("/proc/{}/fd", self.0)).is_ok_and(|open| open.count() > 0)
    }
}

impl Drop for Orphan {
    fn drop(&mut self) {
        let _ended_already = Command::new("kill").args(["-KILL", &self.0.to_string()]).status();
    }
}

/// What a server that speaks on a socket of this kind, and is killed, leaves behind.
fn leaves_nothing_to_its_child(listen: &str) {
    // Connections in every stage: two are open, two wait, and one stands in the kernel's queue.
    let config = json!({ "max_connections": 2 });
    let mut server = ServerProcess::start(SERVER, &json!({ "listen": listen, "config": config }));
    let address: Address = server.address();
    let (parent, other) = (connect(&address), connect(&address));
    assert!(ask(&other, "hello").expect("it is served").starts_with("hello "));
    let waiting = [connect(&address), connect(&address)];
    server.eventually("two wait", |snapshot| snapshot["waiting"] == 2);
    server.ask("pause");
    let mut queued = vec![connect(&address)];
    while server.snapshot()["depth"] == 0 {
        // The acceptor has obeyed once somebody stays in the queue.
        queued.push(connect(&address));
    }

    let child = Orphan::of(&parent);
    child.has_nothing_of_its_parent();

    drop(server);
    assert!(child.lives(), "it outlives its parent");
    for client in [&parent, &other].into_iter().chain(&waiting).chain(&queued) {
        // By the kernel, when the last descriptor of the other end was closed.
        assert!(read_to_end(client).map_or(true, |rest| rest.is_empty()), "nobody answers it");
    }
    let mut again = ServerProcess::start(SERVER, &json!({ "listen": address.to_string() }));
    assert_eq!(again.address(), address);
    let newcomer = connect(&address);
    assert!(ask(&newcomer, "hello").expect("it is served").starts_with("hello "));
    drop(newcomer);
    again.eventually("it has left", |snapshot| snapshot["open"] == 0);
    until("the child is still there", || child.lives());
}

#[test]
fn a_killed_server_leaves_its_port_to_the_next() {
    leaves_nothing_to_its_child("127.0.0.1:0");
}

#[test]
fn a_killed_server_leaves_its_port_on_both_stacks_to_the_next() {
    leaves_nothing_to_its_child("[::]:0");
}

#[test]
fn a_killed_server_leaves_its_file_to_the_next() {
    let folder = Scratch::new();
    let path = folder.path().join("socket");
    leaves_nothing_to_its_child(&format!("unix:{}", path.display()));
}
