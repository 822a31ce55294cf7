//! `SO_REUSEPORT` groups: how many there are, and what happens to the queue of one that closes.

use std::net::TcpStream;

use anteroom_listener::{Listener, migrates_queued};
use anteroom_testkit::{BOUND, connect, eventually, has_connected, isolated, start_connecting, write_sysctl};

use crate::{accept, address};

fn member(of: impl std::fmt::Display) -> Listener {
    Listener::builder().reuse_port().bind(of.to_string()).unwrap()
}

#[test]
fn members_are_counted_as_they_come_and_go() {
    for bind in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
        let first = member(bind);
        assert_eq!(first.reuse_port_group(), Some(1));
        let second = member(address(&first));
        let third = member(address(&first));
        for listener in [&first, &second, &third] {
            assert_eq!(listener.reuse_port_group(), Some(3), "{bind}");
        }
        let same_socket = second.share().unwrap();
        drop(second);
        assert_eq!(first.reuse_port_group(), Some(3), "somebody holds it still");
        drop((same_socket, third));
        assert_eq!(first.reuse_port_group(), Some(1), "{bind}");
    }
}

#[test]
fn another_address_on_the_same_port_is_another_group() {
    let first = member("127.0.0.1:0");
    let port = address(&first).port();
    let others = [member(format!("127.0.0.2:{port}")), member(format!("0.0.0.0:{port}"))];
    assert_eq!(first.reuse_port_group(), Some(1));
    for other in others {
        assert_eq!(other.reuse_port_group(), Some(1));
    }
}

#[test]
fn without_the_option_there_is_no_group() {
    assert_eq!(Listener::bind("127.0.0.1:0").unwrap().reuse_port_group(), None);
    assert_eq!(Listener::bind("unix:@anteroom-no-group").unwrap().reuse_port_group(), None);
}

/// Two members with 40 clients in their queues, of which the first closes.
fn close_one_of_two() -> (Listener, usize, Vec<TcpStream>) {
    let (closing, staying) = {
        let closing = member("127.0.0.1:0");
        let staying = member(address(&closing));
        (closing, staying)
    };
    let clients = connect(address(&staying), 40);
    eventually("all are queued", BOUND, || closing.depth().unwrap() + staying.depth().unwrap() == 40);
    let queued_there = usize::try_from(closing.depth().unwrap()).unwrap();
    assert!(queued_there > 0, "the kernel spreads them");
    closing.close();
    (staying, queued_there, clients)
}

#[test]
fn a_member_that_closes_resets_its_queue_unless_the_kernel_migrates_it() {
    isolated(|| {
        write_sysctl("net.ipv4.tcp_migrate_req", 0);
        assert_eq!(migrates_queued(), Some(false));
        let (staying, queued_there, clients) = close_one_of_two();
        let is_reset = |client: &&TcpStream| client.take_error().unwrap().is_some();
        eventually("the queue of the closed one is reset", BOUND, || {
            clients.iter().filter(|client| client.peer_addr().is_err()).count() == queued_there
        });
        assert_eq!(clients.iter().filter(is_reset).count(), queued_there);
        assert_eq!(staying.depth().map(|depth| depth as usize), Some(40 - queued_there));

        write_sysctl("net.ipv4.tcp_migrate_req", 1);
        assert_eq!(migrates_queued(), Some(true));
        let (staying, _, clients) = close_one_of_two();
        for _ in &clients {
            accept(&staying);
        }
        assert!(clients.iter().all(|client| client.peer_addr().is_ok()), "nobody was reset");
    });
}

#[test]
fn a_fenced_member_still_gets_its_share_of_the_syns() {
    let fenced = member("127.0.0.1:0");
    let open = member(address(&fenced));
    fenced.fence().unwrap();
    let clients: Vec<_> = (0..40).map(|_| start_connecting(address(&open))).collect();
    eventually("each SYN was queued or dropped", BOUND, || {
        let connected = clients.iter().filter(|client| has_connected(client)).count();
        let dropped = fenced.queue().drops.unwrap();
        dropped > 0 && connected > 0 && connected as u64 + dropped >= 40
    });
    assert_eq!(fenced.depth(), Some(0));
}
