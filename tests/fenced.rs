//! What a drain's fence turns away is told apart from overflow, and where there is no fence it is said.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so, and what is not in an event is null"
)]

use std::sync::LazyLock;
use std::time::Duration;

use anteroom::{Config, Connection, Handle, Listener, Phase, Server, service_fn};
use anteroom_testkit::{BOUND, eventually};
use anteroom_tests::clients::{connect, next_line, send};
use anteroom_tests::events::Collected;
use anteroom_tests::lines::{Calls, answer, speak};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tokio::runtime::Runtime;
use tracing_subscriber::layer::SubscriberExt;

/// Longer than any test waits.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// The watch speaks on a thread of its own, to whoever listens for the whole process.
static EVENTS: LazyLock<Collected> = LazyLock::new(|| {
    let events = Collected::default();
    let subscriber = tracing_subscriber::registry().with(events.clone());
    tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
    events
});

/// The events of one target about one listener.
fn told(target: &str, listener: &str) -> Vec<Value> {
    let events = EVENTS.of(Some(target));
    events.into_iter().filter(|event| event["fields"]["listener"] == listener).collect()
}

fn start(listener: Listener) -> (Runtime, Server) {
    LazyLock::force(&EVENTS);
    let runtime = Runtime::new().expect("a runtime");
    let serve = async |connection: Connection| speak(connection, &Calls::default()).await;
    let server = {
        let _inside = runtime.enter();
        Server::builder().config(Config::default()).serve(listener, service_fn(serve)).start()
    };
    (runtime, server.expect("it starts"))
}

#[test]
fn what_the_fence_drops_is_no_overflow() {
    // Deferred, a silent client is a handshake under way, which keeps the fence up for a second.
    let listener = Listener::builder().name("deferred").defer_accept(Duration::from_secs(5));
    let listener = listener.bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    let (runtime, server) = start(listener);
    let handle = server.handle();
    let silent = connect(&address);
    // The kernel counts the end of a deferred handshake as a drop.
    let drops = |handle: &Handle| handle.snapshot().listeners[0].queue.and_then(|queue| queue.drops);
    eventually("the handshake has ended", BOUND, || drops(&handle) == Some(1));
    let stopped = handle.drain(AN_HOUR);
    eventually("the fence is up", BOUND, || handle.snapshot().listeners[0].fenced.is_some());

    let late = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    late.set_nonblocking(true).expect("O_NONBLOCK");
    late.connect(&address.tcp().expect("of TCP").into()).expect_err("nobody lets it in");
    eventually("its SYN is counted as fenced off", BOUND, || handle.snapshot().listeners[0].fenced > Some(0));
    assert_eq!(drops(&handle), Some(1), "and not as dropped");

    send(&silent, "hello");
    assert_eq!(next_line(&silent).expect("it is served"), answer("hello"));
    drop(silent);
    let report = runtime.block_on(stopped).expect("nothing failed");
    assert_eq!((report.accepted, report.served.done), (1, 1));
    assert!(handle.snapshot().listeners[0].fenced > Some(0), "it is remembered");
    eventually("the close is spoken of", BOUND, || !told("anteroom::listener_closed", "deferred").is_empty());
    let closed = told("anteroom::listener_closed", "deferred");
    assert!(closed[0]["fields"]["fenced"].as_u64() > Some(0), "{closed:?}");
    assert_eq!(told("anteroom::fence", "deferred")[0]["level"], "INFO");
    let dropped: u64 = told("anteroom::dropped", "deferred")
        .iter()
        .filter_map(|event| event["fields"]["new"].as_u64())
        .sum();
    assert!(dropped <= 1, "what the fence dropped is not spoken of as dropped: {dropped}");
}

#[test]
fn where_there_is_no_fence_the_drain_goes_on_and_says_so() {
    let listener = Listener::builder().name("multipath").mptcp().bind("127.0.0.1:0");
    let listener = listener.expect("a kernel with multipath TCP");
    let address = listener.local_addr().clone();
    let (runtime, server) = start(listener);
    let client = connect(&address);
    send(&client, "hello");
    assert_eq!(next_line(&client).expect("it is served"), answer("hello"));
    drop(client);
    let report = runtime.block_on(server.handle().drain(AN_HOUR)).expect("nothing failed");
    assert_eq!((report.accepted, report.served.done), (1, 1));
    assert_eq!(server.handle().phase(), Phase::Stopped);
    eventually("it is spoken of", BOUND, || !told("anteroom::fence", "multipath").is_empty());
    let fence = told("anteroom::fence", "multipath");
    assert_eq!(fence[0]["level"], "WARN");
    assert!(
        fence[0]["fields"]["error"].as_str().is_some_and(|error| error.contains("not supported")),
        "{fence:?}"
    );
    assert_eq!(server.handle().snapshot().listeners[0].fenced, None);
}
