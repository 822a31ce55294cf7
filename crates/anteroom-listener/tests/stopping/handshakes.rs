//! Handshakes under way: counted where they can be, unknown where cookies may be in use.

use std::net::SocketAddr;

use anteroom_listener::{Builder, Handshakes, Listener};
use anteroom_testkit::{BOUND, TcpState, eventually, isolated, netstat, tcp_sockets, write_sysctl};

use crate::{
    address,
    deaf::{deaf, give_ear},
};

/// As the kernel's own list has it.
fn listed(port: u16) -> usize {
    let is_one = |socket: &anteroom_testkit::TcpSocket| {
        socket.local.port() == port && socket.state == TcpState::SynReceived
    };
    tcp_sockets().iter().filter(|socket| is_one(socket)).count()
}

fn count_up_and_down(builder: &Builder, bind: &str, to: &[&str]) {
    let listener = builder.bind(bind).unwrap();
    let port = address(&listener).port();
    let to: Vec<_> = to.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect();
    assert_eq!(listener.handshakes(), Handshakes::UnderWay(0));
    let clients: Vec<_> = to.iter().cycle().take(4).map(|to| deaf(*to)).collect();
    eventually("all are under way", BOUND, || listener.handshakes() == Handshakes::UnderWay(4));
    assert_eq!(listed(port), 4);
    clients.iter().for_each(give_ear);
    eventually("all are in", BOUND, || listener.handshakes().is_none_under_way());
    assert_eq!(listener.depth(), Some(4), "who leaves this count is in the queue");
}

#[test]
fn they_are_counted_on_every_family() {
    let (plain, both) = (Listener::builder(), Listener::builder().dual_stack());
    count_up_and_down(&plain, "127.0.0.1:0", &["127.0.0.1"]);
    count_up_and_down(&plain, "0.0.0.0:0", &["127.0.0.1", "127.0.0.2"]);
    count_up_and_down(&plain, "[::1]:0", &["::1"]);
    count_up_and_down(&both, "[::]:0", &["127.0.0.1"]);
    count_up_and_down(&both, "[::]:0", &["::1", "127.0.0.1"]);
}

#[test]
fn those_of_another_port_and_of_another_address_are_not_counted() {
    let one = Listener::bind("127.0.0.1:0").unwrap();
    let mut beside = address(&one);
    beside.set_ip("127.0.0.2".parse().unwrap());
    let elsewhere = [Listener::bind("127.0.0.1:0").unwrap(), Listener::bind(beside).unwrap()];
    let _clients: Vec<_> = elsewhere.iter().map(|listener| deaf(address(listener))).collect();
    for listener in &elsewhere {
        eventually("it is under way", BOUND, || listener.handshakes() == Handshakes::UnderWay(1));
    }
    assert_eq!(one.handshakes(), Handshakes::UnderWay(0));
}

#[test]
fn with_cookies_for_everybody_there_may_be_more() {
    isolated(|| {
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        for (setting, known) in [(2, false), (1, true), (0, true)] {
            write_sysctl("net.ipv4.tcp_syncookies", setting);
            assert_eq!(listener.handshakes() == Handshakes::UnderWay(0), known, "{setting}");
            assert_eq!(listener.handshakes() == Handshakes::AtLeast(0), !known, "{setting}");
        }
    });
}

#[test]
fn when_cookies_were_sent_since_the_listener_was_made_there_may_be_more() {
    isolated(|| {
        write_sysctl("net.ipv4.tcp_syncookies", 1);
        let listener = Listener::builder().backlog(2).bind("127.0.0.1:0").unwrap();
        assert_eq!(listener.handshakes(), Handshakes::UnderWay(0));
        // As many as the backlog are remembered, then come cookies.
        let _clients: Vec<_> = (0..8).map(|_| deaf(address(&listener))).collect();
        eventually("cookies are sent", BOUND, || netstat("TcpExt", "SyncookiesSent") > Some(0));
        let Handshakes::AtLeast(remembered) = listener.handshakes() else {
            panic!("cookies are not remembered")
        };
        assert_eq!(remembered as usize, listed(address(&listener).port()));
        let later = Listener::bind("127.0.0.1:0").unwrap();
        assert_eq!(later.handshakes(), Handshakes::UnderWay(0), "those were not its");
        write_sysctl("net.ipv4.tcp_syncookies", 0);
        assert_eq!(
            listener.handshakes(),
            Handshakes::UnderWay(remembered),
            "what is switched off is not in use"
        );
    });
}
