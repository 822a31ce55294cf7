//! What is set once on the listener and found on every accepted socket.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::time::Duration;

use anteroom_listener::{Accepted, Builder, KeepAlive, Listener};
use anteroom_testkit::{BOUND, connect, eventually_gives};
use socket2::SockRef;

fn accepted(builder: Builder, bind: &str) -> Accepted {
    let listener = builder.bind(bind).unwrap();
    let _client = connect(listener.local_addr().tcp().unwrap(), 1);
    accept(&listener)
}

/// Takes the next connection as soon as the kernel has it in the queue.
fn accept(listener: &Listener) -> Accepted {
    eventually_gives("a connection", BOUND, || listener.accept().ok())
}

#[test]
fn small_writes_go_out_at_once_unless_told_otherwise() {
    let plain = accepted(Listener::builder(), "127.0.0.1:0");
    assert!(SockRef::from(&plain.stream).tcp_nodelay().unwrap());
    let gathered = accepted(Listener::builder().nagle(), "127.0.0.1:0");
    assert!(!SockRef::from(&gathered.stream).tcp_nodelay().unwrap());
    let at_once = accepted(Listener::builder().nagle().no_delay(), "127.0.0.1:0");
    assert!(SockRef::from(&at_once.stream).tcp_nodelay().unwrap());
}

#[test]
fn keep_alive_is_inherited_with_its_three_numbers() {
    let off = accepted(Listener::builder(), "127.0.0.1:0");
    assert!(!SockRef::from(&off.stream).keepalive().unwrap());
    let keep_alive =
        KeepAlive { idle: Duration::from_millis(6_500), interval: Duration::from_secs(2), probes: 3 };
    let on = accepted(Listener::builder().keep_alive(keep_alive), "127.0.0.1:0");
    let socket = SockRef::from(&on.stream);
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(7), "rounded up");
    assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(2));
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
}

#[test]
fn buffers_are_inherited() {
    let before = accepted(Listener::builder(), "127.0.0.1:0");
    let after = accepted(Listener::builder().receive_buffer(8_192).send_buffer(16_384), "127.0.0.1:0");
    let (before, after) = (SockRef::from(&before.stream), SockRef::from(&after.stream));
    assert_ne!(before.recv_buffer_size().unwrap(), after.recv_buffer_size().unwrap());
    // Linux doubles what was asked for.
    let factor = if cfg!(target_os = "linux") { 2 } else { 1 };
    assert_eq!(after.recv_buffer_size().unwrap(), factor * 8_192);
    assert_eq!(after.send_buffer_size().unwrap(), factor * 16_384);
}

#[test]
fn lingering_is_inherited() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&listener).set_linger(Some(Duration::from_secs(3))).unwrap();
    let _client = connect(listener.local_addr().tcp().unwrap(), 1);
    let accepted = accept(&listener);
    assert_eq!(SockRef::from(&accepted.stream).linger().unwrap(), Some(Duration::from_secs(3)));
}

#[cfg(all(target_os = "linux", not(anteroom_portable)))]
#[test]
fn user_timeout_and_type_of_service_are_inherited() {
    let builder = Listener::builder().user_timeout(Duration::from_millis(12_345)).type_of_service(0x28);
    let v4 = accepted(builder.clone(), "127.0.0.1:0");
    let socket = SockRef::from(&v4.stream);
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(12_345)));
    assert_eq!(socket.tos_v4().unwrap(), 0x28);
    let v6 = accepted(builder, "[::1]:0");
    assert_eq!(SockRef::from(&v6.stream).tclass_v6().unwrap(), 0x28);
}

#[test]
fn accepted_sockets_are_non_blocking_and_closed_on_exec() {
    let accepted = accepted(Listener::builder(), "127.0.0.1:0");
    assert!(SockRef::from(&accepted.stream).nonblocking().unwrap());
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let info = format!("/proc/self/fdinfo/{}", accepted.stream.as_raw_fd());
        let info = std::fs::read_to_string(info).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let flags = i32::from_str_radix(flags, 8).unwrap();
        assert_ne!(flags & libc::O_CLOEXEC, 0);
    }
}
