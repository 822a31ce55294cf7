//! The report of a drain during which many connections end at the same time.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use anteroom::{Connection, Listener, Server, service_fn};
use anteroom_testkit::BOUND;
use anteroom_tests::clients::{ask, connect};
use anteroom_tests::lines::{Calls, speak};
use tokio::runtime::Builder;

const ROUNDS: usize = 500;
const CONNECTIONS: usize = 32;

#[test]
fn a_drain_tells_of_every_connection_however_many_end_at_once() {
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_all().build().expect("a runtime");
    for round in 0..ROUNDS {
        let listener = Listener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().clone();
        let calls = Arc::new(Calls::default());
        let service = service_fn(move |connection: Connection| {
            let calls = Arc::clone(&calls);
            async move { speak(connection, &calls).await }
        });
        let _inside = runtime.enter();
        let server = Server::builder().serve(listener, service).start().expect("it starts");
        let clients: Vec<_> = (0..CONNECTIONS).map(|_| connect(&address)).collect();
        for client in &clients {
            let _answer = ask(client, "hello").expect("it is served");
        }
        let drained = server.handle().drain(BOUND);
        drop(clients);
        let report = runtime.block_on(drained).expect("nothing failed");
        assert!(report.is_balanced(), "round {round}: {report}");
        assert_eq!(report.served.done, CONNECTIONS as u64, "round {round}: {report}");
    }
}
