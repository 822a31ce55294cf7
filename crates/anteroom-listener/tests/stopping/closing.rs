//! What closing a listener does to its queue.

use std::{
    io::{self, Read},
    net::{SocketAddr, TcpStream},
};

use anteroom_listener::Listener;
use anteroom_testkit::{BOUND, connect};

fn queued_at(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let clients = connect(address, count);
    clients.iter().for_each(|client| client.set_read_timeout(Some(BOUND)).unwrap());
    clients
}

#[test]
fn closing_resets_every_connection_in_the_queue() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let listener = Listener::bind(bind).unwrap();
        let clients = queued_at(super::address(&listener), 3);
        listener.close();
        for mut client in clients {
            let error = client.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
    }
}

#[test]
fn while_another_descriptor_is_open_closing_resets_nobody() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let successor = listener.share().unwrap();
    let clients = queued_at(super::address(&listener), 3);
    listener.close();
    let successor = Listener::adopt(successor).unwrap();
    for client in clients {
        assert_eq!(super::accept(&successor).peer.tcp(), Some(client.local_addr().unwrap()));
    }
}
