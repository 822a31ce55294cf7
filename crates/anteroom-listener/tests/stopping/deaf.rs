//! Clients whose handshake stops half-way, by a filter on their own socket: no packet tool is needed.

use std::net::SocketAddr;

use socket2::{Domain, SockFilter, Socket, Type};

/// A client that has sent its SYN and does not hear the answer; the server goes on sending it.
pub(crate) fn deaf(address: SocketAddr) -> Socket {
    /// `BPF_RET | BPF_K` of linux/bpf_common.h, with nothing kept.
    const DROP_ALL: SockFilter = SockFilter::new(6, 0, 0, 0);
    let client = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    client.set_nonblocking(true).unwrap();
    client.attach_filter(&[DROP_ALL]).unwrap();
    let error = client.connect(&address.into()).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINPROGRESS));
    client
}

/// It hears the next answer, which comes when the server sends it again.
pub(crate) fn give_ear(client: &Socket) {
    client.detach_filter().unwrap();
}
