//! The allow list and the deny list, on sockets: the longest block counts, and an IPv4 client is who it is
//! on a dual-stack listener, too.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails; not every helper counts as a test")]

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};

use anteroom::{Config, Prefix, Refusal, Reply};
use anteroom_load::client::connect_from;
use anteroom_testkit::{BOUND, Scratch};
use anteroom_tests::clients::{ask, connect, read_to_end};
use anteroom_tests::lines::answer;
use anteroom_tests::local::LocalServer;
use socket2::Socket;

fn blocks(texts: &[&str]) -> Vec<Prefix> {
    texts.iter().map(|text| text.parse().expect("a block")).collect()
}

fn listed(allow: &[&str], deny: &[&str]) -> Config {
    let mut config = Config::default();
    config.allow = blocks(allow);
    config.deny = blocks(deny);
    config
}

/// A client of this address, of a server on all addresses of both families.
fn client(server: &LocalServer, source: &str) -> io::Result<Socket> {
    let port = server.address().tcp().expect("it is TCP").port();
    let source: IpAddr = source.parse().expect("an address");
    let loopback: IpAddr =
        if source.is_ipv4() { [127, 0, 0, 1].into() } else { [0, 0, 0, 0, 0, 0, 0, 1].into() };
    connect_from(source, SocketAddr::new(loopback, port), BOUND).map(Socket::from)
}

fn is_served(client: &io::Result<Socket>) {
    let client = client.as_ref().expect("it is let in");
    assert_eq!(ask(client, "ask").expect("it is served"), answer("ask"));
}

/// It may be denied before connect(2) has returned.
fn is_denied(client: &io::Result<Socket>) {
    let error = match client {
        Ok(client) => read_to_end(client).expect_err("it is denied"),
        Err(early) => early.kind().into(),
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// So many were served and denied, and nothing else happened.
fn comes_to(server: LocalServer, served: u64, denied: u64) {
    let calls = server.calls().total() as u64;
    let report = server.drain(BOUND);
    assert_eq!((calls, report.served.done), (served, served), "{report}");
    assert_eq!((report.refused.denied, report.refused.total()), (denied, denied), "{report}");
    assert!(report.is_balanced(), "{report}");
}

#[test]
fn a_denied_ipv4_block_holds_for_mapped_addresses_of_a_dual_stack_listener() {
    let server = LocalServer::start("[::]:0", listed(&[], &["127.0.1.0/24"]));
    for denied in ["127.0.1.0", "127.0.1.7", "127.0.1.254"] {
        is_denied(&client(&server, denied));
    }
    for served in ["127.0.0.1", "127.0.2.7", "::1"] {
        is_served(&client(&server, served));
    }
    comes_to(server, 3, 3);
}

#[test]
fn an_allow_list_keeps_everybody_else_out_and_the_longer_block_counts() {
    let deny = ["127.0.0.0/8", "127.0.2.9"];
    let server = LocalServer::start("[::]:0", listed(&["127.0.2.0/24", "127.0.3.4"], &deny));
    for served in ["127.0.2.1", "127.0.2.8", "127.0.3.4"] {
        is_served(&client(&server, served));
    }
    for denied in ["127.0.0.1", "127.0.2.9", "127.0.3.5", "::1"] {
        is_denied(&client(&server, denied));
    }
    comes_to(server, 3, 4);
}

#[test]
fn an_ipv6_block_is_none_of_the_mapped_ones() {
    let server = LocalServer::start("[::]:0", listed(&[], &["::/64"]));
    is_denied(&client(&server, "::1"));
    // Mapped, 127.0.0.1 lies in ::/64 as text; a longer block says that it is welcome.
    server.handle().reconfigure(|config| config.allow = blocks(&["0.0.0.0/0"])).expect("it can be meant");
    is_served(&client(&server, "127.0.0.1"));
    is_denied(&client(&server, "::1"));
    comes_to(server, 1, 2);
}

#[test]
fn the_denied_are_given_no_reply_and_who_is_in_stays_when_the_list_grows() {
    let mut config = listed(&[], &["127.0.1.0/24"]);
    config.refusal = Refusal::Reply(Reply::new("come back later\n"));
    let server = LocalServer::start("[::]:0", config);
    is_denied(&client(&server, "127.0.1.1"));
    let inside = client(&server, "127.0.2.1");
    is_served(&inside);
    server.handle().reconfigure(|config| config.deny = blocks(&["127.0.2.0/24"])).expect("it can be meant");
    is_denied(&client(&server, "127.0.2.1"));
    is_served(&inside);
    is_served(&client(&server, "127.0.1.1"));
    drop(inside);
    comes_to(server, 2, 2);
}

#[test]
fn the_lists_do_not_speak_of_unix_sockets() {
    let scratch = Scratch::new();
    let path = format!("unix:{}", scratch.join("socket").display());
    let server = LocalServer::start(&path, listed(&["192.0.2.0/24"], &["::/0"]));
    is_served(&Ok(connect(server.address())));
    comes_to(server, 1, 0);
}
