//! Making a TCP listener, and what can be wrong with it.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::{
    error::Error,
    io,
    net::{TcpStream, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use anteroom_listener::{Address, AdoptErrorKind, BindErrorKind, Listener};
use anteroom_testkit::{BOUND, connect, eventually_gives};
use socket2::{Domain, SockRef, Socket, Type};

#[test]
fn the_port_that_the_kernel_chose_is_told() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().tcp().unwrap();
    assert_ne!(address.port(), 0);
    assert_eq!(listener.name(), address.to_string());
    assert_eq!(Listener::builder().name("public").bind("127.0.0.1:0").unwrap().name(), "public");
}

#[test]
fn one_builder_binds_what_converts_into_an_address() {
    let builder = Listener::builder().backlog(8);
    let ip: std::net::IpAddr = "127.0.0.1".parse().unwrap();
    builder.bind("127.0.0.1:0").unwrap();
    builder.bind(String::from("127.0.0.1:0")).unwrap();
    builder.bind((ip, 0)).unwrap();
    builder.bind(std::net::SocketAddr::from((ip, 0))).unwrap();
    builder.bind(Address::from((ip, 0))).unwrap();
}

#[test]
fn an_ipv6_listener_takes_ipv4_clients_or_does_not_as_it_is_told() {
    let port =
        |listener: &Listener| (std::net::Ipv4Addr::LOCALHOST, listener.local_addr().tcp().unwrap().port());
    let both = Listener::builder().dual_stack().bind("[::]:0").unwrap();
    TcpStream::connect(port(&both)).unwrap();
    let only_v6 = Listener::builder().only_v6().bind("[::]:0").unwrap();
    let error = TcpStream::connect(port(&only_v6)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn an_address_in_use_says_who_could_have_it() {
    let first = Listener::bind("127.0.0.1:0").unwrap();
    let error = Listener::bind(first.local_addr()).unwrap_err();
    assert_eq!(error.kind(), &BindErrorKind::AddressInUse);
    assert_eq!(error.address(), Some(first.local_addr()));
    let port = first.local_addr().tcp().unwrap().port();
    assert!(error.to_string().contains(&format!("sport = :{port}")), "{error}");
    assert!(error.source().is_some());
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn listeners_of_one_port_share_it_only_if_all_say_so() {
    let first = Listener::builder().reuse_port().bind("127.0.0.1:0").unwrap();
    Listener::builder().reuse_port().bind(first.local_addr()).unwrap();
    assert_eq!(Listener::bind(first.local_addr()).unwrap_err().kind(), &BindErrorKind::AddressInUse);
}

#[test]
fn a_restarted_listener_has_its_port_back_although_connections_linger() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().clone();
    let client = connect(address.tcp().unwrap(), 1);
    // This side closes first, so this side keeps the connection in TIME_WAIT.
    drop(eventually_gives("a connection", BOUND, || listener.accept().ok()));
    drop((client, listener));
    let error = Listener::builder().no_reuse_address().bind(&address).unwrap_err();
    assert_eq!(error.kind(), &BindErrorKind::AddressInUse);
    Listener::bind(&address).unwrap();
}

#[test]
fn an_address_of_another_host_is_not_available() {
    // TEST-NET-1, which nobody has.
    let error = Listener::bind("192.0.2.1:0").unwrap_err();
    assert_eq!(error.kind(), &BindErrorKind::AddressNotAvailable);
    assert!(error.to_string().contains("free_bind"), "{error}");
}

#[test]
fn a_text_that_is_no_address_says_so() {
    let error = Listener::bind("localhost:80").unwrap_err();
    assert_eq!((error.kind(), error.address()), (&BindErrorKind::NotAnAddress, None));
    assert!(error.source().unwrap().to_string().contains("name an address"));
}

#[test]
fn a_backlog_of_nothing_is_refused() {
    let error = Listener::builder().backlog(0).bind("127.0.0.1:0").unwrap_err();
    assert_eq!(error.kind(), &BindErrorKind::ZeroBacklog);
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn an_option_that_does_not_fit_is_named() {
    let error = Listener::builder().only_v6().bind("127.0.0.1:0").unwrap_err();
    assert_eq!(error.kind(), &BindErrorKind::OptionMisused { option: "only_v6" });
    assert!(
        error.to_string().contains("the option only_v6 does not fit; it is for an IPv6 address"),
        "{error}"
    );
    let error = Listener::builder().mode(0o600).bind("127.0.0.1:0").unwrap_err();
    assert_eq!(error.kind(), &BindErrorKind::OptionMisused { option: "mode" });
    let error = Listener::builder().mptcp().bind("unix:/x").unwrap_err();
    assert_eq!(error.kind(), &BindErrorKind::OptionMisused { option: "mptcp" });
}

#[cfg(all(target_os = "linux", not(anteroom_portable)))]
#[test]
fn the_options_of_linux_are_taken() {
    let listener = Listener::builder().device("lo").bind("127.0.0.1:0").unwrap();
    assert_eq!(SockRef::from(&listener).device().unwrap().as_deref(), Some(&b"lo"[..]));
    for address in ["192.0.2.1:0", "[2001:db8::1]:0"] {
        Listener::builder().free_bind().bind(address).unwrap();
    }
    Listener::builder().fast_open(16).user_timeout(Duration::from_secs(5)).bind("127.0.0.1:0").unwrap();
    let error = Listener::builder().device("no-such-device").bind("127.0.0.1:0").unwrap_err();
    assert_eq!(error.kind(), &BindErrorKind::OptionRefused { option: "device" });
    assert!(error.source().is_some());
}

#[cfg(all(target_os = "linux", not(anteroom_portable)))]
#[test]
fn a_deferred_client_is_queued_when_it_has_spoken() {
    use std::io::Write;
    let listener = Listener::builder().defer_accept(Duration::from_secs(30)).bind("127.0.0.1:0").unwrap();
    let mut client = connect(listener.local_addr().tcp().unwrap(), 1).remove(0);
    assert_eq!(listener.depth(), Some(0), "connected, and yet not in the queue");
    client.write_all(b"hello").unwrap();
    anteroom_testkit::eventually("it is queued", BOUND, || listener.depth() == Some(1));
}

#[cfg(not(all(target_os = "linux", not(anteroom_portable))))]
#[test]
fn elsewhere_the_options_of_linux_are_refused_by_name() {
    let second = Duration::from_secs(1);
    let table = [
        ("device", Listener::builder().device("lo")),
        ("free_bind", Listener::builder().free_bind()),
        ("user_timeout", Listener::builder().user_timeout(second)),
        ("type_of_service", Listener::builder().type_of_service(1)),
        ("defer_accept", Listener::builder().defer_accept(second)),
        ("fast_open", Listener::builder().fast_open(1)),
        ("mptcp", Listener::builder().mptcp()),
    ];
    for (option, builder) in table {
        let error = builder.bind("127.0.0.1:0").unwrap_err();
        assert_eq!(error.kind(), &BindErrorKind::OptionRefused { option });
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::Unsupported);
    }
}

#[cfg(not(all(target_os = "linux", not(anteroom_portable))))]
#[test]
fn elsewhere_nothing_is_told_and_nothing_is_made_up() {
    let listener = Listener::builder().backlog(4).bind("127.0.0.1:0").unwrap();
    let _clients = connect(listener.local_addr().tcp().unwrap(), 2);
    let queue = listener.queue();
    assert_eq!((queue.depth, queue.limit, queue.drops, queue.is_full()), (None, None, None, None));
    assert_eq!((listener.depth(), listener.census().unwrap()), (None, None));
    let backlog = listener.backlog();
    assert_eq!((backlog.requested, backlog.effective, backlog.is_clamped()), (Some(4), None, false));
    assert_eq!(listener.set_backlog(8).unwrap().requested, Some(8));
    let accepted = eventually_gives("a connection", BOUND, || listener.accept().ok());
    assert_eq!(accepted.stream.kernel_wait(), None);
    let error = Listener::builder().backlog(4).strict_backlog().bind("127.0.0.1:0").unwrap_err();
    assert_eq!(error.kind(), &BindErrorKind::BacklogUnknown);
    Listener::builder().strict_backlog().bind("127.0.0.1:0").unwrap();
}

#[test]
fn an_adopted_listener_is_made_non_blocking() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = Listener::try_from(listener).unwrap();
    assert_eq!(listener.local_addr(), &Address::Tcp(address));
    assert!(SockRef::from(&listener).nonblocking().unwrap());
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn what_is_no_listener_is_given_back() {
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let connection = connect(listener.local_addr().tcp().unwrap(), 1).remove(0);
    let bound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let table: [(OwnedFd, AdoptErrorKind); 4] = [
        (connection.into(), AdoptErrorKind::NotListening),
        (bound.into(), AdoptErrorKind::NotListening),
        (UdpSocket::bind("127.0.0.1:0").unwrap().into(), AdoptErrorKind::NotAStream),
        (std::fs::File::open("/dev/null").unwrap().into(), AdoptErrorKind::NotASocket),
    ];
    for (fd, kind) in table {
        let error = Listener::adopt(fd).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().starts_with("cannot adopt"), "{error}");
        let back = error.into_fd();
        if kind == AdoptErrorKind::NotListening {
            assert!(!SockRef::from(&back).nonblocking().unwrap(), "as it came");
        }
        assert!(back.as_fd().try_clone_to_owned().is_ok());
    }
}
