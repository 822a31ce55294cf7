//! Where the kernel refuses the fence nothing has changed.

use std::time::Duration;

use anteroom_listener::{Handshakes, Listener};
use anteroom_testkit::{connect, exhaust_descriptors, isolated};

use crate::{accept, address};

#[test]
fn a_multipath_listener_refuses_it_and_goes_on_as_before() {
    let listener = match Listener::builder().mptcp().bind("127.0.0.1:0") {
        Ok(listener) => listener,
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{error}");
            return eprintln!("skipped: {error}");
        }
    };
    let error = listener.fence().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
    assert!(!listener.is_fenced() && listener.is_exclusive());
    assert_eq!(listener.handshakes(), Handshakes::Unknown);
    let client = connect(address(&listener), 1).remove(0);
    assert_eq!(accept(&listener).peer.tcp(), Some(client.local_addr().unwrap()));
    listener.lift_fence().unwrap();
}

/// `SO_LOCK_FILTER` (socket(7)) stands for whatever else forbids filters.
#[test]
fn a_socket_whose_filter_is_locked_refuses_it_and_keeps_its_deferring() {
    let listener = Listener::builder().defer_accept(Duration::from_secs(30)).bind("127.0.0.1:0").unwrap();
    lock_filter(&listener);
    let error = listener.fence().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    assert!(!listener.is_fenced());
    let _silent = connect(address(&listener), 1);
    assert_eq!(listener.handshakes(), Handshakes::UnderWay(1));
    assert_eq!(listener.depth(), Some(0));
}

#[expect(unsafe_code, reason = "no library that is used here has this option")]
fn lock_filter(listener: &Listener) {
    use std::os::fd::AsRawFd;
    let yes: libc::c_int = 1;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_LOCK_FILTER);
    let value = (&raw const yes).cast();
    // SAFETY: `value` points to a live `c_int` of four bytes, and the call does not keep the pointer.
    let answer = unsafe { libc::setsockopt(listener.as_raw_fd(), level, name, value, 4) };
    assert_eq!(answer, 0);
}

#[test]
fn without_a_descriptor_to_ask_with_handshakes_are_unknown() {
    isolated(|| {
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let _taken = exhaust_descriptors(64);
        assert_eq!(listener.handshakes(), Handshakes::Unknown);
        assert_eq!(listener.fence().unwrap(), anteroom_listener::Fence::Set, "the fence needs none");
    });
}
