//! Where the platform has no fence for TCP and tells nothing of it.

use std::io;

use anteroom_listener::{Fence, Handshakes, Listener, migrates_queued};
use anteroom_testkit::connect;

use crate::{accept, address};

#[test]
fn a_tcp_listener_cannot_be_fenced_and_goes_on_as_before() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    assert_eq!(listener.fence().unwrap_err().kind(), io::ErrorKind::Unsupported);
    assert!(!listener.is_fenced());
    listener.lift_fence().unwrap();
    let _client = connect(address(&listener), 1);
    accept(&listener);
    let _other = listener.share().unwrap();
    assert_eq!(listener.fence().unwrap(), Fence::Shared, "which needs no kernel to know");
}

#[test]
fn handshakes_and_groups_are_not_told() {
    let listener = Listener::builder().reuse_port().bind("127.0.0.1:0").unwrap();
    assert_eq!(listener.handshakes(), Handshakes::Unknown);
    assert_eq!(listener.reuse_port_group(), None);
    assert_eq!(migrates_queued(), None);
}
