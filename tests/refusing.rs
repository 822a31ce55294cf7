//! What is spoken of a connection that was handed out and refused after all.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::io;

use anteroom::{Cause, Connection, Incoming, Listener, Server, service_fn};
use anteroom_tests::clients::{connect, name_of, read_to_end};
use anteroom_tests::events::Collected;
use anteroom_tests::waiting::{PATIENCE, becomes, ends};
use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt;

/// The events of refusals of this peer.
fn refusals(events: &Collected, peer: &str) -> Vec<Value> {
    let mut refusals = events.of(Some("anteroom::refused"));
    refusals.retain(|event| event["fields"]["peer"] == peer);
    refusals
}

/// One test, as there is one subscriber for the watch's thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_by_whom_it_was_given_to_is_told_with_its_peer_and_its_cause() {
    let events = Collected::default();
    let subscriber = tracing_subscriber::registry().with(events.clone());
    tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");

    let listener = Listener::builder().name("handlers").bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    let refuse = service_fn(|connection: Connection| async move {
        connection.refuse(Cause::User("closed for lunch"));
        Ok::<_, io::Error>(())
    });
    let server = Server::builder().serve(listener, refuse).start().expect("it starts");
    let of_handler = connect(&address);

    let listener = Listener::builder().name("takers").bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().clone();
    let mut incoming = Incoming::builder().listen(listener).start().expect("it starts");
    let of_taker = connect(&address);
    let accepted = ends("somebody is taken", incoming.accept()).await;
    accepted.expect("the listener is well").expect("it goes on").refuse(Cause::Denied);

    for (client, listener, cause) in [(of_handler, "handlers", "user"), (of_taker, "takers", "denied")] {
        let error = read_to_end(&client).expect_err("it is refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let peer = name_of(&client);
        becomes("it is told", || !refusals(&events, &peer).is_empty()).await;
        let told = refusals(&events, &peer).swap_remove(0);
        assert_eq!(told["level"], "DEBUG", "{told}");
        assert_eq!(told["fields"]["listener"], listener, "{told}");
        let spoken = told["fields"]["cause"].as_str().expect("a word").to_owned();
        assert!(spoken.starts_with(cause), "{told}");
    }
    let reports = [ends("it stops", server.handle().drain(PATIENCE)).await, {
        let stopped = incoming.handle().drain(PATIENCE);
        assert!(incoming.accept().await.expect("a drain is no error").is_none());
        ends("it stops", stopped).await
    }];
    for report in reports {
        let report = report.expect("a refusal is no failure");
        assert_eq!((report.accepted, report.refused.total()), (1, 1), "{report}");
    }
    for event in events.of(Some("anteroom::refused")) {
        let peer = event["fields"]["peer"].as_str().expect("a name");
        assert_eq!(refusals(&events, peer).len(), 1, "told once: {event}");
    }
}
