//! A listener whose socket somebody else holds too: closing this end of it does not close the socket.

#![allow(clippy::expect_used, reason = "a test that cannot go on says so")]

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use anteroom::{Connection, Listener, Server, service_fn};
use anteroom_tests::clients::{connect, half_close, read_to_end};
use anteroom_tests::machine::{thread_cpu, threads_named};
use anteroom_tests::waiting::{ends, found, until};
use tokio::io::AsyncReadExt;

/// The time over which the acceptor is watched.
const WATCHED: Duration = Duration::from_secs(1);

/// A thread that is woken by every connection that nobody accepts takes all of it.
const MOST: Duration = Duration::from_millis(200);

#[test]
fn a_drained_listener_that_others_share_costs_the_acceptor_nothing() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let theirs = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let ours = Listener::adopt(theirs.try_clone().expect("a descriptor").into()).expect("it is a listener");
    let address = ours.local_addr().clone();
    // Serves until its client has sent all, so that the drain is not over before the test says so.
    let service = service_fn(|mut connection: Connection| async move {
        connection.read_to_end(&mut Vec::new()).await.map(drop)
    });
    let server = {
        let _inside = runtime.enter();
        Server::builder().serve(ours, service).start().expect("it starts")
    };
    let handle = server.handle();
    let served = connect(&address);
    until("it is served", || handle.snapshot().open == 1);
    let acceptor = found("the acceptor has its name", || threads_named("self", "anteroom-accept").pop());

    let stopped = handle.drain(Duration::from_secs(60));
    until("the drain has closed it", || handle.snapshot().listeners.iter().all(|one| one.queue.is_none()));
    let mut theirs_now = vec![connect(&address)];
    let (before, since) = (thread_cpu("self", acceptor), Instant::now());
    while since.elapsed() < WATCHED {
        theirs_now.push(connect(&address));
        thread::sleep(WATCHED / 20);
    }
    let used = thread_cpu("self", acceptor) - before;
    assert!(used < MOST, "the acceptor used {used:?} of {:?}", since.elapsed());

    // All of them are the other's, who can still accept.
    for client in &theirs_now {
        let (_, peer) = theirs.accept().expect("it is theirs");
        assert_eq!(Some(peer), client.local_addr().expect("its address").as_socket());
    }
    half_close(&served);
    assert_eq!(read_to_end(&served).expect("an orderly end"), "");
    let report = runtime.block_on(ends("it stops", stopped)).expect("a drain is no error");
    assert_eq!((report.accepted, report.served.done), (1, 1), "{report}");
}
